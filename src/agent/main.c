/* SPDX-License-Identifier: MIT
 *
 * etcp-agent: options, start-up, signals, and what systemd is told. See etcp-agent(8). */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <etcp/etcp.h>
#include <event2/event.h>
#include <systemd/sd-daemon.h>

#include "agent/connector.h"
#include "agent/report.h"
#include "agent/setup.h"
#include "base/log.h"
#include "base/message_id.h"
#include "net/cli.h"
#include "net/loop.h"

static const struct cli_program program = {
    .name = "etcp-agent",
    .summary = "Keeps authenticated connections to an etcp server: carries local connections over them, or messages.",
    .config_path = CONFIG_AGENT_PATH,
    .manual = "etcp-agent(8), etcp-agent.conf(5)",
};

/* Beyond draining: the last words of connections. */
#define STOP_MARGIN_US 15000000u

enum { STATUS_INTERVAL_S = 5 };

enum {
    EVENT_TERM,
    EVENT_INT,
    EVENT_HUP,
    EVENT_WATCHDOG,
    EVENT_STATUS,
    EVENTS,
};

struct agent {
    const char *config; /* path of -c, or NULL */
    struct loop *loop;
    struct connector *connector;
    struct report *report;
    struct event *events[EVENTS];
    uint64_t drain_timeout_us; /* of the configuration in use */
    char status[1024];         /* what the connector said last */
    size_t carried, waiting;   /* local connections, as systemd was told last */
    int exit_code;
};

/* Nobody listens when it was started by hand, which is fine. */
static void tell_systemd(const char *text)
{
    (void)sd_notify(0, text);
}

static void show_status(const struct agent *agent)
{
    if (agent->carried + agent->waiting > 0) {
        (void)sd_notifyf(0, "STATUS=%s; %zu connections forwarded, %zu waiting", agent->status, agent->carried,
                         agent->waiting);
    } else {
        (void)sd_notifyf(0, "STATUS=%s", agent->status);
    }
}

static void on_status(const char *text, void *user)
{
    struct agent *agent = user;

    (void)snprintf(agent->status, sizeof(agent->status), "%s", text);
    show_status(agent);
}

static void on_count(evutil_socket_t fd, short what, void *arg)
{
    struct agent *agent = arg;
    struct connector_view view;

    (void)fd;
    (void)what;
    connector_view(agent->connector, &view);
    if (view.mode.carried != agent->carried || view.mode.waiting != agent->waiting) {
        agent->carried = view.mode.carried;
        agent->waiting = view.mode.waiting;
        show_status(agent);
    }
}

static void on_finished(int exit_code, void *user)
{
    struct agent *agent = user;

    agent->exit_code = exit_code;
    loop_stop(agent->loop);
}

static const struct connector_handler connector_handler = {
    .status = on_status,
    .finished = on_finished,
};

static void log_identity(const struct setup *setup)
{
    const struct log_field id = {LOG_ID(MESSAGE_KEY_MADE)};
    const bool made = setup->keys.created;
    char text[ETCP_KEY_TEXT_BYTES];

    etcp_key_format(ETCP_KEY_PUBLIC, etcp_identity_public(setup->keys.identity), text);
    log_event(made ? LOG_LEVEL_NOTICE : LOG_LEVEL_INFO, &id, made ? 1 : 0, "%s %s: public key %s",
              made ? "made a new identity," : "identity", setup->keys.path, text);
}

static void on_stop(evutil_socket_t number, short what, void *arg)
{
    struct agent *agent = arg;

    (void)what;
    log_message(LOG_LEVEL_INFO, "%s: stopping", number == SIGTERM ? "SIGTERM" : "SIGINT");
    (void)sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64, agent->drain_timeout_us + STOP_MARGIN_US);
    connector_stop(agent->connector);
}

static void on_reload(evutil_socket_t number, short what, void *arg)
{
    struct agent *agent = arg;
    struct setup *setup = NULL;
    struct error_text error;
    bool config_bad;
    int result;

    (void)number;
    (void)what;
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, loop_now_us());
    result = setup_load(agent->config, &setup, &config_bad, &error);
    if (result == 0) {
        const enum log_level level = setup->config->log_level;
        const uint64_t drain_timeout_us = setup->config->drain_timeout_us;
        const uint64_t busy_poll_us = setup->config->busy_poll_us;

        log_identity(setup);
        result = report_prepare(agent->report, setup->config, &error);
        if (result == 0) {
            result = connector_reload(agent->connector, setup, &error);
            if (result < 0) {
                report_rollback(agent->report);
            }
        }
        if (result == 0) {
            report_commit(agent->report);
            log_set_level(level);
            agent->drain_timeout_us = drain_timeout_us;
            loop_set_busy_poll(agent->loop, busy_poll_us);
            log_message(LOG_LEVEL_INFO, "configuration reloaded");
        } else {
            setup_free(setup);
        }
    }
    if (result < 0) {
        const struct log_field id = {LOG_ID(MESSAGE_RELOAD_REFUSED)};

        log_lines(LOG_LEVEL_ERROR, &id, 1, "reload failed, everything stays as it was: ", error.text);
    }
    tell_systemd("READY=1");
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    tell_systemd("WATCHDOG=1");
}

static bool add_event(struct agent *agent, int which, int number, short what, event_callback_fn callback,
                      const struct timeval *interval)
{
    agent->events[which] = event_new(agent->loop->base, number, (short)(what | EV_PERSIST), callback, agent);
    return agent->events[which] != NULL && event_add(agent->events[which], interval) == 0;
}

