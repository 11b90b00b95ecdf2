/* SPDX-License-Identifier: MIT */
#include "net/outgoing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <etcp/etcp.h>

#include "net/link_state.h"
#include "net/loop.h"
#include "net/parcels.h"
#include "net/pieces.h"

/* How long output may wait without a byte being taken. */
#define STALL_US 60000000u

/* A socket that takes nothing for so long has a slow path behind it, or somebody who does not read; how long that is remembered. */
#define SLOW_US            30000u
#define SLOW_MEMORY_US     1000000u
#define SLOW_MEMORY_MAX_US 32000000u

/* What the kernel of a slow path holds beyond what is under way, at the least and for each record that the path takes in SLOW_US: all
 * of it is in front of whoever speaks next. */
enum { SLOW_UNSENT_BYTES = 16 * 1024, SLOW_UNSENT_RECORD_BYTES = 4 * 1024 };

/* What the kernel may take beyond that limit: it looks at it for each buffer of its own, which is as large as this. */
enum { SLOW_HELD_BYTES = 64 * 1024 };

/* How many round trips should be in SLOW_US, or what comes through in it says little. */
enum { SLOW_ROUND_TRIPS = 4 };

/* Copying a record of this size costs less than the system call that would be needed instead. */
enum { COPY_MAX = 32 * 1024 };

