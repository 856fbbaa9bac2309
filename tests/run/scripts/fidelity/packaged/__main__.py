"""What ``-m packaged`` and ``packaged/`` run."""

import sys

print(__name__, __package__, __spec__ and __spec__.name, sys.argv[1:])
print(sys.path[0])
print(sys.argv[0])
if "fail" in sys.argv:
    raise RuntimeError("as asked")
