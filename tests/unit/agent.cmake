# SPDX-License-Identifier: MIT
etcp_test(unit-backoff SOURCES test_backoff.c LIBS etcp_client LABELS unit)
etcp_test(unit-trust SOURCES test_trust.c LIBS etcp_client LABELS unit)
etcp_test(unit-client SOURCES test_client.c LIBS etcp_client LABELS unit)
etcp_test(unit-retry SOURCES test_retry.c ${PROJECT_SOURCE_DIR}/src/agent/retry.c LIBS etcp_client LABELS unit)
