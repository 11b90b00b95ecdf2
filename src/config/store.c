/* SPDX-License-Identifier: MIT
 *
 * Values into structs: each type's form and range, and what to say when a value does not have them. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <etcp/conn.h>
#include <etcp/key.h>

#include "base/name.h"
#include "config/agent.h"
#include "config/table.h"
#include "config/value.h"

enum {
    PATH_BYTES = 4096,
    ALGORITHM_BYTES = 16, /* the kernel's TCP_CA_NAME_MAX */
};

/* One value on its way. */
struct store {
    struct config_values *values;
    const struct config_instance *instance;
    const struct config_option *option;
    const struct config_value *value;
    struct error_text *error;
};

/* "limits.max_streams", or "bind" */
static void option_name(const struct store *s, char *ret_text, size_t size)
{
    const char *section = s->instance->section->name;

    (void)snprintf(ret_text, size, "%s%s%s", section ? section : "", section ? "." : "", s->option->name);
}

static int bad(const struct store *s, size_t index, const char *expected)
{
    char name[64];
    char shown[80];
    const char *text = s->value->texts[index];

    option_name(s, name, sizeof name);
    value_show(text, strlen(text), shown, sizeof shown);
    return config_values_fail(s->values, s->value->lines[index], s->error, "bad value \"%s\" for %s: expected %s",
                              shown, name, expected);
}

static int bad_list(const struct store *s, unsigned line, const char *wrong, const char *expected)
{
    char name[64];

    option_name(s, name, sizeof name);
    return config_values_fail(s->values, line, s->error, "%s in %s: expected %s", wrong, name, expected);
}

static int no_memory(const struct store *s)
{
    return error_set(s->error, -ENOMEM, "%s: no memory", s->values->name);
}

static const char *only_text(const struct store *s)
{
    return s->value->texts[0];
}

/* ---- Scalars ----------------------------------------------------------------------------------------------------------- */

static int store_number(const struct store *s, void *at)
{
    uint64_t number = 0;
    char expected[128];
    char low[VALUE_TEXT_BYTES];
    char high[VALUE_TEXT_BYTES];
    uint64_t minimum = (uint64_t)s->option->minimum;
    uint64_t maximum = (uint64_t)s->option->maximum;
    int r = -EINVAL;

    if (s->option->type == CONFIG_NUMBER) {
        r = value_parse_number(only_text(s), &number);
        (void)snprintf(expected, sizeof expected, "a whole number from %.0f to %.0f", s->option->minimum,
                       s->option->maximum);
    } else if (s->option->type == CONFIG_SIZE) {
        r = value_parse_size(only_text(s), &number);
        value_format_size(minimum, low);
        value_format_size(maximum, high);
        (void)snprintf(expected, sizeof expected, "a size in bytes, KiB or MiB from \"%s\" to \"%s\"", low, high);
    } else {
        r = value_parse_duration(only_text(s), &number);
        value_format_duration(minimum, low);
        value_format_duration(maximum, high);
        (void)snprintf(expected, sizeof expected, "a duration in %s from \"%s\" to \"%s\"",
                       s->option->maximum < 1e6 ? "us or ms" : "ms, s, min or h", low, high);
    }
    if (r < 0 || number < minimum || number > maximum)
        return bad(s, 0, expected);
    if (s->option->type == CONFIG_DURATION)
        *(uint64_t *)at = number;
    else
        *(uint32_t *)at = (uint32_t)number; /* no table's maximum is above */
    return 0;
}

static int store_real(const struct store *s, double *at)
{
    double number;
    char expected[128];

    (void)snprintf(expected, sizeof expected, "a number from %g to %g", s->option->minimum, s->option->maximum);
    if (value_parse_real(only_text(s), &number) < 0 || number < s->option->minimum || number > s->option->maximum)
        return bad(s, 0, expected);
    *at = number;
    return 0;
}

static int store_word(const struct store *s, int *at)
{
    char expected[200] = "one of:";
    size_t used = strlen(expected);

    for (const struct config_word *word = s->option->words; word->word; word++) {
        if (strcmp(only_text(s), word->word) == 0) {
            *at = word->value;
            return 0;
        }
        if (used < sizeof expected)
            used += (size_t)snprintf(expected + used, sizeof expected - used, " %s", word->word);
    }
    return bad(s, 0, expected);
}

