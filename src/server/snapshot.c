/* SPDX-License-Identifier: MIT */
#include "server/snapshot.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <etcp/etcp.h>

#include "base/log.h"
#include "base/message_id.h"
#include "net/congestion.h"
#include "net/resolve.h"

int snapshot_exit_code(int r, int otherwise)
{
    switch (r) {
    case -EPERM:
    case -EACCES:
        return EX_NOPERM;
    case -ENOMEM:
    case -EADDRINUSE:
    case -EADDRNOTAVAIL:
    case -EMFILE:
    case -ENFILE:
        return EX_UNAVAILABLE;
    default:
        return otherwise;
    }
}

int snapshot_load_config(const char *path, struct config_server **ret_config, int *ret_exit_code,
                         struct error_text *ret_error)
{
    int r = config_server_load(path != NULL ? path : CONFIG_SERVER_PATH, ret_config, ret_error);

    if (r == -ENOENT && path == NULL) {
        r = config_server_load(NULL, ret_config, ret_error);
    }
    if (r != 0) {
        *ret_exit_code = EX_CONFIG;
    }
    return r;
}

/* What the kernel has to have for it. */
static int check_kernel(const struct config_server *config, struct error_text *ret_error)
{
    struct error_text why;

    return congestion_check(config->congestion_control, &why) == 0
               ? 0
               : config_option_fail(config->values, "congestion_control", why.text, ret_error);
}

static struct keyfile_request keys_of(const struct config_server *config)
{
    return (struct keyfile_request){
        .role = "server",
        .identity = config->identity,
        .network_key_file = config->network_key_file,
    };
}

void snapshot_dump(const struct config_server *config, FILE *out)
{
    const struct keyfile_request request = keys_of(config);
    char *identity = NULL;
    struct config_note note = {"identity", NULL};

    if (config->identity[0] == '\0' && keyfile_identity_path(&request, &identity) == 0) {
        note.text = identity;
    }
    config_server_dump(config, &note, 1, out);
    free(identity);
}

int snapshot_check_files(const struct config_server *config, int *ret_exit_code, struct error_text *ret_error)
{
    const struct keyfile_request request = keys_of(config);
    struct authorized *authorized = NULL;
    int r = check_kernel(config, ret_error);

    if (r == 0) {
        r = authorized_check(config->authorized_agents, &authorized, ret_error);
    }
    if (r == 0) {
        r = keyfile_identity_check(&request, ret_error);
    }
    if (r != 0) {
        *ret_exit_code = snapshot_exit_code(r, EX_CONFIG);
    }
    authorized_free(authorized);
    return r;
}

static int add_bind(struct snapshot *snapshot, const struct address *address)
{
    struct address *binds = NULL;

    for (size_t i = 0; i < snapshot->bind_count; i++) {
        if (address_equal(&snapshot->binds[i], address)) {
            return 0;
        }
    }
    binds = reallocarray(snapshot->binds, snapshot->bind_count + 1, sizeof(*binds));
    if (binds == NULL) {
        return -ENOMEM;
    }
    binds[snapshot->bind_count++] = *address;
    snapshot->binds = binds;
    return 0;
}

