/*
 * Guarantee 2, exactly once: delivered, withdrawn or target exited; one of them, once, in the order of sending. And the
 * destructor of a reason runs once, whichever it was.
 */

#include "check.h"

static atomic_long destroyed;

static void destroy(void *data) {
    atomic_fetch_add((atomic_long *)data, 1);
}

static quell_reason *counted(const char *message) {
    return quell_reason_new(message, &destroyed, destroy);
}

/* Gives the caller's reference up, and sends. */
static quell_status send(quell_thread_id id, const char *message, quell_receipt **receipt) {
    quell_reason *reason = counted(message);
    quell_status status = quell_interrupt(id, reason, receipt);
    quell_reason_release(reason);
    return status;
}

static void in_the_order_of_sending(void) {
    char message[20];
    for (int i = 0; i < 100; i++) {
        snprintf(message, sizeof message, "number %d", i);
        CHECK_OK(interrupt_with(quell_thread_self(), message, NULL));
    }
    for (int i = 0; i < 100; i++) {
        snprintf(message, sizeof message, "number %d", i);
        CHECK_STATUS(QUELL_INTERRUPTED, quell_checkpoint());
        quell_reason *reason = quell_take_reason();
        CHECK_EQUAL(0, strcmp(message, quell_reason_message(reason)));
        quell_reason_release(reason);
    }
    CHECK_OK(quell_checkpoint());
    CHECK(quell_take_reason() == NULL);
}

/* Who has the reason when, and that the destructor runs when nobody has. */
static void delivered(void) {
    atomic_store(&destroyed, 0);
    quell_receipt *receipt;
    CHECK_OK(send(quell_thread_self(), "take it", &receipt));
    CHECK_EQUAL(QUELL_PENDING, quell_receipt_state(receipt));
    CHECK_EQUAL(0, atomic_load(&destroyed));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_checkpoint());
    CHECK_EQUAL(QUELL_DELIVERED, quell_receipt_state(receipt));
    CHECK_STATUS(QUELL_TOO_LATE, quell_receipt_withdraw(receipt));
    CHECK_EQUAL(0, atomic_load(&destroyed));
    quell_reason *reason = quell_take_reason();
    CHECK(quell_take_reason() == NULL);
    CHECK(quell_reason_data(reason) == &destroyed);
    CHECK(quell_reason_retain(reason) == reason);
    quell_reason_release(reason);
    CHECK_EQUAL(0, atomic_load(&destroyed));
    quell_reason_release(reason);
    CHECK_EQUAL(1, atomic_load(&destroyed));
    CHECK_OK(quell_receipt_free(receipt));
    CHECK_EQUAL(1, atomic_load(&destroyed));
}

/* A reason that nobody takes goes with the next one, or with the thread. */
static void *takes_nothing(void *argument) {
    (void)argument;
    CHECK_STATUS(QUELL_INTERRUPTED, quell_sleep(QUELL_FOREVER));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_sleep(QUELL_FOREVER));
    return NULL;
}

static void delivered_and_not_taken(void) {
    atomic_store(&destroyed, 0);
    quell_thread *thread = start(takes_nothing, NULL);
    CHECK_OK(send(quell_thread_get_id(thread), "one", NULL));
    CHECK_OK(send(quell_thread_get_id(thread), "two", NULL));
    finish(thread);
    /* The thread-locals of a thread may outlive its end by a moment. */
    quell_deadline late = long_wait();
    while (atomic_load(&destroyed) < 2 && quell_now() < late) {
        CHECK_OK(quell_sleep(quell_after(QUELL_MICROSECONDS(100))));
    }
    CHECK_EQUAL(2, atomic_load(&destroyed));
}