static int store_text(const struct store *s, const char **at)
{
    const char *text = only_text(s);
    size_t len = strlen(text);

    switch (s->option->type) {
    case CONFIG_SERVICE:
        if (!etcp_service_name_valid(text))
            return bad(s, 0, "a service name: 1 to 64 of a-z 0-9 . _ -, the first a letter or digit");
        break;
    case CONFIG_ALGORITHM:
        if (len >= ALGORITHM_BYTES || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") != len)
            return bad(s, 0, "the name of a congestion control: up to 15 of a-z 0-9 _ -");
        break;
    case CONFIG_PATH_OR_WORD:
        if (strcmp(text, "none") == 0)
            break;
        if (len >= CONFIG_PATH_BYTES)
            return bad(s, 0, "the path of a Unix socket, at most 107 bytes");
        __attribute__((fallthrough));
    case CONFIG_PATH:
    case CONFIG_PATH_OR_NONE:
        if (len == 0 && s->option->type != CONFIG_PATH)
            break;
        if (text[0] != '/' || len >= PATH_BYTES || text[len - 1] == '/')
            return bad(s, 0,
                       s->option->type == CONFIG_PATH_OR_WORD ? "the absolute path of a socket, \"none\", or \"\""
                                                              : "the absolute path of a file");
        break;
    default:
        if (len == 0)
            return bad(s, 0, "a text that is not empty");
        break;
    }
    *at = text;
    return 0;
}

/* ---- Lists ------------------------------------------------------------------------------------------------------------- */

static int store_addresses(const struct store *s, struct config_address *list)
{
    for (size_t i = 0; i < s->value->count; i++) {
        char text[CONFIG_ADDRESS_TEXT_BYTES];
        struct error_text why;
        char name[64];

        if (config_address_parse(s->value->texts[i], s->option->type == CONFIG_BIND_LIST, &list[i], &why) < 0) {
            option_name(s, name, sizeof name);
            return config_values_fail(s->values, s->value->lines[i], s->error, "%s: %s", name, why.text);
        }
        config_address_format(&list[i], text);
        for (size_t j = 0; j < i; j++) {
            char other[CONFIG_ADDRESS_TEXT_BYTES];

            config_address_format(&list[j], other);
            if (strcmp(text, other) == 0 && !(list[i].kind == CONFIG_ADDRESS_INET && list[i].port == 0))
                return bad(s, i, "every address once");
        }
    }
    return 0;
}

static int store_target(const struct store *s, bool port_zero, struct config_address *at)
{
    struct error_text why;
    char name[64];

    if (only_text(s)[0] == '\0') {
        *at = (struct config_address){0};
        return 0;
    }
    if (config_address_parse(only_text(s), port_zero, at, &why) < 0) {
        option_name(s, name, sizeof name);
        return config_values_fail(s->values, s->value->lines[0], s->error, "%s: %s", name, why.text);
    }
    return 0;
}

/* Nothing here waits for a resolver: the address is numeric. */
static int store_metrics(const struct store *s, struct config_address *at)
{
    struct config_address address = {0};
    uint8_t ignored[16];
    char host[CONFIG_HOST_BYTES];
    int r = store_target(s, true, &address);

    if (r < 0)
        return r;
    (void)snprintf(host, sizeof host, "%.*s", (int)strcspn(address.host, "%"), address.host);
    if (address.kind == CONFIG_ADDRESS_INET && inet_pton(AF_INET, host, ignored) != 1 &&
        inet_pton(AF_INET6, host, ignored) != 1)
        return bad(s, 0, "an address without a name, as 127.0.0.1:9117, [::1]:9117 or unix:/path");
    *at = address;
    return 0;
}

/* Never shows the value: it may be a secret that was put into the wrong place. */
static int store_keys(const struct store *s, uint8_t (*list)[CONFIG_KEY_BYTES])
{
    for (size_t i = 0; i < s->value->count; i++) {
        const char *text = s->value->texts[i];
        unsigned line = s->value->lines[i];
        int kind;
        int r = etcp_key_parse(text, strlen(text), ETCP_KEY_PUBLIC, list[i]);

        if (r == ETCP_EKEYKIND) {
            kind = etcp_key_kind_of(text, strlen(text));
            return bad_list(s, line, kind == ETCP_KEY_SECRET ? "a secret key (etcp-sec-)" : "a network key (etcp-net-)",
                            "a public key (etcp-pub-); make a new key if others can read this file");
        }
        if (r == ETCP_EKEYCHECKSUM)
            return bad_list(s, line, "a mistyped key", "a public key whose checksum matches");
        if (r < 0)
            return config_values_fail(s->values, line, s->error,
                                      "bad key in %s: %s: expected a public key, etcp-pub- and 48 characters",
                                      s->option->name, etcp_strerror(r));
        for (size_t j = 0; j < i; j++) {
            if (etcp_key_equal(list[i], list[j]))
                return bad_list(s, line, "a key that is there already", "every key once");
        }
    }
    return 0;
}

static int store_agents(const struct store *s, const char **list)
{
    for (size_t i = 0; i < s->value->count; i++) {
        list[i] = s->value->texts[i];
        if (strcmp(list[i], "*") != 0 && !name_agent_valid(list[i], strlen(list[i])))
            return bad(s, i, "\"*\", or an agent's name: 1 to 64 of a-z A-Z 0-9 . _ -");
        for (size_t j = 0; j < i; j++) {
            if (strcmp(list[i], list[j]) == 0)
                return bad(s, i, "every name once");
        }
    }
    return 0;
}

static int store_networks(const struct store *s, struct config_network *list)
{
    for (size_t i = 0; i < s->value->count; i++) {
        struct error_text why;
        char name[64];

        if (config_network_parse(s->value->texts[i], &list[i], &why) < 0) {
            option_name(s, name, sizeof name);
            return config_values_fail(s->values, s->value->lines[i], s->error, "%s: %s", name, why.text);
        }
        for (size_t j = 0; j < i; j++) {
            if (list[i].kind == list[j].kind && list[i].bits == list[j].bits &&
                memcmp(list[i].address, list[j].address, sizeof list[i].address) == 0)
                return bad(s, i, "every network once");
        }
    }
    return 0;
}

static int store_list(const struct store *s, char *base)
{
    size_t sizes[] = {[CONFIG_BIND_LIST] = sizeof(struct config_address),
                      [CONFIG_SERVER_LIST] = sizeof(struct config_address),
                      [CONFIG_KEY_LIST] = CONFIG_KEY_BYTES,
                      [CONFIG_AGENT_LIST] = sizeof(const char *),
                      [CONFIG_NETWORK_LIST] = sizeof(struct config_network)};
    size_t count = s->value->count;
    void *list;
    int r;

    if ((double)count < s->option->minimum)
        return bad_list(s, s->value->line, "nothing", "at least one value");
    list = config_values_alloc(s->values, count + 1, sizes[s->option->type]);
    if (!list)
        return no_memory(s);
    if (s->option->type == CONFIG_KEY_LIST)
        r = store_keys(s, list);
    else if (s->option->type == CONFIG_AGENT_LIST)
        r = store_agents(s, list);
    else if (s->option->type == CONFIG_NETWORK_LIST)
        r = store_networks(s, list);
    else
        r = store_addresses(s, list);
    if (r < 0)
        return r;
    memcpy(base + s->option->offset, &list, sizeof list);
    memcpy(base + s->option->count_offset, &count, sizeof count);
    return 0;
}

int config_values_store(struct config_values *values, const struct config_instance *instance, void *base,
                        struct error_text *ret_error)
{
    int r = 0;

    for (size_t i = 0; i < instance->section->option_count && r != -ENOMEM; i++) {
        struct store s = {values, instance, &instance->section->options[i], &instance->values[i], ret_error};
        void *at = (char *)base + s.option->offset;
        int one;

        if (s.option->type == CONFIG_BOOL)
            one = value_parse_bool(only_text(&s), at) < 0 ? bad(&s, 0, "true or false") : 0;
        else if (s.option->type == CONFIG_REAL)
            one = store_real(&s, at);
        else if (s.option->type == CONFIG_METRICS)
            one = store_metrics(&s, at);
        else if (s.option->type == CONFIG_TARGET)
            one = store_target(&s, false, at);
        else if (s.option->type == CONFIG_WORD)
            one = store_word(&s, at);
        else if (s.option->type <= CONFIG_SIZE)
            one = store_number(&s, at);
        else if (!config_type_is_list(s.option->type))
            one = store_text(&s, at);
        else
            one = store_list(&s, base);
        r = config_worse(r, one);
    }
    return r;
}
