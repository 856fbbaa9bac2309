/*
 * Guarantee 1, reach: a thread that is blocked in a call of quell is woken and gets QUELL_INTERRUPTED. There is no window in
 * which the interrupt is lost: it is sent before the call, as it begins, and while it waits.
 */

#include "check.h"

/* What one kind of wait needs. */
struct place {
    quell_lock *lock, *rlock;
    quell_condition *condition;
    quell_semaphore *semaphore;
    quell_event *event;
    quell_barrier *barrier;
    quell_queue *empty, *full;
    quell_thread *thread;
    quell_receipt *receipt;
    quell_scope shield;
};

typedef quell_status (*wait_function)(struct place *);

static quell_status lock_wait(struct place *p) { return quell_lock_acquire(p->lock, QUELL_FOREVER); }
static quell_status rlock_wait(struct place *p) { return quell_lock_acquire(p->rlock, QUELL_FOREVER); }
static quell_status semaphore_wait(struct place *p) { return quell_semaphore_acquire(p->semaphore, 1, QUELL_FOREVER); }
static quell_status event_wait(struct place *p) { return quell_event_wait(p->event, QUELL_FOREVER); }
static quell_status barrier_wait(struct place *p) { return quell_barrier_wait(p->barrier, NULL, QUELL_FOREVER); }
static quell_status queue_put(struct place *p) { return quell_queue_put(p->full, p, QUELL_FOREVER); }
static quell_status queue_join(struct place *p) { return quell_queue_join(p->full, QUELL_FOREVER); }
static quell_status thread_join(struct place *p) { return quell_join(p->thread, NULL, QUELL_FOREVER); }
static quell_status receipt_wait(struct place *p) { return quell_receipt_wait(p->receipt, NULL, QUELL_FOREVER); }

static quell_status queue_get(struct place *p) {
    void *item;
    return quell_queue_get(p->empty, &item, QUELL_FOREVER);
}

static quell_status condition_wait(struct place *p) {
    quell_lock *mine = quell_lock_new();
    CHECK_OK(quell_lock_acquire(mine, QUELL_FOREVER));
    quell_status status = quell_condition_wait(p->condition, mine, QUELL_FOREVER);
    CHECK(quell_lock_is_owned(mine));
    CHECK_OK(quell_lock_release(mine));
    CHECK_OK(quell_lock_free(mine));
    return status;
}

static quell_status sleep_wait(struct place *p) {
    (void)p;
    return quell_sleep(QUELL_FOREVER);
}

static quell_status late_deadline(struct place *p) { return quell_event_wait(p->event, quell_after(QUELL_SECONDS(3600))); }

static quell_status computing(struct place *p) {
    (void)p;
    quell_status status;
    while (!(status = quell_checkpoint())) {
    }
    return status;
}

static const struct {
    const char *name;
    wait_function wait;
} waits[] = {
    {"lock", lock_wait},           {"rlock", rlock_wait},   {"condition", condition_wait}, {"semaphore", semaphore_wait},
    {"event", event_wait},         {"barrier", barrier_wait}, {"queue get", queue_get},    {"queue put", queue_put},
    {"queue join", queue_join},    {"join", thread_join},   {"receipt", receipt_wait},     {"sleep", sleep_wait},
    {"deadline", late_deadline},   {"checkpoint", computing},
};

struct round {
    struct place *place;
    wait_function wait;
    atomic_int begun;
};

static void *waiter(void *argument) {
    struct round *round = argument;
    atomic_store(&round->begun, 1);
    quell_status status = round->wait(round->place);
    if (!CHECK_STATUS(QUELL_INTERRUPTED, status))
        return NULL;
    quell_reason *reason = quell_take_reason();
    CHECK(reason != NULL);
    CHECK_EQUAL(0, strcmp("enough", quell_reason_message(reason)));
    CHECK_CONTAINS("interrupted: enough", quell_last_error());
    quell_reason_release(reason);
    return argument;
}

static void *idle(void *argument) {
    CHECK_OK(quell_event_wait(argument, long_wait()));
    return NULL;
}

