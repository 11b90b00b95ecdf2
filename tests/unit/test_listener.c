/* SPDX-License-Identifier: MIT
 *
 * Unix sockets whose files are there already: leftovers, others' sockets, and those of somebody who is just as fast. */
#include <errno.h>
#include <fcntl.h>

#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "net/listener.h"
#include "scratch.h"

static struct address place(void)
{
    struct address address;

    CHECK_INT(address_from_path(scratch_path("s"), &address), 0);
    return address;
}

static int bound_socket(const struct address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    CHECK_INT(bind(fd, &address->any, address->len), 0);
    return fd;
}

static void leave_socket(const struct address *address)
{
    CHECK_INT(close(bound_socket(address)), 0);
}

static bool somebody_listens(const struct address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connects = fd >= 0 && connect(fd, &address->any, address->len) == 0;

    (void)close(fd);
    return connects;
}

static bool exists(const char *name)
{
    return access(scratch_path(name), F_OK) == 0;
}

/* Opens and expects `result`; returns the listener, NULL if there is none. */
static struct listener *attempt(const struct address *address, int result)
{
    struct listener *listener = NULL;
    struct error_text error;

    CHECK_INT(listener_open(address, 0600, &listener, &error), result);
    CHECK((listener != NULL) == (result == 0));
    return listener;
}

static void listener_replaces_a_leftover(void)
{
    struct address address = place();
    struct listener *listener = NULL;

    leave_socket(&address);
    CHECK(!somebody_listens(&address));
    listener = attempt(&address, 0);
    CHECK(somebody_listens(&address));
    CHECK(!exists("s.lock"));
    listener_close(listener);
    CHECK(!exists("s"));
}

static void listener_leaves_others_alone(void)
{
    struct address address = place();
    struct listener *listener = attempt(&address, 0);

    (void)attempt(&address, -EADDRINUSE);
    CHECK(somebody_listens(&address));
    CHECK(!exists("s.lock"));
    listener_close(listener);
}

static void listener_removes_no_file(void)
{
    struct address address = place();
    int fd = open(scratch_path("s"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    (void)close(fd);
    (void)attempt(&address, -EADDRINUSE);
    CHECK(exists("s"));
    CHECK(!exists("s.lock"));
}

/* What looks like a leftover is the socket of somebody who has bound it, and will listen in a moment. */
static void listener_waits_for_nobody_who_is_about_to_listen(void)
{
    struct address address = place();
    int lock = open(scratch_path("s.lock"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    int fd = bound_socket(&address);

    CHECK(lock >= 0);
    CHECK_INT(flock(lock, LOCK_EX), 0);
    (void)attempt(&address, -EADDRINUSE);
    CHECK_INT(listen(fd, 1), 0);
    CHECK(somebody_listens(&address));
    CHECK(exists("s.lock")); /* it is theirs to remove */
    (void)close(lock);
    (void)close(fd);
}

/* Of somebody who was killed. */
static void listener_takes_over_a_lock_that_nobody_holds(void)
{
    struct address address = place();
    int lock = open(scratch_path("s.lock"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);

    CHECK(lock >= 0);
    (void)close(lock);
    listener_close(attempt(&address, 0));
    CHECK(!exists("s.lock"));
}

static void listener_follows_no_link_to_its_lock(void)
{
    struct address address = place();

    CHECK_INT(symlink(scratch_path("elsewhere"), scratch_path("s.lock")), 0);
    (void)attempt(&address, -ELOOP);
    CHECK(!exists("elsewhere"));
}

/* One of a crowd. Says in one byte whether it listens, and then does so until the parent is done. */
static void compete(const struct address *address, int start, int done, int result)
{
    struct listener *listener = NULL;
    struct error_text error;
    char byte = 0;

    (void)!read(start, &byte, 1); /* until the parent closes the other end */
    byte = listener_open(address, 0600, &listener, &error) == 0 ? 'y' : 'n';
    if (write(result, &byte, 1) == 1) {
        (void)!read(done, &byte, 1);
    }
    _exit(0); /* the socket's file stays, as after a crash: the next round's leftover */
}

static void listener_is_one_of_those_that_start_at_once(void)
{
    enum { ROUNDS = 20, CROWD = 6 };
    struct address address = place();

    for (int round = 0; round < ROUNDS; round++) {
        int start[2], done[2], result[2], winners = 0;

        CHECK(pipe(start) == 0 && pipe(done) == 0 && pipe(result) == 0);
        for (int i = 0; i < CROWD; i++) {
            pid_t child = fork();

            CHECK(child >= 0);
            if (child == 0) {
                (void)close(start[1]);
                (void)close(done[1]);
                compete(&address, start[0], done[0], result[1]);
            }
        }
        (void)close(start[1]);
        for (int i = 0; i < CROWD; i++) {
            char byte = 0;

            CHECK_INT(read(result[0], &byte, 1), 1);
            winners += byte == 'y';
        }
        CHECK_INT(winners, 1);
        CHECK(somebody_listens(&address));
        CHECK(!exists("s.lock"));
        (void)close(done[1]);
        while (wait(NULL) > 0) {
        }
        (void)close(start[0]);
        (void)close(done[0]);
        (void)close(result[0]);
        (void)close(result[1]);
    }
}

static const struct check_case cases[] = {
    CHECK_CASE(listener_replaces_a_leftover),
    CHECK_CASE(listener_leaves_others_alone),
    CHECK_CASE(listener_removes_no_file),
    CHECK_CASE(listener_waits_for_nobody_who_is_about_to_listen),
    CHECK_CASE(listener_takes_over_a_lock_that_nobody_holds),
    CHECK_CASE(listener_follows_no_link_to_its_lock),
    CHECK_CASE(listener_is_one_of_those_that_start_at_once),
};

int main(int argc, char **argv)
{
    return scratch_run(cases, CHECK_COUNT(cases), argc, argv);
}
