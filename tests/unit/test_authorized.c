/* SPDX-License-Identifier: MIT */
#include "keys/authorized.h"

#include <errno.h>
#include <fcntl.h>

#include <etcp/etcp.h>

#include "scratch.h"

#define KEY_1    "etcp-pub-0ur6xuUgdsPbMpranN324KhTICp7PcCC7N5WuZrbkS-yMDR6"
#define KEY_2    "etcp-pub-dbZtp7M3bti65HjDxn__tvFauWXEviiLIE6_JJmz90kpgd-N"
#define MISTYPED "etcp-pub-dbZtp7M3bti65HjDxn__tvFauWXEviiLIE6_JJmz90kpgd-M"
#define SECRET   "etcp-sec-jH2CzUEGW-u6_Y9WMsw5yIrhP8pDabC0nNbTdKozVbiigee_"
#define NAME_64  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static struct authorized *good(const char *text)
{
    struct authorized *list = NULL;
    struct error_text error = {""};

    if (authorized_parse(text, strlen(text), "agents", &list, &error) != 0)
        (void)fprintf(stderr, "%s\n", error.text);
    CHECK(list != NULL);
    return list;
}

static const char *find(const struct authorized *list, const char *text)
{
    uint8_t key[ETCP_KEY_BYTES];

    CHECK_INT(etcp_key_parse(text, strlen(text), ETCP_KEY_PUBLIC, key), 0);
    return authorized_find(list, key);
}

static void keys_have_names(void)
{
    struct authorized *list = good("# agents\n\n" KEY_1 "  web1  \r\n \t \n" KEY_2 "\tWeb.2_-\n");

    CHECK_INT(authorized_count(list), 2);
    CHECK_STR(find(list, KEY_1), "web1");
    CHECK_STR(find(list, KEY_2), "Web.2_-");
    CHECK(authorized_has_name(list, "web1"));
    CHECK(!authorized_has_name(list, "web"));
    CHECK(!authorized_missing(list));
    authorized_free(list);
    list = good(KEY_1 " " NAME_64); /* no newline at the end */
    CHECK_STR(find(list, KEY_1), NAME_64);
    CHECK(find(list, KEY_2) == NULL);
    authorized_free(list);
}

static void several_keys_share_a_name(void)
{
    struct authorized *list = good(KEY_1 " web1\n" KEY_2 " web1\n" KEY_1 " web1\n");

    CHECK_INT(authorized_count(list), 2);
    CHECK_STR(find(list, KEY_1), "web1");
    CHECK_STR(find(list, KEY_2), "web1");
    authorized_free(list);
}

static void nothing_is_an_empty_list(void)
{
    struct authorized *list = good("");

    CHECK_INT(authorized_count(list), 0);
    CHECK(find(list, KEY_1) == NULL);
    authorized_free(list);
    authorized_free(NULL);
}

static void bad_lines_are_errors(void)
{
    static const struct {
        const char *text;
        const char *message;
    } inputs[] = {
        {KEY_1 " web1\n\n" MISTYPED " web2\n",
         "agents:3: mistyped: the checksum of the public key (etcp-pub-) does not match: copy it again"},
        {"#\n" SECRET " web1\n",
         "agents:2: this is a secret key (etcp-sec-): expected a public key (etcp-pub-); if others "
         "could read this file, make a new key"},
        {"web1 " KEY_1 "\n",
         "agents:1: bad key: a key begins with etcp-pub-, etcp-sec- or etcp-net-: expected a public "
         "key (etcp-pub-) of 57 characters"},
        {" " KEY_1 " web1\n",
         "agents:1: bad key: a key begins with etcp-pub-, etcp-sec- or etcp-net-: expected a public "
         "key (etcp-pub-) of 57 characters"},
        {"etcp-pub-AAAA web1\n",
         "agents:1: bad key: a key of another length: expected a public key (etcp-pub-) of 57 characters"},
        {KEY_1 "\n", "agents:1: no name behind the key: expected 1 to 64 of a-z A-Z 0-9 . _ -"},
        {KEY_1 "  \n", "agents:1: no name behind the key: expected 1 to 64 of a-z A-Z 0-9 . _ -"},
        {KEY_1 " web 1\n", "agents:1: bad name behind the key: expected 1 to 64 of a-z A-Z 0-9 . _ -, and nothing "
                           "else: comments have their own lines"},
        {KEY_1 " *\n", "agents:1: bad name behind the key: expected 1 to 64 of a-z A-Z 0-9 . _ -"},
        {KEY_1 " web1 # comment\n", "agents:1: bad name behind the key: expected 1 to 64 of a-z A-Z 0-9 . _ -, and "
                                    "nothing else: comments have their own lines"},
        {KEY_1 " w\xc3\xa9"
               "b\n",
         "agents:1: bad name behind the key: expected 1 to 64 of a-z A-Z 0-9 . _ -"},
        {KEY_1 " a" NAME_64 "\n", "agents:1: bad name behind the key: expected 1 to 64 of a-z A-Z 0-9 . _ -"},
        {KEY_1 " " SECRET "\n", "agents:1: bad name behind the key: expected 1 to 64 of a-z A-Z 0-9 . _ -"},
        {KEY_1 " web1\n\n# more\n" KEY_1 " web2\n",
         "agents:4: this key is \"web2\" here and \"web1\" in line 1: expected one name for a key"},
    };

    for (size_t i = 0; i < CHECK_COUNT(inputs); i++) {
        struct authorized *list = NULL;
        struct error_text error;

        CHECK_INT(authorized_parse(inputs[i].text, strlen(inputs[i].text), "agents", &list, &error), -EINVAL);
        CHECK_STR(error.text, inputs[i].message);
        CHECK(list == NULL);
    }
}

