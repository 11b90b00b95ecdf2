/* SPDX-License-Identifier: MIT
 *
 * Names of codes, the version, and the start of libsodium. */
#include <etcp/etcp.h>

#include <sodium.h>

int etcp_init(void)
{
    return sodium_init() < 0 ? ETCP_EINIT : 0;
}

const char *etcp_version(void)
{
    return ETCP_VERSION;
}

const char *etcp_strerror(int error)
{
    switch ((enum etcp_error)error) {
    case ETCP_OK:
        return "no error";
    case ETCP_ENOMEM:
        return "out of memory";
    case ETCP_EINVAL:
        return "invalid argument";
    case ETCP_EINIT:
        return "libsodium could not be started";
    case ETCP_EUNSUPPORTED:
        return "this processor has no AES instructions";
    case ETCP_EAGAIN:
        return "try again";
    case ETCP_ECLOSED:
        return "the connection or stream has ended";
    case ETCP_EHANDSHAKE:
        return "handshake failed";
    case ETCP_EREFUSED:
        return "refused by the server";
    case ETCP_ESUITE:
        return "suite not served";
    case ETCP_ERECORD:
        return "bad record";
    case ETCP_EPROTO:
        return "protocol error";
    case ETCP_ETIMEDOUT:
        return "handshake timed out";
    case ETCP_ELOST:
        return "peer is silent";
    case ETCP_ETRUNCATED:
        return "connection truncated";
    case ETCP_EBUSY:
        return "connection refused";
    case ETCP_EKEYLENGTH:
        return "a key of another length";
    case ETCP_EKEYPREFIX:
        return "a key begins with etcp-pub-, etcp-sec- or etcp-net-";
    case ETCP_EKEYKIND:
        return "a key of another kind";
    case ETCP_EKEYALPHABET:
        return "a key has only letters, digits, - and _";
    case ETCP_EKEYCHECKSUM:
        return "mistyped: the checksum does not match";
    case ETCP_EKEYVALUE:
        return "not the one spelling of a public key";
    }
    return "unknown error";
}

const char *etcp_code_name(int code)
{
    switch ((enum etcp_code)code) {
    case ETCP_CODE_OK:
        return "ok";
    case ETCP_CODE_PROTOCOL_ERROR:
        return "protocol-error";
    case ETCP_CODE_UNAUTHORIZED:
        return "unauthorized";
    case ETCP_CODE_NO_SUCH_SERVICE:
        return "no-such-service";
    case ETCP_CODE_CONNECT_FAILED:
        return "connect-failed";
    case ETCP_CODE_RESET:
        return "reset";
    case ETCP_CODE_TIMEOUT:
        return "timeout";
    case ETCP_CODE_LIMIT:
        return "limit";
    case ETCP_CODE_SHUTTING_DOWN:
        return "shutting-down";
    case ETCP_CODE_INTERNAL:
        return "internal";
    }
    return "internal";
}
