/* SPDX-License-Identifier: MIT */
#include "net/publisher.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/log.h"
#include "net/http.h"
#include "net/listener.h"
#include "net/loop.h"

enum {
    SOCKET_MODE = 0660,
    GROUPS_MAX = 1024,     /* of a client's that are looked at */
    OVERFLOW_ID = 65534,   /* what the kernel shows for ids that this user namespace does not have */
    DISCARD_MAX = 1 << 16, /* bytes that a client may send behind its request */
};

static const struct timeval retry_after = {.tv_sec = 1};
static const struct timeval patience = {.tv_sec = PUBLISHER_TIMEOUT_US / 1000000};

/* One for all clients that waited for it. */
struct document {
    unsigned references;
    size_t len;
    char *text;
};

enum client_state {
    CLIENT_READING = 1, /* its request */
    CLIENT_WAITING,     /* for the document */
    CLIENT_WRITING,
    CLIENT_LINGERING, /* until it has closed too: what it may have sent must not turn our closing into a reset */
};

struct client {
    struct publisher *publisher;
    LIST_ENTRY(client) place; /* in the publisher's */
    int fd;
    enum client_state state;
    bool head_only;
    struct event io, deadline;
    struct document *document;
    char head[HTTP_HEAD_BYTES];
    size_t head_len, sent; /* of head and document together */
    size_t got;            /* bytes of the request, then of what is discarded */
    char request[HTTP_REQUEST_MAX];
};

struct publisher {
    struct loop *loop;
    enum publisher_kind kind;
    const struct publisher_handler *handler;
    void *user;
    struct address wanted;
    struct listener *listener; /* NULL: paused by its owner */
    struct event *retry;
    LIST_HEAD(client_list, client) clients;
    unsigned count;
    bool full;  /* not accepting: too many clients, or no descriptors */
    bool asked; /* the document is being made */
};

/* ---- Documents --------------------------------------------------------------------------------------------------------- */

/* Takes the text, also on failure. */
static struct document *document_new(char *text, size_t len)
{
    struct document *document = calloc(1, sizeof(*document));

    if (document == NULL) {
        free(text);
        return NULL;
    }
    *document = (struct document){.references = 1, .len = len, .text = text};
    return document;
}

static void document_release(struct document *document)
{
    if (document != NULL && --document->references == 0) {
        free(document->text);
        free(document);
    }
}

/* ---- Clients ------------------------------------------------------------------------------------------------------------ */

static void set_full(struct publisher *publisher, bool full)
{
    if (publisher->full != full) {
        publisher->full = full;
        if (publisher->listener != NULL) {
            listener_pause(publisher->listener, full);
        }
    }
}

static void client_free(struct client *client)
{
    struct publisher *publisher = client->publisher;

    (void)event_del(&client->io);
    (void)event_del(&client->deadline);
    (void)close(client->fd);
    LIST_REMOVE(client, place);
    document_release(client->document);
    free(client);
    publisher->count--;
    set_full(publisher, false);
}

static void on_client(evutil_socket_t fd, short what, void *arg);

/* Watches for what the state needs. False: the client is gone. */
static bool enter(struct client *client, enum client_state state)
{
    short interest = state == CLIENT_WRITING ? EV_WRITE : EV_READ;

    (void)event_del(&client->io);
    client->state = state;
    if (state == CLIENT_WAITING) {
        return true;
    }
    (void)event_assign(&client->io, client->publisher->loop->base, client->fd, (short)(interest | EV_PERSIST),
                       on_client, client);
    if (event_add(&client->io, NULL) != 0) {
        client_free(client);
        return false;
    }
    return true;
}

/* Sends what is left, as far as the socket takes it. */
static void client_write(struct client *client)
{
    const size_t body = client->document != NULL && !client->head_only ? client->document->len : 0;
    const size_t all = client->head_len + body;

    while (client->sent < all) {
        const size_t at = client->sent < client->head_len ? 0 : client->sent - client->head_len;
        struct iovec pieces[2] = {{0}};
        struct msghdr message = {.msg_iov = pieces};
        ssize_t n = 0;

        if (client->sent < client->head_len) {
            pieces[message.msg_iovlen++] = (struct iovec){client->head + client->sent, client->head_len - client->sent};
        }
        if (at < body) {
            pieces[message.msg_iovlen++] = (struct iovec){client->document->text + at, body - at};
        }
        n = sendmsg(client->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (client->state != CLIENT_WRITING) {
                (void)enter(client, CLIENT_WRITING);
            }
            return;
        }
        if (n < 0) {
            client_free(client);
            return;
        }
        client->sent += (size_t)n;
    }
    document_release(client->document);
    client->document = NULL;
    client->got = 0;
    if (shutdown(client->fd, SHUT_WR) != 0) {
        client_free(client);
        return;
    }
    (void)enter(client, CLIENT_LINGERING);
}

