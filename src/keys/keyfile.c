/* SPDX-License-Identifier: MIT */
#include "keys/keyfile.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "keys/line.h"

enum { KEYFILE_MAX = 4096 }; /* bytes: one key, and room for comments */

/* ---- Loading ----------------------------------------------------------------------------------------------------------- */

static int open_failed(const char *path, enum etcp_key_kind kind, int error, struct error_text *ret_error)
{
    switch (error) {
    case -ENOENT:
        return error_set(ret_error, error, "%s: there is no such file: expected a %s; make one with: etcp keygen%s %s",
                         path, line_kind_name((int)kind), kind == ETCP_KEY_NETWORK ? " --network" : "", path);
    case -EISDIR:
    case -EINVAL:
        return error_set(ret_error, -EPERM, "%s: not a regular file: expected one that holds a %s", path,
                         line_kind_name((int)kind));
    case -EACCES:
        return error_set(ret_error, error,
                         "%s: user %u can't read it: expected a %s of that user's, or to be run by its owner", path,
                         (unsigned)geteuid(), line_kind_name((int)kind));
    default:
        return error_set(ret_error, error, "%s: can't be opened: %s", path, strerror(-error));
    }
}

/* `daemon`: whose key it may be as well, or LINE_NOBODY. */
static int check_privacy(const char *path, int fd, const struct stat *st, uid_t daemon, struct error_text *ret_error)
{
    struct stat judged = *st;

    if (daemon != LINE_NOBODY && st->st_uid == daemon)
        judged.st_uid = geteuid();
    switch (file_privacy(fd, &judged)) {
    case FILE_FOREIGN_OWNER:
        return error_set(
            ret_error, -EPERM,
            "%s: belongs to user %u: expected a file of user %u or root: chown %u %s, and consider the key "
            "known to its owner",
            path, (unsigned)st->st_uid, (unsigned)geteuid(), (unsigned)geteuid(), path);
    case FILE_ACCESSIBLE:
        return error_set(
            ret_error, -EPERM,
            "%s: group or others have permissions (mode %04o): expected its owner alone to have any: chmod "
            "600 %s, and consider the key known to them",
            path, (unsigned)(st->st_mode & 07777), path);
    case FILE_PRIVATE:
        break;
    }
    return 0;
}

/* Finds the one key in a file's text. Returns 0, or an enum etcp_error with the line it is about (0: none), or 1 for a second
 * key line. */
static int parse_key(const char *text, size_t len, enum etcp_key_kind kind, uint8_t *ret_key, const char **ret_line,
                     size_t *ret_line_len, unsigned *ret_number)
{
    struct line_reader reader = {.at = text, .end = text + len};
    const char *more;
    size_t more_len;
    int r;

    *ret_line = text;
    *ret_line_len = 0;
    *ret_number = 0;
    if (!line_next(&reader, ret_line, ret_line_len))
        return ETCP_EKEYLENGTH;
    *ret_number = reader.number;
    r = etcp_key_parse(*ret_line, *ret_line_len, kind, ret_key);
    if (r == 0 && line_next(&reader, &more, &more_len)) {
        *ret_number = reader.number;
        return 1;
    }
    return r;
}

/* The text is a secret already when nobody has looked at it: it is read into secret memory. */
static int load_fd(const char *path, int fd, const struct stat *st, enum etcp_key_kind kind, uid_t daemon,
                   uint8_t *ret_key, struct error_text *ret_error)
{
    char *text = sodium_malloc(KEYFILE_MAX);
    const char *line;
    size_t len, line_len;
    unsigned number;
    int r;
    int found;

    if (!text)
        return error_set(ret_error, -ENOMEM, "%s: no secret memory", path);
    r = file_read_fd(fd, text, KEYFILE_MAX, &len);
    if (r == -EFBIG) {
        r = error_set(ret_error, -EINVAL, "%s: too long: expected a file with one %s", path, line_kind_name((int)kind));
        goto out;
    }
    if (r < 0) {
        r = error_set(ret_error, r, "%s: can't be read: %s", path, strerror(-r));
        goto out;
    }
    found = parse_key(text, len, kind, ret_key, &line, &line_len, &number);
    /* A file of the wrong kind, or of no keys, is another file than was meant: its mode would be the wrong thing to repair. */
    if (kind != ETCP_KEY_PUBLIC && found != ETCP_EKEYKIND && found != ETCP_EKEYPREFIX)
        r = check_privacy(path, fd, st, daemon, ret_error);
    if (r < 0)
        goto out;
    if (found > 0)
        r = error_set(ret_error, -EINVAL, "%s:%u: more than one key: expected a file with one %s", path, number,
                      line_kind_name((int)kind));
    else if (found < 0 && number == 0)
        r = error_set(ret_error, -EINVAL, "%s: no key: expected a line with a %s", path, line_kind_name((int)kind));
    else if (found < 0)
        r = line_bad_key(path, number, line, line_len, found, kind, ret_error);
out:
    sodium_free(text);
    return r;
}

