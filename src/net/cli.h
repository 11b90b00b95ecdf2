/* SPDX-License-Identifier: MIT
 *
 * The command line that both daemons share, and what --version says. The mains decide what the options lead to. */
#ifndef NET_CLI_H
#define NET_CLI_H

#include <stdbool.h>
#include <stdio.h>

/* What differs between the programs; all static text. */
struct cli_program {
    const char *name;        /* "etcp-server" */
    const char *summary;     /* one line for --help */
    const char *config_path; /* read without -c */
    const char *manual;      /* "etcp-server(8), etcp-server.conf(5)" */
};

struct cli {
    const char *config; /* of -c; NULL without it: then config_path, which need not exist */
    bool check;         /* -t: check the configuration, then exit */
    bool dump;          /* -T: check and print it, then exit */
};

enum {
    CLI_GO_ON = -1,
};

/* The first thing that a program does. Opens /dev/null wherever standard input, output or error is closed, or a file or socket that
 * got their number later would be printed into; opens the log; prepares libetcp. Returns CLI_GO_ON, else the code to exit
 * with, and has said why where that could be done. */
int cli_begin(void);

/* Begins, and reads the options of a daemon; --log-level goes to log_force_level(). --help and --version are
 * answered here, wrong usage too (on stderr). Returns CLI_GO_ON with *ret_cli filled, else the code to exit with. */
int cli_parse(const struct cli_program *program, int argc, char **argv, struct cli *ret_cli);

/* Prints what a check that found nothing wrong has looked at. `path`: what is read without -c; `source`: what was read. */
void cli_print_good(const char *path, const char *source, const struct cli *cli);

/* Prints the program's version, those of the libraries in use, and which AEADs this processor runs. */
void cli_print_version(const char *name, FILE *out);

#endif
