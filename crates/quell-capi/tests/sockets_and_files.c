/*
 * System calls by name, but for those of system_calls.c: each is reached wherever it waits, keeps its deadline, and has done
 * nothing if it was interrupted; what it did otherwise is told.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"

/* What each call waits for, and never comes. */
struct place {
    int empty[2], full[2], stream[2], listener, unconnected, epoll, file[2];
    struct sockaddr_un busy;
    char fifo[64];
};

static char scratch[16384];

static quell_status readv_(struct place *p, quell_deadline until) {
    char byte;
    struct iovec buffers[] = {{NULL, 0}, {&byte, 1}};
    return quell_readv(p->empty[0], buffers, 2, NULL, until);
}

static quell_status writev_(struct place *p, quell_deadline until) {
    struct iovec buffers[] = {{scratch, 1}, {scratch, 1}};
    return quell_writev(p->full[1], buffers, 2, NULL, until);
}

static quell_status recv_(struct place *p, quell_deadline until) {
    return quell_recv(p->stream[0], scratch, sizeof scratch, 0, NULL, until);
}

static quell_status recvfrom_(struct place *p, quell_deadline until) {
    struct sockaddr_un from;
    socklen_t length = sizeof from;
    return quell_recvfrom(p->stream[0], scratch, 1, 0, (struct sockaddr *)&from, &length, NULL, until);
}

static quell_status recvmsg_(struct place *p, quell_deadline until) {
    struct iovec buffer = {scratch, sizeof scratch};
    struct msghdr message = {.msg_iov = &buffer, .msg_iovlen = 1};
    return quell_recvmsg(p->stream[0], &message, 0, NULL, until);
}

static quell_status send_(struct place *p, quell_deadline until) {
    return quell_send(p->stream[0], scratch, 1, 0, NULL, until);
}

static quell_status sendmsg_(struct place *p, quell_deadline until) {
    struct iovec buffer = {scratch, sizeof scratch};
    struct msghdr message = {.msg_iov = &buffer, .msg_iovlen = 1};
    return quell_sendmsg(p->stream[0], &message, 0, NULL, until);
}

static quell_status accept_(struct place *p, quell_deadline until) {
    int accepted = -1;
    quell_status status = quell_accept(p->listener, NULL, NULL, SOCK_CLOEXEC, &accepted, until);
    CHECK_EQUAL(-1, accepted);
    return status;
}

/* Its queue is full. Over Unix sockets nothing goes on when it is interrupted. */
static quell_status connect_(struct place *p, quell_deadline until) {
    return quell_connect(p->unconnected, (struct sockaddr *)&p->busy, sizeof p->busy, until);
}

static quell_status epoll_(struct place *p, quell_deadline until) {
    struct epoll_event event;
    return quell_epoll_wait(p->epoll, &event, 1, NULL, until);
}

static quell_status open_(struct place *p, quell_deadline until) {
    int fd = -1;
    quell_status status = quell_open(p->fifo, O_RDONLY, 0, &fd, until);
    CHECK_EQUAL(-1, fd);
    return status;
}

static quell_status flock_(struct place *p, quell_deadline until) {
    return quell_flock(p->file[1], LOCK_EX, until);
}

static quell_status range_(struct place *p, quell_deadline until) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return quell_fcntl_lock(p->file[1], F_OFD_SETLKW, &range, until);
}

static const struct {
    const char *name;
    quell_status (*call)(struct place *, quell_deadline);
} calls[] = {
    {"readv", readv_},       {"writev", writev_},   {"recv", recv_},     {"recvfrom", recvfrom_}, {"recvmsg", recvmsg_},
    {"send", send_},         {"sendmsg", sendmsg_}, {"accept", accept_}, {"connect", connect_},   {"epoll_wait", epoll_},
    {"open", open_},         {"flock", flock_},     {"fcntl_lock", range_},
};

