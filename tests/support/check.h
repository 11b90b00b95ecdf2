/* SPDX-License-Identifier: MIT
 *
 * What unit tests need: an assertion that names its place, and a table of named tests. */
#ifndef ETCP_TESTS_CHECK_H
#define ETCP_TESTS_CHECK_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHECK_SKIPPED = 77, /* exit code: ctest reports the test as skipped */
};

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

#define CHECK_INT(actual, expected)                                                                               \
    do {                                                                                                          \
        long long check_a = (long long)(actual), check_e = (long long)(expected);                                 \
        if (check_a != check_e) {                                                                                 \
            fprintf(stderr, "%s:%d: %s is %lld, expected %lld\n", __FILE__, __LINE__, #actual, check_a, check_e); \
            exit(1);                                                                                              \
        }                                                                                                         \
    } while (0)

#define CHECK_STR(actual, expected)                                                                      \
    do {                                                                                                 \
        const char *check_a = (actual), *check_e = (expected);                                           \
        if (!check_a || strcmp(check_a, check_e) != 0) {                                                 \
            fprintf(stderr, "%s:%d: %s is\n  \"%s\", expected\n  \"%s\"\n", __FILE__, __LINE__, #actual, \
                    check_a ? check_a : "(null)", check_e);                                              \
            exit(1);                                                                                     \
        }                                                                                                \
    } while (0)

/* `struct check_test tests[] = {{"name_of_what_must_hold", function}, ...}; return check_run(tests, count, argc, argv);`
 * With arguments, only the tests that are named there are run. */
struct check_test {
    const char *name;
    void (*run)(void);
};

#define CHECK_RUN(table, argc, argv) check_run((table), sizeof(table) / sizeof((table)[0]), (argc), (argv))

static inline int check_run(const struct check_test *tests, size_t count, int argc, char **argv)
{
    size_t run = 0;
    for (size_t i = 0; i < count; i++) {
        int wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted |= strcmp(argv[a], tests[i].name) == 0;
        if (!wanted)
            continue;
        printf("%s\n", tests[i].name);
        fflush(stdout);
        tests[i].run();
        run++;
    }
    printf("%zu tests passed\n", run);
    return run > 0 ? 0 : 1;
}

#endif