static int load(const char *path, enum etcp_key_kind kind, uid_t daemon, uint8_t **ret_key,
                struct error_text *ret_error)
{
    struct stat st;
    uint8_t *key = NULL;
    int fd = -1;
    int r = file_open(path, &fd, &st);

    if (r < 0)
        return open_failed(path, kind, r, ret_error);
    key = sodium_malloc(ETCP_KEY_BYTES);
    if (key)
        r = load_fd(path, fd, &st, kind, daemon, key, ret_error);
    else
        r = error_set(ret_error, -ENOMEM, "%s: no secret memory", path);
    (void)close(fd); /* opened for reading: nothing can be lost */
    if (r < 0) {
        keyfile_key_free(key);
        return r;
    }
    *ret_key = key;
    return 0;
}

int keyfile_load(const char *path, enum etcp_key_kind kind, uint8_t **ret_key, struct error_text *ret_error)
{
    return load(path, kind, LINE_NOBODY, ret_key, ret_error);
}

void keyfile_key_free(uint8_t *key)
{
    sodium_free(key); /* wipes; NULL is fine */
}

/* ---- Creating ---------------------------------------------------------------------------------------------------------- */

static int write_key(const char *path, enum etcp_key_kind kind, const uint8_t *key, enum file_write_mode how)
{
    char text[ETCP_KEY_TEXT_BYTES];
    int r;

    etcp_key_format(kind, key, text);
    text[ETCP_KEY_TEXT_LENGTH] = '\n';
    r = file_write(path, text, sizeof text, kind == ETCP_KEY_PUBLIC ? 0644 : 0600, how);
    etcp_wipe(text, sizeof text);
    return r;
}

int keyfile_create(const char *path, enum etcp_key_kind kind, const uint8_t key[static ETCP_KEY_BYTES],
                   struct error_text *ret_error)
{
    int r = write_key(path, kind, key, FILE_CREATE);

    if (r == -EEXIST)
        return error_set(ret_error, r,
                         "%s: is there already: keys are never overwritten: use another name, or move it away", path);
    if (r < 0)
        return error_set(ret_error, r, "%s: can't be written: %s", path, strerror(-r));
    return 0;
}

/* ---- The identity ------------------------------------------------------------------------------------------------------ */

/* A directory from the environment: only an absolute path counts. */
static const char *environment_path(const char *variable)
{
    const char *path = getenv(variable);

    return path && path[0] == '/' ? path : NULL;
}

int keyfile_state_directory(char **ret_path)
{
    const char *path;
    int n;

    if ((path = environment_path("STATE_DIRECTORY"))) /* a list, if the unit has several: the first is ours */
        n = asprintf(ret_path, "%.*s", (int)strcspn(path, ":"), path);
    else if (geteuid() == 0)
        n = asprintf(ret_path, "/var/lib/etcp");
    else if ((path = environment_path("XDG_STATE_HOME")))
        n = asprintf(ret_path, "%s/etcp", path);
    else if ((path = environment_path("HOME")))
        n = asprintf(ret_path, "%s/.local/state/etcp", path);
    else
        return -ENOENT;
    return n < 0 ? -ENOMEM : 0;
}

/* What is looked for, and what may be done about it. */
struct search {
    const struct keyfile_request *request;
    bool makes;     /* a key where there is none, and the public copy */
    bool only_look; /* a key that would be made need not be there */
    uid_t daemon;   /* whose keys they may be as well, or LINE_NOBODY */
};

/* Makes a key where there is none. Of two processes that try, one writes the file, and the other one loads it. */
static int create_secret(const char *directory, const char *path, uint8_t **ret_key, bool *ret_created,
                         struct error_text *ret_error)
{
    uint8_t *key;
    int r = file_make_directory(directory, 0700);

    if (r < 0)
        return error_set(ret_error, r, "%s: can't be made: %s: expected a state directory that can be written",
                         directory, strerror(-r));
    key = sodium_malloc(ETCP_KEY_BYTES);
    if (!key)
        return error_set(ret_error, -ENOMEM, "%s: no secret memory", path);
    etcp_key_generate(key);
    r = keyfile_create(path, ETCP_KEY_SECRET, key, ret_error);
    if (r < 0) {
        keyfile_key_free(key);
        return r == -EEXIST ? keyfile_load(path, ETCP_KEY_SECRET, ret_key, ret_error) : r;
    }
    *ret_key = key;
    *ret_created = true;
    return 0;
}

