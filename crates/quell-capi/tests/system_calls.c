/*
 * System calls that can be interrupted: each is reached wherever it waits; no byte is lost or read twice; no other call and
 * no other handler notices.
 */

#define _DEFAULT_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* Each kind of call, where it waits for ever. */
struct place {
    int empty[2], full[2], listener;
    pid_t child;
};

static quell_status reads(struct place *p) {
    char byte;
    return quell_read(p->empty[0], &byte, 1, NULL, QUELL_FOREVER);
}

static quell_status writes(struct place *p) { return quell_write(p->full[1], "x", 1, NULL, QUELL_FOREVER); }

static quell_status polls(struct place *p) {
    struct pollfd fds[] = {{.fd = p->empty[0], .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    return quell_poll(fds, 2, NULL, QUELL_FOREVER);
}

static quell_status waits(struct place *p) { return quell_waitpid(p->child, NULL, 0, NULL, QUELL_FOREVER); }

static quell_status accepts(struct place *p) {
    const size_t arguments[6] = {(size_t)p->listener, 0, 0, SOCK_CLOEXEC, 0, 0};
    return quell_syscall(SYS_accept4, arguments, NULL, QUELL_FOREVER);
}

static quell_status reads_until(struct place *p) {
    char byte;
    return quell_read(p->empty[0], &byte, 1, NULL, quell_after(QUELL_SECONDS(3600)));
}

static const struct {
    const char *name;
    quell_status (*call)(struct place *);
} calls[] = {
    {"read", reads}, {"write", writes}, {"poll", polls}, {"waitpid", waits}, {"accept", accepts}, {"deadline", reads_until},
};

struct round {
    struct place *place;
    quell_status (*call)(struct place *);
    atomic_int begun;
};

static void *caller(void *argument) {
    struct round *round = argument;
    atomic_store(&round->begun, 1);
    if (!CHECK_STATUS(QUELL_INTERRUPTED, round->call(round->place)))
        return NULL;
    quell_reason *reason = quell_take_reason();
    CHECK_CONTAINS("enough", quell_reason_message(reason));
    quell_reason_release(reason);
    return round;
}

static void every_call_is_reached(void) {
    struct place place;
    CHECK_EQUAL(0, pipe(place.empty));
    CHECK_EQUAL(0, pipe(place.full));
    CHECK_EQUAL(0, fcntl(place.full[1], F_SETFL, O_NONBLOCK));
    char much[4096] = {0};
    while (write(place.full[1], much, sizeof much) > 0) {
    }
    CHECK_EQUAL(0, fcntl(place.full[1], F_SETFL, 0));
    place.listener = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr nowhere = {.sa_family = AF_UNIX};
    CHECK_EQUAL(0, bind(place.listener, &nowhere, sizeof nowhere.sa_family));
    CHECK_EQUAL(0, listen(place.listener, 1));
    fflush(stdout);
    place.child = fork();
    if (place.child == 0)
        for (;;)
            pause();
    uint64_t random = 3;
    long rounds = stress(100);
    for (size_t kind = 0; kind < sizeof calls / sizeof *calls; kind++)
        for (long i = 0; i < rounds; i++) {
            struct round round = {&place, calls[kind].call, 0};
            quell_thread *thread = start(caller, &round);
            if (i % 3 != 0) {
                while (!atomic_load(&round.begun)) {
                }
                spin(below(&random, i % 3 == 1 ? 300 : 100000));
            }
            CHECK_OK(interrupt_with(quell_thread_get_id(thread), "enough", NULL));
            if (!CHECK(finish(thread) == &round))
                printf("   that was the call: %s\n", calls[kind].name);
        }
    /* Nothing was taken: the child is there to be waited for, and was not waited for twice. */
    CHECK_EQUAL(0, kill(place.child, SIGKILL));
    int status = 0;
    pid_t waited = 0;
    CHECK_OK(quell_waitpid(place.child, &status, 0, &waited, long_wait()));
    CHECK_EQUAL(place.child, waited);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_STATUS(QUELL_SYSTEM, quell_waitpid(place.child, &status, 0, &waited, long_wait()));
    CHECK_EQUAL(ECHILD, errno);
    for (int i = 0; i < 2; i++) {
        close(place.empty[i]);
        close(place.full[i]);
    }
    close(place.listener);
}

/* A stream of numbers through a pipe, while interrupts fly at both ends. It goes on until both have been disturbed
   often enough, however late the disturber comes to run. */
struct stream {
    int fds[2];
    long length, disturbances, sent, interrupted;
    quell_thread *ends[2];
    atomic_bool disturbed, stop;
};

static uint8_t expected(long at) {
    return (uint8_t)(at * 31 + (at >> 8));
}

static void *sends(void *argument) {
    struct stream *stream = argument;
    uint8_t buffer[97];
    long at = 0;
    while (at < stream->length || !atomic_load(&stream->disturbed)) {
        size_t count = 0;
        for (size_t i = 0; i < sizeof buffer; i++)
            buffer[i] = expected(at + (long)i);
        quell_status status = quell_write(stream->fds[1], buffer, sizeof buffer, &count, QUELL_FOREVER);
        CHECK(status == QUELL_OK ? count > 0 : status == QUELL_INTERRUPTED && count == 0);
        at += (long)count;
    }
    stream->sent = at; /* read by the other end after the end of the stream */
    close(stream->fds[1]);
    return NULL;
}

static void *receives(void *argument) {
    struct stream *stream = argument;
    uint8_t buffer[61];
    for (long at = 0;;) {
        size_t count = 0;
        quell_status status = quell_read(stream->fds[0], buffer, sizeof buffer, &count,
                                         at % 3 ? QUELL_FOREVER : quell_after(QUELL_MICROSECONDS(200)));
        if (status == QUELL_OK && count == 0) {
            CHECK_EQUAL(stream->sent, at);
            return stream;
        }
        if (status == QUELL_INTERRUPTED)
            stream->interrupted++;
        CHECK(status == QUELL_OK || count == 0);
        for (size_t i = 0; i < count; i++)
            if (buffer[i] != expected(at + (long)i)) {
                CHECK_EQUAL(expected(at + (long)i), buffer[i]);
                return NULL;
            }
        at += (long)count;
    }
}

static void *disturbs(void *argument) {
    struct stream *stream = argument;
    uint64_t random = 99;
    long done[2] = {0, 0};
    quell_reason *reason = quell_reason_new(NULL, NULL, NULL);
    while (!atomic_load(&stream->stop)) {
        quell_receipt *receipt = NULL;
        uint64_t end = below(&random, 2);
        if (quell_interrupt(quell_thread_get_id(stream->ends[end]), reason, &receipt) == QUELL_OK)
            CHECK_OK(quell_receipt_wait(receipt, NULL, long_wait()));
        quell_receipt_free(receipt);
        done[end]++;
        if (done[0] >= stream->disturbances && done[1] >= stream->disturbances)
            atomic_store(&stream->disturbed, true);
        spin(below(&random, 1000));
    }
    quell_reason_release(reason);
    return NULL;
}

static void no_byte_is_lost_or_read_twice(void) {
    struct stream stream = {.length = stress(1000000), .disturbances = stress(1000)};
    CHECK_EQUAL(0, pipe(stream.fds));
    stream.ends[0] = start(sends, &stream);
    stream.ends[1] = start(receives, &stream);
    quell_thread *disturber = start(disturbs, &stream);
    void *result = NULL;
    CHECK_OK(quell_join(stream.ends[0], NULL, long_wait()));
    CHECK_OK(quell_join(stream.ends[1], &result, long_wait()));
    CHECK(result == &stream);
    CHECK(stream.interrupted >= stream.disturbances);
    atomic_store(&stream.stop, true);
    finish(disturber);
    for (int i = 0; i < 2; i++)
        CHECK_OK(quell_thread_free(stream.ends[i]));
    close(stream.fds[0]);
}

static void deadlines(void) {
    int fds[2];
    char byte = 0;
    size_t count = 99;
    CHECK_EQUAL(0, pipe(fds));
    quell_deadline at = quell_after(QUELL_MILLISECONDS(3));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_read(fds[0], &byte, 1, &count, at));
    CHECK(quell_now() >= at);
    CHECK_EQUAL(99, count);
    struct pollfd pollfd = {.fd = fds[0], .events = POLLIN};
    CHECK_STATUS(QUELL_TIMED_OUT, quell_poll(&pollfd, 1, &count, QUELL_NOW));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_poll(NULL, 0, &count, quell_after(1000)));
    CHECK_OK(quell_write(fds[1], "y", 1, &count, QUELL_NOW));
    CHECK_EQUAL(1, count);
    CHECK_OK(quell_poll(&pollfd, 1, &count, QUELL_NOW));
    CHECK_EQUAL(1, count);
    CHECK_EQUAL(POLLIN, pollfd.revents);
    CHECK_OK(quell_read(fds[0], &byte, 1, &count, QUELL_NOW));
    CHECK(count == 1 && byte == 'y');
    close(fds[1]);
    CHECK_OK(quell_read(fds[0], &byte, 1, &count, QUELL_FOREVER));
    CHECK_EQUAL(0, count);
    close(fds[0]);
}

