/* SPDX-License-Identifier: MIT
 *
 * The journal's MESSAGE_ID of lines that ask for somebody's attention. systemd/etcp.catalog explains each; a test holds both
 * together. An id, once here, keeps its meaning for ever. */
#ifndef ETCP_BASE_MESSAGE_ID_H
#define ETCP_BASE_MESSAGE_ID_H

#define MESSAGE_KEY_MADE           "a350688f39e84abf9769702d5a4a671d"
#define MESSAGE_AGENT_REFUSED      "0cb9898674c346ebbe5a688f6368bdc0"
#define MESSAGE_SOCKETS_DIFFER     "1639571a650143358d12137e306934e1"
#define MESSAGE_RELOAD_REFUSED     "f524db6c198e4aa9aab67a3535fc3817"
#define MESSAGE_ACCEPT_PAUSED      "fd063affcaea41009eabce821c219ffa"
#define MESSAGE_SERVER_TRUSTED     "e9a060243301456097a50ef9d613955b"
#define MESSAGE_SERVER_KEY_CHANGED "a5c9c1124380462eb9bcdf2e28cba5e7"
#define MESSAGE_NOT_AUTHORIZED     "14f544072d5b463d909a7df09ac93d15"

/* The field of an entry: `{LOG_ID(MESSAGE_KEY_MADE)}` in a list of struct log_field. */
#define LOG_ID(id) "MESSAGE_ID", id

#endif
