/* SPDX-License-Identifier: MIT */
#include "check.h"
#include "core/classic.h"
#include "scripted.h"

static void classic_rejects_low_order_keys(void)
{
    static const uint8_t secret[32] = {9}, zero[32], one[32] = {1};
    uint8_t key[AEAD_KEY_BYTES];

    CHECK(!classic_agree(secret, zero, key));
    CHECK(!classic_agree(secret, one, key));
}

static void classic_token_turns_around(void)
{
    static const uint8_t in[8] = {1, 2, 3, 4, 5, 6, 7, 8}, want[8] = {8, 7, 6, 5, 4, 3, 2, 1};
    uint8_t out[8];

    classic_turn_token(in, out);
    CHECK_MEM(out, want, 8);
}

static void classic_nonce_counts_modulo_2_to_the_96(void)
{
    uint8_t nonce[12], zeros[12] = {0};

    memset(nonce, 0xff, sizeof(nonce));
    classic_count_up(nonce);
    CHECK_MEM(nonce, zeros, sizeof(zeros));
    classic_count_up(nonce);
    CHECK_INT(nonce[11], 1);
}

static void classic_has_no_streams_and_no_heartbeats(void)
{
    struct etcp_stream *stream = NULL;
    struct scripted s;

    scripted_init(&s, ETCP_SUITE_CLASSIC, ETCP_AGENT, NULL);
    CHECK(s.end.up);
    CHECK_INT(etcp_stream_open(s.end.conn, "echo", NULL, &stream), ETCP_ECLOSED);
    CHECK_INT(etcp_conn_ping(s.end.conn, 0), ETCP_ECLOSED);
    CHECK(etcp_conn_peer_key(s.end.conn) == NULL);
    CHECK_INT(etcp_conn_deadline(s.end.conn), UINT64_MAX);
    CHECK_INT(etcp_conn_pending(s.end.conn), 0);
    scripted_done(&s);
}

static void classic_messages_in_and_out(void)
{
    uint8_t small[ETCP_MESSAGE_HEAD + 4 + ETCP_TAG];
    uint8_t *large = calloc(1, ETCP_MESSAGE_HEAD + ETCP_MESSAGE_MAX + 1 + ETCP_TAG);
    size_t len = 1;
    struct scripted s;

    CHECK(large != NULL);
    scripted_init(&s, ETCP_SUITE_CLASSIC, ETCP_SERVER, NULL);
    scripted_say(&s, (const uint8_t *)"hello", 5);
    CHECK(scripted_hear(&s));
    CHECK_INT(s.plain_len, 5);
    CHECK_MEM(s.plain, "hello", 5);
    CHECK_INT(etcp_message_send(s.end.conn, large, 0, small, sizeof(small), &len), ETCP_EINVAL);
    CHECK_INT(etcp_message_send(s.end.conn, large, ETCP_MESSAGE_MAX + 1, small, sizeof(small), &len), ETCP_EINVAL);
    CHECK_INT(etcp_message_send(s.end.conn, large, 5, small, sizeof(small), &len), ETCP_EAGAIN);
    CHECK_INT(len, 0);
    CHECK_INT(etcp_message_seal(s.end.conn, large, 0), ETCP_EINVAL);
    CHECK_INT(etcp_message_seal(s.end.conn, large, ETCP_MESSAGE_MAX + 1), ETCP_EINVAL);
    CHECK_INT(etcp_message_send(s.end.conn, large, 4, small, sizeof(small), &len), 0);
    CHECK_INT(len, sizeof(small));
    end_bytes_add(&s.end.out, small, len);
    CHECK(scripted_hear(&s));
    CHECK_INT(s.plain_len, 4);
    CHECK_INT(etcp_message_seal(s.end.conn, large, ETCP_MESSAGE_MAX), 0);
    end_bytes_add(&s.end.out, large, ETCP_MESSAGE_HEAD + ETCP_MESSAGE_MAX + ETCP_TAG);
    CHECK(scripted_hear(&s));
    CHECK_INT(s.plain_len, ETCP_MESSAGE_MAX);
    free(large);
    scripted_done(&s);
}

