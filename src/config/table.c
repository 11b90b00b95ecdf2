/* SPDX-License-Identifier: MIT
 *
 * Text to values: libconfuse parses what scan.c made of the text, and the values are gathered with their lines. Storing
 * and dumping them is in store.c and dump.c. */
#include "config/table.h"

#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "config/scan.h"
#include "config/value.h"

/* ---- Memory ------------------------------------------------------------------------------------------------------------ */

struct config_block {
    struct config_block *next;
    max_align_t memory[];
};

void *config_values_alloc(struct config_values *values, size_t count, size_t size)
{
    struct config_block *block;

    if (size > 0 && count > (SIZE_MAX / 2 - sizeof *block) / size)
        return NULL;
    block = calloc(1, sizeof *block + count * size);
    if (!block)
        return NULL;
    block->next = values->blocks;
    values->blocks = block;
    return block->memory;
}

static char *copy_text(struct config_values *values, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = config_values_alloc(values, size, 1);

    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void config_values_free(struct config_values *values)
{
    if (!values)
        return;
    while (values->blocks) {
        struct config_block *next = values->blocks->next;

        free(values->blocks);
        values->blocks = next;
    }
    free(values);
}

/* ---- Questions --------------------------------------------------------------------------------------------------------- */

bool config_type_is_list(enum config_type type)
{
    return type >= CONFIG_BIND_LIST;
}

const struct config_instance *config_values_get(const struct config_values *values, const char *section)
{
    for (size_t i = 0; i < values->instance_count; i++) {
        const char *name = values->instances[i].section->name;

        if (section ? name && strcmp(name, section) == 0 : !name)
            return &values->instances[i];
    }
    return NULL;
}

unsigned config_values_line(const struct config_instance *instance, const char *option)
{
    for (size_t i = 0; i < instance->section->option_count; i++) {
        if (strcmp(instance->section->options[i].name, option) == 0)
            return instance->values[i].line;
    }
    return 0;
}

int config_worse(int one, int other)
{
    return one == 0 || other == -ENOMEM ? other : one;
}

int config_values_fail(const struct config_values *values, unsigned line, struct error_text *ret_error,
                       const char *format, ...)
{
    char text[ERROR_TEXT_BYTES / 2];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (line == 0)
        return error_add(ret_error, -EINVAL, "%s: %s", values->name, text);
    return error_add(ret_error, -EINVAL, "%s:%u: %s", values->name, line, text);
}

int config_option_fail(const struct config_values *values, const char *option, const char *text,
                       struct error_text *ret_error)
{
    error_clear(ret_error);
    return config_values_fail(values, config_values_line(config_values_get(values, NULL), option), ret_error, "%s: %s",
                              option, text);
}

/* ---- libconfuse -------------------------------------------------------------------------------------------------------- */

/* libconfuse's error function is not told whom it works for; its scanner is one per process anyway. */
static struct confuse_report {
    unsigned line; /* 0: nothing was reported */
    char text[ERROR_TEXT_BYTES / 4];
} confuse_report;

static void on_confuse_error(cfg_t *cfg, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

static void on_confuse_error(cfg_t *cfg, const char *format, va_list args)
{
    if (confuse_report.line != 0)
        return; /* the first one is the cause */
    confuse_report.line = cfg->line > 0 ? (unsigned)cfg->line : 1;
    (void)vsnprintf(confuse_report.text, sizeof confuse_report.text, format, args);
}

static void fill_options(const struct config_section *section, cfg_opt_t *opts)
{
    for (size_t i = 0; i < section->option_count; i++) {
        const char *name = section->options[i].name;

        if (config_type_is_list(section->options[i].type))
            opts[i] = (cfg_opt_t)CFG_STR_LIST(name, NULL, CFGF_NODEFAULT);
        else
            opts[i] = (cfg_opt_t)CFG_STR(name, NULL, CFGF_NODEFAULT);
    }
    opts[section->option_count] = (cfg_opt_t)CFG_END();
}

/* What libconfuse has to know of a table. The arrays are only read by cfg_init(), which copies them. */
static cfg_t *new_confuse(const struct config_table *table)
{
    const struct config_section *root = &table->sections[0];
    size_t total = 0;
    cfg_opt_t *opts, *next;
    cfg_t *cfg = NULL;

    for (size_t i = 0; i < table->section_count; i++)
        total += table->sections[i].option_count + 1;
    opts = calloc(total + table->section_count, sizeof *opts);
    if (!opts)
        return NULL;
    fill_options(root, opts);
    next = opts + root->option_count + table->section_count;
    for (size_t i = 1; i < table->section_count; i++) {
        const struct config_section *section = &table->sections[i];

        fill_options(section, next);
        opts[root->option_count + i - 1] = (cfg_opt_t)CFG_SEC(
            section->name, next, section->title ? CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES : CFGF_NONE);
        next += section->option_count + 1;
    }
    opts[root->option_count + table->section_count - 1] = (cfg_opt_t)CFG_END();
    cfg = cfg_init(opts, CFGF_NONE);
    free(opts);
    if (cfg)
        (void)cfg_set_error_function(cfg, on_confuse_error); /* there was none */
    return cfg;
}

static int parse_confuse(cfg_t *cfg, const char *text, const char *name, struct error_text *ret_error)
{
    char shown[ERROR_TEXT_BYTES / 4];
    int r;

    memset(&confuse_report, 0, sizeof confuse_report);
    r = cfg_parse_buf(cfg, text);
    if (confuse_report.line != 0) { /* whatever it returned */
        value_show(confuse_report.text, strlen(confuse_report.text), shown, sizeof shown);
        return error_add(ret_error, -EINVAL,
                         "%s:%u: %s: expected \"option = value\", \"option = {value, value}\" or \"section {\"", name,
                         confuse_report.line, shown);
    }
    if (r != CFG_SUCCESS) /* every error in the text is reported: what is left is memory */
        return error_set(ret_error, -ENOMEM, "%s: no memory", name);
    return 0;
}

/* ---- Gathering --------------------------------------------------------------------------------------------------------- */

static int set_default(struct config_values *values, const struct config_option *option, struct config_value *ret_value)
{
    size_t count = option->fallback ? 1 : 0;

    ret_value->texts = config_values_alloc(values, 1, sizeof *ret_value->texts);
    ret_value->lines = config_values_alloc(values, 1, sizeof *ret_value->lines);
    if (!ret_value->texts || !ret_value->lines)
        return -ENOMEM;
    if (count > 0) {
        ret_value->texts[0] = copy_text(values, option->fallback);
        if (!ret_value->texts[0])
            return -ENOMEM;
    }
    ret_value->count = count;
    return 0;
}

/* Takes the values of one option out of libconfuse, and their lines from the scan. */
static int take_value(struct config_values *values, cfg_t *cfg, const struct scan *scan,
                      const struct scan_option *given, struct config_value *ret_value)
{
    size_t count = cfg_size(cfg, given->option->name);

    if (count != given->value_count)
        return -EINVAL; /* the two readings of the text differ: see gather() */
    ret_value->texts = config_values_alloc(values, count + 1, sizeof *ret_value->texts);
    ret_value->lines = config_values_alloc(values, count + 1, sizeof *ret_value->lines);
    if (!ret_value->texts || !ret_value->lines)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        ret_value->texts[i] = copy_text(values, cfg_getnstr(cfg, given->option->name, (unsigned)i));
        if (!ret_value->texts[i])
            return -ENOMEM;
        ret_value->lines[i] = scan->value_lines[given->first_value + i];
    }
    ret_value->line = given->line;
    ret_value->count = count;
    return 0;
}

static int fill_instance(struct config_values *values, cfg_t *cfg, const struct scan *scan, size_t section,
                         struct config_instance *instance)
{
    const struct config_section *kind = instance->section;
    int r = 0;

    instance->values = config_values_alloc(values, kind->option_count + 1, sizeof *instance->values);
    if (!instance->values)
        return -ENOMEM;
    for (size_t i = 0; cfg && i < scan->option_count && r == 0; i++) {
        const struct scan_option *given = &scan->options[i];

        if (given->section == section)
            r = take_value(values, cfg, scan, given, &instance->values[given->option - kind->options]);
    }
    for (size_t i = 0; i < kind->option_count && r == 0; i++) {
        if (!instance->values[i].texts) {
            if (cfg && cfg_size(cfg, kind->options[i].name) != 0)
                return -EINVAL; /* libconfuse has seen what the scan has not */
            r = set_default(values, &kind->options[i], &instance->values[i]);
        }
    }
    return r;
}

/* Adds the instances of one kind of section: those that were given, or the default one. */
static int gather_section(struct config_values *values, cfg_t *root, const struct scan *scan,
                          const struct config_section *kind)
{
    size_t seen = 0;
    int r = 0;

    for (size_t i = 0; i < scan->section_count && r == 0; i++) {
        const struct scan_section *given = &scan->sections[i];
        struct config_instance *instance = &values->instances[values->instance_count];
        cfg_t *cfg;

        if (given->section != kind)
            continue;
        cfg = kind->name ? cfg_getnsec(root, kind->name, (unsigned)seen) : root;
        if (!cfg || (given->title && (!cfg_title(cfg) || strcmp(cfg_title(cfg), given->title) != 0)))
            return -EINVAL;
        seen++;
        values->instance_count++;
        instance->section = kind;
        instance->line = given->line;
        if (given->title) {
            instance->title = copy_text(values, given->title);
            if (!instance->title)
                return -ENOMEM;
        }
        r = fill_instance(values, cfg, scan, i, instance);
    }
    if (r == 0 && kind->title && cfg_size(root, kind->name) != seen)
        return -EINVAL;
    if (r == 0 && seen == 0 && !kind->optional) {
        struct config_instance *instance = &values->instances[values->instance_count++];

        instance->section = kind;
        instance->title = kind->title;
        r = fill_instance(values, NULL, scan, 0, instance);
    }
    return r;
}

static int gather(struct config_values *values, cfg_t *cfg, const struct scan *scan, struct error_text *ret_error)
{
    int r = 0;

    values->instances =
        config_values_alloc(values, scan->section_count + values->table->section_count, sizeof *values->instances);
    if (!values->instances)
        r = -ENOMEM;
    for (size_t i = 0; i < values->table->section_count && r == 0; i++)
        r = gather_section(values, cfg, scan, &values->table->sections[i]);
    if (r == -ENOMEM)
        return error_set(ret_error, r, "%s: no memory", values->name);
    if (r < 0) /* fail closed: a configuration that can be read in two ways is not used */
        return error_set(ret_error, r, "%s: ambiguous: expected a simpler spelling", values->name);
    return 0;
}

int config_values_parse(const struct config_table *table, const char *text, size_t len, const char *name,
                        struct config_values **ret_values, struct error_text *ret_error)
{
    struct config_values *values = NULL;
    struct scan scan = {0};
    cfg_t *cfg = NULL;
    int r;

    error_clear(ret_error);
    r = scan_text(text, len, name, table, &scan, ret_error);
    if (r < 0)
        return r;
    values = calloc(1, sizeof *values);
    cfg = new_confuse(table);
    if (values) {
        values->table = table;
        values->name = copy_text(values, name);
        values->mistaken = scan.mistaken;
    }
    if (!values || !values->name || !cfg) {
        r = error_set(ret_error, -ENOMEM, "%s: no memory", name);
        goto out;
    }
    r = parse_confuse(cfg, scan.text, name, ret_error);
    if (r < 0)
        goto out;
    r = gather(values, cfg, &scan, ret_error);
    if (r < 0)
        goto out;
    *ret_values = values;
    values = NULL;
out:
    config_values_free(values);
    if (cfg)
        (void)cfg_free(cfg); /* fails for NULL only */
    scan_done(&scan);
    return r;
}

const char *config_source(const struct config_values *values)
{
    return values->name;
}

int config_values_load(const struct config_table *table, const char *path, struct config_values **ret_values,
                       struct error_text *ret_error)
{
    char *text = NULL;
    size_t len = 0;
    int r;

    if (!path)
        return config_values_parse(table, "", 0, "default", ret_values, ret_error);
    r = file_read(path, CONFIG_FILE_MAX, &text, &len);
    if (r == -ENOENT)
        return error_set(ret_error, r, "%s: there is no such file: expected a configuration file", path);
    if (r == -EFBIG)
        return error_set(ret_error, r, "%s: too long: expected at most %d bytes", path, CONFIG_FILE_MAX);
    if (r == -EISDIR || r == -EINVAL)
        return error_set(ret_error, r, "%s: not a regular file: expected a configuration file", path);
    if (r < 0)
        return error_set(ret_error, r, "%s: can't be read: %s", path, strerror(-r));
    r = config_values_parse(table, text, len, path, ret_values, ret_error);
    free(text);
    return r;
}

unsigned config_values_either_line(const struct config_instance *instance, const char *first, const char *second)
{
    unsigned line = config_values_line(instance, first);

    return line > 0 ? line : config_values_line(instance, second);
}

int config_heartbeat_check(const struct config_heartbeat *heartbeat, const struct config_values *values,
                           struct error_text *ret_error)
{
    const struct config_instance *section = config_values_get(values, "heartbeat");
    char timeout[VALUE_TEXT_BYTES], interval[VALUE_TEXT_BYTES];

    if (heartbeat->timeout_us > heartbeat->interval_us)
        return 0;
    value_format_duration(heartbeat->timeout_us, timeout);
    value_format_duration(heartbeat->interval_us, interval);
    return config_values_fail(
        values, config_values_either_line(section, "timeout", "interval"), ret_error,
        "heartbeat.timeout (%s) is not above heartbeat.interval (%s): expected timeout > interval", timeout, interval);
}
