# SPDX-License-Identifier: MIT
etcp_test(unit-loop SOURCES test_loop.c LIBS etcp_net Threads::Threads LABELS unit threads)
etcp_test(unit-address SOURCES test_address.c LIBS etcp_net LABELS unit)
etcp_test(unit-listener SOURCES test_listener.c LIBS etcp_net LABELS unit)
etcp_test(unit-resolve SOURCES test_resolve.c LIBS etcp_net Threads::Threads LABELS unit threads)
etcp_test(unit-link SOURCES test_link.c LIBS etcp_net LABELS unit)
etcp_test(unit-link-many SOURCES test_link_many.c LIBS etcp_net LABELS unit)
etcp_test(unit-http SOURCES test_http.c LIBS etcp_net LABELS unit)
etcp_test(unit-ring SOURCES test_ring.c LIBS etcp_net LABELS unit)