/* A place in which every wait waits for ever. */
static void open_place(struct place *p, quell_event *stop) {
    static char item;
    p->lock = quell_lock_new();
    p->rlock = quell_rlock_new();
    CHECK_OK(quell_lock_acquire(p->lock, QUELL_NOW));
    CHECK_OK(quell_lock_acquire(p->rlock, QUELL_NOW));
    p->condition = quell_condition_new();
    p->semaphore = quell_semaphore_new(0);
    p->event = quell_event_new();
    p->barrier = quell_barrier_new(2, NULL, NULL);
    p->empty = quell_queue_new(QUELL_UNBOUNDED, NULL);
    p->full = quell_queue_new(1, NULL);
    CHECK_OK(quell_queue_try_put(p->full, &item));
    p->thread = start(idle, stop);
    /* The shield keeps it pending while others wait for the receipt. */
    p->shield = quell_shield_begin();
    CHECK_OK(interrupt_with(quell_thread_self(), "never delivered", &p->receipt));
}

static void close_place(struct place *p, quell_event *stop) {
    CHECK_OK(quell_receipt_withdraw(p->receipt));
    CHECK_OK(quell_scope_end(p->shield));
    CHECK_OK(quell_receipt_free(p->receipt));
    CHECK_OK(quell_event_set(stop));
    finish(p->thread);
    CHECK_OK(quell_lock_release(p->lock));
    CHECK_OK(quell_lock_release(p->rlock));
    CHECK_OK(quell_lock_free(p->lock));
    CHECK_OK(quell_lock_free(p->rlock));
    CHECK_OK(quell_condition_free(p->condition));
    CHECK_OK(quell_semaphore_free(p->semaphore));
    CHECK_OK(quell_event_free(p->event));
    CHECK_OK(quell_barrier_free(p->barrier));
    CHECK_OK(quell_queue_free(p->empty));
    CHECK_OK(quell_queue_free(p->full));
    CHECK_OK(quell_event_free(stop));
}

/* Each kind of wait, interrupted at moments that vary from before it begins to long after. */
static void every_wait_is_reached(void) {
    uint64_t random = 1;
    long rounds = stress(100);
    struct place place;
    quell_event *stop = quell_event_new();
    open_place(&place, stop);
    for (size_t kind = 0; kind < sizeof waits / sizeof *waits; kind++) {
        for (long i = 0; i < rounds; i++) {
            struct round round = {&place, waits[kind].wait, 0};
            quell_thread *thread = start(waiter, &round);
            if (i % 3 != 0) {
                while (!atomic_load(&round.begun)) {
                }
                spin(below(&random, i % 3 == 1 ? 300 : 100000));
            }
            quell_receipt *receipt;
            CHECK_OK(interrupt_with(quell_thread_get_id(thread), "enough", &receipt));
            quell_outcome outcome;
            CHECK_OK(quell_receipt_wait(receipt, &outcome, long_wait()));
            CHECK_EQUAL(QUELL_DELIVERED, outcome);
            CHECK_OK(quell_receipt_free(receipt));
            if (!CHECK(finish(thread) == &round))
                printf("   that was the wait for: %s\n", waits[kind].name);
            if (waits[kind].wait == barrier_wait)
                CHECK_OK(quell_barrier_reset(place.barrier));
        }
    }
    close_place(&place, stop);
}

/* An interrupt that is pending ends a wait whose deadline has passed, rather than the deadline; and no try looks at it. */
static void with_a_deadline_that_has_passed(void) {
    quell_event *event = quell_event_new();
    quell_lock *lock = quell_lock_new();
    CHECK_STATUS(QUELL_TIMED_OUT, quell_event_wait(event, QUELL_NOW));
    CHECK_OK(interrupt_with(quell_thread_self(), "first", NULL));
    CHECK_OK(quell_lock_try_acquire(lock));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_event_wait(event, QUELL_NOW));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_event_wait(event, QUELL_NOW));
    CHECK_OK(quell_lock_release(lock));
    CHECK_OK(quell_lock_free(lock));
    CHECK_OK(quell_event_free(event));
}

static void *interrupts_main(void *argument) {
    quell_reason *reason = quell_reason_new("from below", argument, NULL);
    CHECK_OK(quell_interrupt_main(reason, NULL));
    quell_reason_release(reason);
    return NULL;
}

static void the_main_thread(void) {
    int data;
    CHECK(quell_thread_main() == quell_thread_self());
    quell_thread *thread = start(interrupts_main, &data);
    CHECK_STATUS(QUELL_INTERRUPTED, quell_sleep(long_wait()));
    quell_reason *reason = quell_take_reason();
    CHECK(quell_reason_data(reason) == &data);
    quell_reason_release(reason);
    finish(thread);
}

static const struct test tests[] = {
    {"every_wait_is_reached", every_wait_is_reached},
    {"with_a_deadline_that_has_passed", with_a_deadline_that_has_passed},
    {"the_main_thread", the_main_thread},
};
RUN(tests)
