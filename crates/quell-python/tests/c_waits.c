/* C libraries that wait by themselves, as drivers of databases do: see test_c_waits.py. */

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <time.h>

extern void *PyEval_SaveThread(void);
extern void PyEval_RestoreThread(void *);
extern int PyErr_CheckSignals(void);

/* How often a signal has ended a wait, which was then begun again. */
volatile int restarted;

static int wait_for(int fd, int milliseconds) {
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    for (;;) {
        int ready = poll(&wanted, 1, milliseconds);
        if (ready >= 0 || errno != EINTR) {
            return ready;
        }
        restarted++;
    }
}

/* As libpq: without the interpreter's lock, until there is something to read. */
int until_readable(int fd) {
    return wait_for(fd, -1);
}

/* As psycopg: in turns, each of which is begun again, whole, when a signal has come; between them it asks for signals.
   Called with the interpreter's lock; -1 with an exception set. */
int in_turns(int fd, int milliseconds) {
    for (;;) {
        void *thread = PyEval_SaveThread();
        int ready = wait_for(fd, milliseconds);
        PyEval_RestoreThread(thread);
        if (PyErr_CheckSignals() != 0) {
            return -1;
        }
        if (ready != 0) {
            return ready;
        }
    }
}