static void completion_comes_first(void) {
    int fds[2];
    char bytes[4];
    size_t count = 0;
    CHECK_EQUAL(0, pipe(fds));
    quell_scope shield = quell_shield_begin();
    CHECK_OK(interrupt_with(quell_thread_self(), "later", NULL));
    CHECK_OK(quell_write(fds[1], "abc", 3, &count, QUELL_FOREVER));
    CHECK_EQUAL(3, count);
    CHECK_OK(quell_read(fds[0], bytes, sizeof bytes, &count, QUELL_FOREVER));
    CHECK_EQUAL(3, count);
    CHECK_STATUS(QUELL_TIMED_OUT, quell_read(fds[0], bytes, sizeof bytes, &count, quell_after(1000)));
    CHECK_STATUS(QUELL_INTERRUPTED, quell_scope_end(shield));
    close(fds[0]);
    close(fds[1]);
}

static void errors_are_the_system_s(void) {
    char byte;
    const size_t arguments[6] = {0};
    CHECK_STATUS(QUELL_SYSTEM, quell_read(-1, &byte, 1, NULL, QUELL_FOREVER));
    CHECK_EQUAL(EBADF, errno);
    CHECK_CONTAINS("quell_read() in thread", quell_last_error());
    CHECK_CONTAINS(strerror(EBADF), quell_last_error());
    errno = 0;
    CHECK_STATUS(QUELL_SYSTEM, quell_write(1 << 20, "x", 1, NULL, QUELL_FOREVER));
    CHECK_EQUAL(EBADF, errno);
    CHECK_STATUS(QUELL_INVALID, quell_read(0, NULL, 1, NULL, QUELL_FOREVER));
    CHECK_STATUS(QUELL_INVALID, quell_read(0, &byte, SIZE_MAX, NULL, QUELL_FOREVER));
    CHECK_STATUS(QUELL_INVALID, quell_write(1, NULL, 1, NULL, QUELL_FOREVER));
    CHECK_STATUS(QUELL_INVALID, quell_poll(NULL, 1, NULL, QUELL_FOREVER));
    CHECK_STATUS(QUELL_INVALID, quell_syscall(SYS_getpid, NULL, NULL, QUELL_FOREVER));
    ssize_t result = 0;
    CHECK_OK(quell_syscall(SYS_getpid, arguments, &result, QUELL_FOREVER));
    CHECK_EQUAL(getpid(), result);
}