/* Answers a request of HTTP; takes a reference to the document (NULL: none). */
static void client_answer(struct client *client, int status, const char *type, struct document *document)
{
    if (document == NULL) {
        status = status == 200 ? 500 : status;
        type = "text/plain; charset=utf-8";
    }
    if (client->publisher->kind == PUBLISHER_METRICS) {
        client->head_len = http_head(status, type, document != NULL ? document->len : 0, client->head);
    }
    client->document = document;
    client_write(client);
}

/* The same with a line of text. */
static void client_answer_line(struct client *client, int status, const char *line)
{
    char *text = NULL;
    int n = asprintf(&text, "%s\n", line);

    client_answer(client, status, "text/plain; charset=utf-8", n >= 0 ? document_new(text, (size_t)n) : NULL);
}

static void client_wait(struct client *client)
{
    struct publisher *publisher = client->publisher;

    (void)enter(client, CLIENT_WAITING);
    if (!publisher->asked) {
        publisher->asked = true;
        publisher->handler->wanted(publisher, publisher->kind, publisher->user);
    }
}

static void hear_request(struct client *client)
{
    struct http_request request = {0};

    http_parse(client->request, client->got, &request);
    if (request.status == 0) {
        return;
    }
    client->head_only = request.head;
    if (request.status != 200) {
        client_answer_line(client, request.status, http_reason(request.status));
    } else if (request.page == HTTP_PAGE_METRICS) {
        client_wait(client);
    } else if (request.page == HTTP_PAGE_HEALTH || client->publisher->handler->ready(client->publisher->user)) {
        client_answer_line(client, 200, "ok");
    } else {
        client_answer_line(client, 503, "not ready");
    }
}

static void client_read(struct client *client)
{
    const bool request = client->state == CLIENT_READING;
    char *into = request ? client->request + client->got : client->request;
    ssize_t n = recv(client->fd, into, request ? sizeof(client->request) - client->got : sizeof(client->request), 0);

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        client_free(client);
        return;
    }
    client->got += (size_t)n;
    if (request) {
        hear_request(client);
    } else if (client->got > DISCARD_MAX) {
        client_free(client);
    }
}

