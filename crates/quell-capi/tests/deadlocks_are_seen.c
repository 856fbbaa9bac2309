/*
 * Guarantee 10, deadlocks are seen: with detection on, the wait that closes a circle of locks and joins fails at once, or the one
 * that a function chooses: exactly one, and only where there is such a circle.
 */

#include "check.h"

/* Two threads that take two locks in opposite order, each when both have their first. */
struct pair {
    quell_lock *locks[2];
    quell_barrier *both;
    quell_status ended[2];
    quell_thread_id ids[2];
    quell_deadline deadline;
    bool limited;
};

struct side {
    struct pair *pair;
    int number;
};

static char failed[4096], graph[4096], json[4096];

static void copy(char *to, char *from) {
    snprintf(to, 4096, "%s", from ? from : "");
    quell_text_free(from);
}

static void *crosses(void *argument) {
    struct side *side = argument;
    struct pair *pair = side->pair;
    int me = side->number;
    pair->ids[me] = quell_thread_self();
    CHECK_OK(quell_lock_acquire(pair->locks[me], long_wait()));
    CHECK_OK(quell_barrier_wait(pair->both, NULL, long_wait()));
    quell_deadline until = pair->limited && me == 0 ? pair->deadline : QUELL_FOREVER;
    pair->ended[me] = quell_lock_acquire(pair->locks[!me], until);
    if (pair->ended[me] == QUELL_OK) {
        CHECK_OK(quell_lock_release(pair->locks[!me]));
    } else if (pair->ended[me] == QUELL_DEADLOCK) {
        CHECK(!quell_lock_is_owned(pair->locks[!me]));
        CHECK_CONTAINS("deadlock of 2 threads", quell_last_error());
        quell_deadlock *deadlock = quell_take_deadlock();
        if (CHECK(deadlock != NULL)) {
            CHECK(quell_take_deadlock() == NULL);
            CHECK_EQUAL(2, quell_deadlock_count(deadlock));
            quell_thread_id a = quell_deadlock_thread(deadlock, 0), b = quell_deadlock_thread(deadlock, 1);
            CHECK((a == pair->ids[0] && b == pair->ids[1]) || (a == pair->ids[1] && b == pair->ids[0]));
            CHECK_EQUAL(0, quell_deadlock_thread(deadlock, 2));
            copy(failed, quell_deadlock_show(deadlock, QUELL_TEXT));
            copy(json, quell_deadlock_show(deadlock, QUELL_JSON));
            copy(graph, quell_deadlock_show(deadlock, QUELL_DOT));
        }
        CHECK_OK(quell_deadlock_free(deadlock));
    }
    CHECK_OK(quell_lock_release(pair->locks[me]));
    return argument;
}

/* How many of the two failed because of it. */
static int cross(struct pair *pair) {
    pair->both = quell_barrier_new(2, NULL, NULL);
    pair->locks[0] = quell_lock_new();
    pair->locks[1] = quell_rlock_new();
    CHECK_OK(quell_lock_set_name(pair->locks[0], "accounts"));
    CHECK_OK(quell_lock_set_name(pair->locks[1], "\"log\""));
    struct side sides[2] = {{pair, 0}, {pair, 1}};
    quell_thread *threads[2];
    int count = 0;
    for (int i = 0; i < 2; i++)
        threads[i] = start(crosses, &sides[i]);
    for (int i = 0; i < 2; i++) {
        CHECK(finish(threads[i]) == &sides[i]);
        count += pair->ended[i] == QUELL_DEADLOCK;
    }
    for (int i = 0; i < 2; i++)
        CHECK_OK(quell_lock_free(pair->locks[i]));
    CHECK_OK(quell_barrier_free(pair->both));
    return count;
}

