/* SPDX-License-Identifier: MIT
 *
 * etcp connect: standard input and output as one stream. Each direction holds one bounded buffer, is only read while the other
 * side takes it, and ends by itself: the end of input becomes Stream Close, the server's Close the end of output.
 *
 * Standard input and output may be anything. What epoll can't watch (files, /dev/null) is always ready; what it can is
 * made non-blocking, which others who share the descriptor would notice: so it is undone at the end. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <etcp/etcp.h>
#include <event2/event.h>

#include "agent/explain.h"
#include "base/log.h"
#include "net/link.h"
#include "net/loop.h"
#include "net/output.h"
#include "tools/remote.h"

enum {
    IN_BYTES = 65536,
    OUT_BYTES = ETCP_WINDOW, /* no more than that can be on its way to us */
    READS_PER_TURN = 16,     /* of a descriptor that is always ready */
};

/* One of our two descriptors. */
struct end {
    int fd;
    int flags;           /* as they were, -1 if they were left alone */
    bool over;           /* input: at its end; output: closed */
    struct event *event; /* readable or writable; a timer without a descriptor where that is always so */
    bool watched;
    uint8_t *buffer;
    size_t off, len; /* what is in the buffer */
};

struct connect {
    struct remote remote; /* first: the client's user */
    const char *service;
    struct link *link;          /* while the client is up */
    struct etcp_stream *stream; /* NULL before it is opened and after it is gone */
    bool server_done;           /* the server sends no more */
    bool clean;                 /* all that was to be said has been said */
    struct end in, out;
};

static void pump_in(struct connect *connect);
static void pump_out(struct connect *connect);

/* ---- Descriptors ----------------------------------------------------------------------------------------------------- */

static void on_in(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    pump_in(arg);
}

static void on_out(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    pump_out(arg);
}

/* `flags` are those of the descriptor before either end was touched: both may be one open file. */
static int end_init(struct end *end, struct connect *connect, int fd, int flags, size_t size)
{
    struct event_base *base = connect->remote.loop->base;

    end->fd = fd;
    end->flags = -1;
    end->watched = output_can_watch(fd);
    end->buffer = malloc(size);
    if (!end->watched) {
        end->event = evtimer_new(base, fd == STDIN_FILENO ? on_in : on_out, connect);
    } else {
        if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
            return -errno;
        }
        end->flags = flags;
        end->event =
            event_new(base, fd, fd == STDIN_FILENO ? EV_READ : EV_WRITE, fd == STDIN_FILENO ? on_in : on_out, connect);
    }
    return end->event != NULL && end->buffer != NULL ? 0 : -ENOMEM;
}

static void end_restore(struct end *end)
{
    if (end->flags >= 0) {
        (void)fcntl(end->fd, F_SETFL, end->flags);
        end->flags = -1;
    }
}

static void end_done(struct end *end)
{
    end_restore(end);
    if (end->event != NULL) {
        event_free(end->event);
    }
    free(end->buffer);
}

/* Has the end's function called when it is ready. */
static int end_wait(const struct end *end)
{
    const struct timeval now = {0};

    return event_add(end->event, end->watched ? NULL : &now) == 0 ? 0 : -ENOMEM;
}

/* ---- The end --------------------------------------------------------------------------------------------------------- */

static void fail(struct connect *connect, int code, const char *what, int error)
{
    if (connect->remote.exit_code == EX_OK) {
        connect->remote.exit_code = code;
        tool_complain(connect->remote.command, "%s: %s", what, strerror(error));
    }
    (void)event_del(connect->in.event);
    (void)event_del(connect->out.event);
    connect->in.over = connect->out.over = true;
    connect->out.len = 0;
    if (connect->remote.client != NULL) {
        client_goodbye(connect->remote.client, ETCP_CODE_OK, NULL);
    } else {
        loop_stop(connect->remote.loop);
    }
}

/* The reader of our output learns that there is no more; others may still hold a socket that is both ends. */
static void close_output(struct connect *connect)
{
    struct end *out = &connect->out;
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    out->over = true;
    (void)event_del(out->event);
    end_restore(out);
    if (connect->in.flags >= 0) {
        /* Both may be one open file, and input still needs it as it was. */
        (void)fcntl(STDIN_FILENO, F_SETFL, connect->in.flags | O_NONBLOCK);
    }
    (void)shutdown(STDOUT_FILENO, SHUT_WR); /* fails where it is no socket */
    /* The number stays taken, so that nothing else is written to by mistake. */
    if (null < 0 || dup2(null, STDOUT_FILENO) < 0) {
        (void)close(STDOUT_FILENO);
    }
    if (null >= 0) {
        (void)close(null);
    }
}

