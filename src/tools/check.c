/* SPDX-License-Identifier: MIT
 *
 * etcp check: validates a configuration and the files that it names, without starting anything or making any file. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "config/agent.h"
#include "config/server.h"
#include "keys/authorized.h"
#include "keys/keyfile.h"
#include "net/congestion.h"
#include "tools/tool.h"

enum kind {
    KIND_UNKNOWN,
    KIND_SERVER = 's',
    KIND_AGENT = 'a',
};

/* What the name tells: instances live in agent.d under any name, the daemons' own files are called after them. */
static enum kind kind_by_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    static const char instances[] = "agent.d/";
    bool server, agent;

    if (slash != NULL) {
        const size_t len = strlen(instances);
        const size_t before = (size_t)(name - path);

        if (before >= len && memcmp(name - len, instances, len) == 0 &&
            (before == len || name[-(ptrdiff_t)len - 1] == '/')) {
            return KIND_AGENT;
        }
    }
    server = strstr(name, "server") != NULL;
    agent = strstr(name, "agent") != NULL;
    if (server == agent) {
        return KIND_UNKNOWN;
    }
    return server ? KIND_SERVER : KIND_AGENT;
}

/* Whether the daemon of this role could use its keys. Complains and returns false if not. */
static bool check_keys(const struct tool_command *command, const char *role, const char *identity,
                       const char *network_key_file)
{
    const struct keyfile_request request = {
        .role = role,
        .identity = identity,
        .network_key_file = network_key_file,
    };
    struct error_text error;

    if (keyfile_identity_check(&request, &error) < 0) {
        tool_complain(command, "keys: %s", error.text);
        return false;
    }
    return true;
}

/* Whether the kernel has what the configuration asks for. */
static bool check_congestion(const struct tool_command *command, const char *name, const struct config_values *values)
{
    struct error_text why, error;

    if (congestion_check(name, &why) < 0) {
        (void)config_option_fail(values, "congestion_control", why.text, &error);
        tool_complain(command, "%s", error.text);
        return false;
    }
    return true;
}

static bool check_server(const struct tool_command *command, const struct config_server *config)
{
    struct authorized *authorized = NULL;
    struct error_text error;
    bool good = check_keys(command, "server", config->identity, config->network_key_file);

    if (authorized_check(config->authorized_agents, &authorized, &error) < 0) {
        tool_complain(command, "authorized_agents: %s", error.text);
        return false;
    }
    if (authorized_missing(authorized)) {
        tool_complain(command,
                      "authorized_agents: %s: no such file (a warning: services for named agents serve nobody)",
                      config->authorized_agents);
    }
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];

        for (size_t a = 0; a < service->allow_count; a++) {
            if (!authorized_has_name(authorized, service->allow[a])) {
                tool_complain(command, "service \"%s\": allow: \"%s\" is not in %s (a warning)", service->name,
                              service->allow[a], config->authorized_agents);
            }
        }
    }
    authorized_free(authorized);
    good = check_congestion(command, config->congestion_control, config->values) && good;
    return good;
}

static bool check_agent(const struct tool_command *command, const struct config_agent *config)
{
    const bool good = check_congestion(command, config->congestion_control, config->values);

    return check_keys(command, "agent", config->identity, config->network_key_file) && good;
}

/* Returns EX_OK, or EX_CONFIG after complaining. With `kind` unknown it is a server's if it reads as one. */
static int check(const struct tool_command *command, const char *path, enum kind kind)
{
    struct config_server *server = NULL;
    struct config_agent *agent = NULL;
    struct error_text server_error, agent_error;
    int server_result = -EINVAL, agent_result = -EINVAL;
    int code = EX_CONFIG;

    if (kind != KIND_AGENT) {
        server_result = config_server_load(path, &server, &server_error);
    }
    if (kind != KIND_SERVER && server_result < 0) {
        agent_result = config_agent_load(path, &agent, &agent_error);
    }
    if (server_result == 0 || agent_result == 0) {
        if (server != NULL ? check_server(command, server) : check_agent(command, agent)) {
            (void)printf("%s: good (%s)\n", path, server != NULL ? "etcp-server" : "etcp-agent");
            code = tool_printed(command);
        }
    } else if (kind == KIND_UNKNOWN && server_result == -EINVAL) {
        tool_complain_lines(command, "as etcp-server's: ", server_error.text);
        tool_complain_lines(command, "as etcp-agent's: ", agent_error.text);
        tool_complain(command, "its name does not tell which it is meant to be: use --server or --agent");
    } else {
        tool_complain_lines(command, "", kind == KIND_AGENT ? agent_error.text : server_error.text);
    }
    config_server_free(server);
    config_agent_free(agent);
    return code;
}

static int run(const struct tool_command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"server", no_argument, NULL, KIND_SERVER},
        {"agent", no_argument, NULL, KIND_AGENT},
        {"help", no_argument, NULL, TOOL_HELP},
        {NULL, 0, NULL, 0},
    };
    enum kind kind = KIND_UNKNOWN;
    int option, code;

    while ((option = tool_option(command, argc, argv, "", options, &code)) != -1) {
        if (code != TOOL_GO_ON) {
            return code;
        }
        if (kind != KIND_UNKNOWN && kind != (enum kind)option) {
            return tool_usage(command, "either --server or --agent");
        }
        kind = (enum kind)option;
    }
    if (argc - optind != 1) {
        return tool_usage(command, "expected one file, got %d arguments", argc - optind);
    }
    return check(command, argv[optind], kind != KIND_UNKNOWN ? kind : kind_by_name(argv[optind]));
}

const struct tool_command check_command = {
    .name = "check",
    .arguments = "[--server | --agent] FILE",
    .summary = "Validate a configuration and the files it names",
    .options =
        "Which daemon FILE is for is told by an option, else by its name (agent.d/NAME.conf, or a name with \"agent\"\n"
        "or \"server\" in it), else by its content. Exits with 78 if anything is wrong, and says where.\n"
        "\n"
        "      --server  it is etcp-server's\n"
        "      --agent   it is etcp-agent's\n"
        "      --help    print this and exit\n",
    .run = run,
};