/* All of them; but valgrind does not know that F_OFD_SETLKW blocks, and stops every thread until it is over. */
static size_t kinds(void) {
    return sizeof calls / sizeof *calls - (getenv("QUELL_VALGRIND") != NULL);
}

static void fill(int fd) {
    CHECK_EQUAL(0, fcntl(fd, F_SETFL, O_NONBLOCK));
    while (write(fd, scratch, sizeof scratch) > 0 || write(fd, scratch, 1) > 0) {
    }
    CHECK_EQUAL(0, fcntl(fd, F_SETFL, 0));
}

static struct sockaddr_un unnamed_address(int number) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "quell-%ld-%d", (long)getpid(), number);
    return address;
}

static struct place place;

static void remove_fifo(void) {
    unlink(place.fifo);
}

/* Once; all tests use the same. */
static void arrange(void) {
    struct place *p = &place;
    if (p->listener)
        return;
    CHECK_EQUAL(0, pipe(p->empty));
    CHECK_EQUAL(0, pipe(p->full));
    fill(p->full[1]);
    /* Nothing comes to [0], which is full in the other direction. */
    CHECK_EQUAL(0, socketpair(AF_UNIX, SOCK_STREAM, 0, p->stream));
    fill(p->stream[0]);
    struct sockaddr_un quiet = unnamed_address(1);
    p->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_EQUAL(0, bind(p->listener, (struct sockaddr *)&quiet, sizeof quiet));
    CHECK_EQUAL(0, listen(p->listener, 1));
    p->busy = unnamed_address(2);
    int busy = socket(AF_UNIX, SOCK_STREAM, 0), first = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_EQUAL(0, bind(busy, (struct sockaddr *)&p->busy, sizeof p->busy));
    CHECK_EQUAL(0, listen(busy, 0));
    CHECK_EQUAL(0, connect(first, (struct sockaddr *)&p->busy, sizeof p->busy));
    p->unconnected = socket(AF_UNIX, SOCK_STREAM, 0);
    p->epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK_EQUAL(0, epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->empty[0], &event));
    snprintf(p->fifo, sizeof p->fifo, "/tmp/quell-fifo-%ld", (long)getpid());
    CHECK_EQUAL(0, mkfifo(p->fifo, 0600));
    CHECK_EQUAL(0, atexit(remove_fifo));
    char path[64];
    snprintf(path, sizeof path, "/tmp/quell-lock-%ld", (long)getpid());
    for (int i = 0; i < 2; i++)
        CHECK((p->file[i] = open(path, O_RDWR | O_CREAT, 0600)) >= 0);
    CHECK_EQUAL(0, unlink(path));
    CHECK_EQUAL(0, flock(p->file[0], LOCK_EX));
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    CHECK_EQUAL(0, fcntl(p->file[0], F_OFD_SETLK, &range));
}

struct round {
    size_t kind;
    long rounds;
    atomic_long begun;
};

static void *caller(void *argument) {
    struct round *round = argument;
    for (long i = 0; i < round->rounds; i++) {
        atomic_fetch_add(&round->begun, 1);
        /* Every third has a deadline, of which nothing is seen. */
        quell_deadline until = i % 3 ? QUELL_FOREVER : quell_after(QUELL_SECONDS(3600));
        if (!CHECK_STATUS(QUELL_INTERRUPTED, calls[round->kind].call(&place, until))) {
            printf("   that was the call: %s\n", calls[round->kind].name);
            return NULL;
        }
        drop_reason();
    }
    return round;
}