/* Decides whether there is anything left to do. The last thing that every callback does. */
static void settle(struct connect *connect)
{
    if (connect->server_done && connect->out.len == 0 && !connect->out.over) {
        close_output(connect);
    }
    if (connect->remote.client == NULL) {
        if (connect->out.len == 0) {
            loop_stop(connect->remote.loop);
        }
        return;
    }
    if (!connect->clean && connect->server_done && connect->out.len == 0 && connect->in.over && connect->in.len == 0) {
        connect->clean = connect->remote.exit_code == EX_OK;
        client_goodbye(connect->remote.client, ETCP_CODE_OK, NULL);
    }
}

/* ---- Input to stream -------------------------------------------------------------------------------------------------- */

/* Offers what is in the buffer. Returns whether all of it was taken: if not, credit or the link's room will bring us back. */
static bool send_input(struct connect *connect)
{
    struct end *in = &connect->in;

    if (in->len > 0) {
        const size_t taken = link_send(connect->link, connect->stream, in->buffer + in->off, in->len);

        in->off += taken;
        in->len -= taken;
    }
    return in->len == 0;
}

static void pump_in(struct connect *connect)
{
    struct end *in = &connect->in;

    for (int i = 0; connect->stream != NULL && !in->over && i < READS_PER_TURN; i++) {
        ssize_t n;

        if (!send_input(connect)) {
            return;
        }
        n = read(in->fd, in->buffer, IN_BYTES);
        if (n > 0) {
            in->off = 0;
            in->len = (size_t)n;
        } else if (n == 0) {
            in->over = true;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            /* When the server has ended, what input there is still goes out, but nothing is waited for. */
            in->over = connect->server_done;
            break;
        } else if (errno != EINTR) {
            fail(connect, EX_IOERR, "standard input", errno);
            return;
        }
    }
    if (connect->stream == NULL || !send_input(connect)) {
        return;
    }
    if (in->over) {
        etcp_stream_close(connect->stream);
        link_flush(connect->link);
        settle(connect);
    } else if (end_wait(in) < 0) {
        fail(connect, EX_OSERR, "standard input", ENOMEM);
    }
}

/* ---- Stream to output ------------------------------------------------------------------------------------------------- */

/* Writes as much as goes. Returns the number of bytes, or -errno. */
static ssize_t write_some(int fd, const uint8_t *data, size_t len)
{
    size_t written = 0;

    while (written < len) {
        const ssize_t n = write(fd, data + written, len - written);

        if (n > 0) {
            written += (size_t)n;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        } else if (n < 0 && errno != EINTR) {
            return -errno;
        }
    }
    return (ssize_t)written;
}

static void tell_taken(struct connect *connect, size_t len)
{
    if (connect->stream != NULL && len > 0) {
        etcp_stream_consume(connect->stream, len);
        link_flush(connect->link);
    }
}

static void pump_out(struct connect *connect)
{
    struct end *out = &connect->out;
    const ssize_t n = write_some(out->fd, out->buffer + out->off, out->len);

    if (n < 0) {
        fail(connect, EX_IOERR, "standard output", (int)-n);
        return;
    }
    out->off += (size_t)n;
    out->len -= (size_t)n;
    tell_taken(connect, (size_t)n);
    if (out->len > 0 && end_wait(out) < 0) {
        fail(connect, EX_OSERR, "standard output", ENOMEM);
        return;
    }
    settle(connect);
}

static void hear_data(struct connect *connect, const uint8_t *data, size_t len)
{
    struct end *out = &connect->out;
    ssize_t n = 0;

    if (out->len == 0) {
        n = write_some(out->fd, data, len);
        if (n < 0) {
            fail(connect, EX_IOERR, "standard output", (int)-n);
            return;
        }
        tell_taken(connect, (size_t)n);
        data += n;
        len -= (size_t)n;
        out->off = 0;
    }
    if (len == 0) {
        return;
    }
    if (out->off > 0) {
        memmove(out->buffer, out->buffer + out->off, out->len);
        out->off = 0;
    }
    if (len > OUT_BYTES - out->len) {
        fail(connect, EX_SOFTWARE, "standard output", EOVERFLOW); /* the library lets nothing past the window */
        return;
    }
    memcpy(out->buffer + out->len, data, len);
    out->len += len;
    if (end_wait(out) < 0) {
        fail(connect, EX_OSERR, "standard output", ENOMEM);
    }
}

/* ---- The connection --------------------------------------------------------------------------------------------------- */

static void hear_error(struct connect *connect, const struct etcp_event *event)
{
    struct explanation explained;

    explain_stream_error(connect->service, event, &explained);
    tool_complain(connect->remote.command, "%s%s", explained.cause, explained.advice);
    connect->remote.exit_code = event->code == ETCP_CODE_UNAUTHORIZED ? EX_NOPERM : EX_UNAVAILABLE;
    etcp_stream_free(connect->stream);
    connect->stream = NULL;
    connect->server_done = true;
    connect->in.over = true;
    connect->in.len = 0;
    (void)event_del(connect->in.event);
    settle(connect);
}

