/* SPDX-License-Identifier: MIT
 *
 * Where the log goes is decided once, in log_open(), before there are threads; the level may change at any time. */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION /* the place in our source is nobody's business who reads the log */
#include <systemd/sd-journal.h>

#include "base/error.h"
#include "base/utf8.h"

enum log_target {
    LOG_TO_TERMINAL = 0, /* stderr, with the time */
    LOG_TO_SERVICE,      /* stderr of a unit, without fields: whoever reads it adds the time */
    LOG_TO_JOURNAL,
    LOG_TO_STREAM, /* stderr that is the journal's, without fields, with the level as it understands it */
};

static enum log_target log_target;
static _Atomic int log_threshold = LOG_LEVEL_INFO;
static atomic_bool log_fixed;

static const struct {
    const char *word;
    enum log_level level;
} log_levels[] = {
    {"error", LOG_LEVEL_ERROR}, {"warning", LOG_LEVEL_WARNING}, {"notice", LOG_LEVEL_NOTICE},
    {"info", LOG_LEVEL_INFO},   {"debug", LOG_LEVEL_DEBUG},
};

int log_level_parse(const char *word, enum log_level *ret_level)
{
    for (size_t i = 0; i < sizeof log_levels / sizeof log_levels[0]; i++) {
        if (strcmp(word, log_levels[i].word) == 0) {
            *ret_level = log_levels[i].level;
            return 0;
        }
    }
    return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
    for (size_t i = 0; i < sizeof log_levels / sizeof log_levels[0]; i++) {
        if (log_levels[i].level == level)
            return log_levels[i].word;
    }
    return "unknown";
}

/* $JOURNAL_STREAM holds "DEVICE:INODE" of the socket that systemd gave us. That it is set says nothing: it is inherited by
 * children whose stderr was redirected. */
static bool stderr_is_journal(const char *stream)
{
    struct stat st;
    uintmax_t device, inode;
    char end;

    if (sscanf(stream, "%" SCNuMAX ":%" SCNuMAX "%c", &device, &inode, &end) != 2)
        return false;
    return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

int log_open(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    const char *word = getenv("ETCP_LOG");
    enum log_level level = LOG_LEVEL_INFO;

    /* In a root directory of its own a service may have the journal's stream, but not the socket that takes fields. */
    if (stream && stderr_is_journal(stream) && access("/run/systemd/journal/socket", W_OK) == 0)
        log_target = LOG_TO_JOURNAL;
    else
        log_target = getenv("INVOCATION_ID") ? LOG_TO_SERVICE : LOG_TO_TERMINAL;

    if (!word || word[0] == '\0')
        return 0;
    if (log_level_parse(word, &level) < 0)
        return -EINVAL;
    log_force_level(level);
    return 0;
}

void log_last_words(void)
{
    if (log_target == LOG_TO_JOURNAL)
        log_target = LOG_TO_STREAM;
}

void log_set_level(enum log_level level)
{
    if (!atomic_load(&log_fixed))
        atomic_store(&log_threshold, (int)level);
}

void log_force_level(enum log_level level)
{
    atomic_store(&log_fixed, true);
    atomic_store(&log_threshold, (int)level);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_threshold, memory_order_relaxed);
}

static void write_stderr(enum log_level level, const char *message)
{
    char line[LOG_MESSAGE_BYTES + 128];
    char stamp[64] = "";
    int len;

    if (log_target == LOG_TO_TERMINAL) {
        struct timespec now;
        struct tm local;
        char date[32];

        (void)clock_gettime(CLOCK_REALTIME, &now);
        if (localtime_r(&now.tv_sec, &local) && strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &local) > 0)
            (void)snprintf(stamp, sizeof stamp, "%s.%03ld ", date, now.tv_nsec / 1000000);
    }
    if (log_target == LOG_TO_STREAM)
        len = snprintf(line, sizeof line, "<%d>%s\n", (int)level, message);
    else
        len = snprintf(line, sizeof line, "%s%s: %s\n", stamp, log_level_name(level), message);
    if (len <= 0 || (size_t)len >= sizeof line)
        return; /* can't be: the message was bounded */
    /* One write(): lines of several threads do not mix. A log that can't be written must not stop the program. */
    while (write(STDERR_FILENO, line, (size_t)len) < 0 && errno == EINTR)
        ;
}