/* As many are delivered as were sent, each in its own call, at random moments around its beginning. */
static void every_call_is_reached(void) {
    uint64_t random = 5;
    arrange();
    for (size_t kind = 0; kind < kinds(); kind++) {
        struct round round = {.kind = kind, .rounds = stress(2000)};
        quell_thread *thread = start(caller, &round);
        for (long i = 0; i < round.rounds; i++) {
            while (atomic_load(&round.begun) <= i && quell_thread_is_alive(quell_thread_get_id(thread)))
                sched_yield();
            spin(below(&random, 3000));
            quell_receipt *receipt = NULL;
            quell_outcome outcome = QUELL_PENDING;
            if (!CHECK_OK(interrupt_with(quell_thread_get_id(thread), NULL, &receipt)))
                break;
            CHECK_OK(quell_receipt_wait(receipt, &outcome, long_wait()));
            CHECK_EQUAL(QUELL_DELIVERED, outcome);
            quell_receipt_free(receipt);
        }
        CHECK(finish(thread) == &round);
    }
}

/* After all these interrupts, nothing was taken, made or locked. */
static void nothing_was_done(void) {
    arrange();
    char byte = 0;
    size_t count = 0;
    CHECK_EQUAL(1, write(place.empty[1], "a", 1));
    struct epoll_event event;
    CHECK_OK(quell_epoll_wait(place.epoll, &event, 1, &count, QUELL_NOW));
    CHECK_EQUAL(1, count);
    struct iovec buffer = {&byte, 1};
    CHECK_OK(quell_readv(place.empty[0], &buffer, 1, &count, QUELL_NOW));
    CHECK(count == 1 && byte == 'a');
    CHECK_EQUAL(2, write(place.stream[1], "bc", 2));
    CHECK_OK(quell_recv(place.stream[0], &byte, 1, MSG_PEEK, &count, QUELL_NOW));
    CHECK(count == 1 && byte == 'b');
    CHECK_OK(quell_recvfrom(place.stream[0], &byte, 1, 0, NULL, NULL, &count, QUELL_NOW));
    CHECK(count == 1 && byte == 'b');
    struct msghdr message = {.msg_iov = &buffer, .msg_iovlen = 1};
    CHECK_OK(quell_recvmsg(place.stream[0], &message, 0, &count, QUELL_NOW));
    CHECK(count == 1 && byte == 'c');
    /* No reader has opened the FIFO, nobody else has the locks. */
    int fd = -1;
    CHECK_STATUS(QUELL_SYSTEM, quell_open(place.fifo, O_WRONLY | O_NONBLOCK, 0, &fd, QUELL_FOREVER));
    CHECK_EQUAL(ENXIO, errno);
    CHECK_STATUS(QUELL_SYSTEM, quell_flock(place.file[1], LOCK_EX | LOCK_NB, QUELL_FOREVER));
    CHECK_EQUAL(EWOULDBLOCK, errno);
    CHECK_OK(quell_flock(place.file[0], LOCK_UN, QUELL_NOW));
    CHECK_OK(quell_flock(place.file[1], LOCK_EX, QUELL_NOW));
    struct flock range = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    CHECK_OK(quell_fcntl_lock(place.file[0], F_OFD_SETLKW, &range, QUELL_NOW));
    range.l_type = F_WRLCK;
    CHECK_OK(quell_fcntl_lock(place.file[1], F_OFD_SETLKW, &range, QUELL_NOW));
    CHECK_STATUS(QUELL_TIMED_OUT, quell_fcntl_lock(place.file[0], F_OFD_SETLKW, &range, QUELL_NOW));
    CHECK_STATUS(QUELL_TIMED_OUT, accept_(&place, QUELL_NOW));
}

static void deadlines(void) {
    arrange();
    for (size_t kind = 0; kind < kinds(); kind++) {
        quell_deadline at = quell_after(QUELL_MILLISECONDS(5));
        if (!CHECK_STATUS(QUELL_TIMED_OUT, calls[kind].call(&place, at)))
            printf("   that was the call: %s\n", calls[kind].name);
        CHECK(quell_now() >= at);
        CHECK_STATUS(QUELL_TIMED_OUT, calls[kind].call(&place, QUELL_NOW));
        CHECK_OK(interrupt_with(quell_thread_self(), "early", NULL));
        CHECK_STATUS(QUELL_INTERRUPTED, calls[kind].call(&place, QUELL_FOREVER));
    }
}

