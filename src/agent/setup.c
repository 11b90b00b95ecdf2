/* SPDX-License-Identifier: MIT */
#include "agent/setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <etcp/etcp.h>
#include <sodium.h>

#include "net/congestion.h"

int setup_config(const char *path, struct config_agent **ret_config, struct error_text *ret_error)
{
    const int result = config_agent_load(path != NULL ? path : CONFIG_AGENT_PATH, ret_config, ret_error);

    if (result == -ENOENT && path == NULL) {
        return config_agent_load(NULL, ret_config, ret_error);
    }
    return result;
}

char *setup_known_servers(void)
{
    char *state = NULL, *path = NULL;

    if (keyfile_state_directory(&state) == 0 && asprintf(&path, "%s/known_servers", state) < 0) {
        path = NULL;
    }
    free(state);
    return path;
}

static struct keyfile_request keys_of(const struct config_agent *config)
{
    return (struct keyfile_request){
        .role = "agent",
        .identity = config->identity,
        .network_key_file = config->network_key_file,
    };
}

/* What the kernel has to have for it. */
static int check_kernel(const struct config_agent *config, struct error_text *ret_error)
{
    struct error_text why;

    return congestion_check(config->congestion_control, &why) == 0
               ? 0
               : config_option_fail(config->values, "congestion_control", why.text, ret_error);
}

int setup_check_files(const struct config_agent *config, struct error_text *ret_error)
{
    const struct keyfile_request request = keys_of(config);
    const int result = check_kernel(config, ret_error);

    return result < 0 ? result : keyfile_identity_check(&request, ret_error);
}

void setup_dump(const struct config_agent *config, FILE *out)
{
    const struct keyfile_request request = keys_of(config);
    char *identity = NULL, *known_servers = setup_known_servers(), *trusted = NULL;
    struct config_note notes[] = {{"identity", NULL}, {"server_key", NULL}};

    if (config->identity[0] == '\0' && keyfile_identity_path(&request, &identity) == 0) {
        notes[0].text = identity;
    }
    if (config->server_key_count == 0 && known_servers != NULL &&
        asprintf(&trusted, "those that %s remembers", known_servers) > 0) {
        notes[1].text = trusted;
    }
    config_agent_dump(config, notes, sizeof(notes) / sizeof(notes[0]), out);
    if (notes[1].text != NULL) {
        free(trusted);
    }
    free(known_servers);
    free(identity);
}

static int load_keys(struct setup *setup, struct error_text *ret_error)
{
    const struct config_agent *config = setup->config;
    const struct keyfile_request request = keys_of(config);
    uint8_t *network_key = NULL;
    int result = keyfile_identity_load(&request, &setup->keys, ret_error);

    if (result < 0) {
        return result;
    }
    if (config->network_key_file[0] != '\0') {
        result = keyfile_load(config->network_key_file, ETCP_KEY_NETWORK, &network_key, ret_error);
        if (result < 0) {
            return result;
        }
        (void)crypto_generichash(setup->network_key_tag, sizeof(setup->network_key_tag), network_key, ETCP_KEY_BYTES,
                                 NULL, 0);
        keyfile_key_free(network_key);
    }
    return 0;
}

int setup_load(const char *path, struct setup **ret_setup, bool *ret_config_bad, struct error_text *ret_error)
{
    struct setup *setup = calloc(1, sizeof(*setup));
    int result;

    *ret_config_bad = true;
    if (setup == NULL) {
        return error_set(ret_error, -ENOMEM, "%s", strerror(ENOMEM));
    }
    setup->references = 1;
    result = setup_config(path, &setup->config, ret_error);
    if (result == 0) {
        result = check_kernel(setup->config, ret_error);
    }
    if (result < 0) {
        goto out;
    }
    *ret_config_bad = false;
    result = load_keys(setup, ret_error);
    if (result < 0) {
        goto out;
    }
    setup->known_servers = setup_known_servers();
    setup->trust = (struct trust){
        .pins = (const uint8_t(*)[ETCP_KEY_BYTES])setup->config->server_keys,
        .pin_count = setup->config->server_key_count,
        .known_servers = setup->known_servers,
    };
    *ret_setup = setup;
    setup = NULL;
out:
    setup_free(setup);
    return result;
}

struct setup *setup_hold(struct setup *setup)
{
    setup->references++;
    return setup;
}

void setup_free(struct setup *setup)
{
    if (setup == NULL || --setup->references > 0) {
        return;
    }
    keyfile_identity_done(&setup->keys);
    config_agent_free(setup->config);
    free(setup->known_servers);
    free(setup);
}

static bool has_server(const struct config_agent *config, const struct config_address *server)
{
    char wanted[CONFIG_ADDRESS_TEXT_BYTES], text[CONFIG_ADDRESS_TEXT_BYTES];

    config_address_format(server, wanted);
    for (size_t i = 0; i < config->server_count; i++) {
        config_address_format(&config->servers[i], text);
        if (strcmp(text, wanted) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_suite(const struct config_agent *config, int suite)
{
    switch (config->suite) {
    case CONFIG_SUITE_AUTO:
        return suite != ETCP_SUITE_CLASSIC;
    case CONFIG_SUITE_AES256GCM:
        return suite == ETCP_SUITE_AES256GCM || suite == ETCP_SUITE_AES256GCM_NETWORK;
    case CONFIG_SUITE_CHACHA20POLY1305:
        return suite == ETCP_SUITE_CHACHA20POLY1305 || suite == ETCP_SUITE_CHACHA20POLY1305_NETWORK;
    case CONFIG_SUITE_CLASSIC:
        return suite == ETCP_SUITE_CLASSIC;
    }
    return false;
}

bool setup_allows(const struct setup *setup, const struct setup *old, const struct config_address *server,
                  const uint8_t *key, int suite)
{
    if (!has_server(setup->config, server) || !has_suite(setup->config, suite)) {
        return false;
    }
    if (suite == ETCP_SUITE_CLASSIC) {
        return true; /* neither side has a key */
    }
    return key != NULL && trust_allows(&setup->trust, key) &&
           etcp_key_equal(etcp_identity_public(setup->keys.identity), etcp_identity_public(old->keys.identity)) &&
           sodium_memcmp(setup->network_key_tag, old->network_key_tag, SETUP_TAG_BYTES) == 0;
}
