/* SPDX-License-Identifier: MIT */
#include "base/name.h"

bool name_agent_valid(const char *name, size_t len)
{
    if (len == 0 || len > NAME_AGENT_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
              c == '-'))
            return false;
    }
    return true;
}
