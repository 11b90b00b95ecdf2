/* SPDX-License-Identifier: MIT */
#include "agent/beside.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "agent/pool.h"
#include "agent/setup.h"
#include "base/log.h"

static void on_finished(void *user, int exit_code)
{
    struct beside *beside = user;

    beside->over = true;
    if (exit_code == EX_OK) {
        log_message(LOG_LEVEL_INFO, "all messages have been echoed");
        pool_main_release(beside->pool);
    } else {
        beside->failed(beside->user, exit_code);
    }
}

static void on_give_up(void *user, const char *cause)
{
    struct beside *beside = user;

    if (pool_main_is_used(beside->pool)) {
        (void)snprintf(beside->cause, sizeof(beside->cause), "%s", cause);
        pool_main_drain(beside->pool);
    } else {
        beside->owner->give_up(beside->owner_user, cause);
    }
}

static const char *on_cause(void *user)
{
    const struct beside *beside = user;

    return beside->owner->cause(beside->owner_user);
}

static void on_hurry(void *user)
{
    (void)user; /* they can wait */
}

static const struct mode_owner message_owner = {
    .finished = on_finished,
    .give_up = on_give_up,
    .cause = on_cause,
    .hurry = on_hurry,
};

int beside_start(struct beside *beside, const struct config_agent *config)
{
    beside->over = false;
    return config->sends_messages ? mode_message_new(beside->loop, config, &message_owner, beside, &beside->mode) : 0;
}

void beside_stop(struct beside *beside)
{
    beside->connected = false;
    if (beside->mode != NULL) {
        beside->mode->type->free(beside->mode);
        beside->mode = NULL;
    }
}

int beside_adopt(struct beside *beside, struct mode *message, struct setup *setup, struct error_text *ret_error)
{
    bool reconnect = false; /* the owner does, as the tunnel is new to the connection */
    int result;

    mode_message_own(message, &message_owner, beside);
    result = message->type->reload(message, setup, &reconnect, ret_error);
    if (result == 0) {
        beside_stop(beside);
        beside->mode = message;
    }
    return result;
}

bool beside_is_at_work(const struct beside *beside)
{
    return beside->mode != NULL && !beside->over;
}

void beside_up(struct beside *beside, struct link *link, const char *address)
{
    beside->connected = beside_is_at_work(beside);
    if (beside->connected) {
        beside->mode->type->up(beside->mode, link, address);
    }
}

void beside_event(struct beside *beside, const struct etcp_event *event)
{
    if (beside->connected) { /* else it is the end of a stream of an earlier mode's */
        beside->mode->type->event(beside->mode, event);
    }
}

void beside_writable(struct beside *beside)
{
    if (beside->connected && beside_is_at_work(beside)) {
        beside->mode->type->writable(beside->mode);
    }
}

void beside_down(struct beside *beside, bool settled)
{
    beside->cause[0] = '\0';
    beside->renews = beside->connected = false;
    if (beside->mode != NULL) {
        beside->mode->type->down(beside->mode, settled);
    }
}

void beside_view(const struct beside *beside, struct mode_view *ret_view)
{
    if (beside->mode != NULL) {
        beside->mode->type->view(beside->mode, ret_view);
    }
}

void beside_ready(struct beside *beside)
{
    if (beside->cause[0] == '\0' || pool_main_is_used(beside->pool)) {
        return;
    }
    if (beside->renews) {
        beside->owner->renew(beside->owner_user, beside->cause);
    } else {
        beside->owner->give_up(beside->owner_user, beside->cause);
    }
    beside->cause[0] = '\0';
}

int beside_reload(struct beside *beside, struct setup *setup, bool *ret_reconnect, struct error_text *ret_error)
{
    const bool wanted = setup->config->sends_messages;
    int result = 0;

    *ret_reconnect = false;
    if (wanted && beside_is_at_work(beside)) {
        result = beside->mode->type->reload(beside->mode, setup, ret_reconnect, ret_error);
    } else if (wanted && beside->mode == NULL) {
        result = beside_start(beside, setup->config);
        *ret_reconnect = true;
    } else if (!wanted) {
        *ret_reconnect = beside_is_at_work(beside);
        beside_stop(beside);
    }
    return result < 0 ? error_set(ret_error, result, "%s", strerror(-result)) : 0;
}

bool beside_reconnects(struct beside *beside)
{
    if (!pool_main_is_used(beside->pool)) {
        return true;
    }
    beside->renews = true;
    on_give_up(beside, "the configuration has changed");
    return false;
}
