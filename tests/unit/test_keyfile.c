/* SPDX-License-Identifier: MIT */
#include "keys/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include <etcp/etcp.h>

#include "base/file.h"
#include "scratch.h"

#define PUBLIC   "etcp-pub-0ur6xuUgdsPbMpranN324KhTICp7PcCC7N5WuZrbkS-yMDR6"
#define SECRET   "etcp-sec-jH2CzUEGW-u6_Y9WMsw5yIrhP8pDabC0nNbTdKozVbiigee_"
#define MISTYPED "etcp-sec-jH2CzUEGW-u6_Y9WMsw5yIrhP8pDabC0nNbTdKozVbiigeeA"

static void make(const char *path, const char *text, mode_t mode)
{
    int fd;

    (void)unlink(path); /* it may be there, and not ours to write */
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_INT(write(fd, text, strlen(text)), strlen(text));
    CHECK_INT(fchmod(fd, mode), 0);
    CHECK_INT(close(fd), 0);
}

/* The message must be the path and then `message`, in which %s is the path again; and must not hold the key. */
static void load_fails(const char *path, enum etcp_key_kind kind, int result, const char *message)
{
    char expected[1024];
    const char *where = strstr(message, "%s");
    uint8_t *key = NULL;
    struct error_text error = {""};

    if (where)
        (void)snprintf(expected, sizeof expected, "%s%.*s%s%s", path, (int)(where - message), message, path, where + 2);
    else
        (void)snprintf(expected, sizeof expected, "%s%s", path, message);
    CHECK_INT(keyfile_load(path, kind, &key, &error), result);
    CHECK_STR(error.text, expected);
    CHECK(key == NULL);
    CHECK(strstr(error.text, "jH2CzUEGW") == NULL);
}

static void load_takes_one_key(void)
{
    const char *path = scratch_path("k");
    uint8_t public_key[ETCP_KEY_BYTES];
    uint8_t *key = NULL;
    struct error_text error;
    char text[ETCP_KEY_TEXT_BYTES];

    make(path, "# comment\n\n  \n" SECRET "\n#" SECRET "\n\n", 0600);
    CHECK_INT(keyfile_load(path, ETCP_KEY_SECRET, &key, &error), 0);
    etcp_key_public(key, public_key);
    etcp_key_format(ETCP_KEY_PUBLIC, public_key, text);
    CHECK_STR(text, PUBLIC);
    keyfile_key_free(key);
    make(path, SECRET, 0400); /* no newline at the end */
    CHECK_INT(keyfile_load(path, ETCP_KEY_SECRET, &key, &error), 0);
    keyfile_key_free(key);
    make(path, PUBLIC "\n", 0644);
    CHECK_INT(keyfile_load(path, ETCP_KEY_PUBLIC, &key, &error), 0);
    CHECK_MEM(key, public_key, sizeof public_key);
    keyfile_key_free(key);
}

