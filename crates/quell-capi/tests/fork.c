/*
 * Fork: what the child finds, and what it must do about objects that other threads had.
 */

#define _DEFAULT_SOURCE
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* Runs `child` in a child process, which checks and ends; its failures count here. */
static void in_child(void (*child)(void *), void *argument) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        long before = atomic_load(&checks_failed);
        child(argument);
        fflush(stdout);
        _exit(atomic_load(&checks_failed) == before ? 0 : 1);
    }
    int status = -1;
    CHECK_EQUAL(pid, waitpid(pid, &status, 0));
    CHECK_EQUAL(0, status);
}

struct held {
    quell_lock *lock, *free_lock;
    quell_event *have_it, *give_it;
    quell_queue *queue;
    quell_thread *thread;
    quell_receipt *receipt;
    quell_thread_id parent;
};

static void *holds(void *argument) {
    struct held *held = argument;
    CHECK_OK(quell_lock_acquire(held->lock, long_wait()));
    CHECK_OK(quell_event_set(held->have_it));
    quell_scope shield = quell_shield_begin();
    CHECK_OK(quell_event_wait(held->give_it, long_wait()));
    CHECK_OK(quell_scope_end(shield) == QUELL_INTERRUPTED ? QUELL_OK : QUELL_INTERNAL);
    CHECK_OK(quell_lock_release(held->lock));
    return held;
}

static void finds_it(void *argument) {
    struct held *held = argument;
    /* The thread that forked is there, is the main thread, and has what was pending. */
    CHECK_EQUAL(held->parent, quell_thread_self());
    CHECK_EQUAL(held->parent, quell_thread_main());
    CHECK_EQUAL(1, quell_threads(NULL, 0));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_checkpoint());
    drop_reason();
    /* The other is not. */
    CHECK(!quell_thread_is_alive(quell_thread_get_id(held->thread)));
    CHECK_EQUAL(QUELL_TARGET_EXITED, quell_receipt_state(held->receipt));
    CHECK_STATUS(QUELL_EXITED, quell_join(held->thread, NULL, QUELL_FOREVER));
    CHECK_CONTAINS("since fork", quell_last_error());
    /* What it had is had by nobody, until that is said. */
    CHECK_STATUS(QUELL_BUSY, quell_lock_try_acquire(held->lock));
    CHECK_OK(quell_lock_after_fork(held->lock));
    CHECK_OK(quell_lock_acquire(held->lock, QUELL_NOW));
    CHECK_OK(quell_lock_release(held->lock));
    CHECK_OK(quell_event_after_fork(held->give_it));
    CHECK_OK(quell_event_set(held->give_it));
    CHECK_OK(quell_event_wait(held->give_it, QUELL_NOW));
    CHECK_OK(quell_event_free(held->give_it));
    /* What nobody had works as it is, and so do new threads. */
    CHECK_OK(quell_lock_acquire(held->free_lock, QUELL_NOW));
    CHECK_OK(quell_lock_release(held->free_lock));
    void *item = NULL;
    CHECK_OK(quell_queue_after_fork(held->queue));
    CHECK_OK(quell_queue_get(held->queue, &item, QUELL_NOW));
    CHECK(item == held);
    quell_after_fork_child();
    CHECK_OK(interrupt_with(quell_thread_self(), "in the child", NULL));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_sleep(QUELL_FOREVER));
    drop_reason();
}

static void the_child_has_a_clean_state(void) {
    struct held held = {.lock = quell_lock_new(),
                        .free_lock = quell_rlock_new(),
                        .have_it = quell_event_new(),
                        .give_it = quell_event_new(),
                        .queue = quell_queue_new(4, NULL),
                        .parent = quell_thread_self()};
    held.thread = start(holds, &held);
    CHECK_OK(quell_event_wait(held.have_it, long_wait()));
    CHECK_OK(interrupt_with(quell_thread_get_id(held.thread), "for the thread", &held.receipt));
    CHECK_OK(interrupt_with(held.parent, "for both", NULL));
    CHECK_OK(quell_queue_try_put(held.queue, &held));
    in_child(finds_it, &held);
    /* The parent has not changed. */
    CHECK_EQUAL(2, quell_threads(NULL, 0));
    CHECK_EQUAL(QUELL_PENDING, quell_receipt_state(held.receipt));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_checkpoint());
    CHECK_OK(quell_event_set(held.give_it));
    CHECK(finish(held.thread) == &held);
    CHECK_OK(quell_receipt_free(held.receipt));
    CHECK_OK(quell_lock_free(held.lock));
    CHECK_OK(quell_lock_free(held.free_lock));
    CHECK_OK(quell_event_free(held.have_it));
    CHECK_OK(quell_event_free(held.give_it));
    CHECK_OK(quell_queue_free(held.queue));
}

