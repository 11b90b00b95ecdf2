/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define SECOND UINT64_C(1000000)

/* Runs `write_log` in a process whose stderr is a pipe, and returns what came out of it (static). The level and where the log goes
 * are decided once in a process. */
static const char *captured(void (*write_log)(void))
{
    static char text[16384];
    size_t len = 0;
    int fds[2];
    int status;
    pid_t child;

    (void)fflush(NULL);
    CHECK_INT(pipe(fds), 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(dup2(fds[1], STDERR_FILENO) >= 0);
        (void)close(fds[0]);
        (void)close(fds[1]);
        write_log();
        _exit(0);
    }
    (void)close(fds[1]);
    for (;;) {
        ssize_t n = read(fds[0], text + len, sizeof text - 1 - len);

        CHECK(n >= 0);
        if (n == 0)
            break;
        len += (size_t)n;
    }
    text[len] = '\0';
    (void)close(fds[0]);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return text;
}

static void no_environment(void)
{
    (void)unsetenv("JOURNAL_STREAM");
    (void)unsetenv("ETCP_LOG");
    CHECK_INT(setenv("INVOCATION_ID", "x", 1), 0);
}

static void write_all_levels(void)
{
    no_environment();
    CHECK_INT(log_open(), 0);
    log_message(LOG_LEVEL_ERROR, "one %d", 1);
    log_message(LOG_LEVEL_WARNING, "two");
    log_message(LOG_LEVEL_NOTICE, "three");
    log_message(LOG_LEVEL_INFO, "four");
    log_message(LOG_LEVEL_DEBUG, "five");
}

static void messages_below_the_level_are_left_out(void)
{
    CHECK_STR(captured(write_all_levels), "error: one 1\nwarning: two\nnotice: three\ninfo: four\n");
}

static void write_at_changing_levels(void)
{
    no_environment();
    CHECK_INT(log_open(), 0);
    log_set_level(LOG_LEVEL_ERROR);
    CHECK(!log_enabled(LOG_LEVEL_WARNING));
    log_message(LOG_LEVEL_WARNING, "no");
    log_set_level(LOG_LEVEL_DEBUG);
    CHECK(log_enabled(LOG_LEVEL_DEBUG));
    log_message(LOG_LEVEL_DEBUG, "yes");
}

static void level_changes_at_reload(void)
{
    CHECK_STR(captured(write_at_changing_levels), "debug: yes\n");
}

static void write_with_environment(void)
{
    no_environment();
    CHECK_INT(setenv("ETCP_LOG", "warning", 1), 0);
    CHECK_INT(log_open(), 0);
    log_set_level(LOG_LEVEL_DEBUG); /* the configuration */
    log_message(LOG_LEVEL_INFO, "no");
    log_message(LOG_LEVEL_WARNING, "yes");
    log_force_level(LOG_LEVEL_INFO); /* the command line */
    log_message(LOG_LEVEL_INFO, "now");
}

static void environment_comes_before_the_configuration(void)
{
    CHECK_STR(captured(write_with_environment), "warning: yes\ninfo: now\n");
}

static void write_with_bad_environment(void)
{
    no_environment();
    CHECK_INT(setenv("ETCP_LOG", "loud", 1), 0);
    CHECK_INT(log_open(), -EINVAL);
    log_set_level(LOG_LEVEL_DEBUG);
    log_message(LOG_LEVEL_DEBUG, "yes");
}

static void bad_level_in_the_environment_is_ignored(void)
{
    CHECK_STR(captured(write_with_bad_environment), "debug: yes\n");
}

static void write_long_message(void)
{
    static char text[2 * LOG_MESSAGE_BYTES];

    no_environment();
    CHECK_INT(log_open(), 0);
    memset(text, 'x', sizeof text - 1);
    errno = ENOTTY;
    log_message(LOG_LEVEL_INFO, "%s", text);
    CHECK_INT(errno, ENOTTY);
}

static void long_messages_are_cut(void)
{
    const char *text = captured(write_long_message);

    CHECK_INT(strlen(text), strlen("info: ") + LOG_MESSAGE_BYTES - 1 + 1);
    CHECK(text[strlen(text) - 1] == '\n');
}

static void write_in_terminal(void)
{
    no_environment();
    (void)unsetenv("INVOCATION_ID");
    CHECK_INT(log_open(), 0);
    log_message(LOG_LEVEL_INFO, "hello");
}

static void lines_in_a_terminal_begin_with_the_time(void)
{
    const char *text = captured(write_in_terminal);
    unsigned year, month, day, hour, minute, second, ms;
    int end = 0;

    CHECK_INT(sscanf(text, "%4u-%2u-%2u %2u:%2u:%2u.%3u info: hello\n%n", &year, &month, &day, &hour, &minute, &second,
                     &ms, &end),
              7);
    CHECK_INT(text[end], '\0');
}

static void write_with_stale_stream(void)
{
    no_environment();
    CHECK_INT(setenv("JOURNAL_STREAM", "1:2", 1), 0); /* inherited: it was somebody else's stderr */
    CHECK_INT(log_open(), 0);
    log_event(LOG_LEVEL_INFO, &(struct log_field){"ETCP_PEER", "x"}, 1, "hello");
}