static void bad_content_is_told(void)
{
    static const struct {
        const char *text;
        const char *message;
    } inputs[] = {
        {"", ": no key: expected a line with a secret key (etcp-sec-)"},
        {"# nothing\n\n", ": no key: expected a line with a secret key (etcp-sec-)"},
        {"\n" MISTYPED "\n", ":2: mistyped: the checksum of the secret key (etcp-sec-) does not match: copy it again"},
        {PUBLIC "\n",
         ":1: this is a public key (etcp-pub-): expected a secret key (etcp-sec-), as \"etcp keygen\" writes it"},
        {"etcp-net-jH2CzUEGW-u6_Y9WMsw5yIrhP8pDabC0nNbTdKozVbiigee_\n",
         ":1: this is a network key (etcp-net-): expected a secret key (etcp-sec-), as \"etcp keygen\" writes it"},
        {SECRET "\n\n" SECRET "\n", ":3: more than one key: expected a file with one secret key (etcp-sec-)"},
        {SECRET "\nrubbish\n", ":2: more than one key: expected a file with one secret key (etcp-sec-)"},
        {SECRET " \n", ":1: bad key: a key of another length: expected a secret key (etcp-sec-) of 57 characters"},
        {SECRET "\r\n", ":1: bad key: a key of another length: expected a secret key (etcp-sec-) of 57 characters"},
        {"etcp-sec-jH2C\n", ":1: bad key: a key of another length: expected a secret key (etcp-sec-) of 57 characters"},
        {" " SECRET "\n", ":1: bad key: a key begins with etcp-pub-, etcp-sec- or etcp-net-: expected a secret key "
                          "(etcp-sec-) of 57 characters"},
        {"jH2CzUEGW-u6_Y9WMsw5yIrhP8pDabC0nNbTdKozVbiigee_\n",
         ":1: bad key: a key begins with etcp-pub-, etcp-sec- or etcp-net-: expected a secret key (etcp-sec-) of 57 "
         "characters"},
        {" # not at the beginning\n", ":1: bad key: a key begins with etcp-pub-, etcp-sec- or etcp-net-: expected a "
                                      "secret key (etcp-sec-) of 57 characters"},
    };
    const char *path = scratch_path("k");

    for (size_t i = 0; i < CHECK_COUNT(inputs); i++) {
        make(path, inputs[i].text, 0600);
        load_fails(path, ETCP_KEY_SECRET, -EINVAL, inputs[i].message);
    }
    make(path, SECRET "\n", 0600);
    load_fails(
        path, ETCP_KEY_PUBLIC, -EINVAL,
        ":1: this is a secret key (etcp-sec-): expected a public key (etcp-pub-); if others could read this file, "
        "make a new key");
}

static void secrets_that_others_can_touch_are_refused(void)
{
    static const struct {
        mode_t mode;
        const char *text;
    } modes[] = {{0640, "0640"}, {0604, "0604"}, {0660, "0660"}, {0602, "0602"}, {0644, "0644"}, {0440, "0440"}};
    const char *path = scratch_path("k");

    for (size_t i = 0; i < CHECK_COUNT(modes); i++) {
        char message[256];

        (void)snprintf(message, sizeof message,
                       ": group or others have permissions (mode %s): expected its owner alone to have any: chmod 600 "
                       "%%s, and consider the key known to them",
                       modes[i].text);
        make(path, SECRET "\n", modes[i].mode);
        load_fails(path, ETCP_KEY_SECRET, -EPERM, message);
    }
    make(path, PUBLIC "\n", 0644); /* the wrong file altogether: chmod would be the wrong advice */
    load_fails(path, ETCP_KEY_SECRET, -EINVAL,
               ":1: this is a public key (etcp-pub-): expected a secret key (etcp-sec-), as \"etcp keygen\" writes it");
    make(path, "root:x:0:0:root:/root:/bin/bash\n", 0644); /* and here it would do harm */
    load_fails(
        path, ETCP_KEY_SECRET, -EINVAL,
        ":1: bad key: a key begins with etcp-pub-, etcp-sec- or etcp-net-: expected a secret key (etcp-sec-) of 57 "
        "characters");
}

static void secrets_of_other_users_are_refused(void)
{
    const char *path = scratch_path("k");
    char message[256];

    make(path, SECRET "\n", 0600);
    if (geteuid() != 0) {
        (void)printf("  skipped: only root can give a file away\n");
        return;
    }
    CHECK_INT(chown(path, 12345, (gid_t)-1), 0);
    (void)snprintf(
        message, sizeof message,
        ": belongs to user 12345: expected a file of user 0 or root: chown 0 %%s, and consider the key known to "
        "its owner");
    load_fails(path, ETCP_KEY_SECRET, -EPERM, message);
}

