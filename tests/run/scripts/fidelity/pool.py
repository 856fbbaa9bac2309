"""A process pool: ``pool.py (fork | spawn | forkserver)``."""

import multiprocessing
import os
import sys


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __reduce__(self):
        return Point, (self.x,)


def square(point: Point) -> tuple[Point, str, str, bool]:
    return Point(point.x**2), __name__, os.path.basename(sys.argv[0]), os.getpid() != parent()


def parent() -> int:
    return multiprocessing.parent_process().pid


def fail(_: int) -> None:
    raise ValueError("in the child")


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        for point, *rest in pool.map(square, [Point(n) for n in range(20)]):
            print(point.x, *rest)
        try:
            pool.apply(fail, (1,))
        except ValueError as error:
            print("raised", error)
    process = context.Process(target=print, args=("in a process",))
    process.start()
    process.join()
    print(process.exitcode)
    queue = context.Queue()
    process = context.Process(target=queue.put, args=([1, 2],))
    process.start()
    print(queue.get())
    process.join()
