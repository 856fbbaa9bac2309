"""Classes of the main module can be found again, and its source read."""

import dataclasses
import doctest
import importlib
import inspect
import pickle
import sys


@dataclasses.dataclass
class Point:
    """A point.

    >>> Point(1)
    Point(x=1)
    """

    x: int


copied = pickle.loads(pickle.dumps(Point(3)))
print(copied, type(copied) is Point, pickle.dumps(Point))
print(inspect.getsource(Point), inspect.getsourcefile(Point), inspect.getmodule(Point))
print(doctest.testmod(), importlib.import_module("__main__") is sys.modules[__name__])
