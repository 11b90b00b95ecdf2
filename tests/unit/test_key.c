/* SPDX-License-Identifier: MIT */
#include <etcp/etcp.h>

#include "check.h"
#include "core/key.h"

static const char text[] = "etcp-pub-dbZtp7M3bti65HjDxn__tvFauWXEviiLIE6_JJmz90kpgd-N";

/* The result for a text in a block of exactly its size. */
static int parse(const char *t, size_t len, enum etcp_key_kind kind)
{
    static const uint8_t zeros[ETCP_KEY_BYTES];
    char *exact = malloc(len > 0 ? len : 1);
    uint8_t key[ETCP_KEY_BYTES];
    int error;

    CHECK(exact != NULL);
    memcpy(exact, t, len);
    memset(key, 0xaa, sizeof(key));
    error = etcp_key_parse(exact, len, kind, key);
    CHECK(error == 0 || memcmp(key, zeros, sizeof(zeros)) == 0);
    free(exact);
    return error;
}

static void key_text_any_single_character_is_noticed(void)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    for (size_t at = 0; at < sizeof(text) - 1; at++) {
        for (unsigned c = 0; c < 256; c++) {
            char other[ETCP_KEY_TEXT_BYTES];
            int error;

            memcpy(other, text, sizeof(text));
            if (other[at] == (char)c) {
                continue;
            }
            other[at] = (char)c;
            error = parse(other, ETCP_KEY_TEXT_LENGTH, ETCP_KEY_PUBLIC);
            if (at < 9) {
                CHECK_INT(error, ETCP_EKEYPREFIX);
            } else if (c == 0 || strchr(alphabet, (int)c) == NULL) {
                CHECK_INT(error, ETCP_EKEYALPHABET);
            } else {
                CHECK_INT(error, ETCP_EKEYCHECKSUM);
            }
        }
    }
}

static void key_text_swapped_neighbours_are_noticed(void)
{
    for (size_t at = 9; at + 1 < sizeof(text) - 1; at++) {
        char other[ETCP_KEY_TEXT_BYTES];

        memcpy(other, text, sizeof(text));
        other[at] = text[at + 1];
        other[at + 1] = text[at];
        if (text[at] != text[at + 1]) {
            CHECK_INT(parse(other, ETCP_KEY_TEXT_LENGTH, ETCP_KEY_PUBLIC), ETCP_EKEYCHECKSUM);
        }
    }
}

static void key_text_of_any_other_length(void)
{
    char longer[2 * ETCP_KEY_TEXT_BYTES];

    memset(longer, 'A', sizeof(longer));
    memcpy(longer, text, ETCP_KEY_TEXT_LENGTH);
    for (size_t len = 0; len < sizeof(longer); len++) {
        if (len != ETCP_KEY_TEXT_LENGTH) {
            CHECK_INT(parse(longer, len, ETCP_KEY_PUBLIC), len < 9 ? ETCP_EKEYPREFIX : ETCP_EKEYLENGTH);
        }
    }
}

/* "This is a secret key" is said even if it is mistyped. */
static void key_kinds_are_told_apart_before_the_checksum(void)
{
    uint8_t key[ETCP_KEY_BYTES] = {1, 2, 3};
    char secret[ETCP_KEY_TEXT_BYTES], network[ETCP_KEY_TEXT_BYTES];

    etcp_key_format(ETCP_KEY_SECRET, key, secret);
    etcp_key_format(ETCP_KEY_NETWORK, key, network);
    secret[20] = secret[20] == 'A' ? 'B' : 'A';
    CHECK_INT(parse(secret, ETCP_KEY_TEXT_LENGTH, ETCP_KEY_SECRET), ETCP_EKEYCHECKSUM);
    CHECK_INT(parse(secret, ETCP_KEY_TEXT_LENGTH, ETCP_KEY_PUBLIC), ETCP_EKEYKIND);
    CHECK_INT(parse(secret, ETCP_KEY_TEXT_LENGTH, ETCP_KEY_NETWORK), ETCP_EKEYKIND);
    CHECK_INT(parse(network, ETCP_KEY_TEXT_LENGTH, ETCP_KEY_SECRET), ETCP_EKEYKIND);
    CHECK_INT(etcp_key_kind_of(secret, ETCP_KEY_TEXT_LENGTH), ETCP_KEY_SECRET);
    CHECK_INT(etcp_key_kind_of(network, 9), ETCP_KEY_NETWORK);
    CHECK_INT(etcp_key_kind_of(text, 9), ETCP_KEY_PUBLIC);
    CHECK_INT(etcp_key_kind_of(text, 8), 0);
    CHECK_INT(etcp_key_kind_of("etcp-key-", 9), 0);
}

/* The same 32 bytes have another checksum as another kind. */
static void key_kinds_have_checksums_of_their_own(void)
{
    char other[ETCP_KEY_TEXT_BYTES];

    memcpy(other, text, sizeof(text));
    memcpy(other, "etcp-sec-", 9);
    CHECK_INT(parse(other, ETCP_KEY_TEXT_LENGTH, ETCP_KEY_SECRET), ETCP_EKEYCHECKSUM);
}

