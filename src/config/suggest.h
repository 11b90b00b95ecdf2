/* SPDX-License-Identifier: MIT
 *
 * What was meant by a name in a configuration file that no table has. */
#ifndef ETCP_CONFIG_SUGGEST_H
#define ETCP_CONFIG_SUGGEST_H

#include <stddef.h>

#include "config/table.h"

/* Writes what is to stand in place of `name`, which is no option of `here`, the section it was found in: that it belongs elsewhere,
 * or the name that is spelt almost like it, or all that there are. Only names of the table are written. */
void suggest_name(const struct config_table *table, const struct config_section *here, const char *name, char *ret_text,
                  size_t size);

#endif
