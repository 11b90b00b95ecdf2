/* SPDX-License-Identifier: MIT */
#include "config/agent.h"

#include <errno.h>

#include <etcp/etcp.h>

#include "check.h"

/* What the file itself may hold. */
#define AGENT_WORDS                                                                                                \
    "server server_key identity network_key_file suite connect_timeout log_level status_socket spare_connections " \
    "max_connections idle_close drain_timeout congestion_control busy_poll reconnect heartbeat metrics message "   \
    "forward"

#define KEY_1  "etcp-pub-0ur6xuUgdsPbMpranN324KhTICp7PcCC7N5WuZrbkS-yMDR6"
#define KEY_2  "etcp-pub-dbZtp7M3bti65HjDxn__tvFauWXEviiLIE6_JJmz90kpgd-N"
#define SECRET "etcp-sec-jH2CzUEGW-u6_Y9WMsw5yIrhP8pDabC0nNbTdKozVbiigee_"

static struct config_agent *good(const char *text)
{
    struct config_agent *config = NULL;
    struct error_text error = {""};

    if (config_agent_parse(text, strlen(text), "agent.conf", &config, &error) != 0)
        (void)fprintf(stderr, "%s\n", error.text);
    CHECK(config != NULL);
    return config;
}

static void bad(const char *text, const char *message)
{
    struct config_agent *config = NULL;
    struct error_text error = {""};

    CHECK_INT(config_agent_parse(text, strlen(text), "agent.conf", &config, &error), -EINVAL);
    CHECK_STR(error.text, message);
    CHECK(config == NULL);
}

struct bad_input {
    const char *text;
    const char *message;
};

static void bad_each(const struct bad_input *inputs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bad(inputs[i].text, inputs[i].message);
}

static void defaults_are_those_of_the_manual(void)
{
    struct config_agent *c = good("");

    CHECK_INT(c->server_count, 1);
    CHECK_STR(c->servers[0].host, "127.0.0.1");
    CHECK_INT(c->servers[0].port, 1337);
    CHECK_INT(c->server_key_count, 0);
    CHECK_STR(c->identity, "");
    CHECK_STR(c->network_key_file, "");
    CHECK_INT(c->suite, CONFIG_SUITE_AUTO);
    CHECK_INT(c->log_level, LOG_LEVEL_INFO);
    CHECK_INT(c->reconnect.initial_delay_us, 5000000);
    CHECK(c->reconnect.multiplier == 2.0);
    CHECK_INT(c->reconnect.max_delay_us, 300000000);
    CHECK(c->reconnect.jitter == 0.2);
    CHECK_INT(c->reconnect.reset_after_us, 60000000);
    CHECK_INT(c->reconnect.max_attempts, 0);
    CHECK_INT(c->heartbeat.interval_us, 15000000);
    CHECK_INT(c->heartbeat.timeout_us, 45000000);
    CHECK_STR(c->message.service, "echo");
    CHECK_STR(c->message.text, "Hello from client!");
    CHECK_INT(c->message.text_length, 18);
    CHECK_INT(c->message.count, 5);
    CHECK_INT(c->message.interval_us, 1000000);
    CHECK_INT(c->message.timeout_us, 30000000);
    CHECK_INT(c->connect_timeout_us, 10000000);
    config_agent_free(c);
}

