/* SPDX-License-Identifier: MIT
 *
 * The dump: what was read, as text that can be read again, with where it came from. */
#include <string.h>

#include "config/table.h"
#include "config/value.h"

static void dump_text(const char *text, FILE *out)
{
    (void)fputc('"', out); /* the caller asks ferror() once, if it cares */
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;

        if (c == '"' || c == '\\' || c == '$')
            (void)fprintf(out, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            (void)fprintf(out, "\\x%02x", c);
        else
            (void)fputc(c, out);
    }
    (void)fputc('"', out);
}

static bool is_bare(enum config_type type)
{
    return type == CONFIG_BOOL || type == CONFIG_NUMBER || type == CONFIG_REAL;
}

static void dump_value(const struct config_option *option, const struct config_value *value, FILE *out)
{
    bool list = config_type_is_list(option->type);

    if (list)
        (void)fputc('{', out);
    for (size_t i = 0; i < value->count; i++) {
        if (i > 0)
            (void)fputs(", ", out);
        if (is_bare(option->type))
            (void)fputs(value->texts[i], out); /* digits or a word: it was parsed */
        else
            dump_text(value->texts[i], out);
    }
    if (list)
        (void)fputc('}', out);
}

static void dump_origin(const struct config_values *values, unsigned line, const char *note, FILE *out)
{
    if (line == 0)
        (void)fputs("    # default", out);
    else
        (void)fprintf(out, "    # %s:%u", values->name, line);
    if (note) {
        char shown[4096];

        value_show(note, strlen(note), shown, sizeof shown);
        (void)fprintf(out, ": %s", shown);
    }
    (void)fputc('\n', out);
}

static const char *find_note(const struct config_note *notes, size_t count, const struct config_instance *instance,
                             const char *option)
{
    for (size_t i = 0; !instance->section->name && i < count; i++) {
        if (strcmp(notes[i].option, option) == 0)
            return notes[i].text;
    }
    return NULL;
}

void config_values_dump(const struct config_values *values, const struct config_note *notes, size_t count, FILE *out)
{
    for (size_t i = 0; i < values->instance_count; i++) {
        const struct config_instance *instance = &values->instances[i];
        const char *indent = instance->section->name ? "    " : "";

        if (instance->section->name) {
            (void)fputs(instance->section->name, out);
            if (instance->title) {
                (void)fputc(' ', out);
                dump_text(instance->title, out);
            }
            (void)fputs(" {", out);
            dump_origin(values, instance->line, NULL, out);
        }
        for (size_t o = 0; o < instance->section->option_count; o++) {
            const struct config_option *option = &instance->section->options[o];

            (void)fprintf(out, "%s%s = ", indent, option->name);
            dump_value(option, &instance->values[o], out);
            dump_origin(values, instance->values[o].line, find_note(notes, count, instance, option->name), out);
        }
        if (instance->section->name)
            (void)fputs("}\n", out);
    }
}
