//! Threads that can be stopped: the core of quell. It knows nothing of Python.
