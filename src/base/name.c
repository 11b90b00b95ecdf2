/* SPDX-License-Identifier: MIT */
#include "base/name.h"

#include <string.h>

bool name_agent_valid(const char *name, size_t len)
{
    static const char *const keys[] = {"etcp-pub-", "etcp-sec-", "etcp-net-"};

    if (len == 0 || len > NAME_AGENT_MAX)
        return false;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (len >= strlen(keys[i]) && memcmp(name, keys[i], strlen(keys[i])) == 0)
            return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = name[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
              c == '-'))
            return false;
    }
    return true;
}
