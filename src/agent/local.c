/* SPDX-License-Identifier: MIT */
#include "agent/local.h"

#include <stdio.h>
#include <string.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include "agent/pool.h"
#include "agent/port.h"
#include "net/address.h"
#include "net/loop.h"

/* ---- Lists ----------------------------------------------------------------------------------------------------------- */

void local_list_init(struct local_list *list)
{
    TAILQ_INIT(&list->queue);
    list->count = 0;
}

void local_append(struct local_list *list, struct local *local)
{
    TAILQ_INSERT_TAIL(&list->queue, local, place);
    list->count++;
}

void local_prepend(struct local_list *list, struct local *local)
{
    TAILQ_INSERT_HEAD(&list->queue, local, place);
    list->count++;
}

void local_remove(struct local_list *list, struct local *local)
{
    TAILQ_REMOVE(&list->queue, local, place);
    list->count--;
}

void local_board(struct local *local, struct carrier *carrier)
{
    void **first = carrier_user(carrier);

    local->beside = *first;
    local->before = NULL;
    if (local->beside != NULL) {
        local->beside->before = local;
    }
    *first = local;
    local->carrier = carrier;
}

void local_alight(struct local *local)
{
    if (local->before != NULL) {
        local->before->beside = local->beside;
    } else {
        *carrier_user(local->carrier) = local->beside;
    }
    if (local->beside != NULL) {
        local->beside->before = local->before;
    }
    local->carrier = NULL;
}

/* ---- Who it is ------------------------------------------------------------------------------------------------------- */

void local_identify(struct local *local, const struct address *from)
{
    char text[ADDRESS_TEXT_BYTES];

    switch (from->any.sa_family) {
    case AF_INET:
        local->origin.family = 4;
        local->origin.port = ntohs(from->in.sin_port);
        memcpy(local->origin.address, &from->in.sin_addr, 4);
        break;
    case AF_INET6:
        local->origin.family = 6;
        local->origin.port = ntohs(from->in6.sin6_port);
        memcpy(local->origin.address, &from->in6.sin6_addr, 16);
        break;
    default:
        local->peer = address_peer(local->fd, text, NULL, NULL) == 0 ? strdup(text)
                                                                     : NULL; /* gone already, as its first read tells */
        break;
    }
}

static void format_peer(const struct local *local, char ret_text[static ADDRESS_TEXT_BYTES])
{
    struct address address = {0};

    if (local->origin.family == 0) {
        (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "%s", local->peer != NULL ? local->peer : "unix");
        return;
    }
    if (local->origin.family == 4) {
        address.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(local->origin.port)};
        memcpy(&address.in.sin_addr, local->origin.address, 4);
        address.len = sizeof(address.in);
    } else {
        address.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(local->origin.port)};
        memcpy(&address.in6.sin6_addr, local->origin.address, 16);
        address.len = sizeof(address.in6);
    }
    address_format(&address, ret_text);
}

void local_log(const struct local *local, enum log_level level, const char *what, const char *why)
{
    static struct log_limit limit = LOG_LIMIT(50, 200000);
    const struct port *port = local->port;
    char peer[ADDRESS_TEXT_BYTES];
    const struct log_field fields[] = {{"ETCP_PEER", peer}, {"ETCP_SERVICE", port->service}, {"ETCP_REASON", why}};

    format_peer(local, peer);
    log_limited(&limit, loop_now_us(), level, fields, sizeof(fields) / sizeof(fields[0]),
                "forward %s: connection of %s to service %s %s: %s", port->name, peer, port->service, what, why);
}