static void every_option_is_taken(void)
{
    uint8_t key[ETCP_KEY_BYTES];
    struct config_agent *c =
        good("server = {\"a:1\", \"[::1]:2\", \"unix:/s\"}\nserver_key = {\"" KEY_1 "\", \"" KEY_2 "\"}\n"
             "identity = /i network_key_file = /n suite = chacha20poly1305 connect_timeout = 100ms log_level = error\n"
             "reconnect { initial_delay = 10ms multiplier = 1 max_delay = 24h jitter = 1\n"
             "  reset_after = 0 max_attempts = 1000000000 }\n"
             "heartbeat { interval = 50ms timeout = 100ms }\n"
             "message { service = talk text = \"a\\nb\" count = 1 interval = 0 timeout = 0 }\n");

    CHECK_INT(c->server_count, 3);
    CHECK_STR(c->servers[1].host, "::1");
    CHECK_STR(c->servers[2].path, "/s");
    CHECK_INT(c->server_key_count, 2);
    CHECK_INT(etcp_key_parse(KEY_2, strlen(KEY_2), ETCP_KEY_PUBLIC, key), 0);
    CHECK_MEM(c->server_keys[1], key, sizeof key);
    CHECK_STR(c->identity, "/i");
    CHECK_STR(c->network_key_file, "/n");
    CHECK_INT(c->suite, CONFIG_SUITE_CHACHA20POLY1305);
    CHECK_INT(c->connect_timeout_us, 100000);
    CHECK_INT(c->log_level, LOG_LEVEL_ERROR);
    CHECK_INT(c->reconnect.initial_delay_us, 10000);
    CHECK(c->reconnect.multiplier == 1);
    CHECK(c->reconnect.jitter == 1);
    CHECK_INT(c->reconnect.reset_after_us, 0);
    CHECK_INT(c->reconnect.max_attempts, 1000000000);
    CHECK_STR(c->message.service, "talk");
    CHECK_STR(c->message.text, "a\nb");
    CHECK_INT(c->message.count, 1);
    CHECK_INT(c->message.interval_us, 0);
    CHECK_INT(c->message.timeout_us, 0);
    config_agent_free(c);
}

