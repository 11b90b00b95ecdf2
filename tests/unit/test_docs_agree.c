/* SPDX-License-Identifier: MIT
 *
 * Option table, sample file and manual page must name the same options with the same defaults. The argument is the source
 * directory. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "check.h"
#include "config/agent.h"
#include "config/server.h"
#include "config/table.h"

static const char *source;

static char *read_source(const char *name)
{
    char path[4096];
    char *text = NULL;
    size_t len = 0;

    CHECK((size_t)snprintf(path, sizeof path, "%s/%s", source, name) < sizeof path);
    CHECK_INT(file_read(path, 1 << 20, &text, &len), 0);
    return text;
}

/* The sample with the # in front of options taken away: those are followed by something else than one blank. */
static char *uncomment(const char *text)
{
    char *out = malloc(strlen(text) + 1);
    size_t len = 0;

    CHECK(out != NULL);
    while (*text != '\0') {
        size_t line = strcspn(text, "\n") + (strchr(text, '\n') ? 1 : 0);
        bool prose = text[0] != '#' || text[1] == '\n' || (text[1] == ' ' && text[2] != ' ') ||
                     strncmp(text, "#   etcp-", 9) == 0;

        CHECK(line > 0);
        memcpy(out + len, text + !prose, line - !prose);
        len += line - !prose;
        text += line;
    }
    out[len] = '\0';
    return out;
}

/* How an option with its default stands in file and manual: `name = "text"`. */
static void format_default(const struct config_section *section, const struct config_option *option, char *ret_text,
                           size_t size)
{
    bool bare = option->type == CONFIG_BOOL || option->type == CONFIG_NUMBER || option->type == CONFIG_REAL;
    bool list = config_type_is_list(option->type);
    const char *quote = bare || !option->fallback ? "" : "\"";

    CHECK((size_t)snprintf(ret_text, size, "%s%s%s = %s%s%s%s%s", section->name ? section->name : "",
                           section->name ? "." : "", option->name, list ? "{" : "", quote,
                           option->fallback ? option->fallback : "", quote, list ? "}" : "") < size);
}

static void sample_shows_every_default(const struct config_table *table, const char *sample)
{
    struct config_values *values = NULL;
    struct error_text error = {""};
    char *commented = read_source(sample);
    char *text = uncomment(commented);

    if (config_values_parse(table, text, strlen(text), sample, &values, &error) < 0 || values->mistaken)
        (void)fprintf(stderr, "%s\n", error.text);
    CHECK(values != NULL);
    for (size_t i = 0; i < values->instance_count; i++) {
        const struct config_instance *instance = &values->instances[i];
        const struct config_section *section = instance->section;

        CHECK(!section->name || instance->line != 0); /* the sample has the section */
        if (section->title)
            CHECK_STR(instance->title, section->title);
        for (size_t o = 0; o < section->option_count; o++) {
            const struct config_option *option = &section->options[o];
            const struct config_value *value = &instance->values[o];

            if (value->line == 0)
                (void)fprintf(stderr, "%s lacks %s\n", sample, option->name);
            CHECK(value->line != 0);
            CHECK_INT(value->count, option->fallback ? 1 : 0);
            if (option->fallback)
                CHECK_STR(value->texts[0], option->fallback);
        }
    }
    config_values_free(values);
    free(text);
    free(commented);
}

/* Everything in the sample is a comment: as it is, it changes nothing. */
static void sample_is_all_comments(const char *sample)
{
    char *text = read_source(sample);

    for (const char *line = text; line && *line != '\0'; line = strchr(line, '\n')) {
        line += strspn(line, "\n ");
        CHECK(*line == '#' || *line == '\0');
    }
    free(text);
}

/* Options in the manual are the lines `.It Ic section.name = default`. */
static size_t count_in_manual(const char *manual, const char *option)
{
    size_t count = 0;

    for (const char *at = manual; (at = strstr(at, ".It Ic ")); at += 7) {
        char line[256];
        size_t used = 0;

        for (const char *p = at + 7; *p != '\n' && *p != '\0' && used + 1 < sizeof line; p++) {
            if (strncmp(p, "\\(dq", 4) == 0) {
                line[used++] = '"';
                p += 3;
            } else {
                line[used++] = *p;
            }
        }
        line[used] = '\0';
        count += !option || strcmp(line, option) == 0;
    }
    return count;
}

static void manual_shows_every_default(const struct config_table *table, const char *page)
{
    char *manual = read_source(page);
    size_t options = 0;

    for (size_t s = 0; s < table->section_count; s++) {
        for (size_t o = 0; o < table->sections[s].option_count; o++) {
            const struct config_option *option = &table->sections[s].options[o];
            char text[256];

            format_default(&table->sections[s], option, text, sizeof text);
            if (count_in_manual(manual, text) != 1)
                (void)fprintf(stderr, "%s does not have, once: %s\n", page, text);
            CHECK_INT(count_in_manual(manual, text), 1);
            options++;
        }
    }
    CHECK_INT(count_in_manual(manual, NULL), options); /* and none besides */
    free(manual);
}

static void server_sample_agrees(void)
{
    sample_is_all_comments("etc/etcp/server.conf");
    sample_shows_every_default(config_server_table(), "etc/etcp/server.conf");
}

static void server_manual_agrees(void)
{
    manual_shows_every_default(config_server_table(), "man/etcp-server.conf.5");
}

static void agent_sample_agrees(void)
{
    sample_is_all_comments("etc/etcp/agent.conf");
    sample_shows_every_default(config_agent_table(), "etc/etcp/agent.conf");
}

static void agent_manual_agrees(void)
{
    manual_shows_every_default(config_agent_table(), "man/etcp-agent.conf.5");
}

static void agents_sample_is_all_comments(void)
{
    sample_is_all_comments("etc/etcp/authorized_agents");
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {
        CHECK_CASE(server_sample_agrees), CHECK_CASE(server_manual_agrees),          CHECK_CASE(agent_sample_agrees),
        CHECK_CASE(agent_manual_agrees),  CHECK_CASE(agents_sample_is_all_comments),
    };

    if (argc < 2) {
        (void)fprintf(stderr, "usage: %s SOURCE_DIRECTORY [CASE...]\n", argv[0]);
        return 2;
    }
    source = argv[1];
    return check_run(cases, CHECK_COUNT(cases), argc - 1, argv + 1);
}
