/* SPDX-License-Identifier: MIT
 *
 * A connection under test whose peer is a script: the handshake is that of a demo session, then any bytes can be sent to it
 * as records, and what it answers can be looked at frame by frame. */
#ifndef SUPPORT_SCRIPTED_H
#define SUPPORT_SCRIPTED_H

#include "demo.h"
#include "end.h"
#include "raw.h"

struct scripted {
    struct etcp_pool *pool; /* its own */
    struct end end;         /* the side under test */
    const struct demo *demo;
    struct raw say, hear;
    uint8_t plain[RAW_MAX]; /* the frame that was heard last */
    size_t plain_len;
};

/* Makes the side under test and takes it through the handshake; it has accepted, and what it then sent by itself (an
 * agent's first ask) has been heard. `options` may be NULL. */
void scripted_init(struct scripted *s, int suite, enum etcp_role role, const struct etcp_conn_options *options);

/* The same without accepting: the decision is due. */
void scripted_init_undecided(struct scripted *s, int suite, enum etcp_role role);
void scripted_done(struct scripted *s);

/* Sends a record with this plaintext. */
void scripted_say(struct scripted *s, const uint8_t *plain, size_t len);

/* Frames of section 4. */
void scripted_say_frame(struct scripted *s, uint8_t id, uint32_t stream, const void *body, size_t len);
void scripted_say_open(struct scripted *s, uint32_t stream, const char *service);
void scripted_say_data(struct scripted *s, uint32_t stream, size_t len);
void scripted_say_credit(struct scripted *s, uint32_t stream, uint64_t consumed, uint64_t limit);
void scripted_say_code(struct scripted *s, uint8_t id, uint32_t stream, uint16_t code, const char *reason);
void scripted_say_heartbeat(struct scripted *s, uint8_t kind, uint64_t opaque);

/* The next frame that the side under test has sent is in `plain`; false if there is none. */
bool scripted_hear(struct scripted *s);

/* It must be there and have this id and stream. */
void scripted_expect(struct scripted *s, uint8_t id, uint32_t stream);

/* Nothing more must be there. */
void scripted_expect_nothing(struct scripted *s);

/* It must be there and be a Stream Error or Goodbye with this code. */
void scripted_expect_code(struct scripted *s, uint8_t id, uint32_t stream, unsigned code);

/* Goodbye protocol-error is there, is the last thing said, and names the rule; the connection is dead. */
void scripted_expect_broken(struct scripted *s);

#endif
