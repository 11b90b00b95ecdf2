/* SPDX-License-Identifier: MIT
 *
 * Pieces of memory into a socket. */
#ifndef NET_PIECES_H
#define NET_PIECES_H

#include <errno.h>

#include <sys/socket.h>
#include <sys/uio.h>

/* Writes them in one call: the one for a single piece, if it is one, takes the kernel less. `flags`: of send(2), besides
 * MSG_NOSIGNAL. Returns what was taken, or -1 with errno, which is not EINTR. */
static inline ssize_t pieces_send(int fd, struct iovec *pieces, int count, int flags)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    ssize_t n;

    do {
        n = count == 1 ? send(fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL | flags)
                       : sendmsg(fd, &message, MSG_NOSIGNAL | flags);
    } while (n < 0 && errno == EINTR);
    return n;
}

#endif
