/* SPDX-License-Identifier: MIT */
#include "keys/line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

bool line_next(struct line_reader *reader, const char **ret_line, size_t *ret_len)
{
    while (reader->at < reader->end) {
        const char *line = reader->at;
        const char *first;
        const char *end = memchr(line, '\n', (size_t)(reader->end - line));

        if (!end)
            end = reader->end;
        reader->at = end < reader->end ? end + 1 : end;
        reader->number++;
        for (first = line; first < end && is_blank(*first); first++)
            ;
        if (first == end || *line == '#')
            continue;
        *ret_line = line;
        *ret_len = (size_t)(end - line);
        return true;
    }
    return false;
}

size_t line_split(const char *line, size_t len, const char **ret_rest, size_t *ret_rest_len)
{
    size_t first = 0;
    size_t rest;

    while (first < len && !is_blank(line[first]))
        first++;
    rest = first;
    while (rest < len && is_blank(line[rest]))
        rest++;
    while (len > rest && is_blank(line[len - 1]))
        len--;
    *ret_rest = line + rest;
    *ret_rest_len = len - rest;
    return first;
}

const char *line_kind_name(int kind)
{
    switch (kind) {
    case ETCP_KEY_PUBLIC:
        return "public key (etcp-pub-)";
    case ETCP_KEY_SECRET:
        return "secret key (etcp-sec-)";
    case ETCP_KEY_NETWORK:
        return "network key (etcp-net-)";
    default:
        return "key";
    }
}

int line_bad_key(const char *name, unsigned number, const char *key, size_t len, int error, enum etcp_key_kind expected,
                 struct error_text *ret_error)
{
    int kind = etcp_key_kind_of(key, len);
    char place[16] = "";

    if (number > 0)
        (void)snprintf(place, sizeof place, ":%u", number);
    switch (error) {
    case ETCP_EKEYKIND:
        return error_set(ret_error, -EINVAL, "%s%s: this is a %s: expected a %s%s", name, place, line_kind_name(kind),
                         line_kind_name((int)expected),
                         expected == ETCP_KEY_PUBLIC    ? "; if others could read this file, make a new key"
                         : expected == ETCP_KEY_NETWORK ? ", as \"etcp keygen --network\" writes it"
                                                        : ", as \"etcp keygen\" writes it");
    case ETCP_EKEYCHECKSUM:
        return error_set(ret_error, -EINVAL, "%s%s: mistyped: the checksum of the %s does not match: copy it again",
                         name, place, line_kind_name((int)expected));
    default:
        return error_set(ret_error, -EINVAL, "%s%s: bad key: %s: expected a %s of %d characters", name, place,
                         etcp_strerror(error), line_kind_name((int)expected), ETCP_KEY_TEXT_LENGTH);
    }
}

static void take_friend(struct stat *st, uid_t friend)
{
    if (friend != LINE_NOBODY && st->st_uid == friend)
        st->st_uid = geteuid();
}

/* `st` as judged: a friend's is ours. `reader`: who is to own it. */
static int fault_found(const char *path, const struct stat *st, uid_t reader, struct error_text *ret_error)
{
    const unsigned owner = (unsigned)(reader != LINE_NOBODY ? reader : geteuid());
    const char *what = S_ISDIR(st->st_mode) ? "directory" : "file";

    if (file_fault(st) == FILE_FAULT_OWNER && S_ISDIR(st->st_mode) && geteuid() == 0 && reader == LINE_NOBODY)
        return error_set(ret_error, -EPERM,
                         "%s: belongs to user %u: root relies on no directory of others: run this as that user, or "
                         "with another one in STATE_DIRECTORY",
                         path, (unsigned)st->st_uid);
    if (file_fault(st) == FILE_FAULT_OWNER)
        return error_set(ret_error, -EPERM, "%s: belongs to user %u: expected a %s of user %u or root: chown %u %s",
                         path, (unsigned)st->st_uid, what, owner, owner, path);
    return error_set(ret_error, -EPERM, "%s: everybody may write it: expected its owner alone: chmod o-w %s", path,
                     path);
}

/* Whether permissions keep a user from reading a file of another's; that the file's group may read is good enough. */
static bool is_out_of_reach(const struct stat *st, uid_t reader)
{
    return reader != LINE_NOBODY && reader != 0 && st->st_uid != reader && (st->st_mode & (S_IRGRP | S_IROTH)) == 0;
}

int line_file_read(const char *path, int max, uid_t reader, char **ret_text, size_t *ret_len,
                   struct error_text *ret_error)
{
    struct stat st = {0};
    int r = file_read_guarded(path, (size_t)max, reader, ret_text, ret_len, &st);

    if (r == 0 && is_out_of_reach(&st, reader)) {
        free(*ret_text);
        *ret_text = NULL;
        return error_set(ret_error, -EACCES, "%s: user %u can't read it: expected chmod a+r, or chown %u %s", path,
                         (unsigned)reader, (unsigned)reader, path);
    }

    switch (r) {
    case 0:
    case -ENOENT:
        return r;
    case -EFBIG:
        return error_set(ret_error, r, "%s: too long: expected at most %d bytes", path, max);
    case -EISDIR:
    case -EINVAL:
        return error_set(ret_error, r, "%s: not a regular file: expected a file with keys", path);
    default:
        take_friend(&st, reader);
        if (r == -EPERM && file_fault(&st) != FILE_SOUND)
            return fault_found(path, &st, reader, ret_error);
        return error_set(ret_error, r, "%s: can't be read: %s", path, strerror(-r));
    }
}

int line_check_directory(const char *directory, uid_t friend, struct error_text *ret_error)
{
    struct stat st;

    if (stat(directory, &st) < 0 || !S_ISDIR(st.st_mode))
        return 0; /* whoever uses it finds out */
    take_friend(&st, friend);
    return file_fault(&st) == FILE_SOUND ? 0 : fault_found(directory, &st, friend, ret_error);
}
