# SPDX-License-Identifier: MIT
# One interface target carries what every object of the project is compiled with.
option(ETCP_WERROR "Treat warnings as errors" ON)
set(ETCP_SANITIZE "" CACHE STRING "Sanitizers for -fsanitize=, for example address,undefined")
option(ETCP_FUZZ "Build the fuzz targets with libFuzzer (clang)" OFF)

# Else CMAKE_POSITION_INDEPENDENT_CODE compiles programs as such and leaves linking to the compiler's default.
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

add_library(etcp_flags INTERFACE)
target_compile_definitions(etcp_flags INTERFACE _GNU_SOURCE)
target_compile_options(etcp_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes
  -Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wimplicit-fallthrough
  -fno-strict-aliasing -fno-common -fstack-protector-strong)
if(ETCP_WERROR)
  target_compile_options(etcp_flags INTERFACE -Werror)
endif()
if(ETCP_FUZZ)
  target_compile_options(etcp_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(ETCP_SANITIZE)
  target_compile_options(etcp_flags INTERFACE -fsanitize=${ETCP_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(etcp_flags INTERFACE -fsanitize=${ETCP_SANITIZE})
else()
  target_compile_options(etcp_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
endif()
# In every build: binding a function at its first call saves the vector registers, and what secret is in them, on the stack.
target_link_options(etcp_flags INTERFACE -Wl,-z,relro,-z,now)
