/* SPDX-License-Identifier: MIT
 *
 * One connection, agent's or server's, without a socket.
 *
 *     read into a buffer  ->  etcp_conn_feed  ->  etcp_conn_next ... (events)
 *     etcp_stream_send, etcp_stream_seal, etcp_conn_drain  ->  write what they produced, in that order
 *
 * Everything that the library produces is in the order in which it must be written: what one call has put into a buffer
 * must reach the peer before what a later call produces. A call that produces bytes for the wire never stores them: frames
 * that wait are kept in clear and sealed when they are collected.
 *
 * Calls never call back, so any function may be called between any two others, also while handling an event; only
 * etcp_conn_free() ends the validity of what was got from the connection. One connection is used by one thread at a time.
 * `now_us` is a monotonic clock of the caller's in microseconds; it must not go back. */
#ifndef ETCP_CONN_H
#define ETCP_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/base.h>
#include <etcp/key.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The suites of section 1; values are those on the wire. */
enum etcp_suite {
    ETCP_SUITE_AES256GCM = 0x01,
    ETCP_SUITE_CHACHA20POLY1305 = 0x02,
    ETCP_SUITE_AES256GCM_NETWORK = 0x11,
    ETCP_SUITE_CHACHA20POLY1305_NETWORK = 0x12,
    ETCP_SUITE_CLASSIC = 0xFD, /* nobody is authenticated */
};

/* Codes of a Refusal (section 2). */
enum etcp_refusal {
    ETCP_REFUSAL_NONE = 0,
    ETCP_REFUSAL_UNSUPPORTED_SUITE = 1,
    ETCP_REFUSAL_BUSY = 2,
    ETCP_REFUSAL_SHUTTING_DOWN = 3,
};

enum {
    ETCP_RECORD_MAX = 16 + 65535, /* bytes of the largest record on the wire */
    ETCP_DATA_MAX = 65514,        /* bytes of stream data in one record */
    ETCP_DATA_HEAD = 21,          /* bytes in front of the data in a record: length, nonce, frame id, stream */
    ETCP_MESSAGE_MAX = 65519,     /* bytes of a classic message */
    ETCP_MESSAGE_HEAD = 16,       /* bytes in front of a classic message in its record: length, nonce */
    ETCP_TAG = 16,                /* bytes behind the data: the AEAD's tag */
    ETCP_DRAIN_MIN = 512,         /* the smallest output buffer that always makes progress */
    ETCP_WINDOW = 262144,         /* bytes a stream may send before its first credit (section 4, Flow control) */
    ETCP_WINDOW_MAX = 16777216,   /* the largest window that etcp_stream_set_window() gives */
    ETCP_CONTROL_MAX = 65536,     /* bytes of waiting control frames above which nothing more is read */
    ETCP_SERVICE_MAX = 64,        /* characters of a service name */
    ETCP_REASON_MAX = 255,        /* bytes of a reason */
};

/* Whether this processor and build can run a suite. */
ETCP_API bool etcp_suite_available(enum etcp_suite suite);

/* What seals and opens long records of a suite, the fastest that build and processor have: "libipsec-mb 1.3.0" (AES),
 * "libcrypto 3.0.19", or "libsodium" as for all else; static. */
ETCP_API const char *etcp_bulk_provider(enum etcp_suite suite);

/* What does X25519 in this build: "lib25519" or "libsodium"; static. */
ETCP_API const char *etcp_x25519_provider(void);

/* "aes256gcm", "chacha20poly1305", "classic"; static, "unknown" for other values. Both suites of a cipher have one name. */
ETCP_API const char *etcp_suite_name(int suite);

struct etcp_conn;   /* a connection; opaque */
struct etcp_stream; /* a stream of a connection; opaque; owned by the connection */

enum etcp_role {
    ETCP_AGENT = 1,  /* opens the connection; Noise initiator */
    ETCP_SERVER = 2, /* accepts it; Noise responder */
};

