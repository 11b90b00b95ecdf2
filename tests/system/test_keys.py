# SPDX-License-Identifier: MIT
"""Key files that are missing, malformed, mistyped, of the wrong kind or open to others; and keys that are made at
first start."""

import os
import stat

import pytest

import etcp_peer
from harness import EX_CONFIG, EX_NOPERM, Server, machine_skip

KEY = bytes(range(1, 33))
SEC, PUB, NET = (
    etcp_peer.key_text(kind, etcp_peer.public_of(KEY) if kind == "pub" else KEY) for kind in ("sec", "pub", "net")
)


def mistyped(text):
    return text[:20] + ("A" if text[20] != "A" else "B") + text[21:]


# content of a file where a secret key belongs: what the message must say
CONTENTS = {
    "empty": ("", "key"),
    "comment-only": ("# nothing here\n\n", "key"),
    "mistyped": (mistyped(SEC) + "\n", "checksum"),
    "public": (PUB + "\n", "public"),
    "network": (NET + "\n", "network"),
    "two-keys": (SEC + "\n" + SEC + "\n", ""),
    "too-short": (SEC[:-1] + "\n", ""),
    "too-long": (SEC + "A\n", ""),
    "space-before": (" " + SEC + "\n", ""),
    "space-behind": (SEC + " \n", ""),
    "carriage-return": (SEC + "\r\n", ""),
    "name-behind": (SEC + " web1\n", ""),
    "standard-base64": (SEC[:30] + "+" + SEC[31:] + "\n", ""),
    "binary": ("\x01\x02\x7f\x1b[31m" * 20, ""),
    "huge": ("# x\n" * 300000 + SEC + "\n", ""),
}


def configuration(etcp, daemon, option, path):
    top = {option: '"%s"' % path}
    text = etcp.server_text(**top) if daemon == "etcp-server" else etcp.agent_text(1337, **top)
    return etcp.write("x.conf", text)


def refused(etcp, daemon, option, path, says, statuses=(EX_CONFIG,)):
    config = configuration(etcp, daemon, option, path)
    kind = "--server" if daemon == "etcp-server" else "--agent"
    for way, run in (
        ("start", etcp.finished(daemon, "-c", config)),
        ("check", etcp.finished("etcp", "check", kind, config)),
    ):
        assert run.status in statuses, "%s: exit %d, %s" % (way, run.status, run.log.text)
        assert str(path) in run.log.text, "%s: %s" % (way, run.log.text)
        assert says.lower() in run.log.text.lower(), "%s: %s" % (way, run.log.text)
        assert "\x1b" not in run.log.text


@pytest.mark.parametrize("daemon", ["etcp-server", "etcp-agent"])
@pytest.mark.parametrize("case", CONTENTS)
def test_contents_of_an_identity(etcp, daemon, case):
    content, says = CONTENTS[case]
    path = etcp.write("bad.key", content)
    path.chmod(0o600)
    refused(etcp, daemon, "identity", path, says)


@pytest.mark.parametrize("daemon", ["etcp-server", "etcp-agent"])
def test_contents_of_a_network_key(etcp, daemon):
    path = etcp.path / "bad.key"
    for content, says in ((mistyped(NET), "checksum"), (SEC, "secret"), (PUB, "public"), ("", "key")):
        path.write_text(content + "\n")
        path.chmod(0o600)
        refused(etcp, daemon, "network_key_file", path, says)


@pytest.mark.parametrize("daemon", ["etcp-server", "etcp-agent"])
@pytest.mark.parametrize("option", ["identity", "network_key_file"])
def test_missing(etcp, daemon, option):
    refused(etcp, daemon, option, etcp.path / "nowhere.key", "No such file")
    assert not (etcp.path / "nowhere.key").exists(), "only the state directory gets new keys"


@pytest.mark.parametrize("daemon", ["etcp-server", "etcp-agent"])
@pytest.mark.parametrize("option", ["identity", "network_key_file"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o601, 0o620, 0o602, 0o777])
def test_open_to_others(etcp, daemon, option, mode):
    path = etcp.write("open.key", (SEC if option == "identity" else NET) + "\n")
    path.chmod(mode)
    refused(etcp, daemon, option, path, "permission", (EX_NOPERM, EX_CONFIG))


@pytest.mark.parametrize("daemon", ["etcp-server", "etcp-agent"])
def test_no_regular_file(etcp, daemon):
    folder = etcp.path / "folder.key"
    folder.mkdir(mode=0o700)
    pipe = etcp.path / "pipe.key"
    os.mkfifo(pipe, 0o600)
    for path in (folder, pipe, "/dev/zero"):
        refused(etcp, daemon, "identity", path, "regular", (EX_NOPERM, EX_CONFIG))


