"""Functions that C code calls and whose exceptions it lets through: each is interrupted in the middle, and the `except` around the call
catches the interrupt. They are among the `SHAPES`.
"""

# The calls are what is tested.
# ruff: noqa: C417, S301

import array
import bisect
import codecs
import collections
import contextvars
import csv
import ctypes
import datetime
import functools
import heapq
import io
import itertools
import json
import operator
import pickle
import re
import sqlite3
import weakref
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as Tree
from xml.parsers import expat

from shapes import SHAPES, Stop


def work() -> None:
    """What is to be interrupted."""
    for i in range(20):
        i + 1


def called(call: Callable[[Callable[..., Any]], object]) -> Callable[..., Any]:
    """A shape that calls this again and again with a function, which the call calls."""

    def function(*arguments):
        work()
        return arguments[0] if arguments else None

    def calling(go, log):
        try:
            go()
            while True:
                call(function)
        except Stop as stop:
            return stop

    calling.few = True
    SHAPES[call.__name__] = calling, []
    return call


class Numbers:
    """Each of its methods is called by another part of the interpreter."""

    def __init__(self, called):
        self.called = called
        self.number = 0

    def __lt__(self, other):
        self.called()
        return self.number < other.number

    def __eq__(self, other):
        self.called()
        return self is other

    def __hash__(self):
        self.called()
        return 1

    def __iter__(self):
        return iter([1, 2, 3])

    def __length_hint__(self):
        self.called()
        return 3

    def __getattr__(self, name):
        self.called()
        raise AttributeError(name)

    def __getitem__(self, key):
        self.called()
        raise LookupError(key)

    def __int__(self):
        self.called()
        return 1

    __index__ = __int__

    def __bool__(self):
        self.called()
        return True

    def __format__(self, _spec):
        self.called()
        return ""

    def __reduce__(self):
        self.called()
        return int, (1,)

    def write(self, text):
        self.called()
        return len(text)


# ---- order, keys, iteration


@called
def a_sort_key(f):
    sorted(range(50), key=f)


@called
def a_comparison_of_a_sort(f):
    sorted([3, 1, 2], key=functools.cmp_to_key(lambda a, b: f(a - b)))


@called
def a_key_of_a_maximum(f):
    max(range(50), key=f)


@called
def comparisons_of_a_heap(f):
    heapq.heapify([Numbers(f) for _ in range(5)])


@called
def a_key_of_a_bisection(f):
    bisect.bisect(range(50), 20, key=f)


@called
def a_reduction(f):
    functools.reduce(lambda a, _b: f(a), range(50))


@called
def a_map(f):
    collections.deque(map(f, range(50)), 0)


@called
def a_filter(f):
    list(filter(f, range(50)))


@called
def groups_and_sums(f):
    list(itertools.accumulate(itertools.chain(*itertools.groupby(range(9), f)), lambda a, _: f(a)))


@called
def keys_of_a_dict(f):
    {Numbers(f): 1, Numbers(f): 2}.get(1)


@called
def items_of_a_container(f):
    operator.countOf([Numbers(f), Numbers(f)], 1)


@called
def a_hint_of_length(f):
    list(Numbers(f))


# ---- methods that the interpreter looks for


@called
def an_attribute_that_is_missing(f):
    hasattr(Numbers(f), "missing"), getattr(Numbers(f), "missing", None)


@called
def conversions(f):
    int(Numbers(f)), bool(Numbers(f)), f"{Numbers(f)}", range(Numbers(f)), [1, 2][Numbers(f)]


@called
def a_table_of_a_translation(f):
    "abc".translate(Numbers(f))


@called
def a_class_that_is_made(f):
    class Told:
        def __set_name__(self, owner, name):
            f()

    class Base:
        def __init_subclass__(cls):
            f()

    class Derived(Base):
        told = Told()

    return Derived


@called
def a_time_zone(f):
    class Zone(datetime.tzinfo):
        def utcoffset(self, _when):
            f()
            return datetime.timedelta(0)

    str(datetime.datetime(2000, 1, 1, tzinfo=Zone()))


@called
def a_proxy(f):
    numbers = Numbers(f)
    bool(weakref.proxy(numbers))


@called
def a_context(f):
    contextvars.Context().run(f)


# ---- modules in C


@called
def a_replacement_of_a_pattern(f):
    re.sub("a", lambda m: f(m.group()), "a" * 20)


@called
def hooks_of_json(f):
    json.dumps([{}, object()], default=lambda _: f(1))
    json.loads('[{"a": 1.5}]', object_hook=f, parse_float=f)


@called
def what_pickle_asks(f):
    pickle.loads(pickle.dumps([Numbers(f)] * 3))


@called
def an_error_handler_of_a_codec(f):
    codecs.register_error("quell-test", lambda _: f(("?", 1)))
    b"\xff".decode("ascii", "quell-test")


@called
def lines_for_a_reader(f):
    list(csv.reader(map(f, ["a,b"] * 20)))


@called
def handlers_of_expat(f):
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda _name, _attributes: f()
    parser.CharacterDataHandler = f
    parser.Parse("<a><b>text</b><b>text</b></a>", True)


@called
def a_target_of_a_parser(f):
    class Target:
        def start(self, _name, _attributes):
            f()

        def data(self, _text):
            f()

        def close(self):
            f()

    parser = Tree.XMLParser(target=Target())
    parser.feed("<a><b>text</b></a>")
    parser.close()


@called
def a_file_that_is_printed_to(f):
    print("text", "more", file=Numbers(f))


@called
def a_file_below_a_buffer(f):
    class Raw(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, _buffer):
            f()
            return 0

    io.BufferedReader(Raw()).read()


@called
def numbers_for_an_array(f):
    array.array("i", map(f, range(50)))


@called
def what_sqlite_asks_for_rows(f):
    connection = sqlite3.connect(":memory:")
    try:
        connection.row_factory = lambda _cursor, row: f(row)
        connection.text_factory = f
        connection.execute("select 1, 'text'").fetchall()
    finally:
        connection.close()


@called
def a_call_through_ctypes(f):
    call = ctypes.PyDLL(None).PyObject_CallNoArgs
    call.argtypes, call.restype = [ctypes.py_object], ctypes.py_object
    call(f)
