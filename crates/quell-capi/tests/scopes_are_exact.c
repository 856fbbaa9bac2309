/*
 * Guarantee 5, scopes are exact: a time limit interrupts its own code or nothing, once; limits that nest each keep their own
 * deadline, and none takes another's interrupt for its own.
 */

#include <unistd.h>

#include "check.h"

static quell_deadline far_away(void) {
    return quell_after(QUELL_SECONDS(3600));
}

static void a_limit_ends_the_code_inside(void) {
    quell_deadline at = quell_after(QUELL_MILLISECONDS(5));
    quell_scope limit = quell_timeout_begin(at, "request");
    CHECK(limit != 0);
    CHECK_EQUAL(1, quell_scope_depth());
    CHECK(!quell_timeout_reached(limit));
    quell_status status = quell_sleep(QUELL_FOREVER);
    CHECK_STATUS(QUELL_INTERRUPTED, status);
    CHECK_CONTAINS("the time limit of \"request\" was reached", quell_last_error());
    CHECK(quell_now() >= at);
    CHECK(quell_timeout_reached(limit));
    /* Once. */
    CHECK_OK(quell_sleep(quell_after(QUELL_MILLISECONDS(2))));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_timeout_end(limit, status));
    CHECK_CONTAINS("quell_timeout_end() in thread", quell_last_error());
    CHECK_CONTAINS("\"request\" was reached", quell_last_error());
    CHECK_EQUAL(0, quell_scope_depth());
    quell_reason *reason = quell_take_reason();
    CHECK_CONTAINS("the time limit", quell_reason_message(reason));
    CHECK(quell_reason_data(reason) == NULL);
    quell_reason_release(reason);
}

/* Each kind of wait. */
static void *stays(void *event) {
    CHECK_OK(quell_event_wait(event, long_wait()));
    return NULL;
}

static void wherever_it_waits(void) {
    quell_event *event = quell_event_new();
    quell_queue *queue = quell_queue_new(1, NULL);
    quell_semaphore *semaphore = quell_semaphore_new(0);
    quell_lock *lock = quell_lock_new();
    quell_condition *condition = quell_condition_new();
    quell_thread *thread = start(stays, event);
    int fds[2];
    void *item;
    char byte;
    CHECK_EQUAL(0, pipe(fds));
    for (int kind = 0; kind < 8; kind++) {
        quell_status status = QUELL_OK;
        quell_scope limit = quell_timeout_begin(quell_after(QUELL_MILLISECONDS(2)), NULL);
        switch (kind) {
        case 0: status = quell_event_wait(event, QUELL_FOREVER); break;
        case 1: status = quell_queue_get(queue, &item, QUELL_FOREVER); break;
        case 2: status = quell_semaphore_acquire(semaphore, 1, QUELL_FOREVER); break;
        case 3:
            CHECK_OK(quell_lock_acquire(lock, QUELL_NOW));
            status = quell_condition_wait(condition, lock, QUELL_FOREVER);
            CHECK_OK(quell_lock_release(lock));
            break;
        case 4: status = quell_join(thread, NULL, QUELL_FOREVER); break;
        case 5: status = quell_read(fds[0], &byte, 1, NULL, QUELL_FOREVER); break;
        case 6: status = quell_poll(NULL, 0, NULL, QUELL_FOREVER); break;
        default:
            while ((status = quell_checkpoint()) == QUELL_OK) {
            }
        }
        CHECK_STATUS(QUELL_INTERRUPTED, status);
        if (!CHECK_STATUS(QUELL_TIMED_OUT, quell_timeout_end(limit, status)))
            printf("   that was wait %d\n", kind);
    }
    CHECK_OK(quell_event_set(event));
    finish(thread);
    close(fds[0]);
    close(fds[1]);
    CHECK_OK(quell_event_free(event));
    CHECK_OK(quell_queue_free(queue));
    CHECK_OK(quell_semaphore_free(semaphore));
    CHECK_OK(quell_lock_free(lock));
    CHECK_OK(quell_condition_free(condition));
}

