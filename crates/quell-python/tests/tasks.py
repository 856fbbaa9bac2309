"""Tasks for executors."""

import threading

import quell
from conftest import PATIENCE


class Mine(BaseException):
    pass


def block():
    quell.Event().wait()


def swallow():
    """Ends only when it has been told often enough."""
    seen = 0
    while seen < 3:
        try:
            block()
        except quell.Interrupt:
            seen += 1


class Begun:
    """A function that says when it has begun, and what it was ended by."""

    def __init__(self, function=block):
        self.function, self.begun, self.ended = function, threading.Event(), None

    def __call__(self):
        try:
            self.begun.set()
            return self.function()
        except BaseException as error:
            self.ended = type(error)
            raise

    def on(self, executor, submit="submit", *args):
        future = getattr(executor, submit)(*args, self)
        assert self.begun.wait(PATIENCE)
        return future
