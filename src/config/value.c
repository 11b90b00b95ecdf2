/* SPDX-License-Identifier: MIT */
#include "config/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

struct unit {
    const char *name;
    uint64_t factor;
};

void value_show(const char *text, size_t len, char *ret_text, size_t size)
{
    static const char *const secrets[] = {"etcp-sec-", "etcp-net-"};

    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        if (memmem(text, len, secrets[i], strlen(secrets[i]))) {
            (void)snprintf(ret_text, size, "(a secret)");
            return;
        }
    }
    (void)log_escape(text, len, ret_text, size);
}

/* Largest first, for printing. */
static const struct unit duration_units[] = {
    {"h", 3600000000}, {"min", 60000000}, {"s", 1000000}, {"ms", 1000}, {"us", 1}};
static const struct unit size_units[] = {{"MiB", 1048576}, {"KiB", 1024}, {"", 1}};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int value_parse_bool(const char *text, bool *ret_value)
{
    bool value = strcmp(text, "true") == 0;

    if (!value && strcmp(text, "false") != 0)
        return -EINVAL;
    *ret_value = value;
    return 0;
}

/* Digits, at least one; stores where they end. */
static int parse_digits(const char *text, uint64_t *ret_value, const char **ret_end)
{
    uint64_t value = 0;
    const char *p = text;

    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');

        if (value > (UINT64_MAX - digit) / 10)
            return -ERANGE;
        value = value * 10 + digit;
    }
    if (p == text)
        return -EINVAL;
    *ret_value = value;
    *ret_end = p;
    return 0;
}

int value_parse_number(const char *text, uint64_t *ret_value)
{
    uint64_t value;
    const char *end;
    int r = parse_digits(text, &value, &end);

    if (r < 0)
        return r;
    if (*end != '\0')
        return -EINVAL;
    *ret_value = value;
    return 0;
}

/* Not strtod(): that takes exponents, hexadecimal, "nan", and the locale's decimal point. Up to 15 digits the result
 * is the nearest double, since both the digits and the power of ten are exact. */
int value_parse_real(const char *text, double *ret_value)
{
    double digits = 0;
    double scale = 1;
    unsigned count = 0;
    bool point = false;

    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '.' && !point && count > 0 && p[1] != '\0') {
            point = true;
            continue;
        }
        if (*p < '0' || *p > '9')
            return -EINVAL;
        if (++count > 15)
            return -ERANGE;
        digits = digits * 10 + (*p - '0');
        if (point)
            scale *= 10;
    }
    if (count == 0)
        return -EINVAL;
    *ret_value = digits / scale;
    return 0;
}

static int parse_unit(const char *text, const struct unit *units, size_t count, uint64_t *ret_value)
{
    uint64_t value;
    const char *end;
    int r = parse_digits(text, &value, &end);

    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(end, units[i].name) != 0)
            continue;
        if (value > UINT64_MAX / units[i].factor)
            return -ERANGE;
        *ret_value = value * units[i].factor;
        return 0;
    }
    return -EINVAL;
}

int value_parse_duration(const char *text, uint64_t *ret_us)
{
    if (strcmp(text, "0") == 0) { /* the one number that means the same in every unit */
        *ret_us = 0;
        return 0;
    }
    return parse_unit(text, duration_units, COUNT(duration_units), ret_us);
}

int value_parse_size(const char *text, uint64_t *ret_bytes)
{
    return parse_unit(text, size_units, COUNT(size_units), ret_bytes);
}

static void format_unit(uint64_t value, const struct unit *units, size_t count, char *ret_text)
{
    for (size_t i = 0; i < count; i++) {
        if (value != 0 && value % units[i].factor == 0) {
            (void)snprintf(ret_text, VALUE_TEXT_BYTES, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
            return;
        }
    }
    (void)snprintf(ret_text, VALUE_TEXT_BYTES, "%" PRIu64, value);
}

void value_format_duration(uint64_t us, char ret_text[static VALUE_TEXT_BYTES])
{
    format_unit(us, duration_units, COUNT(duration_units), ret_text);
}

void value_format_size(uint64_t bytes, char ret_text[static VALUE_TEXT_BYTES])
{
    format_unit(bytes, size_units, COUNT(size_units), ret_text);
}