static void only_regular_files_are_loaded(void)
{
    static const char message[] = ": not a regular file: expected one that holds a secret key (etcp-sec-)";
    const char *path = scratch_path("k");
    char text[5000];

    load_fails(scratch_path("none"), ETCP_KEY_SECRET, -ENOENT,
               ": there is no such file: expected a secret key (etcp-sec-); make one with: etcp keygen %s");
    load_fails(scratch_path("none"), ETCP_KEY_NETWORK, -ENOENT,
               ": there is no such file: expected a network key (etcp-net-); make one with: etcp keygen --network %s");
    load_fails(scratch_directory(), ETCP_KEY_SECRET, -EPERM, message);
    CHECK_INT(mkfifo(path, 0600), 0);
    load_fails(path, ETCP_KEY_SECRET, -EPERM, message);
    load_fails("/dev/null", ETCP_KEY_SECRET, -EPERM, message);
    memset(text, '#', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    CHECK_INT(unlink(path), 0);
    make(path, text, 0600);
    load_fails(path, ETCP_KEY_SECRET, -EINVAL, ": too long: expected a file with one secret key (etcp-sec-)");
}

static void created_files_are_private_and_never_replaced(void)
{
    const char *path = scratch_path("k");
    uint8_t key[ETCP_KEY_BYTES];
    uint8_t *loaded = NULL;
    struct error_text error;
    struct stat st;
    char expected[512];

    (void)umask(0);
    etcp_key_generate(key);
    CHECK_INT(keyfile_create(path, ETCP_KEY_NETWORK, key, &error), 0);
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    CHECK_INT(keyfile_load(path, ETCP_KEY_NETWORK, &loaded, &error), 0);
    CHECK_MEM(loaded, key, sizeof key);
    keyfile_key_free(loaded);
    CHECK_INT(keyfile_create(path, ETCP_KEY_NETWORK, key, &error), -EEXIST);
    (void)snprintf(expected, sizeof expected,
                   "%s: is there already: keys are never overwritten: use another name, or move it away", path);
    CHECK_STR(error.text, expected);
    CHECK_INT(keyfile_create(scratch_path("no/such"), ETCP_KEY_SECRET, key, &error), -ENOENT);
    (void)snprintf(expected, sizeof expected, "%s: can't be written: No such file or directory",
                   scratch_path("no/such"));
    CHECK_STR(error.text, expected);
}

static void clear_environment(void)
{
    CHECK_INT(unsetenv("STATE_DIRECTORY") | unsetenv("CREDENTIALS_DIRECTORY") | unsetenv("XDG_STATE_HOME"), 0);
}

static void state_directory_is_where_the_system_says(void)
{
    char *path = NULL;

    clear_environment();
    CHECK_INT(setenv("HOME", "/home/x", 1), 0);
    CHECK_INT(keyfile_state_directory(&path), 0);
    CHECK_STR(path, geteuid() == 0 ? "/var/lib/etcp" : "/home/x/.local/state/etcp");
    free(path);
    CHECK_INT(setenv("XDG_STATE_HOME", "/xdg", 1), 0);
    CHECK_INT(keyfile_state_directory(&path), 0);
    CHECK_STR(path, geteuid() == 0 ? "/var/lib/etcp" : "/xdg/etcp");
    free(path);
    CHECK_INT(setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/two", 1), 0);
    CHECK_INT(keyfile_state_directory(&path), 0);
    CHECK_STR(path, "/var/lib/one");
    free(path);
    CHECK_INT(setenv("STATE_DIRECTORY", "relative", 1), 0);
    CHECK_INT(keyfile_state_directory(&path), 0);
    CHECK_STR(path, geteuid() == 0 ? "/var/lib/etcp" : "/xdg/etcp");
    free(path);
    if (geteuid() != 0) {
        clear_environment();
        CHECK_INT(unsetenv("HOME"), 0);
        CHECK_INT(keyfile_state_directory(&path), -ENOENT);
    }
}

static struct keyfile_identity load_identity(const char *identity, const char *network)
{
    const struct keyfile_request request = {.role = "agent", .identity = identity, .network_key_file = network};
    struct keyfile_identity loaded = {0};
    struct error_text error = {""};

    if (keyfile_identity_load(&request, &loaded, &error) != 0)
        (void)fprintf(stderr, "%s\n", error.text);
    CHECK(loaded.identity != NULL);
    return loaded;
}

static void first_start_makes_a_key_and_its_public_copy(void)
{
    struct keyfile_identity first, second;
    struct error_text error;
    struct stat st;
    uint8_t *copy = NULL;

    clear_environment();
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_path("state/etcp"), 1), 0);
    first = load_identity("", "");
    CHECK(first.created);
    CHECK_STR(first.path, scratch_path("state/etcp/agent.key"));
    CHECK_INT(stat(first.path, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    CHECK_INT(stat(scratch_path("state/etcp/agent.pub"), &st), 0);
    CHECK_INT(st.st_mode & 07777, 0644);
    CHECK_INT(keyfile_load(scratch_path("state/etcp/agent.pub"), ETCP_KEY_PUBLIC, &copy, &error), 0);
    CHECK_MEM(copy, etcp_identity_public(first.identity), ETCP_KEY_BYTES);
    CHECK(!etcp_identity_has_network_key(first.identity));

    second = load_identity("", "");
    CHECK(!second.created);
    CHECK_MEM(etcp_identity_public(second.identity), copy, ETCP_KEY_BYTES);
    keyfile_identity_done(&second);

    make(scratch_path("state/etcp/agent.pub"), PUBLIC "\n", 0600); /* of another key */
    second = load_identity("", "");
    keyfile_identity_done(&second);
    keyfile_key_free(copy);
    CHECK_INT(keyfile_load(scratch_path("state/etcp/agent.pub"), ETCP_KEY_PUBLIC, &copy, &error), 0);
    CHECK_MEM(copy, etcp_identity_public(first.identity), ETCP_KEY_BYTES);
    keyfile_key_free(copy);
    keyfile_identity_done(&first);
    keyfile_identity_done(&first); /* empty now */
}

static void configured_identity_is_never_made(void)
{
    const struct keyfile_request request = {
        .role = "agent", .identity = scratch_path("mine.key"), .network_key_file = ""};
    struct keyfile_identity loaded = {0};
    struct error_text error;

    clear_environment();
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_directory(), 1), 0);
    CHECK_INT(keyfile_identity_load(&request, &loaded, &error), -ENOENT);
    CHECK(strstr(error.text, "make one with: etcp keygen /tmp/") != NULL);
    CHECK_INT(access(request.identity, F_OK), -1);
    make(request.identity, SECRET "\n", 0600);
    loaded = load_identity(request.identity, "");
    CHECK_STR(loaded.path, request.identity);
    CHECK(!loaded.created);
    CHECK_INT(access(scratch_path("agent.pub"), F_OK), -1);
    keyfile_identity_done(&loaded);
}