static void wrong_values_are_errors(void)
{
    static const struct bad_input inputs[] = {
        {"server = {}", "agent.conf:1: nothing in server: expected at least one value"},
        {"server = {\"a:0\"}", "agent.conf:1: server: bad address \"a:0\": expected a port from 1 to 65535"},
        {"server = {\"a:1\", \"b\"}",
         "agent.conf:1: server: bad address \"b\": expected host:port, [v6]:port or unix:/path"},
        {"server = {\"a:1\",\n\"a:1\"}", "agent.conf:2: bad value \"a:1\" for server: expected every address once"},
        {"suite = \"aes\"",
         "agent.conf:1: bad value \"aes\" for suite: expected one of: auto aes256gcm chacha20poly1305 classic"},
        {"suite = {\"auto\"}", "agent.conf:1: a list for \"suite\": expected one value"},
        {"log_level = 7",
         "agent.conf:1: bad value \"7\" for log_level: expected one of: error warning notice info debug"},
        {"reconnect {\n initial_delay = 5\n}", "agent.conf:2: bad value \"5\" for reconnect.initial_delay: expected a "
                                               "duration in ms, s, min or h from \"10ms\" to \"1h\""},
        {"connect_timeout = \"99ms\"", "agent.conf:1: bad value \"99ms\" for connect_timeout: expected a "
                                       "duration in ms, s, min or h from \"100ms\" to \"10min\""},
        {"connect_timeout = \"11min\"", "agent.conf:1: bad value \"11min\" for connect_timeout: expected a "
                                        "duration in ms, s, min or h from \"100ms\" to \"10min\""},
        {"reconnect { initial_delay = \"0\" }", "agent.conf:1: bad value \"0\" for reconnect.initial_delay: expected a "
                                                "duration in ms, s, min or h from \"10ms\" to \"1h\""},
        {"reconnect { multiplier = 0.9 }",
         "agent.conf:1: bad value \"0.9\" for reconnect.multiplier: expected a number from 1 to 100"},
        {"reconnect { multiplier = 101 }",
         "agent.conf:1: bad value \"101\" for reconnect.multiplier: expected a number from 1 to 100"},
        {"reconnect { multiplier = \"2x\" }",
         "agent.conf:1: bad value \"2x\" for reconnect.multiplier: expected a number from 1 to 100"},
        {"reconnect { multiplier = 1e1 }",
         "agent.conf:1: bad value \"1e1\" for reconnect.multiplier: expected a number from 1 to 100"},
        {"reconnect { jitter = 1.1 }",
         "agent.conf:1: bad value \"1.1\" for reconnect.jitter: expected a number from 0 to 1"},
        {"reconnect { jitter = -0.1 }",
         "agent.conf:1: bad value \"-0.1\" for reconnect.jitter: expected a number from 0 to 1"},
        {"reconnect { jitter = nan }",
         "agent.conf:1: bad value \"nan\" for reconnect.jitter: expected a number from 0 to 1"},
        {"reconnect { max_attempts = -1 }",
         "agent.conf:1: bad value \"-1\" for reconnect.max_attempts: expected a whole number from 0 to 1000000000"},
        {"reconnect { max_delay = \"25h\" }", "agent.conf:1: bad value \"25h\" for reconnect.max_delay: expected a "
                                              "duration in ms, s, min or h from \"10ms\" to \"24h\""},
        {"message { count = 0 }",
         "agent.conf:1: bad value \"0\" for message.count: expected a whole number from 1 to 1000000000"},
        {"message { text = \"\" }", "agent.conf:1: bad value \"\" for message.text: expected a text that is not empty"},
        {"message { interval = \"1\" }", "agent.conf:1: bad value \"1\" for message.interval: expected a duration in "
                                         "ms, s, min or h from \"0\" to \"24h\""},
        {"message { service = \"\" }", "agent.conf:1: bad value \"\" for message.service: expected a service name: 1 "
                                       "to 64 of a-z 0-9 . _ -, the first a letter or digit"},
        {"message { service = \".x\" }", "agent.conf:1: bad value \".x\" for message.service: expected a service name: "
                                         "1 to 64 of a-z 0-9 . _ -, the first a letter or digit"},
        {"busy_poll = \"11ms\"",
         "agent.conf:1: bad value \"11ms\" for busy_poll: expected a duration in us or ms from \"0\" to \"10ms\""},
        {"messages { }", "agent.conf:1: unknown option or section \"messages\": did you mean \"message\"?"},
        {"listen = \"[::1]:5432\"",
         "agent.conf:1: unknown option or section \"listen\": such an option is one of section \"forward\""},
        {"forward \"a\" { suite = auto listen = \"[::1]:5432\" service = \"a\" }",
         "agent.conf:1: unknown option \"suite\" in section \"forward\": such an option stands outside of sections"},
        {"message \"x\" { }", "agent.conf:1: section \"message\" has a title: expected message {"},
        {"message { }\nmessage { }", "agent.conf:2: section \"message\" is given twice: expected it once, see line 1"},
        {"forward \"pg\" { listen = \"127.0.0.1:5432\" }",
         "agent.conf:1: forward \"pg\" has no \"service\": expected service = \"NAME\""},
        {"\nforward \"pg\" { service = \"pg\" }",
         "agent.conf:2: forward \"pg\" has no \"listen\": expected listen = \"127.0.0.1:PORT\" or \"unix:/path\""},
        {"\nforward \"pg\" {\n listen = \"\"\n service = \"pg\" }",
         "agent.conf:3: forward.listen is empty: expected an address"},
        {"forward \"pg\" { listen = \"localhost:5432\" service = \"pg\" }",
         "agent.conf:1: bad value \"localhost:5432\" for forward.listen: expected an address without a name, as "
         "127.0.0.1:9117, [::1]:9117 or unix:/path"},
        {"forward \"a\" { listen = \"[::1]:5432\" service = \"pg\" }\nforward \"b\" { listen = \"[0::1]:5432\" service "
         "= "
         "\"pg\" }",
         "agent.conf:2: forward.listen = \"[::1]:5432\" is there already: expected every address once"},
        {"forward \"a\" { listen = \"[::1]:5432\" service = \"pg\" }\nforward \"a\" { listen = \"[::1]:1\" service = "
         "\"pg\" }",
         "agent.conf:2: section \"a\" is given twice: expected it once, see line 1"},
        {"forward \"A\" { listen = \"[::1]:5432\" service = \"pg\" }",
         "agent.conf:1: bad title of a forward: expected a name: 1 to 64 of a-z 0-9 . _ -, the first a letter or "
         "digit"},
        {"suite = \"classic\"\nforward \"a\" { listen = \"[::1]:5432\" service = \"pg\" }",
         "agent.conf:1: suite = \"classic\" with a forward: expected one or the other: the classic suite has no "
         "streams"},
        {"bind = {\"a:1\"}",
         "agent.conf:1: unknown option or section \"bind\": such an option is one of section \"metrics\""},
    };

    bad_each(inputs, CHECK_COUNT(inputs));
}