static void one_of_two_fails_and_the_other_goes_on(void) {
    struct pair pair = {0};
    CHECK_OK(quell_set_detection(QUELL_DETECTION_FAIL));
    CHECK_EQUAL(QUELL_DETECTION_FAIL, quell_get_detection());
    long rounds = stress(500);
    for (long i = 0; i < rounds; i++)
        CHECK_EQUAL(1, cross(&pair));
    /* Who, what, and where: in the program, not in the library. */
    CHECK_CONTAINS("deadlock of 2 threads", failed);
    CHECK_CONTAINS("lock \"accounts\"", failed);
    CHECK_CONTAINS("lock \"\\\"log\\\"\"", failed);
    CHECK_CONTAINS("deadlocks_are_seen.c:", failed);
    CHECK(strstr(failed, ".rs") == NULL);
    const char *place = strstr(failed, " took at ");
    CHECK(place && strstr(place, "deadlocks_are_seen.c:"));
    CHECK(strncmp(json, "{\"waits\":[{\"thread\":", 20) == 0);
    CHECK_CONTAINS("\"taken_at\":\"", json);
    CHECK(strncmp(graph, "digraph waits {", 15) == 0);
    CHECK_OK(quell_set_detection(QUELL_DETECTION_OFF));
}

/* The youngest is the one that was started last. */
static void the_youngest_fails(void) {
    struct pair pair = {0};
    CHECK_OK(quell_set_detection(QUELL_DETECTION_YOUNGEST));
    for (int i = 0; i < 20; i++) {
        CHECK_EQUAL(1, cross(&pair));
        CHECK_STATUS(QUELL_DEADLOCK, pair.ended[pair.ids[1] > pair.ids[0]]);
    }
    CHECK_OK(quell_set_detection(QUELL_DETECTION_OFF));
}

/* A function is asked. */
struct policy {
    int32_t answer;
    int victim;
    struct pair *pair;
    atomic_int asked, told, destroyed;
    bool limited[2];
};

static int32_t judges(const quell_deadlock *deadlock, quell_thread_id *victim, void *context) {
    struct policy *policy = context;
    atomic_fetch_add(&policy->asked, 1);
    CHECK_EQUAL(2, quell_deadlock_count(deadlock));
    for (size_t at = 0; at < 2; at++) {
        bool first = quell_deadlock_thread(deadlock, at) == policy->pair->ids[0];
        policy->limited[first ? 0 : 1] = quell_deadlock_is_limited(deadlock, at);
    }
    if (policy->answer == QUELL_VERDICT_THREAD)
        *victim = policy->pair->ids[policy->victim];
    return policy->answer;
}

static void reports(const quell_deadlock *deadlock, void *context) {
    CHECK_EQUAL(2, quell_deadlock_count(deadlock));
    atomic_fetch_add(&((struct policy *)context)->told, 1);
}

static void gone(void *context) {
    atomic_fetch_add(&((struct policy *)context)->destroyed, 1);
}

static void a_function_chooses(void) {
    struct pair pair = {0};
    struct policy policy = {.pair = &pair};
    CHECK_OK(quell_set_detection_asking(judges, &policy, gone));
    CHECK_EQUAL(QUELL_DETECTION_ASK, quell_get_detection());
    CHECK_OK(quell_set_reporter(reports, &policy, gone));
    for (int i = 0; i < 20; i++) {
        policy.answer = QUELL_VERDICT_THREAD;
        policy.victim = i % 2;
        CHECK_EQUAL(1, cross(&pair));
        CHECK_STATUS(QUELL_DEADLOCK, pair.ended[i % 2]);
        policy.answer = i % 2 ? QUELL_VERDICT_FAIL : QUELL_VERDICT_YOUNGEST;
        CHECK_EQUAL(1, cross(&pair));
    }
    CHECK_EQUAL(40, atomic_load(&policy.asked));
    CHECK_EQUAL(40, atomic_load(&policy.told));
    /* Left alone, the deadline has its way. Anything that is no verdict counts as that. */
    for (int32_t answer = 0; answer < 100; answer += 77) {
        policy.answer = answer;
        pair.limited = true;
        pair.deadline = quell_after(QUELL_MILLISECONDS(50));
        CHECK_EQUAL(0, cross(&pair));
        CHECK_STATUS(QUELL_TIMED_OUT, pair.ended[0]);
        CHECK_OK(pair.ended[1]);
        CHECK(policy.limited[0] && !policy.limited[1]);
    }
    /* The contexts are given up, once. */
    CHECK_EQUAL(0, atomic_load(&policy.destroyed));
    CHECK_OK(quell_set_detection(QUELL_DETECTION_OFF));
    CHECK_EQUAL(1, atomic_load(&policy.destroyed));
    CHECK_OK(quell_set_reporter(NULL, NULL, NULL));
    CHECK_EQUAL(2, atomic_load(&policy.destroyed));
}

