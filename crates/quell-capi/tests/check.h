/*
 * What the C tests share: checks that count, tests with names, a closing line, and small helpers.
 *
 * A test file has a table of tests and ends with RUN(tests). A check that fails says what and where, and the test goes on;
 * the program then ends with 1. With an argument, only tests run whose name contains it. QUELL_STRESS multiplies the counts
 * of the stress tests; QUELL_SLOW, set where a tool makes everything slow, divides them.
 */

#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <quell.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

struct test {
    const char *name;
    void (*run)(void);
};

static atomic_long checks_done, checks_failed;

/* A check in any thread. */
#define CHECK(condition) check_((condition) ? true : false, #condition, __FILE__, __LINE__)
/* The call ends with this status. */
#define CHECK_STATUS(wanted, call) check_status_((wanted), (call), #call, __FILE__, __LINE__)
#define CHECK_OK(call) CHECK_STATUS(QUELL_OK, call)
/* Two whole numbers are equal. */
#define CHECK_EQUAL(wanted, value) check_equal_((intmax_t)(wanted), (intmax_t)(value), #value, __FILE__, __LINE__)
/* A string contains another. */
#define CHECK_CONTAINS(part, text) check_contains_((part), (text), #text, __FILE__, __LINE__)

static inline bool check_(bool good, const char *what, const char *file, int line) {
    atomic_fetch_add(&checks_done, 1);
    if (!good) {
        atomic_fetch_add(&checks_failed, 1);
        printf("%s:%d: not so: %s\n", file, line, what);
    }
    return good;
}

static inline bool check_status_(quell_status wanted, quell_status got, const char *call, const char *file, int line) {
    atomic_fetch_add(&checks_done, 1);
    if (wanted != got) {
        atomic_fetch_add(&checks_failed, 1);
        printf("%s:%d: %s: \"%s\", not \"%s\" (%s)\n", file, line, call, quell_strerror(got), quell_strerror(wanted),
               quell_last_error());
    }
    return wanted == got;
}

static inline bool check_equal_(intmax_t wanted, intmax_t got, const char *what, const char *file, int line) {
    atomic_fetch_add(&checks_done, 1);
    if (wanted != got) {
        atomic_fetch_add(&checks_failed, 1);
        printf("%s:%d: %s is %jd, not %jd\n", file, line, what, got, wanted);
    }
    return wanted == got;
}

static inline bool check_contains_(const char *part, const char *text, const char *what, const char *file, int line) {
    atomic_fetch_add(&checks_done, 1);
    bool good = text && strstr(text, part);
    if (!good) {
        atomic_fetch_add(&checks_failed, 1);
        printf("%s:%d: %s has no \"%s\": %s\n", file, line, what, part, text ? text : "NULL");
    }
    return good;
}

/* How often a stress test goes round. */
static inline long stress(long count) {
    const char *factor = getenv("QUELL_STRESS"), *slow = getenv("QUELL_SLOW");
    if (factor)
        count *= atol(factor);
    if (slow && atol(slow) > 0)
        count /= atol(slow);
    return count > 0 ? count : 1;
}

/* A small, fast source of numbers (xorshift64*), so that a run can be repeated. */
static inline uint64_t below(uint64_t *random, uint64_t limit) {
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return ((*random * UINT64_C(0x2545F4914F6CDD1D)) >> 33) % limit;
}

/* Keeps the processor busy for a moment that no clock measures. */
static inline void spin(uint64_t rounds) {
    for (volatile uint64_t i = 0; i < rounds; i++) {
    }
}

/* Far enough away that who waits for it has failed; and ends before the test's own limit. */
static inline quell_deadline long_wait(void) {
    return quell_after(QUELL_SECONDS(100));
}

/* Interrupts a thread with a reason that says `message`. */
static inline quell_status interrupt_with(quell_thread_id id, const char *message, quell_receipt **receipt) {
    quell_reason *reason = quell_reason_new(message, NULL, NULL);
    quell_status status = quell_interrupt(id, reason, receipt);
    quell_reason_release(reason);
    return status;
}

/* Gives up the reason of the interrupt that was just delivered. */
static inline void drop_reason(void) {
    quell_reason_release(quell_take_reason());
}

/* Starts a thread, or ends the program. */
static inline quell_thread *start(void *(*function)(void *), void *argument) {
    quell_thread *thread = quell_spawn(function, argument, NULL);
    if (!thread) {
        printf("%s\n", quell_last_error());
        exit(1);
    }
    return thread;
}

/* Joins a thread, frees its handle, and says what it returned. */
static inline void *finish(quell_thread *thread) {
    void *result = NULL;
    CHECK_OK(quell_join(thread, &result, long_wait()));
    CHECK_OK(quell_thread_free(thread));
    return result;
}

/* The tests, those that were asked for, one after the other. */
static inline int run_tests(const struct test *tests, size_t count, int argc, char **argv) {
    int passed = 0, failed = 0, left_out = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < count; i++) {
        if (argc > 1 && !strstr(tests[i].name, argv[1])) {
            left_out++;
            continue;
        }
        long before = atomic_load(&checks_failed);
        long done = atomic_load(&checks_done);
        tests[i].run();
        /* No test leaves anything to the next, and none passes that has checked nothing. */
        CHECK_OK(quell_checkpoint());
        CHECK_EQUAL(0, quell_scope_depth());
        drop_reason();
        CHECK(atomic_load(&checks_done) > done + 2);
        bool good = atomic_load(&checks_failed) == before;
        printf("test %s ... %s\n", tests[i].name, good ? "ok" : "FAILED");
        good ? passed++ : failed++;
    }
    printf("%ld checks\n", atomic_load(&checks_done));
    printf("test result: %s. %d passed; %d failed; 0 ignored; 0 measured; %d filtered out\n", failed ? "FAILED" : "ok",
           passed, failed, left_out);
    return failed > 0;
}

#define RUN(tests)                                                        \
    int main(int argc, char **argv) {                                     \
        return run_tests(tests, sizeof(tests) / sizeof *(tests), argc, argv); \
    }

#endif
