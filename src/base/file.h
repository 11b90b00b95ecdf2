/* SPDX-License-Identifier: MIT
 *
 * Small files: read whole and bounded from one descriptor, on which owner and mode are judged too; created or replaced
 * in one step that survives a crash. */
#ifndef ETCP_BASE_FILE_H
#define ETCP_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Opens a regular file for reading, without ever waiting (a FIFO is refused, not waited for). Stores an owned descriptor and
 * what fstat() says of it. Returns 0, -EISDIR, -EINVAL (neither file nor directory), or what open() said. */
int file_open(const char *path, int *ret_fd, struct stat *ret_stat);

/* Whose file it is and who else may touch it, judged on the descriptor. */
enum file_privacy {
    FILE_PRIVATE = 0,
    FILE_FOREIGN_OWNER, /* neither the effective user's nor root's */
    FILE_ACCESSIBLE,    /* group, others, or somebody named in an access list have permissions */
};

/* Judges an open file. With a POSIX access list, the group bits of the mode are the list's mask: then the list decides,
 * and the effective user and root may be named in it (as systemd does with credentials). */
enum file_privacy file_privacy(int fd, const struct stat *stat);

/* Reads all of an open file into `buffer`. Stores the length. Returns 0, -EFBIG (more than `size` bytes; the buffer then holds
 * the first of them), or what read() said. */
int file_read_fd(int fd, void *buffer, size_t size, size_t *ret_len);

/* Reads a regular file of at most `max` bytes. Stores owned text, terminated behind its `len` bytes (free()).
 * Returns 0, -EFBIG, -ENOMEM, or as file_open() and file_read_fd(). Not for secrets: see keys/keyfile.h. */
int file_read(const char *path, size_t max, char **ret_text, size_t *ret_len);

/* What speaks against believing what lies there: whoever can write a file, or exchange it, decides what it says. */
enum file_fault {
    FILE_SOUND = 0,
    FILE_FAULT_OWNER, /* belongs to neither the effective user nor root */
    FILE_FAULT_WRITABLE, /* everybody may write it; in a directory with the sticky bit, everybody may make files of their own only */
};

/* Judges a file or a directory. */
enum file_fault file_fault(const struct stat *stat);

/* As file_read() for a file that decides whom to trust: -EPERM, too, if file_fault() finds one, *ret_stat then tells which. `friend` may
 * own it, too, (uid_t)-1: nobody else. Once it is open, *ret_stat says what it is. */
int file_read_guarded(const char *path, size_t max, uid_t friend, char **ret_text, size_t *ret_len,
                      struct stat *ret_stat);

enum file_write_mode {
    FILE_CREATE,  /* -EEXIST if anything is there, be it a dangling link */
    FILE_REPLACE, /* replaces what is there, in one step */
};

/* Writes a whole file with exactly this mode, durably: when it returns 0, file and name are on disk; before, readers and
 * crashes see either nothing new or all of it. */
int file_write(const char *path, const void *data, size_t len, mode_t mode, enum file_write_mode how);

/* Makes a directory with this mode, and its parents with 0755 where they are missing. 0 also if it is there;
 * -ENOTDIR if something else is. */
int file_make_directory(const char *path, mode_t mode);

#endif