/* The signal: a handler that the program has goes on, others' calls are not ended by quell, and it is chosen once. */
static atomic_long handled;

static void handler(int signal) {
    (void)signal;
    atomic_fetch_add(&handled, 1);
}

struct bystander {
    int fds[2];
    atomic_int begun;
    pthread_t thread;
};

static void *reads_by_itself(void *argument) {
    struct bystander *bystander = argument;
    char byte;
    atomic_store(&bystander->begun, 1);
    /* Interrupts are pending here, too; but this call is not quell's. */
    CHECK_EQUAL(1, read(bystander->fds[0], &byte, 1));
    while (quell_checkpoint() == QUELL_INTERRUPTED) {
    }
    return argument;
}

static void the_signal(void) {
    int number = quell_get_signal();
    CHECK_EQUAL(SIGURG, number);
    CHECK_STATUS(QUELL_INVALID, quell_set_signal(SIGRTMIN + 1));
    CHECK_CONTAINS("already", quell_last_error());
    struct bystander bystander = {.fds = {-1, -1}};
    CHECK_EQUAL(0, pipe(bystander.fds));
    quell_thread *thread = start(reads_by_itself, &bystander);
    while (!atomic_load(&bystander.begun)) {
    }
    for (int i = 0; i < 100; i++)
        CHECK_OK(interrupt_with(quell_thread_get_id(thread), NULL, NULL));
    CHECK_EQUAL(1, write(bystander.fds[1], "z", 1));
    CHECK(finish(thread) == &bystander);
    close(bystander.fds[0]);
    close(bystander.fds[1]);
}

/* A handler of the program for another signal does not end a call. */
static void *reads_through_signals(void *argument) {
    struct bystander *bystander = argument;
    bystander->thread = pthread_self();
    atomic_store(&bystander->begun, 1);
    char byte;
    size_t count = 0;
    CHECK_OK(quell_read(bystander->fds[0], &byte, 1, &count, QUELL_FOREVER));
    CHECK_EQUAL(1, count);
    return argument;
}

static void other_signals_do_not_end_a_call(void) {
    struct bystander bystander = {.fds = {-1, -1}};
    struct sigaction action = {.sa_handler = handler}, before;
    CHECK_EQUAL(0, sigaction(SIGUSR1, &action, &before));
    CHECK_EQUAL(0, pipe(bystander.fds));
    quell_thread *thread = start(reads_through_signals, &bystander);
    while (!atomic_load(&bystander.begun)) {
    }
    atomic_store(&handled, 0);
    for (int i = 1; i <= 20; i++) {
        CHECK_EQUAL(0, pthread_kill(bystander.thread, SIGUSR1));
        while (atomic_load(&handled) < i) {
        }
    }
    CHECK_EQUAL(1, write(bystander.fds[1], "z", 1));
    CHECK(finish(thread) == &bystander);
    CHECK_EQUAL(0, sigaction(SIGUSR1, &before, NULL));
    close(bystander.fds[0]);
    close(bystander.fds[1]);
}

static const struct test tests[] = {
    {"every_call_is_reached", every_call_is_reached},
    {"no_byte_is_lost_or_read_twice", no_byte_is_lost_or_read_twice},
    {"deadlines", deadlines},
    {"completion_comes_first", completion_comes_first},
    {"errors_are_the_system_s", errors_are_the_system_s},
    {"the_signal", the_signal},
    {"other_signals_do_not_end_a_call", other_signals_do_not_end_a_call},
};
RUN(tests)
