/* SPDX-License-Identifier: MIT
 *
 * The log: to the journal with fields when stderr is connected to it, else one readable line per message on stderr.
 * Usable from every thread. Whoever logs decided that nobody above would: base, config and keys never do.
 *
 * Bytes from a peer go through log_escape() first, in messages and in fields alike. Payload is never logged. */
#ifndef ETCP_BASE_LOG_H
#define ETCP_BASE_LOG_H

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Values are syslog's priorities. */
enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

/* The level of a word (error warning notice info debug); 0, or -EINVAL and *ret_level untouched. */
int log_level_parse(const char *word, enum log_level *ret_level);

/* The word of a level; static. */
const char *log_level_name(enum log_level level);

/* Finds out where the log goes, and takes the level from the environment (ETCP_LOG) if it is set there; else the level is
 * info. To be called once, before any thread is started; without it, messages go to stderr at level info.
 * Returns 0, or -EINVAL if ETCP_LOG holds no level (it is then ignored; worth a warning). */
int log_open(void);

/* What is logged from now on is why the program ends at once, before there are threads. The journal learns of which unit a sender
 * is by looking at the process, which may have gone by then, and the message would not be found under the unit; what comes by
 * stderr is known to be the unit's. */
void log_last_words(void);

/* Sets the level, from the configuration at start and at reload. ETCP_LOG and log_force_level() have the last word. */
void log_set_level(enum log_level level);

/* Sets the level for good: the command line's --log-level, which comes before ETCP_LOG. */
void log_force_level(enum log_level level);

/* Whether messages of the level are written: to be asked before costly work for a message. */
bool log_enabled(enum log_level level);

/* A field of a journal entry beside the message: ETCP_CONNECTION, ETCP_AGENT, ETCP_PEER, ETCP_SERVICE, ETCP_REASON,
 * ETCP_BYTES_IN, ETCP_BYTES_OUT, ETCP_DURATION_US. Fields do not appear on stderr: the message must say it all. */
struct log_field {
    const char *name;
    const char *value; /* terminated; NULL: the field is left out */
};

enum {
    LOG_FIELDS_MAX = 16,      /* fields beyond are left out */
    LOG_MESSAGE_BYTES = 2048, /* longer messages are cut */
};

/* Logs one message, printf-like, without a newline. */
void log_message(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Logs each line of a text as a message, the first with `fields` and behind `before`. */
void log_lines(enum log_level level, const struct log_field *fields, size_t count, const char *before,
               const char *text);

/* Logs one message with fields. */
void log_event(enum log_level level, const struct log_field *fields, size_t count, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Makes bytes of a peer printable: C0 and C1 controls, DEL, the backslash, Unicode's line, paragraph and direction controls,
 * and bytes that are not UTF-8 become \xNN. `ret_text` (size >= 4) is always terminated; what does not fit is cut,
 * never within an escape or a character, and ends in "...". Returns the length of the text. */
size_t log_escape(const void *bytes, size_t len, char *ret_text, size_t size);

/* A limit on messages of one class that strangers can trigger: a bucket of `burst` (> 0) tokens that gains one every
 * `interval_us` (> 0). Usable from every thread. */
struct log_limit {
    pthread_mutex_t lock;
    uint32_t burst;
    uint64_t interval_us;
    uint64_t used;    /* tokens that are missing in the bucket */
    uint64_t last_us; /* when the bucket was full or gained a token */
    uint64_t suppressed;
};

#define LOG_LIMIT(burst_messages, interval_in_us)                                                     \
    {                                                                                                 \
        .lock = PTHREAD_MUTEX_INITIALIZER, .burst = (burst_messages), .interval_us = (interval_in_us) \
    }

/* Whether a message may be written now. If so, *ret_suppressed tells how many were not since the last one that was. */
bool log_limit_pass(struct log_limit *limit, uint64_t now_us, uint64_t *ret_suppressed);

/* As log_event(), if the limit lets it pass; tells how many were suppressed ("N similar messages suppressed"), in a message
 * before, when it opens again. `limit` may be NULL. */
void log_limited(struct log_limit *limit, uint64_t now_us, enum log_level level, const struct log_field *fields,
                 size_t count, const char *format, ...) __attribute__((format(printf, 6, 7)));

#endif