static void uses_the_rest(void *argument) {
    void **objects = argument;
    CHECK_OK(quell_condition_after_fork(objects[0]));
    CHECK_OK(quell_semaphore_after_fork(objects[1]));
    CHECK_OK(quell_barrier_after_fork(objects[2]));
    CHECK_OK(quell_condition_notify_all(objects[0]));
    CHECK_OK(quell_semaphore_try_acquire(objects[1], 1));
    CHECK_OK(quell_semaphore_release(objects[1], 1));
    CHECK_OK(quell_barrier_wait(objects[2], NULL, QUELL_NOW));
    CHECK_OK(quell_condition_free(objects[0]));
    CHECK_OK(quell_semaphore_free(objects[1]));
    CHECK_OK(quell_barrier_free(objects[2]));
}

static void the_other_objects(void) {
    void *objects[] = {quell_condition_new(), quell_semaphore_new(1), quell_barrier_new(1, NULL, NULL)};
    in_child(uses_the_rest, objects);
    CHECK_OK(quell_condition_free(objects[0]));
    CHECK_OK(quell_semaphore_free(objects[1]));
    CHECK_OK(quell_barrier_free(objects[2]));
}

/* Somebody waits for each, and others change them all the time: kept, they are whole in the child, and nobody waits. */
struct kept {
    quell_lock *lock;
    quell_condition *condition;
    quell_semaphore *semaphore, *bounded;
    quell_event *event;
    quell_barrier *barrier;
    quell_queue *queues[3];
    atomic_bool stop;
    atomic_int waiting;
};

static int same(const void *first, const void *second, void *context) {
    (void)first, (void)second, (void)context;
    return 0;
}

static void *changes(void *argument) {
    struct kept *kept = argument;
    for (long i = 0; !atomic_load(&kept->stop); i++) {
        quell_queue *queue = kept->queues[i % 3];
        void *item = NULL;
        CHECK_OK(quell_queue_put(queue, kept, long_wait()));
        CHECK_OK(quell_queue_get(queue, &item, long_wait()));
        CHECK(item == kept);
        CHECK_OK(quell_semaphore_release(kept->semaphore, 1));
        CHECK_OK(quell_semaphore_acquire(kept->semaphore, 1, long_wait()));
    }
    return NULL;
}

static void *waits_at(void *argument) {
    struct kept *kept = argument;
    quell_status status = QUELL_OK;
    quell_lock *lock;
    switch (atomic_fetch_add(&kept->waiting, 1)) {
    case 0: status = quell_lock_acquire(kept->lock, QUELL_FOREVER); break;
    case 1:
        lock = quell_lock_new();
        CHECK_OK(quell_lock_acquire(lock, QUELL_NOW));
        status = quell_condition_wait(kept->condition, lock, QUELL_FOREVER);
        CHECK_OK(quell_lock_release(lock));
        CHECK_OK(quell_lock_free(lock));
        break;
    case 2: status = quell_semaphore_acquire(kept->bounded, 1, QUELL_FOREVER); break;
    case 3: status = quell_event_wait(kept->event, QUELL_FOREVER); break;
    default: status = quell_barrier_wait(kept->barrier, NULL, QUELL_FOREVER); break;
    }
    CHECK_STATUS(QUELL_INTERRUPTED, status);
    return NULL;
}

static void finds_all_whole(void *argument) {
    struct kept *kept = argument;
    for (int i = 0; i < 3; i++) {
        size_t before = quell_queue_size(kept->queues[i]);
        CHECK_OK(quell_queue_try_put(kept->queues[i], NULL));
        CHECK_EQUAL(before + 1, quell_queue_size(kept->queues[i]));
        void *item = NULL;
        while (quell_queue_try_get(kept->queues[i], &item) == QUELL_OK) {
        }
        CHECK_OK(quell_queue_free(kept->queues[i]));
    }
    /* The thread that forked has the lock, and still does. */
    CHECK(quell_lock_is_owned(kept->lock));
    CHECK_OK(quell_lock_release(kept->lock));
    CHECK_OK(quell_lock_free(kept->lock));
    CHECK_OK(quell_condition_notify_all(kept->condition));
    CHECK_OK(quell_condition_free(kept->condition));
    CHECK_OK(quell_semaphore_release(kept->bounded, 1));
    CHECK_OK(quell_semaphore_try_acquire(kept->bounded, 1));
    CHECK_OK(quell_semaphore_free(kept->bounded));
    CHECK_OK(quell_semaphore_release(kept->semaphore, 1));
    CHECK_OK(quell_semaphore_free(kept->semaphore));
    CHECK_OK(quell_event_set(kept->event));
    CHECK_OK(quell_event_free(kept->event));
    CHECK_EQUAL(0, quell_barrier_waiting(kept->barrier));
    CHECK_OK(quell_barrier_free(kept->barrier));
}

static bool all_wait(void) {
    char *waits = quell_waits(QUELL_TEXT);
    bool all = strstr(waits, "lock") && strstr(waits, "condition") && strstr(waits, "semaphore") &&
               strstr(waits, "event") && strstr(waits, "barrier");
    quell_text_free(waits);
    return all;
}

