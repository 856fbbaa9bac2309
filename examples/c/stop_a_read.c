/*
 * A thread that waits for the network, and is stopped: it reads from a socket to which nobody writes.
 *
 * The bytes that had arrived before are all received; the read that waits for more is interrupted, and has taken none. No
 * timeout, no second descriptor, no shutdown of a socket that somebody else may be using.
 *
 *     cc stop_a_read.c -o stop_a_read $(pkg-config --cflags --libs quell) && ./stop_a_read
 */

#include <quell.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    int socket;
    size_t received;
    quell_event *greeted;
};

static void *serve(void *argument) {
    struct connection *connection = argument;
    char buffer[64];
    for (;;) {
        size_t count = 0;
        quell_status status = quell_read(connection->socket, buffer, sizeof buffer, &count, QUELL_FOREVER);
        if (status != QUELL_OK || count == 0) {
            /* Cleanup comes here, as after any other error. */
            printf("%s\n", status == QUELL_OK ? "the peer has gone" : quell_last_error());
            return status == QUELL_INTERRUPTED ? connection : NULL;
        }
        connection->received += count;
        printf("received %zu bytes: %.*s\n", count, (int)count, buffer);
        quell_event_set(connection->greeted);
    }
}

int main(void) {
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0) {
        perror("socketpair");
        return 1;
    }
    struct connection connection = {sockets[0], 0, quell_event_new()};
    quell_spawn_options options = QUELL_SPAWN_OPTIONS;
    options.name = "server";
    quell_thread *thread = quell_spawn(serve, &connection, &options);
    if (!thread || write(sockets[1], "hello", 5) != 5) {
        fprintf(stderr, "%s\n", quell_last_error());
        return 1;
    }
    quell_reason *reason = quell_reason_new("nobody says anything any more", NULL, NULL);
    void *result = NULL;
    int good = quell_event_wait(connection.greeted, quell_after(QUELL_SECONDS(60))) == QUELL_OK &&
               quell_interrupt(quell_thread_get_id(thread), reason, NULL) == QUELL_OK &&
               quell_join(thread, &result, quell_after(QUELL_SECONDS(60))) == QUELL_OK;
    if (!good)
        fprintf(stderr, "%s\n", quell_last_error());
    good = good && result == &connection && connection.received == 5;
    quell_reason_release(reason);
    quell_event_free(connection.greeted);
    quell_thread_free(thread);
    close(sockets[0]);
    close(sockets[1]);
    return good ? 0 : 1;
}
