/* SPDX-License-Identifier: MIT
 *
 * A loading belongs to two, the loop's side and the thread; the lock decides who of them is the last and frees it. */
#include "server/loading.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "net/loop.h"
#include "server/snapshot.h"

struct loading {
    pthread_mutex_t lock;
    struct loop *loop;
    const char *path;
    void (*done)(int result, struct snapshot *snapshot, struct error_text *error, void *user);
    void *user;
    struct loop_letter answer;
    bool thread_runs; /* the thread still looks at this struct */
    bool abandoned;   /* the loop's side does not any more */
    struct snapshot *snapshot;
    struct error_text error;
    int result;
};

static void loading_free(struct loading *loading)
{
    (void)pthread_mutex_destroy(&loading->lock);
    snapshot_release(loading->snapshot);
    free(loading);
}

static void on_answer(void *arg)
{
    struct loading *loading = arg;

    /* The thread posts with the lock held; once it is free, the thread is done with this. */
    (void)pthread_mutex_lock(&loading->lock);
    (void)pthread_mutex_unlock(&loading->lock);
    loading->done(loading->result, loading->snapshot, &loading->error, loading->user);
    loading_free(loading);
}

static void *thread_main(void *arg)
{
    struct loading *loading = arg;
    int exit_code = 0;
    bool abandoned = false;

    loading->result = snapshot_load(loading->path, true, &loading->snapshot, &exit_code, &loading->error);
    (void)pthread_mutex_lock(&loading->lock);
    loading->thread_runs = false;
    abandoned = loading->abandoned;
    if (!abandoned) {
        loop_post_letter(loading->loop, &loading->answer);
    }
    (void)pthread_mutex_unlock(&loading->lock);
    if (abandoned) {
        loading_free(loading);
    }
    return NULL;
}

static int start_thread(struct loading *loading)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    int r = pthread_attr_init(&attributes);

    if (r != 0) {
        return -r;
    }
    loading->thread_runs = true;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    /* Signals are for the main thread. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&thread, &attributes, thread_main, loading);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return -r;
}

int loading_start(struct loop *loop, const char *path,
                  void (*done)(int result, struct snapshot *snapshot, struct error_text *error, void *user), void *user,
                  struct loading **ret_loading)
{
    struct loading *loading = calloc(1, sizeof(*loading));
    int r = 0;

    if (loading == NULL) {
        return -ENOMEM;
    }
    loading->loop = loop;
    loading->path = path;
    loading->done = done;
    loading->user = user;
    loading->answer = (struct loop_letter){.fn = on_answer, .arg = loading};
    r = pthread_mutex_init(&loading->lock, NULL);
    if (r != 0) {
        free(loading);
        return -r;
    }
    *ret_loading = loading; /* before the thread may answer */
    r = start_thread(loading);
    if (r != 0) {
        *ret_loading = NULL;
        loading_free(loading);
    }
    return r;
}

void loading_abandon(struct loading *loading)
{
    bool thread_runs = false;

    if (loading == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&loading->lock);
    loading->abandoned = true;
    thread_runs = loading->thread_runs;
    if (!thread_runs) {
        (void)loop_unpost(loading->loop, &loading->answer);
    }
    (void)pthread_mutex_unlock(&loading->lock);
    if (!thread_runs) {
        loading_free(loading);
    }
}
