/* SPDX-License-Identifier: MIT */
#include "server/report.h"

#include <errno.h>
#include <stdlib.h>

#include "base/json.h"
#include "config/server.h"
#include "net/loop.h"
#include "net/publishers.h"
#include "server/session.h"
#include "server/worker.h"

/* So many connections are described at a time, then the loop's own have their turn: about a millisecond. */
enum { BATCH = 256 };

/* What one worker adds. Belongs to the worker's thread while its letter is under way. */
struct part {
    struct report *report;
    struct worker *worker;
    struct loop_letter collect, collected;
    bool begun, failed;
    struct json sessions;
    struct tally tally;
    struct tally_service *services;
    uint64_t streams;
};

struct report {
    struct loop *loop;
    void (*view)(void *user, struct report_view *ret_view);
    void *user;
    struct publishers *publishers;
    struct publisher *askers[PUBLISHER_METRICS + 1]; /* by kind: who waits; NULL: nobody */
    enum publisher_kind kind;                        /* of the collection under way; 0: none */
    size_t count, arrived;                           /* parts */
    struct part parts[];
};

/* ---- On the worker's thread --------------------------------------------------------------------------------------------- */

/* The services' numbers are copied, so that the main loop reads nothing that a worker writes. */
static void copy_services(struct part *part)
{
    for (const struct tally_service *from = part->worker->services; from != NULL; from = from->next) {
        struct tally_service *to = tally_service(&part->services, from->name);

        if (to == NULL) {
            part->failed = true;
            return;
        }
        to->open = from->open;
        to->opened = from->opened;
        to->failed = from->failed;
        to->received_bytes = from->received_bytes;
        to->sent_bytes = from->sent_bytes;
        part->streams += from->open;
    }
}

static void on_collect(void *arg)
{
    struct part *part = arg;
    struct worker *worker = part->worker;
    struct json *json = part->report->kind == PUBLISHER_STATUS ? &part->sessions : NULL;
    const uint64_t now = loop_now_us();

    if (!part->begun) {
        part->begun = true;
        worker->cursor = LIST_FIRST(&worker->sessions);
    }
    for (unsigned i = 0; i < BATCH && worker->cursor != NULL; i++) {
        struct session *session = worker->cursor;

        worker->cursor = session_next(session);
        (void)session_report(session, now, json);
    }
    if (worker->cursor != NULL) {
        loop_post_letter(worker->loop, &part->collect);
        return;
    }
    part->tally = worker->tally;
    part->tally.queued_bytes = worker->loop->queued_bytes;
    part->tally.received_bytes = worker->loop->received_bytes;
    part->tally.sent_bytes = worker->loop->sent_bytes;
    copy_services(part);
    loop_post_letter(part->report->loop, &part->collected);
}

/* ---- On the main loop ---------------------------------------------------------------------------------------------------- */

static void part_clear(struct part *part)
{
    json_done(&part->sessions);
    tally_prune(&part->services, NULL);
    part->begun = part->failed = false;
    part->streams = 0;
}

static void collect(struct report *report, enum publisher_kind kind)
{
    report->kind = kind;
    report->arrived = 0;
    for (size_t i = 0; i < report->count; i++) {
        part_clear(&report->parts[i]);
        loop_post_letter(report->parts[i].worker->loop, &report->parts[i].collect);
    }
}

static bool add_part(struct report_sum *sum, const struct part *part)
{
    tally_add(&sum->tally, &part->tally);
    sum->streams += part->streams;
    for (const struct tally_service *from = part->services; from != NULL; from = from->next) {
        struct tally_service *to = tally_service(&sum->services, from->name);

        if (to == NULL) {
            return false;
        }
        to->open += from->open;
        to->opened += from->opened;
        to->failed += from->failed;
        to->received_bytes += from->received_bytes;
        to->sent_bytes += from->sent_bytes;
    }
    return !part->failed;
}

