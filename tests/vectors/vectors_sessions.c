/* SPDX-License-Identifier: MIT
 *
 * Whole connections, byte for byte in both roles: handshake packets through real connections with fixed randomness, the
 * handshake hash and the keys of Split() from the handshake, every record through the record and frame codecs, and then all
 * that one side has sent through a connection of the other side. */
#include <etcp/etcp.h>

#include "core/frame.h"
#include "core/record.h"
#include "demo.h"
#include "end.h"
#include "fixed.h"
#include "vector.h"

/* The tables that tests without a JSON reader use are those of the file. */
static void check_demo(const json_t *session, const struct demo *demo)
{
    struct vector_bytes bytes;
    uint8_t field[32];
    size_t i;
    json_t *packet;

    CHECK_STR(demo->name, vector_text(session, "name"));
    vector_fixed(session, "agent_ephemeral_secret", field, 32);
    CHECK_MEM(demo->agent_ephemeral, field, 32);
    vector_fixed(session, "server_ephemeral_secret", field, 32);
    CHECK_MEM(demo->server_ephemeral, field, 32);
    vector_fixed(session, "verify_token", field, 8);
    CHECK_MEM(demo->token, field, 8);
    json_array_foreach(vector_array(session, "packets"), i, packet)
    {
        CHECK(i < 3);
        bytes = vector_hex(packet, "bytes");
        CHECK_INT(demo->packet_len[i], bytes.len);
        CHECK_MEM(demo->packet[i], bytes.data, bytes.len);
        free(bytes.data);
    }
    if (demo->suite != ETCP_SUITE_CLASSIC) {
        vector_fixed(session, "agent_static_secret", field, 32);
        CHECK_MEM(demo->agent_secret, field, 32);
        vector_fixed(session, "server_static_secret", field, 32);
        CHECK_MEM(demo->server_secret, field, 32);
        CHECK_INT(demo->has_network_key, vector_has(session, "network_key"));
        if (demo->has_network_key) {
            vector_fixed(session, "network_key", field, 32);
            CHECK_MEM(demo->network_key, field, 32);
        }
    }
}

static void check_text(const json_t *session, const char *text_name, const char *key_name, enum etcp_key_kind kind)
{
    uint8_t key[ETCP_KEY_BYTES], want[ETCP_KEY_BYTES];
    const char *text;

    if (!vector_has(session, text_name)) {
        return;
    }
    text = vector_text(session, text_name);
    CHECK_INT(etcp_key_parse(text, strlen(text), kind, key), 0);
    vector_fixed(session, key_name, want, sizeof(want));
    CHECK_MEM(key, want, sizeof(want));
}

static void check_keys(const json_t *session, const struct demo *demo)
{
    uint8_t key[ETCP_KEY_BYTES], want[ETCP_KEY_BYTES];

    check_text(session, "agent_secret_text", "agent_static_secret", ETCP_KEY_SECRET);
    check_text(session, "agent_public_text", "agent_static_public", ETCP_KEY_PUBLIC);
    check_text(session, "server_public_text", "server_static_public", ETCP_KEY_PUBLIC);
    check_text(session, "network_key_text", "network_key", ETCP_KEY_NETWORK);
    etcp_key_public(demo->agent_ephemeral, key);
    vector_fixed(session, "agent_ephemeral_public", want, sizeof(want));
    CHECK_MEM(key, want, sizeof(want));
    etcp_key_public(demo->server_ephemeral, key);
    vector_fixed(session, "server_ephemeral_public", want, sizeof(want));
    CHECK_MEM(key, want, sizeof(want));
}

