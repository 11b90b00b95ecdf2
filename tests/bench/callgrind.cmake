# SPDX-License-Identifier: MIT
# Instructions for each record: tests/bench/record_callgrind BUILD/tests/record-callgrind.
if(NOT ETCP_SANITIZE AND NOT ETCP_FUZZ)
  add_executable(record-callgrind ${CMAKE_CURRENT_LIST_DIR}/record_callgrind.c)
  target_include_directories(record-callgrind PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests/support)
  target_link_libraries(record-callgrind PRIVATE etcp_flags etcp_core)
  set_target_properties(record-callgrind PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME bench-record-callgrind
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/record_callgrind $<TARGET_FILE:record-callgrind> --smoke)
  set_tests_properties(bench-record-callgrind PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS bench)
endif()
