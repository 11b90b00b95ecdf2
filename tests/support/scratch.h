/* SPDX-License-Identifier: MIT
 *
 * A directory of its own for each case of a test program, taken away afterwards. */
#ifndef SUPPORT_SCRATCH_H
#define SUPPORT_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static char scratch_name[64];

static inline const char *scratch_directory(void)
{
    return scratch_name;
}

/* A path in the directory; valid until the eighth call after this one. */
static inline const char *scratch_path(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];

    CHECK((size_t)snprintf(path, sizeof paths[0], "%s/%s", scratch_name, name) < sizeof paths[0]);
    return path;
}

static inline int scratch_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void scratch_remove(void)
{
    if (scratch_name[0] != '\0')
        (void)nftw(scratch_name, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    scratch_name[0] = '\0';
}

/* check_run() with a new directory for every case. */
static inline int scratch_run(const struct check_case *cases, size_t count, int argc, char **argv)
{
    for (size_t i = 0; i < count; i++) {
        int wanted = argc < 2;

        for (int a = 1; a < argc; a++)
            wanted = wanted || strcmp(argv[a], cases[i].name) == 0;
        if (!wanted)
            continue;
        (void)strcpy(scratch_name, "/tmp/etcp-test-XXXXXX");
        CHECK(mkdtemp(scratch_name) != NULL);
        (void)printf("%s\n", cases[i].name);
        (void)fflush(stdout);
        cases[i].run();
        scratch_remove();
    }
    return 0;
}

#endif