/* No message shows the value: it could be a secret. */
static void wrong_keys_are_told_apart(void)
{
    static const struct bad_input inputs[] = {
        {"\nserver_key = {\"etcp-pub-0ur6xuUgdsPbMpranN324KhTICp7PcCC7N5WuZrbkS-yMDR7\"}",
         "agent.conf:2: a mistyped key in server_key: expected a public key whose checksum matches"},
        {"server_key = {\"" KEY_1 "\",\n\"" SECRET "\"}",
         "agent.conf:2: a secret key (etcp-sec-) in server_key: expected a public key (etcp-pub-); make a new key if "
         "others can read this file"},
        {"server_key = {\"etcp-net-0ur6xuUgdsPbMpranN324KhTICp7PcCC7N5WuZrbkS-yMDR6\"}",
         "agent.conf:1: a network key (etcp-net-) in server_key: expected a public key (etcp-pub-); make a new key if "
         "others can read this file"},
        {"server_key = {\"\"}", "agent.conf:1: bad key in server_key: a key begins with etcp-pub-, etcp-sec- or "
                                "etcp-net-: expected a public key, etcp-pub- and 48 characters"},
        {"server_key = {\"etcp-pub-0ur6\"}", "agent.conf:1: bad key in server_key: a key of another length: expected a "
                                             "public key, etcp-pub- and 48 characters"},
        {"server_key = {\"0ur6xuUgdsPbMpranN324KhTICp7PcCC7N5WuZrbkS-yMDR6\"}",
         "agent.conf:1: bad key in server_key: a key begins with etcp-pub-, etcp-sec- or etcp-net-: expected a public "
         "key, etcp-pub- and 48 characters"},
        {"server_key = {\" " KEY_1 "\"}", "agent.conf:1: bad key in server_key: a key begins with etcp-pub-, etcp-sec- "
                                          "or etcp-net-: expected a public key, etcp-pub- and 48 characters"},
        {"server_key = {\"etcp-pub-0ur6xuUgdsPbMpranN324KhTICp7PcCC7N5WuZrbkS+yMDR6\"}",
         "agent.conf:1: bad key in server_key: a key has only letters, digits, - and _: expected a public key, "
         "etcp-pub- and 48 characters"},
        {"server_key = {\"" KEY_1 "\",\n\"" KEY_1 "\"}",
         "agent.conf:2: a key that is there already in server_key: expected every key once"},
    };

    bad_each(inputs, CHECK_COUNT(inputs));
}

static void secrets_in_the_wrong_place_are_not_shown(void)
{
    static const struct bad_input inputs[] = {
        {"identity = \"" SECRET "\"",
         "agent.conf:1: bad value \"(a secret)\" for identity: expected the absolute path of a file"},
        {"suite = \"" SECRET "\"",
         "agent.conf:1: bad value \"(a secret)\" for suite: expected one of: auto aes256gcm chacha20poly1305 classic"},
        {"server = {\"[" SECRET "]:1\"}",
         "agent.conf:1: server: bad address \"(a secret)\": expected host:port, [v6]:port or unix:/path"},
        {SECRET " = 1", "agent.conf:1: unknown option or section \"(a secret)\": expected one of: " AGENT_WORDS},
        {"\"" SECRET "\" = 1", "agent.conf:1: \"(a secret)\" in quotes: expected the name of an option or section"},
        {"suite " SECRET, "agent.conf:1: unexpected \"(a secret)\": expected \"=\""},
        {"server = {\"a:1\" " SECRET "}",
         "agent.conf:1: (a secret): expected \"option = value\", \"option = {value, value}\" or \"section {\""},
        {"message { count = \"" SECRET "\" }",
         "agent.conf:1: bad value \"(a secret)\" for message.count: expected a whole number from 1 to 1000000000"},
    };

    bad_each(inputs, CHECK_COUNT(inputs));
}

