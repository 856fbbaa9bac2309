/*
 * Guarantee 3, nothing half done: an interrupted call had no effect. Under interrupts and deadlines at random moments no item
 * is lost or comes twice, no permit is lost, no lock is left held, no notification is lost.
 */

#include "check.h"

/* Interrupts threads at random, in bursts, until it is told to stop; waits for the last of each burst to be delivered, so that
 * it does not run ahead. The threads go on until it has sent enough. */
struct disturber {
    quell_thread *targets[4], *thread;
    int count;
    quell_event *enough;
    atomic_bool stop;
};

static void *disturb(void *argument) {
    struct disturber *d = argument;
    uint64_t random = 88172645463325252u;
    long left = stress(2000);
    quell_reason *reason = quell_reason_new("disturbed", NULL, NULL);
    while (!atomic_load(&d->stop)) {
        quell_thread_id target = quell_thread_get_id(d->targets[below(&random, (uint64_t)d->count)]);
        quell_receipt *last = NULL;
        for (uint64_t burst = 1 + below(&random, 20); burst > 0; burst--) {
            quell_receipt_free(last);
            quell_interrupt(target, reason, &last);
            if (--left == 0)
                CHECK_OK(quell_event_set(d->enough));
            spin(below(&random, 500));
        }
        if (last)
            CHECK_OK(quell_receipt_wait(last, NULL, long_wait()));
        quell_receipt_free(last);
    }
    quell_reason_release(reason);
    return NULL;
}

static void disturb_begin(struct disturber *d) {
    d->thread = start(disturb, d);
}

/* The targets have ended, but their handles are still there. */
static void disturb_end(struct disturber *d) {
    CHECK_OK(quell_event_wait(d->enough, long_wait()));
    for (int i = 0; i < d->count; i++)
        CHECK_OK(quell_join(d->targets[i], NULL, long_wait()));
    atomic_store(&d->stop, true);
    finish(d->thread);
    for (int i = 0; i < d->count; i++)
        CHECK_OK(quell_thread_free(d->targets[i]));
    CHECK_OK(quell_event_free(d->enough));
}

/* Items through a queue: each is a counter of how often it was received. */
struct pipe {
    quell_queue *queue;
    atomic_int *received;
    long items;
    atomic_long next, interrupted;
    atomic_bool done;
};

static void *putter(void *argument) {
    struct pipe *pipe = argument;
    for (;;) {
        long at = atomic_fetch_add(&pipe->next, 1);
        if (at >= pipe->items)
            return NULL;
        quell_status status;
        /* A put that did not happen left the item here. */
        while ((status = quell_queue_put(pipe->queue, &pipe->received[at], at % 5 ? QUELL_FOREVER : quell_after(1000))))
            if (status == QUELL_INTERRUPTED)
                atomic_fetch_add(&pipe->interrupted, 1);
            else
                CHECK_STATUS(QUELL_TIMED_OUT, status);
    }
}

static void *getter(void *argument) {
    struct pipe *pipe = argument;
    uint64_t random = (uint64_t)(uintptr_t)&random | 1;
    for (;;) {
        void *item = NULL;
        quell_status status = quell_queue_get(pipe->queue, &item, below(&random, 3) ? QUELL_FOREVER : quell_after(2000));
        if (status == QUELL_OK) {
            atomic_fetch_add((atomic_int *)item, 1);
        } else {
            CHECK(item == NULL);
            if (status == QUELL_SHUT_DOWN)
                return NULL;
            if (status == QUELL_INTERRUPTED)
                atomic_fetch_add(&pipe->interrupted, 1);
            else
                CHECK_STATUS(QUELL_TIMED_OUT, status);
        }
    }
}

