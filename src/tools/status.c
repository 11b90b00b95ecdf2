/* SPDX-License-Identifier: MIT
 *
 * etcp status: what running daemons tell about themselves on their status sockets. */
#include "tools/status.h"

#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/socket.h>

#include "net/address.h"
#include "net/loop.h"
#include "tools/tool.h"

enum {
    DOCUMENT_MAX = 64 << 20,        /* bytes that are read of a daemon */
    DEADLINE_US = 15 * 1000 * 1000, /* for all of it */
};

/* Where daemons are looked for: what systemd makes, and what users' own ones make. */
#define SYSTEM_DIRECTORY "/run/etcp"

struct status_options {
    const char *which; /* path, or name; NULL: every daemon that is found */
    bool json;
    bool watch;
    double interval; /* seconds */
};

/* Paths of sockets; owned. */
struct paths {
    char **paths;
    size_t count;
};

/* ---- Which daemons ------------------------------------------------------------------------------------------------------- */

static void paths_done(struct paths *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        free(paths->paths[i]);
    }
    free(paths->paths);
    *paths = (struct paths){0};
}

static bool paths_add(struct paths *paths, const char *directory, const char *name)
{
    char **grown = reallocarray(paths->paths, paths->count + 1, sizeof(*grown));
    char *path = NULL;

    if (grown == NULL) {
        return false;
    }
    paths->paths = grown;
    if (asprintf(&path, "%s%s", directory, name) < 0) {
        return false;
    }
    grown[paths->count++] = path;
    return true;
}

/* A glob of what matches, each with /status.sock: also where the caller may not look, so that it can be told so. */
static bool paths_find(struct paths *paths, const char *directory, const char *name)
{
    char *pattern = NULL;
    glob_t found = {0};
    bool good = asprintf(&pattern, "%s/%s", directory, name) >= 0;

    if (!good) {
        return false;
    }
    if (glob(pattern, GLOB_ONLYDIR, NULL, &found) == 0) {
        for (size_t i = 0; good && i < found.gl_pathc; i++) {
            good = paths_add(paths, found.gl_pathv[i], "/status.sock");
        }
    }
    globfree(&found);
    free(pattern);
    return good;
}

/* "server", "agent", or the NAME of etcp-agent@NAME. */
static bool is_name(const char *which)
{
    return which[0] != '\0' &&
           strspn(which, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:@") == strlen(which);
}

static bool paths_choose(struct paths *paths, const char *which)
{
    const char *user = getenv("XDG_RUNTIME_DIR");
    char *own = NULL, *name = NULL;
    bool good = true;

    if (which != NULL && strchr(which, '/') != NULL) {
        return paths_add(paths, which, "");
    }
    if (which == NULL || strcmp(which, "server") == 0 || strcmp(which, "agent") == 0) {
        name = strdup(which != NULL ? which : "*");
    } else if (asprintf(&name, "agent-%s", which) < 0) {
        name = NULL;
    }
    good = name != NULL && paths_find(paths, SYSTEM_DIRECTORY, name);
    if (good && user != NULL && user[0] == '/') {
        good = asprintf(&own, "%s/etcp", user) >= 0;
        if (good) {
            good = paths_find(paths, own, name);
            free(own);
        }
    }
    free(name);
    return good;
}

/* ---- Asking one ------------------------------------------------------------------------------------------------------------ */

static int connect_to(const char *path, int *ret_fd)
{
    struct address address;
    int fd = -1;
    int r = address_from_path(path, &address);

    if (r != 0) {
        return r;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, &address.any, address.len) != 0) {
        r = -errno;
        (void)close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

/* Reads to the end of file, within bounds. Returns 0 and owned text, or -errno. */
static int read_all(int fd, char **ret_text, size_t *ret_len)
{
    const uint64_t deadline = loop_now_us() + DEADLINE_US;
    char *text = NULL;
    size_t len = 0, size = 0;
    int r = 0;

    for (;;) {
        struct pollfd in = {.fd = fd, .events = POLLIN};
        const uint64_t now = loop_now_us();
        ssize_t n = 0;

        if (len == size) {
            char *grown = size < DOCUMENT_MAX ? realloc(text, size > 0 ? 2 * size : 65536) : NULL;

            if (grown == NULL) {
                r = size < DOCUMENT_MAX ? -ENOMEM : -EFBIG;
                break;
            }
            text = grown;
            size = size > 0 ? 2 * size : 65536;
        }
        if (now >= deadline || poll(&in, 1, (int)((deadline - now) / 1000) + 1) == 0) {
            r = -ETIMEDOUT;
            break;
        }
        n = read(fd, text + len, size - len);
        if (n == 0) {
            *ret_text = text;
            *ret_len = len;
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            r = -errno;
            break;
        }
        len += n > 0 ? (size_t)n : 0;
    }
    free(text);
    return r;
}

static int complain_about(const struct tool_command *command, const char *path, int error)
{
    switch (error) {
    case -EACCES:
    case -EPERM:
        tool_complain(command, "%s: permission denied: it is for root, the daemon's user and its group", path);
        return EX_NOPERM;
    case -ENOENT:
    case -ECONNREFUSED:
        tool_complain(command, "%s: no daemon listens there", path);
        return EX_UNAVAILABLE;
    default:
        tool_complain(command, "%s: %s", path, strerror(-error));
        return EX_UNAVAILABLE;
    }
}

static struct status_style style_of_stdout(void)
{
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");
    struct status_style style = {0};
    struct winsize size = {0};

    if (isatty(STDOUT_FILENO)) {
        style.colour = (no_color == NULL || no_color[0] == '\0') && terminal != NULL && strcmp(terminal, "dumb") != 0;
        style.width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
    }
    return style;
}

/* Returns EX_OK or another code, after complaining. */
static int show_document(const struct tool_command *command, const char *path, const char *text, size_t len, bool json)
{
    const struct status_style style = style_of_stdout();
    json_error_t error;
    json_t *document = NULL;
    int code = EX_OK;

    if (len == 0) {
        tool_complain(command, "%s: the daemon refused us: it answers root, its own user and its group", path);
        return EX_NOPERM;
    }
    document = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(document) || json_string_value(json_object_get(document, "program")) == NULL ||
        json_integer_value(json_object_get(document, "format")) != 1) {
        tool_complain(command, "%s: what answers is not a status of format 1", path);
        code = EX_DATAERR;
    } else if (json) {
        (void)fwrite(text, 1, len, stdout);
        (void)fputc('\n', stdout);
    } else {
        status_print(document, &style);
    }
    json_decref(document);
    return code;
}

static int show(const struct tool_command *command, const char *path, bool json)
{
    char *text = NULL;
    size_t len = 0;
    int fd = -1, code = EX_OK;
    int r = connect_to(path, &fd);

    if (r != 0) {
        return complain_about(command, path, r);
    }
    r = read_all(fd, &text, &len);
    (void)close(fd);
    if (r != 0) {
        return complain_about(command, path, r);
    }
    code = show_document(command, path, text, len, json);
    free(text);
    return code;
}

/* ---- All of them ------------------------------------------------------------------------------------------------------------ */

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0 || errno != ENOENT;
}

