"""An unhandled exception, three calls deep."""


def inner(n):
    return 1 / n


def outer():
    return [inner(k) for k in (1, 0)]


print("before", flush=True)
outer()
