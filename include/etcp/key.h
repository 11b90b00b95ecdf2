/* SPDX-License-Identifier: MIT
 *
 * Keys: making, comparing, and their text form (section 7). Secret memory for connections.
 *
 * Nothing here is called back; every function may be called at any time, between any two events of a connection. */
#ifndef ETCP_KEY_H
#define ETCP_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <etcp/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ETCP_KEY_BYTES       32
#define ETCP_KEY_TEXT_LENGTH 57                         /* characters of a key as text */
#define ETCP_KEY_TEXT_BYTES  (ETCP_KEY_TEXT_LENGTH + 1) /* with the terminating NUL */

enum etcp_key_kind {
    ETCP_KEY_PUBLIC = 1,  /* etcp-pub-: a static X25519 public key */
    ETCP_KEY_SECRET = 2,  /* etcp-sec-: a static X25519 secret key */
    ETCP_KEY_NETWORK = 3, /* etcp-net-: a pre-shared key that proves membership */
};

/* Fills 32 bytes with a new secret key or network key from the system's random source. */
ETCP_API void etcp_key_generate(uint8_t ret_key[ETCP_AT_LEAST(ETCP_KEY_BYTES)]);

/* Computes the public key of a secret key. */
ETCP_API void etcp_key_public(const uint8_t secret[ETCP_AT_LEAST(ETCP_KEY_BYTES)],
                              uint8_t ret_public[ETCP_AT_LEAST(ETCP_KEY_BYTES)]);

/* Compares two keys in constant time. */
ETCP_API bool etcp_key_equal(const uint8_t a[ETCP_AT_LEAST(ETCP_KEY_BYTES)],
                             const uint8_t b[ETCP_AT_LEAST(ETCP_KEY_BYTES)]);

/* Overwrites `len` bytes in a way that the compiler does not leave out. */
ETCP_API void etcp_wipe(void *memory, size_t len);

/* Reads a key from exactly `len` characters of `text` (need not be terminated). The kinds are told apart before the
 * checksum is judged. Returns 0 or ETCP_EKEYLENGTH, ETCP_EKEYPREFIX, ETCP_EKEYKIND (etcp_key_kind_of() tells which kind
 * it is), ETCP_EKEYALPHABET, ETCP_EKEYCHECKSUM, ETCP_EKEYVALUE; `ret_key` is wiped on failure. Runs in time that depends
 * on len and the outcome only. */
ETCP_API ETCP_MUST_USE int etcp_key_parse(const char *text, size_t len, enum etcp_key_kind kind,
                                          uint8_t ret_key[ETCP_AT_LEAST(ETCP_KEY_BYTES)]);

/* The kind that a text's prefix claims, or 0 if it has none of the three prefixes. */
ETCP_API int etcp_key_kind_of(const char *text, size_t len);

/* Writes a key as text, terminated. The text of a secret or network key is as secret as the key: wipe it. */
ETCP_API void etcp_key_format(enum etcp_key_kind kind, const uint8_t key[ETCP_AT_LEAST(ETCP_KEY_BYTES)],
                              char ret_text[ETCP_AT_LEAST(ETCP_KEY_TEXT_BYTES)]);

/* An end's long-term secrets: its static key pair and, if it has one, its network key; in memory that is locked where the
 * limit allows, kept out of core dumps, and wiped when freed. Constant once made, so several threads may use it. */
struct etcp_identity;

/* Makes an identity from copies of `secret` and, unless it is NULL, `network_key`; the caller wipes its own.
 * Returns 0 and an owned identity, or ETCP_ENOMEM. */
ETCP_API ETCP_MUST_USE int etcp_identity_new(const uint8_t secret[ETCP_AT_LEAST(ETCP_KEY_BYTES)],
                                             const uint8_t *network_key, struct etcp_identity **ret_identity);

/* Wipes and frees; NULL is fine. Connections made with it go on: they keep copies of what they need. */
ETCP_API void etcp_identity_free(struct etcp_identity *identity);

/* The 32 bytes of the public key; valid as long as the identity. */
ETCP_API const uint8_t *etcp_identity_public(const struct etcp_identity *identity);

/* Whether it holds a network key. */
ETCP_API bool etcp_identity_has_network_key(const struct etcp_identity *identity);

/* Secret memory and working memory of the connections of one thread: their keys (locked, undumped, wiped), and what the
 * ciphers work with. A pool and its connections are used by one thread at a time. */
struct etcp_pool;

/* Returns 0 and an owned pool, or ETCP_ENOMEM. Costs about 20 KiB; grows with connections by 64 bytes each. */
ETCP_API ETCP_MUST_USE int etcp_pool_new(struct etcp_pool **ret_pool);

/* Wipes and frees; NULL is fine. All of its connections must have been freed. */
ETCP_API void etcp_pool_free(struct etcp_pool *pool);

/* The thread has done what there was to do and is about to wait. While it works, libcrypto (if it is what
 * seals long records) holds the key that was used last in memory that can be dumped; this wipes it. Cheap, and free if there is nothing. */
ETCP_API void etcp_pool_rest(struct etcp_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
