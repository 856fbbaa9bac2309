/*
 * The queue of pointers, when nobody interrupts: order, capacity, shutting down, and what becomes of the items.
 */

#include "check.h"

static void in_order(void) {
    int items[5];
    quell_queue *queue = quell_queue_new(QUELL_UNBOUNDED, NULL);
    for (int i = 0; i < 5; i++)
        CHECK_OK(i % 2 ? quell_queue_put(queue, &items[i], QUELL_FOREVER) : quell_queue_try_put(queue, &items[i]));
    CHECK_EQUAL(5, quell_queue_size(queue));
    void *item;
    for (int i = 0; i < 5; i++) {
        CHECK_OK(i % 2 ? quell_queue_try_get(queue, &item) : quell_queue_get(queue, &item, QUELL_NOW));
        CHECK(item == &items[i]);
    }
    item = queue;
    CHECK_STATUS(QUELL_EMPTY, quell_queue_try_get(queue, &item));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_queue_get(queue, &item, quell_after(1000)));
    CHECK(item == queue);
    /* NULL is an item. */
    CHECK_OK(quell_queue_try_put(queue, NULL));
    CHECK_OK(quell_queue_try_get(queue, &item));
    CHECK(item == NULL);
    CHECK_OK(quell_queue_free(queue));
}

static void *gets(void *queue) {
    void *item = NULL;
    CHECK_OK(quell_queue_get(queue, &item, long_wait()));
    return item;
}

static void bounded(void) {
    int items[3];
    quell_queue *queue = quell_queue_new(2, NULL);
    CHECK_OK(quell_queue_try_put(queue, &items[0]));
    CHECK_OK(quell_queue_try_put(queue, &items[1]));
    CHECK_STATUS(QUELL_FULL, quell_queue_try_put(queue, &items[2]));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_queue_put(queue, &items[2], quell_after(1000)));
    CHECK_EQUAL(2, quell_queue_size(queue));
    quell_thread *getter = start(gets, queue);
    CHECK_OK(quell_queue_put(queue, &items[2], long_wait()));
    CHECK(finish(getter) == &items[0]);
    CHECK_OK(quell_queue_free(queue));
    /* A rendezvous keeps nothing. */
    queue = quell_queue_new(0, NULL);
    CHECK_STATUS(QUELL_FULL, quell_queue_try_put(queue, &items[0]));
    getter = start(gets, queue);
    CHECK_OK(quell_queue_put(queue, &items[1], long_wait()));
    CHECK_EQUAL(0, quell_queue_size(queue));
    CHECK(finish(getter) == &items[1]);
    CHECK_OK(quell_queue_free(queue));
}

static void destroy(void *item) {
    ++*(int *)item;
}

static void what_is_left_is_destroyed_once(void) {
    int items[6] = {0};
    quell_queue *queue = quell_queue_new(3, destroy);
    for (int i = 0; i < 3; i++)
        CHECK_OK(quell_queue_try_put(queue, &items[i]));
    /* Never the queue's. */
    CHECK_STATUS(QUELL_FULL, quell_queue_try_put(queue, &items[5]));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_queue_put(queue, &items[5], QUELL_NOW));
    void *item;
    CHECK_OK(quell_queue_try_get(queue, &item));
    CHECK_OK(quell_queue_shutdown(queue, false));
    CHECK_STATUS(QUELL_SHUT_DOWN, quell_queue_try_put(queue, &items[5]));
    CHECK_EQUAL(2, quell_queue_size(queue));
    CHECK_OK(quell_queue_get(queue, &item, QUELL_FOREVER));
    CHECK_EQUAL(0, items[0] + items[1] + items[2]);
    CHECK_OK(quell_queue_free(queue));
    CHECK_EQUAL(0, items[0] + items[1]);
    CHECK_EQUAL(1, items[2]);

    queue = quell_queue_new(3, destroy);
    CHECK_OK(quell_queue_try_put(queue, &items[3]));
    CHECK_OK(quell_queue_try_put(queue, &items[4]));
    CHECK_OK(quell_queue_shutdown(queue, true));
    CHECK_EQUAL(2, items[3] + items[4]);
    CHECK_STATUS(QUELL_SHUT_DOWN, quell_queue_get(queue, &item, QUELL_FOREVER));
    CHECK_OK(quell_queue_free(queue));
    CHECK_EQUAL(2, items[3] + items[4]);
    CHECK_EQUAL(0, items[5]);
}

static void *is_shut_out(void *argument) {
    quell_queue *queue = argument;
    static int item;
    void *got;
    CHECK_STATUS(QUELL_SHUT_DOWN, quell_queue_size(queue) ? quell_queue_put(queue, &item, long_wait())
                                                          : quell_queue_get(queue, &got, long_wait()));
    return &item;
}

/* Who waits at either end is woken, and keeps its item. */
static void shutting_down_wakes_who_waits(void) {
    int item = 0;
    for (int full = 0; full < 2; full++)
        for (long i = stress(200); i > 0; i--) {
            quell_queue *queue = quell_queue_new(1, destroy);
            if (full)
                CHECK_OK(quell_queue_try_put(queue, &item));
            quell_thread *threads[2] = {start(is_shut_out, queue), start(is_shut_out, queue)};
            if (i % 2)
                spin((uint64_t)(i * 500));
            CHECK_OK(quell_queue_shutdown(queue, false));
            for (int k = 0; k < 2; k++)
                CHECK_EQUAL(0, *(int *)finish(threads[k]));
            CHECK_OK(quell_queue_free(queue));
        }
    CHECK_EQUAL(stress(200), item);
}

static void *works(void *queue) {
    void *item;
    long done = 0;
    quell_status status;
    while ((status = quell_queue_get(queue, &item, long_wait())) == QUELL_OK) {
        ++*(int *)item;
        CHECK_OK(quell_queue_task_done(queue));
        done++;
    }
    CHECK_STATUS(QUELL_SHUT_DOWN, status);
    return queue;
}

/* The pattern of the book: work goes in, workers take it out, and the queue is joined and shut down. */
static void tasks(void) {
    int items[100] = {0};
    quell_queue *queue = quell_queue_new(4, NULL);
    CHECK_OK(quell_queue_join(queue, QUELL_NOW));
    quell_thread *workers[2] = {start(works, queue), start(works, queue)};
    for (int i = 0; i < 100; i++)
        CHECK_OK(quell_queue_put(queue, &items[i], long_wait()));
    CHECK_OK(quell_queue_join(queue, long_wait()));
    for (int i = 0; i < 100; i++)
        CHECK_EQUAL(1, items[i]);
    CHECK_STATUS(QUELL_OVERFLOW, quell_queue_task_done(queue));
    CHECK_OK(quell_queue_shutdown(queue, false));
    for (int i = 0; i < 2; i++)
        CHECK(finish(workers[i]) == queue);
    CHECK_OK(quell_queue_free(queue));
    queue = quell_queue_new(4, NULL);
    CHECK_OK(quell_queue_try_put(queue, items));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_queue_join(queue, quell_after(1000)));
    CHECK_OK(quell_queue_shutdown(queue, true));
    CHECK_OK(quell_queue_join(queue, QUELL_FOREVER));
    CHECK_OK(quell_queue_free(queue));
}

static const struct test tests[] = {
    {"in_order", in_order},
    {"bounded", bounded},
    {"what_is_left_is_destroyed_once", what_is_left_is_destroyed_once},
    {"shutting_down_wakes_who_waits", shutting_down_wakes_who_waits},
    {"tasks", tasks},
};
RUN(tests)
