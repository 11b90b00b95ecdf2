/* SPDX-License-Identifier: MIT */
#include "scripted.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fixed.h"

static void begin(struct scripted *s, int suite, enum etcp_role role, const struct etcp_conn_options *options,
                  bool undecided)
{
    memset(s, 0, sizeof(*s));
    s->demo = demo_find(suite);
    CHECK_INT(etcp_pool_new(&s->pool), 0);
    s->say = raw_of(suite, role == ETCP_SERVER ? s->demo->agent_key : s->demo->server_key);
    s->hear = raw_of(suite, role == ETCP_SERVER ? s->demo->server_key : s->demo->agent_key);
    end_adopt(&s->end, fixed_conn(s->pool, s->demo, role, options, 0), role, 0);
    s->end.no_decision = undecided;
    end_pump(&s->end);
    for (int i = role == ETCP_SERVER ? 0 : 1; i < 3 && s->demo->packet_len[i] > 0; i += 2) {
        end_feed(&s->end, s->demo->packet[i], s->demo->packet_len[i]);
    }
    CHECK_INT(s->end.error, 0);
    for (int i = role == ETCP_SERVER ? 1 : 0; i < 3 && s->demo->packet_len[i] > 0; i += 2) {
        if (i < 2 || !undecided) {
            CHECK(s->end.out.len >= s->demo->packet_len[i]);
            CHECK_MEM(s->end.out.data, s->demo->packet[i], s->demo->packet_len[i]);
            end_bytes_drop(&s->end.out, s->demo->packet_len[i]);
        }
    }
    if (role == ETCP_AGENT && !undecided && suite != ETCP_SUITE_CLASSIC) {
        scripted_expect(s, 0x07, 0);
    }
    CHECK_INT(s->end.out.len, 0);
}

void scripted_init(struct scripted *s, int suite, enum etcp_role role, const struct etcp_conn_options *options)
{
    begin(s, suite, role, options, false);
}

void scripted_init_undecided(struct scripted *s, int suite, enum etcp_role role)
{
    begin(s, suite, role, NULL, true);
}

void scripted_done(struct scripted *s)
{
    end_done(&s->end);
    etcp_pool_free(s->pool);
}

void scripted_say(struct scripted *s, const uint8_t *plain, size_t len)
{
    uint8_t *record = malloc(len + RAW_OVERHEAD);

    CHECK(record != NULL);
    end_feed(&s->end, record, raw_seal(&s->say, plain, len, record));
    free(record);
}

void scripted_say_frame(struct scripted *s, uint8_t id, uint32_t stream, const void *body, size_t len)
{
    uint8_t *plain = malloc(len + 5);

    CHECK(plain != NULL);
    scripted_say(s, plain, raw_frame(plain, id, stream, body, len));
    free(plain);
}

void scripted_say_open(struct scripted *s, uint32_t stream, const char *service)
{
    uint8_t plain[512];

    scripted_say(s, plain, raw_open_frame(plain, stream, service));
}

void scripted_say_data(struct scripted *s, uint32_t stream, size_t len)
{
    uint8_t *body = malloc(len + 1);

    CHECK(body != NULL);
    memset(body, 'd', len);
    scripted_say_frame(s, 0x05, stream, body, len);
    free(body);
}

void scripted_say_credit(struct scripted *s, uint32_t stream, uint64_t consumed, uint64_t limit)
{
    uint8_t plain[64];

    scripted_say(s, plain, raw_credit_frame(plain, stream, consumed, limit));
}

void scripted_say_code(struct scripted *s, uint8_t id, uint32_t stream, uint16_t code, const char *reason)
{
    uint8_t plain[1024];

    scripted_say(s, plain, raw_code_frame(plain, id, stream, code, reason));
}

void scripted_say_heartbeat(struct scripted *s, uint8_t kind, uint64_t opaque)
{
    uint8_t plain[64];

    scripted_say(s, plain, raw_heartbeat_frame(plain, kind, opaque));
}

bool scripted_hear(struct scripted *s)
{
    size_t used;

    end_pump(&s->end);
    used = raw_open(&s->hear, s->end.out.data, s->end.out.len, s->plain, &s->plain_len);
    if (used == 0) {
        CHECK_INT(s->end.out.len, 0);
        return false;
    }
    end_bytes_drop(&s->end.out, used);
    return true;
}

void scripted_expect(struct scripted *s, uint8_t id, uint32_t stream)
{
    CHECK(scripted_hear(s));
    CHECK_INT(s->plain[0], id);
    CHECK_INT((uint32_t)s->plain[1] << 24 | (uint32_t)s->plain[2] << 16 | (uint32_t)s->plain[3] << 8 | s->plain[4],
              stream);
}

void scripted_expect_nothing(struct scripted *s)
{
    CHECK(!scripted_hear(s));
}

void scripted_expect_code(struct scripted *s, uint8_t id, uint32_t stream, unsigned code)
{
    scripted_expect(s, id, stream);
    CHECK(s->plain_len >= 7);
    CHECK_INT((unsigned)s->plain[5] << 8 | s->plain[6], code);
}

void scripted_expect_broken(struct scripted *s)
{
    const char *rule = etcp_conn_error(s->end.conn);
    unsigned events = s->end.events;

    CHECK_INT(s->end.error, ETCP_EPROTO);
    CHECK(rule != NULL);
    CHECK(etcp_conn_closing(s->end.conn) && !etcp_conn_ready(s->end.conn));
    do {
        CHECK(scripted_hear(s));
    } while (s->plain[0] != 0x0A);
    CHECK_INT((unsigned)s->plain[5] << 8 | s->plain[6], ETCP_CODE_PROTOCOL_ERROR);
    CHECK_INT(s->plain_len, 7 + strlen(rule));
    CHECK_MEM(s->plain + 7, rule, strlen(rule));
    scripted_say_heartbeat(s, 0, 1);
    scripted_expect_nothing(s);
    CHECK_INT(s->end.events, events);
    CHECK_INT(etcp_conn_eof(s->end.conn), ETCP_ECLOSED);
}