/* The copy is a convenience for people: the identity is good without it. */
static void update_public_copy(const char *directory, const char *role, const uint8_t *secret)
{
    uint8_t public_key[ETCP_KEY_BYTES];
    uint8_t *present = NULL;
    char *path = NULL;

    if (asprintf(&path, "%s/%s.pub", directory, role) < 0)
        return;
    etcp_key_public(secret, public_key);
    if (keyfile_load(path, ETCP_KEY_PUBLIC, &present, NULL) < 0 || !etcp_key_equal(present, public_key))
        (void)write_key(path, ETCP_KEY_PUBLIC, public_key, FILE_REPLACE);
    keyfile_key_free(present);
    free(path);
}

static bool is_below(const char *path, const char *directory)
{
    const size_t len = strlen(directory);

    return strncmp(path, directory, len) == 0 && path[len] == '/';
}

static bool is_credential(const char *path)
{
    const char *directory = environment_path("CREDENTIALS_DIRECTORY");

    return is_below(path, "/run/credentials") || (directory && is_below(path, directory));
}

/* systemd shows credentials to the daemon alone: a check before a reload may not look there, and is told where they are by
 * version 252 only. */
static bool is_hidden(const struct search *search, const char *path, int error)
{
    return search->only_look && error == -EACCES && is_credential(path);
}

/* Loads for the daemon. Root reads any file, so a check by root asks whether the daemon could. */
static int load_for(const struct search *search, const char *path, enum etcp_key_kind kind, uint8_t **ret_key,
                    struct error_text *ret_error)
{
    const uid_t daemon = search->daemon;
    struct stat st;
    int r = load(path, kind, daemon, ret_key, ret_error);

    if (r == 0 && search->only_look && daemon != LINE_NOBODY && daemon != 0 && !is_credential(path) &&
        stat(path, &st) == 0 && st.st_uid != daemon) {
        keyfile_key_free(*ret_key);
        *ret_key = NULL;
        r = error_set(
            ret_error, -EACCES,
            "%s: user %u, whose the state directory is, can't read it: chown %u %s; or, for a daemon that root runs, "
            "another directory in STATE_DIRECTORY",
            path, (unsigned)daemon, (unsigned)daemon, path);
    }
    return r;
}

/* If a key would be made, but must not: 0 and no key. */
static int load_from_state(const struct search *search, char **ret_path, uint8_t **ret_key, bool *ret_created,
                           struct error_text *ret_error)
{
    const char *role = search->request->role;
    char *directory = NULL;
    char *path = NULL;
    int r = keyfile_state_directory(&directory);

    if (r == -ENOENT)
        return error_set(ret_error, r,
                         "no place for a key: expected $STATE_DIRECTORY, $XDG_STATE_HOME or $HOME, or an "
                         "identity in the configuration");
    if (r < 0 || asprintf(&path, "%s/%s.key", directory, role) < 0) {
        r = error_set(ret_error, -ENOMEM, "no memory");
        goto out;
    }
    r = line_check_directory(directory, search->daemon, ret_error);
    if (r == 0)
        r = load_for(search, path, ETCP_KEY_SECRET, ret_key, ret_error);
    if (r == -ENOENT && search->makes)
        r = create_secret(directory, path, ret_key, ret_created, ret_error);
    else if (r == -ENOENT)
        r = search->only_look
                ? 0
                : error_set(ret_error, r, "%s: there is no key: make one with etcp keygen, or name another", path);
    if (r < 0) {
        free(path);
        goto out;
    }
    if (search->makes)
        update_public_copy(directory, role, *ret_key);
    *ret_path = path;
out:
    free(directory);
    return r;
}

/* Returns -ENOENT without an error text if there is no such credential. */
static int load_from_credentials(const struct search *search, char **ret_path, uint8_t **ret_key,
                                 struct error_text *ret_error)
{
    const char *directory = environment_path("CREDENTIALS_DIRECTORY");
    char *path = NULL;
    int r;

    if (!directory)
        return -ENOENT;
    if (asprintf(&path, "%s/%s.key", directory, search->request->role) < 0)
        return error_set(ret_error, -ENOMEM, "no memory");
    r = load_for(search, path, ETCP_KEY_SECRET, ret_key, ret_error);
    if (is_hidden(search, path, r))
        r = -ENOENT;
    if (r < 0) {
        free(path);
        return r;
    }
    *ret_path = path;
    return 0;
}

static int load_secret(const struct search *search, char **ret_path, uint8_t **ret_key, bool *ret_created,
                       struct error_text *ret_error)
{
    const char *identity = search->request->identity;
    int r;

