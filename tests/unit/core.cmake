# SPDX-License-Identifier: MIT
foreach(module secret bytes aead record frame stream sha256 x25519 noise handshake classic key outbox conn conn_contracts)
  etcp_test(unit-${module} SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_${module}.c LIBS etcp_testcore LABELS unit)
endforeach()
target_compile_definitions(test-unit-x25519 PRIVATE ETCP_TEST_LIB25519=$<BOOL:${lib25519_FOUND}>)
target_compile_definitions(test-unit-aead PRIVATE ETCP_TEST_IPSEC_MB=$<BOOL:${ipsecmb_FOUND}>)