static bool add_events(struct agent *agent)
{
    const struct timeval status = {.tv_sec = STATUS_INTERVAL_S};
    uint64_t watchdog_us = 0;

    if (getenv("NOTIFY_SOCKET") != NULL && !add_event(agent, EVENT_STATUS, -1, EV_TIMEOUT, on_count, &status)) {
        return false;
    }
    if (!add_event(agent, EVENT_TERM, SIGTERM, EV_SIGNAL, on_stop, NULL) ||
        !add_event(agent, EVENT_INT, SIGINT, EV_SIGNAL, on_stop, NULL) ||
        !add_event(agent, EVENT_HUP, SIGHUP, EV_SIGNAL, on_reload, NULL)) {
        return false;
    }
    if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
        const struct timeval interval = loop_span(watchdog_us / 2);

        return add_event(agent, EVENT_WATCHDOG, -1, EV_TIMEOUT, on_watchdog, &interval);
    }
    return true;
}

/* Signals that come before the loop is there to take them wait for it; those that come after it would meet no handler and
 * kill what is ending well. */
static void hold_signals(int how)
{
    sigset_t signals;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGHUP);
    (void)sigprocmask(how, &signals, NULL);
}

/* Takes the setup. Returns the code to exit with. */
static int run(const char *config, struct setup *setup)
{
    struct agent agent = {.config = config, .exit_code = EX_OSERR};
    const struct config_agent *settings = setup->config;
    struct error_text error;
    int result, connected = 0;

    agent.drain_timeout_us = settings->drain_timeout_us;
    result = loop_new(&agent.loop);
    if (result == 0) {
        loop_set_busy_poll(agent.loop, settings->busy_poll_us);
        connected = connector_new(agent.loop, setup, &connector_handler, &agent, &agent.connector, &error);
        setup = connected == 0 ? NULL : setup;
    }
    if (result == 0 && connected == 0) {
        result = report_new(agent.loop, agent.connector, &agent.report);
    }
    if (result == 0 && !add_events(&agent)) {
        result = -ENOMEM;
    }
    if (result < 0) {
        log_message(LOG_LEVEL_ERROR, "cannot start: %s", strerror(-result));
    } else if (connected < 0) {
        log_lines(LOG_LEVEL_ERROR, NULL, 0, "", error.text);
        agent.exit_code = connected == -EACCES || connected == -EPERM ? EX_NOPERM : EX_UNAVAILABLE;
    } else if ((result = report_prepare(agent.report, settings, &error)) < 0) {
        log_lines(LOG_LEVEL_ERROR, NULL, 0, "", error.text);
        agent.exit_code = result == -EACCES || result == -EPERM ? EX_NOPERM : EX_UNAVAILABLE;
    } else {
        hold_signals(SIG_UNBLOCK);
        report_commit(agent.report);
        tell_systemd("READY=1");
        result = loop_run(agent.loop);
        if (result < 0) {
            log_message(LOG_LEVEL_ERROR, "event loop: %s", strerror(-result));
            return EX_OSERR;
        }
        hold_signals(SIG_BLOCK);
        tell_systemd("STOPPING=1");
    }
    for (int i = 0; i < EVENTS; i++) {
        if (agent.events[i] != NULL) {
            event_free(agent.events[i]);
        }
    }
    report_free(agent.report);
    connector_free(agent.connector);
    loop_free(agent.loop);
    setup_free(setup);
    return agent.exit_code;
}

/* The code for files that the configuration names and that can't be used. */
static int files_exit_code(int result)
{
    return result == -EPERM || result == -EACCES ? EX_NOPERM : EX_CONFIG;
}

/* -t and -T. */
static int check_config(const struct cli *cli)
{
    struct config_agent *config = NULL;
    struct error_text error;
    int code = EX_CONFIG;
    int result = setup_config(cli->config, &config, &error);

    if (result == 0 && cli->check) {
        result = setup_check_files(config, &error);
        code = files_exit_code(result);
    }
    if (result < 0) {
        log_last_words();
        log_lines(LOG_LEVEL_ERROR, NULL, 0, "", error.text);
        goto out;
    }
    if (cli->dump) {
        setup_dump(config, stdout);
    } else {
        cli_print_good(CONFIG_AGENT_PATH, config_source(config->values), cli);
    }
    code = fflush(stdout) == 0 ? EX_OK : EX_IOERR;
out:
    config_agent_free(config);
    return code;
}

int main(int argc, char **argv)
{
    struct setup *setup = NULL;
    struct error_text error;
    struct cli cli;
    bool config_bad;
    int code, result;

    code = cli_parse(&program, argc, argv, &cli);
    if (code != CLI_GO_ON) {
        return code;
    }
    if (cli.check || cli.dump) {
        return check_config(&cli);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    hold_signals(SIG_BLOCK);
    result = setup_load(cli.config, &setup, &config_bad, &error);
    if (result < 0) {
        log_last_words();
        log_lines(LOG_LEVEL_ERROR, NULL, 0, "", error.text);
        return config_bad ? EX_CONFIG : files_exit_code(result);
    }
    log_set_level(setup->config->log_level);
    log_message(LOG_LEVEL_INFO, "etcp-agent %s, configuration %s", etcp_version(),
                config_source(setup->config->values));
    log_identity(setup);
    return run(cli.config, setup);
}
