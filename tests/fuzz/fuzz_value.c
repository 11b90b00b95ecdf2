/* SPDX-License-Identifier: MIT
 *
 * Single values as text: addresses, durations, sizes, log levels; and the escaping of what came from a peer. What parses is
 * written in a form that parses to the same. */
#include <errno.h>

#include "base/log.h"
#include "check.h"
#include "config/config.h"
#include "config/value.h"
#include "fuzz.h"

static void run_address(const char *text)
{
    struct config_address address, again;
    char back[CONFIG_ADDRESS_TEXT_BYTES];
    struct error_text error;

    for (int zero = 0; zero < 2; zero++) {
        if (config_address_parse(text, zero == 1, &address, &error) == 0) {
            CHECK(zero == 1 || address.kind == CONFIG_ADDRESS_UNIX || address.port != 0);
            config_address_format(&address, back);
            CHECK_INT(config_address_parse(back, zero == 1, &again, &error), 0);
            CHECK_INT(again.kind, address.kind);
            if (address.kind == CONFIG_ADDRESS_UNIX) {
                CHECK_STR(again.path, address.path);
            } else {
                CHECK_INT(again.port, address.port);
            }
        } else {
            CHECK(strchr(error.text, '\n') == NULL);
        }
    }
}

static void run_values(const char *text)
{
    char back[VALUE_TEXT_BYTES];
    uint64_t value = 0, again = 0;
    double real;
    bool flag;
    enum log_level level;

    if (value_parse_duration(text, &value) == 0) {
        value_format_duration(value, back);
        CHECK_INT(value_parse_duration(back, &again), 0);
        CHECK(again == value);
    }
    if (value_parse_size(text, &value) == 0) {
        value_format_size(value, back);
        CHECK_INT(value_parse_size(back, &again), 0);
        CHECK(again == value);
    }
    (void)value_parse_number(text, &value);
    (void)value_parse_real(text, &real);
    (void)value_parse_bool(text, &flag);
    if (log_level_parse(text, &level) == 0) {
        CHECK_STR(log_level_name(level), text);
    }
}

static void run_escape(const uint8_t *data, size_t size)
{
    char text[100];

    for (size_t room = 4; room <= sizeof(text); room += 24) {
        size_t len = log_escape(data, size, text, room);

        CHECK(len < room);
        CHECK_INT(strlen(text), len);
        for (size_t i = 0; i < len; i++) {
            CHECK((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    CHECK(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    run_address(text);
    run_values(text);
    run_escape(data, size);
    free(text);
    return 0;
}
