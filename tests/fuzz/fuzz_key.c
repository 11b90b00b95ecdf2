/* SPDX-License-Identifier: MIT
 *
 * Keys as text: what parses has exactly one spelling, and is of one kind. */
#include <etcp/etcp.h>

#include "check.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t zeros[ETCP_KEY_BYTES];
    const char *text = (const char *)data;
    int kinds = 0;

    CHECK_INT(etcp_init(), 0);
    for (int kind = ETCP_KEY_PUBLIC; kind <= ETCP_KEY_NETWORK; kind++) {
        uint8_t key[ETCP_KEY_BYTES];
        char back[ETCP_KEY_TEXT_BYTES];
        int error = etcp_key_parse(text, size, (enum etcp_key_kind)kind, key);

        if (error == 0) {
            kinds++;
            CHECK_INT(size, ETCP_KEY_TEXT_LENGTH);
            CHECK_INT(etcp_key_kind_of(text, size), kind);
            etcp_key_format((enum etcp_key_kind)kind, key, back);
            CHECK_MEM(back, text, size);
        } else {
            CHECK(error <= ETCP_EKEYLENGTH && error >= ETCP_EKEYVALUE);
            CHECK_MEM(key, zeros, sizeof(zeros));
        }
    }
    CHECK(kinds <= 1);
    return 0;
}
