/* SPDX-License-Identifier: MIT
 *
 * As much of HTTP/1.1 as it takes to be read by a monitoring system: one request without a body, one answer, then the
 * connection is closed. Bytes in, decision out; sockets are publisher.c's.
 *
 * Not libevent's evhttp: in 2.1 it can't bound how many connections are open, and a stranger could hold all descriptors. */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>

enum {
    HTTP_REQUEST_MAX = 8192, /* bytes of a request */
    HTTP_HEAD_BYTES = 512,   /* of an answer's head */
};

enum http_page {
    HTTP_PAGE_METRICS = 1,
    HTTP_PAGE_HEALTH, /* it turns */
    HTTP_PAGE_READY,  /* it takes work */
};

struct http_request {
    int status;          /* 0: more has to come; 200: `page` is asked for; else the error to answer with */
    bool head;           /* HEAD: no body is wanted */
    enum http_page page; /* if status is 200 */
};

/* Judges what has arrived so far, at most HTTP_REQUEST_MAX bytes of it. */
void http_parse(const char *text, size_t len, struct http_request *ret_request);

/* Writes the head of an answer with a body of `len` bytes; returns its length. */
size_t http_head(int status, const char *type, size_t len, char ret_head[static HTTP_HEAD_BYTES]);

/* "Not Found"; static. */
const char *http_reason(int status);

#endif