static void items_through(size_t capacity) {
    struct pipe pipe = {.queue = quell_queue_new(capacity, NULL), .items = stress(20000)};
    pipe.received = calloc((size_t)pipe.items, sizeof *pipe.received);
    struct disturber disturber = {.count = 4, .enough = quell_event_new()};
    for (int i = 0; i < 4; i++)
        disturber.targets[i] = start(i < 2 ? putter : getter, &pipe);
    disturb_begin(&disturber);
    for (int i = 0; i < 2; i++)
        CHECK_OK(quell_join(disturber.targets[i], NULL, long_wait()));
    CHECK_OK(quell_event_wait(disturber.enough, long_wait()));
    CHECK_OK(quell_queue_shutdown(pipe.queue, false));
    disturb_end(&disturber);
    long lost = 0, doubled = 0;
    for (long i = 0; i < pipe.items; i++) {
        lost += pipe.received[i] == 0;
        doubled += pipe.received[i] > 1;
    }
    CHECK_EQUAL(0, lost);
    CHECK_EQUAL(0, doubled);
    CHECK(atomic_load(&pipe.interrupted) > 0);
    CHECK_OK(quell_queue_free(pipe.queue));
    free(pipe.received);
}

static void no_item_is_lost_bounded(void) { items_through(2); }
static void no_item_is_lost_unbounded(void) { items_through(QUELL_UNBOUNDED); }
static void no_item_is_lost_rendezvous(void) { items_through(0); }

/* Under a lock, with interrupts and deadlines: one at a time, and free in the end. */
struct shared {
    quell_lock *lock;
    quell_semaphore *semaphore;
    long inside, entered, rounds;
    atomic_int at_once;
    quell_event *enough;
};

static void *enters(void *argument) {
    struct shared *shared = argument;
    uint64_t random = (uint64_t)(uintptr_t)&random | 1;
    for (long i = 0; i < shared->rounds || !quell_event_is_set(shared->enough);) {
        if (quell_lock_acquire(shared->lock, below(&random, 3) ? QUELL_FOREVER : quell_after(500)) == QUELL_OK) {
            shared->inside++;
            CHECK(shared->inside == 1);
            shared->entered++;
            if (below(&random, 8) == 0)
                spin(500);
            shared->inside--;
            CHECK_OK(quell_lock_release(shared->lock));
            i++;
        } else {
            CHECK(!quell_lock_is_owned(shared->lock));
        }
        (void)!quell_checkpoint();
    }
    return NULL;
}

static void *takes_permits(void *argument) {
    struct shared *shared = argument;
    uint64_t random = (uint64_t)(uintptr_t)&random | 1;
    for (long i = 0; i < shared->rounds || !quell_event_is_set(shared->enough);) {
        uint32_t count = 1 + (uint32_t)below(&random, 2);
        if (quell_semaphore_acquire(shared->semaphore, count, below(&random, 3) ? QUELL_FOREVER : quell_after(500)) == QUELL_OK) {
            int now = atomic_fetch_add(&shared->at_once, (int)count) + (int)count;
            CHECK(now <= 3);
            if (below(&random, 8) == 0)
                spin(500);
            atomic_fetch_sub(&shared->at_once, (int)count);
            CHECK_OK(quell_semaphore_release(shared->semaphore, count));
            i++;
        }
        (void)!quell_checkpoint();
    }
    return NULL;
}

static void under_interrupts(void *(*work)(void *), struct shared *shared) {
    struct disturber disturber = {.count = 4, .enough = quell_event_new()};
    shared->enough = disturber.enough;
    for (int i = 0; i < 4; i++)
        disturber.targets[i] = start(work, shared);
    disturb_begin(&disturber);
    disturb_end(&disturber);
}

static void no_lock_is_left_held(void) {
    for (int reentrant = 0; reentrant < 2; reentrant++) {
        struct shared shared = {.lock = reentrant ? quell_rlock_new() : quell_lock_new(), .rounds = stress(10000)};
        under_interrupts(enters, &shared);
        CHECK(shared.entered >= 4 * shared.rounds);
        CHECK_OK(quell_lock_try_acquire(shared.lock));
        CHECK_OK(quell_lock_release(shared.lock));
        CHECK_OK(quell_lock_free(shared.lock));
    }
}

static void no_permit_is_lost(void) {
    struct shared shared = {.semaphore = quell_bounded_semaphore_new(3), .rounds = stress(10000)};
    under_interrupts(takes_permits, &shared);
    CHECK_EQUAL(3, quell_semaphore_value(shared.semaphore));
    CHECK_OK(quell_semaphore_acquire(shared.semaphore, 3, QUELL_NOW));
    CHECK_OK(quell_semaphore_free(shared.semaphore));
}

