"""A pool of spawned workers."""
import multiprocessing
import sys


def square(n):
    return n * n, __name__, sys.argv[1:]


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(square, range(3)))
