/* SPDX-License-Identifier: MIT
 *
 * RFC 9112, strictly: lines end in CR LF, a name has no blank before its colon, no line is folded. Whoever sends something else
 * is no monitoring system. */
#include "net/http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char blank[] = " \t";

/* A piece of the request, not terminated. */
struct piece {
    const char *text;
    size_t len;
};

static bool equals(struct piece piece, const char *text)
{
    return piece.len == strlen(text) && memcmp(piece.text, text, piece.len) == 0;
}

static bool equals_case(struct piece piece, const char *text)
{
    return piece.len == strlen(text) && strncasecmp(piece.text, text, piece.len) == 0;
}

/* Cuts the piece before `separator` off `rest`; false if there is none. */
static bool cut(struct piece *rest, char separator, struct piece *ret_piece)
{
    const char *at = memchr(rest->text, separator, rest->len);

    if (at == NULL) {
        return false;
    }
    *ret_piece = (struct piece){rest->text, (size_t)(at - rest->text)};
    rest->text = at + 1;
    rest->len -= ret_piece->len + 1;
    return true;
}

/* Printable ASCII, and blanks where they may stand. */
static bool is_plain(struct piece piece, bool blanks)
{
    for (size_t i = 0; i < piece.len; i++) {
        const unsigned char c = (unsigned char)piece.text[i];

        if ((c <= ' ' || c >= 0x7f) && !(blanks && memchr(blank, c, 2) != NULL)) {
            return false;
        }
    }
    return true;
}

static int find_page(struct piece target, enum http_page *ret_page)
{
    static const struct {
        const char *path;
        enum http_page page;
    } pages[] = {{"/metrics", HTTP_PAGE_METRICS}, {"/healthz", HTTP_PAGE_HEALTH}, {"/readyz", HTTP_PAGE_READY}};
    struct piece path = target;

    (void)cut(&target, '?', &path);
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (equals(path, pages[i].path)) {
            *ret_page = pages[i].page;
            return 200;
        }
    }
    return 404;
}

static int judge_first_line(struct piece line, struct http_request *request)
{
    struct piece method, target;

    if (!cut(&line, ' ', &method) || !cut(&line, ' ', &target) || method.len == 0 || target.len == 0 ||
        !is_plain(method, false) || !is_plain(target, false) ||
        (!equals(line, "HTTP/1.1") && !equals(line, "HTTP/1.0"))) {
        return 400;
    }
    request->head = equals(method, "HEAD");
    if (!request->head && !equals(method, "GET")) {
        return 405;
    }
    return find_page(target, &request->page);
}

/* 200, or what is wrong with a header. */
static int judge_header(struct piece line)
{
    struct piece name;

    if (!cut(&line, ':', &name) || name.len == 0 || !is_plain(name, false)) {
        return 400;
    }
    while (line.len > 0 && memchr(blank, line.text[0], 2) != NULL) {
        line.text++;
        line.len--;
    }
    for (size_t i = 0; i < line.len; i++) {
        const unsigned char c = (unsigned char)line.text[i];

        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return 400;
        }
    }
    if (equals_case(name, "Transfer-Encoding") || (equals_case(name, "Content-Length") && !equals(line, "0"))) {
        return 413; /* nobody here reads a body */
    }
    return 200;
}

void http_parse(const char *text, size_t len, struct http_request *ret_request)
{
    const char *end = memmem(text, len, "\r\n\r\n", 4);
    struct http_request request = {0};
    struct piece rest = {text, len};
    struct piece line;
    bool first = true;

    if (end == NULL) {
        /* What can't become a request is answered without waiting for its end. */
        ret_request->status = len >= HTTP_REQUEST_MAX ? 431 : memchr(text, '\0', len) != NULL ? 400 : 0;
        return;
    }
    request.status = 200;
    rest.len = (size_t)(end - text) + 2;
    while (rest.len > 0) {
        int status = 400;

        if (cut(&rest, '\n', &line) && line.len > 0 && line.text[line.len - 1] == '\r') {
            line.len--;
            status = first ? judge_first_line(line, &request) : judge_header(line);
        }
        /* Of several errors the first counts, but a malformed request is just that. */
        if (status == 400) {
            request.status = 400;
            break;
        }
        request.status = request.status == 200 ? status : request.status;
        first = false;
    }
    *ret_request = request;
}

const char *http_reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 413:
        return "Content Too Large";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

size_t http_head(int status, const char *type, size_t len, char ret_head[static HTTP_HEAD_BYTES])
{
    int n = snprintf(ret_head, HTTP_HEAD_BYTES,
                     "HTTP/1.1 %d %s\r\n"
                     "Content-Type: %s\r\n"
                     "Content-Length: %zu\r\n"
                     "Cache-Control: no-store\r\n"
                     "X-Content-Type-Options: nosniff\r\n"
                     "%s"
                     "Connection: close\r\n"
                     "\r\n",
                     status, http_reason(status), type, len, status == 405 ? "Allow: GET, HEAD\r\n" : "");

    return (size_t)n; /* all of it is ours and short */
}
