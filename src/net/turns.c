/* SPDX-License-Identifier: MIT */
#include "net/turns.h"

#include <etcp/etcp.h>

#include "net/link_state.h"
#include "net/loop.h"
#include "net/outgoing.h"

/* Records of a turn (link_turn()), however many streams there are: fewer cost both ends more system calls. */
enum { TURN_MIN = 8 };

bool turns_due(const struct link *link)
{
    return (link->wanted || link->little.count > 0 || link->much.count > 0) && link->backlog == NULL;
}

/* ---- The queues ------------------------------------------------------------------------------------------------------ */

void link_leave(struct link *link, struct link_waiter *waiter)
{
    struct link_queue *queue = waiter->much ? &link->much : &link->little;

    if (!waiter->waits) {
        return;
    }
    TAILQ_REMOVE(&queue->waiters, waiter, place);
    queue->count--;
    waiter->waits = false;
}

void link_wait(struct link *link, struct link_waiter *waiter, bool much)
{
    struct link_queue *queue = much ? &link->much : &link->little;

    if (waiter->waits && waiter->much == much) {
        return;
    }
    link_leave(link, waiter);
    TAILQ_INSERT_TAIL(&queue->waiters, waiter, place);
    queue->count++;
    waiter->much = much;
    waiter->waits = true;
    link_settle_outside(link);
}

static bool is_slow(const struct link *link)
{
    return loop_now_us() < link->slow_until_us;
}

int link_turn(const struct link *link, bool much)
{
    const size_t streams = etcp_conn_streams(link->conn);

    if (streams < 2) {
        return LINK_RECORDS_MAX;
    }
    if (is_slow(link)) {
        return !much ? 1 : link->round < TURN_MIN ? link->round : TURN_MIN;
    }
    return streams < LINK_RECORDS_MAX / TURN_MIN ? LINK_RECORDS_MAX / (int)streams : TURN_MIN;
}

/* ---- A round of turns ------------------------------------------------------------------------------------------------- */

/* Those who wait now have a turn each, as far as there is room for it; whoever asks again stands behind them. Returns whether anybody
 * had one. */
static bool serve(struct link *link, struct link_queue *queue)
{
    const bool much = queue == &link->much;
    bool served = false;

    for (size_t left = queue->count; left > 0 && !TAILQ_EMPTY(&queue->waiters); left--) {
        struct link_waiter *waiter = TAILQ_FIRST(&queue->waiters);

        if (!link_has_room(link) || etcp_conn_closing(link->conn) || (much && link_turn(link, true) == 0) ||
            !link_seal_control(link) || !outgoing_reserve(link, LINK_TURN_ROOM)) {
            break;
        }
        link_leave(link, waiter);
        waiter->turn(waiter);
        served = true;
    }
    return served;
}

static bool serve_much(struct link *link)
{
    link->round = link->pace;
    return serve(link, &link->much);
}

void turns_give(struct link *link)
{
    const bool wanted = link->wanted, much_first = link->much_first;
    bool served = false;

    if (link->state != LINK_OPEN || !turns_due(link)) {
        return;
    }
    link->wanted = false;
    link->round = link->pace;
    if (wanted && link->handler->writable != NULL) {
        link->handler->writable(link, link->user);
    }
    if (much_first) {
        served = serve_much(link);
    }
    (void)serve(link, &link->little);
    if (!much_first) {
        served = serve_much(link);
    }
    link->much_first = !much_first && !served && link->much.count > 0;
    link->round = 0;
    link->held = link->held && link->wanted;
}
