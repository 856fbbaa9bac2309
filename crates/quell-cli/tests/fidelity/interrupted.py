"""Ctrl-C, not handled."""
import os
import signal
import time

os.kill(os.getpid(), signal.SIGINT)
time.sleep(10)