/* What came out of the code is passed on, if it was not the limit that ended it. */
static void what_is_passed_on(void) {
    quell_scope limit = quell_timeout_begin(far_away(), NULL);
    CHECK_STATUS(QUELL_FULL, quell_timeout_end(limit, QUELL_FULL));
    limit = quell_timeout_begin(far_away(), NULL);
    CHECK_OK(interrupt_with(quell_thread_self(), "somebody else", NULL));
    quell_status status = quell_checkpoint();
    CHECK_STATUS(QUELL_INTERRUPTED, status);
    CHECK(!quell_timeout_reached(limit));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_timeout_end(limit, status));
    quell_reason *reason = quell_take_reason();
    CHECK_CONTAINS("somebody else", quell_reason_message(reason));
    quell_reason_release(reason);
    /* Success is success, however late. */
    limit = quell_timeout_begin(QUELL_NOW, NULL);
    CHECK_STATUS(QUELL_INTERRUPTED, quell_checkpoint());
    CHECK_OK(quell_timeout_end(limit, QUELL_OK));
    /* What was not delivered is taken back. */
    limit = quell_timeout_begin(QUELL_NOW, NULL);
    CHECK_STATUS(QUELL_EMPTY, quell_timeout_end(limit, QUELL_EMPTY));
    CHECK_OK(quell_checkpoint());
    /* A call's own deadline is not the limit's. */
    limit = quell_timeout_begin(far_away(), NULL);
    status = quell_sleep(QUELL_NOW) == QUELL_OK ? QUELL_TIMED_OUT : QUELL_OK;
    CHECK(!quell_timeout_reached(limit));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_timeout_end(limit, status));
}

static void limits_nest(void) {
    quell_scope outer = quell_timeout_begin(quell_after(QUELL_MILLISECONDS(3)), "outer");
    quell_scope inner = quell_timeout_begin(far_away(), "inner");
    quell_status status = quell_sleep(QUELL_FOREVER);
    CHECK_STATUS(QUELL_INTERRUPTED, status);
    CHECK(quell_timeout_reached(outer) && !quell_timeout_reached(inner));
    status = quell_timeout_end(inner, status);
    CHECK_STATUS(QUELL_INTERRUPTED, status);
    CHECK_STATUS(QUELL_TIMED_OUT, quell_timeout_end(outer, status));
    CHECK_CONTAINS("\"outer\"", quell_last_error());
    /* The other way round: the outer one goes on. */
    outer = quell_timeout_begin(far_away(), "outer");
    inner = quell_timeout_begin(quell_after(QUELL_MILLISECONDS(3)), "inner");
    status = quell_sleep(QUELL_FOREVER);
    CHECK_STATUS(QUELL_TIMED_OUT, quell_timeout_end(inner, status));
    CHECK_CONTAINS("\"inner\"", quell_last_error());
    CHECK(!quell_timeout_reached(outer));
    CHECK_OK(quell_checkpoint());
    CHECK_OK(quell_timeout_end(outer, QUELL_OK));
}

static void shields_hold_it_back(void) {
    quell_scope limit = quell_timeout_begin(QUELL_NOW, NULL);
    quell_scope shield = quell_shield_begin();
    CHECK_OK(quell_sleep(quell_after(QUELL_MILLISECONDS(1))));
    quell_status status = quell_scope_end(shield);
    CHECK_STATUS(QUELL_INTERRUPTED, status);
    CHECK_STATUS(QUELL_TIMED_OUT, quell_timeout_end(limit, status));
}

static void another_deadline(void) {
    quell_scope limit = quell_timeout_begin(QUELL_FOREVER, NULL);
    CHECK_OK(quell_timeout_reschedule(limit, far_away()));
    CHECK_OK(quell_timeout_reschedule(limit, quell_after(QUELL_MILLISECONDS(2))));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_sleep(QUELL_FOREVER));
    CHECK_STATUS(QUELL_TOO_LATE, quell_timeout_reschedule(limit, far_away()));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_timeout_end(limit, QUELL_INTERRUPTED));
}

