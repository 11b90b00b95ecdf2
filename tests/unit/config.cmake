# SPDX-License-Identifier: MIT
etcp_test(config-value SOURCES test_config_value.c LIBS etcp_config etcp)
etcp_test(config-server SOURCES test_config_server.c LIBS etcp_config etcp)
etcp_test(config-syntax SOURCES test_config_syntax.c LIBS etcp_config etcp)
etcp_test(config-agent SOURCES test_config_agent.c LIBS etcp_config etcp)
etcp_test(docs-agree SOURCES test_docs_agree.c LIBS etcp_config etcp ARGS ${PROJECT_SOURCE_DIR})
