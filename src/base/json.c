/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum { SIZE_MIN = 1024 };

void json_done(struct json *json)
{
    free(json->text);
    *json = (struct json){0};
}

char *json_take(struct json *json, size_t *ret_len)
{
    char *text = NULL;

    assert(json->depth == 0 && !json->after_key);
    if (!json->failed && json->text != NULL) {
        text = json->text;
        *ret_len = json->len;
        json->text = NULL;
    }
    json_done(json);
    return text;
}

/* Room for `len` more bytes and a NUL. */
static bool make_room(struct json *json, size_t len)
{
    size_t size = json->size > 0 ? json->size : SIZE_MIN;
    char *text = NULL;

    if (json->failed) {
        return false;
    }
    while (size - json->len <= len) {
        if (size > SIZE_MAX / 2) {
            json->failed = true;
            return false;
        }
        size *= 2;
    }
    if (size == json->size) {
        return true;
    }
    text = realloc(json->text, size);
    if (text == NULL) {
        json->failed = true;
        return false;
    }
    json->text = text;
    json->size = size;
    return true;
}

static void put(struct json *json, const char *text, size_t len)
{
    if (make_room(json, len)) {
        memcpy(json->text + json->len, text, len);
        json->len += len;
        json->text[json->len] = '\0';
    }
}

/* What comes before a value. */
static void begin(struct json *json)
{
    if (json->after_key) {
        json->after_key = false;
        return;
    }
    if ((json->filled >> json->depth & 1u) != 0) {
        put(json, ",", 1);
    }
    json->filled |= 1u << json->depth;
}

static void open_with(struct json *json, const char *bracket)
{
    assert(json->depth < JSON_DEPTH_MAX);
    begin(json);
    put(json, bracket, 1);
    json->depth++;
    json->filled &= ~(1u << json->depth);
}

static void close_with(struct json *json, const char *bracket)
{
    assert(json->depth > 0 && !json->after_key);
    json->depth--;
    put(json, bracket, 1);
}

void json_open_object(struct json *json)
{
    open_with(json, "{");
}

void json_open_array(struct json *json)
{
    open_with(json, "[");
}

void json_close_object(struct json *json)
{
    close_with(json, "}");
}

void json_close_array(struct json *json)
{
    close_with(json, "]");
}

void json_key(struct json *json, const char *name)
{
    begin(json);
    put(json, "\"", 1);
    put(json, name, strlen(name));
    put(json, "\":", 2);
    json->after_key = true;
}

/* One character that can't stand in a text as it is. */
static void put_escaped(struct json *json, unsigned char c)
{
    char escape[8];

    if (c == '"' || c == '\\') {
        (void)snprintf(escape, sizeof(escape), "\\%c", c);
    } else if (c < 0x20 || c == 0x7f) {
        (void)snprintf(escape, sizeof(escape), "\\u%04x", c);
    } else {
        (void)snprintf(escape, sizeof(escape), "\\ufffd"); /* a byte that belongs to no character */
    }
    put(json, escape, strlen(escape));
}

void json_text(struct json *json, const char *text)
{
    const char *plain = text; /* what needs no escape is put in one go */
    const char *end = NULL;

    if (text == NULL) {
        json_null(json);
        return;
    }
    begin(json);
    put(json, "\"", 1);
    end = text + strlen(text);
    while (text < end) {
        const unsigned char c = (unsigned char)*text;
        const size_t take = utf8_length((const uint8_t *)text, (size_t)(end - text), NULL);

        if (take == 0 || c == '"' || c == '\\' || c < 0x20 || c == 0x7f) {
            put(json, plain, (size_t)(text - plain));
            put_escaped(json, c);
            text++;
            plain = text;
        } else {
            text += take;
        }
    }
    put(json, plain, (size_t)(text - plain));
    put(json, "\"", 1);
}

void json_number(struct json *json, uint64_t number)
{
    char text[24];

    begin(json);
    (void)snprintf(text, sizeof(text), "%" PRIu64, number);
    put(json, text, strlen(text));
}

void json_boolean(struct json *json, bool boolean)
{
    begin(json);
    put(json, boolean ? "true" : "false", boolean ? 4 : 5);
}

void json_null(struct json *json)
{
    begin(json);
    put(json, "null", 4);
}

void json_member_text(struct json *json, const char *name, const char *text)
{
    json_key(json, name);
    json_text(json, text);
}

void json_member_number(struct json *json, const char *name, uint64_t number)
{
    json_key(json, name);
    json_number(json, number);
}

void json_append(struct json *json, struct json *list)
{
    assert(list->depth == 0 && !list->after_key);
    json->failed = json->failed || list->failed;
    if (list->len > 0) {
        begin(json);
        put(json, list->text, list->len);
    }
    json_done(list);
}
