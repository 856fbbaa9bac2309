"""Uses what is installed in the virtual environment."""

import importlib.metadata
import site
import sys
import sysconfig

import numpy
import pytest

print(numpy.__file__, pytest.__file__, numpy.arange(5).sum())
print(importlib.metadata.version("numpy"))
print(site.getsitepackages(), sysconfig.get_paths()["purelib"], sys.prefix)