/* How a connection behaves. Start from zeros and name what you set: a zero means the default. */
struct etcp_conn_options {
    enum etcp_role role;
    const struct etcp_identity
        *identity;                 /* borrowed for etcp_conn_new() only. Needed, but by an agent in the classic suite */
    enum etcp_suite suite;         /* agent: the suite to ask for; must fit the identity's network key */
    bool classic;                  /* server: serve the classic suite too (not with a network key) */
    enum etcp_refusal refuse;      /* server: answer the request with this Refusal (busy, shutting-down) */
    uint64_t handshake_timeout_us; /* default 10 s; from etcp_conn_new() to the end of the handshake, in all */
    uint64_t heartbeat_interval_us; /* default 15 s; ask when nothing has arrived for so long */
    uint64_t dead_peer_timeout_us;  /* default 45 s; lost when nothing valid has arrived for so long */
    uint32_t max_streams;           /* default 256; open at once, opened by the peer */
    uint32_t max_record;            /* classic: largest n accepted (ciphertext and tag); default and most 65,535 */
};

/* Makes a connection. A server's waits for a request; an agent's has its Encryption Request ready to be drained.
 * The pool is borrowed for the connection's life, `options` for the call. Returns 0 and an owned connection, or ETCP_ENOMEM,
 * ETCP_EINVAL (a suite that does not fit the identity, classic with a network key), ETCP_EUNSUPPORTED. */
ETCP_API ETCP_MUST_USE int etcp_conn_new(struct etcp_pool *pool, const struct etcp_conn_options *options,
                                         uint64_t now_us, struct etcp_conn **ret_conn);

/* Wipes its secrets and frees it with all its streams; NULL is fine. May be called at any time, also while an event of
 * the connection is being handled. */
ETCP_API void etcp_conn_free(struct etcp_conn *conn);

/* ---- What arrives -------------------------------------------------------------------------------------------------- */

enum etcp_event_type {
    ETCP_EVENT_PEER = 1,     /* the peer has proved that it holds `peer_key` (classic: NULL, nothing is proved).
                                 Nothing goes on until etcp_conn_accept() or etcp_conn_reject(). */
    ETCP_EVENT_UP,           /* agent: the first valid record has arrived (classic: the response was accepted).
                                 Servers get it when they accept. From now on it is a connection. */
    ETCP_EVENT_OPEN,         /* the peer opened `stream` for `service`: keep it, or etcp_stream_fail() */
    ETCP_EVENT_DATA,         /* `data`, `len` arrived on `stream`; tell with etcp_stream_consume() when it is taken */
    ETCP_EVENT_CLOSE,        /* the peer sends no more data on `stream` (half-close) */
    ETCP_EVENT_STREAM_ERROR, /* `stream` has ended at once: `code`, `reason`; undelivered data is void */
    ETCP_EVENT_CREDIT,       /* `stream` may send more than before */
    ETCP_EVENT_PONG,         /* the peer answered a heartbeat: `round_trip_us` */
    ETCP_EVENT_DRAIN,        /* the peer is shutting down: it finishes the open streams, and takes no new ones */
    ETCP_EVENT_MESSAGE,      /* classic: one message: `data`, `len` (never empty) */
    ETCP_EVENT_END,          /* the peer has ended the connection well: `code`, `reason` of its Goodbye. All streams
                                 have ended with that code. Drain what waits, then close the transport. */
    ETCP_EVENT_REFUSED,      /* agent: the server sent a Refusal: `code` is an enum etcp_refusal or unknown.
                                 The call of feed that took it has returned ETCP_EREFUSED. */
};

/* The claim of an agent where a stream comes from (section 4, option 1). Never to be used for access control. */
struct etcp_origin {
    uint8_t family;      /* 4, 6, or 0 if there was none */
    uint8_t address[16]; /* the first 4 or all 16 in network byte order */
    uint16_t port;
};

/* What the pointers in an event point to is borrowed until the next call of etcp_conn_feed() or etcp_conn_free() for the
 * connection. */