/* A shield holds interrupts back from each; a mask does not, because a call blocks. */
static void in_masks_and_shields(void) {
    arrange();
    for (size_t kind = 0; kind < kinds(); kind++) {
        quell_scope shield = quell_shield_begin();
        CHECK_OK(interrupt_with(quell_thread_self(), "early", NULL));
        if (!CHECK_STATUS(QUELL_TIMED_OUT, calls[kind].call(&place, quell_after(QUELL_MILLISECONDS(2)))))
            printf("   that was the call: %s\n", calls[kind].name);
        CHECK_STATUS(QUELL_INTERRUPTED, quell_scope_end(shield));
        quell_scope mask = quell_mask_begin();
        CHECK_OK(interrupt_with(quell_thread_self(), "early", NULL));
        CHECK_STATUS(QUELL_INTERRUPTED, calls[kind].call(&place, QUELL_FOREVER));
        CHECK_OK(quell_scope_end(mask));
    }
}

/* Connections come one by one, each with its number, while the thread that accepts is interrupted: until it was often enough. */
struct server {
    int listener;
    long connections, often_enough;
    atomic_long interrupted;
    atomic_bool stop;
    quell_thread *thread;
};

/* Instead of a number. */
enum { THE_LAST = -1 };

static void *accepts(void *argument) {
    struct server *server = argument;
    for (long at = 0;; at++) {
        int accepted = -1;
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        quell_status status;
        while ((status = quell_accept(server->listener, (struct sockaddr *)&peer, &length, 0, &accepted,
                                      QUELL_FOREVER)) == QUELL_INTERRUPTED) {
            atomic_fetch_add(&server->interrupted, 1);
            CHECK_EQUAL(-1, accepted);
        }
        if (!CHECK_OK(status))
            return NULL;
        CHECK(length == sizeof peer && peer.sin_family == AF_INET);
        long number = -2;
        size_t count = 0;
        while ((status = quell_recv(accepted, &number, sizeof number, MSG_WAITALL, &count, QUELL_FOREVER)) ==
               QUELL_INTERRUPTED)
            atomic_fetch_add(&server->interrupted, 1);
        CHECK_OK(status);
        CHECK_EQUAL(sizeof number, count);
        CHECK_EQUAL(0, close(accepted));
        if (number == THE_LAST)
            return server;
        CHECK_EQUAL(at, number);
    }
}

static bool goes_on(struct server *server, long at) {
    return at < server->connections || atomic_load(&server->interrupted) < server->often_enough;
}

static void *disturbs(void *argument) {
    struct server *server = argument;
    uint64_t random = 7;
    while (!atomic_load(&server->stop)) {
        quell_receipt *receipt = NULL;
        if (interrupt_with(quell_thread_get_id(server->thread), NULL, &receipt) == QUELL_OK)
            CHECK_OK(quell_receipt_wait(receipt, NULL, long_wait()));
        quell_receipt_free(receipt);
        spin(below(&random, 1000));
    }
    return NULL;
}

