/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- Reading ----------------------------------------------------------------------------------------------------------- */

int file_open(const char *path, int *ret_fd, struct stat *ret_stat)
{
    struct stat st;
    int r = 0;
    /* O_NONBLOCK: opening a FIFO would wait for a writer. It has no effect on a regular file. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        r = -errno;
    else if (S_ISDIR(st.st_mode))
        r = -EISDIR;
    else if (!S_ISREG(st.st_mode))
        r = -EINVAL;
    if (r < 0) {
        (void)close(fd); /* opened for reading: nothing can be lost */
        return r;
    }
    *ret_fd = fd;
    *ret_stat = st;
    return 0;
}

/* Whether an access list (as stored by the kernel: a header and entries, little-endian) gives permissions to nobody but the
 * owner, the effective user and root. The mask takes permissions away, so that it need not be looked at. */
static bool acl_is_private(const uint8_t *acl, size_t len)
{
    enum { HEADER = 4, ENTRY = 8, VERSION = 2, USER_OBJ = 0x01, USER = 0x02, MASK = 0x10 };
    uint32_t version;

    if (len < HEADER || (len - HEADER) % ENTRY != 0)
        return false;
    memcpy(&version, acl, sizeof version);
    if (le32toh(version) != VERSION)
        return false;
    for (size_t at = HEADER; at < len; at += ENTRY) {
        uint16_t tag, permissions;
        uint32_t id;

        memcpy(&tag, acl + at, sizeof tag);
        memcpy(&permissions, acl + at + 2, sizeof permissions);
        memcpy(&id, acl + at + 4, sizeof id);
        tag = le16toh(tag);
        id = le32toh(id);
        if (tag == USER_OBJ || tag == MASK || le16toh(permissions) == 0)
            continue;
        if (tag != USER || (id != 0 && id != geteuid()))
            return false; /* a group, others, or another user */
    }
    return true;
}

enum file_privacy file_privacy(int fd, const struct stat *stat)
{
    uint8_t acl[1024];
    ssize_t len;

    if (stat->st_uid != geteuid() && stat->st_uid != 0)
        return FILE_FOREIGN_OWNER;
    if ((stat->st_mode & 07) != 0)
        return FILE_ACCESSIBLE;
    if ((stat->st_mode & 070) == 0)
        return FILE_PRIVATE; /* with an access list: its mask is empty, so it gives nothing */
    len = fgetxattr(fd, "system.posix_acl_access", acl, sizeof acl);
    return len > 0 && acl_is_private(acl, (size_t)len) ? FILE_PRIVATE : FILE_ACCESSIBLE;
}

int file_read_fd(int fd, void *buffer, size_t size, size_t *ret_len)
{
    char *bytes = buffer;
    size_t len = 0;

    for (;;) {
        char beyond;
        ssize_t n = len < size ? read(fd, bytes + len, size - len) : read(fd, &beyond, 1);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        if (len == size)
            return -EFBIG;
        len += (size_t)n;
    }
    *ret_len = len;
    return 0;
}

enum file_fault file_fault(const struct stat *stat)
{
    if (stat->st_uid != geteuid() && stat->st_uid != 0)
        return FILE_FAULT_OWNER;
    if ((stat->st_mode & S_IWOTH) != 0 && !(S_ISDIR(stat->st_mode) && (stat->st_mode & S_ISVTX) != 0))
        return FILE_FAULT_WRITABLE;
    return FILE_SOUND;
}

/* `ret_guarded`: NULL if any file will do. */
static int read_path(const char *path, size_t max, uid_t friend, char **ret_text, size_t *ret_len,
                     struct stat *ret_guarded)
{
    struct stat st;
    char *text = NULL;
    size_t len;
    int fd = -1;
    int r = file_open(path, &fd, &st);

    if (r < 0)
        return r;
    if (ret_guarded) {
        struct stat judged = st;

        *ret_guarded = st;
        if (friend != (uid_t)-1 && st.st_uid == friend)
            judged.st_uid = geteuid();
        if (file_fault(&judged) != FILE_SOUND) {
            r = -EPERM;
            goto out;
        }
    }
    if (st.st_size < 0 || (uintmax_t)st.st_size > max) {
        r = -EFBIG;
        goto out;
    }
    /* The size of a file under /proc or /sys says nothing, and any file may grow: the bound is what counts. */
    text = malloc(max + 1);
    if (!text) {
        r = -ENOMEM;
        goto out;
    }
    r = file_read_fd(fd, text, max, &len);
    if (r < 0)
        goto out;
    text[len] = '\0';
    *ret_text = text;
    *ret_len = len;
    text = NULL;
out:
    free(text);
    (void)close(fd);
    return r;
}

