"""The function that ``@quell.timeout(seconds)`` leaves in place of the decorated one."""

import functools


def decorate(function, scope):
    """Return a function that runs ``function`` in a fresh copy of ``scope`` each time."""

    @functools.wraps(function)
    def limited(*args, **kwargs):
        with scope._copy():
            return function(*args, **kwargs)

    return limited
