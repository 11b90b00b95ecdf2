# SPDX-License-Identifier: MIT
"""Wrong configurations: each mistake is refused by the daemon's start, by --check-config and by `etcp check` alike,
with the file, the line and what was expected, and exit code 78."""

import os
import re
import socket

import pytest

import etcp_peer
from harness import BIN, EX_CONFIG, EX_NOPERM, EX_USAGE

PUB = etcp_peer.key_text("pub", etcp_peer.public_of(bytes(range(32))))
OTHER = etcp_peer.key_text("pub", etcp_peer.public_of(bytes(range(1, 33))))

# name: (text, line, what the message must speak of)
SERVER = {
    "unknown-option": ('bnd = {"127.0.0.1:0"}\n', 1, r"bnd"),
    "unknown-option-on-its-line": ('# one\n# two\nworkers = 1\ncolour = "red"\n', 4, r"colour"),
    "unknown-section": ("\nlimit {\n}\n", 2, r"limit"),
    "unknown-option-in-section": ("limits {\n  max_connections = 1\n  max_cats = 2\n}\n", 3, r"max_cats"),
    "unknown-option-in-service": ('service "echo" {\n  type = "echo"\n  colour = "red"\n}\n', 3, r"colour"),
    "number-is-text": ('workers = "many"\n', 1, r"workers"),
    "number-unquoted-word": ("workers = many\n", 1, r"workers"),
    "number-negative": ("workers = -1\n", 1, r"workers"),
    "number-fraction": ("workers = 1.5\n", 1, r"workers"),
    "number-too-large": ("workers = 100000\n", 1, r"workers"),
    "number-overflow": ("workers = 99999999999999999999999\n", 1, r"workers"),
    "limit-zero": ("limits {\n  max_connections = 0\n}\n", 2, r"max_connections"),
    "limit-negative": ("limits {\n  max_handshakes = -5\n}\n", 2, r"max_handshakes"),
    "limit-per-address-text": (
        'limits {\n  max_connections_per_address = "a few"\n}\n',
        2,
        r"max_connections_per_address",
    ),
    "limit-streams-zero": ("limits {\n  max_streams = 0\n}\n", 2, r"max_streams"),
    "boolean-number": ("classic = 2\n", 1, r"classic"),
    "boolean-word": ("classic = maybe\n", 1, r"classic"),
    "level-unknown": ('log_level = "loud"\n', 1, r"log_level"),
    "level-upper-case": ('log_level = "INFO"\n', 1, r"log_level"),
    "level-empty": ('log_level = ""\n', 1, r"log_level"),
    "bind-without-port": ('bind = {"127.0.0.1"}\n', 1, r"bind"),
    "bind-port-too-large": ('bind = {"127.0.0.1:65536"}\n', 1, r"65536"),
    "bind-port-text": ('bind = {"127.0.0.1:http"}\n', 1, r"bind"),
    "bind-empty": ('bind = {""}\n', 1, r"bind"),
    "bind-nothing": ("bind = {}\n", 1, r"bind"),
    "bind-v6-without-brackets": ('bind = {"::1:1337"}\n', 1, r"bind"),
    "bind-bracket-open": ('bind = {"[::1:1337"}\n', 1, r"bind"),
    "bind-unix-relative": ('bind = {"unix:run/etcp.sock"}\n', 1, r"bind"),
    "bind-unix-too-long": ('bind = {"unix:/' + "x" * 200 + '"}\n', 1, r"bind"),
    "bind-twice-the-same": ('bind = {"127.0.0.1:1337", "127.0.0.1:1337"}\n', 1, r"127\.0\.0\.1:1337"),
    "duration-without-unit": ('drain_timeout = "30"\n', 1, r"drain_timeout"),
    "duration-unknown-unit": ('drain_timeout = "30 fortnights"\n', 1, r"drain_timeout"),
    "duration-negative": ('drain_timeout = "-1s"\n', 1, r"drain_timeout"),
    "duration-empty": ('drain_timeout = ""\n', 1, r"drain_timeout"),
    "duration-overflow": ('drain_timeout = "999999999999999999999h"\n', 1, r"drain_timeout"),
    "duration-zero-handshake": ('limits {\n  handshake_timeout = "0s"\n}\n', 2, r"handshake_timeout"),
    "size-unknown-unit": ('limits {\n  max_message = "64 parsecs"\n}\n', 2, r"max_message"),
    "size-negative": ('limits {\n  max_message = "-1KiB"\n}\n', 2, r"max_message"),
    "size-too-large": ('limits {\n  max_message = "1GiB"\n}\n', 2, r"max_message"),
    "heartbeat-timeout-below-interval": ('heartbeat {\n  interval = "10s"\n  timeout = "5s"\n}\n', None, r"timeout"),
    "heartbeat-interval-zero": ('heartbeat {\n  interval = "0s"\n}\n', 2, r"interval"),
    "option-twice": ("workers = 1\nworkers = 2\n", 2, r"workers"),
    "section-twice": ("limits {\n}\nlimits {\n}\n", 3, r"limits"),
    "option-twice-in-section": ("limits {\n  max_streams = 1\n  max_streams = 2\n}\n", 3, r"max_streams"),
    "service-twice": ('service "echo" {\n  type = "echo"\n}\nservice "echo" {\n  type = "echo"\n}\n', 4, r"echo"),
    "service-without-name": ('service {\n  type = "echo"\n}\n', 1, r"service|title"),
    "service-name-malformed": ('service "Echo!" {\n  type = "echo"\n}\n', 1, r"service name"),
    "service-name-too-long": ('service "' + "x" * 65 + '" {\n  type = "echo"\n}\n', 1, r"service"),
    "service-type-unknown": ('service "web" {\n  type = "proxy"\n  allow = {"*"}\n}\n', 2, r"proxy"),
    "service-type-missing": ('service "web" {\n  allow = {"*"}\n}\n', None, r"type"),
    "forward-nowhere": ('service "postgres" {\n  type = "forward"\n  allow = {"*"}\n}\n', 1, r"no \"to\""),
    "service-allow-malformed": ('service "echo" {\n  type = "echo"\n  allow = {"not a name"}\n}\n', 3, r"not a name"),
    "list-where-value-belongs": ('log_level = {"info", "debug"}\n', 1, r"."),
    "brace-open": ("limits {\n  max_streams = 1\n", None, r"."),
    "brace-too-many": ("workers = 1\n}\n", 2, r"."),
    "quote-open": ('log_level = "info\nworkers = 1\n', None, r"."),
    "no-value": ("workers =\n", None, r"."),
    "no-equals": ("workers 1\n", 1, r"."),
    "garbage": ("\x01\x02\x03\n", 1, r"."),
    "classic-with-network-key": ('classic = true\nnetwork_key_file = "/dev/null"\n', None, r"classic"),
}

