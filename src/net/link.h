/* SPDX-License-Identifier: MIT
 *
 * One etcp connection on one socket: the only pump between the two. Reads, feeds, hands out events, seals into the loop's
 * output buffer, writes, keeps what the socket did not take, stops reading while it is full, arms the connection's
 * deadline, and closes as section 3 says. Its owner is a session (server), a connector (agent) or a tool.
 *
 * After an idle moment a link owns no buffer. Output that one callback produces is written when it returns. */
#ifndef NET_LINK_H
#define NET_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>
#include <sys/types.h>

#include <etcp/etcp.h>

#include "net/loop.h"

struct link;

/* The data of one record: whole records of 16 KiB, as the library's own choice. */
enum { LINK_RECORD_DATA = 16 * 1024 - ETCP_DATA_HEAD - ETCP_TAG };

/* The most records that the loop's output buffer has room for. */
enum { LINK_RECORDS_MAX = LOOP_BUFFER_BYTES / (ETCP_DATA_HEAD + LINK_RECORD_DATA + ETCP_TAG) + 1 };

/* How a link ended. */
struct link_end {
    int error; /* 0: it ended well (Goodbye sent or received); else an enum etcp_error, or -errno of the socket
                           when `is_errno` is set */
    bool is_errno;
    bool by_peer;       /* a Goodbye, Refusal or end of file of the peer's; false: ours, or a failure */
    const char *detail; /* the rule that was broken, or NULL; static */
    uint64_t received_bytes, sent_bytes; /* on the wire */
};

struct link_handler {
    /* An event of the connection. The callee may call everything below on the link, link_close() included. */
    void (*event)(struct link *link, const struct etcp_event *event, void *user);
    /* The link takes output again after link_send() or a relative had taken less than offered, or it was asked for. May be NULL. */
    void (*writable)(struct link *link, void *user);
    /* The last call for this link, from the loop, never from inside another call on the link; it is freed on return.
     * Streams are gone. */
    void (*closed)(struct link *link, const struct link_end *end, void *user);
};

/* Takes `fd` (non-blocking, connected stream socket) and `conn` on success only; borrows `handler`, which is static, and
 * `user`. Returns 0 and a link, which frees itself after `closed`, or -errno. Output that waits is sent from the loop. */
int link_new(struct loop *loop, int fd, struct etcp_conn *conn, const struct link_handler *handler, void *user,
             struct link **ret_link);

/* The connection; valid until `closed` returns. Calls on it that make output must be followed by link_flush() unless
 * they are made inside `event` or `writable`, after which the link flushes by itself. */
struct etcp_conn *link_conn(struct link *link);

/* Sends stream data: as much as credit and the socket have room for. Returns the number of bytes taken. When it is less
 * than len, `writable` (socket) or ETCP_EVENT_CREDIT (credit) tells when to go on. */
size_t link_send(struct link *link, struct etcp_stream *stream, const uint8_t *data, size_t len);

/* Reads from a non-blocking descriptor straight into records of the stream, and sends them: once, as much as `records` records (1 to
 * LINK_RECORDS_MAX; one costs least to offer), credit and the loop's output buffer have room for. Returns the number of bytes; 0 at
 * the end of the file; -EAGAIN when there is nothing to read now; -ENOBUFS when nothing may be sent now and nothing was read (as in
 * link_send(), or the link is ending); else -errno of reading. */
ssize_t link_send_from(struct link *link, struct etcp_stream *stream, int fd, int records);

/* As link_send() for data of the current ETCP_EVENT_DATA, which is sealed where it lies, without a copy. The caller must not look
 * at the data that was taken afterwards. All or nothing: returns whether it was taken. */
bool link_send_back(struct link *link, struct etcp_stream *stream, uint8_t *data, size_t len);

/* A classic message: taken whole, or not (then `writable` tells when to try again). */
bool link_message(struct link *link, const uint8_t *data, size_t len);

/* The current ETCP_EVENT_MESSAGE, sealed where it lies. As link_send_back(). When it was not taken, no other message is handed
 * out before `writable`: there is no credit in the classic suite, so not reading is what bounds a slow peer. */
bool link_message_back(struct link *link, uint8_t *data, size_t len);

/* Bytes on the wire so far. */
void link_traffic(const struct link *link, uint64_t *ret_received, uint64_t *ret_sent);

/* Bytes of stream data so far, both ways, that came in records of 4 KiB or more: who talks has none, who copies has little else. */
uint64_t link_bulk_bytes(const struct link *link);

/* What the kernel takes for the round-trip time, in microseconds; 0 if it does not know (a Unix socket). */
uint64_t link_kernel_round_trip_us(const struct link *link);

/* Has the kernel ask whether the peer's host is still there while nothing is said: for the classic suite, which has no heartbeat.
 * A host that does not answer is lost after about two minutes (ETIMEDOUT). Without effect on a Unix socket. */
void link_keep_alive(struct link *link);

/* The round trip to the peer as a heartbeat measured it last, not just to what stands in between; 0 until then. When that is a
 * second ago, it is measured again. */
uint64_t link_round_trip_us(struct link *link);

/* A place in the queue of a link, for a stream that has more to send than it was let: zeros, but for `turn`, which is called when it
 * may go on, from the loop, and once for each time that it has asked. What is called may ask again, and end any stream. */
struct link_waiter {
    void (*turn)(struct link_waiter *waiter);
    TAILQ_ENTRY(link_waiter) place; /* the link's, like the rest */
    bool waits, much;
};

/* Asks for a turn: when the socket has taken what waits in the link, or else at the next turn of the loop. Those with `much` to send
 * have a queue of their own, see link_turn(); who waits in it already keeps his place. */
void link_wait(struct link *link, struct link_waiter *waiter, bool much);

/* Leaves the queue, as it must before waiter or link go; harmless where it does not wait. */
void link_leave(struct link *link, struct link_waiter *waiter);

/* How many records a stream may send now: LINK_RECORDS_MAX for one that is alone, else its share of what a loop's output buffer
 * holds. Where the socket takes so little that the others would notice: one; but of those with `much` to send a few have larger turns,
 * and all of them together no more in a round of turns than the socket takes in a moment. 0 means to ask for another turn, with
 * link_wait(). */
int link_turn(const struct link *link, bool much);

/* Whether the socket has taken everything so far: false while output waits inside the link. */
bool link_has_room(const struct link *link);

/* Seals and writes what waits. Not needed inside a handler. */
void link_flush(struct link *link);

/* Ends the link: Goodbye with code and reason where the connection is up, then section 3's closing; `closed` follows from
 * the loop. Safe to call at any time, twice too. */
void link_goodbye(struct link *link, enum etcp_code code, const char *reason);

/* Ends the link at once, without a word; `closed` follows from the loop with `error` and `detail`. */
void link_abort(struct link *link, int error, const char *detail);

#endif
