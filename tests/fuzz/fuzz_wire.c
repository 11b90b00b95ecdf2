/* SPDX-License-Identifier: MIT
 *
 * A whole connection, either role and every suite, that is fed any bytes from the wire. The first byte chooses the demo
 * session and the role, the second how the rest is cut into pieces; randomness is fixed, so that inputs in the corpus get
 * through the handshake. */
#include "check.h"
#include "demo.h"
#include "end.h"
#include "fixed.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {.at = data, .left = size};
    uint32_t choice, piece;
    const struct demo *demo;
    enum etcp_role role;
    struct etcp_pool *pool = NULL;
    struct end end;

    CHECK_INT(etcp_init(), 0);
    choice = fuzz_take(&in, 1);
    piece = fuzz_take(&in, 1);
    demo = &demo_sessions[choice / 2 % DEMO_SESSIONS];
    role = choice % 2 == 0 ? ETCP_SERVER : ETCP_AGENT;
    if (!etcp_suite_available((enum etcp_suite)demo->suite)) {
        return 0;
    }
    CHECK_INT(etcp_pool_new(&pool), 0);
    end_adopt(&end, fixed_conn(pool, demo, role, NULL, 0), role, 0);
    end_pump(&end);
    while (in.left > 0) {
        size_t len = piece == 0 || piece > in.left ? in.left : piece;

        end_feed(&end, in.at, len);
        in.at += len;
        in.left -= len;
        CHECK(etcp_conn_pending(end.conn) == 0);
    }
    end_tick(&end, 100000000);
    end_eof(&end);
    /* What is sent is bounded by what was received. */
    CHECK(end.out.len <= 4096 + 64 * size);
    end_done(&end);
    etcp_pool_free(pool);
    return 0;
}
