/* SPDX-License-Identifier: MIT
 *
 * What every part of libetcp shares: error codes, the codes of the protocol, start-up. */
#ifndef ETCP_BASE_H
#define ETCP_BASE_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ETCP_MUST_USE __attribute__((warn_unused_result))
#define ETCP_API      __attribute__((visibility("default")))
#else
#define ETCP_MUST_USE
#define ETCP_API
#endif

/* C has array parameters with a minimum size; C++ has not. */
#ifdef __cplusplus
#define ETCP_AT_LEAST(n) n
#else
#define ETCP_AT_LEAST(n) static n
#endif

/* Results of functions that can fail: 0, or one of these. The values are part of the ABI. */
enum etcp_error {
    ETCP_OK = 0,
    ETCP_ENOMEM = -1,       /* no memory, or no more secret memory */
    ETCP_EINVAL = -2,       /* the caller broke the contract of the function; nothing was changed */
    ETCP_EINIT = -3,        /* libsodium could not be started (no random source) */
    ETCP_EUNSUPPORTED = -4, /* this processor can't run the suite (AES-256-GCM without AES instructions) */
    ETCP_EAGAIN = -5,       /* not now: drain first, or wait for credit */
    ETCP_ECLOSED = -6,      /* the connection or stream has ended */

    ETCP_EHANDSHAKE = -10, /* a handshake packet can't be accepted */
    ETCP_EREFUSED = -11,   /* the server sent a Refusal (unauthenticated: a hint, never more) */
    ETCP_ESUITE = -12,     /* server: the agent asked for a suite that is not served here */
    ETCP_ERECORD = -13,    /* a record failed: length, nonce or tag */
    ETCP_EPROTO = -14,     /* an authenticated peer broke a rule of section 4 */
    ETCP_ETIMEDOUT = -15,  /* the handshake took too long */
    ETCP_ELOST = -16,      /* nothing valid was received for the dead-peer timeout */
    ETCP_ETRUNCATED = -17, /* the transport ended without a Goodbye */
    ETCP_EBUSY = -18,      /* server: the request was answered with a Refusal, as the caller had asked for */

    ETCP_EKEYLENGTH = -30,   /* text of a key: not 57 characters */
    ETCP_EKEYPREFIX = -31,   /* text of a key: does not begin with etcp-pub-, etcp-sec- or etcp-net- */
    ETCP_EKEYKIND = -32,     /* text of a key: well-formed prefix, but of another kind than was asked for */
    ETCP_EKEYALPHABET = -33, /* text of a key: a character outside base64url */
    ETCP_EKEYCHECKSUM = -34, /* text of a key: mistyped, the checksum does not match */
    ETCP_EKEYVALUE = -35,    /* a public key that is not below 2^255 - 19 (a key has one spelling) */
};

/* Codes of Stream Error and Goodbye (section 4). Values are those on the wire; a receiver sees unknown ones as
 * ETCP_CODE_INTERNAL. */
enum etcp_code {
    ETCP_CODE_OK = 0,
    ETCP_CODE_PROTOCOL_ERROR = 1,
    ETCP_CODE_UNAUTHORIZED = 2,
    ETCP_CODE_NO_SUCH_SERVICE = 3,
    ETCP_CODE_CONNECT_FAILED = 4,
    ETCP_CODE_RESET = 5,
    ETCP_CODE_TIMEOUT = 6,
    ETCP_CODE_LIMIT = 7,
    ETCP_CODE_SHUTTING_DOWN = 8,
    ETCP_CODE_INTERNAL = 9,
};

/* Must have returned 0 before any other function is called. May be called again, and from several threads.
 * Returns 0 or ETCP_EINIT. */
ETCP_API ETCP_MUST_USE int etcp_init(void);

/* The version of the library as text, "1.2.3"; static. */
ETCP_API const char *etcp_version(void);

/* What an enum etcp_error means, in lower case without a full stop; static, never NULL, also for unknown values. */
ETCP_API const char *etcp_strerror(int error);

/* The name of an enum etcp_code as the protocol writes it, "no-such-service"; static, never NULL. */
ETCP_API const char *etcp_code_name(int code);

#ifdef __cplusplus
}
#endif

#endif
