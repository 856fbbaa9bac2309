import sys

from .. import inner

print(__name__, __package__, __file__, inner.__name__, sys.argv, sys.path[0])