static int show_all(const struct tool_command *command, const struct status_options *options)
{
    struct paths paths = {0};
    size_t shown = 0;
    int code = EX_OK;

    if (!paths_choose(&paths, options->which)) {
        tool_complain(command, "%s", strerror(ENOMEM));
        code = EX_OSERR;
    }
    for (size_t i = 0; code != EX_OSERR && i < paths.count; i++) {
        int one = EX_OK;

        if ((options->which == NULL || paths.count > 1) && !is_there(paths.paths[i])) {
            continue; /* the directory of a daemon that does not run; one that was named and is alone is complained about */
        }
        if (shown++ > 0 && !options->json) {
            (void)printf("\n");
        }
        one = show(command, paths.paths[i], options->json);
        code = code == EX_OK ? one : code;
    }
    if (code == EX_OK && shown == 0) {
        tool_complain(command, "%s: nothing found in %s%s",
                      options->which != NULL ? options->which : "no daemon runs here", SYSTEM_DIRECTORY,
                      getenv("XDG_RUNTIME_DIR") != NULL ? " and $XDG_RUNTIME_DIR/etcp" : "");
        code = EX_UNAVAILABLE;
    }
    paths_done(&paths);
    return code;
}

static int show_for_ever(const struct tool_command *command, const struct status_options *options)
{
    const struct timespec pause = {.tv_sec = (time_t)options->interval,
                                   .tv_nsec = (long)((options->interval - floor(options->interval)) * 1e9)};

    for (;;) {
        int code = EX_OK;

        if (isatty(STDOUT_FILENO) && !options->json) {
            (void)printf("\x1b[H\x1b[J"); /* to the top, and what was there goes */
        }
        (void)show_all(command, options); /* a daemon that is away may come back */
        code = tool_printed(command);
        if (code != EX_OK) {
            return code;
        }
        (void)nanosleep(&pause, NULL);
    }
}

enum { OPTION_JSON = TOOL_OPTION, OPTION_WATCH };

static int run(const struct tool_command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, OPTION_JSON},
        {"watch", optional_argument, NULL, OPTION_WATCH},
        {"help", no_argument, NULL, TOOL_HELP},
        {NULL, 0, NULL, 0},
    };
    struct status_options chosen = {.interval = 2};
    char *end = NULL;
    int option, code;

    while ((option = tool_option(command, argc, argv, "", options, &code)) != -1) {
        if (code != TOOL_GO_ON) {
            return code;
        }
        chosen.json = chosen.json || option == OPTION_JSON;
        chosen.watch = chosen.watch || option == OPTION_WATCH;
        if (option == OPTION_WATCH && optarg != NULL) {
            chosen.interval = strtod(optarg, &end);
            if (end == optarg || *end != '\0' || !(chosen.interval >= 0.1 && chosen.interval <= 86400)) {
                return tool_usage(command, "--watch=%s: expected seconds, 0.1 to 86400", optarg);
            }
        }
    }
    if (argc - optind > 1) {
        return tool_usage(command, "expected at most one daemon, got %d arguments", argc - optind);
    }
    chosen.which = argc > optind ? argv[optind] : NULL;
    if (chosen.which != NULL && strchr(chosen.which, '/') == NULL && !is_name(chosen.which)) {
        return tool_usage(command, "%s: expected server, agent, the name of an agent, or the path of a socket",
                          chosen.which);
    }
    if (chosen.watch) {
        return show_for_ever(command, &chosen);
    }
    code = show_all(command, &chosen);
    return code == EX_OK ? tool_printed(command) : (tool_printed(command), code);
}

const struct tool_command status_command = {
    .name = "status",
    .arguments = "[options] [DAEMON]",
    .summary = "Show what running daemons are at",
    .options =
        "DAEMON is server, agent, the NAME of etcp-agent@NAME, or the path of a status socket; without it, every\n"
        "daemon that is found.\n"
        "\n"
        "      --json             print the document as it comes\n"
        "      --watch[=SECONDS]  again and again (default: every 2 seconds)\n"
        "      --help             print this and exit\n",
    .run = run,
};
