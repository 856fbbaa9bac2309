"""What runs at the end, and in which order."""
import atexit
import threading


class Last:
    def __del__(self):
        print("finalizer")


last = Last()
atexit.register(print, "registered first")
atexit.register(print, "registered second")


@atexit.register
def fails():
    raise RuntimeError("in an exit function")


def late():
    threading.main_thread().join()
    print("thread after main")


threading.Thread(target=late).start()
print("main ends")