AGENT = {
    "unknown-option": ('sever = {"127.0.0.1:1337"}\n', 1, r"sever"),
    "unknown-section": ("messages {\n}\n", 1, r"messages"),
    "unknown-option-in-section": ('reconnect {\n  delay = "1s"\n}\n', 2, r"delay"),
    "server-without-port": ('server = {"localhost"}\n', 1, r"server"),
    "server-port-zero": ('server = {"127.0.0.1:0"}\n', 1, r"server"),
    "server-port-too-large": ('server = {"127.0.0.1:70000"}\n', 1, r"70000"),
    "server-empty": ('server = {""}\n', 1, r"server"),
    "server-nothing": ("server = {}\n", 1, r"server"),
    "server-twice-the-same": ('server = {"127.0.0.1:1337", "127.0.0.1:1337"}\n', 1, r"127\.0\.0\.1:1337"),
    "server-name-malformed": ('server = {"ho st:1337"}\n', 1, r"ho st"),
    "server-name-with-control": ('server = {"ho\x1bst:1337"}\n', 1, r"control"),
    "key-mistyped": ('server_key = {"' + PUB[:-1] + ("A" if PUB[-1] != "A" else "B") + '"}\n', 1, r"checksum|mistyped"),
    "key-too-short": ('server_key = {"' + PUB[:-1] + '"}\n', 1, r"server_key"),
    "key-empty": ('server_key = {""}\n', 1, r"server_key"),
    "key-without-prefix": ('server_key = {"' + "x" * 57 + '"}\n', 1, r"server_key"),
    "key-secret": ('server_key = {"' + etcp_peer.key_text("sec", bytes(range(32))) + '"}\n', 1, r"secret"),
    "key-network": ('server_key = {"' + etcp_peer.key_text("net", bytes(range(32))) + '"}\n', 1, r"network"),
    "key-second-mistyped": (
        'server_key = {"' + PUB + '",\n  "' + OTHER[:30] + "-" + OTHER[31:] + '"}\n',
        None,
        r"checksum|mistyped",
    ),
    "key-not-canonical": (
        'server_key = {"etcp-pub-7f_______________________________________3_wLQuU"}\n',
        1,
        r"server_key",
    ),
    "suite-unknown": ('suite = "rot13"\n', 1, r"rot13"),
    "suite-number": ("suite = 1\n", 1, r"suite"),
    "level-unknown": ('log_level = "chatty"\n', 1, r"chatty"),
    "multiplier-below-one": ("reconnect {\n  multiplier = 0.5\n}\n", 2, r"multiplier"),
    "multiplier-text": ('reconnect {\n  multiplier = "twice"\n}\n', 2, r"multiplier"),
    "multiplier-not-a-number": ("reconnect {\n  multiplier = nan\n}\n", 2, r"multiplier"),
    "multiplier-infinite": ("reconnect {\n  multiplier = inf\n}\n", 2, r"multiplier"),
    "jitter-above-one": ("reconnect {\n  jitter = 1.5\n}\n", 2, r"jitter"),
    "jitter-negative": ("reconnect {\n  jitter = -0.1\n}\n", 2, r"jitter"),
    "delay-without-unit": ('reconnect {\n  initial_delay = "5"\n}\n', 2, r"initial_delay"),
    "delay-above-most": ('reconnect {\n  initial_delay = "10s"\n  max_delay = "1s"\n}\n', None, r"delay"),
    "attempts-negative": ("reconnect {\n  max_attempts = -1\n}\n", 2, r"max_attempts"),
    "count-zero": ("message {\n  count = 0\n}\n", 2, r"count"),
    "count-negative": ("message {\n  count = -3\n}\n", 2, r"count"),
    "text-empty": ('message {\n  text = ""\n}\n', 2, r"text"),
    "text-too-long": ('message {\n  text = "' + "x" * 70000 + '"\n}\n', 2, r"text"),
    "service-malformed": ('message {\n  service = "Echo"\n}\n', 2, r"Echo"),
    "interval-without-unit": ('message {\n  interval = "1"\n}\n', 2, r"interval"),
    "message-twice": ("message {\n}\nmessage {\n}\n", 3, r"message"),
    "option-twice": ('suite = "auto"\nsuite = "classic"\n', 2, r"suite"),
    "heartbeat-timeout-below-interval": ('heartbeat {\n  interval = "3s"\n  timeout = "2s"\n}\n', None, r"timeout"),
    "forward-for-nothing": ('forward "postgres" {\n  listen = "127.0.0.1:5432"\n}\n', 1, r"service"),
    "brace-open": ("message {\n  count = 1\n", None, r"."),
    "quote-open": ('suite = "auto\n', None, r"."),
    "classic-with-network-key": ('suite = "classic"\nnetwork_key_file = "/dev/null"\n', None, r"classic"),
}


