/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <stdlib.h>

#include "check.h"

static void check_text(struct json *json, const char *want)
{
    size_t len = 0;
    char *text = json_take(json, &len);

    CHECK_STR(text, want);
    CHECK_INT(len, strlen(want));
    free(text);
}

static void nothing_written_is_no_document(void)
{
    struct json json = {0};
    size_t len = 7;

    CHECK(json_take(&json, &len) == NULL);
    CHECK_INT(len, 7);
    json_done(&json);
}

static void commas_stand_between_and_only_there(void)
{
    struct json json = {0};

    json_open_object(&json);
    json_key(&json, "empty");
    json_open_object(&json);
    json_close_object(&json);
    json_key(&json, "list");
    json_open_array(&json);
    json_number(&json, 1);
    json_open_array(&json);
    json_close_array(&json);
    json_open_object(&json);
    json_member_number(&json, "a", 2);
    json_member_text(&json, "b", "c");
    json_close_object(&json);
    json_null(&json);
    json_close_array(&json);
    json_key(&json, "no");
    json_boolean(&json, false);
    json_key(&json, "yes");
    json_boolean(&json, true);
    json_close_object(&json);
    check_text(&json, "{\"empty\":{},\"list\":[1,[],{\"a\":2,\"b\":\"c\"},null],\"no\":false,\"yes\":true}");
}

static void numbers_are_written_whole(void)
{
    struct json json = {0};

    json_open_array(&json);
    json_number(&json, 0);
    json_number(&json, UINT64_MAX);
    json_close_array(&json);
    check_text(&json, "[0,18446744073709551615]");
}

static void texts_are_escaped(void)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"\"\\/", "\"\\\"\\\\/\""},
        {"a\nb\tc\x1b[31m\x7f", "\"a\\u000ab\\u0009c\\u001b[31m\\u007f\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xff", "\"\\ufffd\""},
        {"a\x80z", "\"a\\ufffdz\""},
        {"\xc3", "\"\\ufffd\""},                       /* cut off */
        {"\xe2\x82", "\"\\ufffd\\ufffd\""},            /* cut off */
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""},            /* overlong */
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* a surrogate */
        {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {NULL, "null"},
    };

    for (size_t i = 0; i < CHECK_COUNT(cases); i++) {
        struct json json = {0};

        json_text(&json, cases[i].text);
        check_text(&json, cases[i].want);
    }
}

static void lists_are_joined(void)
{
    struct json json = {0}, none = {0}, one = {0}, two = {0};

    json_number(&one, 1);
    json_open_object(&two);
    json_close_object(&two);
    json_text(&two, "x");
    json_open_object(&json);
    json_key(&json, "all");
    json_open_array(&json);
    json_append(&json, &none);
    json_append(&json, &one);
    json_append(&json, &none);
    json_append(&json, &two);
    json_close_array(&json);
    json_key(&json, "after");
    json_open_array(&json);
    json_append(&json, &none);
    json_close_array(&json);
    json_close_object(&json);
    CHECK(one.text == NULL && two.text == NULL);
    check_text(&json, "{\"all\":[1,{},\"x\"],\"after\":[]}");
}

static void a_failure_anywhere_is_one_of_the_whole(void)
{
    struct json json = {0}, list = {0};
    size_t len = 0;

    json_number(&list, 1);
    list.failed = true;
    json_open_array(&json);
    json_append(&json, &list);
    json_number(&json, 2);
    json_close_array(&json);
    CHECK(json.failed);
    CHECK(json_take(&json, &len) == NULL);
    CHECK(!json.failed); /* fit for the next document */
    json_number(&json, 3);
    check_text(&json, "3");
}

static void documents_grow(void)
{
    struct json json = {0};
    size_t len = 0;
    char *text = NULL;

    json_open_array(&json);
    for (unsigned i = 0; i < 100000; i++) {
        json_number(&json, 7);
    }
    json_close_array(&json);
    text = json_take(&json, &len);
    CHECK_INT(len, 200001);
    CHECK_MEM(text, "[7,7,", 5);
    CHECK_MEM(text + len - 3, ",7]", 3);
    free(text);
}

static void depth_is_kept_apart(void)
{
    struct json json = {0};
    char want[2 * JSON_DEPTH_MAX + 1];

    for (unsigned i = 0; i < JSON_DEPTH_MAX; i++) {
        json_open_array(&json);
        want[i] = '[';
        want[2 * JSON_DEPTH_MAX - 1 - i] = ']';
    }
    for (unsigned i = 0; i < JSON_DEPTH_MAX; i++) {
        json_close_array(&json);
    }
    want[2 * JSON_DEPTH_MAX] = '\0';
    check_text(&json, want);
}

static const struct check_case cases[] = {
    CHECK_CASE(nothing_written_is_no_document),
    CHECK_CASE(commas_stand_between_and_only_there),
    CHECK_CASE(numbers_are_written_whole),
    CHECK_CASE(texts_are_escaped),
    CHECK_CASE(lists_are_joined),
    CHECK_CASE(a_failure_anywhere_is_one_of_the_whole),
    CHECK_CASE(documents_grow),
    CHECK_CASE(depth_is_kept_apart),
};

CHECK_MAIN(cases)
