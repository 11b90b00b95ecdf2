/* SPDX-License-Identifier: MIT
 *
 * Assertions and the runner for test programs. A failed check says where and what, and aborts, so that a debugger or
 * sanitizer shows the stack. A test program is a table of cases and one line:
 *
 *     static const struct check_case cases[] = {CHECK_CASE(record_rejects_replayed_nonce), ...};
 *     CHECK_MAIN(cases)
 *
 * Run with names as arguments it runs only these. */
#ifndef SUPPORT_CHECK_H
#define SUPPORT_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHECK_SKIPPED = 77, /* exit code that ctest reports as skipped */
};

struct check_case {
    const char *name;
    void (*run)(void);
};

#define CHECK_CASE(function) \
    {                        \
#function, function  \
    }
#define CHECK_COUNT(array)        (sizeof(array) / sizeof((array)[0]))
#define CHECK(condition)          check_true((condition), #condition, __FILE__, __LINE__)
#define CHECK_FAIL(what)          check_true(0, what, __FILE__, __LINE__)
#define CHECK_INT(got, want)      check_int((long long)(got), (long long)(want), #got, __FILE__, __LINE__)
#define CHECK_STR(got, want)      check_str((got), (want), #got, __FILE__, __LINE__)
#define CHECK_MEM(got, want, len) check_mem((got), (want), (len), #got, __FILE__, __LINE__)
#define CHECK_MAIN(cases)                                          \
    int main(int argc, char **argv)                                \
    {                                                              \
        return check_run((cases), CHECK_COUNT(cases), argc, argv); \
    }

static inline void check_true(int holds, const char *text, const char *file, int line)
{
    if (!holds) {
        (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text);
        abort();
    }
}

static inline void check_int(long long got, long long want, const char *text, const char *file, int line)
{
    if (got != want) {
        (void)fprintf(stderr, "%s:%d: %s is %lld, want %lld\n", file, line, text, got, want);
        abort();
    }
}

static inline void check_str(const char *got, const char *want, const char *text, const char *file, int line)
{
    if (got == NULL || strcmp(got, want) != 0) {
        (void)fprintf(stderr, "%s:%d: %s is \"%s\", want \"%s\"\n", file, line, text, got != NULL ? got : "(null)",
                      want);
        abort();
    }
}

static inline void check_mem(const void *got, const void *want, size_t len, const char *text, const char *file,
                             int line)
{
    const unsigned char *g = got, *w = want;
    size_t i;

    for (i = 0; i < len && g[i] == w[i]; i++) {
    }
    if (i < len) {
        (void)fprintf(stderr, "%s:%d: %s differs at byte %zu of %zu: 0x%02x, want 0x%02x\n", file, line, text, i, len,
                      (unsigned)g[i], (unsigned)w[i]);
        abort();
    }
}

static inline int check_run(const struct check_case *cases, size_t count, int argc, char **argv)
{
    size_t ran = 0;

    for (size_t i = 0; i < count; i++) {
        int wanted = argc < 2;

        for (int a = 1; a < argc; a++) {
            wanted = wanted || strcmp(argv[a], cases[i].name) == 0;
        }
        if (wanted) {
            (void)printf("%s\n", cases[i].name);
            (void)fflush(stdout);
            cases[i].run();
            ran++;
        }
    }
    if (ran == 0) {
        (void)fprintf(stderr, "no such case\n");
        return 2;
    }
    return 0;
}

#endif
