/* SPDX-License-Identifier: MIT
 *
 * etcp keygen, etcp pubkey: key files made and looked at. A secret never reaches stdout. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include <etcp/etcp.h>

#include "keys/keyfile.h"
#include "tools/tool.h"

static void print_public(const uint8_t key[static ETCP_KEY_BYTES])
{
    char text[ETCP_KEY_TEXT_BYTES];

    etcp_key_format(ETCP_KEY_PUBLIC, key, text);
    (void)printf("%s\n", text);
}

static int keygen(const struct tool_command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"network", no_argument, NULL, 'n'},
        {"help", no_argument, NULL, TOOL_HELP},
        {NULL, 0, NULL, 0},
    };
    enum etcp_key_kind kind = ETCP_KEY_SECRET;
    uint8_t key[ETCP_KEY_BYTES], public_key[ETCP_KEY_BYTES];
    struct error_text error;
    int option, code, result;

    while ((option = tool_option(command, argc, argv, "n", options, &code)) != -1) {
        if (code != TOOL_GO_ON) {
            return code;
        }
        kind = ETCP_KEY_NETWORK;
    }
    if (argc - optind != 1) {
        return tool_usage(command, "expected one file, got %d arguments", argc - optind);
    }

    etcp_key_generate(key);
    if (kind == ETCP_KEY_SECRET) {
        etcp_key_public(key, public_key);
    }
    result = keyfile_create(argv[optind], kind, key, &error);
    etcp_wipe(key, sizeof(key));
    if (result < 0) {
        tool_complain(command, "%s", error.text);
        return result == -EPERM || result == -EACCES ? EX_NOPERM : EX_CANTCREAT;
    }
    if (kind == ETCP_KEY_SECRET) {
        print_public(public_key);
    } else {
        (void)printf("network key written to %s\n", argv[optind]);
    }
    return tool_printed(command);
}

static int pubkey(const struct tool_command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, TOOL_HELP},
        {NULL, 0, NULL, 0},
    };
    uint8_t *key = NULL, public_key[ETCP_KEY_BYTES];
    struct error_text error;
    int code, result;

    while (tool_option(command, argc, argv, "", options, &code) != -1) {
        if (code != TOOL_GO_ON) {
            return code;
        }
    }
    if (argc - optind != 1) {
        return tool_usage(command, "expected one file, got %d arguments", argc - optind);
    }

    /* A public key first: its file may be readable by everybody, which a secret's may not. What is wrong is told by the
     * second look, as for a secret key. */
    result = keyfile_load(argv[optind], ETCP_KEY_PUBLIC, &key, &error);
    if (result == 0) {
        memcpy(public_key, key, sizeof(public_key));
    } else {
        result = keyfile_load(argv[optind], ETCP_KEY_SECRET, &key, &error);
        if (result == 0) {
            etcp_key_public(key, public_key);
        }
    }
    keyfile_key_free(key);
    if (result < 0) {
        tool_complain(command, "%s", error.text);
        return tool_exit_code(result);
    }
    print_public(public_key);
    return tool_printed(command);
}

const struct tool_command keygen_command = {
    .name = "keygen",
    .arguments = "[--network] FILE",
    .summary = "Make a secret key and print its public key",
    .options = "The secret key is written to FILE, which must not exist yet and which nobody but its owner may read.\n"
               "The public key goes to standard output: it is what the other end has to know.\n"
               "\n"
               "  -n, --network  make a network key instead, which all members share; it is never printed\n"
               "      --help     print this and exit\n",
    .run = keygen,
};

const struct tool_command pubkey_command = {
    .name = "pubkey",
    .arguments = "FILE",
    .summary = "Print the public key of a secret key file",
    .options = "FILE must belong to you or to root, and nobody else may have access to it.\n"
               "(A file that holds a public key is fine too: the key is checked and printed.)\n"
               "\n"
               "      --help  print this and exit\n",
    .run = pubkey,
};
