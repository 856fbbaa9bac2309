"""Forks; parent and child go on as Python programs do."""

import os
import sys
import threading

print("before", flush=True)
child = os.fork()
if child == 0:
    print("child", threading.active_count(), threading.current_thread().name, flush=True)
    thread = threading.Thread(target=lambda: print("child's thread", flush=True))
    thread.start()
    thread.join()
    sys.exit(4)
print("parent", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
