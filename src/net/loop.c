/* SPDX-License-Identifier: MIT
 *
 * The mailbox has a lock and an eventfd of its own, so libevent itself runs without locks: other threads never touch the
 * event base. */
#include "net/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <sys/eventfd.h>

#include <event2/event.h>

#include <etcp/key.h>

struct loop_mailbox {
    pthread_mutex_t lock;
    struct loop_letter *first;
    struct loop_letter **end;
    int fd; /* readable while there are letters */
    struct event *event;
};

uint64_t loop_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* can't fail with this clock and a valid pointer */
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* Takes the first letter out. Its contents are copied under the lock: its owner may post it anew from then on. */
static bool mailbox_pop(struct loop_mailbox *mailbox, struct loop_letter *ret_letter)
{
    struct loop_letter *letter = NULL;

    (void)pthread_mutex_lock(&mailbox->lock);
    letter = mailbox->first;
    if (letter != NULL) {
        mailbox->first = letter->next;
        if (mailbox->first == NULL) {
            mailbox->end = &mailbox->first;
        }
        letter->next = NULL;
        letter->posted = false;
        *ret_letter = *letter;
        if (letter->allocated) {
            free(letter);
        }
    }
    (void)pthread_mutex_unlock(&mailbox->lock);
    return letter != NULL;
}

static void mailbox_ring(struct loop_mailbox *mailbox)
{
    /* Fails only when the counter would overflow, and then the loop is awake anyway. */
    (void)!eventfd_write(mailbox->fd, 1);
}

/* Reads one letter after another, so that a letter's function may take back those behind it. */
static void on_letters(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    eventfd_t count = 0;
    struct loop_letter letter = {0};

    (void)what;
    (void)!eventfd_read(fd, &count);
    /* What letters post is left for the next turn of the loop, or two loops writing to each other would starve the rest. */
    for (eventfd_t left = count; left > 0 && mailbox_pop(loop->mailbox, &letter); left--) {
        letter.fn(letter.arg);
    }
}

static void mailbox_free(struct loop_mailbox *mailbox)
{
    struct loop_letter letter = {0};

    if (mailbox == NULL) {
        return;
    }
    while (mailbox_pop(mailbox, &letter)) {
    }
    if (mailbox->event != NULL) {
        event_free(mailbox->event);
    }
    if (mailbox->fd >= 0) {
        (void)close(mailbox->fd);
    }
    (void)pthread_mutex_destroy(&mailbox->lock);
    free(mailbox);
}

static int mailbox_new(struct loop *loop)
{
    struct loop_mailbox *mailbox = calloc(1, sizeof(*mailbox));
    int r = 0;

    if (mailbox == NULL) {
        return -ENOMEM;
    }
    mailbox->end = &mailbox->first;
    mailbox->fd = -1;
    r = pthread_mutex_init(&mailbox->lock, NULL);
    if (r != 0) {
        free(mailbox);
        return -r;
    }
    loop->mailbox = mailbox;
    mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (mailbox->fd < 0) {
        return -errno;
    }
    mailbox->event = event_new(loop->base, mailbox->fd, EV_READ | EV_PERSIST, on_letters, loop);
    if (mailbox->event == NULL || event_add(mailbox->event, NULL) != 0) {
        return -ENOMEM;
    }
    return 0;
}

int loop_new(struct loop **ret_loop)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    struct event_config *config = event_config_new();
    int r = -ENOMEM;

    if (loop == NULL || config == NULL ||
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV) != 0) {
        goto out;
    }
    loop->base = event_base_new_with_config(config);
    loop->in = malloc(LOOP_BUFFER_BYTES);
    loop->out = malloc(LOOP_BUFFER_BYTES);
    if (loop->base == NULL || loop->in == NULL || loop->out == NULL || etcp_pool_new(&loop->pool) != 0) {
        goto out;
    }
    r = mailbox_new(loop);
    if (r == 0) {
        *ret_loop = loop;
        loop = NULL;
    }
out:
    if (config != NULL) {
        event_config_free(config);
    }
    loop_free(loop);
    return r;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    mailbox_free(loop->mailbox);
    etcp_pool_free(loop->pool);
    if (loop->in != NULL) {
        etcp_wipe(loop->in, LOOP_BUFFER_BYTES); /* held what peers sent, in clear */
    }
    free(loop->in);
    free(loop->out);
    if (loop->base != NULL) {
        event_base_free(loop->base);
    }
    free(loop);
}

int loop_run(struct loop *loop)
{
    return event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0 ? -EIO : 0;
}

void loop_stop(struct loop *loop)
{
    (void)event_base_loopbreak(loop->base); /* fails only without a base */
}

void loop_post_letter(struct loop *loop, struct loop_letter *letter)
{
    struct loop_mailbox *mailbox = loop->mailbox;

    (void)pthread_mutex_lock(&mailbox->lock);
    if (!letter->posted) {
        letter->posted = true;
        letter->next = NULL;
        *mailbox->end = letter;
        mailbox->end = &letter->next;
        mailbox_ring(mailbox);
    }
    (void)pthread_mutex_unlock(&mailbox->lock);
}

int loop_post(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    struct loop_letter *letter = calloc(1, sizeof(*letter));

    if (letter == NULL) {
        return -ENOMEM;
    }
    letter->fn = fn;
    letter->arg = arg;
    letter->allocated = true;
    loop_post_letter(loop, letter);
    return 0;
}

bool loop_unpost(struct loop *loop, struct loop_letter *letter)
{
    struct loop_mailbox *mailbox = loop->mailbox;
    bool found = false;

    (void)pthread_mutex_lock(&mailbox->lock);
    for (struct loop_letter **link = &mailbox->first; *link != NULL; link = &(*link)->next) {
        if (*link == letter) {
            *link = letter->next;
            if (letter->next == NULL) {
                mailbox->end = link;
            }
            letter->next = NULL;
            letter->posted = false;
            found = true;
            break;
        }
    }
    (void)pthread_mutex_unlock(&mailbox->lock);
    return found;
}
