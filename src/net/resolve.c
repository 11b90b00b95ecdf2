/* SPDX-License-Identifier: MIT
 *
 * A request belongs to two: the loop's side, until it has the answer or abandons it, and the thread, until getaddrinfo has
 * returned. The lock decides who of them is the last and frees it. */
#include "net/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/loop.h"

enum { THREAD_STACK_BYTES = 256 * 1024 }; /* nss modules want more than the smallest */

struct resolve {
    pthread_mutex_t lock;
    struct loop *loop;
    void (*done)(const struct resolve_result *result, void *user);
    void *user;
    struct loop_letter answer;
    bool thread_runs; /* the thread still looks at this struct */
    bool abandoned;   /* the loop's side does not any more */
    int error;        /* EAI_*, 0 if there are addresses */
    int error_number; /* errno of EAI_SYSTEM */
    size_t count;
    struct address addresses[RESOLVE_ADDRESSES_MAX];
    uint16_t port;
    char host[];
};

static atomic_uint threads;

int resolve_now(const char *host, uint16_t port, struct address *ret_addresses, size_t max, size_t *ret_count)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char service[8];
    size_t count = 0;
    int r = 0;

    (void)snprintf(service, sizeof(service), "%u", (unsigned)port);
    if (host[0] == '\0') {
        return EAI_NONAME; /* getaddrinfo would take it for any address of this host */
    }
    r = getaddrinfo(host, service, &hints, &list);
    if (r != 0) {
        return r;
    }
    for (const struct addrinfo *entry = list; entry != NULL && count < max; entry = entry->ai_next) {
        if (address_from_sockaddr(entry->ai_addr, entry->ai_addrlen, &ret_addresses[count]) == 0) {
            count++;
        }
    }
    freeaddrinfo(list);
    if (count == 0) {
        return EAI_NONAME;
    }
    *ret_count = count;
    return 0;
}

static void resolve_free(struct resolve *resolve)
{
    (void)pthread_mutex_destroy(&resolve->lock);
    free(resolve);
}

/* The loop's side: the thread has posted the answer, or there was none. */
static void on_answer(void *arg)
{
    struct resolve *resolve = arg;
    struct resolve_result result = {.addresses = resolve->addresses, .count = resolve->count};

    /* The thread posts with the lock held; once it is free, the thread is done with the request. */
    (void)pthread_mutex_lock(&resolve->lock);
    (void)pthread_mutex_unlock(&resolve->lock);
    if (resolve->error == EAI_SYSTEM) {
        result.error = strerror(resolve->error_number);
    } else if (resolve->error != 0) {
        result.error = gai_strerror(resolve->error);
    }
    resolve->done(&result, resolve->user);
    resolve_free(resolve);
}

static void *thread_main(void *arg)
{
    struct resolve *resolve = arg;
    bool abandoned = false;
    size_t count = 0;
    int error = resolve_now(resolve->host, resolve->port, resolve->addresses, RESOLVE_ADDRESSES_MAX, &count);
    int error_number = errno;

    (void)pthread_mutex_lock(&resolve->lock);
    resolve->error = error;
    resolve->error_number = error_number;
    resolve->count = count;
    resolve->thread_runs = false;
    abandoned = resolve->abandoned;
    if (!abandoned) {
        loop_post_letter(resolve->loop, &resolve->answer);
    }
    (void)pthread_mutex_unlock(&resolve->lock);
    if (abandoned) {
        resolve_free(resolve);
    }
    atomic_fetch_sub(&threads, 1);
    return NULL;
}

static int thread_start(struct resolve *resolve)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    int r = 0;

    if (atomic_fetch_add(&threads, 1) >= RESOLVE_THREADS_MAX) {
        atomic_fetch_sub(&threads, 1);
        return -EAGAIN;
    }
    r = pthread_attr_init(&attributes);
    if (r == 0) {
        resolve->thread_runs = true;
        /* Signals are for the loop's thread. */
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        (void)pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
        r = pthread_create(&thread, &attributes, thread_main, resolve);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        (void)pthread_attr_destroy(&attributes);
    }
    if (r != 0) {
        resolve->thread_runs = false;
        atomic_fetch_sub(&threads, 1);
    }
    return -r;
}

int resolve_start(struct loop *loop, const char *host, uint16_t port,
                  void (*done)(const struct resolve_result *result, void *user), void *user,
                  struct resolve **ret_resolve)
{
    size_t host_bytes = strlen(host) + 1;
    struct resolve *resolve = calloc(1, sizeof(*resolve) + host_bytes);
    int r = 0;

    if (resolve == NULL) {
        return -ENOMEM;
    }
    r = pthread_mutex_init(&resolve->lock, NULL);
    if (r != 0) {
        free(resolve);
        return -r;
    }
    resolve->loop = loop;
    resolve->done = done;
    resolve->user = user;
    resolve->answer = (struct loop_letter){.fn = on_answer, .arg = resolve};
    resolve->port = port;
    memcpy(resolve->host, host, host_bytes);
    if (address_from_numeric(host, port, &resolve->addresses[0]) == 0) {
        resolve->count = 1;
        loop_post_letter(loop, &resolve->answer);
    } else {
        r = thread_start(resolve);
        if (r != 0) {
            resolve_free(resolve);
            return r;
        }
    }
    *ret_resolve = resolve;
    return 0;
}

void resolve_cancel(struct resolve *resolve)
{
    bool thread_runs = false;

    if (resolve == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&resolve->lock);
    resolve->abandoned = true;
    thread_runs = resolve->thread_runs;
    if (!thread_runs) {
        (void)loop_unpost(resolve->loop, &resolve->answer); /* it is there: `done` has not been called */
    }
    (void)pthread_mutex_unlock(&resolve->lock);
    if (!thread_runs) {
        resolve_free(resolve);
    }
}