static void foreign_journal_stream_is_not_used(void)
{
    CHECK_STR(captured(write_with_stale_stream), "info: hello\n");
}

/* A journal of our own at the place where libsystemd looks for it, in a mount namespace of this process. */
static int fake_journal(void)
{
    static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
    int fd;

    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("etcp", "/run", "tmpfs", 0, NULL) < 0)
        return -1;
    CHECK(mkdir("/run/systemd", 0755) == 0 && mkdir("/run/systemd/journal", 0755) == 0);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK_INT(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void write_to_journal(void)
{
    const struct log_field fields[] = {{"ETCP_PEER", "127.0.0.1:9"}, {"ETCP_AGENT", NULL}, {"ETCP_REASON", "a\nb"}};
    char stream[64];
    char entry[4096];
    struct stat st;
    ssize_t len;
    int fd = fake_journal();

    if (fd < 0) {
        (void)dprintf(STDERR_FILENO, "skipped");
        return;
    }
    no_environment();
    CHECK_INT(fstat(STDERR_FILENO, &st), 0);
    (void)snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    CHECK_INT(setenv("JOURNAL_STREAM", stream, 1), 0);
    CHECK_INT(log_open(), 0);
    log_event(LOG_LEVEL_WARNING, fields, 3, "gone: %s", "timeout");
    len = recv(fd, entry, sizeof entry - 1, MSG_DONTWAIT);
    CHECK(len > 0);
    entry[len] = '\0';
    CHECK(strstr(entry, "MESSAGE=gone: timeout\n") != NULL);
    CHECK(strstr(entry, "PRIORITY=4\n") != NULL);
    CHECK(strstr(entry, "ETCP_PEER=127.0.0.1:9\n") != NULL);
    CHECK(strstr(entry, "SYSLOG_IDENTIFIER=test-log\n") != NULL);
    CHECK(strstr(entry, "ETCP_AGENT") == NULL);
    CHECK(memmem(entry, (size_t)len, "ETCP_REASON\n\3\0\0\0\0\0\0\0a\nb", 23) != NULL); /* as the journal wants it */
    CHECK(strstr(entry, "CODE_FILE") == NULL);
    log_last_words();
    log_message(LOG_LEVEL_ERROR, "can't go on");
    CHECK(recv(fd, entry, sizeof entry, MSG_DONTWAIT) < 0);
}

static void journal_gets_fields_and_stderr_the_last_words(void)
{
    const char *text = captured(write_to_journal);

    if (strcmp(text, "skipped") == 0)
        (void)printf("  skipped: no right to make a mount namespace\n");
    else
        CHECK_STR(text, "<3>can't go on\n"); /* the last words alone, with their level */
}

static void levels_are_words(void)
{
    enum log_level level = LOG_LEVEL_ERROR;

    CHECK_INT(log_level_parse("debug", &level), 0);
    CHECK_INT(level, LOG_LEVEL_DEBUG);
    CHECK_INT(log_level_parse("Debug", &level), -EINVAL);
    CHECK_INT(log_level_parse("", &level), -EINVAL);
    CHECK_INT(level, LOG_LEVEL_DEBUG);
    CHECK_STR(log_level_name(LOG_LEVEL_NOTICE), "notice");
}

static void escape_makes_everything_printable(void)
{
    static const struct {
        const char *bytes;
        const char *text;
    } inputs[] = {
        {"plain text", "plain text"},
        {"a\nb\tc\r\x1b[2J\x7f", "a\\x0ab\\x09c\\x0d\\x1b[2J\\x7f"},
        {"back\\slash", "back\\x5cslash"},
        {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xc2\x85\xc2\x9b", "\\xc2\\x85\\xc2\\x9b"}, /* C1 */
        {"\xc0\xaf\xc1\xbf", "\\xc0\\xaf\\xc1\\xbf"}, /* overlong */
        {"\xe0\x80\xaf\xf0\x80\x80\xaf", "\\xe0\\x80\\xaf\\xf0\\x80\\x80\\xaf"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* surrogate */
        {"\xf4\x90\x80\x80\xf5\xff", "\\xf4\\x90\\x80\\x80\\xf5\\xff"},
        {"\x80\xbf", "\\x80\\xbf"},
        {"\xe2\x82", "\\xe2\\x82"}, /* cut off */
        {"\xe2\x82z", "\\xe2\\x82z"},
        {"\xe2\x80\xae"
         "abc\xe2\x80\xa8",
         "\\xe2\\x80\\xae"
         "abc\\xe2\\x80\\xa8"}, /* direction, line separator */
    };
    char text[200];

    for (size_t i = 0; i < CHECK_COUNT(inputs); i++) {
        CHECK_INT(log_escape(inputs[i].bytes, strlen(inputs[i].bytes), text, sizeof text), strlen(inputs[i].text));
        CHECK_STR(text, inputs[i].text);
    }
    CHECK_INT(log_escape("a\0b", 3, text, sizeof text), 6);
    CHECK_STR(text, "a\\x00b");
    CHECK_INT(log_escape(NULL, 0, text, sizeof text), 0);
    CHECK_STR(text, "");
}

static void escape_never_cuts_within_a_character(void)
{
    static const char bytes[] = "ab\xe2\x82\xac\n\xf0\x9f\x98\x80"
                                "cdefgh";

    for (size_t size = 4; size < 40; size++) {
        char *text = malloc(size); /* so that the sanitizer sees the bound */
        char again[64];
        size_t len;

        CHECK(text != NULL);
        len = log_escape(bytes, sizeof bytes - 1, text, size);
        CHECK(len < size);
        CHECK_INT(strlen(text), len);
        if (len < 19)
            CHECK_STR(text + len - 3, "...");
        else
            CHECK_STR(text, "ab\xe2\x82\xac\\x0a\xf0\x9f\x98\x80"
                            "cdefgh");
        for (size_t i = 0; i < len;
             i++) { /* what was escaped must not be cut: but for the backslashes all is printable */
            if (text[i] == '\\')
                CHECK(i + 4 <= len && text[i + 1] == 'x');
            text[i] = text[i] == '\\' ? '/' : text[i];
        }
        (void)log_escape(text, len, again, sizeof again);
        CHECK_STR(again, text);
        free(text);
    }
}

static void limit_lets_a_burst_pass_and_counts_the_rest(void)
{
    struct log_limit limit = LOG_LIMIT(3, 10 * SECOND);
    uint64_t suppressed = 99;
    uint64_t now = 1000 * SECOND;

    for (int i = 0; i < 3; i++) {
        CHECK(log_limit_pass(&limit, now, &suppressed));
        CHECK_INT(suppressed, 0);
    }
    suppressed = 99;
    for (int i = 0; i < 1000; i++)
        CHECK(!log_limit_pass(&limit, now + 9 * SECOND, &suppressed));
    CHECK_INT(suppressed, 99);
    CHECK(log_limit_pass(&limit, now + 10 * SECOND, &suppressed));
    CHECK_INT(suppressed, 1000);
    CHECK(!log_limit_pass(&limit, now + 10 * SECOND, &suppressed));
    CHECK(log_limit_pass(&limit, now + 20 * SECOND, &suppressed));
    CHECK_INT(suppressed, 1);
}

static void limit_fills_up_to_the_burst_only(void)
{
    struct log_limit limit = LOG_LIMIT(2, SECOND);
    uint64_t suppressed;

    CHECK(log_limit_pass(&limit, 5 * SECOND, &suppressed));
    for (int round = 1; round < 4; round++) {
        uint64_t now = (uint64_t)round * 1000 * SECOND;

        CHECK(log_limit_pass(&limit, now, &suppressed));
        CHECK(log_limit_pass(&limit, now, &suppressed));
        CHECK(!log_limit_pass(&limit, now, &suppressed));
        CHECK(!log_limit_pass(&limit, now - 500 * SECOND, &suppressed)); /* a thread whose clock was read before */
    }
}

static void write_limited(void)
{
    struct log_limit limit = LOG_LIMIT(1, SECOND);

    no_environment();
    CHECK_INT(log_open(), 0);
    for (int i = 0; i < 5; i++)
        log_limited(&limit, SECOND, LOG_LEVEL_INFO, NULL, 0, "bad packet %d", i);
    log_limited(&limit, SECOND, LOG_LEVEL_DEBUG, NULL, 0, "not written anyway");
    log_limited(&limit, 3 * SECOND, LOG_LEVEL_INFO, NULL, 0, "bad packet again");
    log_limited(NULL, 3 * SECOND, LOG_LEVEL_INFO, NULL, 0, "no limit");
}

static void suppressed_messages_are_told(void)
{
    CHECK_STR(captured(write_limited),
              "info: bad packet 0\ninfo: 4 similar messages suppressed\ninfo: bad packet again\n"
              "info: no limit\n");
}

static const struct check_case cases[] = {
    CHECK_CASE(messages_below_the_level_are_left_out),
    CHECK_CASE(level_changes_at_reload),
    CHECK_CASE(environment_comes_before_the_configuration),
    CHECK_CASE(bad_level_in_the_environment_is_ignored),
    CHECK_CASE(long_messages_are_cut),
    CHECK_CASE(lines_in_a_terminal_begin_with_the_time),
    CHECK_CASE(foreign_journal_stream_is_not_used),
    CHECK_CASE(journal_gets_fields_and_stderr_the_last_words),
    CHECK_CASE(levels_are_words),
    CHECK_CASE(escape_makes_everything_printable),
    CHECK_CASE(escape_never_cuts_within_a_character),
    CHECK_CASE(limit_lets_a_burst_pass_and_counts_the_rest),
    CHECK_CASE(limit_fills_up_to_the_burst_only),
    CHECK_CASE(suppressed_messages_are_told),
};

CHECK_MAIN(cases)
