# SPDX-License-Identifier: MIT
etcp_test(config-server SOURCES test_config_server.c LIBS etcp_config etcp)