@pytest.mark.parametrize("daemon", ["etcp-server", "etcp-agent"])
def test_of_another_owner(etcp, daemon):
    if os.geteuid() != 0:
        machine_skip("only root can give a file away")
    path = etcp.write("given.key", SEC + "\n")
    path.chmod(0o600)
    os.chown(path, 12345, 12345)
    refused(etcp, daemon, "identity", path, "owne", (EX_NOPERM, EX_CONFIG))


def test_comments_and_blank_lines_are_fine(etcp):
    path = etcp.write("good.key", "# etcp\n\n" + SEC + "\n\n# end\n")
    path.chmod(0o400)
    server = etcp.server(identity='"%s"' % path)
    assert etcp.connect(server).server_key == etcp_peer.public_of(KEY)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("role", ["server", "agent"])
def test_first_start_makes_a_key_and_says_the_public_one(etcp, role):
    state = etcp.path / "first"
    state.mkdir(mode=0o700)
    options = {"env": {"STATE_DIRECTORY": str(state)}}
    if role == "server":
        program = etcp.server(identity=None, options=options)
    else:
        listener = etcp.listener()
        program = etcp.agent(listener.port, identity=None, options=options)
        connection = etcp.keep(listener.accept())
    secret = etcp_peer.load_key("sec", state / (role + ".key"))
    etcp.secrets["made at first start"] = secret
    public = etcp_peer.key_text("pub", etcp_peer.public_of(secret))
    assert mode_of(state / (role + ".key")) == 0o600
    assert etcp_peer.load_key("pub", state / (role + ".pub")) == etcp_peer.public_of(secret)
    program.log.wait(public)
    if role == "server":
        assert etcp.connect(program).server_key == etcp_peer.public_of(secret)
        program.stop()
        program = etcp.server(identity=None, options=options)
        assert etcp.connect(program).server_key == etcp_peer.public_of(secret), "the key is kept"
    else:
        assert connection.agent_key == etcp_peer.public_of(secret)


def test_the_state_directory_of_a_user(etcp, ordinary):
    """$XDG_STATE_HOME/etcp, else ~/.local/state/etcp."""
    user, folder = ordinary
    for env, place in (
        ({"XDG_STATE_HOME": str(folder / "xdg")}, folder / "xdg" / "etcp"),
        ({"XDG_STATE_HOME": "", "HOME": str(folder)}, folder / ".local" / "state" / "etcp"),
    ):
        path = folder / "server.conf"
        path.write_text(etcp.server_text(identity=None, authorized_agents='"%s"' % (folder / "authorized_agents")))
        path.chmod(0o644)
        server = Server(etcp, path, env=env, user=user, cwd=folder).started()
        assert mode_of(place / "server.key") == 0o600
        assert etcp.connect(server).server_key == etcp_peer.load_key("pub", place / "server.pub")
        etcp.secrets[str(place)] = etcp_peer.load_key("sec", place / "server.key")


def test_credentials_directory_comes_before_the_state(etcp):
    credentials = etcp.path / "credentials"
    credentials.mkdir(mode=0o700)
    (credentials / "server.key").write_text(SEC + "\n")
    (credentials / "server.key").chmod(0o400)
    state = etcp.path / "unused"
    state.mkdir(mode=0o700)
    server = etcp.server(
        identity=None, options={"env": {"CREDENTIALS_DIRECTORY": str(credentials), "STATE_DIRECTORY": str(state)}}
    )
    assert etcp.connect(server).server_key == etcp_peer.public_of(KEY)
    assert not list(state.glob("*.key"))


def test_a_broken_key_in_the_state_directory_is_not_replaced(etcp):
    state = etcp.path / "first"
    state.mkdir(mode=0o700)
    (state / "server.key").write_text(mistyped(SEC) + "\n")
    (state / "server.key").chmod(0o600)
    server = etcp.server_without_waiting(identity=None, options={"env": {"STATE_DIRECTORY": str(state)}})
    assert server.wait() == EX_CONFIG
    assert "checksum" in server.log.text
    assert (state / "server.key").read_text() == mistyped(SEC) + "\n"


def test_a_state_directory_that_cannot_be_written(etcp):
    server = etcp.server_without_waiting(identity=None, options={"env": {"STATE_DIRECTORY": "/proc/no/such"}})
    assert server.wait() not in (0, 1)
    assert "/proc/no/such" in server.log.text
