/* SPDX-License-Identifier: MIT
 *
 * Writing JSON (RFC 8259) into memory. What can't be written for want of memory is remembered, so that it is asked about once,
 * at the end. Nothing is read here. */
#ifndef ETCP_BASE_JSON_H
#define ETCP_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_DEPTH_MAX = 16 };

/* Zeros are an empty document. */
struct json {
    char *text; /* owned; terminated unless NULL */
    size_t len, size;
    unsigned depth;  /* of open objects and arrays */
    unsigned filled; /* a bit for each depth: something stands there, so that a comma comes first */
    bool after_key;  /* a key was written: its value follows */
    bool failed;     /* no memory: the text is not to be used */
};

/* Frees the text and empties the document. */
void json_done(struct json *json);

/* The finished text, which the caller frees, and its length; NULL if memory was short. Empties the document. */
char *json_take(struct json *json, size_t *ret_len);

/* Objects and arrays, to be closed in their order; at most JSON_DEPTH_MAX deep. */
void json_open_object(struct json *json);
void json_open_array(struct json *json);
void json_close_object(struct json *json);
void json_close_array(struct json *json);

/* The name of the value that follows, inside an object: a literal of ours, not escaped. */
void json_key(struct json *json, const char *name);

/* Values. A text is terminated; what is not UTF-8 in it becomes U+FFFD, and NULL becomes null. */
void json_text(struct json *json, const char *text);
void json_number(struct json *json, uint64_t number);
void json_boolean(struct json *json, bool boolean);
void json_null(struct json *json);

/* Members of an object: key and value. */
void json_member_text(struct json *json, const char *name, const char *text);
void json_member_number(struct json *json, const char *name, uint64_t number);

/* Puts the values of `list` here: what was written into it, without open objects or arrays, as the elements of an array. Empties the
 * list. */
void json_append(struct json *json, struct json *list);

#endif
