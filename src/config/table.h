/* SPDX-License-Identifier: MIT
 *
 * Option tables: what options a file has, and everything that follows from it without knowing the file: parsing, defaults,
 * storing into a struct, dumping. For server.c, agent.c and the test that compares tables and documents. */
#ifndef ETCP_CONFIG_TABLE_H
#define ETCP_CONFIG_TABLE_H

#include "config/config.h"

/* How an option is written, and what it is stored as. */
enum config_type {
    CONFIG_BOOL,         /* bool */
    CONFIG_NUMBER,       /* uint32_t */
    CONFIG_REAL,         /* double */
    CONFIG_DURATION,     /* uint64_t, microseconds */
    CONFIG_SIZE,         /* uint32_t, bytes */
    CONFIG_WORD,         /* an enum: one of `words` */
    CONFIG_TEXT,         /* const char *, not empty */
    CONFIG_PATH,         /* const char *, absolute */
    CONFIG_PATH_OR_NONE, /* the same, or "" */
    CONFIG_PATH_OR_WORD, /* the same, or "none" */
    CONFIG_ALGORITHM,    /* const char *, the name of a congestion control, or "" */
    CONFIG_SERVICE,      /* const char *, a service name */
    CONFIG_METRICS,      /* struct config_address, numeric, where to listen; its kind is 0 for "" */
    CONFIG_TARGET,       /* struct config_address, where to connect to; its kind is 0 for "" */
    CONFIG_BIND_LIST,    /* struct config_address *, where to listen */
    CONFIG_SERVER_LIST,  /* struct config_address *, where to connect to */
    CONFIG_KEY_LIST,     /* uint8_t (*)[CONFIG_KEY_BYTES], public keys */
    CONFIG_AGENT_LIST,   /* const char **, names of agents, or "*" */
    CONFIG_NETWORK_LIST, /* struct config_network * */
};

struct config_word {
    const char *word; /* NULL ends a list of words */
    int value;
};

struct config_option {
    const char *name;
    enum config_type type;
    const char *fallback; /* the default as text; of a list: its only entry, NULL if it is empty */
    size_t offset;        /* where it is stored */
    size_t count_offset;  /* where a list's length is stored */
    double minimum;       /* numbers: of the stored value; lists: of the length */
    double maximum;       /* numbers only */
    const struct config_word *words;
};

struct config_section {
    const char *name;  /* NULL: the file itself */
    const char *title; /* of the section that is there by default; NULL: has no title, and is there once */
    bool optional;     /* has a title, and is not there by default */
    const struct config_option *options;
    size_t option_count;
};

struct config_table {
    const struct config_section *sections; /* the first is the file itself */
    size_t section_count;
};

const struct config_table *config_server_table(void);
const struct config_table *config_agent_table(void);

bool config_type_is_list(enum config_type type);

/* What was given for an option. */
struct config_value {
    unsigned line; /* 0: the default */
    char **texts;
    unsigned *lines;
    size_t count;
};

/* A section that was given, or is there by default. */
struct config_instance {
    const struct config_section *section;
    const char *title;           /* NULL: has none */
    unsigned line;               /* 0: by default */
    struct config_value *values; /* one for each option of the section */
};

struct config_values {
    const struct config_table *table;
    char *name; /* of the file */
    struct config_instance *instances;
    size_t instance_count;
    struct config_block *blocks; /* everything above lies in these */
    bool mistaken;               /* something was left out, about which there is an error text */
};

/* Parses text by a table. Returns 0 and owned values, in which every option has a value, or an error text and
 * -EINVAL or -ENOMEM. With a mistake that leaves the rest readable it returns 0 and `mistaken` values, too: there may be more to say. */
int config_values_parse(const struct config_table *table, const char *text, size_t len, const char *name,
                        struct config_values **ret_values, struct error_text *ret_error);

/* Reads a file and parses it; NULL gives the defaults. */
int config_values_load(const struct config_table *table, const char *path, struct config_values **ret_values,
                       struct error_text *ret_error);

/* NULL is fine. Frees what config_values_alloc() gave, too. */
void config_values_free(struct config_values *values);

/* Zeroed memory that lives as long as the values; NULL if there is none. */
void *config_values_alloc(struct config_values *values, size_t count, size_t size);

/* Converts the values of one instance and stores them in the struct at `base`. Lists and strings belong to `values`.
 * Returns 0, or an error text and -EINVAL or -ENOMEM. */
int config_values_store(struct config_values *values, const struct config_instance *instance, void *base,
                        struct error_text *ret_error);

/* The instance of a section that has no title; `section` NULL is the file itself. */
const struct config_instance *config_values_get(const struct config_values *values, const char *section);

/* The line of an option of an instance, 0 if it has its default. */
unsigned config_values_line(const struct config_instance *instance, const char *option);

/* The line of the first of two options that does not have its default, else of the second; 0: both have. */
unsigned config_values_either_line(const struct config_instance *instance, const char *first, const char *second);

/* Judges the options of the section together. Returns 0, or -EINVAL with an error text. */
int config_heartbeat_check(const struct config_heartbeat *heartbeat, const struct config_values *values,
                           struct error_text *ret_error);

/* The worse of two results: the first that failed, but -ENOMEM before all. */
int config_worse(int one, int other);

/* Adds "FILE:LINE: text" and returns -EINVAL. */
int config_values_fail(const struct config_values *values, unsigned line, struct error_text *ret_error,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Writes every setting with its value and where it came from. */
void config_values_dump(const struct config_values *values, const struct config_note *notes, size_t count, FILE *out);

/* What becomes of the values of a kind of file. */
struct config_kind {
    const struct config_table *table;
    size_t size;          /* of its struct */
    size_t values_offset; /* where that keeps the values */
    /* Takes a section that has a title. Returns 0, or an error text and -EINVAL or -ENOMEM. */
    int (*store_titled)(void *config, const struct config_instance *instance, struct error_text *ret_error);
    /* What options demand of each other, when all are good. As above. */
    int (*check)(void *config, struct error_text *ret_error);
};

/* As config_server_load() and its kin. */
int config_kind_load(const struct config_kind *kind, const char *path, void **ret_config, struct error_text *ret_error);
int config_kind_parse(const struct config_kind *kind, const char *text, size_t len, const char *name, void **ret_config,
                      struct error_text *ret_error);
void config_kind_free(const struct config_kind *kind, void *config);

#endif
