/* SPDX-License-Identifier: MIT
 *
 * Both configuration files from text: what parses can be dumped, and the dump parses to the same. Errors are one line with
 * the file's name. The first byte chooses the file. */
#include <etcp/etcp.h>

#include "check.h"
#include "config/agent.h"
#include "config/server.h"
#include "fuzz.h"

struct text {
    char *data;
    size_t len;
};

static struct text dump_server(const struct config_server *config)
{
    struct text text = {0};
    FILE *out = open_memstream(&text.data, &text.len);

    CHECK(out != NULL);
    config_server_dump(config, NULL, 0, out);
    CHECK_INT(fclose(out), 0);
    return text;
}

static struct text dump_agent(const struct config_agent *config)
{
    struct text text = {0};
    FILE *out = open_memstream(&text.data, &text.len);

    CHECK(out != NULL);
    config_agent_dump(config, NULL, 0, out);
    CHECK_INT(fclose(out), 0);
    return text;
}

static void check_error(int error, const struct error_text *text)
{
    const char *at = text->text, *line = NULL;
    size_t lines = 0;
    int len = 0;

    CHECK(error < 0);
    CHECK(strnlen(text->text, sizeof(text->text)) < sizeof(text->text));
    while ((line = error_next_line(&at, &len)) != NULL) {
        CHECK(len > 0 && memchr(line, '\n', (size_t)len) == NULL);
        CHECK(lines == ERROR_LINES_MAX || strncmp(line, "input", 5) == 0);
        lines++;
    }
    CHECK(lines > 0 && lines <= ERROR_LINES_MAX + 1);
}

static void run_server(const char *data, size_t size)
{
    struct config_server *config = NULL, *again = NULL;
    struct error_text text = {.text = ""};
    int error = config_server_parse(data, size, "input", &config, &text);
    struct text dump;

    if (error != 0) {
        check_error(error, &text);
        CHECK(config == NULL);
        return;
    }
    CHECK(config->bind_count > 0 && config->service_count > 0);
    dump = dump_server(config);
    error = config_server_parse(dump.data, dump.len, "input", &again, &text);
    if (error != 0) {
        (void)fprintf(stderr, "%s\n%s\n", text.text, dump.data);
    }
    CHECK_INT(error, 0);
    CHECK_INT(again->bind_count, config->bind_count);
    CHECK_INT(again->service_count, config->service_count);
    CHECK(memcmp(&again->limits, &config->limits, sizeof(config->limits)) == 0);
    CHECK(again->drain_timeout_us == config->drain_timeout_us);
    CHECK(strcmp(again->congestion_control, config->congestion_control) == 0);
    CHECK(again->busy_poll_us == config->busy_poll_us);
    free(dump.data);
    config_server_free(config);
    config_server_free(again);
}

static void run_agent(const char *data, size_t size)
{
    struct config_agent *config = NULL, *again = NULL;
    struct error_text text = {.text = ""};
    int error = config_agent_parse(data, size, "input", &config, &text);
    struct text dump;

    if (error != 0) {
        check_error(error, &text);
        CHECK(config == NULL);
        return;
    }
    CHECK(config->server_count > 0);
    dump = dump_agent(config);
    error = config_agent_parse(dump.data, dump.len, "input", &again, &text);
    if (error != 0) {
        (void)fprintf(stderr, "%s\n%s\n", text.text, dump.data);
    }
    CHECK_INT(error, 0);
    CHECK_INT(again->server_count, config->server_count);
    CHECK_INT(again->server_key_count, config->server_key_count);
    CHECK(again->message.text_length == config->message.text_length);
    CHECK(memcmp(again->message.text, config->message.text, config->message.text_length) == 0);
    CHECK(again->reconnect.initial_delay_us == config->reconnect.initial_delay_us);
    free(dump.data);
    config_agent_free(config);
    config_agent_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CHECK_INT(etcp_init(), 0);
    if (size > 0 && data[0] % 2 == 0) {
        run_server((const char *)data + 1, size - 1);
    } else if (size > 0) {
        run_agent((const char *)data + 1, size - 1);
    }
    return 0;
}