static void no_connection_is_lost(void) {
    struct server server = {.listener = socket(AF_INET, SOCK_STREAM, 0), .connections = stress(2000)};
    server.often_enough = server.connections / 20;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    CHECK_EQUAL(0, bind(server.listener, (struct sockaddr *)&address, length));
    CHECK_EQUAL(0, listen(server.listener, 8));
    CHECK_EQUAL(0, getsockname(server.listener, (struct sockaddr *)&address, &length));
    server.thread = start(accepts, &server);
    quell_thread *disturber = start(disturbs, &server);
    quell_deadline late = long_wait();
    for (long at = 0, number = 0; number != THE_LAST; at++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        size_t count = 0;
        char end;
        CHECK_OK(quell_connect(fd, (struct sockaddr *)&address, length, long_wait()));
        CHECK_OK(quell_connected(fd, QUELL_NOW));
        number = goes_on(&server, at) && quell_now() < late ? at : THE_LAST;
        CHECK_OK(quell_send(fd, &number, sizeof number, 0, &count, long_wait()));
        CHECK_EQUAL(sizeof number, count);
        /* Until it was read: what is closed on the other side first does not wait here for its port. */
        CHECK_OK(quell_recv(fd, &end, 1, 0, &count, long_wait()));
        CHECK_EQUAL(0, count);
        close(fd);
    }
    void *result = NULL;
    CHECK_OK(quell_join(server.thread, &result, long_wait()));
    CHECK(result == &server);
    atomic_store(&server.stop, true);
    finish(disturber);
    CHECK_OK(quell_thread_free(server.thread));
    CHECK(atomic_load(&server.interrupted) >= server.often_enough);
    close(server.listener);
}

/* A datagram is received whole, with its sender, or not at all. */
static void datagrams(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, b = a, from;
    socklen_t length = sizeof a;
    int one = socket(AF_INET, SOCK_DGRAM, 0), two = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK_EQUAL(0, bind(one, (struct sockaddr *)&a, length));
    CHECK_EQUAL(0, bind(two, (struct sockaddr *)&b, length));
    CHECK_EQUAL(0, getsockname(one, (struct sockaddr *)&a, &length));
    CHECK_EQUAL(0, getsockname(two, (struct sockaddr *)&b, &length));
    size_t count = 0;
    char text[16];
    CHECK_OK(quell_sendto(one, "hello", 5, 0, (struct sockaddr *)&b, length, &count, QUELL_FOREVER));
    CHECK_EQUAL(5, count);
    CHECK_OK(interrupt_with(quell_thread_self(), "later", NULL));
    quell_scope shield = quell_shield_begin();
    CHECK_OK(quell_recvfrom(two, text, sizeof text, 0, (struct sockaddr *)&from, &length, &count, QUELL_NOW));
    CHECK(count == 5 && memcmp(text, "hello", 5) == 0);
    CHECK(length == sizeof from && from.sin_port == a.sin_port);
    CHECK_STATUS(QUELL_INTERRUPTED, quell_scope_end(shield));
    /* Where there is no room for the address, its length is told all the same. */
    CHECK_OK(quell_sendto(one, "", 0, 0, (struct sockaddr *)&b, sizeof b, &count, QUELL_FOREVER));
    length = 2;
    CHECK_OK(quell_recvfrom(two, text, 0, 0, (struct sockaddr *)&from, &length, &count, QUELL_NOW));
    CHECK_EQUAL(sizeof from, length);
    close(one);
    close(two);
}

static void nobody_is_there(void) {
    struct sockaddr_un nobody = unnamed_address(99);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), pair[2];
    CHECK_STATUS(QUELL_SYSTEM, quell_connect(fd, (struct sockaddr *)&nobody, sizeof nobody, QUELL_FOREVER));
    CHECK_EQUAL(ECONNREFUSED, errno);
    close(fd);
    /* No SIGPIPE. */
    CHECK_EQUAL(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    close(pair[1]);
    CHECK_STATUS(QUELL_SYSTEM, quell_send(pair[0], "x", 1, 0, NULL, QUELL_FOREVER));
    CHECK_EQUAL(EPIPE, errno);
    close(pair[0]);
}

