"""The program's own handlers."""
import os
import signal
import time

signal.signal(signal.SIGUSR1, lambda number, frame: print("usr1", number, frame.f_lineno))
os.kill(os.getpid(), signal.SIGUSR1)
signal.signal(signal.SIGINT, lambda number, frame: print("int", number))
os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
except KeyboardInterrupt:
    print("interrupted")
signal.signal(signal.SIGALRM, lambda number, frame: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.pause()
