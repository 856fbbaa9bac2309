/*
 * Locks, conditions, semaphores, events and barriers, when nobody interrupts: what they do, and how they fail.
 */

#include "check.h"

static void *tries_and_releases(void *lock) {
    CHECK_STATUS(QUELL_BUSY, quell_lock_try_acquire(lock));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_lock_acquire(lock, quell_after(QUELL_MILLISECONDS(1))));
    CHECK_STATUS(QUELL_NOT_OWNER, quell_lock_release(lock));
    CHECK_CONTAINS("cannot release a lock that thread", quell_last_error());
    CHECK(!quell_lock_is_owned(lock));
    return NULL;
}

static void lock(void) {
    quell_lock *lock = quell_lock_new();
    CHECK_STATUS(QUELL_NOT_OWNER, quell_lock_release(lock));
    CHECK_OK(quell_lock_acquire(lock, QUELL_FOREVER));
    CHECK(quell_lock_is_owned(lock));
    CHECK_STATUS(QUELL_DEADLOCK, quell_lock_acquire(lock, QUELL_FOREVER));
    CHECK_CONTAINS("quell_rlock_new", quell_last_error());
    CHECK_STATUS(QUELL_BUSY, quell_lock_try_acquire(lock));
    finish(start(tries_and_releases, lock));
    CHECK_STATUS(QUELL_BUSY, quell_lock_free(lock));
    CHECK_OK(quell_lock_release(lock));
    CHECK_STATUS(QUELL_NOT_OWNER, quell_lock_release(lock));
    CHECK_OK(quell_lock_acquire(lock, QUELL_NOW));
    CHECK_OK(quell_lock_release(lock));
    CHECK_OK(quell_lock_free(lock));
}

static void rlock(void) {
    quell_lock *lock = quell_rlock_new();
    for (int i = 0; i < 3; i++)
        CHECK_OK(i ? quell_lock_acquire(lock, QUELL_FOREVER) : quell_lock_try_acquire(lock));
    for (int i = 0; i < 3; i++) {
        finish(start(tries_and_releases, lock));
        CHECK_OK(quell_lock_release(lock));
    }
    CHECK_STATUS(QUELL_NOT_OWNER, quell_lock_release(lock));
    CHECK_OK(quell_lock_free(lock));
}

struct shared {
    quell_lock *lock;
    quell_condition *changed;
    int waiting, woken;
};

static void *waits(void *argument) {
    struct shared *shared = argument;
    CHECK_OK(quell_lock_acquire(shared->lock, long_wait()));
    shared->waiting++;
    CHECK_OK(quell_condition_notify_all(shared->changed));
    while (shared->woken == 0)
        CHECK_OK(quell_condition_wait(shared->changed, shared->lock, long_wait()));
    shared->woken--;
    CHECK_OK(quell_lock_release(shared->lock));
    return NULL;
}

static void condition(void) {
    for (int depth = 0; depth < 3; depth++) {
        /* With a Lock, and with an RLock that was taken once and twice: all of it is released. */
        struct shared shared = {depth ? quell_rlock_new() : quell_lock_new(), quell_condition_new(), 0, 0};
        CHECK_STATUS(QUELL_NOT_OWNER, quell_condition_wait(shared.changed, shared.lock, QUELL_FOREVER));
        for (int i = 0; i < (depth ? depth : 1); i++)
            CHECK_OK(quell_lock_acquire(shared.lock, QUELL_FOREVER));
        CHECK_STATUS(QUELL_TIMED_OUT,
                     quell_condition_wait(shared.changed, shared.lock, quell_after(QUELL_MILLISECONDS(1))));
        CHECK(quell_lock_is_owned(shared.lock));
        quell_thread *threads[3];
        for (int i = 0; i < 3; i++)
            threads[i] = start(waits, &shared);
        while (shared.waiting < 3)
            CHECK_OK(quell_condition_wait(shared.changed, shared.lock, long_wait()));
        /* They wait: the count was raised under the lock, which they gave back by waiting. */
        CHECK_STATUS(QUELL_BUSY, quell_condition_free(shared.changed));
        shared.woken = 1;
        CHECK_OK(quell_condition_notify(shared.changed, 1));
        for (int i = 0; i < (depth ? depth : 1); i++)
            CHECK_OK(quell_lock_release(shared.lock));
        CHECK_STATUS(QUELL_NOT_OWNER, quell_lock_release(shared.lock));
        CHECK_OK(quell_lock_acquire(shared.lock, long_wait()));
        shared.woken += 2;
        CHECK_OK(quell_lock_release(shared.lock));
        CHECK_OK(quell_condition_notify_all(shared.changed));
        for (int i = 0; i < 3; i++)
            finish(threads[i]);
        CHECK_EQUAL(0, shared.woken);
        CHECK_OK(quell_condition_free(shared.changed));
        CHECK_OK(quell_lock_free(shared.lock));
    }
}

