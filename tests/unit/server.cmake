# SPDX-License-Identifier: MIT
etcp_test(unit-census SOURCES test_census.c ${PROJECT_SOURCE_DIR}/src/server/census.c LIBS etcp_net Threads::Threads
  LABELS unit)
