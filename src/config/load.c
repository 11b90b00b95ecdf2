/* SPDX-License-Identifier: MIT
 *
 * From a file or text to a configuration: what both kinds have in common. Mistakes are gathered, so that a person mends them in
 * one go; only what can't be judged without the rest is left out once there is one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/table.h"

static struct config_values **values_of(const struct config_kind *kind, void *config)
{
    return (struct config_values **)(void *)((char *)config + kind->values_offset);
}

void config_kind_free(const struct config_kind *kind, void *config)
{
    if (config) {
        config_values_free(*values_of(kind, config));
        free(config);
    }
}

/* Takes the values. */
static int make(const struct config_kind *kind, struct config_values *values, void **ret_config,
                struct error_text *ret_error)
{
    void *config = calloc(1, kind->size);
    int r = values->mistaken ? -EINVAL : 0;

    if (!config) {
        r = error_set(ret_error, -ENOMEM, "%s: no memory", values->name);
        config_values_free(values);
        return r;
    }
    *values_of(kind, config) = values;
    for (size_t i = 0; i < values->instance_count && r != -ENOMEM; i++) {
        const struct config_instance *instance = &values->instances[i];

        r = config_worse(r, instance->title ? kind->store_titled(config, instance, ret_error)
                                            : config_values_store(values, instance, config, ret_error));
    }
    if (r == 0)
        r = kind->check(config, ret_error);
    if (r < 0) {
        config_kind_free(kind, config);
        return r;
    }
    *ret_config = config;
    return 0;
}

int config_kind_load(const struct config_kind *kind, const char *path, void **ret_config, struct error_text *ret_error)
{
    struct config_values *values = NULL;
    int r = config_values_load(kind->table, path, &values, ret_error);

    return r < 0 ? r : make(kind, values, ret_config, ret_error);
}

int config_kind_parse(const struct config_kind *kind, const char *text, size_t len, const char *name, void **ret_config,
                      struct error_text *ret_error)
{
    struct config_values *values = NULL;
    int r = config_values_parse(kind->table, text, len, name, &values, ret_error);

    return r < 0 ? r : make(kind, values, ret_config, ret_error);
}