int file_read(const char *path, size_t max, char **ret_text, size_t *ret_len)
{
    return read_path(path, max, (uid_t)-1, ret_text, ret_len, NULL);
}

int file_read_guarded(const char *path, size_t max, uid_t friend, char **ret_text, size_t *ret_len,
                      struct stat *ret_stat)
{
    return read_path(path, max, friend, ret_text, ret_len, ret_stat);
}

/* ---- Writing ----------------------------------------------------------------------------------------------------------- */

/* Splits a path into an open directory and the name in it. */
static int open_parent(const char *path, int *ret_fd, const char **ret_name)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t len = slash ? (size_t)(slash - path) : 0;
    int fd;

    if (name[0] == '\0' || strlen(name) > NAME_MAX - 16) /* room for the suffix of the temporary name */
        return name[0] == '\0' ? -EISDIR : -ENAMETOOLONG;
    if (len >= sizeof directory)
        return -ENAMETOOLONG;
    if (!slash) {
        memcpy(directory, ".", 2);
    } else if (len == 0) {
        memcpy(directory, "/", 2);
    } else {
        memcpy(directory, path, len);
        directory[len] = '\0';
    }
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    *ret_name = name;
    return 0;
}

static int write_all(int fd, const void *data, size_t len)
{
    const char *bytes = data;

    while (len > 0) {
        ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* A temporary file with a name, and not O_TMPFILE: that can't replace, and not every file system has it. */
static int create_temporary(int directory, const char *name, char ret_temporary[static NAME_MAX + 1])
{
    for (unsigned attempt = 0; attempt < 1000; attempt++) {
        int fd;

        (void)snprintf(ret_temporary, NAME_MAX + 1, ".%s.%u.%u", name, (unsigned)getpid() % 1000000, attempt);
        fd = openat(directory, ret_temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

int file_write(const char *path, const void *data, size_t len, mode_t mode, enum file_write_mode how)
{
    char temporary[NAME_MAX + 1] = "";
    const char *name = NULL;
    int directory = -1;
    int fd = -1;
    int r = open_parent(path, &directory, &name);

    if (r < 0)
        return r;
    fd = create_temporary(directory, name, temporary);
    if (fd < 0) {
        r = fd;
        temporary[0] = '\0';
        goto out;
    }
    r = write_all(fd, data, len);
    if (r < 0)
        goto out;
    if (fchmod(fd, mode) < 0 || fsync(fd) < 0) {
        r = -errno;
        goto out;
    }
    if (how == FILE_CREATE) {
        if (linkat(directory, temporary, directory, name, 0) < 0) { /* rename() would replace what is there */
            r = -errno;
            goto out;
        }
    } else {
        if (renameat(directory, temporary, directory, name) < 0) {
            r = -errno;
            goto out;
        }
        temporary[0] = '\0';
    }
    if (fsync(directory) < 0) /* the name, too */
        r = -errno;
out:
    if (temporary[0] != '\0')
        (void)unlinkat(directory, temporary, 0); /* fails only if somebody took it away already */
    if (fd >= 0)
        (void)close(fd); /* it has been synced, or is void */
    (void)close(directory);
    return r;
}

static int make_one(const char *path, mode_t mode)
{
    struct stat st;

    if (mkdir(path, mode) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (stat(path, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int file_make_directory(const char *path, mode_t mode)
{
    char prefix[PATH_MAX];
    size_t len = strlen(path);
    struct stat st;

    if (stat(path, &st) == 0) /* also where a parent may be passed but not read */
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    if (len >= sizeof prefix)
        return -ENAMETOOLONG;
    memcpy(prefix, path, len + 1);
    for (size_t i = 1; i < len; i++) {
        if (prefix[i] == '/') {
            int r;

            prefix[i] = '\0';
            r = make_one(prefix, 0755);
            if (r < 0)
                return r;
            prefix[i] = '/';
        }
    }
    return make_one(prefix, mode);
}
