"""A daemon thread does not keep the process alive."""
import threading

started = threading.Event()


def work():
    started.set()
    threading.Event().wait()


threading.Thread(target=work, daemon=True).start()
started.wait()
print("main ends")
