/* SPDX-License-Identifier: MIT
 *
 * The file is read anew for every question: it is asked once per connection of an agent that pins nothing. */
#include "keys/known_servers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "keys/line.h"

enum { LOCK_MOMENTS = 20, LOCK_MOMENT_MS = 10 }; /* an agent stands still meanwhile */

static const char header[] =
    "# Keys of servers as they were met first. When a server's key has changed and you know why,\n"
    "# remove its line.\n";

/* Looks through the whole text, so that a file which is damaged anywhere is never trusted. */
static int find(const char *text, size_t len, const char *path, const char *address, uint8_t *ret_key,
                unsigned *ret_line, struct error_text *ret_error)
{
    struct line_reader reader = {.at = text, .end = text + len};
    const char *line;
    size_t line_len;
    bool found = false;

    while (line_next(&reader, &line, &line_len)) {
        uint8_t key[ETCP_KEY_BYTES];
        const char *name;
        size_t name_len;
        size_t key_len = line_split(line, line_len, &name, &name_len);
        int r = etcp_key_parse(line, key_len, ETCP_KEY_PUBLIC, key);

        if (r < 0)
            return line_bad_key(path, reader.number, line, key_len, r, ETCP_KEY_PUBLIC, ret_error);
        if (name_len == 0)
            return error_set(ret_error, -EINVAL, "%s:%u: no address behind the key: expected etcp-pub-... ADDRESS",
                             path, reader.number);
        if (name_len != strlen(address) || memcmp(name, address, name_len) != 0)
            continue;
        if (found)
            return error_set(ret_error, -EINVAL, "%s:%u: %s has a second key: expected one, see line %u", path,
                             reader.number, address, *ret_line);
        found = true;
        memcpy(ret_key, key, sizeof key);
        *ret_line = reader.number;
    }
    return found ? 0 : -ENOENT;
}

/* The folder that the file lies in: "." for a name without one. Owned by the caller; NULL: no memory. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static int read_all(const char *path, char **ret_text, size_t *ret_len, struct error_text *ret_error)
{
    char *directory = directory_of(path);
    int r = 0;

    if (!directory)
        return error_set(ret_error, -ENOMEM, "%s: no memory", path);
    /* Who can take the file away makes every server one that is met for the first time. */
    r = line_check_directory(directory, (uid_t)-1, ret_error);
    free(directory);
    return r < 0 ? r : line_file_read(path, KNOWN_SERVERS_FILE_MAX, LINE_NOBODY, ret_text, ret_len, ret_error);
}

int known_servers_find(const char *path, const char *address, uint8_t ret_key[static ETCP_KEY_BYTES],
                       unsigned *ret_line, struct error_text *ret_error)
{
    uint8_t key[ETCP_KEY_BYTES];
    unsigned line = 0;
    char *text = NULL;
    size_t len;
    int r = read_all(path, &text, &len, ret_error);

    if (r == -ENOENT)
        return error_set(ret_error, r, "%s: there is no such file", path);
    if (r < 0)
        return r;
    r = find(text, len, path, address, key, &line, ret_error);
    free(text);
    if (r == -ENOENT)
        return error_set(ret_error, r, "%s: %s is not in it", path, address);
    if (r == 0) {
        memcpy(ret_key, key, sizeof key);
        *ret_line = line;
    }
    return r;
}

/* The old text, whatever is in its comments, with a line more. */
static int append(const char *path, const char *text, size_t len, const char *address, const uint8_t *key,
                  struct error_text *ret_error)
{
    char key_text[ETCP_KEY_TEXT_BYTES];
    const char *before = len == 0 ? header : text[len - 1] != '\n' ? "\n" : "";
    size_t room = len + strlen(before) + sizeof key_text + strlen(address) + 2;
    char *whole = malloc(room);
    int n, r;

    if (!whole)
        return error_set(ret_error, -ENOMEM, "%s: no memory", path);
    etcp_key_format(ETCP_KEY_PUBLIC, key, key_text);
    if (len > 0)
        memcpy(whole, text, len);
    n = snprintf(whole + len, room - len, "%s%s %s\n", before, key_text, address);
    len += (size_t)n; /* a few strings of known length: never fails */
    if (len > KNOWN_SERVERS_FILE_MAX) {
        r = error_set(ret_error, -EFBIG, "%s: full: expected at most %d bytes", path, KNOWN_SERVERS_FILE_MAX);
    } else {
        r = file_write(path, whole, len, 0600, FILE_REPLACE);
        if (r < 0)
            (void)error_set(ret_error, r, "%s: can't be written: %s", path, strerror(-r));
    }
    free(whole);
    return r;
}

/* Whoever holds the lock writes a line and is gone. */
static int lock_soon(int fd)
{
    const struct timespec moment = {.tv_nsec = LOCK_MOMENT_MS * 1000000L};

    for (int i = 0; i < LOCK_MOMENTS; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK)
            return -errno;
        (void)nanosleep(&moment, NULL); /* shorter is as good */
    }
    return -EAGAIN;
}

/* Opens and locks PATH.lock: the file itself is replaced, so that a lock on it would not hold. */
static int lock(const char *path, int *ret_fd, struct error_text *ret_error)
{
    char *name = NULL;
    char *directory = NULL;
    int fd = -1;
    int r = 0;

    if (asprintf(&name, "%s.lock", path) < 0)
        return error_set(ret_error, -ENOMEM, "%s: no memory", path);
    directory = directory_of(path);
    if (!directory) {
        r = error_set(ret_error, -ENOMEM, "%s: no memory", path);
        goto out;
    }
    r = file_make_directory(directory, 0700);
    if (r < 0) {
        r = error_set(ret_error, r, "%s: can't be made: %s", directory, strerror(-r));
        goto out;
    }
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        r = error_set(ret_error, -errno, "%s: can't be opened: %s", name, strerror(errno));
        goto out;
    }
    r = lock_soon(fd);
    if (r < 0) {
        (void)error_set(ret_error, r, "%s: %s", name,
                        r == -EAGAIN ? "another process is writing: try again" : strerror(-r));
        (void)close(fd);
        goto out;
    }
    *ret_fd = fd;
out:
    free(directory);
    free(name);
    return r;
}

static bool address_valid(const char *address)
{
    size_t len = strlen(address);

    if (len == 0 || len > 1024 || address[0] == ' ' || address[len - 1] == ' ')
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)address[i] < 0x20 || address[i] == 0x7f)
            return false;
    }
    return true;
}

int known_servers_add(const char *path, const char *address, const uint8_t key[static ETCP_KEY_BYTES],
                      struct error_text *ret_error)
{
    uint8_t present[ETCP_KEY_BYTES];
    unsigned line = 0;
    char *text = NULL;
    size_t len = 0;
    int fd = -1;
    int r;

    if (!address_valid(address))
        return error_set(ret_error, -EINVAL, "%s: an address that can't be written into a line", path);
    r = lock(path, &fd, ret_error);
    if (r < 0)
        return r;
    r = read_all(path, &text, &len, ret_error);
    if (r == 0)
        r = find(text, len, path, address, present, &line, ret_error);
    if (r == -ENOENT)
        r = append(path, text, len, address, key, ret_error);
    else if (r == 0 && !etcp_key_equal(present, key))
        r = error_set(ret_error, -EEXIST, "%s:%u: %s has another key already: it is never overwritten", path, line,
                      address);
    free(text);
    (void)close(fd); /* and with it the lock */
    return r;
}
