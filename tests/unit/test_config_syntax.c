/* SPDX-License-Identifier: MIT
 *
 * Files that can't be read, what can't be read in a file, and what is left out of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <etcp/etcp.h>

#include "check.h"
#include "config/server.h"
#include "server_conf.h"

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

static void statements_need_no_space_between_them(void)
{
    struct config_server *config =
        good("service \"a\"{type=\"echo\"allow={\"*\"}}workers=2 log_level=\"debug\"drain_timeout='1s'");

    CHECK_INT(config->service_count, 1);
    CHECK_INT(config->workers, 2);
    CHECK_INT(config->drain_timeout_us, 1000000);
    config_server_free(config);
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
    bad("limits { heartbeat = \"5s\"\nnonsense = 1 }\nbar = 2",
        "server.conf:1: unknown option \"heartbeat\" in section \"limits\": expected one of: max_connections "
        "max_connections_per_address max_handshakes max_streams handshake_timeout idle_timeout max_message"
        "\nserver.conf:2: unknown option \"nonsense\" in section \"limits\": expected one of: max_connections "
        "max_connections_per_address max_handshakes max_streams handshake_timeout idle_timeout max_message"
        "\nserver.conf:3: unknown option or section \"bar\": expected one of: " SERVER_WORDS);
    bad("x = 1\n|", "server.conf:1: unknown option or section \"x\": expected one of: " SERVER_WORDS
                    "\nserver.conf:2: unexpected character '|': expected values with such characters in quotes");
}

static const struct check_case cases[] = {
    CHECK_CASE(unknown_names_are_errors),
    CHECK_CASE(duplicates_are_errors),
    CHECK_CASE(statements_need_no_space_between_them),
    CHECK_CASE(broken_syntax_is_an_error),
    CHECK_CASE(nul_bytes_are_errors),
    CHECK_CASE(failed_parse_leaves_nothing_behind),
    CHECK_CASE(environment_is_not_consulted),
    CHECK_CASE(strings_keep_every_byte),
    CHECK_CASE(empty_comments_and_long_ones_are_fine),
    CHECK_CASE(files_that_cannot_be_read_are_errors),
    CHECK_CASE(no_file_means_defaults),
    CHECK_CASE(lists_are_bounded),
    CHECK_CASE(all_mistakes_are_told),
};

CHECK_MAIN(cases)
