/* SPDX-License-Identifier: MIT
 *
 * Preloaded into a program: while the file that $FAILING_SEND names is there, the next send() to a Unix socket fails for want of
 * memory, once, and takes the file away. The kernel does so seldom, and not when asked. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include <sys/socket.h>

static bool is_due(int fd)
{
    const char *file = getenv("FAILING_SEND");
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);

    return file != NULL && getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.ss_family == AF_UNIX &&
           len > sizeof(peer.ss_family) && unlink(file) == 0;
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    ssize_t (*next)(int, const void *, size_t, int);

    *(void **)&next = dlsym(RTLD_NEXT, "send");
    if (is_due(fd)) {
        errno = ENOBUFS;
        return -1;
    }
    return next(fd, bytes, len, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t (*next)(int, const struct msghdr *, int);

    *(void **)&next = dlsym(RTLD_NEXT, "sendmsg");
    if (is_due(fd)) {
        errno = ENOBUFS;
        return -1;
    }
    return next(fd, message, flags);
}
