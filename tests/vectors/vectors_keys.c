/* SPDX-License-Identifier: MIT
 *
 * Keys as text (section 7): every valid one both ways, every invalid one refused under all kinds. */
#include <etcp/etcp.h>

#include "vector.h"

static enum etcp_key_kind kind_of(const char *text)
{
    if (strncmp(text, "etcp-sec-", 9) == 0) {
        return ETCP_KEY_SECRET;
    }
    return strncmp(text, "etcp-net-", 9) == 0 ? ETCP_KEY_NETWORK : ETCP_KEY_PUBLIC;
}

static void run_valid(const json_t *vector, const char *text)
{
    enum etcp_key_kind kind = kind_of(text), other;
    uint8_t key[ETCP_KEY_BYTES], want[ETCP_KEY_BYTES], zeros[ETCP_KEY_BYTES] = {0};
    char back[ETCP_KEY_TEXT_BYTES];

    vector_fixed(vector, "hex", want, sizeof(want));
    CHECK_INT(etcp_key_parse(text, strlen(text), kind, key), 0);
    CHECK_MEM(key, want, sizeof(want));
    CHECK_INT(etcp_key_kind_of(text, strlen(text)), kind);
    etcp_key_format(kind, want, back);
    CHECK_STR(back, text);
    other = kind == ETCP_KEY_PUBLIC ? ETCP_KEY_SECRET : ETCP_KEY_PUBLIC;
    CHECK_INT(etcp_key_parse(text, strlen(text), other, key), ETCP_EKEYKIND);
    CHECK_MEM(key, zeros, sizeof(zeros));
}

static void run_invalid(const char *text)
{
    /* A block of its own without a terminator: nothing behind the characters may be read. */
    size_t len = strlen(text);
    char *exact = malloc(len > 0 ? len : 1);
    uint8_t zeros[ETCP_KEY_BYTES] = {0};
    int kind;

    CHECK(exact != NULL);
    memcpy(exact, text, len);
    for (kind = ETCP_KEY_PUBLIC; kind <= ETCP_KEY_NETWORK; kind++) {
        uint8_t key[ETCP_KEY_BYTES];
        int error;

        memset(key, 0xaa, sizeof(key));
        error = etcp_key_parse(exact, len, (enum etcp_key_kind)kind, key);
        CHECK(error <= ETCP_EKEYLENGTH && error >= ETCP_EKEYVALUE);
        CHECK_MEM(key, zeros, sizeof(zeros));
    }
    free(exact);
}

int main(void)
{
    json_t *root = vector_load("etcp-sessions.json"), *vector;
    size_t i, valid = 0;

    CHECK_INT(etcp_init(), 0);
    json_array_foreach(vector_array(root, "keys"), i, vector)
    {
        const char *text = vector_text(vector, "text");

        (void)printf("\"%s\": %s\n", text, vector_has(vector, "why") ? vector_text(vector, "why") : "valid");
        if (json_is_true(json_object_get(vector, "valid"))) {
            run_valid(vector, text);
            valid++;
        } else {
            run_invalid(text);
        }
    }
    CHECK(valid > 0 && valid < i);
    json_decref(root);
    return 0;
}
