# SPDX-License-Identifier: MIT
# etcp_pytest(ROOM LABELS ... FILES ...): one ctest entry for each pytest file, named ROOM_FILE. Debian's interpreter, because
# Debian's packages (python3-cryptography, python3-pytest) are what the tests are written for. Exit 77 means skipped.
find_program(ETCP_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)

function(etcp_pytest room)
  cmake_parse_arguments(arg "" "" "LABELS;FILES" ${ARGN})
  foreach(file ${arg_FILES})
    string(REGEX REPLACE "^test_(.*)\\.py$" "${room}_\\1" name ${file})
    if(ETCP_PYTHON)
      add_test(NAME ${name} COMMAND ${ETCP_PYTHON} -B ${PROJECT_SOURCE_DIR}/tests/system/run.py
               ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    else()
      add_test(NAME ${name} COMMAND sh -c "echo 'skipped: there is no /usr/bin/python3'; [ \"$CI\" = true ] && exit 1; exit 77")
    endif()
    set_tests_properties(${name} PROPERTIES
      SKIP_RETURN_CODE 77 TIMEOUT 300 LABELS "${arg_LABELS}" ENVIRONMENT "ETCP_BIN=${PROJECT_BINARY_DIR}/bin")
  endforeach()
endfunction()