static char *write_document(struct report *report, size_t *ret_len)
{
    struct report_view view = {0};
    struct report_sum sum = {0};
    struct json sessions = {0};
    char *text = NULL;
    bool good = true;

    for (size_t i = 0; i < report->count; i++) {
        good = add_part(&sum, &report->parts[i]) && good;
        json_append(&sessions, &report->parts[i].sessions);
    }
    report->view(report->user, &view);
    view.workers = report->count;
    if (good && report->kind == PUBLISHER_STATUS) {
        text = report_json(&view, &sum, &sessions, ret_len);
    } else if (good) {
        text = report_metrics(&view, &sum, ret_len);
    }
    json_done(&sessions);
    tally_prune(&sum.services, NULL);
    return text;
}

static void on_collected(void *arg)
{
    struct part *part = arg;
    struct report *report = part->report;
    struct publisher *asker = NULL;
    char *text = NULL;
    size_t len = 0;

    if (++report->arrived < report->count) {
        return;
    }
    asker = report->askers[report->kind];
    text = write_document(report, &len);
    report->askers[report->kind] = NULL;
    for (size_t i = 0; i < report->count; i++) {
        part_clear(&report->parts[i]);
    }
    report->kind = 0;
    if (asker != NULL) {
        publisher_answer(asker, text, len);
    } else {
        free(text); /* a reload has closed the socket meanwhile */
    }
    for (enum publisher_kind kind = PUBLISHER_STATUS; report->kind == 0 && kind <= PUBLISHER_METRICS; kind++) {
        if (report->askers[kind] != NULL) {
            collect(report, kind);
        }
    }
}

static void on_wanted(struct publisher *publisher, enum publisher_kind kind, void *user)
{
    struct report *report = user;

    report->askers[kind] = publisher;
    if (report->kind == 0) {
        collect(report, kind);
    }
}

static bool on_ready(void *user)
{
    struct report *report = user;
    struct report_view view = {0};

    report->view(report->user, &view);
    return view.ready;
}

static const struct publisher_handler handler = {.wanted = on_wanted, .ready = on_ready};

int report_new(struct worker *const *workers, size_t count, void (*view)(void *user, struct report_view *ret_view),
               void *user, struct report **ret_report)
{
    struct report *report = calloc(1, sizeof(*report) + count * sizeof(report->parts[0]));
    int r = 0;

    if (report == NULL) {
        return -ENOMEM;
    }
    report->loop = workers[0]->loop;
    report->view = view;
    report->user = user;
    report->count = count;
    for (size_t i = 0; i < count; i++) {
        struct part *part = &report->parts[i];

        part->report = report;
        part->worker = workers[i];
        part->collect = (struct loop_letter){.fn = on_collect, .arg = part};
        part->collected = (struct loop_letter){.fn = on_collected, .arg = part};
    }
    r = publishers_new(report->loop, &handler, report, &report->publishers);
    if (r != 0) {
        free(report);
        return r;
    }
    *ret_report = report;
    return 0;
}

void report_free(struct report *report)
{
    if (report == NULL) {
        return;
    }
    publishers_free(report->publishers);
    for (size_t i = 0; i < report->count; i++) {
        struct part *part = &report->parts[i];

        /* What was asked for when the workers ended is still in the mail. */
        (void)loop_unpost(part->worker->loop, &part->collect);
        (void)loop_unpost(report->loop, &part->collected);
        part_clear(part);
    }
    free(report);
}

/* ---- Sockets ------------------------------------------------------------------------------------------------------------------ */

int report_prepare(struct report *report, const struct config_server *config, struct error_text *ret_error)
{
    const struct publishers_settings settings = {
        .daemon = "server",
        .status_socket = config->status_socket,
        .metrics_path = config->metrics.path,
        .metrics_host = config->metrics.host,
        .metrics_port = config->metrics.port,
    };

    return publishers_prepare(report->publishers, &settings, ret_error);
}

void report_commit(struct report *report)
{
    /* Who has asked may be gone with its socket; who stays asks no second time, so it must not be forgotten. */
    publishers_commit(report->publishers);
    for (enum publisher_kind kind = PUBLISHER_STATUS; kind <= PUBLISHER_METRICS; kind++) {
        if (!publishers_has(report->publishers, report->askers[kind])) {
            report->askers[kind] = NULL;
        }
    }
}

void report_rollback(struct report *report)
{
    publishers_rollback(report->publishers);
}
