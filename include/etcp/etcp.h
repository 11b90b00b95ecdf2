/* SPDX-License-Identifier: MIT
 *
 * libetcp: the etcp protocol without input or output. This header includes all the others.
 *
 * The library opens no socket, reads no file and no clock, starts no thread, and calls nobody back.
 * Bytes from the peer go in (etcp_conn_feed), bytes for the peer come out (etcp_conn_drain, etcp_stream_send),
 * events are collected by the caller (etcp_conn_next), and the time is an argument.
 *
 * "Section N" in these headers is a section of the wire protocol, docs/protocols/handshake.md. */
#ifndef ETCP_ETCP_H
#define ETCP_ETCP_H

#include <etcp/base.h>
#include <etcp/conn.h>
#include <etcp/key.h>

#endif