/* A thread that another joins waits for a lock that this one holds. */
static void *takes(void *lock) {
    quell_status status = quell_lock_acquire(lock, QUELL_FOREVER);
    if (status == QUELL_OK)
        CHECK_OK(quell_lock_release(lock));
    else
        CHECK_STATUS(QUELL_DEADLOCK, status);
    return status == QUELL_OK ? lock : NULL;
}

static void joins_count(void) {
    CHECK_OK(quell_set_detection(QUELL_DETECTION_FAIL));
    quell_lock *lock = quell_lock_new();
    for (int i = 0; i < 20; i++) {
        CHECK_OK(quell_lock_acquire(lock, QUELL_NOW));
        quell_thread *thread = start(takes, lock);
        quell_status status = quell_join(thread, NULL, QUELL_FOREVER);
        if (status == QUELL_DEADLOCK) {
            CHECK_CONTAINS("joins thread", quell_last_error());
            quell_deadlock_free(quell_take_deadlock());
        }
        CHECK_OK(quell_lock_release(lock));
        /* One of the two has failed. */
        CHECK_EQUAL(status == QUELL_OK, finish(thread) == NULL);
    }
    CHECK_OK(quell_lock_free(lock));
    CHECK_OK(quell_set_detection(QUELL_DETECTION_OFF));
}

/* In one order there is none, interrupted or not. */
struct order {
    quell_lock *locks[3];
    atomic_long reports;
    long rounds;
    atomic_bool stop;
    quell_thread *threads[2];
};

static void counts(const quell_deadlock *deadlock, void *context) {
    (void)deadlock;
    atomic_fetch_add(&((struct order *)context)->reports, 1);
}

static void *in_order(void *argument) {
    struct order *order = argument;
    for (long i = 0; i < order->rounds; i++) {
        int held = 0;
        while (held < 3) {
            quell_status status = quell_lock_acquire(order->locks[held], QUELL_FOREVER);
            if (status == QUELL_OK)
                held++;
            else if (!CHECK_STATUS(QUELL_INTERRUPTED, status))
                return NULL;
        }
        while (held > 0)
            CHECK_OK(quell_lock_release(order->locks[--held]));
    }
    return argument;
}

static void *disturbs(void *argument) {
    struct order *order = argument;
    uint64_t random = 3;
    while (!atomic_load(&order->stop)) {
        interrupt_with(quell_thread_get_id(order->threads[below(&random, 2)]), NULL, NULL);
        spin(below(&random, 2000));
    }
    return NULL;
}

static void one_order_is_never_a_deadlock(void) {
    struct order order = {.rounds = stress(50000)};
    CHECK_OK(quell_set_reporter(counts, &order, NULL));
    CHECK_OK(quell_set_detection(QUELL_DETECTION_FAIL));
    for (int i = 0; i < 3; i++)
        order.locks[i] = i == 1 ? quell_rlock_new() : quell_lock_new();
    for (int i = 0; i < 2; i++)
        order.threads[i] = start(in_order, &order);
    quell_thread *disturber = start(disturbs, &order);
    for (int i = 0; i < 2; i++) {
        void *result = NULL;
        CHECK_OK(quell_join(order.threads[i], &result, long_wait()));
        CHECK(result == &order);
    }
    atomic_store(&order.stop, true);
    finish(disturber);
    CHECK_EQUAL(0, atomic_load(&order.reports));
    for (int i = 0; i < 2; i++)
        CHECK_OK(quell_thread_free(order.threads[i]));
    for (int i = 0; i < 3; i++)
        CHECK_OK(quell_lock_free(order.locks[i]));
    CHECK_OK(quell_set_detection(QUELL_DETECTION_OFF));
    CHECK_OK(quell_set_reporter(NULL, NULL, NULL));
}