static void key_public_has_one_spelling(void)
{
    uint8_t key[ETCP_KEY_BYTES];
    char t[ETCP_KEY_TEXT_BYTES];

    for (unsigned low = 0; low < 256; low++) {
        memset(key, 0xff, sizeof(key));
        key[0] = (uint8_t)low;
        key[31] = 0x7f;
        CHECK_INT(key_is_canonical(key), low < 0xed);
        etcp_key_format(ETCP_KEY_PUBLIC, key, t);
        CHECK_INT(parse(t, ETCP_KEY_TEXT_LENGTH, ETCP_KEY_PUBLIC), low < 0xed ? 0 : ETCP_EKEYVALUE);
        /* A secret may be any 32 bytes. */
        etcp_key_format(ETCP_KEY_SECRET, key, t);
        CHECK_INT(parse(t, ETCP_KEY_TEXT_LENGTH, ETCP_KEY_SECRET), 0);
        for (int byte = 1; byte < 31; byte++) {
            key[byte] = 0xfe;
            CHECK(key_is_canonical(key));
            key[byte] = 0xff;
        }
    }
    memset(key, 0, sizeof(key));
    key[31] = 0x80;
    CHECK(!key_is_canonical(key));
    key[31] = 0x7f;
    CHECK(key_is_canonical(key));
}

static void key_text_there_and_back(void)
{
    for (int i = 0; i < 100; i++) {
        uint8_t key[ETCP_KEY_BYTES], back[ETCP_KEY_BYTES], public_key[ETCP_KEY_BYTES];
        char t[ETCP_KEY_TEXT_BYTES];

        etcp_key_generate(key);
        for (int kind = ETCP_KEY_SECRET; kind <= ETCP_KEY_NETWORK; kind++) {
            etcp_key_format((enum etcp_key_kind)kind, key, t);
            CHECK_INT(strlen(t), ETCP_KEY_TEXT_LENGTH);
            CHECK_INT(etcp_key_parse(t, strlen(t), (enum etcp_key_kind)kind, back), 0);
            CHECK(etcp_key_equal(key, back));
        }
        etcp_key_public(key, public_key);
        etcp_key_format(ETCP_KEY_PUBLIC, public_key, t);
        CHECK_INT(etcp_key_parse(t, strlen(t), ETCP_KEY_PUBLIC, back), 0);
        CHECK(etcp_key_equal(public_key, back));
        CHECK(!etcp_key_equal(public_key, key));
    }
}

static void key_wipe_wipes(void)
{
    uint8_t key[ETCP_KEY_BYTES], zeros[ETCP_KEY_BYTES] = {0};

    etcp_key_generate(key);
    CHECK(memcmp(key, zeros, sizeof(key)) != 0);
    etcp_wipe(key, sizeof(key));
    CHECK_MEM(key, zeros, sizeof(key));
}

static void identity_knows_its_public_key_and_network(void)
{
    static const uint8_t secret[ETCP_KEY_BYTES] = {1}, network[ETCP_KEY_BYTES] = {2};
    struct etcp_identity *identity = NULL;
    uint8_t want[ETCP_KEY_BYTES];

    etcp_key_public(secret, want);
    CHECK_INT(etcp_identity_new(secret, NULL, &identity), 0);
    CHECK_MEM(etcp_identity_public(identity), want, sizeof(want));
    CHECK(!etcp_identity_has_network_key(identity));
    etcp_identity_free(identity);
    CHECK_INT(etcp_identity_new(secret, network, &identity), 0);
    CHECK(etcp_identity_has_network_key(identity));
    etcp_identity_free(identity);
    etcp_identity_free(NULL);
    etcp_pool_free(NULL);
}

static void errors_have_texts_of_their_own(void)
{
    static const int errors[] = {0,   -1,  -2,  -3,  -4,  -5,  -6,  -10, -11, -12, -13,
                                 -14, -15, -16, -17, -18, -30, -31, -32, -33, -34, -35};

    for (size_t i = 0; i < CHECK_COUNT(errors); i++) {
        const char *t = etcp_strerror(errors[i]);

        CHECK(t != NULL && *t != '\0' && t[strlen(t) - 1] != '.');
        for (size_t j = 0; j < i; j++) {
            CHECK(strcmp(t, etcp_strerror(errors[j])) != 0);
        }
    }
    CHECK(etcp_strerror(-9999) != NULL && etcp_strerror(9999) != NULL);
    CHECK_STR(etcp_code_name(ETCP_CODE_NO_SUCH_SERVICE), "no-such-service");
    CHECK_STR(etcp_code_name(ETCP_CODE_UNAUTHORIZED), "unauthorized");
    CHECK(etcp_code_name(-1) != NULL && etcp_code_name(65535) != NULL);
    CHECK(etcp_version()[0] >= '0' && etcp_version()[0] <= '9');
    CHECK_STR(etcp_suite_name(0x11), "aes256gcm");
    CHECK_STR(etcp_suite_name(0x12), "chacha20poly1305");
    CHECK_STR(etcp_suite_name(0xFD), "classic");
    CHECK_STR(etcp_suite_name(0), "unknown");
    CHECK(!etcp_suite_available((enum etcp_suite)0x21));
}

static const struct check_case cases[] = {
    CHECK_CASE(key_text_any_single_character_is_noticed),
    CHECK_CASE(key_text_swapped_neighbours_are_noticed),
    CHECK_CASE(key_text_of_any_other_length),
    CHECK_CASE(key_kinds_are_told_apart_before_the_checksum),
    CHECK_CASE(key_kinds_have_checksums_of_their_own),
    CHECK_CASE(key_public_has_one_spelling),
    CHECK_CASE(key_text_there_and_back),
    CHECK_CASE(key_wipe_wipes),
    CHECK_CASE(identity_knows_its_public_key_and_network),
    CHECK_CASE(errors_have_texts_of_their_own),
};

int main(int argc, char **argv)
{
    CHECK_INT(etcp_init(), 0);
    return check_run(cases, CHECK_COUNT(cases), argc, argv);
}
