# SPDX-License-Identifier: MIT

# etcp_find_plain(NAME WANTED HEADER LIBRARY PROGRAM COMPLAINT): a library that comes without a file for pkg-config. Sets NAME_FOUND and
# makes the target NAME if PROGRAM compiles with it. WANTED is ON, OFF or AUTO; with ON, COMPLAINT ends the configuration if it doesn't.
function(etcp_find_plain name wanted header library program complaint)
  if(NOT wanted)
    unset(${name}_FOUND CACHE) # of an earlier configuration
    return()
  endif()
  find_path(${name}_INCLUDE ${header})
  find_library(${name}_LIBRARY ${library})
  if(${name}_INCLUDE AND ${name}_LIBRARY)
    add_library(${name} INTERFACE IMPORTED)
    target_include_directories(${name} INTERFACE ${${name}_INCLUDE})
    target_link_libraries(${name} INTERFACE ${${name}_LIBRARY})
    set(CMAKE_REQUIRED_LIBRARIES ${name})
    check_source_compiles(C "${program}" ${name}_FOUND)
  endif()
  if(NOT ${name}_FOUND AND NOT wanted STREQUAL "AUTO")
    message(FATAL_ERROR "${complaint}")
  endif()
endfunction()