static void classic_largest_record_is_an_option(void)
{
    struct etcp_conn_options options = {.max_record = 116};
    uint8_t message[101] = {0};
    struct scripted s;

    scripted_init(&s, ETCP_SUITE_CLASSIC, ETCP_SERVER, &options);
    scripted_say(&s, message, 100);
    CHECK_INT(s.end.messages, 1);
    scripted_say(&s, message, 101);
    CHECK_INT(s.end.error, ETCP_ERECORD);
    CHECK_INT(s.end.messages, 1);
    scripted_done(&s);
}

static void classic_file_ends_are_judged_at_boundaries(void)
{
    uint8_t record[RAW_OVERHEAD + 5];
    struct scripted s;

    scripted_init(&s, ETCP_SUITE_CLASSIC, ETCP_SERVER, NULL);
    CHECK_INT(etcp_conn_eof(s.end.conn), 0);
    scripted_done(&s);
    for (size_t len = 1; len < sizeof(record); len++) {
        scripted_init(&s, ETCP_SUITE_CLASSIC, ETCP_SERVER, NULL);
        CHECK_INT(raw_seal(&s.say, (const uint8_t *)"hello", 5, record), sizeof(record));
        end_feed(&s.end, record, len);
        CHECK_INT(etcp_conn_eof(s.end.conn), ETCP_ETRUNCATED);
        scripted_done(&s);
    }
}

static void classic_after_the_end_nothing_is_taken(void)
{
    static const uint8_t zero[4];
    struct scripted s;
    uint8_t out[64];
    size_t len = 0;

    scripted_init(&s, ETCP_SUITE_CLASSIC, ETCP_SERVER, NULL);
    end_feed(&s.end, zero, sizeof(zero));
    CHECK(s.end.ended);
    scripted_say(&s, (const uint8_t *)"hello", 5);
    CHECK_INT(s.end.messages, 0);
    CHECK_INT(s.end.error, 0);
    CHECK_INT(etcp_message_send(s.end.conn, out, 1, out, sizeof(out), &len), ETCP_ECLOSED);
    CHECK_INT(etcp_conn_eof(s.end.conn), 0);
    scripted_done(&s);
}

static void classic_agent_ends_with_an_empty_record(void)
{
    struct scripted s;

    scripted_init(&s, ETCP_SUITE_CLASSIC, ETCP_AGENT, NULL);
    etcp_conn_goodbye(s.end.conn, ETCP_CODE_OK, "not on this wire");
    CHECK(scripted_hear(&s));
    CHECK_INT(s.plain_len, 0);
    scripted_expect_nothing(&s);
    scripted_done(&s);
    scripted_init(&s, ETCP_SUITE_CLASSIC, ETCP_SERVER, NULL);
    etcp_conn_goodbye(s.end.conn, ETCP_CODE_OK, NULL);
    scripted_expect_nothing(&s);
    CHECK(etcp_conn_closing(s.end.conn));
    scripted_done(&s);
}

static const struct check_case cases[] = {
    CHECK_CASE(classic_rejects_low_order_keys),
    CHECK_CASE(classic_token_turns_around),
    CHECK_CASE(classic_nonce_counts_modulo_2_to_the_96),
    CHECK_CASE(classic_has_no_streams_and_no_heartbeats),
    CHECK_CASE(classic_messages_in_and_out),
    CHECK_CASE(classic_largest_record_is_an_option),
    CHECK_CASE(classic_file_ends_are_judged_at_boundaries),
    CHECK_CASE(classic_after_the_end_nothing_is_taken),
    CHECK_CASE(classic_agent_ends_with_an_empty_record),
};

int main(int argc, char **argv)
{
    CHECK_INT(etcp_init(), 0);
    if (!etcp_suite_available(ETCP_SUITE_CLASSIC)) {
        (void)printf("skipped: this processor has no AES\n");
        return CHECK_SKIPPED;
    }
    return check_run(cases, CHECK_COUNT(cases), argc, argv);
}