    if (identity[0] == '\0') {
        r = load_from_credentials(search, ret_path, ret_key, ret_error);
        return r != -ENOENT ? r : load_from_state(search, ret_path, ret_key, ret_created, ret_error);
    }
    r = load_for(search, identity, ETCP_KEY_SECRET, ret_key, ret_error);
    if (r < 0)
        return is_hidden(search, identity, r) ? 0 : r;
    *ret_path = strdup(identity);
    return *ret_path ? 0 : error_set(ret_error, -ENOMEM, "%s: no memory", identity);
}

/* The network key first: a first start that fails for it must not have made a key. */
static int load_keys(const struct search *search, char **ret_path, uint8_t **ret_secret, bool *ret_created,
                     uint8_t **ret_network_key, struct error_text *ret_error)
{
    const char *network_key_file = search->request->network_key_file;
    int r = 0;

    if (network_key_file[0] != '\0')
        r = load_for(search, network_key_file, ETCP_KEY_NETWORK, ret_network_key, ret_error);
    if (is_hidden(search, network_key_file, r))
        r = 0;
    return r < 0 ? r : load_secret(search, ret_path, ret_secret, ret_created, ret_error);
}

static int load_identity(const struct search *search, struct keyfile_identity *ret_identity,
                         struct error_text *ret_error)
{
    struct keyfile_identity loaded = {0};
    uint8_t *secret = NULL;
    uint8_t *network_key = NULL;
    int r = load_keys(search, &loaded.path, &secret, &loaded.created, &network_key, ret_error);

    if (r == 0 && etcp_identity_new(secret, network_key, &loaded.identity) < 0)
        r = error_set(ret_error, -ENOMEM, "%s: no secret memory", loaded.path);
    keyfile_key_free(secret);
    keyfile_key_free(network_key);
    if (r < 0) {
        keyfile_identity_done(&loaded);
        return r;
    }
    *ret_identity = loaded;
    return 0;
}

int keyfile_identity_load(const struct keyfile_request *request, struct keyfile_identity *ret_identity,
                          struct error_text *ret_error)
{
    const struct search search = {.request = request, .makes = true, .daemon = LINE_NOBODY};

    return load_identity(&search, ret_identity, ret_error);
}

int keyfile_identity_borrow(const struct keyfile_request *request, struct keyfile_identity *ret_identity,
                            struct error_text *ret_error)
{
    const struct search search = {.request = request, .daemon = keyfile_daemon_user()};

    return load_identity(&search, ret_identity, ret_error);
}

/* Whom root looks for: the daemon has its keys where its state directory is its own. */
uid_t keyfile_daemon_user(void)
{
    uid_t user = LINE_NOBODY;
    char *directory = NULL;
    struct stat st;

    if (geteuid() == 0 && keyfile_state_directory(&directory) == 0 && stat(directory, &st) == 0)
        user = st.st_uid;
    free(directory);
    return user;
}

static int join_key(const char *directory, const char *role, char **ret_path)
{
    char *path = NULL;

    if (asprintf(&path, "%s/%s.key", directory, role) < 0)
        return -ENOMEM;
    *ret_path = path;
    return 0;
}

int keyfile_identity_path(const struct keyfile_request *request, char **ret_path)
{
    const char *credentials = environment_path("CREDENTIALS_DIRECTORY");
    char *path = NULL, *directory = NULL;
    int r = 0;

    if (request->identity[0] != '\0') {
        *ret_path = strdup(request->identity);
        return *ret_path ? 0 : -ENOMEM;
    }
    if (credentials) {
        r = join_key(credentials, request->role, &path);
        if (r == 0 && access(path, F_OK) == 0) {
            *ret_path = path;
            return 0;
        }
        free(path);
    }
    if (r == 0)
        r = keyfile_state_directory(&directory);
    if (r == 0)
        r = join_key(directory, request->role, ret_path);
    free(directory);
    return r;
}

int keyfile_identity_check(const struct keyfile_request *request, struct error_text *ret_error)
{
    const struct search search = {.request = request, .only_look = true, .daemon = keyfile_daemon_user()};
    char *path = NULL;
    uint8_t *secret = NULL;
    uint8_t *network_key = NULL;
    bool created = false;
    int r = load_keys(&search, &path, &secret, &created, &network_key, ret_error);

    free(path);
    keyfile_key_free(secret);
    keyfile_key_free(network_key);
    return r;
}

void keyfile_identity_done(struct keyfile_identity *identity)
{
    etcp_identity_free(identity->identity);
    free(identity->path);
    memset(identity, 0, sizeof *identity);
}