static void withdrawn(void) {
    atomic_store(&destroyed, 0);
    quell_receipt *receipts[3];
    for (int i = 0; i < 3; i++)
        CHECK_OK(send(quell_thread_self(), "withdraw the middle", &receipts[i]));
    CHECK_OK(quell_receipt_withdraw(receipts[1]));
    CHECK_STATUS(QUELL_TOO_LATE, quell_receipt_withdraw(receipts[1]));
    CHECK_EQUAL(QUELL_WITHDRAWN, quell_receipt_state(receipts[1]));
    CHECK_EQUAL(1, atomic_load(&destroyed));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_checkpoint());
    CHECK_STATUS(QUELL_INTERRUPTED, quell_checkpoint());
    CHECK_OK(quell_checkpoint());
    drop_reason();
    CHECK_EQUAL(3, atomic_load(&destroyed));
    quell_outcome outcome = QUELL_PENDING;
    CHECK_OK(quell_receipt_wait(receipts[1], &outcome, QUELL_NOW));
    CHECK_EQUAL(QUELL_WITHDRAWN, outcome);
    for (int i = 0; i < 3; i++)
        CHECK_OK(quell_receipt_free(receipts[i]));
}

static void *does_nothing(void *argument) {
    return argument;
}

static void *waits_shielded(void *argument) {
    quell_scope shield = quell_shield_begin();
    CHECK_OK(quell_event_wait(argument, long_wait()));
    (void)shield; /* It ends in it. */
    return NULL;
}

static void target_exited(void) {
    atomic_store(&destroyed, 0);
    quell_event *event = quell_event_new();
    quell_thread *thread = start(waits_shielded, event);
    quell_thread_id id = quell_thread_get_id(thread);
    quell_receipt *receipt;
    CHECK_OK(send(id, "too late", &receipt));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_receipt_wait(receipt, NULL, QUELL_NOW));
    CHECK_OK(quell_event_set(event));
    quell_outcome outcome = QUELL_PENDING;
    CHECK_OK(quell_receipt_wait(receipt, &outcome, long_wait()));
    CHECK_EQUAL(QUELL_TARGET_EXITED, outcome);
    CHECK_STATUS(QUELL_TOO_LATE, quell_receipt_withdraw(receipt));
    CHECK_OK(quell_receipt_free(receipt));
    finish(thread);
    CHECK_EQUAL(1, atomic_load(&destroyed));
    /* Sent after the end. */
    receipt = (quell_receipt *)&destroyed;
    CHECK_STATUS(QUELL_EXITED, send(id, "much too late", &receipt));
    CHECK(receipt == NULL);
    CHECK_EQUAL(2, atomic_load(&destroyed));
    CHECK_OK(quell_event_free(event));
}

static void set_async_exc_counts(void) {
    atomic_store(&destroyed, 0);
    quell_reason *reason = counted("by id");
    quell_thread_id me = quell_thread_self();
    CHECK_EQUAL(1, quell_set_async_exc(me, reason));
    CHECK_EQUAL(1, quell_set_async_exc(me, reason));
    CHECK_EQUAL(1, quell_set_async_exc(me, NULL));
    CHECK_OK(quell_checkpoint());
    CHECK_EQUAL(1, quell_set_async_exc(me, reason));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_checkpoint());
    CHECK_OK(quell_checkpoint());
    /* The same reason, any number of times. */
    CHECK(quell_take_reason() == reason);
    quell_reason_release(reason);
    quell_thread *thread = start(does_nothing, NULL);
    quell_thread_id gone = quell_thread_get_id(thread);
    finish(thread);
    CHECK_EQUAL(0, quell_set_async_exc(gone, reason));
    CHECK_EQUAL(0, quell_set_async_exc(gone, NULL));
    CHECK_EQUAL(0, quell_set_async_exc(0, reason));
    CHECK_EQUAL(0, atomic_load(&destroyed));
    quell_reason_release(reason);
    CHECK_EQUAL(1, atomic_load(&destroyed));
}

/* An interrupt that was delivered is sent on to another thread: a request of its own. */
static void *gets_it_second_hand(void *argument) {
    CHECK_STATUS(QUELL_INTERRUPTED, quell_sleep(QUELL_FOREVER));
    quell_reason *reason = quell_take_reason();
    CHECK(reason == argument);
    quell_reason_release(reason);
    return NULL;
}

