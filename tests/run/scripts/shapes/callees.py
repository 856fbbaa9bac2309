"""Every way to enter a function that nobody has looked at.

The interrupt comes while the thread is blocked in ``with held:``, which has no safe point after it;
then the thread enters the function.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from .forms import callee, caught

#: Set by who runs the shapes.
Stop: type[BaseException] = BaseException


def endless() -> str:
    while True:
        pass


class Enter:
    def __add__(self, other: int) -> str:
        return endless()

    def __getattr__(self, name: str) -> str:
        return endless()

    def __iter__(self) -> Enter:
        return self

    def __next__(self) -> str:
        return endless()

    def __getitem__(self, key: int) -> str:
        return endless()


@callee
def by_call(held: threading.Lock) -> None:
    try:
        with held:
            endless()
    except Stop:
        caught()


@callee
def by_operator(held: threading.Lock) -> None:
    e = Enter()
    try:
        with held:
            e + 1
    except Stop:
        caught()


@callee
def by_attribute(held: threading.Lock) -> None:
    e = Enter()
    try:
        with held:
            e.anything
    except Stop:
        caught()


@callee
def by_next(held: threading.Lock) -> None:
    e = Enter()
    try:
        with held:
            for _ in e:
                return
    except Stop:
        caught()


@callee
def by_item(held: threading.Lock) -> None:
    e = Enter()
    try:
        with held:
            e[0]
    except Stop:
        caught()


@callee
def by_map(held: threading.Lock) -> None:
    m = map(lambda _: endless(), [1])
    try:
        with held:
            [*m][0]
    except Stop:
        caught()


@callee
def by_new_generator(held: threading.Lock) -> None:
    def items() -> Iterator[str]:
        yield endless()

    m = items()
    try:
        with held:
            for _ in m:
                return
    except Stop:
        caught()


@callee
def by_suspended_generator(held: threading.Lock) -> None:
    def items() -> Iterator[int]:
        yield 0
        while True:
            pass

    m = items()
    next(m)
    try:
        with held:
            for _ in m:
                return
    except Stop:
        caught()


@callee
def by_exec(held: threading.Lock) -> None:
    try:
        with held:
            exec("class C:\n while True: pass")
    except Stop:
        caught()
