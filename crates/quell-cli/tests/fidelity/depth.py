"""How many frames there are, as a program sees it."""
import sys
import traceback

depth = 0


def dive():
    global depth
    depth += 1
    dive()


try:
    dive()
except RecursionError:
    print(depth, sys.getrecursionlimit())
traceback.print_stack()
frame = sys._getframe()
while frame:
    print(frame.f_code.co_name, frame.f_code.co_filename)
    frame = frame.f_back
