/* SPDX-License-Identifier: MIT
 *
 * What the owner of a connection does with its streams and messages: opening, sending, giving credit, ending. */
#include <string.h>

#include "core/conn.h"
#include "core/frame.h"

enum {
    /* Whole records of 16 KiB: smaller ones cost the AEAD's start, larger ones the cache and the wait. */
    RECORD_DATA_DEFAULT = 16 * 1024 - RECORD_OVERHEAD_BYTES - FRAME_HEAD_BYTES,
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- Streams --------------------------------------------------------------------------------------------------------- */

bool etcp_service_name_valid(const char *name)
{
    return frame_service_valid((const uint8_t *)name, strnlen(name, ETCP_SERVICE_MAX + 1));
}

int etcp_stream_open(struct etcp_conn *conn, const char *service, const struct etcp_origin *origin,
                     struct etcp_stream **ret_stream)
{
    if (!etcp_service_name_valid(service))
        return ETCP_EINVAL;
    if (origin && origin->family != 0 && origin->family != 4 && origin->family != 6)
        return ETCP_EINVAL;
    uint32_t id = stream_next_own(&conn->streams);
    if (conn->state != CONN_OPEN || conn->is_classic || conn->draining || conn->peer_draining || id == 0)
        return ETCP_ECLOSED;
    struct etcp_stream *stream = stream_new(&conn->streams, conn, id, false);
    if (!stream)
        return ETCP_ENOMEM;
    struct frame frame = {
        .id = FRAME_STREAM_OPEN, .stream = id, .data = (const uint8_t *)service, .len = strlen(service)};
    if (origin)
        frame.origin = *origin;
    conn_send_frame(conn, &frame);
    if (conn->state == CONN_CLOSING) { /* there was no memory for the frame */
        stream_free(&conn->streams, stream);
        return ETCP_ENOMEM;
    }
    *ret_stream = stream;
    return 0;
}

void etcp_stream_set_user(struct etcp_stream *stream, void *user)
{
    stream->user = user;
}

void *etcp_stream_user(const struct etcp_stream *stream)
{
    return stream->user;
}

uint32_t etcp_stream_id(const struct etcp_stream *stream)
{
    return stream->id;
}

size_t etcp_stream_writable(const struct etcp_stream *stream)
{
    uint64_t credit = stream_credit(stream);
    return credit < SIZE_MAX ? (size_t)credit : SIZE_MAX;
}

bool etcp_stream_ended(const struct etcp_stream *stream)
{
    return stream->ended;
}

static void seal_data(struct etcp_stream *stream, uint8_t *record, size_t len)
{
    struct etcp_conn *conn = stream->conn;
    frame_encode_head(FRAME_STREAM_DATA, stream->id, record + RECORD_HEAD_BYTES);
    record_seal(&conn->sending, conn->pool->cache, record, FRAME_HEAD_BYTES + len);
    stream->sent += len;
}

int etcp_stream_seal(struct etcp_stream *stream, uint8_t *record, size_t len)
{
    if (stream->ended || stream->local_closed)
        return ETCP_ECLOSED;
    if (len < 1 || len > ETCP_DATA_MAX)
        return ETCP_EINVAL;
    if (etcp_conn_pending(stream->conn) > 0 || stream_credit(stream) < len)
        return ETCP_EAGAIN;
    seal_data(stream, record, len);
    return 0;
}

int etcp_stream_send(struct etcp_stream *stream, const uint8_t *data, size_t len, size_t record, uint8_t *out,
                     size_t size, size_t *ret_used, size_t *ret_len)
{
    *ret_used = *ret_len = 0;
    if (stream->ended || stream->local_closed)
        return ETCP_ECLOSED;
    struct etcp_conn *conn = stream->conn;
    size_t produced = etcp_conn_drain(conn, out, size), used = 0;
    if (record == 0)
        record = RECORD_DATA_DEFAULT;
    else if (record > ETCP_DATA_MAX)
        record = ETCP_DATA_MAX;
    while (etcp_conn_pending(conn) == 0 && size - produced > ETCP_DATA_HEAD + ETCP_TAG) {
        size_t room = size - produced - ETCP_DATA_HEAD - ETCP_TAG;
        size_t chunk = smaller(smaller(record, len - used), smaller(room, etcp_stream_writable(stream)));
        if (chunk == 0)
            break;
        memcpy(out + produced + ETCP_DATA_HEAD, data + used, chunk);
        seal_data(stream, out + produced, chunk);
        produced += ETCP_DATA_HEAD + chunk + ETCP_TAG;
        used += chunk;
    }
    *ret_used = used;
    *ret_len = produced;
    return 0;
}

void etcp_stream_consume(struct etcp_stream *stream, size_t len)
{
    if (stream_consume(stream, len) && stream->conn->state == CONN_OPEN)
        conn_send_frame(stream->conn, &(struct frame){.id = FRAME_STREAM_CREDIT,
                                                      .stream = stream->id,
                                                      .consumed = stream->consumed,
                                                      .limit = stream->receive_limit});
}

void etcp_stream_set_window(struct etcp_stream *stream, size_t window)
{
    window = window < ETCP_WINDOW ? ETCP_WINDOW : window;
    stream->window = window < ETCP_WINDOW_MAX ? (uint32_t)window : ETCP_WINDOW_MAX;
}

void etcp_stream_close(struct etcp_stream *stream)
{
    if (stream->ended || stream->local_closed)
        return;
    conn_send_frame(stream->conn, &(struct frame){.id = FRAME_STREAM_CLOSE, .stream = stream->id});
    stream_close_local(stream);
}

void etcp_stream_fail(struct etcp_stream *stream, enum etcp_code code, const char *reason)
{
    struct etcp_conn *conn = stream->conn;
    if (!stream->ended)
        conn_send_code(conn, FRAME_STREAM_ERROR, stream->id, code, reason);
    stream_free(&conn->streams, stream);
    /* The last one of a connection that shuts down: its second Goodbye (section 4). */
    if (conn->draining && conn->streams.count == 0)
        etcp_conn_goodbye(conn, ETCP_CODE_OK, NULL);
}

void etcp_stream_free(struct etcp_stream *stream)
{
    if (stream)
        etcp_stream_fail(stream, ETCP_CODE_RESET, NULL);
}

/* ---- Classic messages ------------------------------------------------------------------------------------------------ */

int etcp_message_seal(struct etcp_conn *conn, uint8_t *record, size_t len)
{
    if (conn->state != CONN_OPEN || !conn->is_classic)
        return ETCP_ECLOSED;
    if (len < 1 || len > ETCP_MESSAGE_MAX)
        return ETCP_EINVAL;
    if (etcp_conn_pending(conn) > 0)
        return ETCP_EAGAIN;
    record_seal(&conn->sending, conn->pool->cache, record, len);
    return 0;
}

int etcp_message_send(struct etcp_conn *conn, const uint8_t *data, size_t len, uint8_t *out, size_t size,
                      size_t *ret_len)
{
    *ret_len = 0;
    if (conn->state != CONN_OPEN || !conn->is_classic)
        return ETCP_ECLOSED;
    if (len < 1 || len > ETCP_MESSAGE_MAX)
        return ETCP_EINVAL;
    size_t produced = etcp_conn_drain(conn, out, size);
    *ret_len = produced;
    if (etcp_conn_pending(conn) > 0 || size - produced < RECORD_OVERHEAD_BYTES + len)
        return ETCP_EAGAIN;
    memcpy(out + produced + RECORD_HEAD_BYTES, data, len);
    record_seal(&conn->sending, conn->pool->cache, out + produced, len);
    *ret_len = produced + RECORD_OVERHEAD_BYTES + len;
    return 0;
}