/* The handshakes by themselves: every packet from either side, the hash, the keys. */
static void check_handshake(const json_t *session, const struct demo *demo, struct etcp_pool *pool)
{
    struct etcp_identity *identity[2];
    struct handshake *h[2];
    uint8_t key[2][2][AEAD_KEY_BYTES], want[2][AEAD_KEY_BYTES], hash[NOISE_HASH_BYTES];
    bool classic = demo->suite == ETCP_SUITE_CLASSIC;

    for (int i = 0; i < 2; i++) {
        enum etcp_role role = i == 0 ? ETCP_AGENT : ETCP_SERVER;
        struct etcp_conn_options options = {.role = role, .suite = (enum etcp_suite)(i == 0 ? demo->suite : 0)};

        options.classic = classic && role == ETCP_SERVER;
        options.identity = identity[i] = fixed_identity(demo, role);
        CHECK_INT(handshake_new(pool, &options, fixed_of(demo, role), &h[i]), 0);
    }
    for (int i = 0; i < 3 && demo->packet_len[i] > 0; i++) {
        struct handshake *from = h[i % 2], *to = h[(i + 1) % 2];
        size_t used = 0;

        if (i == 2) {
            CHECK_INT(handshake_authenticate(from), 0);
        }
        CHECK_INT(from->out_len, demo->packet_len[i]);
        CHECK_MEM(from->out, demo->packet[i], demo->packet_len[i]);
        from->out_len = 0;
        CHECK_INT(handshake_feed(to, demo->packet[i], demo->packet_len[i], &used), 0);
        CHECK_INT(used, demo->packet_len[i]);
    }
    vector_fixed(session, classic ? "shared_secret" : "agent_key", want[0], AEAD_KEY_BYTES);
    vector_fixed(session, classic ? "shared_secret" : "server_key", want[1], AEAD_KEY_BYTES);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(h[i]->step, HANDSHAKE_FINISHED);
        if (!classic) {
            vector_fixed(session, "handshake_hash", hash, sizeof(hash));
            CHECK_MEM(h[i]->noise.h, hash, sizeof(hash));
            CHECK_MEM(h[i]->noise.rs, etcp_identity_public(identity[1 - i]), ETCP_KEY_BYTES);
        }
        handshake_keys(h[i], key[i][0], key[i][1]);
        CHECK_MEM(key[i][0], want[i], AEAD_KEY_BYTES);
        CHECK_MEM(key[i][1], want[1 - i], AEAD_KEY_BYTES);
        handshake_free(h[i]);
    }
    etcp_identity_free(identity[0]);
    etcp_identity_free(identity[1]);
}

static void check_frame(const json_t *record, const struct vector_bytes *plaintext)
{
    const json_t *described = json_object_get(record, "frame");
    const char *name = vector_text(described, "frame");
    uint8_t out[FRAME_CONTROL_MAX];
    struct frame frame;

    CHECK(frame_decode(plaintext->data, plaintext->len, &frame) == NULL);
    CHECK_INT(plaintext->len, FRAME_HEAD_BYTES + vector_number(described, "size"));
    if (strncmp(name, "0x", 2) == 0) {
        CHECK_INT(frame.id, strtol(name, NULL, 16));
        return;
    }
    CHECK_INT(frame.stream, vector_number(described, "stream"));
    if (strcmp(name, "heartbeat") == 0) {
        CHECK_INT(frame.id, FRAME_HEARTBEAT);
        CHECK_INT(frame.heartbeat, vector_number(described, "kind"));
    } else if (strcmp(name, "open") == 0) {
        CHECK_INT(frame.id, FRAME_STREAM_OPEN);
        CHECK_INT(frame.len, strlen(vector_text(described, "service")));
        CHECK_MEM(frame.data, vector_text(described, "service"), frame.len);
    } else if (strcmp(name, "data") == 0) {
        CHECK_INT(frame.id, FRAME_STREAM_DATA);
        CHECK_INT(frame.len, vector_number(described, "size"));
        frame_encode_head(FRAME_STREAM_DATA, frame.stream, out);
        CHECK_MEM(out, plaintext->data, FRAME_HEAD_BYTES);
        return;
    } else if (strcmp(name, "close") == 0) {
        CHECK_INT(frame.id, FRAME_STREAM_CLOSE);
    } else if (strcmp(name, "credit") == 0) {
        CHECK_INT(frame.id, FRAME_STREAM_CREDIT);
        CHECK_INT(frame.consumed, vector_number(described, "consumed"));
        CHECK_INT(frame.limit, vector_number(described, "limit"));
    } else {
        CHECK_INT(frame.id, strcmp(name, "error") == 0 ? FRAME_STREAM_ERROR : FRAME_GOODBYE);
        CHECK(strcmp(name, "error") == 0 || strcmp(name, "goodbye") == 0);
        CHECK_INT(frame.code, vector_number(described, "code"));
        CHECK_INT(frame.len, strlen(vector_text(described, "reason")));
        CHECK_MEM(frame.data, vector_text(described, "reason"), frame.len);
    }
    /* An option that this side does not write may follow the service. */
    if (frame.id != FRAME_STREAM_OPEN || frame.len + 1 == plaintext->len - FRAME_HEAD_BYTES) {
        CHECK_INT(frame_encode(&frame, out), plaintext->len);
        CHECK_MEM(out, plaintext->data, plaintext->len);
    }
}

