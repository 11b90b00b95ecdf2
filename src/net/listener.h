/* SPDX-License-Identifier: MIT
 *
 * One listening socket, our own or one that systemd passed in. Accepting is the owner's business. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include <stdbool.h>

#include <sys/types.h>

#include "base/error.h"
#include "net/address.h"
#include "net/congestion.h"

struct event;
struct event_base;

struct listener {
    struct listener *next;
    int fd; /* -1: stopped */
    bool inherited;
    char *name;            /* that systemd passed with it (FileDescriptorName); NULL: our own */
    struct address wanted; /* as asked for: port 0 stays 0 here */
    struct address actual;
    dev_t device; /* of a Unix socket's file that we made, so that no other is removed */
    ino_t inode;
    char congestion[CONGESTION_NAME_BYTES]; /* that it had at first */
    struct event *event;
};

/* Listens on an address. A Unix socket's file that nobody listens on any more is replaced, by one of several programs that try at
 * the same time (a lock file beside it comes and goes); it gets the permissions `mode`, 0 for
 * what the umask leaves. Returns 0 and an owned listener that is not watched yet, or -errno with an error text. */
int listener_open(const struct address *address, mode_t mode, struct listener **ret_listener,
                  struct error_text *ret_error);

/* Takes all sockets that systemd passed to this process, once: with the next call there are none. Returns how many there were
 * and an owned list of listeners in their order, or -errno with an error text. */
int listener_adopt_all(struct listener **ret_list, struct error_text *ret_error);

/* How it is called in messages: its address, and its name where it has one; escaped. */
enum { LISTENER_TEXT_BYTES = ADDRESS_TEXT_BYTES + 160 };
void listener_format(const struct listener *listener, char ret_text[static LISTENER_TEXT_BYTES]);

/* Whether it is the one for an address that is asked for: it was opened for that, or listens there since it was opened for any
 * port. */
bool listener_is_for(const struct listener *listener, const struct address *address);

/* Whether an error of accept4(2) was of one connection that is gone: else it stays in the queue and would be reported again and
 * again. */
bool listener_lost_one(int error);

/* Has `readable` called with `arg` while connections wait. Returns 0 or -ENOMEM. */
int listener_watch(struct listener *listener, struct event_base *base, void (*readable)(int fd, short what, void *arg),
                   void *arg);

/* Has what is accepted from it use this congestion control; "": what it would use otherwise. A Unix socket has none. Returns 0 or
 * -errno. */
int listener_set_congestion(struct listener *listener, const char *name);

/* Ends watching; it may be watched anew, by another. */
void listener_unwatch(struct listener *listener);

/* Stops and resumes watching. */
void listener_pause(struct listener *listener, bool pause);

/* Closes the socket and removes the file of a Unix socket that it made; the struct stays. */
void listener_stop(struct listener *listener);

/* Closes and frees; NULL is fine. As listener_stop(). */
void listener_close(struct listener *listener);

#endif
