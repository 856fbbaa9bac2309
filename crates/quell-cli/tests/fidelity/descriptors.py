"""Which file descriptors are open, and which number the next one gets."""
import os

with open("/dev/null") as file:
    print(file.fileno())
print(sorted(os.listdir("/proc/self/fd"), key=int))
os.close(0)
print(os.open("/dev/null", os.O_RDONLY))