static void credential_comes_before_the_state_directory(void)
{
    const struct keyfile_request request = {.role = "agent", .identity = "", .network_key_file = ""};
    struct keyfile_identity loaded = {0};
    struct error_text error;

    clear_environment();
    CHECK_INT(mkdir(scratch_path("credentials"), 0700), 0);
    CHECK_INT(setenv("CREDENTIALS_DIRECTORY", scratch_path("credentials"), 1), 0);
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_path("state"), 1), 0);
    make(scratch_path("credentials/server.key"), SECRET "\n", 0400); /* not ours */
    loaded = load_identity("", "");
    CHECK_STR(loaded.path, scratch_path("state/agent.key"));
    keyfile_identity_done(&loaded);

    make(scratch_path("credentials/agent.key"), SECRET "\n", 0400);
    loaded = load_identity("", "");
    CHECK_STR(loaded.path, scratch_path("credentials/agent.key"));
    CHECK_INT(access(scratch_path("credentials/agent.pub"), F_OK), -1);
    keyfile_identity_done(&loaded);

    make(scratch_path("credentials/agent.key"), MISTYPED "\n", 0400); /* no silent change to another key */
    CHECK_INT(keyfile_identity_load(&request, &loaded, &error), -EINVAL);
    CHECK(strstr(error.text, "credentials/agent.key:1: mistyped") != NULL);
}

