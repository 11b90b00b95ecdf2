/* SPDX-License-Identifier: MIT
 *
 * What a worker counts, for status and metrics. Plain numbers with one writer, the worker's thread, which also reads them when a
 * report is asked for; they only grow, but those that say `open`. */
#ifndef SERVER_TALLY_H
#define SERVER_TALLY_H

#include <stdint.h>

struct config_server;

/* Why a handshake came to nothing. */
enum tally_failure {
    TALLY_TIMEOUT,  /* it took too long */
    TALLY_PROTOCOL, /* a packet that can't be accepted: no etcp, another network key */
    TALLY_SUITE,    /* a suite that is not served here */
    TALLY_CLOSED,   /* the peer closed in the middle */
    TALLY_SOCKET,   /* an error of the socket's */
    TALLY_PROXY,    /* no PROXY header where one is required, or not from whom it is believed */
    TALLY_OTHER,
    TALLY_FAILURES,
};

enum tally_suite {
    TALLY_AES256GCM,
    TALLY_CHACHA20POLY1305,
    TALLY_CLASSIC,
    TALLY_SUITES,
};

enum { TALLY_CODES = 10 }; /* values of enum etcp_code, from 0 */

struct tally {
    uint64_t authenticated[TALLY_SUITES];
    uint64_t disconnected_well, disconnected_failed; /* of those that were authenticated */
    uint64_t failures[TALLY_FAILURES];
    uint64_t unauthorized;
    uint64_t streams_refused[TALLY_CODES];
    uint64_t received_bytes, sent_bytes; /* on the wire; filled in for a report, as is this: */
    uint64_t queued_bytes;               /* memory of data that sockets have not taken */
};

struct tally_service {
    struct tally_service *next;
    const char *name;
    uint64_t open, opened;
    uint64_t failed;                     /* of these: what is behind the service could not be reached */
    uint64_t received_bytes, sent_bytes; /* of stream data */
    uint64_t seen;                       /* by whoever walks over streams: the connection that was counted last */
};

/* "timeout", "aes256gcm"; static. */
const char *tally_failure_name(enum tally_failure failure);
const char *tally_suite_name(enum tally_suite suite);

/* The place of a suite of the wire. */
enum tally_suite tally_suite_of(int suite);

/* Adds `other` to `tally`, number by number. */
void tally_add(struct tally *tally, const struct tally *other);

/* The counters of a service in the list at *services, new ones if there are none; NULL without memory. They stay where they are
 * until tally_prune(). */
struct tally_service *tally_service(struct tally_service **services, const char *name);

/* Forgets services that have no stream and are not configured any more; all without a configuration. */
void tally_prune(struct tally_service **services, const struct config_server *config);

#endif