def ways(etcp, daemon, path, **options):
    """The three ways to meet a configuration: (name, how it ended)."""
    kind = "--server" if daemon == "etcp-server" else "--agent"
    yield "--check-config", etcp.finished(daemon, "--check-config", "-c", path, **options)
    yield "start", etcp.finished(daemon, "-c", path, **options)
    yield "etcp check", etcp.finished("etcp", "check", kind, path, **options)


def check_refused(etcp, daemon, path, line, speaks_of):
    where = re.escape(str(path)) + (r":%d\b" % line if line else r"(:\d+)?\b")
    for way, run in ways(etcp, daemon, path):
        said = run.log.text
        assert run.status == EX_CONFIG, "%s: exit %d, %s" % (way, run.status, said)
        assert re.search(where, said), "%s: no %s in %s" % (way, where, said)
        assert re.search(speaks_of, re.sub(where, "", said)), "%s: nothing of %s in %s" % (way, speaks_of, said)
        assert "\x1b" not in said and "\x01" not in said, "%s: not escaped: %r" % (way, said)


@pytest.mark.parametrize("name", SERVER)
def test_server_refuses(etcp, name):
    text, line, speaks_of = SERVER[name]
    check_refused(etcp, "etcp-server", etcp.write("server.conf", text), line, speaks_of)


@pytest.mark.parametrize("name", AGENT)
def test_agent_refuses(etcp, name):
    text, line, speaks_of = AGENT[name]
    if name == "key-secret":
        # What was written where a public key belongs is not shown: it is a secret.
        path = etcp.write("agent.conf", text)
        for _, run in ways(etcp, "etcp-agent", path):
            assert etcp_peer.key_text("sec", bytes(range(32)))[9:30] not in run.log.text + run.out.text
    check_refused(etcp, "etcp-agent", etcp.write("agent.conf", text), line, speaks_of)