static void network_key_is_loaded_with_the_identity(void)
{
    const struct keyfile_request request = {
        .role = "agent", .identity = "", .network_key_file = scratch_path("net.key")};
    struct keyfile_identity loaded = {0};
    struct error_text error;
    uint8_t key[ETCP_KEY_BYTES];

    clear_environment();
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_path("state"), 1), 0);
    CHECK_INT(keyfile_identity_load(&request, &loaded, &error), -ENOENT);
    CHECK_INT(access(scratch_path("state/agent.key"), F_OK), -1); /* nothing was made for a start that failed */
    make(request.network_key_file, SECRET "\n", 0600);
    CHECK_INT(keyfile_identity_load(&request, &loaded, &error), -EINVAL);
    CHECK(strstr(error.text, "net.key:1: this is a secret key (etcp-sec-): expected a network key (etcp-net-)") !=
          NULL);
    CHECK_INT(unlink(request.network_key_file), 0);
    etcp_key_generate(key);
    CHECK_INT(keyfile_create(request.network_key_file, ETCP_KEY_NETWORK, key, &error), 0);
    loaded = load_identity("", request.network_key_file);
    CHECK(etcp_identity_has_network_key(loaded.identity));
    keyfile_identity_done(&loaded);
}

static void bad_key_in_the_state_directory_is_not_replaced(void)
{
    const struct keyfile_request request = {.role = "agent", .identity = "", .network_key_file = ""};
    struct keyfile_identity loaded = {0};
    struct error_text error;
    char *text = NULL;
    size_t len;

    clear_environment();
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_directory(), 1), 0);
    make(scratch_path("agent.key"), "", 0600); /* a disk that was full */
    CHECK_INT(keyfile_identity_load(&request, &loaded, &error), -EINVAL);
    CHECK_INT(file_read(scratch_path("agent.key"), 100, &text, &len), 0);
    CHECK_INT(len, 0);
    free(text);
    CHECK(loaded.identity == NULL);
}

/* Several agents with one state directory may be started for the first time at once. */
static void processes_that_start_at_once_agree_on_the_key(void)
{
    enum { PROCESSES = 8 };
    uint8_t first[ETCP_KEY_BYTES];
    int fds[2];

    clear_environment();
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_path("state"), 1), 0);
    CHECK_INT(pipe(fds), 0);
    (void)fflush(NULL);
    for (int i = 0; i < PROCESSES; i++) {
        pid_t child = fork();

        CHECK(child >= 0);
        if (child == 0) {
            struct keyfile_identity loaded = load_identity("", "");

            CHECK_INT(write(fds[1], etcp_identity_public(loaded.identity), ETCP_KEY_BYTES), ETCP_KEY_BYTES);
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        uint8_t key[ETCP_KEY_BYTES];
        int status;

        CHECK(wait(&status) > 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        CHECK_INT(read(fds[0], i == 0 ? first : key, ETCP_KEY_BYTES), ETCP_KEY_BYTES);
        if (i > 0)
            CHECK_MEM(key, first, ETCP_KEY_BYTES);
    }
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static int check_identity(const char *identity, const char *network)
{
    const struct keyfile_request request = {.role = "agent", .identity = identity, .network_key_file = network};
    struct error_text error = {""};
    const int r = keyfile_identity_check(&request, &error);

    CHECK(r == 0 || error.text[0] != '\0');
    return r;
}

static void a_check_makes_nothing(void)
{
    clear_environment();
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_path("none"), 1), 0);
    CHECK_INT(check_identity("", ""), 0);
    CHECK_INT(access(scratch_path("none"), F_OK), -1);
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_directory(), 1), 0);
    CHECK_INT(check_identity("", ""), 0);
    CHECK_INT(access(scratch_path("agent.key"), F_OK), -1);
    make(scratch_path("agent.key"), SECRET "\n", 0600);
    CHECK_INT(check_identity("", ""), 0);
    CHECK_INT(access(scratch_path("agent.pub"), F_OK), -1);
}

