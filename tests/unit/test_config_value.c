/* SPDX-License-Identifier: MIT */
#include "config/value.h"

#include <errno.h>

#include "check.h"
#include "config/config.h"

static void durations_need_a_unit(void)
{
    static const struct {
        const char *text;
        int result;
        uint64_t us;
    } cases[] = {
        {"0", 0, 0},
        {"0s", 0, 0},
        {"1us", 0, 1},
        {"50us", 0, 50},
        {"1ms", 0, 1000},
        {"250ms", 0, 250000},
        {"10s", 0, 10000000},
        {"5min", 0, 300000000},
        {"1h", 0, 3600000000},
        {"", -EINVAL, 7},
        {"10", -EINVAL, 7},
        {"s", -EINVAL, 7},
        {"1 s", -EINVAL, 7},
        {"1S", -EINVAL, 7},
        {"1u", -EINVAL, 7},
        {"0.5us", -EINVAL, 7},
        {"1.5s", -EINVAL, 7},
        {"-1s", -EINVAL, 7},
        {"+1s", -EINVAL, 7},
        {"1d", -EINVAL, 7},
        {"1ss", -EINVAL, 7},
        {"00", -EINVAL, 7},
        {"0x1s", -EINVAL, 7},
        {"99999999999999999999s", -ERANGE, 7},
        {"5124095576030432h", -ERANGE, 7},
    };

    for (size_t i = 0; i < CHECK_COUNT(cases); i++) {
        uint64_t us = 7;

        CHECK_INT(value_parse_duration(cases[i].text, &us), cases[i].result);
        CHECK_INT(us, cases[i].us);
    }
}

static void sizes_are_bytes_without_a_unit(void)
{
    static const struct {
        const char *text;
        int result;
        uint64_t bytes;
    } cases[] = {
        {"0", 0, 0},
        {"512", 0, 512},
        {"64KiB", 0, 65536},
        {"1MiB", 0, 1048576},
        {"1KB", -EINVAL, 7},
        {"1k", -EINVAL, 7},
        {"1 KiB", -EINVAL, 7},
        {"KiB", -EINVAL, 7},
        {"-1", -EINVAL, 7},
        {"", -EINVAL, 7},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 7},
        {"18014398509481985KiB", -ERANGE, 7},
    };

    for (size_t i = 0; i < CHECK_COUNT(cases); i++) {
        uint64_t bytes = 7;

        CHECK_INT(value_parse_size(cases[i].text, &bytes), cases[i].result);
        CHECK(bytes == cases[i].bytes);
    }
}

static void reals_are_digits_with_a_point(void)
{
    static const char *const wrong[] = {"",    ".",   ".5",  "1.",  "1.2.3", "-1", "+1",
                                        "1e3", "0x1", "nan", "inf", "1,5",   " 1"};
    double value = 0;

    CHECK_INT(value_parse_real("0.2", &value), 0);
    CHECK(value == 0.2);
    CHECK_INT(value_parse_real("2.0", &value), 0);
    CHECK(value == 2.0);
    CHECK_INT(value_parse_real("12.345", &value), 0);
    CHECK(value == 12.345);
    for (size_t i = 0; i < CHECK_COUNT(wrong); i++)
        CHECK_INT(value_parse_real(wrong[i], &value), -EINVAL);
    CHECK_INT(value_parse_real("0.1234567890123456", &value), -ERANGE);
    CHECK(value == 12.345);
}

static void values_are_printed_in_their_largest_unit(void)
{
    char text[VALUE_TEXT_BYTES];

    value_format_duration(0, text);
    CHECK_STR(text, "0");
    value_format_duration(90000000, text);
    CHECK_STR(text, "90s");
    value_format_duration(3600000000, text);
    CHECK_STR(text, "1h");
    value_format_duration(250000, text);
    CHECK_STR(text, "250ms");
    value_format_size(1024, text);
    CHECK_STR(text, "1KiB");
    value_format_size(1025, text);
    CHECK_STR(text, "1025");
}

/* The text of an address is what known_servers is searched for: two spellings of one address must have one text. */
static void addresses_have_one_spelling(void)
{
    static const struct {
        const char *text;
        const char *formatted;
    } cases[] = {
        {"127.0.0.1:1", "127.0.0.1:1"},
        {"Etcp.Example.ORG:00443", "etcp.example.org:443"},
        {"[0:0:0:0:0:0:0:1]:65535", "[::1]:65535"},
        {"[2001:DB8::1]:22", "[2001:db8::1]:22"},
        {"[fe80::1%eth0.1]:22", "[fe80::1%eth0.1]:22"},
        {"unix:/Run/X y", "unix:/Run/X y"},
        {"my_host-1:80", "my_host-1:80"},
    };

    for (size_t i = 0; i < CHECK_COUNT(cases); i++) {
        struct config_address address;
        struct config_address again;
        struct error_text error;
        char text[CONFIG_ADDRESS_TEXT_BYTES];

        CHECK_INT(config_address_parse(cases[i].text, false, &address, &error), 0);
        config_address_format(&address, text);
        CHECK_STR(text, cases[i].formatted);
        CHECK_INT(config_address_parse(text, false, &again, &error), 0);
        config_address_format(&again, text);
        CHECK_STR(text, cases[i].formatted);
    }
}

static void addresses_to_connect_to_have_a_port(void)
{
    struct config_address address = {.port = 7};
    struct error_text error;

    CHECK_INT(config_address_parse("h:0", false, &address, &error), -EINVAL);
    CHECK_STR(error.text, "bad address \"h:0\": expected a port from 1 to 65535");
    CHECK_INT(address.port, 7);
    CHECK_INT(config_address_parse("h:0", true, &address, &error), 0);
    CHECK_INT(address.port, 0);
    CHECK_INT(config_address_parse("\x1b[2J:1", false, &address, &error), -EINVAL);
    CHECK_STR(error.text, "bad address \"\\x1b[2J:1\": expected host:port, [v6]:port or unix:/path");
}

static const struct check_case cases[] = {
    CHECK_CASE(durations_need_a_unit),         CHECK_CASE(sizes_are_bytes_without_a_unit),
    CHECK_CASE(reals_are_digits_with_a_point), CHECK_CASE(values_are_printed_in_their_largest_unit),
    CHECK_CASE(addresses_have_one_spelling),   CHECK_CASE(addresses_to_connect_to_have_a_port),
};

CHECK_MAIN(cases)