/* Every record: its plaintext sealed gives its bytes, its bytes opened give its plaintext, which is the frame described. */
static void check_records(const json_t *session, const struct demo *demo)
{
    struct record_direction seal[2], open[2];
    uint8_t key[2][AEAD_KEY_BYTES];
    struct aead_cache *cache = aead_cache_new();
    bool classic = demo->suite == ETCP_SUITE_CLASSIC;
    json_t *record;
    size_t i;

    CHECK(cache != NULL);
    memcpy(key[0], demo->agent_key, AEAD_KEY_BYTES);
    memcpy(key[1], demo->server_key, AEAD_KEY_BYTES);
    for (i = 0; i < 2; i++) {
        seal[i] = (struct record_direction){.key_bytes = key[i], .is_classic = classic};
        aead_key_init(&seal[i].key, cache, handshake_algorithm(demo->suite), key[i]);
        open[i] = seal[i];
    }
    json_array_foreach(vector_array(session, "records"), i, record)
    {
        int from = strcmp(vector_text(record, "from"), "agent") == 0 ? 0 : 1;
        struct vector_bytes plaintext = vector_hex(record, "plaintext"), bytes = vector_hex(record, "bytes");
        uint8_t *sealed = malloc(bytes.len);
        size_t len = 0;

        CHECK(sealed != NULL);
        CHECK_INT(bytes.len, plaintext.len + RECORD_OVERHEAD_BYTES);
        memcpy(sealed + RECORD_HEAD_BYTES, plaintext.data, plaintext.len);
        if (classic) {
            vector_fixed(record, "nonce", seal[from].classic, AEAD_NONCE_BYTES);
        } else {
            CHECK_INT(seal[from].n, vector_number(record, "number"));
        }
        record_seal(&seal[from], cache, sealed, plaintext.len);
        CHECK_MEM(sealed, bytes.data, bytes.len);
        CHECK_INT(record_judge(&open[from], bytes.data, bytes.len, RECORD_MAX, &len), RECORD_OK);
        CHECK_INT(len, bytes.len);
        CHECK(record_open(&open[from], cache, bytes.data, bytes.len));
        CHECK_MEM(bytes.data + RECORD_HEAD_BYTES, plaintext.data, plaintext.len);
        if (!classic) {
            check_frame(record, &plaintext);
        }
        free(sealed);
        free(plaintext.data);
        free(bytes.data);
    }
    aead_cache_free(cache);
}

/* What `e` wants to send begins with these bytes, which leave. */
static void expect_out(struct end *e, const uint8_t *bytes, size_t len)
{
    CHECK(e->out.len >= len);
    CHECK_MEM(e->out.data, bytes, len);
    end_bytes_drop(&e->out, len);
}

/* A classic message sent gives the bytes of the session: nonces are fixed to count up from where they did there. */
static void check_message(struct end *e, const json_t *record)
{
    struct vector_bytes bytes = vector_hex(record, "bytes"), plaintext = vector_hex(record, "plaintext");
    uint8_t out[2048];
    size_t len = 0;

    CHECK_INT(etcp_message_send(e->conn, plaintext.data, plaintext.len, out, sizeof(out), &len), 0);
    CHECK_INT(len, bytes.len);
    CHECK_MEM(out, bytes.data, bytes.len);
    free(bytes.data);
    free(plaintext.data);
}

/* The server under test is fed all that the agent sent in the session. */
static void check_server(const json_t *session, const struct demo *demo, struct etcp_pool *pool)
{
    bool classic = demo->suite == ETCP_SUITE_CLASSIC;
    uint8_t want[ETCP_KEY_BYTES];
    json_t *record;
    struct end e;
    size_t i;

    end_adopt(&e, fixed_conn(pool, demo, ETCP_SERVER, NULL, 0), ETCP_SERVER, 0);
    e.no_echo = true;
    end_feed(&e, demo->packet[0], demo->packet_len[0]);
    CHECK_INT(e.out.len, demo->packet_len[1]);
    expect_out(&e, demo->packet[1], demo->packet_len[1]);
    if (!classic) {
        CHECK_INT(e.events, 0);
        end_feed(&e, demo->packet[2], demo->packet_len[2]);
        vector_fixed(session, "agent_static_public", want, sizeof(want));
        CHECK(etcp_conn_peer_key(e.conn) != NULL);
        CHECK_MEM(etcp_conn_peer_key(e.conn), want, sizeof(want));
    }
    CHECK(e.up);
    json_array_foreach(vector_array(session, "records"), i, record)
    {
        struct vector_bytes bytes = vector_hex(record, "bytes");

        if (strcmp(vector_text(record, "from"), "agent") == 0) {
            end_feed(&e, bytes.data, bytes.len);
        } else if (classic) {
            check_message(&e, record);
        }
        CHECK_INT(e.error, 0);
        free(bytes.data);
    }
    CHECK(e.ended);
    CHECK_INT(e.end_code, ETCP_CODE_OK);
    end_eof(&e);
    CHECK_INT(e.eof_result, 0);
    if (!classic) {
        size_t size = demo->suite >= 0x11 ? 300 : 65514;

        CHECK_INT(end_find(&e, 1)->total, 12);
        CHECK_INT(end_find(&e, 5)->total, size);
    } else {
        CHECK_INT(e.messages, 3);
        CHECK_INT(e.out.len, 0);
    }
    end_done(&e);
}

