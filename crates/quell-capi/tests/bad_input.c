/*
 * Bad input: a null pointer or a misuse is an error that says what, in which thread, and what to do; nothing else happens.
 */

#include "check.h"

static void null_pointers(void) {
    void *item = NULL;
    quell_queue *queue = quell_queue_new(1, NULL);
    quell_lock *lock = quell_lock_new();
    quell_condition *condition = quell_condition_new();
    const quell_status statuses[] = {
        quell_lock_acquire(NULL, QUELL_NOW),
        quell_lock_try_acquire(NULL),
        quell_lock_release(NULL),
        quell_condition_wait(NULL, lock, QUELL_NOW),
        quell_condition_wait(condition, NULL, QUELL_NOW),
        quell_condition_notify(NULL, 1),
        quell_condition_notify_all(NULL),
        quell_semaphore_acquire(NULL, 1, QUELL_NOW),
        quell_semaphore_try_acquire(NULL, 1),
        quell_semaphore_release(NULL, 1),
        quell_event_wait(NULL, QUELL_NOW),
        quell_event_set(NULL),
        quell_event_clear(NULL),
        quell_barrier_wait(NULL, NULL, QUELL_NOW),
        quell_barrier_abort(NULL),
        quell_barrier_reset(NULL),
        quell_queue_put(NULL, &item, QUELL_NOW),
        quell_queue_try_put(NULL, &item),
        quell_queue_get(NULL, &item, QUELL_NOW),
        quell_queue_get(queue, NULL, QUELL_NOW),
        quell_queue_try_get(NULL, &item),
        quell_queue_try_get(queue, NULL),
        quell_queue_task_done(NULL),
        quell_queue_join(NULL, QUELL_NOW),
        quell_queue_shutdown(NULL, false),
        quell_join(NULL, NULL, QUELL_NOW),
        quell_thread_adopt(NULL),
        quell_interrupt(quell_thread_self(), NULL, NULL),
        quell_interrupt_main(NULL, NULL),
        quell_receipt_wait(NULL, NULL, QUELL_NOW),
        quell_receipt_withdraw(NULL),
        quell_lock_after_fork(NULL),
        quell_condition_after_fork(NULL),
        quell_semaphore_after_fork(NULL),
        quell_event_after_fork(NULL),
        quell_barrier_after_fork(NULL),
        quell_queue_after_fork(NULL),
    };
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (!CHECK_EQUAL(QUELL_INVALID, statuses[i]))
            printf("   that was call %zu\n", i);
    CHECK_OK(quell_queue_free(queue));
    CHECK_OK(quell_lock_free(lock));
    CHECK_OK(quell_condition_free(condition));
}

static void null_pointers_elsewhere(void) {
    CHECK(quell_spawn(NULL, NULL, NULL) == NULL);
    CHECK_CONTAINS("quell_spawn() in thread", quell_last_error());
    CHECK_CONTAINS("the start function is NULL", quell_last_error());
    CHECK(!quell_event_is_set(NULL));
    CHECK(!quell_lock_is_owned(NULL));
    CHECK_EQUAL(0, quell_semaphore_value(NULL));
    CHECK_EQUAL(0, quell_barrier_waiting(NULL));
    CHECK_EQUAL(0, quell_queue_size(NULL));
    CHECK_EQUAL(0, quell_thread_get_id(NULL));
    CHECK_EQUAL(QUELL_PENDING, quell_receipt_state(NULL));
    CHECK(quell_reason_message(NULL) == NULL);
    CHECK_CONTAINS("the reason is NULL", quell_last_error());
    CHECK(quell_reason_data(NULL) == NULL);
    CHECK(quell_reason_retain(NULL) == NULL);
}

static void freeing_nothing(void) {
    CHECK_OK(quell_lock_free(NULL));
    CHECK_OK(quell_condition_free(NULL));
    CHECK_OK(quell_semaphore_free(NULL));
    CHECK_OK(quell_event_free(NULL));
    CHECK_OK(quell_barrier_free(NULL));
    CHECK_OK(quell_queue_free(NULL));
    CHECK_OK(quell_receipt_free(NULL));
    CHECK_OK(quell_thread_free(NULL));
    quell_reason_release(NULL);
}

static void *waits(void *event) {
    CHECK_OK(quell_event_wait(event, long_wait()));
    return NULL;
}

/* Who frees what is in use is told, and nothing has happened to it. (Of what is waited for: see the barrier's test.) */
static void freeing_what_is_in_use(void) {
    quell_lock *lock = quell_lock_new();
    CHECK_OK(quell_lock_acquire(lock, QUELL_NOW));
    CHECK_STATUS(QUELL_BUSY, quell_lock_free(lock));
    CHECK_CONTAINS("has the lock", quell_last_error());
    CHECK_OK(quell_lock_release(lock));
    CHECK_OK(quell_lock_free(lock));
}

static void options_of_another_size(void) {
    quell_spawn_options options = QUELL_SPAWN_OPTIONS;
    options.size = 3;
    CHECK(quell_spawn(waits, NULL, &options) == NULL);
    CHECK_CONTAINS("QUELL_SPAWN_OPTIONS", quell_last_error());
}

static void a_stack_that_cannot_be(void) {
    quell_spawn_options options = QUELL_SPAWN_OPTIONS;
    options.stack_size = (size_t)1 << 60;
    CHECK(quell_spawn(waits, NULL, &options) == NULL);
    CHECK_CONTAINS("quell_spawn() in thread", quell_last_error());
    CHECK(strlen(quell_last_error()) > 30);
}

static void every_status_has_words(void) {
    for (int status = 0; status <= QUELL_INTERNAL; status++) {
        CHECK(strlen(quell_strerror((quell_status)status)) > 5);
        for (int other = 0; other < status; other++)
            CHECK(strcmp(quell_strerror((quell_status)status), quell_strerror((quell_status)other)) != 0);
    }
    CHECK_CONTAINS("not a status", quell_strerror(QUELL_INTERNAL + 1));
    CHECK_CONTAINS("not a status", quell_strerror(-1));
}

static void *fails_here(void *argument) {
    CHECK_EQUAL(0, quell_last_error()[0]);
    CHECK_STATUS(QUELL_INVALID, quell_event_set(NULL));
    CHECK_CONTAINS("\"of its own\"", quell_last_error());
    return argument;
}

/* The last error is the thread's own, names it, and is left alone by calls that succeed. */
static void the_last_error(void) {
    CHECK_STATUS(QUELL_INVALID, quell_event_clear(NULL));
    quell_spawn_options options = QUELL_SPAWN_OPTIONS;
    options.name = "of its own";
    finish(quell_spawn(fails_here, NULL, &options));
    CHECK_OK(quell_checkpoint());
    CHECK_CONTAINS("quell_event_clear() in thread", quell_last_error());
    CHECK_CONTAINS("\"main\": the event is NULL", quell_last_error());
    CHECK(quell_last_error() == quell_last_error());
}

static void version(void) {
    CHECK_EQUAL(0, strcmp(QUELL_VERSION, quell_version()));
    CHECK_EQUAL(QUELL_VERSION_NUMBER, quell_version_number());
}

static const struct test tests[] = {
    {"null_pointers", null_pointers},
    {"null_pointers_elsewhere", null_pointers_elsewhere},
    {"freeing_nothing", freeing_nothing},
    {"freeing_what_is_in_use", freeing_what_is_in_use},
    {"options_of_another_size", options_of_another_size},
    {"a_stack_that_cannot_be", a_stack_that_cannot_be},
    {"every_status_has_words", every_status_has_words},
    {"the_last_error", the_last_error},
    {"version", version},
};
RUN(tests)