struct etcp_event {
    enum etcp_event_type type;
    int code;                   /* enum etcp_code, unknown ones as ETCP_CODE_INTERNAL */
    struct etcp_stream *stream; /* valid until etcp_stream_free() or etcp_conn_free() */
    uint8_t *data;              /* writable, and so are ETCP_DATA_HEAD (message: ETCP_MESSAGE_HEAD) bytes before and
                                   ETCP_TAG behind: it can be sealed again where it lies */
    size_t len;
    const char *service;              /* terminated */
    const struct etcp_origin *origin; /* never NULL in OPEN */
    const uint8_t *peer_key;          /* 32 bytes */
    const char *reason; /* not terminated, untrusted bytes: escape before showing; never NULL where documented */
    size_t reason_len;
    uint64_t round_trip_us;
};

/* Takes bytes from the peer. `in` is borrowed for the call and until the next one (events point into it), and it is
 * written to: records are opened in place. Stores in *ret_used how many it took: fewer than len only while events wait to be
 * collected, while a decision is due (ETCP_EVENT_PEER), or while etcp_conn_wants_input() is false; call again with the
 * rest after that. A partial record is kept inside. After the end (see etcp_conn_closing) everything is taken and ignored.
 * Returns 0 or what broke: ETCP_EHANDSHAKE, ETCP_ESUITE, ETCP_EBUSY, ETCP_EREFUSED, ETCP_ERECORD, ETCP_EPROTO, ETCP_ENOMEM;
 * then etcp_conn_closing() is true, etcp_conn_error() says why, and last words may wait to be drained. */
ETCP_API ETCP_MUST_USE int etcp_conn_feed(struct etcp_conn *conn, uint8_t *in, size_t len, uint64_t now_us,
                                          size_t *ret_used);

/* Collects the next event; false when there is none (then feed more). */
ETCP_API bool etcp_conn_next(struct etcp_conn *conn, struct etcp_event *ret_event);

/* The transport's end of file. Returns 0 if the connection had ended well, else ETCP_ETRUNCATED (ETCP_EHANDSHAKE before it
 * was up, ETCP_ECLOSED if it had failed before). Nothing can be sent afterwards. */
ETCP_API ETCP_MUST_USE int etcp_conn_eof(struct etcp_conn *conn);

/* ---- What is sent -------------------------------------------------------------------------------------------------- */

/* How many bytes etcp_conn_drain() would produce at most now; 0 if nothing waits. */
ETCP_API size_t etcp_conn_pending(const struct etcp_conn *conn);

/* Puts waiting handshake packets and control frames, sealed, into `out`, as many whole ones as fit into `size`.
 * Returns the number of bytes; 0 if nothing waits or ETCP_DRAIN_MIN > size and the next does not fit. */
ETCP_API ETCP_MUST_USE size_t etcp_conn_drain(struct etcp_conn *conn, uint8_t *out, size_t size);

/* Whether the caller should read from the peer: false while a decision is due, or while more than ETCP_CONTROL_MAX bytes
 * of control frames wait to be drained (section 4, Flow control). */
ETCP_API bool etcp_conn_wants_input(const struct etcp_conn *conn);

/* ---- Its life ------------------------------------------------------------------------------------------------------- */

/* Answers ETCP_EVENT_PEER: go on. An agent's Authentication and first Heartbeat are then ready, streams may be opened.
 * Returns 0, or ETCP_EINVAL when no decision is due. */
ETCP_API ETCP_MUST_USE int etcp_conn_accept(struct etcp_conn *conn, uint64_t now_us);

/* Answers ETCP_EVENT_PEER: no. A server's peer gets Goodbye `unauthorized` with the reason; an agent sends nothing more
 * (section 2). The connection is closing afterwards. */
ETCP_API void etcp_conn_reject(struct etcp_conn *conn, const char *reason);

/* Whether the connection has passed its handshake and has not ended: etcp_stream_open() may be called. */
ETCP_API bool etcp_conn_ready(const struct etcp_conn *conn);

