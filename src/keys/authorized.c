/* SPDX-License-Identifier: MIT
 *
 * A hash table with open addressing, keyed with a random key of its own: nobody can choose keys that collide, and how long a
 * search takes says nothing about what is in it. Half of the slots are empty. */
#include "keys/authorized.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "keys/keyfile.h"
#include "keys/line.h"

struct entry {
    uint8_t key[ETCP_KEY_BYTES];
    unsigned line;
    char name[NAME_AGENT_MAX + 1];
};

struct authorized {
    struct entry *entries;
    size_t count;
    uint32_t *slots;   /* index of an entry plus 1; 0: empty */
    size_t slot_count; /* a power of 2 */
    uint8_t seed[crypto_shorthash_KEYBYTES];
    bool missing;
};

static size_t first_slot(const struct authorized *list, const uint8_t *key)
{
    uint8_t hash[crypto_shorthash_BYTES];
    uint64_t value;

    (void)crypto_shorthash(hash, key, ETCP_KEY_BYTES, list->seed); /* never fails */
    memcpy(&value, hash, sizeof value);
    return (size_t)value & (list->slot_count - 1);
}

/* The slot of a key: where it is, or the empty one where it belongs. */
static size_t find_slot(const struct authorized *list, const uint8_t *key)
{
    size_t slot = first_slot(list, key);

    while (list->slots[slot] != 0 && !etcp_key_equal(list->entries[list->slots[slot] - 1].key, key))
        slot = (slot + 1) & (list->slot_count - 1);
    return slot;
}

static int add_line(struct authorized *list, const char *line, size_t len, const char *file, unsigned number,
                    struct error_text *ret_error)
{
    struct entry *entry = &list->entries[list->count];
    const char *name;
    size_t name_len;
    size_t key_len = line_split(line, len, &name, &name_len);
    size_t slot;
    int r = etcp_key_parse(line, key_len, ETCP_KEY_PUBLIC, entry->key);

    if (r < 0)
        return line_bad_key(file, number, line, key_len, r, ETCP_KEY_PUBLIC, ret_error);
    if (!name_agent_valid(name, name_len)) /* not shown: it may be a key in the wrong place */
        return error_set(
            ret_error, -EINVAL, "%s:%u: %s behind the key: expected 1 to 64 of a-z A-Z 0-9 . _ -%s", file, number,
            name_len > 0 ? "bad name" : "no name",
            name_len > 0 && memchr(name, ' ', name_len) ? ", and nothing else: comments have their own lines" : "");
    memcpy(entry->name, name, name_len);
    entry->name[name_len] = '\0';
    entry->line = number;
    slot = find_slot(list, entry->key);
    if (list->slots[slot] != 0) {
        const struct entry *other = &list->entries[list->slots[slot] - 1];

        if (strcmp(other->name, entry->name) == 0)
            return 0; /* the same line twice says nothing new */
        return error_set(ret_error, -EINVAL,
                         "%s:%u: this key is \"%s\" here and \"%s\" in line %u: expected one name for a key", file,
                         number, entry->name, other->name, other->line);
    }
    list->slots[slot] = (uint32_t)++list->count;
    return 0;
}

static int new_list(size_t lines, struct authorized **ret_list)
{
    struct authorized *list = calloc(1, sizeof *list);

    if (!list)
        return -ENOMEM;
    list->slot_count = 4;
    while (list->slot_count < 2 * (lines + 1))
        list->slot_count *= 2;
    list->entries = calloc(lines + 1, sizeof *list->entries);
    list->slots = calloc(list->slot_count, sizeof *list->slots);
    if (!list->entries || !list->slots) {
        authorized_free(list);
        return -ENOMEM;
    }
    crypto_shorthash_keygen(list->seed);
    *ret_list = list;
    return 0;
}

int authorized_parse(const char *text, size_t len, const char *name, struct authorized **ret_list,
                     struct error_text *ret_error)
{
    struct line_reader count = {.at = text, .end = text + len};
    struct line_reader reader = count;
    struct authorized *list = NULL;
    const char *line;
    size_t line_len;
    size_t lines = 0;
    int r = 0;

    if (len > AUTHORIZED_FILE_MAX)
        return error_set(ret_error, -EINVAL, "%s: too long: expected at most %d bytes", name, AUTHORIZED_FILE_MAX);
    while (line_next(&count, &line, &line_len)) /* bounds what is allocated before a line is judged: a key is long */
        lines += line_len >= ETCP_KEY_TEXT_LENGTH;
    if (new_list(lines, &list) < 0)
        return error_set(ret_error, -ENOMEM, "%s: no memory", name);
    while (r == 0 && line_next(&reader, &line, &line_len))
        r = add_line(list, line, line_len, name, reader.number, ret_error);
    if (r < 0) {
        authorized_free(list);
        return r;
    }
    *ret_list = list;
    return 0;
}

static int load(const char *path, uid_t reader, struct authorized **ret_list, struct error_text *ret_error)
{
    char *text = NULL;
    size_t len;
    int r = line_file_read(path, AUTHORIZED_FILE_MAX, reader, &text, &len, ret_error);

    if (r == -ENOENT) {
        r = authorized_parse("", 0, path, ret_list, ret_error);
        if (r == 0)
            (*ret_list)->missing = true;
        return r;
    }
    if (r < 0)
        return r;
    r = authorized_parse(text, len, path, ret_list, ret_error);
    free(text);
    return r;
}

int authorized_load(const char *path, struct authorized **ret_list, struct error_text *ret_error)
{
    return load(path, LINE_NOBODY, ret_list, ret_error);
}

int authorized_check(const char *path, struct authorized **ret_list, struct error_text *ret_error)
{
    return load(path, keyfile_daemon_user(), ret_list, ret_error);
}

void authorized_free(struct authorized *list)
{
    if (!list)
        return;
    free(list->entries);
    free(list->slots);
    free(list);
}

const char *authorized_find(const struct authorized *list, const uint8_t key[static ETCP_KEY_BYTES])
{
    uint32_t index = list->slots[find_slot(list, key)];

    return index > 0 ? list->entries[index - 1].name : NULL;
}

bool authorized_has_name(const struct authorized *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->entries[i].name, name) == 0)
            return true;
    }
    return false;
}

size_t authorized_count(const struct authorized *list)
{
    return list->count;
}

bool authorized_missing(const struct authorized *list)
{
    return list->missing;
}