static void on_up(struct client *client, struct link *link, void *user)
{
    struct connect *connect = user;
    int result;

    connect->link = link;
    result = etcp_stream_open(link_conn(link), connect->service, NULL, &connect->stream);
    if (result < 0) {
        tool_complain(connect->remote.command, "service \"%s\": %s", connect->service, etcp_strerror(result));
        connect->remote.exit_code = EX_UNAVAILABLE;
        client_goodbye(client, ETCP_CODE_OK, NULL);
        return;
    }
    pump_in(connect);
}

static void on_event(struct client *client, struct link *link, const struct etcp_event *event, void *user)
{
    struct connect *connect = user;

    (void)client;
    (void)link;
    switch (event->type) {
    case ETCP_EVENT_DATA:
        if (!connect->out.over) {
            hear_data(connect, event->data, event->len);
        }
        break;
    case ETCP_EVENT_CLOSE:
        connect->server_done = true;
        pump_in(connect);
        settle(connect);
        break;
    case ETCP_EVENT_STREAM_ERROR:
        hear_error(connect, event);
        break;
    case ETCP_EVENT_CREDIT:
        pump_in(connect);
        break;
    case ETCP_EVENT_OPEN:
        etcp_stream_fail(event->stream, ETCP_CODE_NO_SUCH_SERVICE, "connect serves nothing");
        break;
    default:
        break;
    }
}

static void on_writable(struct client *client, struct link *link, void *user)
{
    (void)client;
    (void)link;
    pump_in(user);
}

static void on_closed(struct client *client, const struct client_end *end, void *user)
{
    struct connect *connect = user;

    (void)client;
    connect->remote.client = NULL;
    connect->link = NULL;
    connect->stream = NULL;
    (void)event_del(connect->in.event);
    if (connect->server_done && connect->in.over && connect->in.len == 0) {
        connect->clean = true; /* only output is left to be written */
    }
    if (!connect->clean && connect->remote.exit_code == EX_OK) {
        connect->remote.exit_code = remote_explain(&connect->remote, end);
    }
    if (connect->remote.signal != 0) {
        connect->out.len = 0;
    }
    settle(connect);
}

static const struct client_handler handler = {
    .up = on_up,
    .event = on_event,
    .writable = on_writable,
    .closed = on_closed,
};

static int connect_service(const struct tool_command *command, const struct remote_options *options, const char *server,
                           const char *service)
{
    const int in_flags = fcntl(STDIN_FILENO, F_GETFL), out_flags = fcntl(STDOUT_FILENO, F_GETFL);
    struct connect *connect = calloc(1, sizeof(*connect));
    int code, result;

    if (connect == NULL) {
        tool_complain(command, "%s", strerror(ENOMEM));
        return EX_OSERR;
    }
    connect->service = service;
    connect->in.flags = connect->out.flags = -1;
    code = remote_start(&connect->remote, command, options, server, &handler);
    if (code == TOOL_GO_ON) {
        result = end_init(&connect->in, connect, STDIN_FILENO, in_flags, IN_BYTES);
        if (result == 0) {
            result = end_init(&connect->out, connect, STDOUT_FILENO, out_flags, OUT_BYTES);
        }
        if (result == 0) {
            result = loop_run(connect->remote.loop);
        }
        if (result < 0) {
            tool_complain(command, "%s", strerror(-result));
            end_restore(&connect->in);
            end_restore(&connect->out);
            return EX_OSERR;
        }
        code = connect->remote.exit_code;
    }
    end_done(&connect->out);
    end_done(&connect->in);
    remote_done(&connect->remote);
    free(connect);
    return code;
}

static int run(const struct tool_command *command, int argc, char **argv)
{
    static const struct option options[] = {REMOTE_OPTIONS};
    struct remote_options remote_options = {0};
    int option, code;

    while ((option = tool_option(command, argc, argv, REMOTE_LETTERS, options, &code)) != -1) {
        if (code != TOOL_GO_ON) {
            return code;
        }
        code = remote_option(command, option, optarg, &remote_options);
        if (code != TOOL_GO_ON) {
            return code;
        }
    }
    if (argc - optind != 2) {
        return tool_usage(command, "expected a server, HOST:PORT, and a service, got %d arguments", argc - optind);
    }
    if (!etcp_service_name_valid(argv[optind + 1])) {
        return tool_usage(command, "\"%s\" is no name of a service: 1 to 64 of a-z 0-9 . _ -", argv[optind + 1]);
    }
    return connect_service(command, &remote_options, argv[optind], argv[optind + 1]);
}

const struct tool_command connect_command = {
    .name = "connect",
    .arguments = "[options] HOST:PORT SERVICE",
    .summary = "Join standard input and output to a service",
    .options = "The end of standard input closes our half of the stream. The server's end closes standard output and, "
               "when the\n"
               "input that is at hand has been sent, ends the command.\n"
               "\n" REMOTE_HELP,
    .run = run,
};
