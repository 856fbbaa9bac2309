"""Random programs to be interrupted: nests of `with`, `try`, loops, calls and generators around locks and queues, with what must
hold of them whenever they have been left.

A program is a tree. `source()` writes it down as a function of an `Environment`, which notes what was done; `Environment.faults()`
says what is wrong afterwards. `smaller()` gives the trees to try next when one has failed.
"""

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import quell


class Manager:
    """A context manager in Python, that counts."""

    def __init__(self, environment: "Environment") -> None:
        self.environment = environment

    def __enter__(self) -> None:
        self.environment.begun += 1
        self.environment.inside += 1

    def __exit__(self, *exc: object) -> None:
        self.environment.inside -= 1
        self.environment.ended += 1


class Environment:
    """What one run of a program uses and notes."""

    def __init__(self) -> None:
        self.locks = [quell.Lock(), quell.RLock(), quell.Condition(), quell.Lock()]
        self.permits = [quell.Semaphore(1), quell.BoundedSemaphore(1)]
        self.standard = [threading.Lock(), threading.RLock(), threading.Lock()]
        self.queue = quell.Queue()
        self.event = quell.Event()
        self.number = 0
        self.sent: list[int] = []
        self.got: list[int] = []
        self.log: list[tuple[str, int]] = []
        self.begun = self.inside = self.ended = 0
        self.steps: list[int] = []
        self.wrong: list[str] = []

    def next(self) -> int:
        """A number that was not there before."""
        self.number += 1
        return self.number

    def manager(self) -> Manager:
        return Manager(self)

    @contextlib.contextmanager
    def generated(self) -> Iterator[None]:
        self.begun += 1
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
            self.ended += 1

    @contextlib.contextmanager
    def locked(self, lock: Any) -> Iterator[None]:
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def faults(self) -> list[str]:
        """What should not be, now that the program has been left."""
        found = list(self.wrong)
        for lock in self.locks:
            if "unlocked" not in repr(lock):
                found.append(f"left held: {lock!r}")
        for permits in self.permits:
            if permits._value != 1:
                found.append(f"not given back: {permits!r}")
        for lock in self.standard:
            if "unlocked" not in repr(lock):
                found.append(f"left held: {lock!r}")
        entered = []
        for what, number in self.log:
            if what == "in":
                entered.append(number)
            elif number in entered and entered.pop() != number:
                found.append(f"finally clauses in the wrong order: {self.log}")
        if entered:
            found.append(f"finally clauses that did not run: {entered}")
        if self.inside or self.begun != self.ended:
            found.append(f"context managers: {self.begun} begun, {self.ended} ended")
        left = []
        with contextlib.suppress(quell.Empty):
            while True:
                left.append(self.queue.get_nowait())
        items = sorted(self.got + left)
        if len(set(items)) != len(items) or not set(self.sent) <= set(items):
            found.append(f"items: {self.sent} sent, {self.got} got, {left} left")
        if len(self.steps) % 2:
            found.append("a shielded block was cut")
        return found


class Node:
    """A statement. `{0}`, `{1}` stand for its blocks, `$` for a number of its own, other braces for choices made once."""

    def __init__(self, template: str, blocks: list["Block"]) -> None:
        self.template = template
        self.blocks = blocks

    def lines(self, names: Iterator[int]) -> Iterator[str]:
        own = next(names)
        for line in self.template.splitlines():
            bare = line.strip()
            margin = line[: len(line) - len(line.lstrip())]
            if bare.startswith("{"):
                for inner in self.blocks[int(bare[1])].lines(names):
                    yield margin + inner
            else:
                yield line.replace("$", str(own))

    def smaller(self) -> Iterator["Node"]:
        for at, block in enumerate(self.blocks):
            for less in block.smaller():
                yield Node(self.template, [*self.blocks[:at], less, *self.blocks[at + 1 :]])


