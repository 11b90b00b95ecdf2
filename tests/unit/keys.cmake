# SPDX-License-Identifier: MIT
etcp_test(keyfile SOURCES test_keyfile.c LIBS etcp_keys etcp)
etcp_test(authorized SOURCES test_authorized.c LIBS etcp_keys etcp)
etcp_test(known-servers SOURCES test_known_servers.c LIBS etcp_keys etcp)
