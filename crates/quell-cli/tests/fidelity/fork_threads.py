"""Forks while another thread runs: 3.12 and later warn, rightly."""
import os
import re
import threading
import warnings

event = threading.Event()
threading.Thread(target=event.wait).start()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
print([re.sub(r"\d+", "N", str(w.message)) for w in caught])
event.set()
