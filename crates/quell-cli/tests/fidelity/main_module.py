"""What __main__ is."""
import sys

main = sys.modules["__main__"]
print(type(main), main.__name__, __name__)
print({k: v for k, v in vars(main).items() if k not in ("__builtins__",)})
print(__builtins__, __spec__, __doc__, __file__)
print(sys.argv, sys.path, sys.flags, sys.warnoptions, sys._xoptions)
print(sys.prefix, sys.exec_prefix, sys.base_prefix, sys.meta_path, sys.path_hooks)
