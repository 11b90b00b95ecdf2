/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "check.h"
#include "scratch.h"

static void make(const char *path, const char *text, mode_t mode)
{
    int fd;

    (void)unlink(path); /* it may be there, and not ours to write */
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_INT(write(fd, text, strlen(text)), strlen(text));
    CHECK_INT(fchmod(fd, mode), 0);
    CHECK_INT(close(fd), 0);
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    CHECK_INT(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static void read_takes_all_and_terminates(void)
{
    const char *path = scratch_path("f");
    char *text = NULL;
    size_t len = 0;

    make(path, "abc", 0600);
    CHECK_INT(file_read(path, 3, &text, &len), 0);
    CHECK_INT(len, 3);
    CHECK_STR(text, "abc");
    free(text);
    make(path, "", 0600);
    CHECK_INT(file_read(path, 3, &text, &len), 0);
    CHECK_INT(len, 0);
    CHECK_STR(text, "");
    free(text);
    CHECK_INT(file_read("/proc/self/status", 65536, &text, &len), 0); /* a file that says it is empty */
    CHECK(len > 0);
    free(text);
}

static void read_is_bounded(void)
{
    const char *path = scratch_path("f");
    char *text = NULL;
    char buffer[4] = "....";
    size_t len = 0;
    int fd;

    make(path, "abcd", 0600);
    CHECK_INT(file_read(path, 3, &text, &len), -EFBIG);
    CHECK_INT(file_read("/proc/self/status", 10, &text, &len), -EFBIG);
    CHECK(text == NULL);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_INT(file_read_fd(fd, buffer, 3, &len), -EFBIG);
    CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
    CHECK_INT(file_read_fd(fd, buffer, 4, &len), 0);
    CHECK_INT(len, 4);
    CHECK_INT(close(fd), 0);
}

static void read_takes_regular_files_only(void)
{
    const char *path = scratch_path("fifo");
    char *text = NULL;
    size_t len = 0;

    CHECK_INT(mkfifo(path, 0600), 0); /* must not wait for a writer */
    CHECK_INT(file_read(path, 100, &text, &len), -EINVAL);
    CHECK_INT(file_read("/dev/null", 100, &text, &len), -EINVAL);
    CHECK_INT(file_read(scratch_directory(), 100, &text, &len), -EISDIR);
    CHECK_INT(file_read(scratch_path("none"), 100, &text, &len), -ENOENT);
    CHECK(text == NULL);
    CHECK_INT(unlink(scratch_path("fifo")), 0);
}

static void guarded_read_refuses_what_everybody_may_write(void)
{
    const char *path = scratch_path("f");
    char *text = NULL;
    size_t len = 0;
    struct stat st;

    make(path, "x", 0646);
    CHECK_INT(file_read_guarded(path, 100, (uid_t)-1, &text, &len, &st), -EPERM);
    CHECK_INT(file_fault(&st), FILE_FAULT_WRITABLE);
    CHECK_INT(chmod(path, 0644), 0);
    CHECK_INT(file_read_guarded(path, 100, (uid_t)-1, &text, &len, &st), 0);
    free(text);
}

static void only_the_user_and_root_are_believed(void)
{
    struct stat st = {.st_mode = S_IFREG | 0644, .st_uid = geteuid()};

    CHECK_INT(file_fault(&st), FILE_SOUND);
    st.st_uid = 0;
    CHECK_INT(file_fault(&st), FILE_SOUND);
    st.st_mode = S_IFREG | 0640;
    st.st_gid = 12345; /* a group that may read, as root:etcp 0640 */
    CHECK_INT(file_fault(&st), FILE_SOUND);
    st.st_uid = geteuid() + 1;
    CHECK_INT(file_fault(&st), FILE_FAULT_OWNER);
    st = (struct stat){.st_mode = S_IFREG | S_ISVTX | 0666, .st_uid = geteuid()};
    CHECK_INT(file_fault(&st), FILE_FAULT_WRITABLE); /* on a file the sticky bit means nothing */
    st.st_mode = S_IFDIR | 0777;
    CHECK_INT(file_fault(&st), FILE_FAULT_WRITABLE);
    st.st_mode = S_IFDIR | S_ISVTX | 0777;
    CHECK_INT(file_fault(&st), FILE_SOUND);
    st.st_mode = S_IFDIR | 0750;
    CHECK_INT(file_fault(&st), FILE_SOUND);
}

static enum file_privacy privacy_of(const char *path)
{
    struct stat st;
    int fd = -1;
    enum file_privacy privacy;

    CHECK_INT(file_open(path, &fd, &st), 0);
    privacy = file_privacy(fd, &st);
    CHECK_INT(close(fd), 0);
    return privacy;
}

static void privacy_means_the_owner_alone(void)
{
    static const mode_t wrong[] = {0640, 0604, 0620, 0602, 0610, 0601, 0777, 0440, 0444};
    const char *path = scratch_path("f");

    make(path, "x", 0600);
    CHECK_INT(privacy_of(path), FILE_PRIVATE);
    CHECK_INT(chmod(path, 0400), 0);
    CHECK_INT(privacy_of(path), FILE_PRIVATE);
    for (size_t i = 0; i < CHECK_COUNT(wrong); i++) {
        CHECK_INT(chmod(path, wrong[i]), 0);
        CHECK_INT(privacy_of(path), FILE_ACCESSIBLE);
    }
}

static void privacy_is_judged_by_owner(void)
{
    const char *path = scratch_path("f");
    struct stat st;
    int fd = -1;

    make(path, "x", 0600);
    CHECK_INT(file_open(path, &fd, &st), 0);
    st.st_uid = geteuid() + 1; /* the judgement takes what fstat() said */
    CHECK_INT(file_privacy(fd, &st), FILE_FOREIGN_OWNER);
    st.st_uid = 0;
    CHECK_INT(file_privacy(fd, &st), FILE_PRIVATE);
    CHECK_INT(close(fd), 0);
}

/* An access list as the kernel keeps it: version 2, then tag, permissions and id of each entry. */
struct acl {
    uint32_t version;
    struct {
        uint16_t tag, permissions;
        uint32_t id;
    } entries[6];
};

enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };

static int set_acl(const char *path, const struct acl *acl, size_t entries)
{
    return setxattr(path, "system.posix_acl_access", acl, 4 + 8 * entries, 0);
}

/* systemd gives a service its credentials so: root's file, mode 0440, whose group bits are the list's mask. */
static void access_list_for_the_user_is_private(void)
{
    const char *path = scratch_path("f");
    struct acl acl = {2,
                      {{USER_OBJ, 4, UINT32_MAX},
                       {USER, 4, geteuid()},
                       {GROUP_OBJ, 0, UINT32_MAX},
                       {MASK, 4, UINT32_MAX},
                       {OTHER, 0, UINT32_MAX}}};

    make(path, "x", 0400);
    if (set_acl(path, &acl, 5) < 0 && errno == ENOTSUP) {
        (void)printf("  skipped: no access lists on this file system\n");
        return;
    }
    CHECK_INT(mode_of(path), 0440);
    CHECK_INT(privacy_of(path), FILE_PRIVATE);

    acl.entries[1].id = geteuid() + 1; /* somebody else */
    CHECK_INT(set_acl(path, &acl, 5), 0);
    CHECK_INT(privacy_of(path), FILE_ACCESSIBLE);

    acl.entries[1].id = geteuid();
    acl.entries[2].permissions = 4; /* the group */
    CHECK_INT(set_acl(path, &acl, 5), 0);
    CHECK_INT(privacy_of(path), FILE_ACCESSIBLE);

    acl.entries[2].permissions = 0;
    acl.entries[5] = acl.entries[4];
    acl.entries[4] = acl.entries[3];
    acl.entries[3].tag = GROUP; /* another group */
    acl.entries[3].id = 1;
    CHECK_INT(set_acl(path, &acl, 6), 0);
    CHECK_INT(privacy_of(path), FILE_ACCESSIBLE);
}

static void create_never_overwrites(void)
{
    const char *path = scratch_path("f");
    char *text = NULL;
    size_t len;

    (void)umask(0);
    CHECK_INT(file_write(path, "one", 3, 0600, FILE_CREATE), 0);
    CHECK_INT(mode_of(path), 0600);
    CHECK_INT(file_write(path, "two", 3, 0600, FILE_CREATE), -EEXIST);
    CHECK_INT(file_read(path, 10, &text, &len), 0);
    CHECK_STR(text, "one");
    free(text);
    CHECK_INT(unlink(path), 0);
    CHECK_INT(symlink("nowhere", path), 0);
    CHECK_INT(file_write(path, "two", 3, 0600, FILE_CREATE), -EEXIST);
    CHECK_INT(access(scratch_path("nowhere"), F_OK), -1);
}

static void replace_sets_exactly_the_mode(void)
{
    const char *path = scratch_path("f");
    char *text = NULL;
    size_t len;

    (void)umask(077);
    make(path, "old and longer", 0600);
    CHECK_INT(file_write(path, "new", 3, 0644, FILE_REPLACE), 0);
    CHECK_INT(mode_of(path), 0644);
    CHECK_INT(file_read(path, 100, &text, &len), 0);
    CHECK_STR(text, "new");
    free(text);
}

static void failed_write_leaves_nothing_behind(void)
{
    const char *path = scratch_path("sub/f");
    size_t count = 0;
    DIR *directory;

    CHECK_INT(file_write(path, "x", 1, 0600, FILE_CREATE), -ENOENT);
    CHECK_INT(mkdir(scratch_path("sub"), 0700), 0);
    make(scratch_path("sub/f"), "x", 0600);
    CHECK_INT(file_write(scratch_path("sub/f"), "y", 1, 0600, FILE_CREATE), -EEXIST);
    CHECK_INT(file_write(scratch_path("sub/"), "y", 1, 0600, FILE_CREATE), -EISDIR);
    CHECK_INT(mkdir(scratch_path("sub/d"), 0700), 0);
    CHECK_INT(file_write(scratch_path("sub/d"), "y", 1, 0600, FILE_REPLACE), -EISDIR);
    directory = opendir(scratch_path("sub"));
    CHECK(directory != NULL);
    while (readdir(directory))
        count++;
    CHECK_INT(closedir(directory), 0);
    CHECK_INT(count, 4); /* . .. f d: and no temporary file */
}

static void directories_are_made_with_their_parents(void)
{
    CHECK_INT(file_make_directory(scratch_path("a/b/c"), 0700), 0);
    CHECK_INT(mode_of(scratch_path("a/b/c")), 0700);
    CHECK_INT(file_make_directory(scratch_path("a/b/c"), 0700), 0);
    make(scratch_path("a/file"), "x", 0600);
    CHECK_INT(file_make_directory(scratch_path("a/file"), 0700), -ENOTDIR);
    CHECK_INT(file_make_directory(scratch_path("a/file/x"), 0700), -ENOTDIR);
}

static const struct check_case cases[] = {
    CHECK_CASE(read_takes_all_and_terminates),
    CHECK_CASE(read_is_bounded),
    CHECK_CASE(read_takes_regular_files_only),
    CHECK_CASE(guarded_read_refuses_what_everybody_may_write),
    CHECK_CASE(only_the_user_and_root_are_believed),
    CHECK_CASE(privacy_means_the_owner_alone),
    CHECK_CASE(privacy_is_judged_by_owner),
    CHECK_CASE(access_list_for_the_user_is_private),
    CHECK_CASE(create_never_overwrites),
    CHECK_CASE(replace_sets_exactly_the_mode),
    CHECK_CASE(failed_write_leaves_nothing_behind),
    CHECK_CASE(directories_are_made_with_their_parents),
};

int main(int argc, char **argv)
{
    return scratch_run(cases, CHECK_COUNT(cases), argc, argv);
}
