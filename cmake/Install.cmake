# SPDX-License-Identifier: MIT
# What another program needs to embed libetcp: the library, its headers, and how pkg-config and CMake find them.
include(CMakePackageConfigHelpers)

install(TARGETS etcp EXPORT etcp-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/etcp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
  FILES_MATCHING PATTERN "*.h")

# The folders are relative to the file itself, so that `cmake --install --prefix` may name any.
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX}/${pc_dir} OUTPUT_VARIABLE pc_up)
configure_file(${PROJECT_SOURCE_DIR}/cmake/etcp.pc.in ${PROJECT_BINARY_DIR}/etcp.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/etcp.pc DESTINATION ${pc_dir} COMPONENT development)

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/etcp)
install(EXPORT etcp-targets NAMESPACE etcp:: DESTINATION ${config_dir} COMPONENT development)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/etcp-config.cmake.in ${PROJECT_BINARY_DIR}/etcp-config.cmake
  INSTALL_DESTINATION ${config_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/etcp-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/etcp-config.cmake ${PROJECT_BINARY_DIR}/etcp-config-version.cmake
  DESTINATION ${config_dir} COMPONENT development)
