/*
 * Guarantee 6, masks hold: nothing is delivered inside a shield; inside a mask only where the thread blocks. And scopes that
 * do not nest are told.
 */

#include "check.h"

static void a_mask_delivers_where_the_thread_blocks(void) {
    quell_scope mask = quell_mask_begin();
    CHECK(mask != 0);
    CHECK_EQUAL(1, quell_scope_depth());
    CHECK_OK(interrupt_with(quell_thread_self(), "stop", NULL));
    CHECK_OK(quell_checkpoint());
    CHECK_STATUS(QUELL_INTERRUPTED, quell_sleep(QUELL_FOREVER));
    CHECK_OK(quell_scope_end(mask));
}

static void a_shield_delivers_nothing(void) {
    quell_scope shield = quell_shield_begin();
    CHECK_OK(interrupt_with(quell_thread_self(), "stop", NULL));
    CHECK_OK(quell_checkpoint());
    CHECK_OK(quell_sleep(quell_after(QUELL_MILLISECONDS(1))));
    quell_event *event = quell_event_new();
    CHECK_STATUS(QUELL_TIMED_OUT, quell_event_wait(event, quell_after(QUELL_MILLISECONDS(1))));
    CHECK_OK(quell_event_free(event));
    CHECK(quell_take_reason() == NULL);
    /* The end of it does. */
    CHECK_STATUS(QUELL_INTERRUPTED, quell_scope_end(shield));
    CHECK_EQUAL(0, quell_scope_depth());
    CHECK_OK(quell_checkpoint());
}

static void scopes_nest(void) {
    quell_scope outer = quell_mask_begin();
    quell_scope shield = quell_shield_begin();
    quell_scope inner = quell_mask_begin();
    CHECK_EQUAL(3, quell_scope_depth());
    CHECK_OK(interrupt_with(quell_thread_self(), "stop", NULL));
    CHECK_OK(quell_scope_end(inner));
    CHECK_OK(quell_sleep(QUELL_NOW));
    CHECK_OK(quell_scope_end(shield));
    CHECK_OK(quell_checkpoint());
    CHECK_STATUS(QUELL_INTERRUPTED, quell_scope_end(outer));
}

static void unmasked_inside(void) {
    quell_scope shield = quell_shield_begin();
    CHECK_OK(interrupt_with(quell_thread_self(), "stop", NULL));
    CHECK_OK(quell_checkpoint());
    quell_scope open = quell_unmask_begin();
    CHECK_STATUS(QUELL_INTERRUPTED, quell_checkpoint());
    CHECK_OK(interrupt_with(quell_thread_self(), "again", NULL));
    CHECK_OK(quell_scope_end(open));
    CHECK_OK(quell_checkpoint());
    CHECK_STATUS(QUELL_INTERRUPTED, quell_scope_end(shield));
}

static void *ends_it(void *scope) {
    CHECK_STATUS(QUELL_MISNESTED, quell_scope_end(*(quell_scope *)scope));
    CHECK_CONTAINS("another thread", quell_last_error());
    return NULL;
}

static void misnested_scopes_are_told(void) {
    quell_scope outer = quell_mask_begin();
    quell_scope inner = quell_shield_begin();
    CHECK_STATUS(QUELL_MISNESTED, quell_scope_end(outer));
    CHECK_CONTAINS("has not ended", quell_last_error());
    CHECK_EQUAL(2, quell_scope_depth());
    finish(start(ends_it, &inner));
    CHECK_OK(quell_scope_end(inner));
    CHECK_STATUS(QUELL_MISNESTED, quell_scope_end(inner));
    CHECK_OK(quell_scope_end(outer));
    CHECK_STATUS(QUELL_MISNESTED, quell_scope_end(outer));
    CHECK_STATUS(QUELL_MISNESTED, quell_scope_end(0));
}

static void *starts_masked(void *argument) {
    CHECK_OK(quell_event_wait(argument, long_wait()));
    CHECK_OK(quell_checkpoint());
    quell_scope open = quell_unmask_begin();
    CHECK_STATUS(QUELL_INTERRUPTED, quell_checkpoint());
    CHECK_OK(quell_scope_end(open));
    return NULL;
}

/* A thread that starts shielded is not interrupted before it says so. */
static void a_thread_starts_in_a_scope(void) {
    quell_event *sent = quell_event_new();
    quell_spawn_options options = QUELL_SPAWN_OPTIONS;
    options.shielded = true;
    options.name = "shielded";
    quell_thread *thread = quell_spawn(starts_masked, sent, &options);
    CHECK_OK(interrupt_with(quell_thread_get_id(thread), "early", NULL));
    CHECK_OK(quell_event_set(sent));
    finish(thread);
    CHECK_OK(quell_event_free(sent));
}

/* Under interrupts at random moments. */
struct guarded {
    atomic_bool stop;
    atomic_long delivered;
};

static void *guards(void *argument) {
    struct guarded *guarded = argument;
    while (!atomic_load(&guarded->stop)) {
        quell_scope mask = quell_mask_begin();
        CHECK_OK(quell_checkpoint());
        quell_scope shield = quell_shield_begin();
        CHECK_OK(quell_checkpoint());
        CHECK_OK(quell_sleep(QUELL_NOW));
        CHECK_OK(quell_scope_end(shield));
        CHECK_OK(quell_checkpoint());
        if (quell_scope_end(mask) == QUELL_INTERRUPTED)
            atomic_fetch_add(&guarded->delivered, 1);
    }
    while (quell_checkpoint() == QUELL_INTERRUPTED)
        atomic_fetch_add(&guarded->delivered, 1);
    return NULL;
}

static void under_interrupts_at_random(void) {
    struct guarded guarded = {0};
    uint64_t random = 7;
    quell_thread *thread = start(guards, &guarded);
    long rounds = stress(5000);
    for (long i = 0; i < rounds; i++) {
        quell_receipt *receipt;
        CHECK_OK(interrupt_with(quell_thread_get_id(thread), NULL, &receipt));
        CHECK_OK(quell_receipt_wait(receipt, NULL, long_wait()));
        CHECK_OK(quell_receipt_free(receipt));
        spin(below(&random, 300));
    }
    atomic_store(&guarded.stop, true);
    finish(thread);
    CHECK_EQUAL(rounds, atomic_load(&guarded.delivered));
}

static const struct test tests[] = {
    {"a_mask_delivers_where_the_thread_blocks", a_mask_delivers_where_the_thread_blocks},
    {"a_shield_delivers_nothing", a_shield_delivers_nothing},
    {"scopes_nest", scopes_nest},
    {"unmasked_inside", unmasked_inside},
    {"misnested_scopes_are_told", misnested_scopes_are_told},
    {"a_thread_starts_in_a_scope", a_thread_starts_in_a_scope},
    {"under_interrupts_at_random", under_interrupts_at_random},
};
RUN(tests)