static void sent_on(void) {
    atomic_store(&destroyed, 0);
    CHECK_OK(send(quell_thread_self(), "pass it on", NULL));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_sleep(QUELL_FOREVER));
    quell_reason *reason = quell_take_reason();
    quell_thread *thread = start(gets_it_second_hand, reason);
    CHECK_OK(quell_interrupt(quell_thread_get_id(thread), reason, NULL));
    quell_reason_release(reason);
    finish(thread);
    CHECK_EQUAL(1, atomic_load(&destroyed));
}

/* Senders, one who takes back, and a target that comes and goes: everything that was sent ends once. */
struct storm {
    atomic_ulong target;
    atomic_long sent, refused, taken_back, delivered;
    atomic_bool stop;
};

static void *storm_target(void *argument) {
    struct storm *storm = argument;
    atomic_store(&storm->target, quell_thread_self());
    for (int i = 0; i < 20; i++) {
        quell_status status = i % 2 ? quell_checkpoint() : quell_sleep(quell_after(QUELL_MICROSECONDS(i)));
        if (status == QUELL_INTERRUPTED) {
            atomic_fetch_add(&storm->delivered, 1);
            if (i % 4)
                drop_reason();
        }
    }
    return NULL;
}

static void *storm_sender(void *argument) {
    struct storm *storm = argument;
    uint64_t random = (uint64_t)(uintptr_t)&random | 1;
    while (!atomic_load(&storm->stop)) {
        quell_thread_id target = atomic_load(&storm->target);
        if (target == 0)
            continue;
        quell_receipt *receipt = NULL;
        atomic_fetch_add(&storm->sent, 1);
        if (send(target, NULL, &receipt) != QUELL_OK) {
            atomic_fetch_add(&storm->refused, 1);
            CHECK(receipt == NULL);
            CHECK_OK(quell_sleep(quell_after(QUELL_MICROSECONDS(20))));
            continue;
        }
        spin(below(&random, 400));
        quell_outcome outcome = QUELL_PENDING;
        if (below(&random, 2) && quell_receipt_withdraw(receipt) == QUELL_OK) {
            atomic_fetch_add(&storm->taken_back, 1);
            CHECK_EQUAL(QUELL_WITHDRAWN, quell_receipt_state(receipt));
        } else {
            CHECK_OK(quell_receipt_wait(receipt, &outcome, long_wait()));
            CHECK(outcome == QUELL_DELIVERED || outcome == QUELL_TARGET_EXITED);
            if (outcome == QUELL_TARGET_EXITED)
                atomic_fetch_add(&storm->refused, 1);
        }
        CHECK_OK(quell_receipt_free(receipt));
    }
    return NULL;
}

static void everything_that_was_sent_ends_once(void) {
    static struct storm storm;
    atomic_store(&destroyed, 0);
    long wanted = stress(100000);
    quell_thread *senders[3];
    for (int i = 0; i < 3; i++)
        senders[i] = start(storm_sender, &storm);
    while (atomic_load(&storm.sent) < wanted)
        finish(start(storm_target, &storm));
    atomic_store(&storm.stop, true);
    for (int i = 0; i < 3; i++)
        finish(senders[i]);
    long sent = atomic_load(&storm.sent);
    CHECK_EQUAL(sent, atomic_load(&storm.refused) + atomic_load(&storm.taken_back) + atomic_load(&storm.delivered));
    CHECK(atomic_load(&storm.delivered) > 0);
    quell_deadline late = long_wait();
    while (atomic_load(&destroyed) < sent && quell_now() < late) {
        CHECK_OK(quell_sleep(quell_after(QUELL_MICROSECONDS(100))));
    }
    CHECK_EQUAL(sent, atomic_load(&destroyed));
}

static const struct test tests[] = {
    {"in_the_order_of_sending", in_the_order_of_sending},
    {"delivered", delivered},
    {"delivered_and_not_taken", delivered_and_not_taken},
    {"withdrawn", withdrawn},
    {"target_exited", target_exited},
    {"set_async_exc_counts", set_async_exc_counts},
    {"sent_on", sent_on},
    {"everything_that_was_sent_ends_once", everything_that_was_sent_ends_once},
};
RUN(tests)