static void a_check_finds_what_a_start_would(void)
{
    clear_environment();
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_directory(), 1), 0);
    CHECK_INT(check_identity(scratch_path("mine.key"), ""), -ENOENT);
    CHECK_INT(check_identity("", scratch_path("network.key")), -ENOENT);
    make(scratch_path("network.key"), SECRET "\n", 0600);
    CHECK_INT(check_identity("", scratch_path("network.key")), -EINVAL);
    make(scratch_path("agent.key"), MISTYPED "\n", 0600);
    CHECK_INT(check_identity("", ""), -EINVAL);
    make(scratch_path("agent.key"), SECRET "\n", 0640);
    CHECK_INT(check_identity("", ""), -EPERM);
    make(scratch_path("agent.key"), SECRET "\n", 0600);
    CHECK_INT(setenv("CREDENTIALS_DIRECTORY", scratch_directory(), 1), 0);
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_path("none"), 1), 0);
    CHECK_INT(check_identity("", ""), 0);
    make(scratch_path("agent.key"), "", 0600);
    CHECK_INT(check_identity("", ""), -EINVAL);
}

static void state_directories_that_others_may_write_are_refused(void)
{
    const struct keyfile_request request = {.role = "agent", .identity = "", .network_key_file = ""};
    struct keyfile_identity loaded = {0};
    struct error_text error;

    clear_environment();
    CHECK_INT(mkdir(scratch_path("state"), 0700), 0);
    CHECK_INT(chmod(scratch_path("state"), 0777), 0);
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_path("state"), 1), 0);
    CHECK_INT(keyfile_identity_load(&request, &loaded, &error), -EPERM);
    CHECK(strstr(error.text, "everybody may write it") != NULL);
    CHECK_INT(access(scratch_path("state/agent.key"), F_OK), -1);
    CHECK_INT(check_identity("", ""), -EPERM);
    CHECK_INT(chmod(scratch_path("state"), 01777), 0);
    CHECK_INT(keyfile_identity_load(&request, &loaded, &error), 0);
    keyfile_identity_done(&loaded);
    if (chown(scratch_path("state"), 12345, (gid_t)-1) == 0) {
        CHECK_INT(keyfile_identity_load(&request, &loaded, &error), -EPERM);
        CHECK(strstr(error.text, "chown") == NULL); /* the daemon whose it is would be without */
    }
}

