/* SPDX-License-Identifier: MIT */
#include "keys/known_servers.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <etcp/etcp.h>

#include "base/file.h"
#include "scratch.h"

#define KEY_1    "etcp-pub-0ur6xuUgdsPbMpranN324KhTICp7PcCC7N5WuZrbkS-yMDR6"
#define KEY_2    "etcp-pub-dbZtp7M3bti65HjDxn__tvFauWXEviiLIE6_JJmz90kpgd-N"
#define MISTYPED "etcp-pub-dbZtp7M3bti65HjDxn__tvFauWXEviiLIE6_JJmz90kpgd-M"

static void key_of(const char *text, uint8_t *ret_key)
{
    CHECK_INT(etcp_key_parse(text, strlen(text), ETCP_KEY_PUBLIC, ret_key), 0);
}

static int add(const char *path, const char *address, const char *key_text, struct error_text *ret_error)
{
    uint8_t key[ETCP_KEY_BYTES];

    key_of(key_text, key);
    return known_servers_add(path, address, key, ret_error);
}

static void check_known(const char *path, const char *address, const char *key_text, unsigned line)
{
    uint8_t key[ETCP_KEY_BYTES], expected[ETCP_KEY_BYTES];
    struct error_text error = {""};
    unsigned found = 0;

    key_of(key_text, expected);
    CHECK_INT(known_servers_find(path, address, key, &found, &error), 0);
    CHECK_MEM(key, expected, sizeof key);
    CHECK_INT(found, line);
}

static void check_unknown(const char *path, const char *address)
{
    uint8_t key[ETCP_KEY_BYTES];
    unsigned line;

    CHECK_INT(known_servers_find(path, address, key, &line, NULL), -ENOENT);
}

static void make(const char *path, const char *text, mode_t mode)
{
    CHECK_INT(file_write(path, text, strlen(text), mode, FILE_REPLACE), 0);
}

static void what_was_added_is_found(void)
{
    const char *path = scratch_path("state/known_servers");
    struct error_text error = {""};
    struct stat st;

    check_unknown(path, "a:1");
    CHECK_INT(add(path, "a:1", KEY_1, &error), 0);
    CHECK_INT(add(path, "[::1]:2", KEY_1, &error), 0);
    CHECK_INT(add(path, "unix:/run/a b", KEY_2, &error), 0);
    check_known(path, "a:1", KEY_1, 3);
    check_known(path, "[::1]:2", KEY_1, 4);
    check_known(path, "unix:/run/a b", KEY_2, 5);
    check_unknown(path, "a:11");
    check_unknown(path, "a");
    check_unknown(path, "A:1");
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    CHECK_INT(stat(scratch_path("state"), &st), 0);
    CHECK_INT(st.st_mode & 07777, 0700);
}

static void what_is_there_is_kept_as_it_is(void)
{
    const char *path = scratch_path("known");
    struct error_text error;
    char *text = NULL;
    size_t len;

    make(path, "# mine\n" KEY_1 "  a:1 ", 0600); /* no newline at the end */
    CHECK_INT(add(path, "a:1", KEY_1, &error), 0);
    CHECK_INT(add(path, "b:1", KEY_2, &error), 0);
    CHECK_INT(file_read(path, 1000, &text, &len), 0);
    CHECK_STR(text, "# mine\n" KEY_1 "  a:1 \n" KEY_2 " b:1\n");
    free(text);
}

static void known_key_is_never_overwritten(void)
{
    const char *path = scratch_path("known");
    struct error_text error;
    char expected[512];

    make(path, "\n" KEY_1 " a:1\n", 0600);
    CHECK_INT(add(path, "a:1", KEY_2, &error), -EEXIST);
    (void)snprintf(expected, sizeof expected, "%s:2: a:1 has another key already: it is never overwritten", path);
    CHECK_STR(error.text, expected);
    check_known(path, "a:1", KEY_1, 2);
}

/* A file that is damaged is not trusted for any address: its lines may have been lost or changed. */
static void damaged_files_are_errors(void)
{
    static const struct {
        const char *text;
        const char *message;
    } inputs[] = {
        {KEY_1 " a:1\n" MISTYPED " b:1\n",
         ":2: mistyped: the checksum of the public key (etcp-pub-) does not match: copy it again"},
        {KEY_1 " a:1\n" KEY_2 "\n", ":2: no address behind the key: expected etcp-pub-... ADDRESS"},
        {"a:1 " KEY_1 "\n", ":1: bad key: a key begins with etcp-pub-, etcp-sec- or etcp-net-: expected a public key "
                            "(etcp-pub-) of 57 characters"},
        {KEY_1 " a:1\n\n" KEY_2 " a:1\n", ":3: a:1 has a second key: expected one, see line 1"},
        {KEY_1 " a:1\n" KEY_1 " a:1\n", ":2: a:1 has a second key: expected one, see line 1"},
    };
    const char *path = scratch_path("known");

    for (size_t i = 0; i < CHECK_COUNT(inputs); i++) {
        uint8_t key[ETCP_KEY_BYTES] = {7};
        struct error_text error;
        char expected[512];
        unsigned line = 77;

        make(path, inputs[i].text, 0600);
        (void)snprintf(expected, sizeof expected, "%s%s", path, inputs[i].message);
        CHECK_INT(known_servers_find(path, "a:1", key, &line, &error), -EINVAL);
        CHECK_STR(error.text, expected);
        CHECK_INT(key[0], 7);
        CHECK_INT(line, 77);
        CHECK_INT(add(path, "a:1", KEY_1, &error), -EINVAL);
        CHECK_STR(error.text, expected);
    }
}

