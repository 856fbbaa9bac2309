/* Stands in front of the C library's `syscall`, through which quell's waits sleep, and holds the main thread just before a sleep: it
 * has given up the interpreter's lock by then, and has looked for the last time. Loaded by `test_before_sleep.py`. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How many sleeps are to be held; set by the test. */
atomic_int to_hold;
/* How many of those that were held ended because their time was over. */
atomic_int timed_out;
/* Posted when one is held; waited for by the thread that is held. */
sem_t held, go_on;

long syscall(long number, ...) {
    long argument[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        argument[i] = va_arg(list, long);
    va_end(list);
    static long (*next)(long, ...);
    if (!next)
        next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_futex && (argument[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && getpid() == gettid()
        && atomic_load(&to_hold) > 0) {
        atomic_fetch_sub(&to_hold, 1);
        sem_post(&held);
        /* A signal that comes here has come before the sleep. */
        while (sem_wait(&go_on) != 0)
            ;
        long result = next(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
        if (result == -1 && errno == ETIMEDOUT)
            atomic_fetch_add(&timed_out, 1);
        return result;
    }
    return next(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
}