static void semaphore(void) {
    quell_semaphore *semaphore = quell_semaphore_new(2);
    CHECK_EQUAL(2, quell_semaphore_value(semaphore));
    CHECK_OK(quell_semaphore_try_acquire(semaphore, 2));
    CHECK_STATUS(QUELL_BUSY, quell_semaphore_try_acquire(semaphore, 1));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_semaphore_acquire(semaphore, 1, quell_after(1000)));
    CHECK_OK(quell_semaphore_release(semaphore, 3));
    CHECK_OK(quell_semaphore_acquire(semaphore, 3, QUELL_NOW));
    CHECK_OK(quell_semaphore_acquire(semaphore, 0, QUELL_NOW));
    CHECK_STATUS(QUELL_INVALID, quell_semaphore_acquire(semaphore, UINT32_MAX, QUELL_NOW));
    CHECK_OK(quell_semaphore_release(semaphore, (1u << 30) - 1));
    CHECK_STATUS(QUELL_OVERFLOW, quell_semaphore_release(semaphore, 1));
    CHECK_STATUS(QUELL_OVERFLOW, quell_semaphore_release(semaphore, UINT32_MAX));
    CHECK_EQUAL((1u << 30) - 1, quell_semaphore_value(semaphore));
    CHECK_OK(quell_semaphore_free(semaphore));
    CHECK(quell_semaphore_new(1u << 30) == NULL);
    CHECK_CONTAINS("1073741823 is the most", quell_last_error());
}

static void bounded_semaphore(void) {
    quell_semaphore *semaphore = quell_bounded_semaphore_new(2);
    CHECK_STATUS(QUELL_OVERFLOW, quell_semaphore_release(semaphore, 1));
    CHECK_CONTAINS("given back twice, or never taken", quell_last_error());
    CHECK_STATUS(QUELL_INVALID, quell_semaphore_try_acquire(semaphore, 3));
    CHECK_CONTAINS("would wait for ever", quell_last_error());
    CHECK_OK(quell_semaphore_try_acquire(semaphore, 2));
    CHECK_OK(quell_semaphore_release(semaphore, 1));
    CHECK_STATUS(QUELL_OVERFLOW, quell_semaphore_release(semaphore, 2));
    CHECK_EQUAL(1, quell_semaphore_value(semaphore));
    CHECK_OK(quell_semaphore_free(semaphore));
    CHECK(quell_bounded_semaphore_new(UINT32_MAX) == NULL);
}

static void *sets(void *event) {
    CHECK_OK(quell_event_set(event));
    return NULL;
}