static void *ends_it(void *scope) {
    quell_scope limit = *(quell_scope *)scope;
    CHECK_STATUS(QUELL_MISNESTED, quell_timeout_end(limit, QUELL_OK));
    CHECK_STATUS(QUELL_MISNESTED, quell_timeout_reschedule(limit, QUELL_NOW));
    CHECK(!quell_timeout_reached(limit));
    return NULL;
}

static void misuse_is_told(void) {
    quell_scope limit = quell_timeout_begin(far_away(), NULL);
    quell_scope mask = quell_mask_begin();
    CHECK_STATUS(QUELL_MISNESTED, quell_timeout_end(limit, QUELL_OK));
    CHECK_CONTAINS("has not ended", quell_last_error());
    CHECK_STATUS(QUELL_INVALID, quell_timeout_end(mask, QUELL_OK));
    CHECK_STATUS(QUELL_INVALID, quell_timeout_reschedule(mask, QUELL_NOW));
    CHECK_EQUAL(2, quell_scope_depth());
    finish(start(ends_it, &limit));
    CHECK_OK(quell_scope_end(mask));
    CHECK_STATUS(QUELL_INVALID, quell_scope_end(limit));
    CHECK_CONTAINS("quell_timeout_end() ends it", quell_last_error());
    CHECK_STATUS(QUELL_INVALID, quell_timeout_end(limit, 1000));
    CHECK_STATUS(QUELL_INVALID, quell_timeout_end(limit, -1));
    CHECK_OK(quell_timeout_end(limit, QUELL_OK));
    CHECK_STATUS(QUELL_MISNESTED, quell_timeout_end(limit, QUELL_OK));
    CHECK_STATUS(QUELL_MISNESTED, quell_timeout_end(0, QUELL_OK));
}

/* Deadlines at random moments around the end of the scope: never outside, at most once inside. */
static void *enters_and_leaves(void *argument) {
    long rounds = *(long *)argument, reached = 0;
    uint64_t random = (uint64_t)(uintptr_t)&random | 1;
    for (long i = 0; i < rounds; i++) {
        quell_scope limit = quell_timeout_begin(quell_after(below(&random, 4000)), NULL);
        quell_status status = QUELL_OK;
        for (uint64_t n = below(&random, 40); n > 0 && status == QUELL_OK; n--)
            status = quell_checkpoint();
        bool inside = quell_timeout_reached(limit);
        CHECK_EQUAL(inside, status == QUELL_INTERRUPTED);
        if (inside)
            CHECK_OK(quell_checkpoint());
        status = quell_timeout_end(limit, status);
        CHECK_EQUAL(inside ? QUELL_TIMED_OUT : QUELL_OK, status);
        if (!CHECK_OK(quell_checkpoint()))
            return NULL;
        reached += inside;
    }
    CHECK(reached > 0 || rounds < 100);
    return argument;
}

static void nothing_escapes(void) {
    long rounds = stress(50000);
    quell_thread *threads[2];
    for (int i = 0; i < 2; i++)
        threads[i] = start(enters_and_leaves, &rounds);
    for (int i = 0; i < 2; i++)
        CHECK(finish(threads[i]) == &rounds);
}

static const struct test tests[] = {
    {"a_limit_ends_the_code_inside", a_limit_ends_the_code_inside},
    {"wherever_it_waits", wherever_it_waits},
    {"what_is_passed_on", what_is_passed_on},
    {"limits_nest", limits_nest},
    {"shields_hold_it_back", shields_hold_it_back},
    {"another_deadline", another_deadline},
    {"misuse_is_told", misuse_is_told},
    {"nothing_escapes", nothing_escapes},
};
RUN(tests)
