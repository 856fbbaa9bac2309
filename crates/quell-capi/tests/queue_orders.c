/*
 * Queues of other orders: last in, first out; by priority. And that no item is lost or doubled in them while their threads are
 * interrupted.
 */

#include "check.h"

static int by_number(const void *first, const void *second, void *context) {
    atomic_fetch_add((atomic_long *)context, 1);
    /* The tens count; the rest tells equals from each other. */
    int a = *(const int *)first / 10, b = *(const int *)second / 10;
    return (a > b) - (a < b);
}

static void last_in_first_out(void) {
    int items[4];
    void *item = NULL;
    quell_queue *queue = quell_lifo_queue_new(3, NULL);
    for (int i = 0; i < 3; i++)
        CHECK_OK(quell_queue_put(queue, &items[i], QUELL_NOW));
    CHECK_STATUS(QUELL_FULL, quell_queue_try_put(queue, &items[3]));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_queue_put(queue, &items[3], quell_after(1000)));
    for (int i = 2; i >= 0; i--) {
        CHECK_OK(i ? quell_queue_get(queue, &item, QUELL_NOW) : quell_queue_try_get(queue, &item));
        CHECK(item == &items[i]);
    }
    CHECK_STATUS(QUELL_EMPTY, quell_queue_try_get(queue, &item));
    CHECK_OK(quell_queue_free(queue));
}

static void by_priority(void) {
    atomic_long compared = 0;
    int items[] = {31, 12, 11, 32, 20, 13, 0}, wanted[] = {0, 12, 11, 13, 20, 31, 32};
    quell_queue *queue = quell_priority_queue_new(QUELL_UNBOUNDED, by_number, &compared, NULL);
    for (int i = 0; i < 7; i++)
        CHECK_OK(i % 2 ? quell_queue_put(queue, &items[i], QUELL_NOW) : quell_queue_try_put(queue, &items[i]));
    CHECK_EQUAL(7, quell_queue_size(queue));
    for (int i = 0; i < 7; i++) {
        void *item = NULL;
        CHECK_OK(i % 2 ? quell_queue_get(queue, &item, QUELL_NOW) : quell_queue_try_get(queue, &item));
        CHECK_EQUAL(wanted[i], *(int *)item);
    }
    CHECK(atomic_load(&compared) > 0);
    CHECK_OK(quell_queue_free(queue));
}

static void destroy(void *item) {
    ++*(int *)item;
}

static void no_comparison(void) {
    CHECK(quell_priority_queue_new(1, NULL, NULL, NULL) == NULL);
    CHECK_CONTAINS("function that compares is NULL", quell_last_error());
}

/* The caller keeps what was not put; the queue's destructor has what is left. */
static void whose_items(void) {
    atomic_long compared = 0;
    for (int order = 0; order < 2; order++) {
        int left = 0, refused = 0, late = 0;
        quell_queue *queue =
            order ? quell_priority_queue_new(1, by_number, &compared, destroy) : quell_lifo_queue_new(1, destroy);
        CHECK_OK(quell_queue_try_put(queue, &left));
        CHECK_STATUS(QUELL_FULL, quell_queue_try_put(queue, &refused));
        CHECK_OK(interrupt_with(quell_thread_self(), NULL, NULL));
        CHECK_STATUS(QUELL_INTERRUPTED, quell_queue_put(queue, &refused, QUELL_FOREVER));
        CHECK_OK(quell_queue_shutdown(queue, true));
        CHECK_EQUAL(1, left);
        CHECK_STATUS(QUELL_SHUT_DOWN, quell_queue_put(queue, &late, QUELL_FOREVER));
        CHECK_OK(quell_queue_join(queue, QUELL_NOW));
        CHECK_STATUS(QUELL_OVERFLOW, quell_queue_task_done(queue));
        CHECK_OK(quell_queue_free(queue));
        CHECK(left == 1 && refused == 0 && late == 0);
    }
}

