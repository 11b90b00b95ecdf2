/* SPDX-License-Identifier: MIT */
#include "account.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fcntl.h>
#include <sys/resource.h>

enum { DEPTH_MAX = 8 }; /* of children's children: bounds what a loop of pids used anew could do */

static int read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    int rc = n < 0 ? -errno : 0;

    if (fd >= 0) {
        (void)close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
    return rc;
}

static int read_cgroup(struct account *account, const char *path)
{
    char text[2048];
    const char *user, *system;
    int rc = read_text(path, text, sizeof text);

    if (rc != 0) {
        return rc;
    }
    user = strstr(text, "user_usec ");
    system = strstr(text, "system_usec ");
    if (user == NULL || system == NULL) {
        return -EPROTO;
    }
    account->user_us = strtoull(user + strlen("user_usec "), NULL, 10);
    account->system_us = strtoull(system + strlen("system_usec "), NULL, 10);
    return 0;
}

/* Adds the ticks of a process, of the children it has waited for, and of those that it has. One that has gone counts nothing. */
static void add_process(unsigned long pid, unsigned depth, uint64_t *user, uint64_t *system)
{
    char path[64], text[4096];
    unsigned long own_user, own_system;
    long waited_user, waited_system;
    const char *at;
    char *next;

    (void)snprintf(path, sizeof path, "/proc/%lu/stat", pid);
    if (read_text(path, text, sizeof text) != 0) {
        return;
    }
    at = strrchr(text, ')'); /* the name may contain anything */
    if (at == NULL || sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &own_user,
                             &own_system, &waited_user, &waited_system) != 4) {
        return;
    }
    *user += own_user + (uint64_t)waited_user;
    *system += own_system + (uint64_t)waited_system;
    (void)snprintf(path, sizeof path, "/proc/%lu/task/%lu/children", pid, pid);
    if (depth == DEPTH_MAX || read_text(path, text, sizeof text) != 0) {
        return;
    }
    for (at = text; *at != '\0'; at = next) {
        unsigned long child = strtoul(at, &next, 10);

        if (next == at) {
            break;
        }
        if (child != 0) {
            add_process(child, depth + 1, user, system);
        }
    }
}

static int read_processes(struct account *account, const char *pid)
{
    const uint64_t tick_us = 1000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    uint64_t user = 0, system = 0;

    add_process(strtoul(pid, NULL, 10), 0, &user, &system);
    account->user_us = user * tick_us;
    account->system_us = system * tick_us;
    return 0;
}

static int read_self(struct account *account, const char *unused)
{
    struct rusage used;

    (void)unused;
    if (getrusage(RUSAGE_SELF, &used) != 0) {
        return -errno;
    }
    account->user_us = (uint64_t)used.ru_utime.tv_sec * 1000000u + (uint64_t)used.ru_utime.tv_usec;
    account->system_us = (uint64_t)used.ru_stime.tv_sec * 1000000u + (uint64_t)used.ru_stime.tv_usec;
    return 0;
}

/* Everything but idling, time that a hypervisor gave to others included. */
static int read_machine(struct account *account, const char *unused)
{
    const uint64_t tick_us = 1000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    uint64_t user, nice, system, irq, soft_irq, steal;
    char text[256];
    int rc = read_text("/proc/stat", text, sizeof text);

    (void)unused;
    if (rc != 0) {
        return rc;
    }
    if (sscanf(text, "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %*u %*u %" SCNu64 " %" SCNu64 " %" SCNu64, &user, &nice,
               &system, &irq, &soft_irq, &steal) != 6) {
        return -EPROTO;
    }
    account->user_us = 0;
    account->system_us = (user + nice + system + irq + soft_irq + steal) * tick_us;
    return 0;
}

/* ---- All of them ----------------------------------------------------------------------------------------------------- */

struct account_reader {
    const char *kind;
    int (*read)(struct account *account, const char *what);
};

static const struct account_reader readers[] = {
    {"cgroup:", read_cgroup},
    {"pid:", read_processes},
    {"self:", read_self},
    {"machine:", read_machine},
};

int accounts_add(struct accounts *accounts, char *text)
{
    char *equals = strchr(text, '=');
    struct account *account = &accounts->account[accounts->count];

    if (equals == NULL || accounts->count == ACCOUNTS_MAX) {
        return -EINVAL;
    }
    *equals = '\0';
    *account = (struct account){.name = text, .source = equals + 1};
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        if (strncmp(account->source, readers[i].kind, strlen(readers[i].kind)) == 0) {
            account->reader = &readers[i];
            account->source += strlen(readers[i].kind);
            accounts->count++;
            return 0;
        }
    }
    return -EINVAL;
}

int accounts_read(struct accounts *accounts)
{
    int rc = 0;

    for (size_t i = 0; i < accounts->count && rc == 0; i++) {
        struct account *account = &accounts->account[i];

        rc = account->reader->read(account, account->source);
    }
    return rc;
}

void accounts_skip(struct accounts *from, const struct accounts *until, const struct accounts *now)
{
    for (size_t i = 0; i < from->count; i++) {
        from->account[i].user_us += now->account[i].user_us - until->account[i].user_us;
        from->account[i].system_us += now->account[i].system_us - until->account[i].system_us;
    }
}

static double seconds(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? (double)(to_us - from_us) / 1e6 : 0; /* a child may have gone unnoticed */
}

void accounts_print(const struct accounts *from, const struct accounts *to)
{
    printf("{");
    for (size_t i = 0; i < to->count; i++) {
        printf("%s\"%s\": {\"user\": %.6f, \"system\": %.6f}", i > 0 ? ", " : "", to->account[i].name,
               seconds(from->account[i].user_us, to->account[i].user_us),
               seconds(from->account[i].system_us, to->account[i].system_us));
    }
    printf("}");
}
