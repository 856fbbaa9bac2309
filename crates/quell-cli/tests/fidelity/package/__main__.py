"""What -m sees."""
import sys

print(__name__, __package__, __spec__, __file__)
print(sys.argv, sys.path[0])
raise ValueError("in a package")