static void options_are_judged_together(void)
{
    static const struct bad_input inputs[] = {
        {"reconnect {\n initial_delay = \"10min\"\n}",
         "agent.conf:2: reconnect.max_delay is below reconnect.initial_delay: expected max_delay >= initial_delay"},
        {"reconnect {\n max_delay = \"1s\"\n}",
         "agent.conf:2: reconnect.max_delay is below reconnect.initial_delay: expected max_delay >= initial_delay"},
        {"heartbeat {\n timeout = \"15s\"\n}",
         "agent.conf:2: heartbeat.timeout (15s) is not above heartbeat.interval (15s): expected timeout > interval"},
        {"network_key_file = \"/n\"\nsuite = \"classic\"", "agent.conf:2: suite = \"classic\" with a network_key_file: "
                                                           "expected one or the other: the classic suite can't use it"},
        {"suite = \"classic\"\nserver_key = {\"" KEY_1 "\"}",
         "agent.conf:1: suite = \"classic\" with a server_key: expected one or the other: in the classic suite nobody "
         "is authenticated"},
    };

    bad_each(inputs, CHECK_COUNT(inputs));
}

/* The text is bounded by what one record holds. */
static void texts_are_bounded_by_the_record(void)
{
    static const struct {
        size_t length;
        const char *rest;
        const char *message; /* NULL: fine */
    } cases[] = {
        {65514, "", NULL},
        {65515, "", "agent.conf:1: message.text has 65515 bytes: expected at most 65514"},
        {65519, "\nsuite = classic", NULL},
        {65520, "\nsuite = classic", "agent.conf:1: message.text has 65520 bytes: expected at most 65519"},
    };

    for (size_t i = 0; i < CHECK_COUNT(cases); i++) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);

        CHECK(out != NULL);
        (void)fputs("message { text = \"", out);
        for (size_t n = 0; n < cases[i].length; n++)
            (void)fputc('x', out);
        (void)fprintf(out, "\" }%s", cases[i].rest);
        CHECK_INT(fclose(out), 0);
        if (cases[i].message) {
            bad(text, cases[i].message);
        } else {
            struct config_agent *c = good(text);

            CHECK_INT(c->message.text_length, cases[i].length);
            config_agent_free(c);
        }
        free(text);
    }
}

static void dump_tells_value_and_origin(void)
{
    struct config_agent *c = good("reconnect {\n jitter = 0.25\n}\nserver_key = {\"" KEY_1 "\"}");
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    CHECK(out != NULL);
    config_agent_dump(c, NULL, 0, out);
    CHECK_INT(fclose(out), 0);
    CHECK(strstr(text, "server_key = {\"" KEY_1 "\"}    # agent.conf:4\n") != NULL);
    CHECK(strstr(text, "    jitter = 0.25    # agent.conf:2\n") != NULL);
    CHECK(strstr(text, "    multiplier = 2.0    # default\n") != NULL);
    CHECK(strstr(text, "    text = \"Hello from client!\"    # default\n") != NULL);
    CHECK(strstr(text, "forward") == NULL);
    config_agent_free(c);
    config_agent_free(good(text));
    free(text);
}

static void missing_file_is_told_apart(void)
{
    struct config_agent *config = NULL;
    struct error_text error;

    CHECK_INT(config_agent_load("/nonexistent/etcp/agent.conf", &config, &error), -ENOENT);
    CHECK_STR(error.text, "/nonexistent/etcp/agent.conf: there is no such file: expected a configuration file");
    CHECK_INT(config_agent_load("/etc/passwd/agent.conf", &config, &error), -ENOTDIR);
    CHECK_STR(error.text, "/etc/passwd/agent.conf: can't be read: Not a directory");
    CHECK(config == NULL);
}

static const struct check_case cases[] = {
    CHECK_CASE(defaults_are_those_of_the_manual),
    CHECK_CASE(every_option_is_taken),
    CHECK_CASE(wrong_values_are_errors),
    CHECK_CASE(wrong_keys_are_told_apart),
    CHECK_CASE(secrets_in_the_wrong_place_are_not_shown),
    CHECK_CASE(options_are_judged_together),
    CHECK_CASE(texts_are_bounded_by_the_record),
    CHECK_CASE(dump_tells_value_and_origin),
    CHECK_CASE(missing_file_is_told_apart),
};

CHECK_MAIN(cases)
