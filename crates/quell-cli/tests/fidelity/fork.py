"""Forks, twice, with and without output buffered."""
import os
import warnings

warnings.simplefilter("always")
print("before", flush=True)
for code in (3, 4):
    pid = os.fork()
    if pid == 0:
        again = os.fork()
        if again == 0:
            os._exit(9)
        print("child sees", os.waitstatus_to_exitcode(os.waitpid(again, 0)[1]), flush=True)
        os._exit(code)
    print("parent sees", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
try:
    os.wait()
except ChildProcessError as error:
    print(error)
pid = os.fork()
if pid == 0:
    raise ValueError("in the child")
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
