/* SPDX-License-Identifier: MIT
 *
 * The text of a configuration file, made fit for libconfuse, and where everything in it stands.
 *
 * libconfuse's scanner can't be given a file as it is: it replaces ${NAME} by environment variables, takes "a|b" for a
 * path through sections, drops characters that it does not know, lets a section or a string run to the end of the file, keeps
 * its state after an error, and reads past its buffer for an empty comment. Its parser appends with "+=", and
 * takes the last of several values for one option. So the text is scanned here first: libconfuse is given names, punctuation
 * and escaped strings on the same lines, and nothing else. */
#ifndef ETCP_CONFIG_SCAN_H
#define ETCP_CONFIG_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "config/table.h"

/* A section that was opened; index 0 is the file itself. */
struct scan_section {
    const struct config_section *section;
    char *title; /* NULL: has none */
    unsigned line;
};

/* A value that was given to an option. */
struct scan_option {
    size_t section; /* index of the opened section */
    const struct config_option *option;
    unsigned line;
    size_t first_value; /* index into value_lines */
    size_t value_count;
};

struct scan {
    char *text; /* for libconfuse, terminated */
    struct scan_section *sections;
    size_t section_count;
    struct scan_option *options;
    size_t option_count;
    unsigned *value_lines;
    size_t value_count;
    bool mistaken; /* an option was left out, about which there is an error text */
};

/* Scans `len` bytes; `name` stands for the file in messages. Names are looked up in the table. Fills *ret_scan. Unknown options
 * and those that are given twice are left out, with an error text for each. Returns 0, or an error text and -EINVAL or -ENOMEM. */
int scan_text(const char *text, size_t len, const char *name, const struct config_table *table, struct scan *ret_scan,
              struct error_text *ret_error);

/* Frees what is in it. */
void scan_done(struct scan *scan);

#endif
