/* SPDX-License-Identifier: MIT
 *
 * The mailbox has a lock and an eventfd of its own, so libevent itself runs without locks: other threads never touch the
 * event base. */
#include "net/loop.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <sys/eventfd.h>

#include <event2/event.h>

#include <etcp/key.h>

#include "net/parcels.h"

enum { SPIN_LOOKS = 8 };

struct loop_mailbox {
    pthread_mutex_t lock;
    struct loop_letter *first;
    struct loop_letter **end;
    size_t count; /* of letters */
    int fd;       /* rung when there is a first letter: the others come with it */
    struct event *event;
};

uint64_t loop_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* can't fail with this clock and a valid pointer */
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

struct timeval loop_span(uint64_t us)
{
    return (struct timeval){.tv_sec = (time_t)(us / 1000000u), .tv_usec = (suseconds_t)(us % 1000000u)};
}

struct timeval loop_until(uint64_t due_us)
{
    const uint64_t now = loop_now_us();

    return loop_span(due_us > now ? due_us - now : 0);
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
        mailbox->count--;
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

static size_t mailbox_count(struct loop_mailbox *mailbox)
{
    size_t count = 0;

    (void)pthread_mutex_lock(&mailbox->lock);
    count = mailbox->count;
    (void)pthread_mutex_unlock(&mailbox->lock);
    return count;
}

/* Reads one letter after another, so that a letter's function may take back those behind it. */
static void on_letters(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    eventfd_t rings = 0;
    struct loop_letter letter = {0};

    (void)what;
    (void)!eventfd_read(fd, &rings); /* first: a letter that comes from now on rings anew if it finds none before it */
    /* What letters post is left for the next turn of the loop, or two loops writing to each other would starve the rest. */
    for (size_t left = mailbox_count(loop->mailbox); left > 0 && mailbox_pop(loop->mailbox, &letter); left--) {
        letter.fn(letter.arg);
    }
    if (mailbox_count(loop->mailbox) > 0) {
        mailbox_ring(loop->mailbox);
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
    TAILQ_INIT(&loop->orphans.list);
    loop->base = event_base_new_with_config(config);
    loop->in = malloc(LOOP_BUFFER_BYTES + LOOP_SPARE_BYTES);
    loop->out = malloc(LOOP_BUFFER_BYTES);
    if (loop->base == NULL || loop->in == NULL || loop->out == NULL || etcp_pool_new(&loop->pool) != 0 ||
        parcels_new(loop->base, &loop->parcels) != 0) {
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
    parcels_free(loop->parcels);
    etcp_pool_free(loop->pool);
    if (loop->in != NULL) {
        etcp_wipe(loop->in, LOOP_BUFFER_BYTES + LOOP_SPARE_BYTES); /* held what peers sent, in clear */
    }
    free(loop->in);
    free(loop->out);
    if (loop->base != NULL) {
        event_base_free(loop->base);
    }
    free(loop);
}

/* Handles what is there, and waits for it if `flags` let it. Returns whether there was anything, or -EIO. */
static int turn(struct loop *loop, int flags)
{
    (void)event_base_get_max_events(loop->base, EVENT_BASE_COUNT_ACTIVE, 1);
    if (event_base_loop(loop->base, flags | EVLOOP_NO_EXIT_ON_EMPTY) < 0) {
        return -EIO;
    }
    return event_base_get_max_events(loop->base, EVENT_BASE_COUNT_ACTIVE, 1) > 0;
}

/* Polls until nothing has come for `busy_poll`. The processor is offered to others after the first look in vain, and again after so
 * many: on few cores the one who is to send what we wait for may need ours, but an offer takes longer than a look. Returns whether
 * anything came, or -EIO. */
static int spin(struct loop *loop)
{
    uint64_t until = loop_now_us() + loop->busy_poll_us;
    unsigned looks = 0;
    bool paid = false;

    loop->spins++;
    while (!loop->stopping && loop->busy_poll_us > 0) {
        int r = turn(loop, EVLOOP_NONBLOCK | EVLOOP_ONCE);
        uint64_t now = loop_now_us();

        if (r < 0) {
            return r;
        }
        if (r > 0) {
            paid = true;
            until = now + loop->busy_poll_us;
        } else if (now >= until) {
            break;
        }
        if (r > 0) {
            looks = 0;
        } else if (looks++ % SPIN_LOOKS == 0) {
            loop->yields++;
            (void)sched_yield();
        }
    }
    return paid;
}

/* Sleeps once, after a spin if spins have been paying. One that was left out would have paid if the next event came within its
 * time: then they are tried again. So a loop that has nothing to do neither spins nor wakes. */
static int turn_busily(struct loop *loop)
{
    uint64_t began = loop_now_us();
    int r = 0;

    if (loop->unpaid_spins < LOOP_UNPAID_SPINS_MAX) {
        r = spin(loop);
        if (r < 0 || loop->stopping || loop->busy_poll_us == 0) {
            return r;
        }
        loop->unpaid_spins = r > 0 ? 0 : loop->unpaid_spins + 1;
    }
    loop->sleeps++;
    r = turn(loop, EVLOOP_ONCE);
    if (loop->unpaid_spins == LOOP_UNPAID_SPINS_MAX && loop_now_us() - began <= loop->busy_poll_us) {
        loop->unpaid_spins = 0;
    }
    return r;
}

int loop_run(struct loop *loop)
{
    int r = 0;

    loop->stopping = false;
    while (r >= 0 && !loop->stopping) {
        r = loop->busy_poll_us > 0 ? turn_busily(loop) : turn(loop, 0);
    }
    return r < 0 ? r : 0;
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
    (void)event_base_loopbreak(loop->base); /* fails only without a base */
}

void loop_set_busy_poll(struct loop *loop, uint64_t us)
{
    if (us != loop->busy_poll_us) {
        loop->busy_poll_us = us;
        loop->unpaid_spins = LOOP_UNPAID_SPINS_MAX;
        (void)event_base_loopbreak(loop->base); /* a turn without end begins anew */
    }
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
        if (mailbox->count++ == 0) {
            mailbox_ring(mailbox);
        }
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
            mailbox->count--;
            found = true;
            break;
        }
    }
    (void)pthread_mutex_unlock(&mailbox->lock);
    return found;
}
