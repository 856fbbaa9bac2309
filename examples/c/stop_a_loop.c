/*
 * An event loop that an application embeds, and stops: first a job that runs away, while the loop goes on; then the loop
 * itself, while it waits.
 *
 * The loop takes jobs from a queue. A job that takes too long is interrupted with a reason that the loop recognises: it gives
 * that job up and takes the next. Any other reason ends the loop. Either way the lock that the jobs share is free
 * afterwards, and no job is lost.
 *
 *     cc stop_a_loop.c -o stop_a_loop $(pkg-config --cflags --libs quell) && ./stop_a_loop
 */

#include <quell.h>
#include <stdio.h>
#include <stdlib.h>

/* What a reason carries, so that the loop can tell it from others. */
static char too_long[] = "too long";

struct loop {
    quell_queue *jobs;
    quell_lock *lock;
    quell_event *running_away;
    int done, given_up;
};

struct job {
    const char *name;
    quell_status (*run)(struct loop *);
};

static quell_status well_behaved(struct loop *loop) {
    quell_status status = quell_lock_acquire(loop->lock, QUELL_FOREVER);
    if (status != QUELL_OK)
        return status;
    loop->done++;
    return quell_lock_release(loop->lock);
}

/* Computes for ever, with the lock held; but it looks in at quell_checkpoint(), and cleans up. */
static quell_status runs_away(struct loop *loop) {
    quell_status status = quell_lock_acquire(loop->lock, QUELL_FOREVER);
    if (status != QUELL_OK)
        return status;
    quell_event_set(loop->running_away);
    while ((status = quell_checkpoint()) == QUELL_OK) {
    }
    quell_lock_release(loop->lock);
    return status;
}

/* The loop: its thread's function. */
static void *run_loop(void *argument) {
    struct loop *loop = argument;
    for (;;) {
        void *item;
        quell_status status = quell_queue_get(loop->jobs, &item, QUELL_FOREVER);
        if (status == QUELL_OK) {
            struct job *job = item;
            status = job->run(loop);
            printf("%s: %s\n", job->name, quell_strerror(status));
            free(job);
        }
        if (status == QUELL_INTERRUPTED) {
            quell_reason *reason = quell_take_reason();
            int ends = quell_reason_data(reason) != too_long;
            printf("%s: %s\n", ends ? "the loop ends" : "it goes on", quell_reason_message(reason));
            quell_reason_release(reason);
            if (ends)
                return loop;
            loop->given_up++;
        } else if (status != QUELL_OK) {
            printf("the loop fails: %s\n", quell_last_error());
            return NULL;
        }
    }
}

static int submit(struct loop *loop, const char *name, quell_status (*run)(struct loop *)) {
    struct job *job = malloc(sizeof *job);
    if (!job)
        return 0;
    *job = (struct job){name, run};
    if (quell_queue_put(loop->jobs, job, quell_after(QUELL_SECONDS(60))) == QUELL_OK)
        return 1;
    /* A put that failed has left the job with us. */
    free(job);
    return 0;
}

/* Interrupts the loop's thread, and waits until that was delivered. */
static int interrupt(quell_thread_id id, const char *message, void *data) {
    quell_reason *reason = quell_reason_new(message, data, NULL);
    quell_receipt *receipt = NULL;
    quell_outcome outcome = QUELL_PENDING;
    int delivered = quell_interrupt(id, reason, &receipt) == QUELL_OK &&
                    quell_receipt_wait(receipt, &outcome, quell_after(QUELL_SECONDS(60))) == QUELL_OK &&
                    outcome == QUELL_DELIVERED;
    quell_receipt_free(receipt);
    quell_reason_release(reason);
    return delivered;
}

int main(void) {
    struct loop loop = {quell_queue_new(8, free), quell_lock_new(), quell_event_new(), 0, 0};
    quell_spawn_options options = QUELL_SPAWN_OPTIONS;
    options.name = "event loop";
    quell_thread *thread = quell_spawn(run_loop, &loop, &options);
    if (!thread) {
        fprintf(stderr, "%s\n", quell_last_error());
        return 1;
    }
    quell_thread_id id = quell_thread_get_id(thread);

    int good = submit(&loop, "a short job", well_behaved) && submit(&loop, "a runaway", runs_away) &&
               submit(&loop, "a job after it", well_behaved);

    /* The monitor's part: the runaway has had its time. */
    good = good && quell_event_wait(loop.running_away, quell_after(QUELL_SECONDS(60))) == QUELL_OK &&
           interrupt(id, "that job took too long", too_long);

    /* Enough of the loop itself. It waits for a job, or will in a moment. */
    while (good && quell_queue_size(loop.jobs) > 0)
        good = quell_sleep(quell_after(QUELL_MILLISECONDS(1))) == QUELL_OK;
    good = good && interrupt(id, "the application closes", NULL);

    void *result = NULL;
    good = good && quell_join(thread, &result, quell_after(QUELL_SECONDS(60))) == QUELL_OK && result == &loop;
    if (!good) {
        fprintf(stderr, "%s\n", quell_last_error());
        return 1;
    }
    printf("%d done, %d given up\n", loop.done, loop.given_up);
    good = loop.done == 2 && loop.given_up == 1;
    /* Free, whatever the jobs were doing. */
    good = quell_lock_free(loop.lock) == QUELL_OK && good;
    good = quell_event_free(loop.running_away) == QUELL_OK && good;
    good = quell_queue_free(loop.jobs) == QUELL_OK && good;
    good = quell_thread_free(thread) == QUELL_OK && good;
    return good ? 0 : 1;
}