static void nul_bytes_are_errors(void)
{
    static const char text[] = KEY_1 " web1\0\n";
    struct authorized *list = NULL;
    struct error_text error;

    CHECK_INT(authorized_parse(text, sizeof text - 1, "agents", &list, &error), -EINVAL);
    CHECK_STR(error.text, "agents:1: bad name behind the key: expected 1 to 64 of a-z A-Z 0-9 . _ -");
}

static void many_keys_are_all_found(void)
{
    enum { KEYS = 2000 };
    static uint8_t keys[KEYS][ETCP_KEY_BYTES];
    uint8_t stranger[ETCP_KEY_BYTES];
    struct authorized *list = NULL;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    CHECK(out != NULL);
    for (unsigned i = 0; i < KEYS; i++) {
        char key[ETCP_KEY_TEXT_BYTES];

        etcp_key_generate(keys[i]);
        keys[i][31] &= 0x3f; /* below 2^255 - 19 */
        etcp_key_format(ETCP_KEY_PUBLIC, keys[i], key);
        (void)fprintf(out, "%s n%u\n", key, i);
    }
    CHECK_INT(fclose(out), 0);
    list = good(text);
    CHECK_INT(authorized_count(list), KEYS);
    for (unsigned i = 0; i < KEYS; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "n%u", i);
        CHECK_STR(authorized_find(list, keys[i]), name);
        etcp_key_generate(stranger);
        CHECK(authorized_find(list, stranger) == NULL);
        memcpy(stranger, keys[i], sizeof stranger);
        stranger[i % ETCP_KEY_BYTES] ^= (uint8_t)(1u << (i % 8));
        CHECK(authorized_find(list, stranger) == NULL);
    }
    authorized_free(list);
    free(text);
}

static void missing_file_is_an_empty_list(void)
{
    struct authorized *list = NULL;
    struct error_text error;

    CHECK_INT(authorized_load(scratch_path("none"), &list, &error), 0);
    CHECK(authorized_missing(list));
    CHECK_INT(authorized_count(list), 0);
    CHECK(find(list, KEY_1) == NULL);
    authorized_free(list);
}

static void files_are_judged(void)
{
    const char *path = scratch_path("agents");
    char expected[512];
    struct authorized *list = NULL;
    struct error_text error;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK_INT(dprintf(fd, "%s web1\n", KEY_1), 63);
    CHECK_INT(authorized_load(path, &list, &error), 0);
    CHECK_STR(find(list, KEY_1), "web1");
    authorized_free(list);
    list = NULL;

    CHECK_INT(fchmod(fd, 0666), 0);
    CHECK_INT(authorized_load(path, &list, &error), -EPERM);
    (void)snprintf(expected, sizeof expected, "%s: everybody may write it: expected its owner alone: chmod o-w %s",
                   path, path);
    CHECK_STR(error.text, expected);
    CHECK_INT(fchmod(fd, 0640), 0);
    if (fchown(fd, 0, 12345) == 0) { /* as root:etcp, 0640 */
        CHECK_INT(authorized_load(path, &list, &error), 0);
        authorized_free(list);
        list = NULL;
        CHECK_INT(fchown(fd, 12345, 0), 0);
        CHECK_INT(authorized_load(path, &list, &error), -EPERM);
        CHECK(strstr(error.text, "belongs to user 12345") != NULL);
        CHECK_INT(fchown(fd, 0, 0), 0);
    }

    CHECK_INT(ftruncate(fd, AUTHORIZED_FILE_MAX + 1), 0);
    CHECK_INT(authorized_load(path, &list, &error), -EFBIG);
    (void)snprintf(expected, sizeof expected, "%s: too long: expected at most 4194304 bytes", path);
    CHECK_STR(error.text, expected);

    CHECK_INT(authorized_load(scratch_directory(), &list, &error), -EISDIR);
    (void)snprintf(expected, sizeof expected, "%s: not a regular file: expected a file with keys", scratch_directory());
    CHECK_STR(error.text, expected);
    CHECK(list == NULL);
    CHECK_INT(close(fd), 0);
}

static const struct check_case cases[] = {
    CHECK_CASE(keys_have_names),
    CHECK_CASE(several_keys_share_a_name),
    CHECK_CASE(nothing_is_an_empty_list),
    CHECK_CASE(bad_lines_are_errors),
    CHECK_CASE(nul_bytes_are_errors),
    CHECK_CASE(many_keys_are_all_found),
    CHECK_CASE(missing_file_is_an_empty_list),
    CHECK_CASE(files_are_judged),
};

int main(int argc, char **argv)
{
    CHECK_INT(etcp_init(), 0);
    return scratch_run(cases, CHECK_COUNT(cases), argc, argv);
}
