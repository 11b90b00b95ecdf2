/* SPDX-License-Identifier: MIT */
#include "net/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <event2/event.h>

#include "net/loop.h"

struct output {
    int fd;     /* the caller's */
    int own_fd; /* the same pipe or terminal, opened anew: its flags are ours alone; -1: there is none */
    int flags;  /* of `fd`, to be put back; -1: they were left alone */
    bool is_socket;
    struct event *event; /* NULL: always ready */
    char *text;          /* what waits, from `off` to `len`; NULL: nothing */
    size_t off, len;
    void (*done)(int result, void *user);
    void *user;
};

bool output_can_watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    bool can = false;

    if (epoll >= 0) {
        can = epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
        (void)close(epoll);
    }
    return can;
}

static void drop_text(struct output *output)
{
    free(output->text);
    output->text = NULL;
    output->off = output->len = 0;
}

/* Writes what goes. Returns 0 when all of it went, -EAGAIN, or -errno. */
static int write_some(struct output *output)
{
    const int fd = output->own_fd >= 0 ? output->own_fd : output->fd;

    while (output->off < output->len) {
        const char *at = output->text + output->off;
        const size_t left = output->len - output->off;
        const ssize_t n = output->is_socket ? send(fd, at, left, MSG_DONTWAIT | MSG_NOSIGNAL) : write(fd, at, left);

        if (n >= 0) {
            output->off += (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return -EAGAIN;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct output *output = arg;
    int r = write_some(output);

    (void)fd;
    (void)what;
    if (r == -EAGAIN && event_add(output->event, NULL) == 0) {
        return;
    }
    drop_text(output);
    output->done(r == -EAGAIN ? -ENOMEM : r, output->user);
}

/* Whether opening a descriptor's file anew leads to the same pipe or terminal, and does nothing else: at the master of a
 * pseudoterminal it would make another one. */
static bool can_open_anew(int fd)
{
    struct stat stat;
    int number = 0;

    return fstat(fd, &stat) == 0 && (S_ISFIFO(stat.st_mode) || (isatty(fd) && ioctl(fd, TIOCGPTN, &number) < 0));
}

/* Makes writing return when there is no room. */
static int stop_blocking(struct output *output)
{
    int type = 0;
    socklen_t len = sizeof(type);
    char path[32];

    output->is_socket = getsockopt(output->fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
    if (output->is_socket) {
        return 0;
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", output->fd);
    if (can_open_anew(output->fd)) {
        output->own_fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
    if (output->own_fd >= 0) {
        return 0;
    }
    /* A pipe of another user's, no /proc, or something else. */
    output->flags = fcntl(output->fd, F_GETFL);
    if (output->flags < 0 || fcntl(output->fd, F_SETFL, output->flags | O_NONBLOCK) < 0) {
        return -errno;
    }
    return 0;
}

int output_new(struct loop *loop, int fd, void (*done)(int result, void *user), void *user, struct output **ret_output)
{
    struct output *output = calloc(1, sizeof(*output));
    int r = 0;

    if (output == NULL) {
        return -ENOMEM;
    }
    output->fd = fd;
    output->own_fd = output->flags = -1;
    output->done = done;
    output->user = user;
    if (output_can_watch(fd)) {
        r = stop_blocking(output);
        if (r == 0) {
            output->event =
                event_new(loop->base, output->own_fd >= 0 ? output->own_fd : fd, EV_WRITE, on_ready, output);
            r = output->event != NULL ? 0 : -ENOMEM;
        }
    }
    if (r < 0) {
        output_free(output);
        return r;
    }
    *ret_output = output;
    return 0;
}

int output_write(struct output *output, char *text, size_t len)
{
    int r = 0;

    output->text = text;
    output->off = 0;
    output->len = len;
    r = write_some(output);
    if (r == -EAGAIN && output->event == NULL) {
        r = -EIO; /* it has the flag, and the kernel does not tell when it is ready */
    } else if (r == -EAGAIN && event_add(output->event, NULL) < 0) {
        r = -ENOMEM;
    }
    if (r != -EAGAIN) {
        drop_text(output);
    }
    return r;
}

bool output_waits(const struct output *output)
{
    return output->text != NULL;
}

void output_free(struct output *output)
{
    if (output == NULL) {
        return;
    }
    if (output->event != NULL) {
        event_free(output->event);
    }
    if (output->own_fd >= 0) {
        (void)close(output->own_fd);
    }
    if (output->flags >= 0) {
        (void)fcntl(output->fd, F_SETFL, output->flags);
    }
    drop_text(output);
    free(output);
}
