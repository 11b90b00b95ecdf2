/* SPDX-License-Identifier: MIT
 *
 * authorized_agents from text, and known_servers, which is read from a file. The first byte chooses. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <etcp/etcp.h>

#include "check.h"
#include "fuzz.h"
#include "keys/authorized.h"
#include "keys/known_servers.h"

static void check_error(int error, const struct error_text *text)
{
    CHECK(error < 0);
    CHECK(strnlen(text->text, sizeof(text->text)) < sizeof(text->text));
    CHECK(text->text[0] != '\0' && strchr(text->text, '\n') == NULL);
}

static void run_authorized(const char *data, size_t size)
{
    static const uint8_t stranger[ETCP_KEY_BYTES] = {42};
    struct authorized *list = NULL;
    struct error_text text = {.text = ""};
    int error = authorized_parse(data, size, "input", &list, &text);

    if (error != 0) {
        check_error(error, &text);
        CHECK(list == NULL);
        return;
    }
    CHECK(authorized_count(list) <= size / ETCP_KEY_TEXT_LENGTH);
    CHECK(!authorized_missing(list));
    CHECK(authorized_find(list, stranger) == NULL);
    authorized_free(list);
}

static const char *temporary(void)
{
    static char path[64] = "";

    if (path[0] == '\0') {
        int fd;

        (void)snprintf(path, sizeof(path), "/tmp/etcp-fuzz-known-servers-XXXXXX");
        fd = mkstemp(path);
        CHECK(fd >= 0);
        CHECK_INT(close(fd), 0);
    }
    return path;
}

static void remove_temporary(void)
{
    (void)unlink(temporary());
}

static void run_known_servers(const char *data, size_t size)
{
    static const char address[] = "127.0.0.1:1337";
    static bool registered;
    uint8_t key[ETCP_KEY_BYTES], again[ETCP_KEY_BYTES];
    struct error_text text = {.text = ""};
    unsigned line = 0;
    FILE *file;
    int error;

    if (!registered) {
        registered = true;
        CHECK_INT(atexit(remove_temporary), 0);
    }
    file = fopen(temporary(), "wb");
    CHECK(file != NULL);
    CHECK_INT(fwrite(data, 1, size, file), size);
    CHECK_INT(fclose(file), 0);
    error = known_servers_find(temporary(), address, key, &line, &text);
    if (error == 0) {
        CHECK(line > 0);
        CHECK_INT(known_servers_find(temporary(), address, again, &line, &text), 0);
        CHECK_MEM(again, key, sizeof(key));
    } else if (error != -ENOENT) {
        check_error(error, &text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CHECK_INT(etcp_init(), 0);
    if (size > 0 && data[0] % 2 == 0) {
        run_authorized((const char *)data + 1, size - 1);
    } else if (size > 0) {
        run_known_servers((const char *)data + 1, size - 1);
    }
    return 0;
}
