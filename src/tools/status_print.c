/* SPDX-License-Identifier: MIT
 *
 * A few lines on the daemon, then tables. A table that is wider than the terminal does without its least important columns. */
#include "tools/status.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum {
    CELL_BYTES = 160,
    TEXT_BYTES = 4096, /* of a line's text */
    COLUMNS_MAX = 12,
    KEY_SHOWN = 22, /* characters of a key in a table: its kind and enough to tell keys apart */
    LABEL_WIDTH = 12,
    NAMES_SHOWN = 3, /* in a cell, then "+ 4" */
};

#define BOLD   "\x1b[1m"
#define DIM    "\x1b[2m"
#define GREEN  "\x1b[32m"
#define YELLOW "\x1b[33m"
#define RED    "\x1b[31m"

/* ---- Values ------------------------------------------------------------------------------------------------------------------ */

/* Escapes what must not reach a terminal. Backslashes stay: daemons have escaped their peers' texts already. */
static void safe(const char *text, char *ret_text, size_t size)
{
    size_t used = 0;

    ret_text[0] = '\0';
    while (*text != '\0' && size - used >= 8) {
        const size_t piece = strcspn(text, "\\");

        used += log_escape(text, piece, ret_text + used, size - used - 2);
        text += piece;
        if (*text == '\\') {
            ret_text[used++] = *text++;
            ret_text[used] = '\0';
        }
    }
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static uint64_t number_of(const json_t *object, const char *name)
{
    const json_int_t number = json_integer_value(json_object_get(object, name));

    return number > 0 ? (uint64_t)number : 0;
}

/* "1.50 MiB" */
static void format_bytes(uint64_t bytes, char *ret_text, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double amount = (double)bytes;
    unsigned unit = 0;

    while (amount >= 1023.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        amount /= 1024;
        unit++;
    }
    (void)snprintf(ret_text, size, "%.*f %s",
                   unit == 0      ? 0
                   : amount < 10  ? 2
                   : amount < 100 ? 1
                                  : 0,
                   amount, units[unit]);
}

/* "2 h 10 min": two units are enough. */
static void format_duration(uint64_t us, char *ret_text, size_t size)
{
    static const struct {
        const char *name;
        uint64_t seconds;
    } units[] = {{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}};
    const uint64_t seconds = us / 1000000;
    size_t i = 0;

    while (i < 3 && seconds < units[i].seconds) {
        i++;
    }
    if (i == 3) {
        (void)snprintf(ret_text, size, "%" PRIu64 " s", seconds);
    } else {
        (void)snprintf(ret_text, size, "%" PRIu64 " %s %" PRIu64 " %s", seconds / units[i].seconds, units[i].name,
                       seconds % units[i].seconds / units[i + 1].seconds, units[i + 1].name);
    }
}

/* "0.213 ms" */
static void format_round_trip(const json_t *object, char *ret_text, size_t size)
{
    const json_t *value = json_object_get(object, "round_trip_us");
    const double ms = (double)json_integer_value(value) / 1000;

    if (!json_is_integer(value)) {
        (void)snprintf(ret_text, size, "-");
    } else if (ms < 1000) {
        (void)snprintf(ret_text, size, "%.*f ms", ms < 10 ? 2 : ms < 100 ? 1 : 0, ms);
    } else {
        (void)snprintf(ret_text, size, "%.1f s", ms / 1000);
    }
}

/* Elements of a list, ", " between them; more than `limit` as "+ 4". */
static void format_list(const json_t *list, size_t limit, char *ret_text, size_t size)
{
    const json_t *element = NULL;
    size_t i = 0, used = 0;

    ret_text[0] = '\0';
    json_array_foreach(list, i, element)
    {
        char text[CELL_BYTES];

        if (used + 1 >= size) {
            return;
        }
        if (i == limit) {
            (void)snprintf(ret_text + used, size - used, " + %zu", json_array_size(list) - i);
            return;
        }
        safe(json_is_string(element) ? json_string_value(element) : "?", text, sizeof(text));
        (void)snprintf(ret_text + used, size - used, "%s%s", i > 0 ? ", " : "", text);
        used = strlen(ret_text);
    }
}

/* ---- Lines ------------------------------------------------------------------------------------------------------------------- */

static void print_coloured(const struct status_style *style, const char *colour, const char *text)
{
    const bool coloured = style->colour && colour[0] != '\0';

    (void)printf("%s%s%s", coloured ? colour : "", text, coloured ? "\x1b[0m" : "");
}

static void print_label(const struct status_style *style, const char *label)
{
    (void)printf("  ");
    print_coloured(style, BOLD, label);
    (void)printf("%*s", (int)(LABEL_WIDTH - strlen(label)), "");
}

static void print_line(const struct status_style *style, const char *label, const char *text)
{
    if (text[0] != '\0') {
        print_label(style, label);
        (void)printf("%s\n", text);
    }
}

static void print_text(const struct status_style *style, const char *label, const char *text)
{
    char shown[TEXT_BYTES];

    safe(text != NULL ? text : "", shown, sizeof(shown));
    print_line(style, label, shown);
}

static void print_traffic(const struct status_style *style, const json_t *object)
{
    char received[CELL_BYTES], sent[CELL_BYTES], text[TEXT_BYTES];

    format_bytes(number_of(object, "received_bytes"), received, sizeof(received));
    format_bytes(number_of(object, "sent_bytes"), sent, sizeof(sent));
    (void)snprintf(text, sizeof(text), "%s received, %s sent", received, sent);
    print_line(style, "transfer", text);
}

static const char *colour_of(const char *state)
{
    if (strcmp(state, "serving") == 0 || strcmp(state, "connected") == 0) {
        return GREEN;
    }
    return strcmp(state, "failed") == 0 || strcmp(state, "stopping") == 0 ? RED : YELLOW;
}

static void print_heading(const struct status_style *style, const json_t *document)
{
    char name[CELL_BYTES], version[CELL_BYTES], state[CELL_BYTES], lived[CELL_BYTES];

    safe(text_of(document, "program"), name, sizeof(name));
    safe(text_of(document, "version") != NULL ? text_of(document, "version") : "?", version, sizeof(version));
    safe(text_of(document, "state") != NULL ? text_of(document, "state") : "?", state, sizeof(state));
    format_duration(number_of(document, "uptime_us"), lived, sizeof(lived));
    print_coloured(style, BOLD, name);
    (void)printf(" %s, ", version);
    print_coloured(style, colour_of(state), state);
    (void)printf(", up %s, pid %" PRIu64 "\n", lived, number_of(document, "pid"));
    print_text(style, "public key", text_of(document, "public_key"));
}

/* ---- Tables ------------------------------------------------------------------------------------------------------------------ */

struct column {
    const char *title;
    bool right;
    unsigned rank; /* the higher, the sooner the column is left out; 0: never */
};

struct table {
    const struct column *columns;
    size_t columns_count, rows_count;
    char (*cells)[CELL_BYTES]; /* row by row */
};

/* Returns false where there is nothing to show, or no memory for it. */
static bool table_init(struct table *table, const struct column *columns, size_t count, size_t rows)
{
    *table = (struct table){.columns = columns, .columns_count = count, .rows_count = rows};
    table->cells = rows > 0 ? calloc(rows * count, sizeof(*table->cells)) : NULL;
    return table->cells != NULL;
}

static char *cell(const struct table *table, size_t row, size_t column)
{
    return table->cells[row * table->columns_count + column];
}

static size_t characters(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return count;
}

static size_t column_width(const struct table *table, size_t column)
{
    size_t width = strlen(table->columns[column].title);

    for (size_t row = 0; row < table->rows_count; row++) {
        const size_t cell_width = characters(cell(table, row, column));

        width = cell_width > width ? cell_width : width;
    }
    return width;
}

/* Widths of the columns that fit; 0 for those that are left out. */
static void choose_columns(const struct table *table, unsigned limit, size_t ret_widths[static COLUMNS_MAX])
{
    size_t total = 0;

    for (size_t i = 0; i < table->columns_count; i++) {
        ret_widths[i] = column_width(table, i);
        total += ret_widths[i] + 2;
    }
    while (limit > 0 && total > limit) {
        size_t worst = table->columns_count;

        for (size_t i = 0; i < table->columns_count; i++) {
            if (ret_widths[i] > 0 && table->columns[i].rank > 0 &&
                (worst == table->columns_count || table->columns[i].rank > table->columns[worst].rank)) {
                worst = i;
            }
        }
        if (worst == table->columns_count) {
            return;
        }
        total -= ret_widths[worst] + 2;
        ret_widths[worst] = 0;
    }
}

/* `row` is one behind the last for the titles. */
static void print_row(const struct table *table, const struct status_style *style, size_t row,
                      const size_t widths[static COLUMNS_MAX])
{
    size_t blanks = 0; /* held back, so that no line ends in them */

    for (size_t i = 0; i < table->columns_count; i++) {
        const bool titles = row == table->rows_count;
        const char *text = titles ? table->columns[i].title : cell(table, row, i);
        const size_t pad = widths[i] > 0 ? widths[i] - characters(text) : 0;

        if (widths[i] == 0) {
            continue;
        }
        blanks += 2 + (table->columns[i].right ? pad : 0);
        if (text[0] != '\0') {
            (void)printf("%*s", (int)blanks, "");
            blanks = 0;
            print_coloured(style, titles ? DIM : "", text);
        }
        blanks += table->columns[i].right ? 0 : pad;
    }
    (void)printf("\n");
}

/* Prints and frees. */
static void table_print(struct table *table, const struct status_style *style)
{
    size_t widths[COLUMNS_MAX] = {0};

    choose_columns(table, style->width, widths);
    (void)printf("\n");
    print_row(table, style, table->rows_count, widths);
    for (size_t row = 0; row < table->rows_count; row++) {
        print_row(table, style, row, widths);
    }
    free(table->cells);
}

static void set_text(const struct table *table, size_t row, size_t column, const char *text)
{
    safe(text != NULL ? text : "-", cell(table, row, column), CELL_BYTES);
}

static void set_number(const struct table *table, size_t row, size_t column, uint64_t number)
{
    (void)snprintf(cell(table, row, column), CELL_BYTES, "%" PRIu64, number);
}

static void set_bytes(const struct table *table, size_t row, size_t column, uint64_t bytes)
{
    format_bytes(bytes, cell(table, row, column), CELL_BYTES);
}

static void set_duration(const struct table *table, size_t row, size_t column, uint64_t us)
{
    format_duration(us, cell(table, row, column), CELL_BYTES);
}

/* ---- The server ---------------------------------------------------------------------------------------------------------------- */

static void add_refusals(json_t *causes, const char *what, char *text, size_t size)
{
    const char *name = NULL;
    json_t *value = NULL;

    json_object_foreach(causes, name, value)
    {
        const size_t used = strlen(text);
        char shown[CELL_BYTES];

        if (json_is_integer(value) && json_integer_value(value) > 0 && used + 1 < size) {
            safe(name, shown, sizeof(shown));
            (void)snprintf(text + used, size - used, "%s%" JSON_INTEGER_FORMAT " %s%s", used > 0 ? ", " : "",
                           json_integer_value(value), what, shown);
        }
    }
}

static void print_refusals(const struct status_style *style, const json_t *refusals)
{
    char text[TEXT_BYTES] = "";

    if (number_of(refusals, "unauthorized") > 0) {
        (void)snprintf(text, sizeof(text), "%" PRIu64 " unauthorized", number_of(refusals, "unauthorized"));
    }
    add_refusals(json_object_get(refusals, "limits"), "", text, sizeof(text));
    add_refusals(json_object_get(refusals, "handshakes"), "handshake: ", text, sizeof(text));
    add_refusals(json_object_get(refusals, "streams"), "stream: ", text, sizeof(text));
    print_line(style, "refused", text);
}

static void print_services(const struct status_style *style, const json_t *services)
{
    static const struct column columns[] = {
        {"SERVICE", false, 0}, {"TYPE", false, 3},    {"STREAMS", true, 0}, {"OPENED", true, 1},
        {"FAILED", true, 0},   {"RECEIVED", true, 0}, {"SENT", true, 0},    {"ALLOW", false, 2},
    };
    struct table table;
    const json_t *service = NULL;
    size_t row = 0;

    if (!table_init(&table, columns, sizeof(columns) / sizeof(columns[0]), json_array_size(services))) {
        return;
    }
    json_array_foreach(services, row, service)
    {
        const json_t *allow = json_object_get(service, "allow");

        set_text(&table, row, 0, text_of(service, "name"));
        set_text(&table, row, 1, text_of(service, "type"));
        set_number(&table, row, 2, number_of(service, "streams"));
        set_number(&table, row, 3, number_of(service, "streams_total"));
        set_number(&table, row, 4, number_of(service, "failed_total"));
        set_bytes(&table, row, 5, number_of(service, "received_bytes"));
        set_bytes(&table, row, 6, number_of(service, "sent_bytes"));
        format_list(allow, NAMES_SHOWN, cell(&table, row, 7), CELL_BYTES);
        if (json_array_size(allow) == 0) {
            set_text(&table, row, 7, "nobody");
        } else if (strcmp(cell(&table, row, 7), "*") == 0) {
            set_text(&table, row, 7, "everybody");
        }
    }
    table_print(&table, style);
}

/* By name, those without one last; by id among equals. */
static int compare_connections(const void *a, const void *b)
{
    const json_t *left = *(json_t *const *)a, *right = *(json_t *const *)b;
    const char *left_name = text_of(left, "agent"), *right_name = text_of(right, "agent");
    const uint64_t left_id = number_of(left, "id"), right_id = number_of(right, "id");
    int order = (left_name == NULL) - (right_name == NULL);

    if (order == 0 && left_name != NULL && right_name != NULL) {
        order = strcmp(left_name, right_name);
    }
    return order != 0 ? order : (left_id > right_id) - (left_id < right_id);
}

static void fill_connection(const struct table *table, size_t row, const json_t *connection)
{
    const char *key = text_of(connection, "public_key");

    set_text(table, row, 0, text_of(connection, "agent"));
    set_text(table, row, 1, text_of(connection, "address"));
    set_duration(table, row, 2, number_of(connection, "connected_us"));
    set_duration(table, row, 3, number_of(connection, "silent_us"));
    format_round_trip(connection, cell(table, row, 4), CELL_BYTES);
    set_number(table, row, 5, number_of(connection, "streams"));
    set_bytes(table, row, 6, number_of(connection, "received_bytes"));
    set_bytes(table, row, 7, number_of(connection, "sent_bytes"));
    set_text(table, row, 8, text_of(connection, "suite"));
    set_text(table, row, 9, key);
    if (key != NULL && characters(cell(table, row, 9)) > KEY_SHOWN) {
        (void)snprintf(cell(table, row, 9) + KEY_SHOWN, 4, "...");
    }
    format_list(json_object_get(connection, "services"), NAMES_SHOWN, cell(table, row, 10), CELL_BYTES);
}

static void print_connections(const struct status_style *style, const json_t *connections)
{
    static const struct column columns[] = {
        {"AGENT", false, 0},     {"ADDRESS", false, 0}, {"CONNECTED", true, 1}, {"HEARD", true, 3},
        {"ROUND TRIP", true, 2}, {"STREAMS", true, 0},  {"RECEIVED", true, 0},  {"SENT", true, 0},
        {"SUITE", false, 6},     {"KEY", false, 5},     {"SERVICES", false, 4},
    };
    const size_t count = json_array_size(connections);
    const json_t **sorted = count > 0 ? calloc(count, sizeof(*sorted)) : NULL;
    const json_t *connection = NULL;
    struct table table;
    size_t row = 0;

    if (sorted != NULL && table_init(&table, columns, sizeof(columns) / sizeof(columns[0]), count)) {
        json_array_foreach(connections, row, connection)
        {
            sorted[row] = connection;
        }
        qsort(sorted, count, sizeof(*sorted), compare_connections);
        for (row = 0; row < count; row++) {
            fill_connection(&table, row, sorted[row]);
        }
        table_print(&table, style);
    }
    free(sorted);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* How many keys there are among the connections: an agent may have several. One without a key is somebody else each time. */
static size_t count_agents(const json_t *connections)
{
    const char **keys = calloc(json_array_size(connections) + 1, sizeof(*keys));
    const json_t *connection = NULL;
    size_t i = 0, keyed = 0, count = 0;

    json_array_foreach(connections, i, connection)
    {
        const char *key = text_of(connection, "public_key");

        count += key == NULL || keys == NULL;
        if (key != NULL && keys != NULL) {
            keys[keyed++] = key;
        }
    }
    if (keyed > 0) {
        qsort(keys, keyed, sizeof(*keys), compare_texts);
    }
    for (i = 0; i < keyed; i++) {
        count += i == 0 || strcmp(keys[i], keys[i - 1]) != 0;
    }
    free(keys);
    return count;
}

static void print_server(const json_t *document, const struct status_style *style)
{
    const json_t *totals = json_object_get(document, "totals");
    char text[TEXT_BYTES];

    format_list(json_object_get(document, "listening"), SIZE_MAX, text, sizeof(text));
    print_line(style, "listening", text);
    (void)snprintf(text, sizeof(text),
                   "%zu; %" PRIu64 " connections, %" PRIu64 " in a handshake, %" PRIu64 " accepted since the start",
                   count_agents(json_object_get(document, "connections")), number_of(totals, "connections"),
                   number_of(totals, "handshakes"), number_of(totals, "accepted_total"));
    print_line(style, "agents", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64 " open, %" PRIu64 " since the start", number_of(totals, "streams"),
                   number_of(totals, "streams_total"));
    print_line(style, "streams", text);
    print_traffic(style, totals);
    print_refusals(style, json_object_get(document, "refusals"));
    print_services(style, json_object_get(document, "services"));
    print_connections(style, json_object_get(document, "connections"));
}

/* ---- The agent ----------------------------------------------------------------------------------------------------------------- */

/* When it was, and in the next column what. */
static void set_last_failure(struct table *table, size_t row, size_t column, const json_t *object)
{
    const json_t *failure = json_object_get(object, "last_failure");

    set_text(table, row, column + 1, text_of(failure, "cause"));
    if (text_of(failure, "cause") != NULL) {
        set_duration(table, row, column, number_of(failure, "ago_us"));
    }
}

static void print_servers(const struct status_style *style, const json_t *servers)
{
    static const struct column columns[] = {
        {"SERVER", false, 0}, {"STATE", false, 0}, {"CONNECTED", true, 3},
        {"FAILED", true, 2},  {"AGO", true, 1},    {"LAST FAILURE", false, 0},
    };
    struct table table;
    const json_t *server = NULL;
    size_t row = 0;

    if (!table_init(&table, columns, sizeof(columns) / sizeof(columns[0]), json_array_size(servers))) {
        return;
    }
    json_array_foreach(servers, row, server)
    {
        set_text(&table, row, 0, text_of(server, "address"));
        set_text(&table, row, 1, text_of(server, "state"));
        set_number(&table, row, 2, number_of(server, "connections_total"));
        set_number(&table, row, 3, number_of(server, "failures_total"));
        set_last_failure(&table, row, 4, server);
    }
    table_print(&table, style);
}

static void print_forwards(const struct status_style *style, const json_t *forwards)
{
    static const struct column columns[] = {
        {"FORWARD", false, 0}, {"LISTENING", false, 1}, {"SERVICE", false, 2}, {"OPEN", true, 0},
        {"WAITING", true, 0},  {"ACCEPTED", true, 3},   {"REFUSED", true, 0},
    };
    struct table table;
    const json_t *forward = NULL;
    size_t row = 0;

    if (!table_init(&table, columns, sizeof(columns) / sizeof(columns[0]), json_array_size(forwards))) {
        return;
    }
    json_array_foreach(forwards, row, forward)
    {
        set_text(&table, row, 0, text_of(forward, "name"));
        set_text(&table, row, 1, text_of(forward, "listening"));
        set_text(&table, row, 2, text_of(forward, "service"));
        set_number(&table, row, 3, number_of(forward, "open"));
        set_number(&table, row, 4, number_of(forward, "waiting"));
        set_number(&table, row, 5, number_of(forward, "accepted_total"));
        set_number(&table, row, 6, number_of(forward, "refused_total"));
    }
    table_print(&table, style);
    json_array_foreach(forwards, row, forward)
    {
        const json_t *failure = json_object_get(forward, "last_failure");

        if (text_of(failure, "cause") != NULL) {
            char name[CELL_BYTES], ago[CELL_BYTES], cause[TEXT_BYTES / 2], text[TEXT_BYTES];

            safe(text_of(forward, "name") != NULL ? text_of(forward, "name") : "?", name, sizeof(name));
            safe(text_of(failure, "cause"), cause, sizeof(cause));
            format_duration(number_of(failure, "ago_us"), ago, sizeof(ago));
            (void)snprintf(text, sizeof(text), "%s, %s ago: %s", name, ago, cause);
            print_line(style, "refused", text);
        }
    }
}

static void print_connection(const struct status_style *style, const json_t *connection)
{
    char server[CELL_BYTES], address[CELL_BYTES], suite[CELL_BYTES], since[CELL_BYTES], silent[CELL_BYTES];
    char round_trip[CELL_BYTES], text[TEXT_BYTES];

    safe(text_of(connection, "server") != NULL ? text_of(connection, "server") : "?", server, sizeof(server));
    safe(text_of(connection, "address") != NULL ? text_of(connection, "address") : "?", address, sizeof(address));
    safe(text_of(connection, "suite") != NULL ? text_of(connection, "suite") : "?", suite, sizeof(suite));
    format_duration(number_of(connection, "connected_us"), since, sizeof(since));
    format_duration(number_of(connection, "silent_us"), silent, sizeof(silent));
    format_round_trip(connection, round_trip, sizeof(round_trip));
    (void)snprintf(text, sizeof(text), "%s (%s), %s", server, address, suite);
    print_line(style, "server", text);
    print_text(style, "server key", text_of(connection, "public_key"));
    (void)snprintf(text, sizeof(text), "for %s, heard %s ago, round trip %s", since, silent, round_trip);
    print_line(style, "connected", text);
    print_traffic(style, connection);
}

static void print_agent(const json_t *document, const struct status_style *style)
{
    const json_t *connection = json_object_get(document, "connection");
    const json_t *messages = json_object_get(document, "messages");
    const json_t *forwarded = json_object_get(document, "forwarded");
    const json_t *forwards = json_object_get(document, "forwards");
    const json_t *failure = json_object_get(document, "last_failure");
    char text[TEXT_BYTES], service[CELL_BYTES], due[CELL_BYTES];

    if (json_is_object(connection)) {
        print_connection(style, connection);
    } else if (json_is_integer(json_object_get(document, "next_attempt_us"))) {
        format_duration(number_of(document, "next_attempt_us"), due, sizeof(due));
        (void)snprintf(text, sizeof(text), "in %s, after %" PRIu64 " that failed", due,
                       number_of(document, "failed_attempts"));
        print_line(style, "attempt", text);
    }
    if (text_of(failure, "cause") != NULL && !json_is_object(connection)) {
        print_text(style, "last error", text_of(failure, "cause"));
    }
    if (text_of(messages, "service") != NULL) {
        safe(text_of(messages, "service"), service, sizeof(service));
        (void)snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64 " echoed by %s", number_of(messages, "echoed"),
                       number_of(messages, "count"), service);
        print_line(style, "messages", text);
    }
    if (json_array_size(forwards) > 0) {
        (void)snprintf(text, sizeof(text),
                       "%" PRIu64 " open, %" PRIu64 " waiting; %" PRIu64 " connections to the server, %" PRIu64 " idle",
                       number_of(forwarded, "open"), number_of(forwarded, "waiting"),
                       number_of(forwarded, "server_connections"), number_of(forwarded, "idle_server_connections"));
        print_line(style, "forwarded", text);
    }
    print_servers(style, json_object_get(document, "servers"));
    print_forwards(style, forwards);
}

void status_print(const json_t *document, const struct status_style *style)
{
    print_heading(style, document);
    if (strcmp(text_of(document, "program"), "etcp-server") == 0) {
        print_server(document, style);
    } else {
        print_agent(document, style);
    }
}
