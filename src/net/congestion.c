/* SPDX-License-Identifier: MIT */
#include "net/congestion.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/file.h"

enum { LIST_BYTES = 512 };

int congestion_set(int fd, const char *name)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0 ? 0 : -errno;
}

void congestion_get(int fd, char ret_name[static CONGESTION_NAME_BYTES])
{
    socklen_t len = CONGESTION_NAME_BYTES - 1;

    memset(ret_name, 0, CONGESTION_NAME_BYTES);
    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, ret_name, &len) != 0) {
        ret_name[0] = '\0';
    }
}

/* "expected one of: ...", or how to find out: a daemon in a sandbox does not see /proc/sys. */
static void name_expected(const char *sysctl, char *ret_text, size_t size)
{
    char path[64];
    char *list = NULL;
    size_t len = 0;

    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", sysctl);
    if (file_read(path, LIST_BYTES, &list, &len) == 0) {
        (void)snprintf(ret_text, size, "expected one of: %.*s", (int)strcspn(list, "\n"), list);
    } else {
        (void)snprintf(ret_text, size, "expected one that sysctl net.ipv4.%s names", sysctl);
    }
    free(list);
}

int congestion_check(const char *name, struct error_text *ret_error)
{
    char expected[LIST_BYTES + 64];
    int fd = -1;
    int r = 0;

    if (name[0] == '\0') {
        return 0;
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    r = fd >= 0 ? congestion_set(fd, name) : -errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    switch (r) {
    case 0:
        return 0;
    case -ENOENT:
        name_expected("tcp_available_congestion_control", expected, sizeof(expected));
        return error_set(ret_error, r, "the kernel has no congestion control \"%s\": %s", name, expected);
    case -EPERM:
        name_expected("tcp_allowed_congestion_control", expected, sizeof(expected));
        return error_set(ret_error, r, "congestion control \"%s\" is for root only: %s", name, expected);
    default:
        return error_set(ret_error, r, "congestion control \"%s\": %s", name, strerror(-r));
    }
}
