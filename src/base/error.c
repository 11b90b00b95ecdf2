/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error_text *ret_error, int result, const char *format, ...)
{
    va_list args;

    if (ret_error) {
        va_start(args, format);
        (void)vsnprintf(ret_error->text, ERROR_TEXT_BYTES, format, args); /* cut if too long, as promised */
        va_end(args);
    }
    return result;
}

void error_clear(struct error_text *ret_error)
{
    if (ret_error)
        ret_error->text[0] = '\0';
}

int error_add(struct error_text *error, int result, const char *format, ...)
{
    size_t used, lines = 1;
    va_list args;

    if (!error)
        return result;
    used = strlen(error->text);
    for (size_t i = 0; i < used; i++)
        lines += error->text[i] == '\n';
    if (lines > ERROR_LINES_MAX)
        return result;
    if (used > 0)
        error->text[used++] = '\n';
    if (lines == ERROR_LINES_MAX) {
        (void)snprintf(error->text + used, ERROR_LINE_BYTES - 1, "there are more mistakes");
        return result;
    }
    va_start(args, format);
    (void)vsnprintf(error->text + used, used > 0 ? ERROR_LINE_BYTES - 1 : ERROR_TEXT_BYTES, format, args);
    va_end(args);
    return result;
}

const char *error_next_line(const char **at, int *ret_len)
{
    const char *line = *at;
    size_t len = strcspn(line, "\n");

    if (*line == '\0')
        return NULL;
    *at = line + len + (line[len] == '\n');
    *ret_len = (int)len;
    return line;
}
