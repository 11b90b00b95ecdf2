/* SPDX-License-Identifier: MIT
 *
 * One stream and one socket made into one connection: bytes both ways, FIN as FIN, RST as RST, and neither side read faster
 * than the other takes it. What the socket does not take waits in a queue that the stream's window bounds; what the stream
 * does not take stays in the socket. An idle splice owns no buffer.
 *
 * A Unix socket knows no RST: where a TCP socket is reset, it is just closed. */
#ifndef NET_SPLICE_H
#define NET_SPLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct etcp_stream;
struct kept;
struct link;
struct loop;
struct splice;

/* How a splice ended. */
struct splice_end {
    int error; /* 0: both sides have sent FIN, and all of it was passed on; else -errno of the socket */
};

struct splice_handler {
    /* So many bytes of memory are wanted for what waits, more or less than before. Returns whether that is granted; less always
     * must be. May be NULL: it is. */
    bool (*hold)(size_t bytes, void *user);
    /* The last call for this splice, from the loop or from a call on it; it is freed on return, and the socket closed. The owner
     * gives the stream back: failed with `reset` after an error. */
    void (*closed)(struct splice *splice, const struct splice_end *end, void *user);
};

/* Makes a splice that has no socket yet: what arrives waits. Bytes that it sends to the stream are added to *sent as they go.
 * Borrows all of it for its life. Returns 0 or -ENOMEM. */
int splice_new(struct loop *loop, struct link *link, struct etcp_stream *stream, uint64_t *sent,
               const struct splice_handler *handler, void *user, struct splice **ret_splice);

/* Gives it its socket: connected, non-blocking, prepared; taken in any case. `first` goes to the socket before everything that has
 * come from the stream. It is read at once if `readable`: when bytes are likely to wait there. May call `closed`. */
void splice_start(struct splice *splice, int fd, const void *first, size_t len, bool readable);

/* Has what goes to the stream kept, which it takes, and sends first what is in it already; before splice_start(). */
void splice_keep(struct splice *splice, struct kept *kept);

/* The stream was taken: nothing has to be kept any more. */
void splice_forget(struct splice *splice);

/* Whether anything has gone to the stream: data, or the socket's FIN. */
bool splice_has_sent(const struct splice *splice);

/* Takes the splice apart, without `closed`, before anything has come from the stream: stores the socket, and returns what was kept,
 * rewound, for another splice to begin with. NULL: not all was kept, or the socket has failed, and nothing has changed. */
struct kept *splice_take_apart(struct splice *splice, int *ret_fd);

/* Of the stream: ETCP_EVENT_DATA as it lies there, ETCP_EVENT_CLOSE, ETCP_EVENT_CREDIT.
 * The first never calls `closed`, the others may. */
void splice_data(struct splice *splice, uint8_t *data, size_t len);
void splice_peer_closed(struct splice *splice);
void splice_writable(struct splice *splice);

/* Ends it from outside, without `closed`: the stream has ended or goes back, or the link is gone. The socket is reset, unless
 * both sides had sent FIN: then it lives on by itself until it has taken what is left. NULL is fine. */
void splice_free(struct splice *splice);

/* Resets what splice_free() has left to itself on this loop: the loop ends. */
void splice_free_orphans(struct loop *loop);

/* What a TCP socket needs: no delay; and it finds out about a dead peer: asks after `keepalive_us` of silence, and a few times more
 * within the same again; gives up when what was sent is not acknowledged for `user_timeout_us`. 0: the one does not, the other
 * when the system does. What a listening socket accepts later inherits all of it. */
void splice_prepare_socket(int fd, uint64_t keepalive_us, uint64_t user_timeout_us);

/* Closes a TCP socket with a reset. */
void splice_reset_socket(int fd);

#endif
