/* SPDX-License-Identifier: MIT */
#include "net/cli.h"

#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <etcp/etcp.h>
#include <event2/event.h>
#include <sodium.h>

#include "base/log.h"

enum {
    OPTION_LOG_LEVEL = 256,
    OPTION_VERSION,
    OPTION_HELP,
};

static void print_help(const struct cli_program *program)
{
    (void)printf(
        "Usage: %s [options]\n"
        "%s\n"
        "\n"
        "  -c, --config FILE      read this configuration (default: %s)\n"
        "  -t, --check-config     check the configuration and the files it names, and exit: 0 if all is good\n"
        "  -T, --dump-config      print every setting, its value and where it comes from, and exit\n"
        "      --log-level LEVEL  error, warning, notice, info or debug; comes before $ETCP_LOG and log_level\n"
        "      --version          print versions and exit\n"
        "      --help             print this and exit\n"
        "\n"
        "See %s.\n",
        program->name, program->summary, program->config_path, program->manual);
}

void cli_print_version(const char *name, FILE *out)
{
    const bool aes = etcp_suite_available(ETCP_SUITE_AES256GCM);

    (void)fprintf(out,
                  "%s %s\n"
                  "libetcp %s, libsodium %s, libevent %s\n"
                  "aes256gcm: %s\n"
                  "chacha20poly1305: yes%s\n"
                  "long records: aes256gcm by %s, chacha20poly1305 by %s\n"
                  "x25519: by %s\n",
                  name, ETCP_VERSION, etcp_version(), sodium_version_string(), event_get_version(),
                  aes ? "yes (default)" : "no (this processor can't run it)", aes ? "" : " (default)",
                  aes ? etcp_bulk_provider(ETCP_SUITE_AES256GCM) : "nothing",
                  etcp_bulk_provider(ETCP_SUITE_CHACHA20POLY1305), etcp_x25519_provider());
}

static bool hold_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        (void)close(fd);
    }
    return fd >= 0;
}

int cli_begin(void)
{
    if (!hold_standard_descriptors()) {
        return EX_OSERR;
    }
    if (log_open() < 0) {
        log_message(LOG_LEVEL_WARNING, "ETCP_LOG: expected error, warning, notice, info or debug; ignored");
    }
    if (etcp_init() < 0) {
        log_message(LOG_LEVEL_ERROR, "%s", etcp_strerror(ETCP_EINIT));
        return EX_OSERR;
    }
    return CLI_GO_ON;
}

static int usage(const struct cli_program *program)
{
    (void)fprintf(stderr, "Try '%s --help'.\n", program->name);
    return EX_USAGE;
}

int cli_parse(const struct cli_program *program, int argc, char **argv, struct cli *ret_cli)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, 't'},
        {"dump-config", no_argument, NULL, 'T'},
        {"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
        {"version", no_argument, NULL, OPTION_VERSION},
        {"help", no_argument, NULL, OPTION_HELP},
        {NULL, 0, NULL, 0},
    };
    struct cli cli = {0};
    enum log_level level;
    int option, code = cli_begin();

    if (code != CLI_GO_ON) {
        return code;
    }
    while ((option = getopt_long(argc, argv, "c:tT", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            cli.config = optarg;
            break;
        case 't':
            cli.check = true;
            break;
        case 'T':
            cli.dump = true;
            break;
        case OPTION_LOG_LEVEL:
            if (log_level_parse(optarg, &level) < 0) {
                (void)fprintf(stderr, "%s: --log-level %s: expected error, warning, notice, info or debug\n",
                              program->name, optarg);
                return usage(program);
            }
            log_force_level(level);
            break;
        case OPTION_VERSION:
            cli_print_version(program->name, stdout);
            return EX_OK;
        case OPTION_HELP:
            print_help(program);
            return EX_OK;
        default:
            return usage(program);
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "%s: unexpected argument: %s\n", program->name, argv[optind]);
        return usage(program);
    }
    *ret_cli = cli;
    return CLI_GO_ON;
}

void cli_print_good(const char *path, const char *source, const struct cli *cli)
{
    if (cli->config == NULL && strcmp(source, path) != 0) {
        (void)printf("%s: there is no such file; the defaults are good\n", path);
    } else {
        (void)printf("%s: good\n", source);
    }
}