/* Two put numbers, two get them, all four are interrupted: each number comes once. */
struct belt {
    quell_queue *queue;
    long count, interrupted;
    int *numbers;
    atomic_int *seen;
    atomic_long next;
    atomic_bool stop;
    /* The first interrupt was sent: nothing is put before. */
    quell_event *begun;
    quell_thread *threads[4];
};

static void *puts_numbers(void *argument) {
    struct belt *belt = argument;
    while (quell_event_wait(belt->begun, long_wait()) == QUELL_INTERRUPTED) {
    }
    for (;;) {
        long at = atomic_fetch_add(&belt->next, 1);
        if (at >= belt->count)
            return argument;
        quell_status status;
        while ((status = quell_queue_put(belt->queue, &belt->numbers[at], QUELL_FOREVER)) == QUELL_INTERRUPTED) {
        }
        if (!CHECK_OK(status))
            return NULL;
    }
}

static void *gets_numbers(void *argument) {
    struct belt *belt = argument;
    for (;;) {
        void *item = NULL;
        quell_status status = quell_queue_get(belt->queue, &item, QUELL_FOREVER);
        if (status == QUELL_SHUT_DOWN)
            return argument;
        if (status == QUELL_OK)
            atomic_fetch_add(&belt->seen[(int *)item - belt->numbers], 1);
        else if (!CHECK_STATUS(QUELL_INTERRUPTED, status))
            return NULL;
    }
}

static void *disturbs(void *argument) {
    struct belt *belt = argument;
    uint64_t random = 11;
    while (!atomic_load(&belt->stop)) {
        if (interrupt_with(quell_thread_get_id(belt->threads[below(&random, 4)]), NULL, NULL) == QUELL_OK) {
            belt->interrupted++;
            CHECK_OK(quell_event_set(belt->begun));
        }
        spin(below(&random, 2000));
    }
    return NULL;
}

static void no_item_is_lost_or_doubled(void) {
    atomic_long compared = 0;
    for (int order = 0; order < 2; order++) {
        struct belt belt = {.count = stress(100000), .begun = quell_event_new()};
        belt.queue =
            order ? quell_priority_queue_new(8, by_number, &compared, NULL) : quell_lifo_queue_new(8, NULL);
        belt.numbers = calloc((size_t)belt.count, sizeof *belt.numbers);
        belt.seen = calloc((size_t)belt.count, sizeof *belt.seen);
        for (long i = 0; i < belt.count; i++)
            belt.numbers[i] = (int)i;
        for (int i = 0; i < 4; i++)
            belt.threads[i] = start(i < 2 ? puts_numbers : gets_numbers, &belt);
        quell_thread *disturber = start(disturbs, &belt);
        for (int i = 0; i < 4; i++) {
            void *result = NULL;
            CHECK_OK(quell_join(belt.threads[i], &result, long_wait()));
            CHECK(result == &belt);
            if (i == 1)
                CHECK_OK(quell_queue_shutdown(belt.queue, false));
        }
        atomic_store(&belt.stop, true);
        finish(disturber);
        long wrong = 0;
        for (long i = 0; i < belt.count; i++)
            wrong += atomic_load(&belt.seen[i]) != 1;
        CHECK_EQUAL(0, wrong);
        CHECK(belt.interrupted > 0);
        for (int i = 0; i < 4; i++)
            CHECK_OK(quell_thread_free(belt.threads[i]));
        CHECK_OK(quell_queue_free(belt.queue));
        CHECK_OK(quell_event_free(belt.begun));
        free(belt.numbers);
        free(belt.seen);
    }
}

static const struct test tests[] = {
    {"last_in_first_out", last_in_first_out},
    {"by_priority", by_priority},
    {"no_comparison", no_comparison},
    {"whose_items", whose_items},
    {"no_item_is_lost_or_doubled", no_item_is_lost_or_doubled},
};
RUN(tests)
