# SPDX-License-Identifier: MIT
# With ETCP_VALGRIND every program of etcp_test() runs under valgrind, and fails for what valgrind finds.
option(ETCP_VALGRIND "Run test programs under valgrind" OFF)
set(etcp_launcher "")
if(ETCP_VALGRIND)
  find_program(ETCP_VALGRIND_PROGRAM valgrind REQUIRED)
  set(etcp_launcher ${ETCP_VALGRIND_PROGRAM} --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=all
    --errors-for-leak-kinds=definite,indirect,possible --track-fds=no)
endif()

# etcp_test(NAME SOURCES a.c b.c LIBS x y [ARGS ...] [LABELS ...]): one test program, run by ctest. Exit 77 means skipped.
function(etcp_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS;ARGS;LABELS" ${ARGN})
  add_executable(test-${name} ${arg_SOURCES})
  target_include_directories(test-${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests/support)
  target_link_libraries(test-${name} PRIVATE etcp_flags ${arg_LIBS})
  set_target_properties(test-${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${etcp_launcher} $<TARGET_FILE:test-${name}> ${arg_ARGS})
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300 LABELS "${arg_LABELS}")
endfunction()