DAEMONS = ["etcp-server", "etcp-agent"]


@pytest.mark.parametrize("daemon", DAEMONS)
def test_missing_file(etcp, daemon):
    path = etcp.path / "nowhere.conf"
    for way, run in ways(etcp, daemon, path):
        assert run.status == EX_CONFIG, way
        assert str(path) in run.log.text and "no such file" in run.log.text.lower(), way


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_check_says_what_it_has_looked_at(etcp, daemon):
    path = etcp.write("x.conf", good_text(etcp, daemon))
    run = etcp.finished(daemon, "-t", "-c", path)
    assert run.status == 0 and run.out.text == "%s: good\n" % path
    default = "/etc/etcp/%s.conf" % daemon.partition("-")[2]
    if not os.path.exists(default):
        run = etcp.finished(daemon, "-t", env={"STATE_DIRECTORY": str(etcp.path)})
        assert run.status == 0 and run.out.text == "%s: there is no such file; the defaults are good\n" % default


@pytest.mark.parametrize("daemon", DAEMONS)
def test_all_mistakes_are_told_at_once(etcp, daemon):
    path = etcp.write("x.conf", "colour = 1\nlog_level = loud\nheartbeat {\n  interval = 1\n}\n")
    for way, run in ways(etcp, daemon, path):
        assert run.status == EX_CONFIG, way
        for line, what in (1, '"colour"'), (2, '"loud"'), (4, '"1" for heartbeat.interval'):
            assert len(run.log.lines(r"%s:%d: .*%s" % (re.escape(str(path)), line, what))) == 1, run.log.text
        assert len(run.log.lines()) == 3, run.log.text


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_folder_is_no_file(etcp, daemon):
    for way, run in ways(etcp, daemon, etcp.path):
        assert run.status == EX_CONFIG, way
        assert str(etcp.path) in run.log.text, way


@pytest.mark.parametrize("daemon", DAEMONS)
def test_file_that_may_not_be_read(etcp, ordinary, daemon):
    user, folder = ordinary
    path = folder / "x.conf"
    path.write_text("")
    path.chmod(0)
    for way, run in ways(etcp, daemon, path, user=user, cwd=folder):
        assert run.status == EX_CONFIG, way
        assert str(path) in run.log.text and "Permission denied" in run.log.text, way


def test_key_that_may_not_be_read(etcp, ordinary):
    user, folder = ordinary
    path = folder / "x.key"
    path.write_text(etcp_peer.key_text("sec", bytes(range(32))) + "\n")
    path.chmod(0)
    run = etcp.finished("etcp", "pubkey", path, user=user, cwd=folder)
    assert run.status == EX_NOPERM, run.log.text
    reader = os.getuid() if user is None else user
    assert "%s: user %d can't read it: expected a secret key" % (path, reader) in run.log.text
    assert "or to be run by its owner" in run.log.text


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_pipe_is_no_file(etcp, daemon):
    path = etcp.path / "pipe.conf"
    os.mkfifo(path)
    for way, run in ways(etcp, daemon, path):
        assert run.status == EX_CONFIG, way
        assert str(path) in run.log.text, way


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_file_with_a_nul_or_without_end(etcp, daemon):
    path = etcp.path / "x.conf"
    path.write_bytes(b'log_level = "in\0fo"\n')
    for way, run in ways(etcp, daemon, path):
        assert run.status == EX_CONFIG, way
    path.write_bytes(b"# much\n" * 400000)
    for way, run in ways(etcp, daemon, path):
        assert run.status == EX_CONFIG, way
        assert str(path) in run.log.text, way


def good_text(etcp, daemon):
    return etcp.server_text() if daemon == "etcp-server" else etcp.agent_text(1337)


@pytest.mark.parametrize("daemon", DAEMONS)
def test_good_files_are_good_and_start_nothing(etcp, daemon):
    path = etcp.write("x.conf", good_text(etcp, daemon))
    before = sorted(etcp.path.rglob("*"))
    for option in ("--check-config", "-t"):
        run = etcp.finished(daemon, option, "-c", path)
        assert run.status == 0, run.log.text
    run = etcp.finished("etcp", "check", "--server" if daemon == "etcp-server" else "--agent", path)
    assert run.status == 0, run.log.text
    assert sorted(etcp.path.rglob("*")) == before


