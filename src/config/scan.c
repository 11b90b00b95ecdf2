/* SPDX-License-Identifier: MIT
 *
 * One pass over the text: tokens are copied for libconfuse in a spelling that can't be misread, and a small state machine
 * notes where sections and options stand. What it lets through, libconfuse's parser still judges. */
#include "config/scan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/suggest.h"
#include "config/value.h"

enum { STRING_MAX = 131072 }; /* bytes of one string: more than any option takes */

/* Where the state machine stands in a statement. */
enum position {
    AT_START, /* before a statement */
    AT_NAME,  /* behind the name of an option or section */
    AT_TITLE, /* behind a section's title */
    AT_VALUE, /* behind "=" */
    AT_LIST,  /* between "{" and "}" of a value */
};

struct scanner {
    const char *at;
    const char *end;
    const char *name;
    unsigned line;
    const struct config_table *table;
    struct error_text *error;

    char *out; /* text for libconfuse */
    size_t out_len;
    size_t out_room;
    char *word; /* the last word or string, terminated; length is word_len */
    size_t word_len;
    bool word_quoted;

    enum position position;
    char *title;                                /* owned, between AT_TITLE and the opening brace */
    const struct config_section *named_section; /* what the name at AT_NAME is: a section */
    const struct config_option *named_option;   /* or an option */
    unsigned named_line;
    bool skips;     /* this statement is left out */
    size_t current; /* index of the open section; 0: the file */
    size_t sections_room, options_room, values_room;
    struct scan *scan;
};

__attribute__((format(printf, 2, 3))) static int fail(struct scanner *s, const char *format, ...)
{
    char text[ERROR_TEXT_BYTES / 2];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (s->skips && s->position != AT_START)
        return -EINVAL; /* what is left out can't be read either: the cause has been told */
    return error_add(s->error, -EINVAL, "%s:%u: %s", s->name, s->line, text);
}

static int no_memory(struct scanner *s)
{
    return error_set(s->error, -ENOMEM, "%s: no memory", s->name);
}

/* Makes room for one more element behind `count`. */
static void *grow(void *array, size_t count, size_t *room, size_t size)
{
    size_t wanted;

    if (count < *room)
        return array;
    wanted = *room > 0 ? *room * 2 : 64;
    array = reallocarray(array, wanted, size);
    if (array)
        *room = wanted;
    return array;
}

/* ---- Output ------------------------------------------------------------------------------------------------------------ */

static int put(struct scanner *s, const char *bytes, size_t len)
{
    if (s->skips)
        return 0;
    if (len > s->out_room - s->out_len) {
        size_t room = (s->out_room + len) * 2;
        char *out = realloc(s->out, room);

        if (!out)
            return no_memory(s);
        s->out = out;
        s->out_room = room;
    }
    memcpy(s->out + s->out_len, bytes, len);
    s->out_len += len;
    return 0;
}

/* The last word as a string in which libconfuse's scanner has nothing to interpret but \xNN. */
static int put_word(struct scanner *s)
{
    int r = put(s, " \"", 2);

    for (size_t i = 0; r == 0 && i < s->word_len; i++) {
        uint8_t c = (uint8_t)s->word[i];
        char escaped[5];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
            c == '-') {
            r = put(s, s->word + i, 1);
        } else {
            (void)snprintf(escaped, sizeof escaped, "\\x%02x", c);
            r = put(s, escaped, 4);
        }
    }
    return r < 0 ? r : put(s, "\"", 1);
}

/* Begins to leave out a statement, which is what libconfuse and the others don't see of it. Its own mistake has been told. */
static void skip(struct scanner *s)
{
    s->skips = true;
    s->scan->mistaken = true;
}

/* ---- Words and strings ------------------------------------------------------------------------------------------------- */

static bool word_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("_.:/-*[]%", c));
}

