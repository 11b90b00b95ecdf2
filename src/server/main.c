/* SPDX-License-Identifier: MIT
 *
 * etcp-server: options. See etcp-server(8). */
#include <signal.h>
#include <stdio.h>
#include <sysexits.h>

#include <etcp/etcp.h>

#include "base/log.h"
#include "config/server.h"
#include "net/cli.h"
#include "server/server.h"
#include "server/snapshot.h"

static const struct cli_program program = {
    .name = "etcp-server",
    .summary = "Accepts etcp agents, authorises them by their keys, and hands their streams to services.",
    .config_path = CONFIG_SERVER_PATH,
    .manual = "etcp-server(8), etcp-server.conf(5)",
};

/* -t and -T. */
static int check_config(const struct cli *cli)
{
    struct config_server *config = NULL;
    struct error_text error;
    int exit_code = EX_OK;

    if (snapshot_load_config(cli->config, &config, &exit_code, &error) != 0 ||
        (cli->check && snapshot_check_files(config, &exit_code, &error) != 0)) {
        log_last_words();
        log_lines(LOG_LEVEL_ERROR, NULL, 0, "", error.text);
        goto out;
    }
    if (cli->dump) {
        snapshot_dump(config, stdout);
    } else {
        cli_print_good(CONFIG_SERVER_PATH, config_source(config->values), cli);
    }
    exit_code = fflush(stdout) == 0 ? EX_OK : EX_IOERR;
out:
    config_server_free(config);
    return exit_code;
}

int main(int argc, char **argv)
{
    struct cli cli;
    int code = CLI_GO_ON;

    code = cli_parse(&program, argc, argv, &cli);
    if (code != CLI_GO_ON) {
        return code;
    }
    if (cli.check || cli.dump) {
        return check_config(&cli);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    return server_run(cli.config);
}
