/* SPDX-License-Identifier: MIT
 *
 * Message mode. A message counts as delivered when all of its echo has arrived and agrees; only then is it reported, and only
 * then does the next one follow, after the interval. What was under way when a connection ended is sent again on the next:
 * so every message is reported exactly once, in order, whatever happens in between.
 *
 * The echo is a byte stream (in the classic suite: messages, taken as one), so it is compared as it arrives. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <event2/event.h>

#include "agent/explain.h"
#include "agent/mode.h"
#include "agent/setup.h"
#include "base/log.h"
#include "config/agent.h"
#include "net/link.h"
#include "net/loop.h"
#include "net/output.h"

/* What the configuration says; all owned. */
struct values {
    char *service, *text;
    size_t len;
    uint32_t count;
    uint64_t interval_us;
    uint64_t timeout_us; /* 0: none */
};

struct message {
    struct mode mode;
    struct values values;
    struct event *pause;        /* pending between an echo and the next message, over connections too */
    struct event *deadline;     /* pending while an echo is waited for, if there is a timeout */
    struct link *link;          /* NULL without a connection */
    struct etcp_stream *stream; /* NULL in the classic suite, and when it is over */
    uint32_t confirmed;         /* messages echoed and reported */
    bool under_way;             /* there is a current message: begun, its echo not complete */
    struct output *output;      /* while it waits, an echo is complete and not reported: nothing else is begun */
    size_t sent, echoed;        /* bytes of it, on this connection */
    bool over;                  /* the owner was told that it is over, with this connection or for good */
    bool draining;              /* the server is shutting down: nothing new on this connection */
    const struct mode_owner *owner;
    void *user;
};

static void values_done(struct values *values)
{
    free(values->service);
    free(values->text);
    *values = (struct values){0};
}

static int values_init(struct values *values, const struct config_message *config)
{
    *values = (struct values){
        .service = strdup(config->service),
        .text = strndup(config->text, config->text_length),
        .len = config->text_length,
        .count = config->count,
        .interval_us = config->interval_us,
        .timeout_us = config->timeout_us,
    };
    if (values->service == NULL || values->text == NULL) {
        values_done(values);
        return -ENOMEM;
    }
    return 0;
}

static struct message *message_of(struct mode *mode)
{
    return (struct message *)mode;
}

static void finish(struct message *message, int exit_code)
{
    message->over = true;
    message->owner->finished(message->user, exit_code);
}

static void give_up(struct message *message, const char *cause)
{
    message->over = true;
    message->owner->give_up(message->user, cause);
}

/* ---- Reporting ------------------------------------------------------------------------------------------------------- */

/* As output_write(). */
static int report(const struct message *message)
{
    const size_t size = 4 * message->values.len + 5; /* each byte escaped, a newline and a NUL */
    char *line = malloc(size);
    size_t len;

    if (line == NULL) {
        return -ENOMEM;
    }
    len = log_escape(message->values.text, message->values.len, line, size - 1);
    line[len] = '\n';
    return output_write(message->output, line, len + 1);
}

/* ---- Messages -------------------------------------------------------------------------------------------------------- */

