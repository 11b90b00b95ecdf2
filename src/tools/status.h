/* SPDX-License-Identifier: MIT
 *
 * How a status document is shown to people. */
#ifndef TOOLS_STATUS_H
#define TOOLS_STATUS_H

#include <stdbool.h>

#include <jansson.h>

struct status_style {
    bool colour;
    unsigned width; /* columns of the terminal; 0: as wide as it takes */
};

/* Prints a document of either daemon. What a daemon has from its peers is escaped; what is missing in the document is left out. */
void status_print(const json_t *document, const struct status_style *style);

#endif
