/* SPDX-License-Identifier: MIT */
#include "server/descriptors.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdint.h>

#include <sys/resource.h>

#include "base/log.h"
#include "config/server.h"
#include "server/census.h"

enum {
    BESIDE = 64, /* beside those of connections: listeners, files, those being refused */
    OF_A_LOOP = 8,
};

static atomic_size_t backends, backends_max;

void descriptors_share(const struct config_server *config, size_t workers)
{
    const rlim_t wanted =
        (rlim_t)config->limits.max_connections + CENSUS_REFUSING_MAX + BESIDE + OF_A_LOOP * (rlim_t)workers;
    struct rlimit limit;
    rlim_t left;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return; /* it can't fail with these arguments */
    }
    if (limit.rlim_cur < limit.rlim_max) {
        const struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};

        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
            limit = raised;
        }
    }
    if (limit.rlim_cur < wanted) {
        log_message(LOG_LEVEL_WARNING, "max_connections = %" PRIu32 " needs RLIMIT_NOFILE = %ju, but it is %ju",
                    config->limits.max_connections, (uintmax_t)wanted, (uintmax_t)limit.rlim_cur);
    }
    left = limit.rlim_cur - (wanted < limit.rlim_cur / 4 ? wanted : limit.rlim_cur / 4);
    atomic_store(&backends_max, left < SIZE_MAX ? (size_t)left : SIZE_MAX);
}

bool descriptors_take(void)
{
    const size_t before = atomic_fetch_add_explicit(&backends, 1, memory_order_relaxed);

    if (before >= atomic_load_explicit(&backends_max, memory_order_relaxed)) {
        descriptors_give();
        return false;
    }
    return true;
}

void descriptors_give(void)
{
    (void)atomic_fetch_sub_explicit(&backends, 1, memory_order_relaxed);
}
