/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <string.h>

#include "check.h"

static void lines_are_added(void)
{
    struct error_text error;
    const char *at = error.text;
    int len = 0;

    error_clear(&error);
    CHECK(error_next_line(&at, &len) == NULL);
    CHECK_INT(error_add(&error, -1, "one %d", 1), -1);
    CHECK_STR(error.text, "one 1");
    CHECK_INT(error_add(&error, -2, "two"), -2);
    CHECK_STR(error.text, "one 1\ntwo");
    CHECK(error_next_line(&at, &len) == error.text && len == 5);
    CHECK(error_next_line(&at, &len) == error.text + 6 && len == 3);
    CHECK(error_next_line(&at, &len) == NULL && error_next_line(&at, &len) == NULL);
    CHECK_INT(error_set(&error, -3, "three"), -3);
    CHECK_STR(error.text, "three");
}

static void nowhere_is_fine(void)
{
    error_clear(NULL);
    CHECK_INT(error_add(NULL, -1, "one"), -1);
    CHECK_INT(error_set(NULL, -1, "one"), -1);
}

/* However long the lines are, and however many: they are cut, and the last one says that there are more. */
static void lines_are_bounded(void)
{
    struct {
        struct error_text error;
        char guard[16];
    } box;
    char longest[4 * ERROR_TEXT_BYTES];
    const char *at = box.error.text, *line, *last = NULL;
    unsigned lines = 0;
    int len = 0;

    memset(box.guard, 'g', sizeof box.guard);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    error_clear(&box.error);
    for (unsigned i = 0; i < 3 * ERROR_LINES_MAX; i++)
        CHECK_INT(error_add(&box.error, -1, "%s", longest), -1);
    CHECK(memchr(box.error.text, '\0', sizeof box.error.text) != NULL);
    while ((line = error_next_line(&at, &len)) != NULL) {
        last = line;
        lines++;
        CHECK(len <= (lines == 1 ? ERROR_TEXT_BYTES : ERROR_LINE_BYTES));
    }
    CHECK_INT(lines, ERROR_LINES_MAX + 1);
    CHECK_STR(last, "there are more mistakes");
    for (size_t i = 0; i < sizeof box.guard; i++)
        CHECK(box.guard[i] == 'g');
}

static const struct check_case cases[] = {
    CHECK_CASE(lines_are_added),
    CHECK_CASE(nowhere_is_fine),
    CHECK_CASE(lines_are_bounded),
};

CHECK_MAIN(cases)
