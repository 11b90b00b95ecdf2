/* SPDX-License-Identifier: MIT
 *
 * What the subcommands of `etcp` share: how they are called, how they fail, how they explain themselves. */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include <stdbool.h>
#include <stddef.h>

struct option;

struct tool_command {
    const char *name;
    const char *arguments; /* for the first line of its help */
    const char *summary;
    const char *options; /* the rest of its help, whole lines */
    /* argv[0] is "etcp COMMAND", for getopt's messages. Returns the code to exit with. */
    int (*run)(const struct tool_command *command, int argc, char **argv);
};

extern const struct tool_command keygen_command;
extern const struct tool_command pubkey_command;
extern const struct tool_command check_command;
extern const struct tool_command ping_command;
extern const struct tool_command connect_command;
extern const struct tool_command status_command;

enum {
    TOOL_GO_ON = -1,
    TOOL_HELP = 1000, /* values of struct option from here on are free for long options without a letter */
    TOOL_OPTION,
};

/* The next option as from getopt_long() (-1: no more), with --help and wrong ones answered: then *ret_exit is the code
 * to exit with, else TOOL_GO_ON. `options` must have {"help", no_argument, NULL, TOOL_HELP}. */
int tool_option(const struct tool_command *command, int argc, char **argv, const char *letters,
                const struct option *options, int *ret_exit);

/* Says what is wrong with the call, and how to find out more. Returns EX_USAGE. */
int tool_usage(const struct tool_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints "etcp COMMAND: ..." on stderr. */
void tool_complain(const struct tool_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for each line of a text, behind `before`. */
void tool_complain_lines(const struct tool_command *command, const char *before, const char *text);

/* Flushes stdout and returns EX_OK, or complains and returns EX_IOERR: what was printed was the result. */
int tool_printed(const struct tool_command *command);

/* The code of sysexits(3) for a file that could not be read, from the -errno of base and keys. */
int tool_exit_code(int error);

#endif
