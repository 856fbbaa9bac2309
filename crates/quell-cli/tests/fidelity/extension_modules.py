# Every extension module of the standard library finds the interpreter's API in the program, and so does ctypes.
import ctypes
import importlib
import os
import sysconfig
import warnings

warnings.simplefilter("ignore")
for file in sorted(os.listdir(sysconfig.get_config_var("DESTSHARED"))):
    name, _, end = file.partition(".")
    if end.endswith("so"):
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(name, type(error).__name__, error)
        else:
            print(name)
ctypes.pythonapi.PyLong_FromLong.restype = ctypes.py_object
print(ctypes.pythonapi.PyLong_FromLong(1 << 40))
print(ctypes.c_int.in_dll(ctypes.pythonapi, "Py_VerboseFlag"))