static void files_that_everybody_may_write_are_refused(void)
{
    const char *path = scratch_path("known");
    struct error_text error;
    uint8_t key[ETCP_KEY_BYTES];
    unsigned line;

    make(path, KEY_1 " a:1\n", 0602);
    CHECK_INT(known_servers_find(path, "a:1", key, &line, &error), -EPERM);
    CHECK_INT(add(path, "b:1", KEY_1, &error), -EPERM);
}

static void files_of_other_users_are_refused(void)
{
    const char *path = scratch_path("known");
    struct error_text error;
    uint8_t key[ETCP_KEY_BYTES];
    unsigned line;

    make(path, KEY_1 " a:1\n", 0644);
    if (chown(path, 12345, (gid_t)-1) < 0) {
        (void)printf("  skipped: only root can give a file away\n");
        return;
    }
    CHECK_INT(known_servers_find(path, "a:1", key, &line, &error), -EPERM);
    CHECK(strstr(error.text, "belongs to user 12345") != NULL);
    CHECK_INT(add(path, "b:1", KEY_1, &error), -EPERM);
}

/* Who can take the file away makes every server a new one. */
static void directories_that_others_may_write_are_refused(void)
{
    const char *path = scratch_path("state/known"), *directory = scratch_path("state");
    struct error_text error;
    uint8_t key[ETCP_KEY_BYTES];
    unsigned line;

    CHECK_INT(add(path, "a:1", KEY_1, &error), 0);
    CHECK_INT(chmod(directory, 0777), 0);
    CHECK_INT(known_servers_find(path, "a:1", key, &line, &error), -EPERM);
    CHECK(strstr(error.text, directory) == error.text);
    CHECK(strstr(error.text, "everybody may write it") != NULL);
    CHECK_INT(unlink(path), 0);
    CHECK_INT(known_servers_find(path, "a:1", key, &line, &error), -EPERM);
    CHECK_INT(add(path, "a:1", KEY_1, &error), -EPERM);
    CHECK_INT(access(path, F_OK), -1);
    CHECK_INT(chmod(directory, 01777), 0);
    CHECK_INT(add(path, "a:1", KEY_1, &error), 0);
    CHECK_INT(known_servers_find(path, "a:1", key, &line, &error), 0);
    if (chown(directory, 12345, (gid_t)-1) == 0)
        CHECK_INT(known_servers_find(path, "a:1", key, &line, &error), -EPERM);
}

static void addresses_that_would_break_the_line_are_refused(void)
{
    static const char *const addresses[] = {"", "a:1\n", "a\x01:1", " a:1", "a:1 ", "a\x7f:1"};
    const char *path = scratch_path("known");
    struct error_text error;

    for (size_t i = 0; i < CHECK_COUNT(addresses); i++)
        CHECK_INT(add(path, addresses[i], KEY_1, &error), -EINVAL);
    CHECK_INT(access(path, F_OK), -1);
}

static void lock_of_another_is_not_waited_for_long(void)
{
    const char *path = scratch_path("known");
    struct error_text error;
    int fd = open(scratch_path("known.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK_INT(flock(fd, LOCK_EX), 0);
    CHECK_INT(add(path, "a:1", KEY_1, &error), -EAGAIN);
    check_unknown(path, "a:1");
    CHECK_INT(close(fd), 0);
    CHECK_INT(add(path, "a:1", KEY_1, &error), 0);
}

static void nothing_is_lost_when_many_write_at_once(void)
{
    enum { PROCESSES = 6, ADDRESSES = 10 };
    const char *path = scratch_path("known");
    uint8_t key[ETCP_KEY_BYTES];
    unsigned line;

    (void)fflush(NULL);
    for (int p = 0; p < PROCESSES; p++) {
        pid_t child = fork();

        CHECK(child >= 0);
        if (child == 0) {
            for (int a = 0; a < ADDRESSES; a++) {
                struct error_text error;
                char address[32];
                int r;

                (void)snprintf(address, sizeof address, "h%d:%d", p, a + 1);
                do
                    r = add(path, address, KEY_1, &error);
                while (r == -EAGAIN);
                CHECK_INT(r, 0);
            }
            _exit(0);
        }
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;

        CHECK(wait(&status) > 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    for (int p = 0; p < PROCESSES; p++) {
        for (int a = 0; a < ADDRESSES; a++) {
            char address[32];

            (void)snprintf(address, sizeof address, "h%d:%d", p, a + 1);
            CHECK_INT(known_servers_find(path, address, key, &line, NULL), 0);
        }
    }
}

static const struct check_case cases[] = {
    CHECK_CASE(what_was_added_is_found),
    CHECK_CASE(what_is_there_is_kept_as_it_is),
    CHECK_CASE(known_key_is_never_overwritten),
    CHECK_CASE(damaged_files_are_errors),
    CHECK_CASE(files_that_everybody_may_write_are_refused),
    CHECK_CASE(files_of_other_users_are_refused),
    CHECK_CASE(directories_that_others_may_write_are_refused),
    CHECK_CASE(addresses_that_would_break_the_line_are_refused),
    CHECK_CASE(lock_of_another_is_not_waited_for_long),
    CHECK_CASE(nothing_is_lost_when_many_write_at_once),
};

int main(int argc, char **argv)
{
    CHECK_INT(etcp_init(), 0);
    return scratch_run(cases, CHECK_COUNT(cases), argc, argv);
}