class Block:
    """Statements, one after the other."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    def lines(self, names: Iterator[int]) -> Iterator[str]:
        if not self.nodes:
            yield "pass"
        for node in self.nodes:
            yield from node.lines(names)

    def smaller(self) -> Iterator["Block"]:
        """Without one of the statements; with the insides of one in its place; with one made smaller."""
        for at, node in enumerate(self.nodes):
            before, after = self.nodes[:at], self.nodes[at + 1 :]
            yield Block(before + after)
            for block in node.blocks:
                yield Block(before + block.nodes + after)
            for less in node.smaller():
                yield Block([*before, less, *after])

    def size(self) -> int:
        return sum(1 + sum(block.size() for block in node.blocks) for node in self.nodes)

    def source(self) -> str:
        body = "".join(f"    {line}\n" for line in self.lines(iter(range(10**6))))
        return f"def program(e):\n    n = 0\n{body}"


SIMPLE = [
    "n += 1",
    "nothing()",
    "n = abs(n) + 1",
    "n += sum([i for i in range(3)])",
    "n = max(range(3), key=lambda i: -i)",
    "item = e.next()\ne.queue.put(item)\ne.sent.append(item)",
    "if e.queue.qsize():\n    e.got.append(e.queue.get_nowait())",
    "try:\n    e.got.append(e.queue.get(timeout=0.00002))\nexcept Empty:\n    n += 1",
    "e.event.set()\ne.event.wait()\ne.event.clear()",
    "e.event.wait(0.00002)",
    "time.sleep(0)",
    "quell.checkpoint()",
    "with quell.shield():\n    e.steps.append($)\n    e.steps.append($)",
]

AROUND = [
    "for i$ in range(2):\n    {0}",
    "left$ = 2\nwhile left$:\n    left$ -= 1\n    {0}",
    "try:\n    e.log.append(('in', $))\n    {0}\nfinally:\n    e.log.append(('out', $))",
    "try:\n    {0}\nexcept ValueError:\n    n += 1",
    "try:\n    {0}\n    raise ValueError\nexcept ValueError:\n    {1}",
    "try:\n    {0}\n    raise ValueError\nexcept ValueError:\n    {1}\nfinally:\n    nothing()",
    "def f$(n):\n    {0}\n    return n\nn = f$(n)",
    "def g$(n):\n    for i$ in range(2):\n        {0}\n        yield i$\nfor n in g$(n):\n    {1}",
    "def g$(n):\n    try:\n        e.log.append(('in', $))\n        yield 1\n        {0}\n    finally:\n"
    "        e.log.append(('out', $))\nfor n in g$(n):\n    {1}\ndel g$",
    "class C$:\n    n = 0\n    {0}",
    "with e.manager():\n    {0}",
    "with e.generated():\n    {0}",
    "with quell.mask():\n    {0}",
    "with quell.shield():\n    {0}",
    "with quell.timeout(60):\n    {0}",
    "with contextlib.suppress(quell.Timeout), quell.timeout(0.0001):\n    {0}",
    "try:\n    with quell.timeout(0.0001):\n        try:\n            with quell.timeout(60):\n                {0}\n"
    "        except quell.Timeout:\n            e.wrong.append('the inner timeout')\nexcept quell.Timeout:\n    n += 1",
]

LOCKED = [
    "with {L}:\n    {0}",
    "{L}.acquire()\ntry:\n    {0}\nfinally:\n    {L}.release()",
    "if {L}.acquire(timeout=60):\n    try:\n        {0}\n    finally:\n        {L}.release()",
    "{L}.acquire()\ntry:\n    {0}\nexcept ValueError:\n    {1}\nfinally:\n    {L}.release()",
    "def g$(n):\n    with {L}:\n        {0}\n        yield n\nn = next(g$(n))",
]

#: Only quell's own locks are released in these whatever happens: nobody else knows of the hold.
HELD = [
    "{L}.acquire()\ntry:\n    {0}\nexcept:\n    {L}.release()\n    raise\n{L}.release()",
    "{L}.acquire()\nn += 1\nnothing()\n{L}.release()",
    "def take$(lock):\n    lock.acquire()\ntake$({L})\ntry:\n    {0}\nfinally:\n    {L}.release()",
    "with e.locked({L}):\n    {0}",
    "with contextlib.ExitStack() as stack$:\n    stack$.enter_context({L})\n    {0}",
]


def generate(chance: random.Random, size: int = 14) -> Block:
    """A random program."""
    budget = [size]

    def block(free: tuple[str, ...], depth: int) -> Block:
        nodes = []
        for _ in range(chance.randint(1, 3)):
            if budget[0] > 0:
                budget[0] -= 1
                nodes.append(node(free, depth))
        return Block(nodes)

    def node(free: tuple[str, ...], depth: int) -> Node:
        kind = chance.random()
        if depth > 5 or kind < 0.25:
            return Node(chance.choice(SIMPLE), [])
        if kind < 0.6 or not free:
            template = chance.choice(AROUND)
        else:
            lock = chance.choice(free)
            templates = LOCKED if lock.startswith("e.standard") else LOCKED + HELD
            if lock.startswith("e.permits"):
                # A permit is a hold in a `with` only.
                templates = LOCKED[:1]
            # Another may be acquired inside; the same one only if it is made for that.
            if lock not in ("e.locks[1]", "e.locks[2]", "e.standard[1]"):
                free = tuple(other for other in free if other != lock)
            template = chance.choice(templates).replace("{L}", lock)
        return Node(template, [block(free, depth + 1) for n in range(2) if f"{{{n}}}" in template])

    names = [f"e.locks[{n}]" for n in range(4)]
    names += [f"e.standard[{n}]" for n in range(3)] + [f"e.permits[{n}]" for n in range(2)]
    return block(tuple(names), 0)


def compiled(program: Block) -> Any:
    """The function that the program is."""
    names: dict[str, Any] = {
        "quell": quell,
        "contextlib": contextlib,
        "time": time,
        "Empty": quell.Empty,
        "nothing": lambda: None,
    }
    exec(program.source(), names)
    return names["program"]
