"""Warnings of the running program."""
import warnings

warnings.warn("first")
warnings.warn("in main", DeprecationWarning)
warnings.warn("not shown", ImportWarning)
open("/dev/null")
print(warnings.filters)
