/*
 * Guarantee 7, the right thread: ids are never reused, so a late interrupt cannot hit a stranger. And threads that somebody
 * else has started.
 */

#include <pthread.h>

#include "check.h"

static void *own_id(void *argument) {
    *(quell_thread_id *)argument = quell_thread_self();
    CHECK_OK(quell_checkpoint());
    return argument;
}

static void ids_are_never_reused(void) {
    long rounds = stress(300);
    quell_thread_id last = quell_thread_self();
    quell_reason *reason = quell_reason_new("stray", NULL, NULL);
    for (long i = 0; i < rounds; i++) {
        quell_thread_id told = 0;
        quell_thread *thread = start(own_id, &told);
        quell_thread_id id = quell_thread_get_id(thread);
        CHECK(finish(thread) == &told);
        CHECK_EQUAL(id, told);
        CHECK(id > last);
        CHECK(!quell_thread_is_alive(id));
        /* The one before has ended, and the one after, which perhaps has its memory, is not it. */
        CHECK_EQUAL(0, quell_set_async_exc(id, reason));
        CHECK_STATUS(QUELL_EXITED, quell_interrupt(id, reason, NULL));
        last = id;
    }
    quell_reason_release(reason);
}

static void an_id_that_nobody_has(void) {
    quell_reason *reason = quell_reason_new("stray", NULL, NULL);
    CHECK_STATUS(QUELL_EXITED, quell_interrupt(UINT64_MAX, reason, NULL));
    CHECK_CONTAINS("no living thread has the id 18446744073709551615", quell_last_error());
    CHECK_STATUS(QUELL_INVALID, quell_interrupt(0, reason, NULL));
    CHECK(!quell_thread_is_alive(0));
    CHECK(!quell_thread_is_alive(UINT64_MAX));
    quell_reason_release(reason);
}

/* A thread of pthread_create() is known from its first call, and has ended when it has. */
static void *foreign(void *argument) {
    quell_thread_id *id = argument;
    *id = quell_thread_self();
    CHECK(quell_thread_is_alive(*id));
    CHECK_EQUAL(*id, quell_thread_self());
    CHECK_OK(interrupt_with(*id, "to myself", NULL));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_sleep(QUELL_FOREVER));
    return NULL;
}

static void a_foreign_thread(void) {
    quell_thread_id id = 0;
    pthread_t thread;
    CHECK_EQUAL(0, pthread_create(&thread, NULL, foreign, &id));
    CHECK_EQUAL(0, pthread_join(thread, NULL));
    CHECK(id != 0 && id != quell_thread_self());
    CHECK(!quell_thread_is_alive(id));
}

/* A handle that was made before: the thread can be interrupted before it runs, and joined. */
static void *adopts(void *argument) {
    quell_thread *thread = argument;
    CHECK_OK(quell_thread_adopt(thread));
    CHECK_EQUAL(quell_thread_get_id(thread), quell_thread_self());
    CHECK_STATUS(QUELL_INVALID, quell_thread_adopt(thread));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_checkpoint());
    CHECK_OK(quell_checkpoint());
    return NULL;
}

static void *adopts_again(void *argument) {
    CHECK_STATUS(QUELL_INVALID, quell_thread_adopt(argument));
    CHECK_CONTAINS("was adopted before", quell_last_error());
    return NULL;
}

static void *adopts_too_late(void *argument) {
    CHECK(quell_thread_self() != 0);
    CHECK_STATUS(QUELL_INVALID, quell_thread_adopt(argument));
    CHECK_CONTAINS("before its first use", quell_last_error());
    return NULL;
}

static void a_handle_that_is_adopted(void) {
    quell_thread *handle = quell_thread_prepare("adopted");
    char name[20];
    CHECK_EQUAL(7, quell_thread_name(quell_thread_get_id(handle), name, sizeof name));
    CHECK_EQUAL(0, strcmp("adopted", name));
    CHECK(quell_thread_is_alive(quell_thread_get_id(handle)));
    CHECK_STATUS(QUELL_INVALID, quell_thread_adopt(handle));
    CHECK_CONTAINS("main thread", quell_last_error());
    CHECK_OK(interrupt_with(quell_thread_get_id(handle), "before you begin", NULL));
    pthread_t thread;
    CHECK_EQUAL(0, pthread_create(&thread, NULL, adopts_too_late, handle));
    CHECK_EQUAL(0, pthread_join(thread, NULL));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_join(handle, NULL, QUELL_NOW));
    CHECK_EQUAL(0, pthread_create(&thread, NULL, adopts, handle));
    void *result = &thread;
    CHECK_OK(quell_join(handle, &result, long_wait()));
    CHECK(result == NULL);
    CHECK_EQUAL(0, pthread_join(thread, NULL));
    CHECK_EQUAL(0, pthread_create(&thread, NULL, adopts_again, handle));
    CHECK_EQUAL(0, pthread_join(thread, NULL));
    CHECK_OK(quell_thread_free(handle));
}

