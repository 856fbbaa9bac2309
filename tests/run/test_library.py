"""An extension module that was linked with CPython's shared library, which a build of the module for one interpreter
may do, meets one interpreter all the same: the one that runs, wherever the command has it from."""

from __future__ import annotations

import pathlib
import subprocess
import sysconfig

import pytest
from harness import Way

SOURCE = r"""
#include <Python.h>

static PyObject *call(PyObject *module, PyObject *callable) {
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *result = PyObject_CallNoArgs(callable);
    PyGILState_Release(state);
    return result;
}

static PyMethodDef methods[] = {{"call", call, METH_O, ""}, {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "linked", .m_methods = methods};

PyMODINIT_FUNC PyInit_linked(void) {
    return PyModule_Create(&definition);
}
"""


def variable(name: str) -> str:
    return str(sysconfig.get_config_var(name) or "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    libraries, version = variable("LIBDIR"), variable("LDVERSION")
    header = pathlib.Path(sysconfig.get_path("include"), "Python.h")
    if not variable("Py_ENABLE_SHARED") or not header.exists():
        pytest.skip("this CPython has no shared library, or no headers")
    folder = tmp_path_factory.mktemp("linked")
    (folder / "linked.c").write_text(SOURCE)
    subprocess.run(
        [
            *["cc", "-shared", "-fPIC", "-o", folder / "linked.so", folder / "linked.c"],
            *[f"-I{header.parent}", f"-L{libraries}", f"-Wl,-rpath,{libraries}"],
            *["-Wl,--no-as-needed", f"-lpython{version}"],
        ],
        check=True,
    )
    needed = subprocess.run(
        ["readelf", "-d", folder / "linked.so"], check=True, capture_output=True, text=True
    )
    assert f"libpython{version}" in needed.stdout, needed.stdout
    return folder


def test_it_meets_the_interpreter_that_runs(way: Way, folder: pathlib.Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "import linked\n"
        "print(linked.call(lambda: {'own': [None, True, 1, 'one']}))\n"
    )
    run = way.run("-c", code, report=False)
    assert (run.code, run.stdout) == (0, "{'own': [None, True, 1, 'one']}\n"), str(run)


def test_it_is_interrupted_as_others_are(way: Way, folder: pathlib.Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "import linked\n"
        "def spin():\n"
        "    while True:\n"
        "        pass\n"
        "try:\n"
        "    linked.call(spin)\n"
        "finally:\n"
        "    print('left')\n"
    )
    run = way.run("--timeout", "300ms", "-c", code)
    assert (run.code, run.stdout) == (124, "left\n"), str(run)
