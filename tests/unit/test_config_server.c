/* SPDX-License-Identifier: MIT */
#include "config/server.h"

#include <errno.h>
#include <stdlib.h>

#include <etcp/etcp.h>

#include "check.h"
#include "server_conf.h"

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

static const struct check_case cases[] = {
    CHECK_CASE(defaults_are_those_of_the_manual), CHECK_CASE(every_option_is_taken),
    CHECK_CASE(metrics_and_status_are_read),      CHECK_CASE(wrong_values_are_errors),
    CHECK_CASE(wrong_addresses_are_errors),       CHECK_CASE(services_are_judged),
    CHECK_CASE(options_are_judged_together),      CHECK_CASE(dump_tells_value_and_origin),
    CHECK_CASE(dump_can_be_read_again),           CHECK_CASE(networks_are_read),
    CHECK_CASE(wrong_networks_are_errors),
};

CHECK_MAIN(cases)