/* Whether the connection has ended, well or not: drain what waits, then close the transport (section 3, Closing). */
ETCP_API bool etcp_conn_closing(const struct etcp_conn *conn);

/* The rule that was broken, for a log; static, NULL if the connection did not fail. */
ETCP_API const char *etcp_conn_error(const struct etcp_conn *conn);

/* The suite of the connection, 0 while it is not known. */
ETCP_API int etcp_conn_suite(const struct etcp_conn *conn);

/* The peer's static public key, NULL until it is proved, and in the classic suite. Valid as long as the connection. */
ETCP_API const uint8_t *etcp_conn_peer_key(const struct etcp_conn *conn);

/* Ends the connection: all streams end, Goodbye with `code` and `reason` (terminated UTF-8, cut at 255 bytes, NULL for
 * none) is the last frame. In the classic suite an agent sends an empty record, a server nothing. */
ETCP_API void etcp_conn_goodbye(struct etcp_conn *conn, enum etcp_code code, const char *reason);

/* Begins to shut down: Goodbye `shutting-down`; open streams go on, new ones are refused both ways, and when the last has been
 * freed the second Goodbye is sent and the connection is closing. Bound it with etcp_conn_goodbye(). In the classic suite, and
 * for an agent before the handshake is over, it ends at once. A server's handshake goes on: a request that has not arrived yet
 * is answered with Refusal `shutting-down` (with a network key only if it proves membership), and ETCP_EBUSY is
 * returned by the call of feed that took it; an agent that has its answer already may finish: call this again when it has
 * been accepted. */
ETCP_API void etcp_conn_shutdown(struct etcp_conn *conn, const char *reason);

/* Sends a heartbeat ask now, unless one is outstanding; ETCP_EVENT_PONG brings the answer.
 * Returns 0, ETCP_EAGAIN if one is outstanding, ETCP_ECLOSED if the connection is not ready or classic. */
ETCP_API ETCP_MUST_USE int etcp_conn_ping(struct etcp_conn *conn, uint64_t now_us);

/* When etcp_conn_tick() wants to be called, at the latest; UINT64_MAX for never. It may move later without notice: a timer
 * that fires early does no harm. */
ETCP_API uint64_t etcp_conn_deadline(const struct etcp_conn *conn);

/* When the last valid record arrived, by the caller's clock; 0 before the connection was accepted (etcp_conn_accept). */
ETCP_API uint64_t etcp_conn_last_heard_us(const struct etcp_conn *conn);

/* Does what is due: a heartbeat, or giving up. Returns 0, ETCP_ETIMEDOUT (handshake), or ETCP_ELOST (dead peer). */
ETCP_API ETCP_MUST_USE int etcp_conn_tick(struct etcp_conn *conn, uint64_t now_us);

/* ---- Streams ---------------------------------------------------------------------------------------------------------- */

/* Opens a stream to a service (1 to 64 characters of a-z 0-9 . _ -, the first a letter or digit); data may be sent at once,
 * without an answer. `origin` is the original client's address, or NULL. Returns 0 and a stream, ETCP_EINVAL (name),
 * ETCP_ECLOSED (connection not ready, classic, or shutting down), ETCP_ENOMEM. */
ETCP_API ETCP_MUST_USE int etcp_stream_open(struct etcp_conn *conn, const char *service,
                                            const struct etcp_origin *origin, struct etcp_stream **ret_stream);

/* Whether `name` is a service name. */
ETCP_API bool etcp_service_name_valid(const char *name);

/* A pointer of the caller's, kept with the stream; NULL at first. */
ETCP_API void etcp_stream_set_user(struct etcp_stream *stream, void *user);
ETCP_API void *etcp_stream_user(const struct etcp_stream *stream);

/* The stream's id on the wire. */
ETCP_API uint32_t etcp_stream_id(const struct etcp_stream *stream);

/* How many bytes may be sent now: the credit that is left; 0 after etcp_stream_close() and after the end. */
ETCP_API size_t etcp_stream_writable(const struct etcp_stream *stream);