static void write_journal(enum log_level level, const struct log_field *fields, size_t count, const char *message)
{
    enum { FIELD_BYTES = 512 };
    char text[LOG_MESSAGE_BYTES + 16];
    char priority[] = "PRIORITY=6";
    char name[64];
    char values[LOG_FIELDS_MAX][FIELD_BYTES];
    struct iovec entry[LOG_FIELDS_MAX + 3];
    size_t n = 0;

    priority[sizeof priority - 2] = (char)('0' + (int)level);
    (void)snprintf(text, sizeof text, "MESSAGE=%s", message);
    (void)snprintf(name, sizeof name, "SYSLOG_IDENTIFIER=%.40s", program_invocation_short_name);
    entry[n++] = (struct iovec){text, strlen(text)};
    entry[n++] = (struct iovec){priority, strlen(priority)};
    entry[n++] = (struct iovec){name, strlen(name)};
    for (size_t i = 0; i < count && i < LOG_FIELDS_MAX; i++) {
        if (!fields[i].value)
            continue;
        (void)snprintf(values[i], FIELD_BYTES, "%s=%s", fields[i].name, fields[i].value);
        entry[n++] = (struct iovec){values[i], strlen(values[i])};
    }
    if (sd_journal_sendv(entry, (int)n) < 0)
        write_stderr(level, message); /* the journal's own stream still takes lines when its socket does not */
}

__attribute__((format(printf, 4, 0))) static void write_message(enum log_level level, const struct log_field *fields,
                                                                size_t count, const char *format, va_list args)
{
    int saved = errno; /* so that logging is invisible to the caller's error handling */
    char message[LOG_MESSAGE_BYTES];

    if (log_enabled(level)) {
        (void)vsnprintf(message, sizeof message, format, args);
        if (log_target == LOG_TO_JOURNAL)
            write_journal(level, fields, count, message);
        else
            write_stderr(level, message);
    }
    errno = saved;
}

void log_message(enum log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_message(level, NULL, 0, format, args);
    va_end(args);
}

void log_event(enum log_level level, const struct log_field *fields, size_t count, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_message(level, fields, count, format, args);
    va_end(args);
}

void log_lines(enum log_level level, const struct log_field *fields, size_t count, const char *before, const char *text)
{
    const char *line = NULL;
    int len = 0;

    while ((line = error_next_line(&text, &len)) != NULL) {
        log_event(level, fields, count, "%s%.*s", before, len, line);
        fields = NULL;
        count = 0;
        before = "";
    }
}

/* Length of the printable character at `s`, 0 if it has to be escaped. */
static size_t printable_length(const uint8_t *s, size_t len)
{
    uint32_t point = 0;
    size_t length = utf8_length(s, len, &point);

    if (length == 0 || point < 0x20 || (point >= 0x7f && point < 0xa0) || point == '\\')
        return 0;
    /* Marks that break or turn around a line where it is shown: they could dress up one log line as another. */
    if (point == 0x061c || (point >= 0x200e && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
        (point >= 0x2066 && point <= 0x2069))
        return 0;
    return length;
}

size_t log_escape(const void *bytes, size_t len, char *ret_text, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    const uint8_t *s = bytes;
    size_t used = 0;
    size_t fits = 0; /* how much of the text can stay if "..." has to follow */

    for (size_t i = 0; i < len;) {
        size_t take = printable_length(s + i, len - i);
        size_t put = take > 0 ? take : 4;

        if (used + put >= size) {
            memcpy(ret_text + fits, "...", 4);
            return fits + 3;
        }
        if (take > 0) {
            memcpy(ret_text + used, s + i, take);
        } else {
            ret_text[used] = '\\';
            ret_text[used + 1] = 'x';
            ret_text[used + 2] = hex[s[i] >> 4];
            ret_text[used + 3] = hex[s[i] & 15];
            take = 1;
        }
        i += take;
        used += put;
        if (used + 4 <= size)
            fits = used;
    }
    ret_text[used] = '\0';
    return used;
}

bool log_limit_pass(struct log_limit *limit, uint64_t now_us, uint64_t *ret_suppressed)
{
    uint64_t gained;
    bool pass;

    (void)pthread_mutex_lock(&limit->lock);
    /* Threads read their clocks before they get the lock, so that now_us may be a little before last_us. */
    gained = now_us > limit->last_us ? (now_us - limit->last_us) / limit->interval_us : 0;
    if (gained >= limit->used) {
        limit->used = 0; /* the bucket is full: it begins to gain when the next token is taken */
        limit->last_us = now_us > limit->last_us ? now_us : limit->last_us;
    } else {
        limit->used -= gained;
        limit->last_us += gained * limit->interval_us;
    }
    pass = limit->used < limit->burst;
    if (pass) {
        limit->used++;
        *ret_suppressed = limit->suppressed;
        limit->suppressed = 0;
    } else {
        limit->suppressed++;
    }
    (void)pthread_mutex_unlock(&limit->lock);
    return pass;
}

void log_limited(struct log_limit *limit, uint64_t now_us, enum log_level level, const struct log_field *fields,
                 size_t count, const char *format, ...)
{
    va_list args;
    uint64_t suppressed = 0;

    if (!log_enabled(level)) /* what would not be written takes no token */
        return;
    if (limit && !log_limit_pass(limit, now_us, &suppressed))
        return;
    if (suppressed > 0)
        log_message(level, "%" PRIu64 " similar messages suppressed", suppressed);
    va_start(args, format);
    write_message(level, fields, count, format, args);
    va_end(args);
}
