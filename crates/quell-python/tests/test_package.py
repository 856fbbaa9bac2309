"""The package as people see it."""

import pydoc
import subprocess
import sys
from pathlib import Path

import pytest
import quell


def python(code, *options):
    """Run code in a fresh interpreter; what it prints."""
    command = [sys.executable, *options, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_everything_public_is_there_and_has_a_docstring():
    assert sorted(quell.__all__) == quell.__all__
    for name in quell.__all__:
        value = getattr(quell, name)
        if name == "__version__":
            assert value.count(".") == 2
            continue
        assert value.__doc__, name
        # A signature that is left in the text is one that Python has not understood.
        assert "--" not in value.__doc__.splitlines(), name
        if not isinstance(value, type) or value.__module__ != "quell":
            continue
        assert value.__qualname__ == name
        for attribute, member in vars(value).items():
            if attribute.startswith("_") or attribute in ("limit", "used"):
                continue
            assert member.__doc__, f"{name}.{attribute}"


def test_help_reads_well():
    text = pydoc.render_doc(quell, renderer=pydoc.plaintext)
    for line in (
        "Threads that can be stopped.",
        "acquire(self, /, blocking=True, timeout=-1)",
        "class timeout(builtins.object)",
        "Barrier(parties, action=None, timeout=None)",
        "interrupt(thread, exc=None, *, force=False, impersonate=False)",
    ):
        assert line in text


def test_unknown_names():
    with pytest.raises(AttributeError, match="no attribute 'Lokc'"):
        quell.Lokc  # noqa: B018
    assert set(quell.__all__) <= set(dir(quell))


def test_names_are_made_when_they_are_asked_for():
    code = (
        "import quell\n"
        "made = lambda: {name for name in quell.__all__ if name in vars(quell)}\n"
        "print(*made())\n"
        "first = quell.Event\n"
        "print(*sorted(made()), first is quell.Event, first is quell._quell.Event)\n"
        "del quell.Event\n"
        "print(quell.Event is first)\n"
        "quell.Event = 1\n"
        "print(quell.Event, quell._quell.Event is first)\n"
    )
    assert python(code).splitlines() == [
        "__version__",
        "Event __version__ True True",
        "True",
        "1 True",
    ]


@pytest.mark.parametrize("name", sorted({*quell.__all__} - {"__version__"}))
def test_each_name_can_be_the_first(name):
    """Whole, whichever module is asked, and without the others."""
    code = (
        f"import pickle, quell.{{0}} as module\nvalue = module.{name}\n"
        f"import quell\nassert value is quell.{name} and pickle.loads(pickle.dumps(value)) is value\n"
        "print(*sorted(dir(value)))"
    )
    alone = python(code.format("_quell"))
    code = f"from quell import *\nimport quell\nprint(*sorted(dir(quell.{name})))"
    assert alone == python(code)


@pytest.mark.parametrize(
    "make",
    [
        "quell.Queue().mutex",
        "quell.PriorityQueue().mutex",
        "quell.Condition()._lock",
    ],
)
def test_locks_that_others_bring_along_are_whole(make):
    code = (
        f"import quell; lock = {make}\n"
        "assert lock.acquire(timeout=1); lock.release()\n"
        "with lock: pass\n"
        "print(type(lock).__name__, *sorted(vars(type(lock))), type(lock) is getattr(quell, type(lock).__name__))"
    )
    name, *attributes, same = python(code).split()
    assert attributes == sorted(vars(getattr(quell, name))) and same == "True"


def test_private_names_are_not_the_packages():
    for name in ("Operation", "ScopeTimeout"):
        with pytest.raises(AttributeError, match=f"module 'quell' has no attribute '{name}'"):
            getattr(quell, name)
        assert name not in dir(quell) and name in dir(quell._quell)
        assert isinstance(getattr(quell._quell, name), type)


def test_the_first_use_of_a_name_by_many_threads_at_once():
    code = (
        "import sys, threading, quell\n"
        "sys.setswitchinterval(1e-6)\n"
        "barrier = threading.Barrier(8)\n"
        "def use(seen):\n"
        "    barrier.wait()\n"
        "    for name in quell.__all__: seen.append(getattr(quell, name))\n"
        "    with quell.Lock(), quell.RLock(), quell.mask(), quell.timeout(9): quell.Queue().put(1)\n"
        "lists = [[] for _ in range(8)]\n"
        "threads = [threading.Thread(target=use, args=(seen,)) for seen in lists]\n"
        "for t in threads: t.start()\n"
        "for t in threads: t.join()\n"
        "print(all(a is b for seen in lists for a, b in zip(lists[0], seen, strict=True)), len(lists[-1]))"
    )
    for _ in range(10):
        assert python(code).split() == ["True", str(len(quell.__all__))]


def test_star_import():
    names = {}
    exec("from quell import *", names)
    assert names["Empty"] is quell.Empty and "Lock" in names


def test_the_import_is_cheap():
    # Seconds of processor time of the import alone; the least of a few, as the machine may be busy.
    code = "import time; t = time.process_time(); import quell; print(time.process_time() - t)"
    assert min(float(python(code, "-I")) for _ in range(7)) < 0.010


def test_the_import_brings_no_other_modules():
    code = (
        "import sys; before = set(sys.modules); import quell; "
        "print(*(m for m in set(sys.modules) - before if not m.startswith('quell')))"
    )
    # A debug build of the interpreter looks up the codecs that others have built in.
    codecs = {"encodings.ascii"} if hasattr(sys, "gettotalrefcount") else set()
    assert set(python(code, "-I").split()) <= codecs


def test_it_is_typed():
    assert (Path(quell.__file__).parent / "py.typed").exists()


def test_nothing_is_left_running_at_exit():
    code = (
        "import quell, threading\n"
        "t = threading.Thread(target=quell.Event().wait, daemon=True); t.start()\n"
        "s = quell.timeout(0.001); s.__enter__()\n"
        "u = quell.timeout(1000); u.__enter__()\n"
        "try:\n"
        "    while True: pass\n"
        "except BaseException as error: print(type(error).__name__)\n"
    )
    for _ in range(5):
        assert python(code).strip() == "ScopeTimeout"


def test_timeouts_that_go_off_while_the_interpreter_ends():
    code = (
        "import quell, threading, time\n"
        "def body():\n"
        "    while True:\n"
        "        try:\n"
        "            with quell.timeout(0.0005):\n"
        "                while True: pass\n"
        "        except quell.Timeout: pass\n"
        "for _ in range(3): threading.Thread(target=body, daemon=True).start()\n"
        "time.sleep(0.05); print('end')\n"
    )
    for _ in range(5):
        assert python(code).strip() == "end"
