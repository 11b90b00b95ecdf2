/* SPDX-License-Identifier: MIT
 *
 * A server with two streams, against a peer that says what the case has it say. */
#ifndef ETCP_TESTS_SERVED_H
#define ETCP_TESTS_SERVED_H

#include "check.h"
#include "core/conn.h"
#include "scripted.h"

enum {
    SUITE = ETCP_SUITE_CHACHA20POLY1305,
    OPEN = 0x03,
    CLOSE = 0x04,
    DATA = 0x05,
    ERROR = 0x06,
    HEARTBEAT = 0x07,
    CREDIT = 0x09,
    GOODBYE = 0x0A,
};

static struct scripted s;

/* A server with the streams 1 (echo) and 3 (hold). */
static inline void begin(void)
{
    scripted_init(&s, SUITE, ETCP_SERVER, NULL);
    scripted_say_open(&s, 1, "echo");
    scripted_say_open(&s, 3, "hold");
    scripted_expect_nothing(&s);
}

static inline void end(void)
{
    scripted_done(&s);
}

static inline void broken(void)
{
    scripted_expect_broken(&s);
    end();
}

#endif
