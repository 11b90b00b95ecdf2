/* SPDX-License-Identifier: MIT */
#include "net/kept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sys/socket.h>

#include "net/link.h"

enum { FIRST_BYTES = 256 };

struct kept {
    size_t *total;
    uint8_t *bytes;
    size_t len, sent, size;
};

struct kept *kept_new(size_t *total)
{
    struct kept *kept = calloc(1, sizeof(*kept));

    if (kept != NULL) {
        kept->total = total;
    }
    return kept;
}

void kept_free(struct kept *kept)
{
    if (kept != NULL) {
        *kept->total -= kept->size;
        free(kept->bytes);
        free(kept);
    }
}

/* The size that holds `len` bytes more. */
static size_t size_with(const struct kept *kept, size_t len)
{
    size_t size = kept->size > 0 ? kept->size : FIRST_BYTES;

    while (size < kept->len + len) {
        size *= 2;
    }
    return size;
}

/* Whether `len` more bytes may be kept. */
static bool may_keep(const struct kept *kept, size_t len)
{
    return len > 0 && *kept->total - kept->size + size_with(kept, len) <= KEPT_TOTAL_MAX;
}

static bool keep(struct kept *kept, const uint8_t *bytes, size_t len)
{
    size_t size = size_with(kept, len);
    uint8_t *room = size == kept->size ? kept->bytes : realloc(kept->bytes, size);

    if (room == NULL) {
        return false;
    }
    *kept->total += size - kept->size;
    kept->bytes = room;
    kept->size = size;
    memcpy(kept->bytes + kept->len, bytes, len);
    kept->len += len;
    return true;
}

/* Whether the stream has got everything then. */
static bool send_rest(struct kept *kept, struct link *link, struct etcp_stream *stream)
{
    if (kept->sent < kept->len) {
        kept->sent += link_send(link, stream, kept->bytes + kept->sent, kept->len - kept->sent);
    }
    return kept->sent == kept->len;
}

ssize_t kept_send_from(struct kept *kept, struct link *link, struct etcp_stream *stream, int fd)
{
    uint8_t bytes[LINK_RECORD_DATA];
    size_t room = KEPT_MAX - kept->len;
    ssize_t n;

    room = room < sizeof(bytes) ? room : sizeof(bytes);
    if (!send_rest(kept, link, stream)) {
        return -ENOBUFS;
    }
    if (room == 0 && etcp_stream_writable(stream) == 0) {
        return -ENOBUFS; /* the window is full: what comes next is the other side's word */
    }
    if (!may_keep(kept, room)) {
        return -ENOSPC;
    }
    do {
        n = recv(fd, bytes, room, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
    if (n > 0 && !keep(kept, bytes, (size_t)n)) {
        return -ENOMEM;
    }
    (void)send_rest(kept, link, stream); /* what is left then goes before anything else is read */
    return n;
}

void kept_rewind(struct kept *kept)
{
    kept->sent = 0;
}

bool kept_has_sent(const struct kept *kept)
{
    return kept->sent > 0;
}

bool kept_is_sent(const struct kept *kept)
{
    return kept->sent == kept->len;
}