static void what_is_kept_is_whole_in_the_child(void) {
    struct kept kept = {.lock = quell_lock_new(),
                        .condition = quell_condition_new(),
                        .semaphore = quell_semaphore_new(0),
                        .bounded = quell_bounded_semaphore_new(1),
                        .event = quell_event_new(),
                        .barrier = quell_barrier_new(2, NULL, NULL),
                        .queues = {quell_queue_new(QUELL_UNBOUNDED, NULL), quell_lifo_queue_new(4, NULL),
                                   quell_priority_queue_new(4, same, NULL, NULL)}};
    CHECK_OK(quell_lock_keep(kept.lock));
    CHECK_OK(quell_condition_keep(kept.condition));
    CHECK_OK(quell_semaphore_keep(kept.semaphore));
    CHECK_OK(quell_semaphore_keep(kept.bounded));
    CHECK_OK(quell_event_keep(kept.event));
    CHECK_OK(quell_barrier_keep(kept.barrier));
    for (int i = 0; i < 3; i++)
        CHECK_OK(quell_queue_keep(kept.queues[i]));
    CHECK_OK(quell_queue_keep(kept.queues[0]));
    CHECK_STATUS(QUELL_INVALID, quell_queue_keep(NULL));
    CHECK_OK(quell_lock_acquire(kept.lock, QUELL_NOW));
    CHECK_OK(quell_semaphore_acquire(kept.bounded, 1, QUELL_NOW));
    quell_thread *waiters[5], *busy[2];
    for (int i = 0; i < 5; i++)
        waiters[i] = start(waits_at, &kept);
    for (int i = 0; i < 2; i++)
        busy[i] = start(changes, &kept);
    while (!all_wait()) {
    }
    long rounds = stress(100);
    for (long i = 0; i < rounds; i++)
        in_child(finds_all_whole, &kept);
    atomic_store(&kept.stop, true);
    for (int i = 0; i < 5; i++) {
        CHECK_OK(interrupt_with(quell_thread_get_id(waiters[i]), NULL, NULL));
        finish(waiters[i]);
    }
    for (int i = 0; i < 2; i++)
        finish(busy[i]);
    CHECK_OK(quell_lock_release(kept.lock));
    CHECK_OK(quell_semaphore_release(kept.bounded, 1));
    CHECK_OK(quell_lock_free(kept.lock));
    CHECK_OK(quell_condition_free(kept.condition));
    CHECK_OK(quell_semaphore_free(kept.semaphore));
    CHECK_OK(quell_semaphore_free(kept.bounded));
    CHECK_OK(quell_event_free(kept.event));
    CHECK_OK(quell_barrier_free(kept.barrier));
    for (int i = 0; i < 3; i++)
        CHECK_OK(quell_queue_free(kept.queues[i]));
}

/* The lock, if it was refused because of a deadlock. */
static void *takes_and_gives(void *lock) {
    quell_status status = quell_lock_acquire(lock, QUELL_FOREVER);
    if (status == QUELL_OK)
        CHECK_OK(quell_lock_release(lock));
    return status == QUELL_DEADLOCK ? lock : NULL;
}

/* Detection goes on in the child: with what this thread holds, and without those who waited. */
static void sees_deadlocks(void *argument) {
    quell_lock *lock = argument;
    CHECK_EQUAL(QUELL_DETECTION_FAIL, quell_get_detection());
    char *waits = quell_waits(QUELL_TEXT);
    CHECK_CONTAINS("no thread waits", waits);
    quell_text_free(waits);
    CHECK(quell_lock_is_owned(lock));
    CHECK_OK(quell_lock_acquire(lock, QUELL_NOW));
    CHECK_OK(quell_lock_release(lock));
    /* A new thread that waits for it, joined by this one, is a circle as anywhere. */
    quell_thread *thread = start(takes_and_gives, lock);
    quell_status status = quell_join(thread, NULL, QUELL_FOREVER);
    CHECK_OK(quell_lock_release(lock));
    void *refused = finish(thread);
    CHECK(status == QUELL_DEADLOCK ? refused == NULL : status == QUELL_OK && refused == lock);
}

static void deadlocks_are_seen_in_the_child(void) {
    CHECK_OK(quell_set_detection(QUELL_DETECTION_FAIL));
    quell_lock *lock = quell_rlock_new();
    CHECK_OK(quell_lock_keep(lock));
    CHECK_OK(quell_lock_acquire(lock, QUELL_NOW));
    quell_thread *waiter = start(takes_and_gives, lock);
    char *waits = NULL;
    while (!strstr(waits = quell_waits(QUELL_TEXT), "waits for rlock"))
        quell_text_free(waits);
    quell_text_free(waits);
    in_child(sees_deadlocks, lock);
    CHECK_OK(quell_lock_release(lock));
    finish(waiter);
    CHECK_OK(quell_lock_free(lock));
    CHECK_OK(quell_set_detection(QUELL_DETECTION_OFF));
}

static const struct test tests[] = {
    {"the_child_has_a_clean_state", the_child_has_a_clean_state},
    {"the_other_objects", the_other_objects},
    {"what_is_kept_is_whole_in_the_child", what_is_kept_is_whole_in_the_child},
    {"deadlocks_are_seen_in_the_child", deadlocks_are_seen_in_the_child},
};
RUN(tests)