static void on_client(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;

    (void)fd;
    (void)what;
    if (client->state == CLIENT_WRITING) {
        client_write(client);
    } else {
        client_read(client);
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    client_free(arg);
}

/* ---- Who may look ---------------------------------------------------------------------------------------------------- */

static bool has_group(int fd, gid_t wanted)
{
    gid_t groups[GROUPS_MAX];
    socklen_t len = sizeof(groups);

    if (wanted == OVERFLOW_ID || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0) {
        return false;
    }
    for (size_t i = 0; i < len / sizeof(groups[0]); i++) {
        if (groups[i] == wanted) {
            return true;
        }
    }
    return false;
}

/* Root, the daemon's user, and members of its group. The mode of the socket says the same; this holds if somebody changes it. */
static bool may_look(int fd)
{
    static struct log_limit limit = LOG_LIMIT(5, 10000000);
    struct ucred peer = {.uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
        (peer.uid == 0 || peer.uid == geteuid() || (peer.gid == getegid() && peer.gid != OVERFLOW_ID) ||
         has_group(fd, getegid()))) {
        return true;
    }
    log_limited(&limit, loop_now_us(), LOG_LEVEL_WARNING, NULL, 0, "status refused: uid=%ju gid=%ju pid=%jd",
                (uintmax_t)peer.uid, (uintmax_t)peer.gid, (intmax_t)peer.pid);
    return false;
}

/* ---- Accepting ------------------------------------------------------------------------------------------------------------ */

/* Takes the socket. */
static void add_client(struct publisher *publisher, int fd)
{
    struct client *client = NULL;

    if (publisher->kind == PUBLISHER_STATUS && !may_look(fd)) {
        (void)close(fd);
        return;
    }
    client = calloc(1, sizeof(*client));
    if (client == NULL) {
        (void)close(fd);
        return;
    }
    client->publisher = publisher;
    client->fd = fd;
    (void)event_assign(&client->io, publisher->loop->base, fd, EV_READ | EV_PERSIST, on_client, client);
    (void)event_assign(&client->deadline, publisher->loop->base, -1, 0, on_deadline, client);
    LIST_INSERT_HEAD(&publisher->clients, client, place);
    publisher->count++;
    if (event_add(&client->deadline, &patience) != 0) {
        client_free(client);
    } else if (publisher->kind == PUBLISHER_STATUS) {
        client_wait(client);
    } else {
        (void)enter(client, CLIENT_READING);
    }
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    set_full(arg, false);
}

static void on_readable(int fd, short what, void *arg)
{
    struct publisher *publisher = arg;

    (void)what;
    for (unsigned i = 0; i < PUBLISHER_CLIENTS_MAX && publisher->count < PUBLISHER_CLIENTS_MAX; i++) {
        int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (accepted >= 0) {
            add_client(publisher, accepted);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* It would be reported again and again. Without a timer the next client that goes ends it. */
            set_full(publisher, true);
            (void)event_add(publisher->retry, &retry_after);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
    if (publisher->count >= PUBLISHER_CLIENTS_MAX) {
        set_full(publisher, true);
    }
}

/* ---- For the owner ------------------------------------------------------------------------------------------------------ */

int publisher_resume(struct publisher *publisher, struct error_text *ret_error)
{
    struct listener *listener = NULL;
    int r = listener_open(&publisher->wanted, SOCKET_MODE, &listener, ret_error);

    if (r != 0) {
        return r;
    }
    r = listener_watch(listener, publisher->loop->base, on_readable, publisher);
    if (r != 0) {
        listener_close(listener);
        return error_set(ret_error, r, "can't listen: %s", strerror(-r));
    }
    listener_pause(listener, publisher->full);
    publisher->listener = listener;
    return 0;
}

void publisher_pause(struct publisher *publisher)
{
    listener_close(publisher->listener);
    publisher->listener = NULL;
}

int publisher_new(struct loop *loop, enum publisher_kind kind, const struct address *address,
                  const struct publisher_handler *handler, void *user, struct publisher **ret_publisher,
                  struct error_text *ret_error)
{
    struct publisher *publisher = calloc(1, sizeof(*publisher));
    int r = 0;

    if (publisher == NULL) {
        return error_set(ret_error, -ENOMEM, "can't listen: %s", strerror(ENOMEM));
    }
    publisher->loop = loop;
    publisher->kind = kind;
    publisher->handler = handler;
    publisher->user = user;
    publisher->wanted = *address;
    publisher->retry = event_new(loop->base, -1, 0, on_retry, publisher);
    if (publisher->retry == NULL) {
        r = error_set(ret_error, -ENOMEM, "can't listen: %s", strerror(ENOMEM));
    } else {
        r = publisher_resume(publisher, ret_error);
    }
    if (r != 0) {
        publisher_free(publisher);
        return r;
    }
    *ret_publisher = publisher;
    return 0;
}

void publisher_free(struct publisher *publisher)
{
    if (publisher == NULL) {
        return;
    }
    while (!LIST_EMPTY(&publisher->clients)) {
        client_free(LIST_FIRST(&publisher->clients));
    }
    publisher_pause(publisher);
    if (publisher->retry != NULL) {
        event_free(publisher->retry);
    }
    free(publisher);
}

void publisher_answer(struct publisher *publisher, char *text, size_t len)
{
    static const char type[] = "text/plain; version=0.0.4; charset=utf-8";
    struct document *document = text != NULL ? document_new(text, len) : NULL;
    struct client *next = NULL;

    publisher->asked = false;
    for (struct client *client = LIST_FIRST(&publisher->clients); client != NULL; client = next) {
        next = LIST_NEXT(client, place); /* an answer that goes out at once may be the client's end */
        if (client->state == CLIENT_WAITING) {
            if (document != NULL) {
                document->references++;
            }
            client_answer(client, 200, type, document);
        }
    }
    document_release(document);
}

const struct address *publisher_wanted(const struct publisher *publisher)
{
    return &publisher->wanted;
}

const struct address *publisher_address(const struct publisher *publisher)
{
    return publisher->listener != NULL ? &publisher->listener->actual : &publisher->wanted;
}