@pytest.mark.parametrize("daemon", DAEMONS)
def test_dump_says_where_values_come_from_and_is_a_configuration(etcp, daemon):
    path = etcp.write("x.conf", good_text(etcp, daemon))
    first = etcp.finished(daemon, "--dump-config", "-c", path)
    assert first.status == 0, first.log.text
    assert "x.conf:" in first.out.text and "default" in first.out.text
    again = etcp.write("again.conf", first.out.text)
    second = etcp.finished(daemon, "-T", "-c", again)
    assert second.status == 0, second.log.text

    def values(text):
        return [line.split("#")[0].strip() for line in text.splitlines() if line.split("#")[0].strip()]

    assert values(first.out.text) == values(second.out.text)


@pytest.mark.parametrize("daemon", DAEMONS)
def test_dump_says_which_files_are_used_where_none_is_named(etcp, daemon):
    role = daemon.split("-")[1]
    path = etcp.write("x.conf", "")
    told = 'identity = ""    # default: %s\n'
    remembered = "server_key = {}    # default: those that %s/known_servers remembers\n" % etcp.state
    run = etcp.finished(daemon, "-T", "-c", path, env={"STATE_DIRECTORY": str(etcp.state)})
    assert told % (etcp.state / (role + ".key")) in run.out.text
    assert (remembered in run.out.text) == (role == "agent")
    assert not list(etcp.state.iterdir())

    credentials = {"STATE_DIRECTORY": str(etcp.state), "CREDENTIALS_DIRECTORY": str(etcp.path)}
    run = etcp.finished(daemon, "-T", "-c", path, env=credentials)  # where a key of each role lies
    assert told % (etcp.path / (role + ".key")) in run.out.text

    run = etcp.finished(daemon, "-T", "-c", etcp.write("x.conf", 'identity = "/a/key"\n'))
    assert 'identity = "/a/key"    # %s:1\n' % path in run.out.text

    run = etcp.finished(daemon, "-T", "-c", etcp.write("x.conf", ""), env={"STATE_DIRECTORY": "/a\n\x1b[2J"})
    assert "\x1b" not in run.out.text and etcp.finished(daemon, "-T", "-c", etcp.write("y.conf", run.out.text)).status == 0


def test_root_looks_at_the_list_of_agents_as_the_daemon_would(etcp, ordinary):
    user, folder = ordinary
    if user is None:
        pytest.skip("root looks on behalf of another user")
    state = folder / "state"
    state.mkdir(mode=0o750)
    os.chown(state, user, user)
    path = etcp.write("server.conf", etcp.server_text(identity=None))
    environment = {"STATE_DIRECTORY": str(state)}
    for owner, mode, good, says in (
        (user, 0o600, True, ""),
        (0, 0o644, True, ""),
        (0, 0o640, True, ""),
        (0, 0o600, False, "user %d can't read it" % user),
        (12345, 0o644, False, "belongs to user 12345"),
        (user, 0o606, False, "everybody may write it"),
    ):
        os.chown(etcp.authorized, owner, 0)
        etcp.authorized.chmod(mode)
        for name, arguments in (("etcp", ("check", "--server", path)), ("etcp-server", ("-t", "-c", path))):
            run = etcp.finished(name, *arguments, env=environment)
            assert (run.status == 0) == good and says in run.log.text, "%d %o: %s" % (owner, mode, run.log.text)


@pytest.mark.parametrize("program", ["etcp-server", "etcp-agent", "etcp"])
def test_usage(etcp, program):
    run = etcp.finished(program, "--version")
    assert run.status == 0 and re.search(r"\d+\.\d+", run.out.text) and "sodium" in run.out.text.lower()
    run = etcp.finished(program, "--help")
    assert run.status == 0 and "Usage" in run.out.text
    run = etcp.finished(program, "--no-such-option")
    assert run.status == EX_USAGE and run.log.text
    if program != "etcp":
        assert etcp.finished(program, "stray").status == EX_USAGE
        assert etcp.finished(program, "-c").status == EX_USAGE
        assert etcp.finished(program, "--log-level", "loud", "-t").status == EX_USAGE


@pytest.mark.parametrize("daemon", DAEMONS)
def test_log_level_of_the_environment(etcp, daemon):
    path = etcp.write("x.conf", good_text(etcp, daemon).replace('"debug"', '"info"'))
    run = etcp.finished(daemon, "-T", "-c", path, env={"ETCP_LOG": "debug"})
    assert run.status == 0
    run = etcp.finished(daemon, "-T", "-c", path, env={"ETCP_LOG": "shout"})
    assert run.status == 0 and "ETCP_LOG" in run.log.text