static void a_handle_that_is_never_adopted(void) {
    quell_thread *handle = quell_thread_prepare(NULL);
    quell_thread_id id = quell_thread_get_id(handle);
    quell_receipt *receipt;
    CHECK_OK(interrupt_with(id, "anybody there?", &receipt));
    CHECK_EQUAL(QUELL_PENDING, quell_receipt_state(receipt));
    CHECK_OK(quell_thread_free(handle));
    CHECK_EQUAL(QUELL_TARGET_EXITED, quell_receipt_state(receipt));
    CHECK(!quell_thread_is_alive(id));
    CHECK_OK(quell_receipt_free(receipt));
}

static void *waits_for(void *event) {
    CHECK_OK(quell_event_wait(event, long_wait()));
    return event;
}

/* Any number of threads join, any number of times; and a handle may be freed while its thread runs. */
static void *joins(void *thread) {
    void *result = NULL;
    CHECK_OK(quell_join(thread, &result, long_wait()));
    return result;
}

static void joining(void) {
    quell_event *event = quell_event_new();
    quell_thread *thread = start(waits_for, event);
    CHECK_STATUS(QUELL_TIMED_OUT, quell_join(thread, NULL, quell_after(QUELL_MILLISECONDS(1))));
    quell_thread *joiners[3];
    for (int i = 0; i < 3; i++)
        joiners[i] = start(joins, thread);
    quell_thread *left_alone = start(waits_for, event);
    CHECK_OK(quell_thread_free(left_alone));
    CHECK_OK(quell_event_set(event));
    for (int i = 0; i < 3; i++)
        CHECK(finish(joiners[i]) == event);
    CHECK(finish(thread) == event);
    /* Who was left alone may still be on its way out of the event. */
    quell_deadline late = long_wait();
    while (quell_threads(NULL, 0) > 1 && quell_now() < late)
        CHECK_OK(quell_sleep(quell_after(QUELL_MICROSECONDS(100))));
    CHECK_OK(quell_event_free(event));
}

static void *joins_itself(void *argument) {
    CHECK_OK(quell_thread_adopt(argument));
    CHECK_STATUS(QUELL_DEADLOCK, quell_join(argument, NULL, QUELL_FOREVER));
    return NULL;
}

static void nobody_joins_itself(void) {
    pthread_t thread;
    quell_thread *handle = quell_thread_prepare("itself");
    CHECK_EQUAL(0, pthread_create(&thread, NULL, joins_itself, handle));
    CHECK_EQUAL(0, pthread_join(thread, NULL));
    CHECK_OK(quell_thread_free(handle));
}

static void names_and_numbers(void) {
    quell_event *event = quell_event_new();
    quell_spawn_options options = QUELL_SPAWN_OPTIONS;
    options.name = "a worker";
    options.stack_size = 256 * 1024;
    quell_thread *thread = quell_spawn(waits_for, event, &options);
    quell_thread_id id = quell_thread_get_id(thread), ids[16];
    char name[5] = "????";
    CHECK_EQUAL(8, quell_thread_name(id, name, sizeof name));
    CHECK_EQUAL(0, strcmp("a wo", name));
    CHECK_EQUAL(8, quell_thread_name(id, NULL, 0));
    CHECK_EQUAL(4, quell_thread_name(quell_thread_main(), name, sizeof name));
    CHECK_EQUAL(0, strcmp("main", name));
    size_t count = quell_threads(ids, 16);
    CHECK_EQUAL(count, quell_threads(NULL, 0));
    CHECK_EQUAL(2, count);
    CHECK(ids[count - 1] == id);
    ids[1] = 0;
    CHECK_EQUAL(2, quell_threads(ids, 1));
    CHECK_EQUAL(0, ids[1]);
    CHECK_OK(quell_event_set(event));
    finish(thread);
    CHECK_EQUAL(0, quell_thread_name(id, name, sizeof name));
    CHECK_EQUAL(0, name[0]);
    CHECK_OK(quell_event_free(event));
}

static const struct test tests[] = {
    {"ids_are_never_reused", ids_are_never_reused},
    {"an_id_that_nobody_has", an_id_that_nobody_has},
    {"a_foreign_thread", a_foreign_thread},
    {"a_handle_that_is_adopted", a_handle_that_is_adopted},
    {"a_handle_that_is_never_adopted", a_handle_that_is_never_adopted},
    {"joining", joining},
    {"nobody_joins_itself", nobody_joins_itself},
    {"names_and_numbers", names_and_numbers},
};
RUN(tests)
