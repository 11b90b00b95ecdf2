/* SPDX-License-Identifier: MIT */
#include "keys/line.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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
                         expected == ETCP_KEY_PUBLIC ? "; if others could read this file, make a new key"
                                                     : ", as \"etcp keygen\" writes it");
    case ETCP_EKEYCHECKSUM:
        return error_set(ret_error, -EINVAL, "%s%s: mistyped: the checksum of the %s does not match: copy it again",
                         name, place, line_kind_name((int)expected));
    default:
        return error_set(ret_error, -EINVAL, "%s%s: bad key: %s: expected a %s of %d characters", name, place,
                         etcp_strerror(error), line_kind_name((int)expected), ETCP_KEY_TEXT_LENGTH);
    }
}

int line_file_failed(const char *path, int error, int max, struct error_text *ret_error)
{
    switch (error) {
    case -EPERM:
        return error_set(ret_error, error, "%s: everybody may write it: expected its owner alone: chmod o-w %s", path,
                         path);
    case -EFBIG:
        return error_set(ret_error, error, "%s: too long: expected at most %d bytes", path, max);
    case -EISDIR:
    case -EINVAL:
        return error_set(ret_error, error, "%s: not a regular file: expected a file with keys", path);
    default:
        return error_set(ret_error, error, "%s: can't be read: %s", path, strerror(-error));
    }
}
