"""Handlers of its own, interval timers, and an interrupted sleep."""

import os
import signal
import time

events = []
signal.signal(signal.SIGALRM, lambda n, frame: events.append((n, frame.f_code.co_name)))
signal.signal(signal.SIGUSR1, lambda n, frame: events.append((n, frame.f_code.co_name)))
signal.setitimer(signal.ITIMER_REAL, 0.01)
while not events:
    signal.pause()
os.kill(os.getpid(), signal.SIGUSR1)
signal.signal(signal.SIGINT, lambda n, frame: events.append((n, "int")))
os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.kill(os.getpid(), signal.SIGINT)
time.sleep(0)
print(events, signal.getsignal(signal.SIGINT))
