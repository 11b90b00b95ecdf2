# SPDX-License-Identifier: MIT
etcp_test(log SOURCES test_log.c LIBS etcp_base)
etcp_test(error SOURCES test_error.c LIBS etcp_base)
etcp_test(file SOURCES test_file.c LIBS etcp_base)
etcp_test(json SOURCES test_json.c LIBS etcp_base)
etcp_test(message-id SOURCES test_message_id.c LIBS etcp_base ARGS ${PROJECT_SOURCE_DIR})