static void scan_word(struct scanner *s)
{
    s->word_len = 0;
    s->word_quoted = false;
    while (s->at < s->end && word_character(*s->at))
        s->word[s->word_len++] = *s->at++;
    s->word[s->word_len] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Behind a backslash in double quotes. */
static int scan_escape(struct scanner *s, char *ret_char)
{
    static const char escapes[] = "\\\"$'nrt";
    static const char meanings[] = "\\\"$'\n\r\t";
    const char *found;

    if (s->at < s->end && *s->at == 'x') {
        int high = s->end - s->at > 2 ? hex_digit(s->at[1]) : -1;
        int low = s->end - s->at > 2 ? hex_digit(s->at[2]) : -1;

        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return fail(s, "bad escape in a string: expected \\x and two hexadecimal digits, not 00");
        *ret_char = (char)(high * 16 + low);
        s->at += 3;
        return 0;
    }
    found = s->at < s->end && *s->at != '\0' ? strchr(escapes, *s->at) : NULL;
    if (!found)
        return fail(s, "bad escape in a string: expected one of \\\\ \\\" \\' \\$ \\n \\r \\t \\xNN");
    *ret_char = meanings[found - escapes];
    s->at++;
    return 0;
}

static int scan_string(struct scanner *s)
{
    char quote = *s->at++;

    s->word_len = 0;
    s->word_quoted = true;
    for (;;) {
        char c;

        if (s->at >= s->end || *s->at == '\n')
            return fail(s, "a string has no end: expected a closing %c on the same line", quote);
        if (s->word_len >= STRING_MAX)
            return fail(s, "a string is too long: expected at most %d bytes", STRING_MAX);
        c = *s->at++;
        if (c == quote)
            break;
        if (((uint8_t)c < 0x20 && c != '\t') || c == 0x7f)
            return fail(s, "a control character (0x%02x) in a string: expected \\n, \\r, \\t or \\xNN for it",
                        (uint8_t)c);
        if (quote == '"' && c == '$' && s->at < s->end && *s->at == '{')
            return fail(s, "\"${\" in a string: the environment is not used here: expected the value itself, or \\${");
        if (quote == '"' && c == '\\') {
            int r = scan_escape(s, &c);

            if (r < 0)
                return r;
        }
        s->word[s->word_len++] = c;
    }
    s->word[s->word_len] = '\0';
    if (memchr(s->word, '=', s->word_len) && s->at < s->end && (word_character(*s->at) || *s->at == quote))
        return fail(s, "text goes on right behind a closing %c: is one missing before it?", quote);
    return 0;
}

/* ---- Structure --------------------------------------------------------------------------------------------------------- */

static const struct config_section *find_section(const struct config_table *table, const char *name)
{
    for (size_t i = 1; i < table->section_count; i++) {
        if (strcmp(table->sections[i].name, name) == 0)
            return &table->sections[i];
    }
    return NULL;
}

static const struct config_option *find_option(const struct config_section *section, const char *name)
{
    for (size_t i = 0; i < section->option_count; i++) {
        if (strcmp(section->options[i].name, name) == 0)
            return &section->options[i];
    }
    return NULL;
}

/* Whether this comes next in the line. */
static bool is_before(const struct scanner *s, char c)
{
    const char *at = s->at;

    while (at < s->end && (*at == ' ' || *at == '\t'))
        at++;
    return at < s->end && *at == c;
}

/* What stands for an option of no table; it may have one value or many. */
static const struct config_option unknown = {.name = "unknown", .type = CONFIG_AGENT_LIST};

static int at_name(struct scanner *s)
{
    const struct config_section *here = s->scan->sections[s->current].section;
    char shown[64];
    char expected[400];

    value_show(s->word, s->word_len, shown, sizeof shown);
    if (s->word_quoted)
        return fail(s, "\"%s\" in quotes: expected the name of an option or section", shown);
    if (s->word[0] == '/')
        return fail(s, "unexpected \"%s\": expected comments to begin with #", shown);
    s->named_section = s->current == 0 ? find_section(s->table, s->word) : NULL;
    s->named_option = find_option(here, s->word);
    s->named_line = s->line;
    if (!s->named_option && here->name && !is_before(s, '=') && find_section(s->table, s->word))
        return fail(s, "section \"%s\" inside of section \"%s\": is the \"}\" of the one in line %u missing?", shown,
                    here->name, s->scan->sections[s->current].line);
    if (!s->named_section && !s->named_option) {
        suggest_name(s->table, here, s->word, expected, sizeof expected);
        if (here->name)
            (void)fail(s, "unknown option \"%s\" in section \"%s\": %s", shown, here->name, expected);
        else
            (void)fail(s, "unknown option or section \"%s\": %s", shown, expected);
        s->named_option = &unknown;
        skip(s);
    }
    /* "+=" is the greater mistake of an option that is there already. */
    for (size_t i = 0; i < s->scan->option_count && !is_before(s, '+'); i++) {
        const struct scan_option *other = &s->scan->options[i];

        if (other->section == s->current && other->option == s->named_option) {
            (void)fail(s, "\"%s\" is given twice: expected it once, see line %u", other->option->name, other->line);
            skip(s);
        }
    }
    s->position = AT_NAME;
    return 0;
}

static int at_title(struct scanner *s)
{
    s->title = strdup(s->word);
    if (!s->title)
        return no_memory(s);
    s->position = AT_TITLE;
    return 0;
}

static int at_value(struct scanner *s)
{
    struct scan *scan = s->scan;
    unsigned *lines;

    if (s->skips) {
        if (s->position == AT_VALUE)
            s->position = AT_START;
        return 0;
    }
    lines = grow(scan->value_lines, scan->value_count, &s->values_room, sizeof *lines);

    if (!lines)
        return no_memory(s);
    scan->value_lines = lines;
    lines[scan->value_count++] = s->line;
    if (++scan->options[scan->option_count - 1].value_count > CONFIG_LIST_MAX)
        return fail(s, "too many values for \"%s\": expected at most %d", s->named_option->name, CONFIG_LIST_MAX);
    if (s->position == AT_VALUE)
        s->position = AT_START;
    return 0;
}

static int on_word(struct scanner *s)
{
    char shown[64];
    int r = -EINVAL;

    if (s->position == AT_START)
        r = at_name(s);
    else if (s->position == AT_NAME && s->named_section)
        r = at_title(s);
    else if (s->position == AT_VALUE && s->word[0] == '[' && s->word[1] == '\0' && !s->word_quoted)
        r = fail(s, "unexpected \"[\": expected lists in { and }");
    else if (s->position == AT_VALUE || s->position == AT_LIST)
        r = at_value(s);
    else {
        value_show(s->word, s->word_len, shown, sizeof shown);
        r = fail(s, "unexpected \"%s\": expected \"%s\"", shown, s->position == AT_TITLE ? "{" : "=");
    }
    return r < 0 ? r : put_word(s);
}

static int on_equal(struct scanner *s)
{
    struct scan *scan = s->scan;
    struct scan_option *options;

    if (s->position != AT_NAME || !s->named_option)
        return fail(s, "unexpected \"=\": expected %s",
                    s->position == AT_NAME ? "\"{\" behind the name of a section" : "the name of an option before it");
    if (s->skips) {
        s->position = AT_VALUE;
        return 0;
    }
    options = grow(scan->options, scan->option_count, &s->options_room, sizeof *options);
    if (!options)
        return no_memory(s);
    scan->options = options;
    options[scan->option_count++] = (struct scan_option){
        .section = s->current, .option = s->named_option, .line = s->named_line, .first_value = scan->value_count};
    s->position = AT_VALUE;
    return put(s, "=", 1);
}

static int open_section(struct scanner *s)
{
    const char *title = s->title ? s->title : s->named_section->name;
    struct scan *scan = s->scan;
    struct scan_section *sections;
    char shown[80];

    value_show(title, strlen(title), shown, sizeof shown);
    if (s->named_section->title && !s->title)
        return fail(s, "section \"%s\" has no title: expected %s \"NAME\" {", s->named_section->name,
                    s->named_section->name);
    if (!s->named_section->title && s->title)
        return fail(s, "section \"%s\" has a title: expected %s {", s->named_section->name, s->named_section->name);
    for (size_t i = 1; i < scan->section_count; i++) {
        const struct scan_section *other = &scan->sections[i];

        if (other->section == s->named_section && (!s->title || strcmp(other->title, s->title) == 0))
            return fail(s, "section \"%s\" is given twice: expected it once, see line %u", shown, other->line);
    }
    if (scan->section_count > CONFIG_LIST_MAX)
        return fail(s, "too many sections: expected at most %d", CONFIG_LIST_MAX);
    sections = grow(scan->sections, scan->section_count, &s->sections_room, sizeof *sections);
    if (!sections)
        return no_memory(s);
    scan->sections = sections;
    s->current = scan->section_count++;
    sections[s->current] = (struct scan_section){.section = s->named_section, .title = s->title, .line = s->named_line};
    s->title = NULL;
    s->position = AT_START;
    return 0;
}

static int on_open(struct scanner *s)
{
    int r = 0;

    if (s->position == AT_VALUE) {
        if (!config_type_is_list(s->named_option->type))
            return fail(s, "a list for \"%s\": expected one value", s->named_option->name);
        s->position = AT_LIST;
    } else if (s->position == AT_TITLE || (s->position == AT_NAME && s->named_section)) {
        r = open_section(s);
    } else {
        return fail(s, "unexpected \"{\": expected %s",
                    s->position == AT_NAME ? "\"=\" behind the name of an option" : "the name of a section before it");
    }
    return r < 0 ? r : put(s, "{", 1);
}

static int on_close(struct scanner *s)
{
    if (s->position == AT_LIST)
        s->position = AT_START;
    else if (s->position == AT_START && s->current != 0)
        s->current = 0;
    else
        return fail(s, "unexpected \"}\": expected %s", s->position == AT_START ? "a section to be open" : "a value");
    return put(s, "}", 1);
}

/* ---- The pass ---------------------------------------------------------------------------------------------------------- */

static int on_other(struct scanner *s)
{
    uint8_t c = (uint8_t)*s->at;

    if (c == '+' && s->end - s->at > 1 && s->at[1] == '=')
        return fail(s, "unexpected \"+=\": expected \"=\" and the whole list");
    if (c == ',')
        return fail(s, "unexpected \",\": expected it between the values of a list only");
    if (c > 0x20 && c < 0x7f)
        return fail(s, "unexpected character '%c': expected values with such characters in quotes", c);
    return fail(s, "unexpected byte 0x%02x: expected text", c);
}

static int scan_token(struct scanner *s)
{
    char c = *s->at;
    int r;

    if (s->position == AT_START)
        s->skips = false;
    if (c == '\n') {
        r = put(s, "\n", 1);
        s->line++;
        s->at++;
        return r;
    }
    if (c == ' ' || c == '\t' || (c == '\r' && s->end - s->at > 1 && s->at[1] == '\n')) {
        s->at++;
        return 0;
    }
    if (c == '#') {
        const char *end = memchr(s->at, '\n', (size_t)(s->end - s->at));

        s->at = end ? end : s->end;
        return 0;
    }
    if (c == '"' || c == '\'') {
        r = scan_string(s);
        return r < 0 ? r : on_word(s);
    }
    if (word_character(c)) {
        scan_word(s);
        return on_word(s);
    }
    r = c == '='                             ? on_equal(s)
        : c == '{'                           ? on_open(s)
        : c == '}'                           ? on_close(s)
        : c == ',' && s->position == AT_LIST ? put(s, ",", 1)
                                             : on_other(s);
    s->at++;
    return r;
}

static int at_end(struct scanner *s)
{
    if (s->position != AT_START)
        return fail(s, "unexpected end of the file: expected the rest of \"%s\", begun in line %u",
                    s->named_section ? s->named_section->name : s->named_option->name, s->named_line);
    if (s->current != 0)
        return fail(s, "unexpected end of the file: expected \"}\" for section \"%s\", opened in line %u",
                    s->scan->sections[s->current].section->name, s->scan->sections[s->current].line);
    s->skips = false;
    return put(s, "\n", 2); /* and the end of the string */
}

int scan_text(const char *text, size_t len, const char *name, const struct config_table *table, struct scan *ret_scan,
              struct error_text *ret_error)
{
    struct scan scan = {0};
    struct scanner s = {
        .at = text, .end = text + len, .name = name, .line = 1, .table = table, .error = ret_error, .scan = &scan};
    int r = 0;

    if (len > CONFIG_FILE_MAX)
        return error_set(ret_error, -EINVAL, "%s: too long: expected at most %d bytes", name, CONFIG_FILE_MAX);
    s.word = malloc(len + 1); /* no word is longer than the text */
    scan.sections = grow(NULL, 0, &s.sections_room, sizeof *scan.sections);
    if (!s.word || !scan.sections) {
        r = no_memory(&s);
        goto out;
    }
    scan.sections[0] = (struct scan_section){.section = &table->sections[0]};
    scan.section_count = 1;
    while (r == 0 && s.at < s.end)
        r = scan_token(&s);
    if (r == 0)
        r = at_end(&s);
    if (r < 0)
        goto out;
    scan.text = s.out;
    s.out = NULL;
    *ret_scan = scan;
    memset(&scan, 0, sizeof scan);
out:
    free(s.word);
    free(s.out);
    free(s.title);
    scan_done(&scan);
    return r;
}

void scan_done(struct scan *scan)
{
    for (size_t i = 0; i < scan->section_count; i++)
        free(scan->sections[i].title);
    free(scan->sections);
    free(scan->options);
    free(scan->value_lines);
    free(scan->text);
    memset(scan, 0, sizeof *scan);
}
