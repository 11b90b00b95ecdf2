/* SPDX-License-Identifier: MIT
 *
 * Processor time of groups of processes, for the benchmark: of a cgroup (version 2), which counts children that have ended as
 * well, or, where there are none, of processes with their children; and of the whole machine, which tells how much others took. */
#ifndef BENCH_ACCOUNT_H
#define BENCH_ACCOUNT_H

#include <stddef.h>
#include <stdint.h>

enum { ACCOUNTS_MAX = 8 };

struct account_reader;

struct account {
    const char *name;
    const struct account_reader *reader;
    const char *source; /* "cgroup:PATH of cpu.stat", "pid:NUMBER", "self:", or "machine:", of which all is system */
    uint64_t user_us, system_us;
};

struct accounts {
    struct account account[ACCOUNTS_MAX];
    size_t count;
};

/* Takes "NAME=SOURCE", which it cuts and keeps. Returns 0, or -EINVAL if it is not that or there are too many. */
int accounts_add(struct accounts *accounts, char *text);

/* Notes what each has used until now. Returns 0, or -errno. */
int accounts_read(struct accounts *accounts);

/* Leaves out of what begins with `from` what has been used between `until` and `now`. */
void accounts_skip(struct accounts *from, const struct accounts *until, const struct accounts *now);

/* Prints `{"NAME": {"user": SECONDS, "system": SECONDS}, …}`, what has been used between `from` and `to`. */
void accounts_print(const struct accounts *from, const struct accounts *to);

#endif