/* Who waits for whom, with detection off. */
static void *waits_for_it(void *lock) {
    CHECK_OK(quell_lock_acquire(lock, long_wait()));
    CHECK_OK(quell_lock_release(lock));
    return NULL;
}

static bool shown(const char *part, int32_t format) {
    char *waits = quell_waits(format);
    bool there = waits && strstr(waits, part);
    quell_text_free(waits);
    return there;
}

static void waits_are_shown(void) {
    quell_lock *lock = quell_lock_new();
    CHECK_OK(quell_lock_set_name(lock, "first"));
    CHECK_OK(quell_lock_set_name(lock, "ledger"));
    CHECK_OK(quell_lock_acquire(lock, QUELL_NOW));
    quell_thread *thread = start(waits_for_it, lock);
    while (!shown("lock \"ledger\"", QUELL_TEXT)) {
    }
    CHECK(shown("deadlocks_are_seen.c:", QUELL_TEXT));
    CHECK(shown("\"name\":\"ledger\"", QUELL_JSON));
    CHECK(shown("digraph waits {", QUELL_DOT));
    CHECK(shown("lock \"ledger\"", 99));
    CHECK_OK(quell_lock_set_name(lock, NULL));
    CHECK(!shown("ledger", QUELL_TEXT));
    CHECK_OK(quell_lock_release(lock));
    finish(thread);
    CHECK_OK(quell_lock_free(lock));
    CHECK(shown("no thread waits", QUELL_TEXT));
}

static void bad_input(void) {
    CHECK_STATUS(QUELL_INVALID, quell_set_detection(17));
    CHECK_STATUS(QUELL_INVALID, quell_set_detection(QUELL_DETECTION_ASK));
    CHECK_STATUS(QUELL_INVALID, quell_set_detection_asking(NULL, NULL, NULL));
    CHECK_EQUAL(QUELL_DETECTION_OFF, quell_get_detection());
    CHECK_STATUS(QUELL_INVALID, quell_lock_set_name(NULL, "nobody"));
    CHECK(quell_deadlock_show(NULL, QUELL_TEXT) == NULL);
    CHECK_EQUAL(0, quell_deadlock_count(NULL));
    CHECK_EQUAL(0, quell_deadlock_thread(NULL, 0));
    CHECK(!quell_deadlock_is_limited(NULL, 0));
    CHECK_OK(quell_deadlock_free(NULL));
    quell_text_free(NULL);
    CHECK(quell_take_deadlock() == NULL);
    /* The functions themselves are there as well as the macros, with and without a place. */
    quell_status (*acquire)(quell_lock *, quell_deadline) = &quell_lock_acquire;
    quell_status (*try_acquire)(quell_lock *) = &quell_lock_try_acquire;
    quell_lock *lock = quell_lock_new();
    CHECK_OK(acquire(lock, QUELL_NOW));
    CHECK_STATUS(QUELL_BUSY, try_acquire(lock));
    CHECK_STATUS(QUELL_DEADLOCK, quell_lock_acquire_at(lock, QUELL_NOW, NULL));
    CHECK(quell_take_deadlock() == NULL);
    CHECK_OK(quell_lock_release(lock));
    CHECK_OK(quell_lock_try_acquire_at(lock, NULL));
    CHECK_OK(quell_lock_release(lock));
    CHECK_OK(quell_lock_free(lock));
}

static const struct test tests[] = {
    {"one_of_two_fails_and_the_other_goes_on", one_of_two_fails_and_the_other_goes_on},
    {"the_youngest_fails", the_youngest_fails},
    {"a_function_chooses", a_function_chooses},
    {"joins_count", joins_count},
    {"one_order_is_never_a_deadlock", one_order_is_never_a_deadlock},
    {"waits_are_shown", waits_are_shown},
    {"bad_input", bad_input},
};
RUN(tests)
