/* SPDX-License-Identifier: MIT */
#include "config/suggest.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { NAME_MAX_LENGTH = 40 }; /* longer than any option's */

static unsigned smallest(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;

    return least < c ? least : c;
}

/* How many characters to insert, remove, replace, or exchange with the next one, until `a` is `b`: the "optimal string
 * alignment" distance. Both are at most NAME_MAX_LENGTH long. */
static unsigned distance(const char *a, const char *b)
{
    const size_t length = strlen(b);
    unsigned rows[3][NAME_MAX_LENGTH + 1]; /* of the matrix: the last ones */
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];

    for (size_t j = 0; j <= length; j++)
        before[j] = last[j] = (unsigned)j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        unsigned *spare = before;

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= length; j++) {
            row[j] = smallest(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        before = last;
        last = row;
        row = spare;
    }
    return last[length];
}

struct search {
    const char *name;
    const char *nearest; /* NULL: none is near enough */
    unsigned distance;
};

static void consider(struct search *search, const char *candidate)
{
    unsigned apart = distance(search->name, candidate);

    if (apart < search->distance) {
        search->nearest = candidate;
        search->distance = apart;
    }
}

/* What is spelt almost like it, of what may stand in `here`; NULL: nothing. */
static const char *nearest_name(const struct config_table *table, const struct config_section *here, const char *name)
{
    const size_t length = strlen(name);
    struct search search = {.name = name, .distance = length < 5 ? 2 : 3};

    if (length < 3 || length > NAME_MAX_LENGTH)
        return NULL;
    for (size_t i = 0; i < here->option_count; i++)
        consider(&search, here->options[i].name);
    for (size_t i = 1; !here->name && i < table->section_count; i++)
        consider(&search, table->sections[i].name);
    return search.nearest;
}

static bool has_option(const struct config_section *section, const char *name)
{
    for (size_t i = 0; i < section->option_count; i++) {
        if (strcmp(section->options[i].name, name) == 0)
            return true;
    }
    return false;
}

/* The name of the first other section that may hold it, "" for the file itself, NULL for none. */
static const char *elsewhere(const struct config_table *table, const struct config_section *here, const char *name)
{
    for (size_t i = 0; i < table->section_count; i++) {
        const struct config_section *section = &table->sections[i];

        if (section != here && has_option(section, name))
            return section->name ? section->name : "";
    }
    return NULL;
}

static void list_names(const struct config_table *table, const struct config_section *here, char *ret_text, size_t size)
{
    size_t used = (size_t)snprintf(ret_text, size, "expected one of:");

    for (size_t i = 0; i < here->option_count && used < size; i++)
        used += (size_t)snprintf(ret_text + used, size - used, " %s", here->options[i].name);
    for (size_t i = 1; !here->name && i < table->section_count && used < size; i++)
        used += (size_t)snprintf(ret_text + used, size - used, " %s", table->sections[i].name);
}

void suggest_name(const struct config_table *table, const struct config_section *here, const char *name, char *ret_text,
                  size_t size)
{
    const char *section = elsewhere(table, here, name);
    const char *nearest = section ? NULL : nearest_name(table, here, name);

    if (section && section[0] != '\0')
        (void)snprintf(ret_text, size, "such an option is one of section \"%s\"", section);
    else if (section)
        (void)snprintf(ret_text, size, "such an option stands outside of sections");
    else if (nearest)
        (void)snprintf(ret_text, size, "did you mean \"%s\"?", nearest);
    else
        list_names(table, here, ret_text, size);
}