/* Has the agent do what it did in the session before this record was sent. */
static void act(struct end *e, const struct vector_bytes *plaintext)
{
    struct etcp_origin origin;
    struct frame frame;
    char service[ETCP_SERVICE_MAX + 1];
    struct end_stream *s;

    CHECK(frame_decode(plaintext->data, plaintext->len, &frame) == NULL);
    s = end_find(e, frame.stream);
    switch (frame.id) {
    case FRAME_STREAM_OPEN:
        memcpy(service, frame.data, frame.len);
        service[frame.len] = '\0';
        origin = frame.origin;
        s = end_open(e, service, origin.family != 0 ? &origin : NULL);
        CHECK(s != NULL);
        CHECK_INT(s->id, frame.stream);
        break;
    case FRAME_STREAM_DATA:
        CHECK(s != NULL);
        end_send(s, frame.data, frame.len);
        break;
    case FRAME_STREAM_CLOSE:
        CHECK(s != NULL);
        end_close(s);
        break;
    case FRAME_GOODBYE:
        etcp_conn_goodbye(e->conn, ETCP_CODE_OK, NULL);
        break;
    default:
        break; /* heartbeats and credits come by themselves */
    }
    end_pump(e);
}

/* The agent under test does what it did in the session, and is fed all that the server sent. */
static void check_agent(const json_t *session, const struct demo *demo, struct etcp_pool *pool)
{
    bool classic = demo->suite == ETCP_SUITE_CLASSIC, said_goodbye = false;
    uint8_t want[ETCP_KEY_BYTES];
    json_t *record;
    struct end e;
    size_t i;

    end_adopt(&e, fixed_conn(pool, demo, ETCP_AGENT, NULL, 0), ETCP_AGENT, 0);
    end_pump(&e);
    CHECK_INT(e.out.len, demo->packet_len[0]);
    expect_out(&e, demo->packet[0], demo->packet_len[0]);
    end_feed(&e, demo->packet[1], demo->packet_len[1]);
    if (!classic) {
        vector_fixed(session, "server_static_public", want, sizeof(want));
        CHECK_MEM(etcp_conn_peer_key(e.conn), want, sizeof(want));
        expect_out(&e, demo->packet[2], demo->packet_len[2]);
        /* A Heartbeat ask right behind it: with our own opaque bytes, so only its size is known. */
        CHECK_INT(e.out.len, RECORD_OVERHEAD_BYTES + FRAME_HEAD_BYTES + 1 + FRAME_OPAQUE_BYTES);
        CHECK(!e.up);
    }
    json_array_foreach(vector_array(session, "records"), i, record)
    {
        struct vector_bytes bytes = vector_hex(record, "bytes"), plaintext = vector_hex(record, "plaintext");

        if (strcmp(vector_text(record, "from"), "server") == 0) {
            CHECK(!said_goodbye || !classic);
            end_feed(&e, bytes.data, bytes.len);
            CHECK(e.up);
        } else if (!classic) {
            act(&e, &plaintext);
        } else {
            if (plaintext.len > 0) {
                check_message(&e, record);
            } else {
                etcp_conn_goodbye(e.conn, ETCP_CODE_OK, NULL);
                end_pump(&e);
                expect_out(&e, bytes.data, bytes.len);
                said_goodbye = true;
            }
        }
        CHECK_INT(e.error, 0);
        free(bytes.data);
        free(plaintext.data);
    }
    CHECK(etcp_conn_closing(e.conn));
    if (classic) {
        CHECK_INT(e.messages, 3);
    } else {
        CHECK_INT(end_find(&e, 1)->total, 12);
        CHECK(end_find(&e, 3)->stream == NULL);
        CHECK_INT(end_find(&e, 5)->total, demo->suite >= 0x11 ? 300 : 65514);
    }
    end_done(&e);
}

int main(void)
{
    json_t *root = vector_load("etcp-sessions.json"), *session;
    struct etcp_pool *pool = NULL;
    size_t i;

    CHECK_INT(etcp_init(), 0);
    CHECK_INT(etcp_pool_new(&pool), 0);
    json_array_foreach(vector_array(root, "sessions"), i, session)
    {
        const struct demo *demo = demo_find((int)vector_number(session, "suite"));

        if (!etcp_suite_available((enum etcp_suite)demo->suite)) {
            (void)printf("skipped: %s, which this processor can't run\n", demo->name);
            continue;
        }
        (void)printf("%s\n", demo->name);
        check_demo(session, demo);
        check_keys(session, demo);
        check_handshake(session, demo, pool);
        check_records(session, demo);
        check_server(session, demo, pool);
        check_agent(session, demo, pool);
    }
    CHECK_INT(i, DEMO_SESSIONS);
    etcp_pool_free(pool);
    json_decref(root);
    return 0;
}
