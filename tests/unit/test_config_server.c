/* SPDX-License-Identifier: MIT */
#include "config/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <etcp/etcp.h>

#include "check.h"

/* What the file itself may hold. */
#define SERVER_WORDS                                                                                                \
    "bind proxy_protocol proxy_from log_level identity authorized_agents network_key_file classic classic_service " \
    "workers drain_timeout congestion_control busy_poll status_socket limits heartbeat metrics service"

static struct config_server *good(const char *text)
{
    struct config_server *config = NULL;
    struct error_text error = {""};

    if (config_server_parse(text, strlen(text), "server.conf", &config, &error) != 0)
        (void)fprintf(stderr, "%s\n", error.text);
    CHECK(config != NULL);
    return config;
}

static void bad(const char *text, const char *message)
{
    struct config_server *config = NULL;
    struct error_text error = {""};

    CHECK_INT(config_server_parse(text, strlen(text), "server.conf", &config, &error), -EINVAL);
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

static char *dump(const struct config_server *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    CHECK(out != NULL);
    config_server_dump(config, NULL, 0, out);
    CHECK_INT(fclose(out), 0);
    return text;
}

static void defaults_are_those_of_the_manual(void)
{
    struct config_server *c = good("");

    CHECK_INT(c->bind_count, 1);
    CHECK_STR(c->bind[0].host, "0.0.0.0");
    CHECK_INT(c->bind[0].port, 1337);
    CHECK_INT(c->proxy_protocol, CONFIG_PROXY_IN_OFF);
    CHECK_INT(c->proxy_from_count, 0);
    CHECK_INT(c->log_level, LOG_LEVEL_INFO);
    CHECK_STR(c->identity, "");
    CHECK_STR(c->authorized_agents, "/etc/etcp/authorized_agents");
    CHECK_STR(c->network_key_file, "");
    CHECK(!c->classic);
    CHECK_STR(c->classic_service, "echo");
    CHECK_INT(c->workers, 0);
    CHECK_INT(c->limits.max_connections, 10000);
    CHECK_INT(c->limits.max_connections_per_address, 256);
    CHECK_INT(c->limits.max_handshakes, 1024);
    CHECK_INT(c->limits.max_streams, 256);
    CHECK_INT(c->limits.handshake_timeout_us, 10000000);
    CHECK_INT(c->limits.idle_timeout_us, 0);
    CHECK_INT(c->limits.max_message, 65535);
    CHECK_INT(c->heartbeat.interval_us, 15000000);
    CHECK_INT(c->heartbeat.timeout_us, 45000000);
    CHECK_INT(c->drain_timeout_us, 30000000);
    CHECK_STR(c->congestion_control, "");
    CHECK_INT(c->busy_poll_us, 0);
    CHECK_STR(c->status_socket, "");
    CHECK_INT(c->metrics.kind, 0);
    CHECK_INT(c->service_count, 1);
    CHECK_STR(c->services[0].name, "echo");
    CHECK_INT(c->services[0].type, CONFIG_SERVICE_ECHO);
    CHECK(c->services[0].allow_any);
    CHECK_INT(c->services[0].allow_count, 0);
    config_server_free(c);
}

static void every_option_is_taken(void)
{
    struct config_server *c =
        good("# comment\r\n"
             "bind = {'[::1]:0', \"unix:/run/x y.sock\",\n  host.example:65535,}\n"
             "log_level=debug identity=\"/k\" authorized_agents=/a network_key_file = ''\n"
             "classic = true classic_service = \"talk\" workers = 256 drain_timeout = 0 busy_poll = \"50us\"\n"
             "congestion_control = bbr2_-\n"
             "limits { max_connections = 1 max_connections_per_address = 2 max_handshakes = 3\n"
             "  max_streams = 4 handshake_timeout = \"250ms\" idle_timeout = \"1h\"\n"
             "  max_message = \"1KiB\" }\n"
             "heartbeat { timeout = 2min interval = 1min }\n"
             "service \"talk\" { type = \"echo\" allow = {\"web1\", \"*\", \"Web.2_-\"} }\n"
             "service \"9\" { allow = {} type = echo }");

    CHECK_INT(c->bind_count, 3);
    CHECK_STR(c->bind[0].host, "::1");
    CHECK_INT(c->bind[0].port, 0);
    CHECK_INT(c->bind[1].kind, CONFIG_ADDRESS_UNIX);
    CHECK_STR(c->bind[1].path, "/run/x y.sock");
    CHECK_STR(c->bind[2].host, "host.example");
    CHECK_INT(c->bind[2].port, 65535);
    CHECK_INT(c->log_level, LOG_LEVEL_DEBUG);
    CHECK_STR(c->identity, "/k");
    CHECK_STR(c->authorized_agents, "/a");
    CHECK(c->classic);
    CHECK_STR(c->classic_service, "talk");
    CHECK_INT(c->workers, 256);
    CHECK_INT(c->drain_timeout_us, 0);
    CHECK_STR(c->congestion_control, "bbr2_-");
    CHECK_INT(c->busy_poll_us, 50);
    CHECK_INT(c->limits.max_connections, 1);
    CHECK_INT(c->limits.max_connections_per_address, 2);
    CHECK_INT(c->limits.max_handshakes, 3);
    CHECK_INT(c->limits.max_streams, 4);
    CHECK_INT(c->limits.handshake_timeout_us, 250000);
    CHECK_INT(c->limits.idle_timeout_us, 3600000000);
    CHECK_INT(c->limits.max_message, 1024);
    CHECK_INT(c->heartbeat.interval_us, 60000000);
    CHECK_INT(c->heartbeat.timeout_us, 120000000);
    CHECK_INT(c->service_count, 2);
    CHECK(c->services[0].allow_any);
    CHECK_INT(c->services[0].allow_count, 2);
    CHECK_STR(c->services[0].allow[0], "web1");
    CHECK_STR(c->services[0].allow[1], "Web.2_-");
    CHECK_STR(c->services[1].name, "9");
    CHECK(!c->services[1].allow_any);
    CHECK_INT(c->services[1].allow_count, 0);
    config_server_free(c);
}

static void unknown_names_are_errors(void)
{
    static const struct bad_input inputs[] = {
        {"\n\nbindd = 1", "server.conf:3: unknown option or section \"bindd\": did you mean \"bind\"?"},
        {"limits {\n max_stream = 1\n}",
         "server.conf:2: unknown option \"max_stream\" in section \"limits\": did you mean \"max_streams\"?"},
        {"limits {\n patience = 1\n}",
         "server.conf:2: unknown option \"patience\" in section \"limits\": expected one of: max_connections "
         "max_connections_per_address max_handshakes max_streams handshake_timeout idle_timeout max_message"},
        {"max-streams = 1", "server.conf:1: unknown option or section \"max-streams\": expected one of: " SERVER_WORDS},
        {"limits { max-streams = 1 }",
         "server.conf:1: unknown option \"max-streams\" in section \"limits\": did you mean \"max_streams\"?"},
        {"limits { MaxStreams = 1 }",
         "server.conf:1: unknown option \"MaxStreams\" in section \"limits\": expected one of: max_connections "
         "max_connections_per_address max_handshakes max_streams handshake_timeout idle_timeout max_message"},
        {"limits { amx_streams = 1 }",
         "server.conf:1: unknown option \"amx_streams\" in section \"limits\": did you mean \"max_streams\"?"},
        {"max_streams = 1",
         "server.conf:1: unknown option or section \"max_streams\": such an option is one of section \"limits\""},
        {"limits { workers = 1 }",
         "server.conf:1: unknown option \"workers\" in section \"limits\": such an option stands outside of sections"},
        {"limits { to = 1 }",
         "server.conf:1: unknown option \"to\" in section \"limits\": such an option is one of section \"service\""},
        {"bi = 1", "server.conf:1: unknown option or section \"bi\": expected one of: " SERVER_WORDS},
        {"bindbindbindbindbindbindbindbindbindbindbindbind = 1",
         "server.conf:1: unknown option or section \"bindbindbindbindbindbindbindbindbindbindbindbind\": expected one "
         "of: " SERVER_WORDS},
        {"include(\"/etc/passwd\")",
         "server.conf:1: unknown option or section \"include\": expected one of: " SERVER_WORDS},
        {"include = 1", "server.conf:1: unknown option or section \"include\": expected one of: " SERVER_WORDS},
        {"limit {}", "server.conf:1: unknown option or section \"limit\": did you mean \"limits\"?"},
        {"limits|max_streams = 4",
         "server.conf:1: unexpected character '|': expected values with such characters in quotes"},
        {"bind.x = 4", "server.conf:1: unknown option or section \"bind.x\": did you mean \"bind\"?"},
        {"service \"x\" {\n type=echo\n allow={}\n limits {} }",
         "server.conf:4: section \"limits\" inside of section \"service\": is the \"}\" of the one in line 1 missing?"},
        {"interval = \"1s\"",
         "server.conf:1: unknown option or section \"interval\": such an option is one of section \"heartbeat\""},
        {"\"bind\" = {\"0.0.0.0:1\"}", "server.conf:1: \"bind\" in quotes: expected the name of an option or section"},
        {"\x1b[31mred = 1", "server.conf:1: unexpected byte 0x1b: expected text"},
    };

    bad_each(inputs, CHECK_COUNT(inputs));
}

static void metrics_and_status_are_read(void)
{
    static const struct {
        const char *text;
        int kind;
        const char *host;
        unsigned port;
        const char *path;
    } cases[] = {
        {"metrics { bind = \"127.0.0.1:9117\" } status_socket = \"none\"", CONFIG_ADDRESS_INET, "127.0.0.1", 9117, ""},
        {"metrics { bind = \"[::1]:0\" } status_socket = \"none\"", CONFIG_ADDRESS_INET, "::1", 0, ""},
        {"metrics { bind = \"[fe80::1%lo]:1\" } status_socket = \"none\"", CONFIG_ADDRESS_INET, "fe80::1%lo", 1, ""},
        {"metrics { bind = \"unix:/run/m\" } status_socket = \"none\"", CONFIG_ADDRESS_UNIX, "", 0, "/run/m"},
        {"metrics { bind = \"\" } status_socket = \"none\"", 0, "", 0, ""},
    };

    for (size_t i = 0; i < CHECK_COUNT(cases); i++) {
        struct config_server *c = NULL;
        struct error_text error = {""};

        if (config_server_parse(cases[i].text, strlen(cases[i].text), "server.conf", &c, &error) < 0)
            (void)fprintf(stderr, "%s\n", error.text);
        CHECK(c != NULL);
        CHECK_STR(c->status_socket, "none");
        CHECK_INT(c->metrics.kind, cases[i].kind);
        CHECK_STR(c->metrics.host, cases[i].host);
        CHECK_INT(c->metrics.port, cases[i].port);
        CHECK_STR(c->metrics.path, cases[i].path);
        config_server_free(c);
    }
}

static void wrong_values_are_errors(void)
{
    static const struct bad_input inputs[] = {
        {"workers = many", "server.conf:1: bad value \"many\" for workers: expected a whole number from 0 to 256"},
        {"workers = -1", "server.conf:1: bad value \"-1\" for workers: expected a whole number from 0 to 256"},
        {"workers = 257", "server.conf:1: bad value \"257\" for workers: expected a whole number from 0 to 256"},
        {"workers = 0x10", "server.conf:1: bad value \"0x10\" for workers: expected a whole number from 0 to 256"},
        {"workers = 18446744073709551616",
         "server.conf:1: bad value \"18446744073709551616\" for workers: expected a whole number from 0 to 256"},
        {"workers = \"\"", "server.conf:1: bad value \"\" for workers: expected a whole number from 0 to 256"},
        {"workers = \" 1\"", "server.conf:1: bad value \" 1\" for workers: expected a whole number from 0 to 256"},
        {"workers = 1.0", "server.conf:1: bad value \"1.0\" for workers: expected a whole number from 0 to 256"},
        {"workers = {1}", "server.conf:1: a list for \"workers\": expected one value"},
        {"status_socket = \"status.sock\"", "server.conf:1: bad value \"status.sock\" for status_socket: expected the "
                                            "absolute path of a socket, \"none\", or \"\""},
        {"status_socket = \"/run/\"",
         "server.conf:1: bad value \"/run/\" for status_socket: expected the absolute path "
         "of a socket, \"none\", or \"\""},
        {"status_socket = \"/012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
         "01234567890123456789\"",
         "server.conf:1: bad value \"/012345678901234567890123456789012345678901234567890123456789012345678901234...\" "
         "for status_socket: expected the path of a Unix socket, at most 107 bytes"},
        {"metrics { bind = \"9117\" }",
         "server.conf:1: metrics.bind: bad address \"9117\": expected host:port, [v6]:port or unix:/path"},
        {"metrics { bind = \"127.0.0.1:65536\" }",
         "server.conf:1: metrics.bind: bad address \"127.0.0.1:65536\": expected a port from 0 to 65535"},
        {"metrics { bind = \"localhost:9117\" }",
         "server.conf:1: bad value \"localhost:9117\" for metrics.bind: expected an address without a name, as "
         "127.0.0.1:9117, [::1]:9117 or unix:/path"},
        {"metrics { bind = {\"127.0.0.1:1\", \"127.0.0.1:2\"} }",
         "server.conf:1: a list for \"bind\": expected one value"},
        {"classic = yes", "server.conf:1: bad value \"yes\" for classic: expected true or false"},
        {"classic = 1", "server.conf:1: bad value \"1\" for classic: expected true or false"},
        {"log_level = \"loud\"",
         "server.conf:1: bad value \"loud\" for log_level: expected one of: error warning notice info debug"},
        {"log_level = \"INFO\"",
         "server.conf:1: bad value \"INFO\" for log_level: expected one of: error warning notice info debug"},
        {"limits {\n\n  max_connections = 0\n}",
         "server.conf:3: bad value \"0\" for limits.max_connections: expected a whole number from 1 to 1000000"},
        {"limits { max_connections = 4294967296 }",
         "server.conf:1: bad value \"4294967296\" for limits.max_connections: expected a whole number from 1 to "
         "1000000"},
        {"limits { max_streams = 65536 }",
         "server.conf:1: bad value \"65536\" for limits.max_streams: expected a whole number from 1 to 65535"},
        {"limits { handshake_timeout = 10 }", "server.conf:1: bad value \"10\" for limits.handshake_timeout: expected "
                                              "a duration in ms, s, min or h from \"100ms\" to \"10min\""},
        {"limits { handshake_timeout = \"10sec\" }",
         "server.conf:1: bad value \"10sec\" for limits.handshake_timeout: expected a duration in ms, s, min or h from "
         "\"100ms\" to \"10min\""},
        {"limits { handshake_timeout = \"10 s\" }",
         "server.conf:1: bad value \"10 s\" for limits.handshake_timeout: expected a duration in ms, s, min or h from "
         "\"100ms\" to \"10min\""},
        {"limits { handshake_timeout = \"0\" }", "server.conf:1: bad value \"0\" for limits.handshake_timeout: "
                                                 "expected a duration in ms, s, min or h from \"100ms\" to \"10min\""},
        {"limits { handshake_timeout = \"11min\" }",
         "server.conf:1: bad value \"11min\" for limits.handshake_timeout: expected a duration in ms, s, min or h from "
         "\"100ms\" to \"10min\""},
        {"limits { idle_timeout = \"18446744073709551615h\" }",
         "server.conf:1: bad value \"18446744073709551615h\" for limits.idle_timeout: expected a duration in ms, s, "
         "min or h from \"0\" to \"168h\""},
        {"limits { idle_timeout = \"s\" }", "server.conf:1: bad value \"s\" for limits.idle_timeout: expected a "
                                            "duration in ms, s, min or h from \"0\" to \"168h\""},
        {"limits { max_message = \"64KB\" }", "server.conf:1: bad value \"64KB\" for limits.max_message: expected a "
                                              "size in bytes, KiB or MiB from \"17\" to \"64KiB\""},
        {"limits { max_message = \"65KiB\" }", "server.conf:1: bad value \"65KiB\" for limits.max_message: expected a "
                                               "size in bytes, KiB or MiB from \"17\" to \"64KiB\""},
        {"limits { max_message = 16 }", "server.conf:1: bad value \"16\" for limits.max_message: expected a size in "
                                        "bytes, KiB or MiB from \"17\" to \"64KiB\""},
        {"limits { max_message = 65537 }", "server.conf:1: bad value \"65537\" for limits.max_message: expected a size "
                                           "in bytes, KiB or MiB from \"17\" to \"64KiB\""},
        {"drain_timeout = \"61min\"", "server.conf:1: bad value \"61min\" for drain_timeout: expected a duration in "
                                      "ms, s, min or h from \"0\" to \"1h\""},
        {"busy_poll = \"20ms\"",
         "server.conf:1: bad value \"20ms\" for busy_poll: expected a duration in us or ms from \"0\" to \"10ms\""},
        {"busy_poll = 50",
         "server.conf:1: bad value \"50\" for busy_poll: expected a duration in us or ms from \"0\" to \"10ms\""},
        {"congestion_control = \"Cubic\"", "server.conf:1: bad value \"Cubic\" for congestion_control: expected the "
                                           "name of a congestion control: up to 15 of a-z 0-9 _ -"},
        {"congestion_control = \"0123456789abcdef\"",
         "server.conf:1: bad value \"0123456789abcdef\" for congestion_control: expected the name of a congestion "
         "control: up to 15 of a-z 0-9 _ -"},
        {"busy_poll = true",
         "server.conf:1: bad value \"true\" for busy_poll: expected a duration in us or ms from \"0\" to \"10ms\""},
        {"identity = \"server.key\"",
         "server.conf:1: bad value \"server.key\" for identity: expected the absolute path of a file"},
        {"identity = \"/etc/\"",
         "server.conf:1: bad value \"/etc/\" for identity: expected the absolute path of a file"},
        {"authorized_agents = \"\"",
         "server.conf:1: bad value \"\" for authorized_agents: expected the absolute path of a file"},
        {"network_key_file = \"~/net.key\"",
         "server.conf:1: bad value \"~/net.key\" for network_key_file: expected the absolute path of a file"},
        {"classic_service = \"Echo\"", "server.conf:1: bad value \"Echo\" for classic_service: expected a service "
                                       "name: 1 to 64 of a-z 0-9 . _ -, the first a letter or digit"},
    };

    bad_each(inputs, CHECK_COUNT(inputs));
}

static void wrong_addresses_are_errors(void)
{
    static const struct bad_input inputs[] = {
        {"bind = {}", "server.conf:1: nothing in bind: expected at least one value"},
        {"bind = {\"\"}", "server.conf:1: bind: bad address \"\": expected host:port, [v6]:port or unix:/path"},
        {"bind = {\"1337\"}", "server.conf:1: bind: bad address \"1337\": expected host:port, [v6]:port or unix:/path"},
        {"bind = {\"0.0.0.0\"}",
         "server.conf:1: bind: bad address \"0.0.0.0\": expected host:port, [v6]:port or unix:/path"},
        {"bind = {\":1337\"}",
         "server.conf:1: bind: bad address \":1337\": expected host:port, [v6]:port or unix:/path"},
        {"bind = {\"0.0.0.0:\"}", "server.conf:1: bind: bad address \"0.0.0.0:\": expected a port from 0 to 65535"},
        {"bind = {\"0.0.0.0:65536\"}",
         "server.conf:1: bind: bad address \"0.0.0.0:65536\": expected a port from 0 to 65535"},
        {"bind = {\"0.0.0.0:http\"}",
         "server.conf:1: bind: bad address \"0.0.0.0:http\": expected a port from 0 to 65535"},
        {"bind = {\"0.0.0.0: 1\"}", "server.conf:1: bind: bad address \"0.0.0.0: 1\": expected a port from 0 to 65535"},
        {"bind = {\"0.0.0.0:+1\"}", "server.conf:1: bind: bad address \"0.0.0.0:+1\": expected a port from 0 to 65535"},
        {"bind = {\"0.0.0.0:000001\"}",
         "server.conf:1: bind: bad address \"0.0.0.0:000001\": expected a port from 0 to 65535"},
        {"bind = {\"::1:1337\"}",
         "server.conf:1: bind: bad address \"::1:1337\": expected an IPv6 address in brackets, as [::1]:1337"},
        {"bind = {\"[::1]\"}",
         "server.conf:1: bind: bad address \"[::1]\": expected host:port, [v6]:port or unix:/path"},
        {"bind = {\"[::1:1337\"}",
         "server.conf:1: bind: bad address \"[::1:1337\": expected host:port, [v6]:port or unix:/path"},
        {"bind = {\"[127.0.0.1]:1\"}",
         "server.conf:1: bind: bad address \"[127.0.0.1]:1\": expected host:port, [v6]:port or unix:/path"},
        {"bind = {\"[::g]:1\"}",
         "server.conf:1: bind: bad address \"[::g]:1\": expected host:port, [v6]:port or unix:/path"},
        {"bind = {\"256.0.0.1:1\"}",
         "server.conf:1: bind: bad address \"256.0.0.1:1\": expected host:port, [v6]:port or unix:/path"},
        {"bind = {\"10.1:1\"}",
         "server.conf:1: bind: bad address \"10.1:1\": expected host:port, [v6]:port or unix:/path"},
        {"bind = {\"a..b:1\"}",
         "server.conf:1: bind: bad address \"a..b:1\": expected host:port, [v6]:port or unix:/path"},
        {"bind = {\"a b:1\"}",
         "server.conf:1: bind: bad address \"a b:1\": expected host:port, [v6]:port or unix:/path"},
        {"bind = {\"unix:\"}", "server.conf:1: bind: bad address \"unix:\": expected an absolute path after unix:"},
        {"bind = {\"unix:x\"}", "server.conf:1: bind: bad address \"unix:x\": expected an absolute path after unix:"},
        {"bind = {\"0.0.0.0:1\",\n\"h:1\",\n\"0.0.0.0:1\"}",
         "server.conf:3: bad value \"0.0.0.0:1\" for bind: expected every address once"},
        {"bind = {\"[::1]:1\", \"[0:0::1]:1\"}",
         "server.conf:1: bad value \"[0:0::1]:1\" for bind: expected every address once"},
        {"bind = {\"Host:1\", \"host:1\"}",
         "server.conf:1: bad value \"host:1\" for bind: expected every address once"},
        {"bind = "
         "{\"unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaa\"}",
         "server.conf:1: bind: bad address "
         "\"unix:/"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaa\": expected a path of at most 107 bytes after unix:"},
    };

    bad_each(inputs, CHECK_COUNT(inputs));
}

static void duplicates_are_errors(void)
{
    static const struct bad_input inputs[] = {
        {"workers = 1\nworkers = 1", "server.conf:2: \"workers\" is given twice: expected it once, see line 1"},
        {"bind = {\"h:1\"}\n\nbind = {\"h:2\"}",
         "server.conf:3: \"bind\" is given twice: expected it once, see line 1"},
        {"service \"a\" {\n type = echo\n allow = {}\n allow = {}\n}",
         "server.conf:4: \"allow\" is given twice: expected it once, see line 3"},
        {"limits { }\nlimits { }", "server.conf:2: section \"limits\" is given twice: expected it once, see line 1"},
        {"limits { max_streams = 1 }\nworkers = 1\nlimits { max_handshakes = 1 }",
         "server.conf:3: section \"limits\" is given twice: expected it once, see line 1"},
        {"service \"a\" { type = echo allow = {} }\nservice \"a\" { type = echo allow = {} }",
         "server.conf:2: section \"a\" is given twice: expected it once, see line 1"},
        {"bind = {\"h:1\"}\nbind += {\"h:2\"}", "server.conf:2: unexpected \"+=\": expected \"=\" and the whole list"},
        {"bind += {\"h:2\"}", "server.conf:1: unexpected \"+=\": expected \"=\" and the whole list"},
        {"service \"a\" { type = echo allow = {\"x\", \"x\"} }",
         "server.conf:1: bad value \"x\" for service.allow: expected every name once"},
    };

    bad_each(inputs, CHECK_COUNT(inputs));
}

static void broken_syntax_is_an_error(void)
{
    static const struct bad_input inputs[] = {
        {"workers", "server.conf:1: unexpected end of the file: expected the rest of \"workers\", begun in line 1"},
        {"workers =", "server.conf:1: unexpected end of the file: expected the rest of \"workers\", begun in line 1"},
        {"workers = \n\n",
         "server.conf:3: unexpected end of the file: expected the rest of \"workers\", begun in line 1"},
        {"workers 4", "server.conf:1: unexpected \"4\": expected \"=\""},
        {"workers = = 4", "server.conf:1: unexpected \"=\": expected the name of an option before it"},
        {"workers = 4,", "server.conf:1: unexpected \",\": expected it between the values of a list only"},
        {"workers { }", "server.conf:1: unexpected \"{\": expected \"=\" behind the name of an option"},
        {"= 4", "server.conf:1: unexpected \"=\": expected the name of an option before it"},
        {"{ }", "server.conf:1: unexpected \"{\": expected the name of a section before it"},
        {"}", "server.conf:1: unexpected \"}\": expected a section to be open"},
        {"bind = {\"h:1\" \"h:2\"}", "server.conf:1: unexpected token 'h:2': expected \"option = value\", \"option = "
                                     "{value, value}\" or \"section {\""},
        {"bind = {,}", "server.conf:1: unexpected token ',': expected \"option = value\", \"option = {value, value}\" "
                       "or \"section {\""},
        {"bind = {\"h:1\"",
         "server.conf:1: unexpected end of the file: expected the rest of \"bind\", begun in line 1"},
        {"bind = {{\"h:1\"}}", "server.conf:1: unexpected \"{\": expected the name of a section before it"},
        {"bind = }", "server.conf:1: unexpected \"}\": expected a value"},
        {"limits {\n max_streams = 4\n",
         "server.conf:3: unexpected end of the file: expected \"}\" for section \"limits\", opened in line 1"},
        {"limits \"x\" { }", "server.conf:1: section \"limits\" has a title: expected limits {"},
        {"limits = 4", "server.conf:1: unexpected \"=\": expected \"{\" behind the name of a section"},
        {"limits", "server.conf:1: unexpected end of the file: expected the rest of \"limits\", begun in line 1"},
        {"service { type = echo allow = {} }",
         "server.conf:1: section \"service\" has no title: expected service \"NAME\" {"},
        {"service \"a\" \"b\" { }", "server.conf:1: unexpected \"b\": expected \"{\""},
        {"service \"a\" = 4", "server.conf:1: unexpected \"=\": expected the name of an option before it"},
        {"service \"a\"",
         "server.conf:1: unexpected end of the file: expected the rest of \"service\", begun in line 1"},
        {"limits {{ } }", "server.conf:1: unexpected \"{\": expected the name of a section before it"},
        {"identity = \"/x", "server.conf:1: a string has no end: expected a closing \" on the same line"},
        {"identity = '/x\n'", "server.conf:1: a string has no end: expected a closing ' on the same line"},
        {"identity = \"/\\q\"",
         "server.conf:1: bad escape in a string: expected one of \\\\ \\\" \\' \\$ \\n \\r \\t \\xNN"},
        {"identity = \"/\\x0g\"",
         "server.conf:1: bad escape in a string: expected \\x and two hexadecimal digits, not 00"},
        {"identity = \"/\\x00\"",
         "server.conf:1: bad escape in a string: expected \\x and two hexadecimal digits, not 00"},
        {"identity = \"/\\",
         "server.conf:1: bad escape in a string: expected one of \\\\ \\\" \\' \\$ \\n \\r \\t \\xNN"},
        {"identity = \"/${HOME}\"",
         "server.conf:1: \"${\" in a string: the environment is not used here: expected the value itself, or \\${"},
        {"identity = ${HOME}",
         "server.conf:1: unexpected character '$': expected values with such characters in quotes"},
        {"identity = \"/\x01\"",
         "server.conf:1: a control character (0x01) in a string: expected \\n, \\r, \\t or \\xNN for it"},
        {"/* comment */", "server.conf:1: unexpected \"/*\": expected comments to begin with #"},
        {"// comment", "server.conf:1: unexpected \"//\": expected comments to begin with #"},
        {"workers(4)", "server.conf:1: unexpected character '(': expected values with such characters in quotes"},
        {"workers = 4;", "server.conf:1: unexpected character ';': expected values with such characters in quotes"},
        {"\xef\xbb\xbfworkers = 4", "server.conf:1: unexpected byte 0xef: expected text"},
        {"workers = 4\r", "server.conf:1: unexpected byte 0x0d: expected text"},
    };

    bad_each(inputs, CHECK_COUNT(inputs));
}

static void nul_bytes_are_errors(void)
{
    static const char *const messages[] = {
        "f:1: unexpected byte 0x00: expected text",
        "f:1: a control character (0x00) in a string: expected \\n, \\r, \\t or \\xNN for it",
        "f:2: unexpected byte 0x00: expected text",
    };
    static const struct {
        const char *text;
        size_t len;
    } inputs[] = {{"workers = 4\0 # x", 16}, {"identity = \"/a\0b\"", 17}, {"\n\0", 2}};

    for (size_t i = 0; i < CHECK_COUNT(inputs); i++) {
        struct config_server *config = NULL;
        struct error_text error;

        CHECK_INT(config_server_parse(inputs[i].text, inputs[i].len, "f", &config, &error), -EINVAL);
        CHECK_STR(error.text, messages[i]);
    }
}

static void services_are_judged(void)
{
    static const struct bad_input inputs[] = {
        {"service \"pg\" {\n type = \"forward\"\n to = \"127.0.0.1:5432\"\n}",
         "server.conf:1: service \"pg\" has no \"allow\": expected allow = {...}, {\"*\"} for everybody"},
        {"service \"pg\" { type = \"forward\" allow = {\"*\"} }",
         "server.conf:1: service \"pg\" has no \"to\": expected to = \"host:port\" or \"unix:/path\""},
        {"service \"pg\" { type = \"forward\" allow = {\"*\"} to = \"5432\" }",
         "server.conf:1: service.to: bad address \"5432\": expected host:port, [v6]:port or unix:/path"},
        {"service \"pg\" { type = \"forward\" allow = {\"*\"} to = \"db:0\" }",
         "server.conf:1: service.to: bad address \"db:0\": expected a port from 1 to 65535"},
        {"\nservice \"x\" { type = \"echo\" allow = {\"*\"}\n proxy_protocol = \"v1\"\n}",
         "server.conf:3: proxy_protocol in service \"x\", which goes nowhere: expected type = \"forward\""},
        {"service \"x\" { type = \"forward\" allow = {\"*\"} to = \"db:1\" proxy_protocol = \"v3\" }",
         "server.conf:1: bad value \"v3\" for service.proxy_protocol: expected one of: off v1 v2"},
        {"service \"x\" { type = \"forward\" allow = {\"*\"} to = \"db:1\" connect_timeout = \"1ms\" }",
         "server.conf:1: bad value \"1ms\" for service.connect_timeout: expected a duration in ms, s, min or h from "
         "\"100ms\" to \"10min\""},
        {"classic = true\nclassic_service = \"x\"\nservice \"x\" { type = \"forward\" allow = {\"*\"} to = \"db:1\" }",
         "server.conf:2: classic_service = \"x\" is no echo service: expected one: a classic peer has messages and no "
         "streams"},
        {"service \"x\" { type = \"tcp\" allow = {} }",
         "server.conf:1: bad value \"tcp\" for service.type: expected one of: echo forward"},
        {"\n\nservice \"x\" { type = \"echo\" }",
         "server.conf:3: service \"x\" has no \"allow\": expected allow = {...}, {\"*\"} for everybody"},
        {"service \"x\" { allow = {\"*\"} }",
         "server.conf:1: service \"x\" has no \"type\": expected type = \"echo\" or "
         "\"forward\""},
        {"service \"Echo\" { type = \"echo\" allow = {\"*\"} }",
         "server.conf:1: bad title of a service: expected a service name: 1 to 64 of a-z 0-9 . _ -, the first a letter "
         "or digit"},
        {"service \"\" { type = \"echo\" allow = {\"*\"} }",
         "server.conf:1: bad title of a service: expected a service name: 1 to 64 of a-z 0-9 . _ -, the first a letter "
         "or digit"},
        {"service \"x\" { type = \"echo\" allow = {\"web 1\"} }",
         "server.conf:1: bad value \"web 1\" for service.allow: expected \"*\", or an agent's name: 1 to 64 of a-z A-Z "
         "0-9 . _ -"},
        {"service \"x\" { type = \"echo\"\n allow = {\"web1\",\n\"\"} }",
         "server.conf:3: bad value \"\" for service.allow: expected \"*\", or an agent's name: 1 to 64 of a-z A-Z 0-9 "
         ". _ -"},
        {"service \"x\" { type = \"echo\" allow = {\"etcp-sec-jH2C\"} }",
         "server.conf:1: bad value \"(a secret)\" for service.allow: expected \"*\", or an agent's name: 1 to 64 of "
         "a-z "
         "A-Z 0-9 . _ -"},
        {"service \"x\" { type = \"echo\" allow = {\"web*\"} }",
         "server.conf:1: bad value \"web*\" for service.allow: expected \"*\", or an agent's name: 1 to 64 of a-z A-Z "
         "0-9 . _ -"},
    };

    bad_each(inputs, CHECK_COUNT(inputs));
}

static void options_are_judged_together(void)
{
    static const struct bad_input inputs[] = {
        {"heartbeat {\n interval = \"45s\"\n}",
         "server.conf:2: heartbeat.timeout (45s) is not above heartbeat.interval (45s): expected timeout > interval"},
        {"heartbeat {\n interval = \"10s\"\n timeout = \"10s\"\n}",
         "server.conf:3: heartbeat.timeout (10s) is not above heartbeat.interval (10s): expected timeout > interval"},
        {"network_key_file = \"/n\"\nclassic = true", "server.conf:2: classic = true with a network_key_file: expected "
                                                      "one or the other: the classic suite is open to everybody"},
        {"classic = true\nclassic_service = \"chat\"",
         "server.conf:2: classic_service = \"chat\" is not there: expected the title of a service section"},
        {"classic = true\nservice \"talk\" { type = echo allow = {\"*\"} }",
         "server.conf:1: classic_service = \"echo\" is not there: expected the title of a service section"},
        {"classic = true\nservice \"echo\" { type = echo allow = {\"web1\"} }",
         "server.conf:1: classic_service = \"echo\" does not serve everybody: expected a service with allow = {\"*\"}: "
         "classic peers are anonymous"},
    };
    struct config_server *c = good("classic_service = \"not-there\"");

    config_server_free(c); /* is of no consequence while classic is off */
    bad_each(inputs, CHECK_COUNT(inputs));
}

static void failed_parse_leaves_nothing_behind(void)
{
    struct config_server *c;

    bad("identity = \"/unterminated",
        "server.conf:1: a string has no end: expected a closing \" on the same line"); /* libconfuse would go on in this string */
    c = good("workers = 3");
    CHECK_INT(c->workers, 3);
    config_server_free(c);
}

static void environment_is_not_consulted(void)
{
    struct config_server *c;

    CHECK_INT(setenv("ETCP_TEST_VALUE", "/from/environment", 1), 0);
    c = good("identity = \"/\\${ETCP_TEST_VALUE}\"\nnetwork_key_file='/${ETCP_TEST_VALUE}'");
    CHECK_STR(c->identity, "/${ETCP_TEST_VALUE}");
    CHECK_STR(c->network_key_file, "/${ETCP_TEST_VALUE}");
    config_server_free(c);
}

static void strings_keep_every_byte(void)
{
    struct config_server *c = good("identity = \"/\\\\\\\"\\'\\$\\n\\r\\t\\x01\\xfF\xc3\xa9#{}=,|\" # comment");

    CHECK_STR(c->identity, "/\\\"'$\n\r\t\x01\xff\xc3\xa9#{}=,|");
    config_server_free(c);
}

static void empty_comments_and_long_ones_are_fine(void)
{
    char text[4096];
    struct config_server *c;

    for (size_t n = 0; n < 200; n++) { /* libconfuse's own scanner fails at some of these lengths */
        int len = snprintf(text, sizeof text, "#%0*d\n#\n##\n\t# %0*d\nworkers = 7 #", (int)n, 0, (int)n, 0);

        CHECK(len > 0 && (size_t)len < sizeof text);
        c = good(text);
        CHECK_INT(c->workers, 7);
        config_server_free(c);
    }
}

static void dump_tells_value_and_origin(void)
{
    struct config_server *c = good("workers = 3\n\nlimits {\n max_streams = 9\n}\nidentity = \"/a\\\"b\\$\\x01\"");
    char *text = dump(c);

    CHECK(strstr(text, "bind = {\"0.0.0.0:1337\"}    # default\n") != NULL);
    CHECK(strstr(text, "workers = 3    # server.conf:1\n") != NULL);
    CHECK(strstr(text, "limits {    # server.conf:3\n") != NULL);
    CHECK(strstr(text, "    max_streams = 9    # server.conf:4\n") != NULL);
    CHECK(strstr(text, "    max_message = \"64KiB\"    # default\n") != NULL);
    CHECK(strstr(text, "identity = \"/a\\\"b\\$\\x01\"    # server.conf:6\n") != NULL);
    CHECK(strstr(text, "service \"echo\" {    # default\n    type = \"echo\"    # default\n") != NULL);
    CHECK(strstr(text, "    proxy_protocol = \"off\"    # default\n") != NULL);
    free(text);
    config_server_free(c);
}

static void dump_can_be_read_again(void)
{
    struct config_server *c =
        good("bind = {\"h:1\", \"unix:/a\\\"b\"} service \"a\" { type = echo allow = {\"x\",\"*\"} }\n"
             "service \"b\" { type = echo allow = {} } classic = true classic_service = a\n");
    char *first = dump(c);
    struct config_server *again = good(first);
    char *second;

    CHECK_INT(again->service_count, 2);
    CHECK_INT(again->bind_count, 2);
    CHECK_STR(again->bind[1].path, "/a\"b");
    second = dump(again);
    config_server_free(c);
    config_server_free(again);
    c = good(second);
    CHECK_INT(c->services[0].allow_count, 1);
    free(first);
    free(second);
    config_server_free(c);
}

static void files_that_cannot_be_read_are_errors(void)
{
    char directory[] = "/tmp/etcp-config-XXXXXX";
    char path[64];
    char expected[256];
    struct config_server *config = NULL;
    struct error_text error;
    int fd;

    CHECK(mkdtemp(directory) != NULL);
    (void)snprintf(path, sizeof path, "%s/server.conf", directory);

    CHECK_INT(config_server_load(path, &config, &error), -ENOENT);
    (void)snprintf(expected, sizeof expected, "%s: there is no such file: expected a configuration file", path);
    CHECK_STR(error.text, expected);

    CHECK_INT(config_server_load(directory, &config, &error), -EISDIR);
    (void)snprintf(expected, sizeof expected, "%s: not a regular file: expected a configuration file", directory);
    CHECK_STR(error.text, expected);

    CHECK_INT(mkfifo(path, 0600), 0); /* nobody ever writes to it */
    CHECK_INT(config_server_load(path, &config, &error), -EINVAL);
    (void)snprintf(expected, sizeof expected, "%s: not a regular file: expected a configuration file", path);
    CHECK_STR(error.text, expected);
    CHECK_INT(unlink(path), 0);

    fd = open(path, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0);
    CHECK_INT(ftruncate(fd, CONFIG_FILE_MAX + 1), 0);
    CHECK_INT(config_server_load(path, &config, &error), -EFBIG);
    (void)snprintf(expected, sizeof expected, "%s: too long: expected at most 1048576 bytes", path);
    CHECK_STR(error.text, expected);

    CHECK_INT(ftruncate(fd, 0), 0);
    CHECK_INT(write(fd, "\nworkers = 300\n", 15), 15);
    CHECK_INT(config_server_load(path, &config, &error), -EINVAL);
    (void)snprintf(expected, sizeof expected,
                   "%s:2: bad value \"300\" for workers: expected a whole number from 0 to 256", path);
    CHECK_STR(error.text, expected);

    CHECK_INT(ftruncate(fd, 0), 0);
    CHECK_INT(fchmod(fd, 0), 0);
    if (geteuid() != 0) { /* root may read everything */
        CHECK_INT(config_server_load(path, &config, &error), -EACCES);
        (void)snprintf(expected, sizeof expected, "%s: can't be read: Permission denied", path);
        CHECK_STR(error.text, expected);
    }
    CHECK(config == NULL);
    (void)close(fd);
    CHECK_INT(unlink(path), 0);
    CHECK_INT(rmdir(directory), 0);
}

static void no_file_means_defaults(void)
{
    struct config_server *config = NULL;
    struct error_text error;

    CHECK_INT(config_server_load(NULL, &config, &error), 0);
    CHECK_INT(config->limits.max_connections, 10000);
    config_server_free(config);
}

static void networks_are_read(void)
{
    static const uint8_t ipv6[16] = {0x20, 0x01, 0x0d, 0xb8, 0x80};
    struct config_server *c =
        good("proxy_protocol = required\n"
             "proxy_from = {\"10.0.0.0/8\", '192.0.2.7', \"2001:db8:8000::/33\", \"::1\", \"unix\", \"0.0.0.0/0\"}");
    const struct config_network *network = c->proxy_from;

    CHECK_INT(c->proxy_protocol, CONFIG_PROXY_IN_REQUIRED);
    CHECK_INT(c->proxy_from_count, 6);
    CHECK(network[0].kind == CONFIG_NETWORK_INET && network[0].bits == 8 && network[0].address[0] == 10);
    CHECK(network[1].kind == CONFIG_NETWORK_INET && network[1].bits == 32 && network[1].address[3] == 7);
    CHECK(network[2].kind == CONFIG_NETWORK_INET6 && network[2].bits == 33);
    CHECK_MEM((const void *)network[2].address, (const void *)ipv6, 16);
    CHECK(network[3].kind == CONFIG_NETWORK_INET6 && network[3].bits == 128);
    CHECK(network[4].kind == CONFIG_NETWORK_UNIX);
    CHECK(network[5].kind == CONFIG_NETWORK_INET && network[5].bits == 0);
    config_server_free(c);
}

static void wrong_networks_are_errors(void)
{
#define FORM "expected a network as 10.0.0.0/8, 192.0.2.1, 2001:db8::/32 or ::1, or \"unix\""
    static const char *const malformed[] = {"",         "10.0.0.0/", "10.0.0.0/x",  "10.0.0.0/-1",   "10.0.0.0/8/8",
                                            "10.0.0/8", "localhost", "10.0.0.0/+8", "10.0.0.0/1000", "::1%lo",
                                            "unix:/x",  "[::1]",     "Unix",        "127.0.0.1:1"};

    for (size_t i = 0; i < CHECK_COUNT(malformed); i++) {
        char text[64], message[256];

        (void)snprintf(text, sizeof text, "proxy_from = {\"%s\"}", malformed[i]);
        (void)snprintf(message, sizeof message, "server.conf:1: proxy_from: bad address \"%s\": " FORM, malformed[i]);
        bad(text, message);
    }
    bad("proxy_from = {\"10.0.0.0/33\"}",
        "server.conf:1: proxy_from: bad address \"10.0.0.0/33\": expected at most 32 bits behind the /");
    bad("proxy_from = {\"::/129\"}",
        "server.conf:1: proxy_from: bad address \"::/129\": expected at most 128 bits behind the /");
    bad("proxy_from = {\"10.0.128.0/16\"}",
        "server.conf:1: proxy_from: bad address \"10.0.128.0/16\": expected a network whose "
        "address ends where its bits do, as 10.0.0.0/8");
    bad("proxy_from = {\"::1/127\"}",
        "server.conf:1: proxy_from: bad address \"::1/127\": expected a network whose address ends "
        "where its bits do, as 10.0.0.0/8");
    bad("proxy_from = {\"::ffff:10.0.0.0/104\"}",
        "server.conf:1: proxy_from: bad address \"::ffff:10.0.0.0/104\": expected an "
        "IPv4 network without ::ffff: before it");
    bad("proxy_from = {\"::1\",\n\"::1/128\"}",
        "server.conf:2: bad value \"::1/128\" for proxy_from: expected every network once");
    bad("log_level = info\nproxy_protocol = required",
        "server.conf:2: proxy_protocol = \"required\" without proxy_from: expected the addresses of the balancers, as "
        "proxy_from "
        "= {\"192.0.2.1\", \"10.0.0.0/8\"}");
}

static void lists_are_bounded(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    CHECK(out != NULL);
    (void)fprintf(out, "bind = {\n");
    for (int i = 0; i <= CONFIG_LIST_MAX; i++)
        (void)fprintf(out, "\"h%d:1\",\n", i);
    (void)fprintf(out, "}\n");
    CHECK_INT(fclose(out), 0);
    bad(text, "server.conf:1026: too many values for \"bind\": expected at most 1024");
    free(text);
}

static void all_mistakes_are_told(void)
{
    bad("bindd = 1\nlog_level = loud\nlimits {\n max_streams = 0\n max_stream = {1,\n 2}\n}\nworkers = 1\nworkers = 2\n"
        "service \"x\" { type = echo }\nservice \"Y\" { type = forward allow = {\"*\"} to = nowhere }",
        "server.conf:1: unknown option or section \"bindd\": did you mean \"bind\"?"
        "\nserver.conf:5: unknown option \"max_stream\" in section \"limits\": did you mean \"max_streams\"?"
        "\nserver.conf:9: \"workers\" is given twice: expected it once, see line 8"
        "\nserver.conf:2: bad value \"loud\" for log_level: expected one of: error warning notice info debug"
        "\nserver.conf:4: bad value \"0\" for limits.max_streams: expected a whole number from 1 to 65535"
        "\nserver.conf:10: service \"x\" has no \"allow\": expected allow = {...}, {\"*\"} for everybody"
        "\nserver.conf:11: bad title of a service: expected a service name: 1 to 64 of a-z 0-9 . _ -, the first a "
        "letter or "
        "digit"
        "\nserver.conf:11: service.to: bad address \"nowhere\": expected host:port, [v6]:port or unix:/path");
    /* What makes the rest unreadable is the last. */
    bad("log_level = loud\nbindd = {1,\nworkers = 2000\n",
        "server.conf:2: unknown option or section \"bindd\": did you mean \"bind\"?");
    bad("x = 1\nlimits {\n y = 'open\n",
        "server.conf:1: unknown option or section \"x\": expected one of: " SERVER_WORDS
        "\nserver.conf:3: unknown option \"y\" in section \"limits\": expected one of: "
        "max_connections max_connections_per_address max_handshakes max_streams "
        "handshake_timeout idle_timeout max_message");
    bad("x = 1\n|", "server.conf:1: unknown option or section \"x\": expected one of: " SERVER_WORDS
                    "\nserver.conf:2: unexpected character '|': expected values with such characters in quotes");
}

static const struct check_case cases[] = {
    CHECK_CASE(defaults_are_those_of_the_manual),
    CHECK_CASE(every_option_is_taken),
    CHECK_CASE(unknown_names_are_errors),
    CHECK_CASE(all_mistakes_are_told),
    CHECK_CASE(metrics_and_status_are_read),
    CHECK_CASE(wrong_values_are_errors),
    CHECK_CASE(wrong_addresses_are_errors),
    CHECK_CASE(duplicates_are_errors),
    CHECK_CASE(broken_syntax_is_an_error),
    CHECK_CASE(nul_bytes_are_errors),
    CHECK_CASE(services_are_judged),
    CHECK_CASE(options_are_judged_together),
    CHECK_CASE(failed_parse_leaves_nothing_behind),
    CHECK_CASE(environment_is_not_consulted),
    CHECK_CASE(strings_keep_every_byte),
    CHECK_CASE(empty_comments_and_long_ones_are_fine),
    CHECK_CASE(dump_tells_value_and_origin),
    CHECK_CASE(dump_can_be_read_again),
    CHECK_CASE(files_that_cannot_be_read_are_errors),
    CHECK_CASE(no_file_means_defaults),
    CHECK_CASE(networks_are_read),
    CHECK_CASE(wrong_networks_are_errors),
    CHECK_CASE(lists_are_bounded),
};

CHECK_MAIN(cases)
