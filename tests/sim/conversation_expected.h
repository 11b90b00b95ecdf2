/* SPDX-License-Identifier: MIT
 *
 * What both ends are told in each conversation. Data is its size and FNV-1a hash. */
#ifndef SIM_CONVERSATION_EXPECTED_H
#define SIM_CONVERSATION_EXPECTED_H

/* clang-format off */
#define ECHO_EXPECTED \
    "agent\n" \
    "peer proved\n" \
    "up\n" \
    "pong\n" \
    "pong\n" \
    "eof 0\n" \
    "stream 1\n" \
    "  data 305 09780c72deb8913f\n" \
    "  close\n" \
    "server\n" \
    "peer proved\n" \
    "up\n" \
    "end 0 done\n" \
    "eof 0\n" \
    "stream 1\n" \
    "  open echo origin 0 0\n" \
    "  data 305 09780c72deb8913f\n" \
    "  close\n"

#define STREAMS_EXPECTED \
    "agent\n" \
    "peer proved\n" \
    "up\n" \
    "pong\n" \
    "end 0 \n" \
    "eof 0\n" \
    "stream 1\n" \
    "  data 100 8ecbec34b719a01d\n" \
    "  close\n" \
    "stream 3\n" \
    "  error 3 no such service\n" \
    "stream 5\n" \
    "  close\n" \
    "stream 7\n" \
    "stream 2\n" \
    "  open echo origin 0 0\n" \
    "  data 30 47c6ebd634ee66e8\n" \
    "  close\n" \
    "server\n" \
    "peer proved\n" \
    "up\n" \
    "eof 0\n" \
    "stream 2\n" \
    "  data 30 47c6ebd634ee66e8\n" \
    "  close\n" \
    "stream 1\n" \
    "  open echo origin 4 4711\n" \
    "  data 100 8ecbec34b719a01d\n" \
    "  close\n" \
    "stream 3\n" \
    "  open no-such.service_1 origin 0 0\n" \
    "  refused\n" \
    "stream 5\n" \
    "  open sink origin 6 65535\n" \
    "  data 200 5e9b8c09c69f36b5\n" \
    "  close\n" \
    "stream 7\n" \
    "  open hold origin 0 0\n" \
    "  data 20 d1f379edeca74f5d\n" \
    "  error 6 took too long\n"

#define DRAIN_EXPECTED \
    "agent\n" \
    "peer proved\n" \
    "up\n" \
    "pong\n" \
    "drain back soon\n" \
    "open echo refused -6\n" \
    "end 0 \n" \
    "eof 0\n" \
    "stream 1\n" \
    "  data 6 3da7b75d9083a0d7\n" \
    "  close\n" \
    "stream 3\n" \
    "  error 8 shutting down\n" \
    "server\n" \
    "peer proved\n" \
    "up\n" \
    "open echo refused -6\n" \
    "eof 0\n" \
    "stream 1\n" \
    "  open echo origin 0 0\n" \
    "  data 6 3da7b75d9083a0d7\n" \
    "  close\n"

#define CUT_OFF_EXPECTED \
    "agent\n" \
    "peer proved\n" \
    "up\n" \
    "pong\n" \
    "drain at once\n" \
    "end 8 at once\n" \
    "eof 0\n" \
    "stream 1\n" \
    "stream 3\n" \
    "  data 10 1d2ed42354b56d8c\n" \
    "server\n" \
    "peer proved\n" \
    "up\n" \
    "eof 0\n" \
    "stream 1\n" \
    "  open hold origin 0 0\n" \
    "  data 1000 3431d73f33ba6af5\n" \
    "stream 3\n" \
    "  open echo origin 0 0\n" \
    "  data 10 1d2ed42354b56d8c\n"

#define UNAUTHORIZED_EXPECTED \
    "agent\n" \
    "peer proved\n" \
    "up\n" \
    "end 2 not in the list\n" \
    "eof 0\n" \
    "server\n" \
    "peer proved\n" \
    "eof -6\n"

#define WRONG_SERVER_EXPECTED \
    "agent\n" \
    "peer proved\n" \
    "eof -6\n" \
    "server\n" \
    "eof -10\n"

#define BUSY_EXPECTED \
    "agent\n" \
    "error -11 busy\n" \
    "refused 2\n" \
    "eof -6\n" \
    "server\n" \
    "error -18 refused\n" \
    "eof -6\n"

#define SHUTTING_DOWN_EXPECTED \
    "agent\n" \
    "error -11 shutting-down\n" \
    "refused 3\n" \
    "eof -6\n" \
    "server\n" \
    "error -18 refused\n" \
    "eof -6\n"

#define CLASSIC_NOT_SERVED_EXPECTED \
    "agent\n" \
    "error -11 unsupported-suite\n" \
    "refused 1\n" \
    "eof -6\n" \
    "server\n" \
    "error -12 the classic suite is off\n" \
    "eof -6\n"

#define NETWORK_NOT_SERVED_EXPECTED \
    "agent\n" \
    "error -11 unsupported-suite\n" \
    "refused 1\n" \
    "eof -6\n" \
    "server\n" \
    "error -12 the agent uses a network key, this server has none\n" \
    "eof -6\n"

#define STRANGER_EXPECTED \
    "agent\n" \
    "eof -10\n" \
    "server\n" \
    "error -12 the agent does not use the network key\n" \
    "eof -6\n"

#define WRONG_NETWORK_KEY_EXPECTED \
    "agent\n" \
    "eof -10\n" \
    "server\n" \
    "error -10 the agent does not hold the network key\n" \
    "eof -6\n"

#define CLASSIC_EXPECTED \
    "agent\n" \
    "peer unproved\n" \
    "up\n" \
    "message 18 f9a5a25428dbf2cd\n" \
    "message 1 af63f54c86021707\n" \
    "message 500 cd17b6ff64353279\n" \
    "eof 0\n" \
    "server\n" \
    "peer unproved\n" \
    "up\n" \
    "message 18 f9a5a25428dbf2cd\n" \
    "message 1 af63f54c86021707\n" \
    "message 500 cd17b6ff64353279\n" \
    "end 0 \n" \
    "eof 0\n"

/* clang-format on */

#endif