/* Sends what is left of the current message, as far as it goes. */
static void send_rest(struct message *message)
{
    const size_t left = message->values.len - message->sent;
    const uint8_t *rest = (const uint8_t *)message->values.text + message->sent;

    if (!message->under_way || left == 0) {
        return;
    }
    if (message->stream != NULL) {
        message->sent += link_send(message->link, message->stream, rest, left);
    } else {
        const size_t len = left < ETCP_MESSAGE_MAX ? left : ETCP_MESSAGE_MAX;

        message->sent += link_message(message->link, rest, len) ? len : 0;
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct message *message = arg;
    char cause[256];

    (void)fd;
    (void)what;
    if (message->over || !message->under_way) {
        return;
    }
    (void)snprintf(cause, sizeof(cause), "service \"%s\" has sent back %zu of %zu bytes within message.timeout",
                   message->values.service, message->echoed, message->values.len);
    log_message(LOG_LEVEL_ERROR, "%s", cause);
    give_up(message, cause);
}

static void start_message(struct message *message)
{
    const struct timeval timeout = loop_span(message->values.timeout_us);

    message->under_way = true;
    message->sent = message->echoed = 0;
    log_message(LOG_LEVEL_DEBUG, "sending message %u of %u, %zu bytes", message->confirmed + 1, message->values.count,
                message->values.len);
    if (message->values.timeout_us > 0 && event_add(message->deadline, &timeout) < 0) {
        log_message(LOG_LEVEL_ERROR, "cannot set a timer: %s", strerror(ENOMEM));
        finish(message, EX_OSERR);
        return;
    }
    send_rest(message);
}

static void end_of_messages(struct message *message)
{
    if (message->stream != NULL) {
        etcp_stream_close(message->stream);
        link_flush(message->link);
    }
    finish(message, EX_OK);
}

static bool is_paused(const struct message *message)
{
    return event_pending(message->pause, EV_TIMEOUT, NULL) != 0;
}

/* The current message has been reported, or can't be. Its connection may be gone by now. */
static void on_reported(int result, void *user)
{
    struct message *message = user;
    const struct timeval interval = loop_span(message->values.interval_us);

    if (result < 0) {
        log_message(LOG_LEVEL_ERROR, "cannot write an echo to standard output: %s", strerror(-result));
        finish(message, EX_IOERR);
        return;
    }
    message->confirmed++;
    log_message(LOG_LEVEL_DEBUG, "echo %u of %u confirmed", message->confirmed, message->values.count);
    if (message->confirmed >= message->values.count) {
        end_of_messages(message);
        return;
    }
    if (event_add(message->pause, &interval) < 0) {
        log_message(LOG_LEVEL_ERROR, "cannot set a timer: %s", strerror(ENOMEM));
        finish(message, EX_OSERR);
        return;
    }
    if (message->draining && !message->over && message->link != NULL) {
        give_up(message, "the server is shutting down");
    }
}

/* All of the echo is there. */
static void confirm(struct message *message)
{
    int result;

    (void)event_del(message->deadline);
    message->under_way = false;
    message->sent = message->echoed = 0;
    result = report(message);
    if (result != -EAGAIN) {
        on_reported(result, message);
    }
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    struct message *message = arg;

    (void)fd;
    (void)what;
    if (message->link != NULL && !message->over) {
        start_message(message);
        link_flush(message->link);
    }
}

static void hear_echo(struct message *message, const uint8_t *data, size_t len)
{
    if (len > message->sent - message->echoed || memcmp(data, message->values.text + message->echoed, len) != 0) {
        log_message(LOG_LEVEL_ERROR, "service \"%s\" does not echo: what came back differs from what was sent",
                    message->values.service);
        give_up(message, "wrong echo");
        return;
    }
    message->echoed += len;
    if (message->echoed == message->values.len) {
        confirm(message);
    }
}

static void hear_stream_error(struct message *message, const struct etcp_event *event)
{
    struct explanation explained;

    explain_stream_error(message->values.service, event, &explained);
    log_message(LOG_LEVEL_ERROR, "%s%s", explained.cause, explained.advice);
    etcp_stream_free(message->stream);
    message->stream = NULL;
    give_up(message, explained.cause);
}

/* ---- The mode -------------------------------------------------------------------------------------------------------- */

static void up(struct mode *mode, struct link *link, const char *address)
{
    struct message *message = message_of(mode);
    int result;

    (void)address;
    message->link = link;
    message->over = message->draining = false;
    if (message->confirmed >= message->values.count) {
        end_of_messages(message);
        return;
    }
    if (etcp_conn_suite(link_conn(link)) != ETCP_SUITE_CLASSIC) {
        result = etcp_stream_open(link_conn(link), message->values.service, NULL, &message->stream);
        if (result == ETCP_ECLOSED) {
            give_up(message, "the server is shutting down"); /* that came along with the first record */
            return;
        }
        if (result < 0) {
            log_message(LOG_LEVEL_ERROR, "cannot open a stream to service \"%s\": %s", message->values.service,
                        etcp_strerror(result));
            give_up(message, etcp_strerror(result));
            return;
        }
    }
    if (!is_paused(message) && !output_waits(message->output)) {
        start_message(message);
    }
}

static void on_event(struct mode *mode, const struct etcp_event *event)
{
    struct message *message = message_of(mode);

    if (message->over) {
        if (message->stream != NULL && event->stream == message->stream && etcp_stream_ended(message->stream)) {
            etcp_stream_free(message->stream);
            message->stream = NULL;
        }
        return;
    }
    switch (event->type) {
    case ETCP_EVENT_DATA:
        etcp_stream_consume(event->stream, event->len);
        hear_echo(message, event->data, event->len);
        break;
    case ETCP_EVENT_MESSAGE:
        hear_echo(message, event->data, event->len);
        break;
    case ETCP_EVENT_CREDIT:
        send_rest(message);
        break;
    case ETCP_EVENT_CLOSE:
        give_up(message, "the service closed the stream");
        break;
    case ETCP_EVENT_STREAM_ERROR:
        hear_stream_error(message, event);
        break;
    case ETCP_EVENT_DRAIN:
        message->draining = true;
        if (!message->under_way) {
            give_up(message, "the server is shutting down");
        }
        break;
    case ETCP_EVENT_OPEN:
        etcp_stream_fail(event->stream, ETCP_CODE_NO_SUCH_SERVICE, "this agent serves nothing");
        break;
    default:
        break;
    }
}

static void writable(struct mode *mode)
{
    struct message *message = message_of(mode);

    if (!message->over) {
        send_rest(message);
    }
}

static void down(struct mode *mode, bool settled)
{
    struct message *message = message_of(mode);

    (void)settled; /* an echo that was not confirmed is sent again in any case */
    (void)event_del(message->deadline);
    message->link = NULL;
    message->stream = NULL;
    message->under_way = false;
    message->sent = message->echoed = 0;
}

static int reload(struct mode *mode, struct setup *setup, bool *ret_reconnect, struct error_text *ret_error)
{
    struct message *message = message_of(mode);
    struct values values;
    bool reconnect;
    int result = values_init(&values, &setup->config->message);

    if (result < 0) {
        return error_set(ret_error, result, "%s", strerror(-result));
    }
    /* The current message can't change under way, and another service needs another stream. A new connection is the way
     * that both the suites with streams and the classic one have. */
    reconnect =
        message->link != NULL && !message->over &&
        (strcmp(values.service, message->values.service) != 0 || strcmp(values.text, message->values.text) != 0);
    values_done(&message->values);
    message->values = values;
    *ret_reconnect = reconnect;
    message->over = message->over || reconnect;
    if (message->confirmed >= message->values.count && !output_waits(message->output)) {
        end_of_messages(message);
    }
    return 0;
}

static void view(struct mode *mode, struct mode_view *ret_view)
{
    const struct message *message = message_of(mode);

    *ret_view = (struct mode_view){
        .service = message->values.service,
        .echoed = message->confirmed,
        .count = message->values.count,
    };
}

static void message_free(struct mode *mode)
{
    struct message *message = message_of(mode);

    if (message->pause != NULL) {
        event_free(message->pause);
    }
    if (message->deadline != NULL) {
        event_free(message->deadline);
    }
    output_free(message->output);
    values_done(&message->values);
    free(message);
}

static const struct mode_type message_type = {
    .up = up,
    .event = on_event,
    .writable = writable,
    .down = down,
    .reload = reload,
    .view = view,
    .free = message_free,
};

void mode_message_own(struct mode *mode, const struct mode_owner *owner, void *user)
{
    struct message *message = message_of(mode);

    message->owner = owner;
    message->user = user;
}

int mode_message_new(struct loop *loop, const struct config_agent *config, const struct mode_owner *owner, void *user,
                     struct mode **ret_mode)
{
    struct message *message = calloc(1, sizeof(*message));
    int result = -ENOMEM;

    if (message == NULL) {
        return -ENOMEM;
    }
    message->mode.type = &message_type;
    message->owner = owner;
    message->user = user;
    message->pause = evtimer_new(loop->base, on_pause_over, message);
    message->deadline = evtimer_new(loop->base, on_deadline, message);
    if (message->pause != NULL && message->deadline != NULL) {
        result = values_init(&message->values, &config->message);
    }
    if (result == 0) {
        result = output_new(loop, STDOUT_FILENO, on_reported, message, &message->output);
    }
    if (result < 0) {
        message_free(&message->mode);
        return result;
    }
    *ret_mode = &message->mode;
    return 0;
}