/* Who is woken by an event may free it at once, while the thread that has set it is still on its way out. */
static void event(void) {
    quell_event *event = quell_event_new();
    CHECK(!quell_event_is_set(event));
    CHECK_OK(quell_event_set(event));
    CHECK_OK(quell_event_set(event));
    CHECK(quell_event_is_set(event));
    CHECK_OK(quell_event_wait(event, QUELL_NOW));
    CHECK_OK(quell_event_clear(event));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_event_wait(event, QUELL_NOW));
    CHECK_OK(quell_event_free(event));
    for (long i = stress(2000); i > 0; i--) {
        event = quell_event_new();
        quell_thread *thread = start(sets, event);
        CHECK_OK(quell_event_wait(event, long_wait()));
        CHECK_OK(quell_event_free(event));
        finish(thread);
    }
}

static void acted(void *count) {
    ++*(int *)count;
}

struct meeting {
    quell_barrier *barrier;
    int *acted;
    atomic_int sum;
};

static void *meets(void *argument) {
    struct meeting *meeting = argument;
    for (int round = 1; round <= 50; round++) {
        size_t index = 99;
        CHECK_OK(quell_barrier_wait(meeting->barrier, &index, long_wait()));
        /* Nobody begins the next round before all have seen this one. */
        CHECK(*meeting->acted == 2 * round - 1);
        atomic_fetch_add(&meeting->sum, (int)index);
        CHECK_OK(quell_barrier_wait(meeting->barrier, NULL, long_wait()));
    }
    return NULL;
}

static void *breaks(void *barrier) {
    CHECK_STATUS(QUELL_TIMED_OUT, quell_barrier_wait(barrier, NULL, quell_after(QUELL_MILLISECONDS(1))));
    return NULL;
}

static void *finds_it_broken(void *barrier) {
    size_t index = 99;
    CHECK_STATUS(QUELL_BROKEN, quell_barrier_wait(barrier, &index, long_wait()));
    CHECK_EQUAL(99, index);
    return NULL;
}

static void barrier(void) {
    int count = 0;
    struct meeting meeting = {quell_barrier_new(3, acted, &count), &count, 0};
    quell_thread *threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = start(meets, &meeting);
    for (int i = 0; i < 3; i++)
        finish(threads[i]);
    CHECK_EQUAL(100, count);
    CHECK_EQUAL(50 * (0 + 1 + 2), atomic_load(&meeting.sum));
    finish(start(breaks, meeting.barrier));
    finish(start(finds_it_broken, meeting.barrier));
    CHECK_OK(quell_barrier_reset(meeting.barrier));
    quell_thread *waiter = start(finds_it_broken, meeting.barrier);
    while (quell_barrier_waiting(meeting.barrier) == 0)
        CHECK_OK(quell_sleep(QUELL_NOW));
    CHECK_STATUS(QUELL_BUSY, quell_barrier_free(meeting.barrier));
    CHECK_OK(quell_barrier_abort(meeting.barrier));
    finish(waiter);
    CHECK_OK(quell_barrier_free(meeting.barrier));
    CHECK(quell_barrier_new(0, NULL, NULL) == NULL);
}

static void deadlines(void) {
    quell_deadline before = quell_now();
    quell_deadline at = quell_after(QUELL_MILLISECONDS(5));
    CHECK(at >= before + QUELL_MILLISECONDS(5));
    CHECK_OK(quell_sleep(at));
    CHECK(quell_now() >= at);
    quell_event *event = quell_event_new();
    at = quell_after(QUELL_MICROSECONDS(3000));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_event_wait(event, at));
    CHECK(quell_now() >= at);
    CHECK_CONTAINS("quell_event_wait() in thread", quell_last_error());
    CHECK_CONTAINS("the deadline has passed", quell_last_error());
    CHECK(quell_after(UINT64_MAX) == QUELL_FOREVER);
    CHECK(quell_after(QUELL_SECONDS(1)) < QUELL_FOREVER);
    CHECK_OK(quell_event_free(event));
}

static const struct test tests[] = {
    {"lock", lock},
    {"rlock", rlock},
    {"condition", condition},
    {"semaphore", semaphore},
    {"bounded_semaphore", bounded_semaphore},
    {"event", event},
    {"barrier", barrier},
    {"deadlines", deadlines},
};
RUN(tests)
