/* SPDX-License-Identifier: MIT
 *
 * etcp: one tool, a table of subcommands. See etcp(1). */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include <etcp/etcp.h>

#include "base/error.h"
#include "base/log.h"
#include "net/cli.h"
#include "tools/tool.h"

static const struct tool_command *const commands[] = {
    &keygen_command, &pubkey_command, &check_command, &ping_command, &connect_command, &status_command,
};

enum {
    COMMANDS = sizeof(commands) / sizeof(commands[0]),
};

static void print_help(FILE *out)
{
    (void)fprintf(out, "Usage: etcp COMMAND [options] ...\n\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        (void)fprintf(out, "  %-8s %-26s %s\n", commands[i]->name, commands[i]->arguments, commands[i]->summary);
    }
    (void)fprintf(out, "\n"
                       "      --version  print versions and exit\n"
                       "      --help     print this and exit; etcp COMMAND --help explains a command\n"
                       "\n"
                       "See etcp(1).\n");
}

int tool_option(const struct tool_command *command, int argc, char **argv, const char *letters,
                const struct option *options, int *ret_exit)
{
    const int option = getopt_long(argc, argv, letters, options, NULL);

    *ret_exit = TOOL_GO_ON;
    if (option == TOOL_HELP) {
        (void)printf("Usage: etcp %s %s\n%s.\n\n%s", command->name, command->arguments, command->summary,
                     command->options);
        *ret_exit = EX_OK;
    } else if (option == '?') {
        (void)fprintf(stderr, "Try 'etcp %s --help'.\n", command->name);
        *ret_exit = EX_USAGE;
    }
    return option;
}

static void complain(const struct tool_command *command, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void complain(const struct tool_command *command, const char *format, va_list arguments)
{
    (void)fprintf(stderr, "etcp %s: ", command->name);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
}

int tool_usage(const struct tool_command *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    complain(command, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "Try 'etcp %s --help'.\n", command->name);
    return EX_USAGE;
}

void tool_complain(const struct tool_command *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    complain(command, format, arguments);
    va_end(arguments);
}

void tool_complain_lines(const struct tool_command *command, const char *before, const char *text)
{
    const char *line = NULL;
    int len = 0;

    while ((line = error_next_line(&text, &len)) != NULL) {
        tool_complain(command, "%s%.*s", before, len, line);
    }
}

int tool_printed(const struct tool_command *command)
{
    if (fflush(stdout) != 0) {
        tool_complain(command, "standard output: %s", strerror(errno));
        return EX_IOERR;
    }
    return EX_OK;
}

int tool_exit_code(int error)
{
    switch (-error) {
    case 0:
        return EX_OK;
    case EPERM:
    case EACCES:
        return EX_NOPERM;
    case ENOENT:
    case EISDIR:
        return EX_NOINPUT;
    case EINVAL:
    case EFBIG:
        return EX_DATAERR;
    case ENOMEM:
        return EX_OSERR;
    default:
        return EX_IOERR;
    }
}

int main(int argc, char **argv)
{
    const int code = cli_begin();

    if (code != CLI_GO_ON) {
        return code;
    }
    /* Results go to stdout, and what the user did wrong is told by the command: the log is for surprises. */
    log_set_level(LOG_LEVEL_WARNING);
    (void)signal(SIGPIPE, SIG_IGN);

    if (argc < 2) {
        print_help(stderr);
        return EX_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
    }
    if (strcmp(argv[1], "--version") == 0) {
        cli_print_version("etcp", stdout);
        return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i]->name) == 0) {
            char name[32];

            (void)snprintf(name, sizeof(name), "etcp %s", commands[i]->name);
            argv[1] = name;
            return commands[i]->run(commands[i], argc - 1, argv + 1);
        }
    }
    (void)fprintf(stderr, "etcp: no such command: %s\nTry 'etcp --help'.\n", argv[1]);
    return EX_USAGE;
}
