/* SPDX-License-Identifier: MIT
 *
 * Reads the JSON files of test vectors: from the folder that ETCP_VECTORS names, else ../shared/vectors beside the source
 * tree, else the copy of the project's own transcripts in tests/vectors. Whatever is not there is said, and skipped. */
#ifndef VECTORS_VECTOR_H
#define VECTORS_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "check.h"

/* Bytes of a hex string; owned by the caller. */
struct vector_bytes {
    uint8_t *data; /* a block of exactly len bytes, so that a sanitizer sees a read behind it */
    size_t len;
};

/* Loads a file by its name; owned by the caller. Ends the program as skipped, with the reason, if it is nowhere; as
 * failed if it is there and not JSON. */
json_t *vector_load(const char *name);

/* A member that must be there and of its type. */
json_t *vector_array(const json_t *object, const char *name);
const char *vector_text(const json_t *object, const char *name);
long long vector_number(const json_t *object, const char *name);

/* A member in hex; empty if absent or null. Free `data` of the result. */
struct vector_bytes vector_hex(const json_t *object, const char *name);

/* A member of exactly `len` bytes in hex, copied to `ret`. */
void vector_fixed(const json_t *object, const char *name, uint8_t *ret, size_t len);

/* Whether a member is there and not null. */
int vector_has(const json_t *object, const char *name);

/* The element of an array whose member "name" is `name`. */
json_t *vector_named(const json_t *array, const char *name);

#endif