static void whoever_borrows_a_key_makes_none(void)
{
    const struct keyfile_request request = {.role = "agent", .identity = "", .network_key_file = ""};
    struct keyfile_request hidden = request;
    struct keyfile_identity loaded = {0};
    struct error_text error;
    const uid_t self = geteuid();

    clear_environment();
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_path("state"), 1), 0);
    CHECK_INT(keyfile_identity_borrow(&request, &loaded, &error), -ENOENT);
    CHECK(strstr(error.text, "/state/agent.key: there is no key") != NULL);
    CHECK(loaded.identity == NULL);
    CHECK_INT(access(scratch_path("state"), F_OK), -1);
    CHECK_INT(mkdir(scratch_path("state"), 0700), 0);
    CHECK_INT(keyfile_identity_borrow(&request, &loaded, &error), -ENOENT);
    CHECK_INT(access(scratch_path("state/agent.key"), F_OK), -1);
    make(scratch_path("state/agent.key"), SECRET "\n", 0600);
    CHECK_INT(keyfile_identity_borrow(&request, &loaded, &error), 0);
    CHECK(!loaded.created);
    keyfile_identity_done(&loaded);
    CHECK_INT(access(scratch_path("state/agent.pub"), F_OK), -1);
    if (self == 0) {
        CHECK_INT(chown(scratch_path("state/agent.key"), 12345, (gid_t)-1), 0);
        CHECK_INT(keyfile_identity_borrow(&request, &loaded, &error), -EPERM);
        CHECK_INT(chown(scratch_path("state"), 12345, (gid_t)-1), 0);
        CHECK_INT(keyfile_identity_borrow(&request, &loaded, &error), 0);
        keyfile_identity_done(&loaded);
        CHECK_INT(chmod(scratch_path("state"), 0777), 0);
        CHECK_INT(keyfile_identity_borrow(&request, &loaded, &error), -EPERM);
        CHECK_INT(chmod(scratch_path("state"), 0700), 0);
    }
    /* A network key that is a credential of the daemon's is not done without. */
    CHECK_INT(setenv("CREDENTIALS_DIRECTORY", scratch_path("credentials"), 1), 0);
    CHECK_INT(mkdir(scratch_path("credentials"), 0), 0);
    CHECK_INT(self == 0 ? seteuid(65534) : 0, 0);
    hidden.network_key_file = scratch_path("credentials/network.key");
    CHECK_INT(keyfile_identity_borrow(&hidden, &loaded, &error), -EACCES);
    CHECK_INT(seteuid(self), 0);
}

/* As in the check before a reload under systemd 252. */
static void a_check_passes_over_credentials_that_it_may_not_see(void)
{
    const char *directory = scratch_path("credentials");
    const char *mine = scratch_path("credentials/mine.key");
    const struct keyfile_request request = {.role = "agent", .identity = mine, .network_key_file = ""};
    struct keyfile_identity loaded = {0};
    struct error_text error;
    const uid_t self = geteuid();

    clear_environment();
    CHECK_INT(setenv("CREDENTIALS_DIRECTORY", directory, 1), 0);
    CHECK_INT(setenv("STATE_DIRECTORY", "/nonexistent", 1), 0);
    CHECK_INT(mkdir(directory, 0), 0);
    CHECK_INT(self == 0 ? seteuid(65534) : 0, 0); /* the scratch folder is root's own */
    CHECK_INT(check_identity("", ""), 0);
    CHECK_INT(check_identity(mine, mine), 0);
    CHECK_INT(keyfile_identity_load(&request, &loaded, &error), -EACCES);
    CHECK_INT(setenv("CREDENTIALS_DIRECTORY", "/elsewhere", 1), 0);
    CHECK_INT(check_identity(mine, ""), -EACCES);
    CHECK_INT(seteuid(self), 0);
}

/* Only for the check, and only with a state directory of that user's. */
static void root_checks_keys_of_the_daemons_user(void)
{
    const struct keyfile_request request = {.role = "agent", .identity = "", .network_key_file = ""};
    struct keyfile_identity loaded = {0};
    struct error_text error;

    if (geteuid() != 0) {
        (void)printf("  skipped: only root can give a file away\n");
        return;
    }
    clear_environment();
    CHECK_INT(mkdir(scratch_path("state"), 0700), 0);
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_path("state"), 1), 0);
    make(scratch_path("state/agent.key"), SECRET "\n", 0600);
    CHECK_INT(chown(scratch_path("state/agent.key"), 12345, (gid_t)-1), 0);
    CHECK_INT(check_identity("", ""), -EPERM);
    CHECK_INT(chown(scratch_path("state"), 12345, (gid_t)-1), 0);
    CHECK_INT(check_identity("", ""), 0);
    CHECK_INT(chmod(scratch_path("state/agent.key"), 0640), 0);
    CHECK_INT(check_identity("", ""), -EPERM);
    CHECK_INT(chmod(scratch_path("state/agent.key"), 0600), 0);
    CHECK_INT(keyfile_identity_load(&request, &loaded, &error), -EPERM);
}