static void bad_input(void) {
    char byte = 0;
    int fd = -1;
    struct sockaddr_un address = unnamed_address(3);
    struct sockaddr *where = (struct sockaddr *)&address;
    struct flock range = {0};
    struct epoll_event event;
    struct msghdr message = {0};
    quell_deadline now = QUELL_NOW;
    CHECK_STATUS(QUELL_INVALID, quell_accept(0, NULL, NULL, 0, NULL, now));
    CHECK_STATUS(QUELL_INVALID, quell_accept(0, where, NULL, 0, &fd, now));
    CHECK_STATUS(QUELL_SYSTEM, quell_accept(-1, NULL, NULL, 0, &fd, now));
    CHECK_EQUAL(EBADF, errno);
    CHECK_STATUS(QUELL_INVALID, quell_connect(0, NULL, 8, now));
    char long_address[300] = {0};
    CHECK_STATUS(QUELL_INVALID, quell_connect(0, (struct sockaddr *)long_address, sizeof long_address, now));
    CHECK_CONTAINS("300 bytes are no address", quell_last_error());
    CHECK_STATUS(QUELL_SYSTEM, quell_connect(-1, where, sizeof address, now));
    CHECK_STATUS(QUELL_SYSTEM, quell_connected(-1, now));
    CHECK_STATUS(QUELL_INVALID, quell_recv(0, NULL, 1, 0, NULL, now));
    CHECK_STATUS(QUELL_INVALID, quell_recv(0, &byte, SIZE_MAX, 0, NULL, now));
    CHECK_STATUS(QUELL_INVALID, quell_recvfrom(0, &byte, 1, 0, where, NULL, NULL, now));
    CHECK_STATUS(QUELL_INVALID, quell_recvmsg(0, NULL, 0, NULL, now));
    CHECK_STATUS(QUELL_SYSTEM, quell_recvmsg(-1, &message, 0, NULL, now));
    CHECK_STATUS(QUELL_INVALID, quell_send(0, NULL, 1, 0, NULL, now));
    CHECK_STATUS(QUELL_INVALID, quell_sendto(0, &byte, 1, 0, NULL, 0, NULL, now));
    CHECK_STATUS(QUELL_INVALID, quell_sendmsg(0, NULL, 0, NULL, now));
    CHECK_STATUS(QUELL_INVALID, quell_readv(0, NULL, 1, NULL, now));
    CHECK_STATUS(QUELL_INVALID, quell_writev(0, NULL, -1, NULL, now));
    CHECK_STATUS(QUELL_INVALID, quell_epoll_wait(0, NULL, 1, NULL, now));
    CHECK_STATUS(QUELL_INVALID, quell_epoll_wait(0, &event, 0, NULL, now));
    CHECK_STATUS(QUELL_INVALID, quell_open(NULL, O_RDONLY, 0, &fd, now));
    CHECK_STATUS(QUELL_INVALID, quell_open("/dev/null", O_RDONLY, 0, NULL, now));
    CHECK_STATUS(QUELL_SYSTEM, quell_open("/nowhere/at/all", O_RDONLY, 0, &fd, long_wait()));
    CHECK_EQUAL(ENOENT, errno);
    CHECK_EQUAL(-1, fd);
    CHECK_STATUS(QUELL_SYSTEM, quell_flock(-1, LOCK_EX, now));
    CHECK_STATUS(QUELL_INVALID, quell_fcntl_lock(0, F_SETLK, &range, now));
    CHECK_STATUS(QUELL_INVALID, quell_fcntl_lock(0, F_SETLKW, NULL, now));
    /* A file that need not be waited for is opened, and closed on exec. */
    CHECK_OK(quell_open("/dev/null", O_RDONLY, 0, &fd, long_wait()));
    CHECK_EQUAL(FD_CLOEXEC, fcntl(fd, F_GETFD));
    close(fd);
}

static const struct test tests[] = {
    {"deadlines", deadlines},
    {"in_masks_and_shields", in_masks_and_shields},
    {"every_call_is_reached", every_call_is_reached},
    {"nothing_was_done", nothing_was_done},
    {"no_connection_is_lost", no_connection_is_lost},
    {"datagrams", datagrams},
    {"nobody_is_there", nobody_is_there},
    {"bad_input", bad_input},
};
RUN(tests)
