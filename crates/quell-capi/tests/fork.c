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

static const struct test tests[] = {
    {"the_child_has_a_clean_state", the_child_has_a_clean_state},
    {"the_other_objects", the_other_objects},
};
RUN(tests)