/* A ball goes to and fro through a condition, while interrupts fly: no notification is lost, and the lock is always held. */
struct ball {
    quell_lock *lock;
    quell_condition *changed;
    long hits, wanted;
    atomic_int players;
    quell_event *enough;
};

static bool goes_on(struct ball *ball) {
    return ball->hits < ball->wanted || !quell_event_is_set(ball->enough);
}

static void *plays(void *argument) {
    struct ball *ball = argument;
    int mine = atomic_fetch_add(&ball->players, 1);
    /* Interruptible in the condition's waits alone. */
    quell_scope shield = quell_shield_begin();
    CHECK_OK(quell_lock_acquire(ball->lock, QUELL_FOREVER));
    while (goes_on(ball)) {
        while (goes_on(ball) && ball->hits % 2 != mine) {
            quell_scope open = quell_unmask_begin();
            quell_status status = quell_condition_wait(ball->changed, ball->lock, QUELL_FOREVER);
            CHECK_OK(quell_scope_end(open));
            CHECK(status == QUELL_OK || status == QUELL_INTERRUPTED);
            CHECK(quell_lock_is_owned(ball->lock));
        }
        ball->hits++;
        CHECK_OK(quell_condition_notify(ball->changed, 1));
    }
    CHECK_OK(quell_lock_release(ball->lock));
    quell_scope_end(shield);
    return NULL;
}

static void no_notification_is_lost(void) {
    for (int reentrant = 0; reentrant < 2; reentrant++) {
        struct ball ball = {.lock = reentrant ? quell_rlock_new() : quell_lock_new(),
                            .changed = quell_condition_new(),
                            .wanted = stress(5000)};
        struct disturber disturber = {.count = 2, .enough = quell_event_new()};
        ball.enough = disturber.enough;
        for (int i = 0; i < 2; i++)
            disturber.targets[i] = start(plays, &ball);
        disturb_begin(&disturber);
        disturb_end(&disturber);
        CHECK(ball.hits >= ball.wanted);
        CHECK_OK(quell_lock_free(ball.lock));
        CHECK_OK(quell_condition_free(ball.changed));
    }
}

/* Completion beats interruption: what was there is returned, and the interrupt stays pending. */
static void completion_comes_first(void) {
    int item;
    void *got = NULL;
    quell_queue *queue = quell_queue_new(2, NULL);
    quell_event *event = quell_event_new();
    quell_semaphore *semaphore = quell_semaphore_new(1);
    quell_lock *lock = quell_lock_new();
    CHECK_OK(quell_event_set(event));
    CHECK_OK(interrupt_with(quell_thread_self(), "later", NULL));
    CHECK_OK(quell_queue_put(queue, &item, QUELL_FOREVER));
    CHECK_OK(quell_queue_get(queue, &got, QUELL_FOREVER));
    CHECK(got == &item);
    CHECK_OK(quell_event_wait(event, QUELL_FOREVER));
    CHECK_OK(quell_semaphore_acquire(semaphore, 1, QUELL_FOREVER));
    CHECK_OK(quell_lock_acquire(lock, QUELL_FOREVER));
    CHECK_OK(quell_lock_release(lock));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_checkpoint());
    CHECK_OK(quell_queue_free(queue));
    CHECK_OK(quell_event_free(event));
    CHECK_OK(quell_semaphore_free(semaphore));
    CHECK_OK(quell_lock_free(lock));
}

static const struct test tests[] = {
    {"no_item_is_lost_bounded", no_item_is_lost_bounded},
    {"no_item_is_lost_unbounded", no_item_is_lost_unbounded},
    {"no_item_is_lost_rendezvous", no_item_is_lost_rendezvous},
    {"no_lock_is_left_held", no_lock_is_left_held},
    {"no_permit_is_lost", no_permit_is_lost},
    {"no_notification_is_lost", no_notification_is_lost},
    {"completion_comes_first", completion_comes_first},
};
RUN(tests)
