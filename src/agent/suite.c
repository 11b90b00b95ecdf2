/* SPDX-License-Identifier: MIT */
#include "agent/suite.h"

enum etcp_suite suite_to_ask_for(enum config_suite configured, bool aes, bool network_key)
{
    switch (configured) {
    case CONFIG_SUITE_CLASSIC:
        return ETCP_SUITE_CLASSIC;
    case CONFIG_SUITE_CHACHA20POLY1305:
        aes = false;
        break;
    case CONFIG_SUITE_AES256GCM:
        aes = true;
        break;
    case CONFIG_SUITE_AUTO:
        break;
    }
    if (network_key) {
        return aes ? ETCP_SUITE_AES256GCM_NETWORK : ETCP_SUITE_CHACHA20POLY1305_NETWORK;
    }
    return aes ? ETCP_SUITE_AES256GCM : ETCP_SUITE_CHACHA20POLY1305;
}

int suite_after_refusal(enum config_suite configured, int refused)
{
    if (configured != CONFIG_SUITE_AUTO) {
        return 0;
    }
    switch (refused) {
    case ETCP_SUITE_AES256GCM:
        return ETCP_SUITE_CHACHA20POLY1305;
    case ETCP_SUITE_AES256GCM_NETWORK:
        return ETCP_SUITE_CHACHA20POLY1305_NETWORK;
    default:
        return 0;
    }
}
