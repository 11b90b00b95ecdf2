/* SPDX-License-Identifier: MIT
 *
 * Feeds files, and all files of folders, to a fuzz target: the corpus is a regression test where there is no libFuzzer. */
#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

#include "check.h"
#include "fuzz.h"

static unsigned count;

static void feed_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size > 0 ? size : 1);

    CHECK(file != NULL && data != NULL);
    CHECK_INT(fread(data, 1, size, file), size);
    (void)fclose(file);
    (void)printf("%s\n", path);
    (void)fflush(stdout);
    CHECK_INT(LLVMFuzzerTestOneInput(data, size), 0);
    free(data);
    count++;
}

static void feed(const char *path)
{
    struct stat st;
    struct dirent *entry;
    DIR *folder;

    CHECK_INT(stat(path, &st), 0);
    if (!S_ISDIR(st.st_mode)) {
        feed_file(path, (size_t)st.st_size);
        return;
    }
    folder = opendir(path);
    CHECK(folder != NULL);
    while ((entry = readdir(folder)) != NULL) {
        char inside[PATH_MAX];

        if (entry->d_name[0] != '.') {
            CHECK(snprintf(inside, sizeof(inside), "%s/%s", path, entry->d_name) < (int)sizeof(inside));
            feed(inside);
        }
    }
    (void)closedir(folder);
}

int main(int argc, char **argv)
{
    static const uint8_t nothing[1];

    CHECK_INT(LLVMFuzzerTestOneInput(nothing, 0), 0);
    for (int i = 1; i < argc; i++) {
        feed(argv[i]);
    }
    (void)printf("%u inputs\n", count);
    return count > 0 ? 0 : 1;
}