/* What is root's alone looks good to root, and the daemon does not start. */
static void root_checks_whether_the_daemon_can_read_its_keys(void)
{
    uint8_t key[ETCP_KEY_BYTES];
    struct error_text error;

    if (geteuid() != 0) {
        (void)printf("  skipped: only root can give a file away\n");
        return;
    }
    clear_environment();
    CHECK_INT(mkdir(scratch_path("state"), 0700), 0);
    CHECK_INT(chown(scratch_path("state"), 12345, (gid_t)-1), 0);
    CHECK_INT(setenv("STATE_DIRECTORY", scratch_path("state"), 1), 0);
    make(scratch_path("state/agent.key"), SECRET "\n", 0600);
    make(scratch_path("x.key"), SECRET "\n", 0600);
    etcp_key_generate(key);
    CHECK_INT(keyfile_create(scratch_path("network.key"), ETCP_KEY_NETWORK, key, &error), 0);
    CHECK_INT(check_identity("", ""), -EACCES);
    CHECK_INT(check_identity(scratch_path("x.key"), ""), -EACCES);
    CHECK_INT(chown(scratch_path("state/agent.key"), 12345, (gid_t)-1), 0);
    CHECK_INT(check_identity("", scratch_path("network.key")), -EACCES);
    CHECK_INT(chown(scratch_path("network.key"), 12345, (gid_t)-1), 0);
    CHECK_INT(check_identity("", scratch_path("network.key")), 0);
    CHECK_INT(chown(scratch_path("x.key"), 12345, (gid_t)-1), 0);
    CHECK_INT(check_identity(scratch_path("x.key"), ""), 0);
    /* systemd hands credentials to the daemon, whoever the file belongs to. */
    CHECK_INT(mkdir(scratch_path("credentials"), 0700), 0);
    CHECK_INT(setenv("CREDENTIALS_DIRECTORY", scratch_path("credentials"), 1), 0);
    make(scratch_path("credentials/agent.key"), SECRET "\n", 0600);
    CHECK_INT(check_identity("", ""), 0);
    /* root's own daemon */
    CHECK_INT(chown(scratch_path("state"), 0, (gid_t)-1), 0);
    make(scratch_path("root.key"), SECRET "\n", 0600);
    CHECK_INT(check_identity(scratch_path("root.key"), ""), 0);
}

static const struct check_case cases[] = {
    CHECK_CASE(state_directories_that_others_may_write_are_refused),
    CHECK_CASE(load_takes_one_key),
    CHECK_CASE(bad_content_is_told),
    CHECK_CASE(secrets_that_others_can_touch_are_refused),
    CHECK_CASE(secrets_of_other_users_are_refused),
    CHECK_CASE(only_regular_files_are_loaded),
    CHECK_CASE(created_files_are_private_and_never_replaced),
    CHECK_CASE(state_directory_is_where_the_system_says),
    CHECK_CASE(first_start_makes_a_key_and_its_public_copy),
    CHECK_CASE(configured_identity_is_never_made),
    CHECK_CASE(credential_comes_before_the_state_directory),
    CHECK_CASE(network_key_is_loaded_with_the_identity),
    CHECK_CASE(bad_key_in_the_state_directory_is_not_replaced),
    CHECK_CASE(processes_that_start_at_once_agree_on_the_key),
    CHECK_CASE(a_check_makes_nothing),
    CHECK_CASE(a_check_finds_what_a_start_would),
    CHECK_CASE(a_check_passes_over_credentials_that_it_may_not_see),
    CHECK_CASE(root_checks_keys_of_the_daemons_user),
    CHECK_CASE(root_checks_whether_the_daemon_can_read_its_keys),
    CHECK_CASE(whoever_borrows_a_key_makes_none),
};

int main(int argc, char **argv)
{
    CHECK_INT(etcp_init(), 0);
    return scratch_run(cases, CHECK_COUNT(cases), argc, argv);
}