/* Seals as much of `data` as credit and `out` have room for, in records of at most `record` bytes of data (0: the library's
 * choice), right into `out`, behind the control frames that waited. Stores how much data was taken and how many bytes
 * were put out. Returns 0 (also if nothing was taken), or ETCP_ECLOSED. */
ETCP_API ETCP_MUST_USE int etcp_stream_send(struct etcp_stream *stream, const uint8_t *data, size_t len, size_t record,
                                            uint8_t *out, size_t size, size_t *ret_used, size_t *ret_len);

/* Seals one record where it lies, without a copy: the data is at record[ETCP_DATA_HEAD] to record[ETCP_DATA_HEAD + len - 1], and
 * ETCP_TAG bytes follow it; the whole record, ETCP_DATA_HEAD + len + ETCP_TAG bytes, is then ready to be written.
 * 1 <= len <= ETCP_DATA_MAX. Returns 0; ETCP_EAGAIN if control frames wait (drain first) or the credit is less than len,
 * ETCP_ECLOSED, ETCP_EINVAL: then the record was not touched. */
ETCP_API ETCP_MUST_USE int etcp_stream_seal(struct etcp_stream *stream, uint8_t *record, size_t len);

/* Tells that the stream's consumer has taken `len` more bytes of its data; the peer gets credit for them in time.
 * More than was received is cut to what was received. */
ETCP_API void etcp_stream_consume(struct etcp_stream *stream, size_t len);

/* How far the peer may be ahead of the consumer from now on: ETCP_WINDOW at first; `window` is cut to what lies between that and
 * ETCP_WINDOW_MAX. A larger one is for paths that hold more than ETCP_WINDOW, and costs as much memory when the consumer stalls.
 * The peer is told when data is consumed; what it was allowed before stays allowed. */
ETCP_API void etcp_stream_set_window(struct etcp_stream *stream, size_t window);

/* Sends no more data (half-close); what the peer sends still arrives. No effect if closed already or ended. */
ETCP_API void etcp_stream_close(struct etcp_stream *stream);

/* Whether nothing more can arrive and nothing more can be sent: both sides have closed, or either sent an error. */
ETCP_API bool etcp_stream_ended(const struct etcp_stream *stream);

/* Ends the stream with a Stream Error, unless it has ended, and frees it. `reason` as in etcp_conn_goodbye(). */
ETCP_API void etcp_stream_fail(struct etcp_stream *stream, enum etcp_code code, const char *reason);

/* Gives the stream back; one that has not ended is failed with `reset`. A stream counts against the limit until then
 * (section 4). NULL is fine. Every stream of ETCP_EVENT_OPEN and etcp_stream_open() is freed so, or with its connection;
 * also after ETCP_EVENT_STREAM_ERROR. */
ETCP_API void etcp_stream_free(struct etcp_stream *stream);

/* How many streams have not been freed. */
ETCP_API size_t etcp_conn_streams(const struct etcp_conn *conn);

/* How many of the peer's streams were refused with `limit`, because `max_streams` were open: no event tells of them. */
ETCP_API uint64_t etcp_conn_streams_refused(const struct etcp_conn *conn);

/* ---- Classic messages (section 6) ----------------------------------------------------------------------------------------- */

/* Seals one message of 1 to ETCP_MESSAGE_MAX bytes into `out`, behind what waits. Stores the bytes put out.
 * Returns 0, ETCP_EAGAIN (out is too small), ETCP_EINVAL, ETCP_ECLOSED. */
ETCP_API ETCP_MUST_USE int etcp_message_send(struct etcp_conn *conn, const uint8_t *data, size_t len, uint8_t *out,
                                             size_t size, size_t *ret_len);

/* The same where it lies: ETCP_MESSAGE_HEAD bytes before and ETCP_TAG behind. As etcp_stream_seal(). */
ETCP_API ETCP_MUST_USE int etcp_message_seal(struct etcp_conn *conn, uint8_t *record, size_t len);

#ifdef __cplusplus
}
#endif

#endif
