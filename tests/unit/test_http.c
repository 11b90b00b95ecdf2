/* SPDX-License-Identifier: MIT */
#include "net/http.h"

#include <stdint.h>

#include "check.h"

static struct http_request parse(const char *text, size_t len)
{
    struct http_request request = {0};

    http_parse(text, len, &request);
    return request;
}

static void pages_are_found(void)
{
    static const struct {
        const char *text;
        enum http_page page;
        bool head;
    } cases[] = {
        {"GET /metrics HTTP/1.1\r\n\r\n", HTTP_PAGE_METRICS, false},
        {"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_PAGE_METRICS, true},
        {"GET /healthz HTTP/1.0\r\n\r\n", HTTP_PAGE_HEALTH, false},
        {"GET /readyz?verbose=1 HTTP/1.1\r\nHost:  x\t\r\nAccept: */*\r\nX:\r\n\r\n", HTTP_PAGE_READY, false},
        {"GET /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", HTTP_PAGE_METRICS, false},
        {"GET /metrics HTTP/1.1\r\nX: caf\xc3\xa9\r\n\r\nwhat follows is not read", HTTP_PAGE_METRICS, false},
    };

    for (size_t i = 0; i < CHECK_COUNT(cases); i++) {
        struct http_request request = parse(cases[i].text, strlen(cases[i].text));

        CHECK_INT(request.status, 200);
        CHECK_INT(request.page, cases[i].page);
        CHECK_INT(request.head, cases[i].head);
    }
}

static void every_beginning_waits_for_the_rest(void)
{
    static const char text[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        CHECK_INT(parse(text, len).status, 0);
    }
    CHECK_INT(parse(text, sizeof(text) - 1).status, 200);
}

static void wrong_requests_are_refused(void)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"\r\n\r\n", 400},
        {"GET\r\n\r\n", 400},
        {"GET /metrics\r\n\r\n", 400},
        {"GET /metrics HTTP/2.0\r\n\r\n", 400},
        {"GET /metrics HTTP/1.1 \r\n\r\n", 400},
        {"GET  /metrics HTTP/1.1\r\n\r\n", 400},
        {" GET /metrics HTTP/1.1\r\n\r\n", 400},
        {"GET /met\trics HTTP/1.1\r\n\r\n", 400},
        {"GET /\x80 HTTP/1.1\r\n\r\n", 400},
        {"GET /metrics HTTP/1.1\nHost: x\r\n\r\n", 400},
        {"GET /metrics HTTP/1.1\r\nHost\r\n\r\n", 400},
        {"GET /metrics HTTP/1.1\r\n: x\r\n\r\n", 400},
        {"GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n", 400},
        {"GET /metrics HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400},
        {"GET /metrics HTTP/1.1\r\nA: b\x01\r\n\r\n", 400},
        {"GET /metrics HTTP/1.1\r\nA: b\rc\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nbad header\r\n\r\n", 400},
        {"POST /metrics HTTP/1.1\r\n\r\n", 405},
        {"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 405},
        {"get /metrics HTTP/1.1\r\n\r\n", 405},
        {"OPTIONS * HTTP/1.1\r\n\r\n", 405},
        {"GET / HTTP/1.1\r\n\r\n", 404},
        {"GET /metrics/ HTTP/1.1\r\n\r\n", 404},
        {"GET /metricsx HTTP/1.1\r\n\r\n", 404},
        {"GET //metrics HTTP/1.1\r\n\r\n", 404},
        {"GET http://x/metrics HTTP/1.1\r\n\r\n", 404},
        {"GET ?/metrics HTTP/1.1\r\n\r\n", 404},
        {"GET /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\n", 413},
        {"GET /metrics HTTP/1.1\r\ncontent-length: 00\r\n\r\n", 413},
        {"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 413},
    };

    for (size_t i = 0; i < CHECK_COUNT(cases); i++) {
        if (parse(cases[i].text, strlen(cases[i].text)).status != cases[i].status) {
            (void)fprintf(stderr, "%s", cases[i].text);
        }
        CHECK_INT(parse(cases[i].text, strlen(cases[i].text)).status, cases[i].status);
    }
}

static void what_never_ends_is_refused(void)
{
    static char text[HTTP_REQUEST_MAX];

    memset(text, 'a', sizeof(text));
    CHECK_INT(parse(text, sizeof(text) - 1).status, 0);
    CHECK_INT(parse(text, sizeof(text)).status, 431);
    text[3] = '\0';
    CHECK_INT(parse(text, 4).status, 400); /* garbage need not become long */
}

static void nul_bytes_are_refused(void)
{
    static const char text[] = "GET /metrics HTTP/1.1\r\nA: b\0c\r\n\r\n";

    CHECK_INT(parse(text, sizeof(text) - 1).status, 400);
}

static void heads_are_whole(void)
{
    char head[HTTP_HEAD_BYTES];
    size_t len = http_head(405, "text/plain", 12, head);

    CHECK_INT(len, strlen(head));
    CHECK(strstr(head, "HTTP/1.1 405 Method Not Allowed\r\n") == head);
    CHECK(strstr(head, "\r\nContent-Length: 12\r\n") != NULL);
    CHECK(strstr(head, "\r\nAllow: GET, HEAD\r\n") != NULL);
    CHECK(strstr(head, "\r\nConnection: close\r\n\r\n") == head + len - strlen("\r\nConnection: close\r\n\r\n"));
    len = http_head(200, "text/plain; version=0.0.4; charset=utf-8", SIZE_MAX, head);
    CHECK_INT(len, strlen(head));
    CHECK(strstr(head, "Allow") == NULL);
}

static const struct check_case cases[] = {
    CHECK_CASE(pages_are_found),
    CHECK_CASE(every_beginning_waits_for_the_rest),
    CHECK_CASE(wrong_requests_are_refused),
    CHECK_CASE(what_never_ends_is_refused),
    CHECK_CASE(nul_bytes_are_refused),
    CHECK_CASE(heads_are_whole),
};

CHECK_MAIN(cases)