/* Has the kernel take so much ahead; 0: as much as it likes. A Unix socket has no path, and refuses. */
static void limit_unsent(struct link *link, unsigned bytes)
{
    if (link->unsent_limit != bytes) {
        link->unsent_limit = bytes;
        (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
    }
}

/* Enough for a few milliseconds, in which this loop may be elsewhere. */
static unsigned unsent_of(const struct link *link)
{
    const unsigned bytes = (unsigned)link->pace * SLOW_UNSENT_RECORD_BYTES;

    return bytes > SLOW_UNSENT_BYTES ? bytes : SLOW_UNSENT_BYTES;
}

static void quicken(struct link *link)
{
    if (link->pace < LINK_RECORDS_MAX) {
        link->pace = link->pace < LINK_RECORDS_MAX / 2 ? (uint8_t)(2 * link->pace) : LINK_RECORDS_MAX;
        limit_unsent(link, link->unsent_limit > 0 ? unsent_of(link) : 0);
    }
}

/* Whether the socket is known to take more than it was thought to, and not only to hold it: in several round trips, since a window comes
 * through a long path at once, and then nothing for a while. */
static void count_taken(struct link *link, size_t n)
{
    const uint64_t now = loop_now_us();

    if (now - link->taking_since_us >= SLOW_US) {
        link->taking_since_us = now;
        link->taken = 0;
    }
    link->taken += n;
    if (link->pace < LINK_RECORDS_MAX &&
        link->taken >= unsent_of(link) + SLOW_HELD_BYTES + 2 * (size_t)link->pace * LINK_RECORD_DATA) {
        link->taken = 0;
        if (link_kernel_round_trip_us(link) < SLOW_US / SLOW_ROUND_TRIPS) {
            quicken(link);
        }
    }
}

static void count_sent(struct link *link, ssize_t n)
{
    link->end.sent_bytes += (uint64_t)n;
    link->loop->sent_bytes += (uint64_t)n;
}

static void clear_batch(struct loop *loop)
{
    loop->batch.owner = NULL;
    loop->batch.count = 0;
    loop->batch.out_used = 0;
}

/* The batch is nobody's: it becomes the link's, and begins with what waits in its parcel. */
static void take_batch(struct link *link)
{
    struct loop_batch *batch = &link->loop->batch;

    batch->owner = link;
    if (link->parcel != NULL) {
        batch->pieces[batch->count++] = (struct iovec){.iov_base = link->parcel->data, .iov_len = link->parcel->len};
    }
}

static void free_parcel(struct link *link)
{
    if (link->parcel != NULL) {
        parcels_give_back(link->loop->parcels, link->parcel);
        link->parcel = NULL;
    }
}

void outgoing_drop(struct link *link)
{
    free(link->backlog);
    link->backlog = NULL;
    if (link->loop->batch.owner == link) {
        clear_batch(link->loop);
    }
    free_parcel(link);
}

/* ---- Writing --------------------------------------------------------------------------------------------------------- */

static bool may_try_again(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == ENOMEM;
}

/* Copies what is left of the batch from piece `first`, byte `off`. */
static int keep_backlog(struct link *link, int first, size_t off)
{
    const struct loop_batch *batch = &link->loop->batch;
    struct bytes *backlog = NULL;
    size_t len = 0;

    for (int i = first; i < batch->count; i++) {
        len += batch->pieces[i].iov_len;
    }
    len -= off;
    backlog = malloc(sizeof(*backlog) + len);
    if (backlog == NULL) {
        return -ENOMEM;
    }
    backlog->off = 0;
    backlog->len = 0;
    for (int i = first; i < batch->count; i++) {
        size_t piece = batch->pieces[i].iov_len - off;

        memcpy(backlog->data + backlog->len, (const uint8_t *)batch->pieces[i].iov_base + off, piece);
        backlog->len += piece;
        off = 0;
    }
    link->backlog = backlog;
    link->deadline_us = loop_now_us() + (link->state == LINK_OPEN ? STALL_US : LINK_FLUSH_US);
    return 0;
}

/* With little unsent the socket takes more in no time, which makes a slow path look fast. So it is forgotten to find out, and
 * remembered twice as long when it turns out slow once more. */
static void remember_slow(struct link *link)
{
    const uint64_t now = loop_now_us();

    if (now >= link->slow_until_us) {
        bool again = now - link->slow_until_us < link->slow_memory_us;
        uint64_t longer = 2 * link->slow_memory_us;

        link->pace = 1;
        link->slow_memory_us = !again ? SLOW_MEMORY_US : longer < SLOW_MEMORY_MAX_US ? longer : SLOW_MEMORY_MAX_US;
    }
    link->slow_until_us = now + link->slow_memory_us;
    limit_unsent(link, etcp_conn_streams(link->conn) > 1 ? unsent_of(link) : 0);
}

/* The batch, which is the link's. */
static void write_batch(struct link *link)
{
    struct loop_batch *batch = &link->loop->batch;
    ssize_t n = 0;
    int first = 0;

    if (link->unsent_limit > 0 && loop_now_us() >= link->slow_until_us) {
        limit_unsent(link, 0);
    }

    if (batch->count > 0) {
        etcp_pool_rest(link->loop->pool); /* the peer may see an end of the work in what it gets */
        /* Last words go in one segment with the FIN: the peer wakes up once. */
        n = pieces_send(link->fd, batch->pieces, batch->count, etcp_conn_closing(link->conn) ? MSG_MORE : 0);
        if (n < 0 && !may_try_again(errno)) {
            link_fail(link, errno);
            return;
        }
        n = n < 0 ? 0 : n;
        count_sent(link, n);
        if (link->slow_until_us > 0) {
            count_taken(link, (size_t)n);
        }
        while (first < batch->count && (size_t)n >= batch->pieces[first].iov_len) {
            n -= (ssize_t)batch->pieces[first].iov_len;
            first++;
        }
        if (first < batch->count && keep_backlog(link, first, (size_t)n) != 0) {
            link_fail(link, ENOMEM);
            return;
        }
    }
    clear_batch(link->loop);
    free_parcel(link);
    link->foreign = false;
}

void outgoing_write(struct link *link)
{
    struct loop_batch *batch = &link->loop->batch;

    if (batch->owner != link) {
        if (link->parcel == NULL) {
            return;
        }
        if (batch->owner != NULL) {
            write_batch(batch->owner);
        }
        take_batch(link);
    }
    write_batch(link);
}

/* Some of the backlog was taken: soon, or after a while. */
static void pace(struct link *link)
{
    if (loop_now_us() + STALL_US >= link->deadline_us + SLOW_US) {
        link->pace = link->pace > 1 ? link->pace / 2 : 1;
        remember_slow(link);
    } else if (link->backlog->off == link->backlog->len) {
        quicken(link);
    }
}

void outgoing_write_backlog(struct link *link)
{
    struct bytes *backlog = link->backlog;
    ssize_t n;

    do {
        n = send(link->fd, backlog->data + backlog->off, backlog->len - backlog->off, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (!may_try_again(errno)) {
            link_fail(link, errno);
        }
        return;
    }
    count_sent(link, n);
    backlog->off += (size_t)n;
    if (link->state == LINK_OPEN) {
        pace(link);
    }
    if (backlog->off == backlog->len) {
        free(backlog);
        link->backlog = NULL;
    }
    if (link->state == LINK_OPEN) {
        link->deadline_us = link->backlog != NULL ? loop_now_us() + STALL_US : UINT64_MAX;
    }
}

/* ---- Parcels --------------------------------------------------------------------------------------------------------- */

/* Whether all of the batch finds room in a parcel. */
static bool is_small(const struct loop_batch *batch)
{
    size_t sum = 0;

    for (int i = 0; i < batch->count && sum <= PARCEL_BYTES; i++) {
        sum += batch->pieces[i].iov_len;
    }
    return sum <= PARCEL_BYTES;
}

static void deliver(void *owner)
{
    struct link *link = owner;

    outgoing_write(link);
    link_settle(link);
}

/* Moves the batch to the parcel. Returns false when it has to be written now. */
static bool defer(struct link *link)
{
    struct loop_batch *batch = &link->loop->batch;
    const bool had_parcel = link->parcel != NULL;

    if (batch->owner != link || link->state != LINK_OPEN || link->foreign || etcp_conn_closing(link->conn) ||
        etcp_conn_streams(link->conn) < 2 || !is_small(batch)) {
        return false;
    }
    if (!had_parcel && batch->count > 0) {
        link->parcel = parcels_take(link->loop->parcels, deliver, link);
        if (link->parcel == NULL) {
            return false;
        }
    }
    for (int i = had_parcel ? 1 : 0; i < batch->count; i++) {
        memcpy(link->parcel->data + link->parcel->len, batch->pieces[i].iov_base, batch->pieces[i].iov_len);
        link->parcel->len += batch->pieces[i].iov_len;
    }
    clear_batch(link->loop);
    return true;
}

void outgoing_finish(struct link *link)
{
    if (link->loop->batch.owner == link && !defer(link)) {
        write_batch(link);
    }
}

/* ---- Sealed records -------------------------------------------------------------------------------------------------- */

bool outgoing_reserve(struct link *link, size_t room)
{
    struct loop_batch *batch = &link->loop->batch;

    if (batch->owner != NULL && batch->owner != link) {
        write_batch(batch->owner);
    } else if (batch->count == LOOP_PIECES_MAX || LOOP_BUFFER_BYTES - batch->out_used < room) {
        outgoing_write(link);
    }
    if (link->backlog != NULL || link->state >= LINK_LINGERING) {
        return false;
    }
    if (batch->owner == NULL) {
        take_batch(link);
    }
    return true;
}

void outgoing_append(struct link *link, uint8_t *data, size_t len)
{
    struct loop_batch *batch = &link->loop->batch;
    struct iovec *last = batch->count > 0 ? &batch->pieces[batch->count - 1] : NULL;

    if (len == 0) {
        return;
    }
    if (data == link->loop->out + batch->out_used) {
        batch->out_used += len;
    }
    if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == data) {
        last->iov_len += len;
    } else {
        batch->pieces[batch->count++] = (struct iovec){.iov_base = data, .iov_len = len};
    }
}

void outgoing_append_in_place(struct link *link, uint8_t *record, size_t len)
{
    struct loop *loop = link->loop;

    if (record >= loop->in && record < loop->in + LOOP_BUFFER_BYTES) {
        outgoing_append(link, record, len);
        return;
    }
    /* It came in two reads, so it lies in the connection, which will reuse the place. */
    if (len <= COPY_MAX && len <= LOOP_BUFFER_BYTES - loop->batch.out_used) {
        memcpy(loop->out + loop->batch.out_used, record, len);
        outgoing_append(link, loop->out + loop->batch.out_used, len);
    } else {
        outgoing_append(link, record, len);
        link->foreign = true;
    }
}
