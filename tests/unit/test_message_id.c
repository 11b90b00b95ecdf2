/* SPDX-License-Identifier: MIT
 *
 * The ids that the daemons log and the catalog that explains them must agree. The argument is the source directory. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "check.h"

enum { ID_CHARACTERS = 32 };

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

static bool is_id(const char *text)
{
    return strspn(text, "0123456789abcdef") == ID_CHARACTERS;
}

/* The catalog has "# NAME" and then "-- ID" for each `#define NAME "ID"`. */
static void every_id_is_explained(void)
{
    char *header = read_source("src/base/message_id.h");
    char *catalog = read_source("systemd/etcp.catalog");
    size_t count = 0;

    for (const char *at = header; (at = strstr(at, "#define MESSAGE_")) != NULL; at++) {
        char name[64], id[ID_CHARACTERS + 1], entry[128];

        CHECK_INT(sscanf(at, "#define %63[A-Z_] \"%32[0-9a-f]\"", name, id), 2);
        CHECK(is_id(id));
        (void)snprintf(entry, sizeof entry, "\n# %s\n-- %s\n", name, id);
        if (strstr(catalog, entry) == NULL)
            (void)fprintf(stderr, "the catalog lacks %s\n", name);
        CHECK(strstr(catalog, entry) != NULL);
        count++;
    }
    CHECK(count > 0);
    free(header);
    free(catalog);
}

static void every_explanation_has_an_id(void)
{
    char *header = read_source("src/base/message_id.h");
    char *catalog = read_source("systemd/etcp.catalog");
    size_t count = 0;

    for (const char *at = catalog; (at = strstr(at, "\n-- ")) != NULL; at++) {
        char id[ID_CHARACTERS + 1];

        CHECK(is_id(at + 4));
        (void)snprintf(id, sizeof id, "%.*s", ID_CHARACTERS, at + 4);
        CHECK(strstr(header, id) != NULL);
        CHECK(strstr(strstr(header, id) + 1, id) == NULL);
        count++;
    }
    CHECK(count > 0);
    free(header);
    free(catalog);
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {
        CHECK_CASE(every_id_is_explained),
        CHECK_CASE(every_explanation_has_an_id),
    };

    if (argc < 2) {
        (void)fprintf(stderr, "usage: %s SOURCE_DIRECTORY [CASE...]\n", argv[0]);
        return 2;
    }
    source = argv[1];
    return check_run(cases, CHECK_COUNT(cases), argc - 1, argv + 1);
}