def test_authorized_agents(etcp):
    """Each wrong line is refused with file and line, at the start and by `etcp check`."""
    name = etcp.authorized
    cases = {
        "no name": (PUB + "\n", 1),
        "mistyped": ("# x\n\n" + PUB[:20] + "-" + PUB[21:] + " web\n", 3),
        "secret": (etcp_peer.key_text("sec", bytes(range(32))) + " web\n", 1),
        "name malformed": (PUB + " we/b\n", 1),
        "name with control": (PUB + " we\x1b[31mb\n", 1),
        "name too long": (PUB + " " + "x" * 65 + "\n", 1),
        "two names": (PUB + " web two\n", 1),
        "key twice": (PUB + " web\n" + PUB + " other\n", 2),
        "name only": ("web\n", 1),
    }
    path = etcp.write("server.conf", etcp.server_text())
    for case, (text, line) in cases.items():
        name.write_text(text)
        for way, run in ways(etcp, "etcp-server", path):
            assert run.status == EX_CONFIG, "%s: %s: exit %d %s" % (way, case, run.status, run.log.text)
            assert "%s:%d" % (name, line) in run.log.text, "%s: %s" % (case, run.log.text)
            assert "\x1b" not in run.log.text
    name.write_text("")
    name.chmod(0o666)
    for way, run in ways(etcp, "etcp-server", path):
        assert run.status == (EX_CONFIG if way == "etcp check" else EX_NOPERM), way
        assert str(name) in run.log.text, way


KEYS = {
    "not there": (None, 0o600, EX_CONFIG),
    "empty": ("", 0o600, EX_CONFIG),
    "of another kind": (PUB + "\n", 0o600, EX_CONFIG),
    "for everybody": (etcp_peer.key_text("sec", bytes(range(32))) + "\n", 0o644, EX_NOPERM),
}


@pytest.mark.parametrize("option", ["identity", "network_key_file"])
@pytest.mark.parametrize("case", KEYS)
@pytest.mark.parametrize("daemon", DAEMONS)
def test_keys(etcp, daemon, case, option):
    """What a start refuses for a key, --check-config refuses as well, with the same code and the same words."""
    text, mode, code = KEYS[case]
    key = etcp.path / "named.key"
    if text is not None:
        if option == "network_key_file":
            text = text.replace(etcp_peer.key_text("sec", bytes(range(32))), etcp_peer.key_text("net", bytes(range(32))))
        key.write_text(text)
        key.chmod(mode)
    settings = {option: '"%s"' % key}
    path = etcp.write(
        "x.conf", etcp.server_text(**settings) if daemon == "etcp-server" else etcp.agent_text(1, **settings)
    )
    said = set()
    for way, run in ways(etcp, daemon, path):
        assert run.status == (EX_CONFIG if way == "etcp check" else code), "%s: %s" % (way, run.log.text)
        said.add(run.log.text[run.log.text.index(str(key)) :])
    assert len(said) == 1, said
    assert etcp.finished(daemon, "--dump-config", "-c", path).status == 0


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_check_makes_no_key_and_binds_nothing(etcp, daemon):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = {"bind": '{"127.0.0.1:%d"}' % taken.getsockname()[1]}
        text = etcp.server_text(identity=None, **bind) if daemon == "etcp-server" else etcp.agent_text(1, identity=None)
        path = etcp.write("x.conf", text)
        before = sorted(etcp.path.rglob("*"))
        state = {"STATE_DIRECTORY": str(etcp.path / "not" / "there")}
        run = etcp.finished(daemon, "--check-config", "-c", path, env=state)
        assert run.status == 0, run.log.text
        assert sorted(etcp.path.rglob("*")) == before


def test_programs_are_there():
    for program in ("etcp-server", "etcp-agent", "etcp"):
        assert os.access(BIN / program, os.X_OK), BIN / program


@pytest.mark.parametrize(
    "daemon, goes_on", (("etcp-server", r"listening on|can't listen"), ("etcp-agent", r"retrying in|connected to"))
)
def test_it_says_which_configuration_it_has_read(etcp, daemon, goes_on):
    """Without -c as well: that of the machine, if there is one."""
    program = etcp.run(daemon, env={"STATE_DIRECTORY": str(etcp.state), "RUNTIME_DIRECTORY": str(etcp.path / "run")})
    program.log.wait(r"info: %s \S+, configuration (default|/etc/etcp/\w+\.conf)$" % daemon)
    program.log.wait(goes_on)
