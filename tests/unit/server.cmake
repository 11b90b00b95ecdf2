# SPDX-License-Identifier: MIT
etcp_test(unit-census SOURCES test_census.c ${PROJECT_SOURCE_DIR}/src/server/census.c LIBS etcp_net Threads::Threads
  LABELS unit)
etcp_test(unit-proxy SOURCES test_proxy.c ${PROJECT_SOURCE_DIR}/src/server/proxy.c LIBS etcp_net LABELS unit)
etcp_test(unit-proxy-read SOURCES test_proxy_read.c ${PROJECT_SOURCE_DIR}/src/server/proxy.c
  ${PROJECT_SOURCE_DIR}/src/server/proxy_read.c LIBS etcp_net LABELS unit)
