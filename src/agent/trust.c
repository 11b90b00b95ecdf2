/* SPDX-License-Identifier: MIT */
#include "agent/trust.h"

#include <errno.h>
#include <string.h>

#include "keys/known_servers.h"

bool trust_allows(const struct trust *trust, const uint8_t key[static ETCP_KEY_BYTES])
{
    bool found = trust->pin_count == 0;

    /* All of them, so that time does not tell which. */
    for (size_t i = 0; i < trust->pin_count; i++) {
        found |= etcp_key_equal(trust->pins[i], key);
    }
    return found;
}

/* What the file says of the key; true if it says anything. */
static bool recall(const struct trust *trust, const char *server, const uint8_t *key, struct trust_decision *decision)
{
    const int result =
        known_servers_find(trust->known_servers, server, decision->known_key, &decision->line, &decision->error);

    if (result == -ENOENT) {
        return false;
    }
    if (result < 0) {
        decision->verdict = TRUST_NOT_RECORDED;
    } else {
        decision->verdict = etcp_key_equal(decision->known_key, key) ? TRUST_KNOWN : TRUST_CHANGED;
    }
    return true;
}

static void decide(const struct trust *trust, const char *server, const uint8_t *key, struct trust_decision *decision)
{
    int result;

    if (trust->pin_count > 0) {
        decision->verdict = trust_allows(trust, key) ? TRUST_PINNED : TRUST_NOT_PINNED;
        return;
    }
    if (trust->known_servers == NULL) {
        decision->verdict = TRUST_NOT_RECORDED;
        (void)error_set(&decision->error, 0, "there is no state directory: neither $STATE_DIRECTORY nor a home is set");
        return;
    }
    if (recall(trust, server, key, decision)) {
        return;
    }
    result = known_servers_add(trust->known_servers, server, key, &decision->error);
    if (result == 0) {
        decision->verdict = TRUST_FIRST_USE;
    } else if (result != -EEXIST || !recall(trust, server, key, decision)) {
        /* With -EEXIST another process was faster, and what it wrote counts. */
        decision->verdict = TRUST_NOT_RECORDED;
    }
}

bool trust_decide(const struct trust *trust, const char *server, const uint8_t key[static ETCP_KEY_BYTES],
                  struct trust_decision *ret_decision)
{
    ret_decision->line = 0;
    memset(ret_decision->known_key, 0, sizeof(ret_decision->known_key));
    error_clear(&ret_decision->error);
    decide(trust, server, key, ret_decision);
    return ret_decision->verdict == TRUST_PINNED || ret_decision->verdict == TRUST_KNOWN ||
           ret_decision->verdict == TRUST_FIRST_USE;
}
