# SPDX-License-Identifier: MIT
# etcp_test(NAME SOURCES a.c b.c LIBS x y [ARGS ...] [LABELS ...]): one test program, run by ctest. Exit 77 means skipped.
function(etcp_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS;ARGS;LABELS" ${ARGN})
  add_executable(test-${name} ${arg_SOURCES})
  target_include_directories(test-${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests/support)
  target_link_libraries(test-${name} PRIVATE etcp_flags ${arg_LIBS})
  set_target_properties(test-${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND test-${name} ${arg_ARGS})
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300 LABELS "${arg_LABELS}")
endfunction()