static int resolve_bind(struct snapshot *snapshot, const struct config_address *wanted, struct error_text *ret_error)
{
    struct address addresses[RESOLVE_ADDRESSES_MAX];
    char text[CONFIG_ADDRESS_TEXT_BYTES];
    size_t count = 1;
    int r = 0;

    config_address_format(wanted, text);
    if (wanted->kind == CONFIG_ADDRESS_UNIX) {
        r = address_from_path(wanted->path, &addresses[0]);
        if (r != 0) {
            return error_set(ret_error, r, "bind: %s: %s", text, strerror(-r));
        }
    } else {
        r = resolve_now(wanted->host, wanted->port, addresses, RESOLVE_ADDRESSES_MAX, &count);
        if (r != 0) {
            return error_set(ret_error, -EHOSTUNREACH, "bind: %s does not resolve: %s", text,
                             r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
        }
    }
    for (size_t i = 0; i < count; i++) {
        r = add_bind(snapshot, &addresses[i]);
        if (r != 0) {
            return error_set(ret_error, r, "bind: %s: %s", text, strerror(-r));
        }
    }
    return 0;
}

int snapshot_load(const char *path, bool bind, struct snapshot **ret_snapshot, int *ret_exit_code,
                  struct error_text *ret_error)
{
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    struct keyfile_request request;
    int exit_code = EX_CONFIG;
    int r = 0;

    if (snapshot == NULL) {
        *ret_exit_code = EX_UNAVAILABLE;
        return error_set(ret_error, -ENOMEM, "configuration: %s", strerror(ENOMEM));
    }
    atomic_init(&snapshot->references, 1);
    r = snapshot_load_config(path, &snapshot->config, &exit_code, ret_error);
    if (r != 0) {
        goto out;
    }
    r = check_kernel(snapshot->config, ret_error);
    if (r != 0) {
        goto out;
    }
    r = authorized_load(snapshot->config->authorized_agents, &snapshot->authorized, ret_error);
    if (r != 0) {
        exit_code = snapshot_exit_code(r, EX_CONFIG);
        goto out;
    }
    request = keys_of(snapshot->config);
    r = keyfile_identity_load(&request, &snapshot->identity, ret_error);
    if (r != 0) {
        exit_code = snapshot_exit_code(r, EX_CONFIG);
        goto out;
    }
    if (snapshot->config->classic && etcp_identity_has_network_key(snapshot->identity.identity)) {
        /* Section 2: a server that has a network key accepts only the suites with one. */
        r = error_set(ret_error, -EINVAL, "classic and network_key_file exclude each other: remove one of them");
        goto out;
    }
    for (size_t i = 0; bind && r == 0 && i < snapshot->config->bind_count; i++) {
        r = resolve_bind(snapshot, &snapshot->config->bind[i], ret_error);
        exit_code = EX_UNAVAILABLE;
    }
    if (r == 0) {
        *ret_snapshot = snapshot;
        snapshot = NULL;
    }
out:
    if (r != 0) {
        *ret_exit_code = exit_code;
    }
    snapshot_release(snapshot);
    return r;
}

struct snapshot *snapshot_hold(struct snapshot *snapshot)
{
    atomic_fetch_add(&snapshot->references, 1);
    return snapshot;
}

void snapshot_release(struct snapshot *snapshot)
{
    if (snapshot == NULL || atomic_fetch_sub(&snapshot->references, 1) != 1) {
        return;
    }
    config_server_free(snapshot->config);
    authorized_free(snapshot->authorized);
    keyfile_identity_done(&snapshot->identity);
    free(snapshot->binds);
    free(snapshot);
}

const struct config_service *snapshot_service(const struct snapshot *snapshot, const char *name)
{
    for (size_t i = 0; i < snapshot->config->service_count; i++) {
        if (strcmp(snapshot->config->services[i].name, name) == 0) {
            return &snapshot->config->services[i];
        }
    }
    return NULL;
}

bool snapshot_allows(const struct config_service *service, const char *agent)
{
    for (size_t i = 0; agent != NULL && !service->allow_any && i < service->allow_count; i++) {
        if (strcmp(service->allow[i], agent) == 0) {
            return true;
        }
    }
    return service->allow_any;
}

bool snapshot_welcomes(const struct snapshot *snapshot, const char *agent)
{
    for (size_t i = 0; agent == NULL && i < snapshot->config->service_count; i++) {
        if (snapshot->config->services[i].allow_any) {
            return true;
        }
    }
    return agent != NULL;
}

static void log_key(const struct snapshot *snapshot)
{
    const struct log_field id = {LOG_ID(MESSAGE_KEY_MADE)};
    const bool made = snapshot->identity.created;
    char text[ETCP_KEY_TEXT_BYTES];

    etcp_key_format(ETCP_KEY_PUBLIC, etcp_identity_public(snapshot->identity.identity), text);
    log_event(made ? LOG_LEVEL_NOTICE : LOG_LEVEL_INFO, &id, made ? 1 : 0, "%s %s: public key %s",
              made ? "made a new identity," : "identity", snapshot->identity.path, text);
}

static void log_warnings(const struct snapshot *snapshot)
{
    const struct config_server *config = snapshot->config;

    if (authorized_missing(snapshot->authorized) && !snapshot_welcomes(snapshot, NULL)) {
        log_message(LOG_LEVEL_WARNING, "%s is not there: no agent can connect", config->authorized_agents);
    }
    for (size_t i = 0; i < config->service_count; i++) {
        for (size_t j = 0; j < config->services[i].allow_count; j++) {
            const char *name = config->services[i].allow[j];

            if (!authorized_has_name(snapshot->authorized, name)) {
                log_message(LOG_LEVEL_WARNING, "service \"%s\" allows \"%s\", which no line of %s names",
                            config->services[i].name, name, config->authorized_agents);
            }
        }
    }
    for (size_t i = 0; i < config->proxy_from_count; i++) {
        if (config->proxy_from[i].kind != CONFIG_NETWORK_UNIX && config->proxy_from[i].bits == 0) {
            log_message(LOG_LEVEL_WARNING,
                        "proxy_from has a network of all addresses: everybody may claim to be anybody");
        }
    }
    if (config->classic) {
        log_message(LOG_LEVEL_WARNING, "classic = true: peers of the old wire are served without authentication");
    }
}

void snapshot_announce(const struct snapshot *snapshot)
{
    log_key(snapshot);
    log_warnings(snapshot);
}
