# SPDX-License-Identifier: MIT
"""etcp: keygen, pubkey, check, ping, connect; half-close both ways, large transfers, slow readers, exit codes."""

import hashlib
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import threading

import pytest

import etcp_peer as peer
from harness import BIN, EX_CANTCREAT, EX_CONFIG, EX_NOPERM, EX_UNAVAILABLE, EX_USAGE, eventually, free_port

EX_DATAERR, EX_NOINPUT, EX_NOHOST, EX_PROTOCOL = 65, 66, 68, 76


def target(server):
    return "127.0.0.1:%d" % server.port


def command(etcp, server):
    """The same as connect(), for a subprocess with a stdout of its own."""
    return [
        str(BIN / "etcp"),
        "connect",
        "--identity",
        str(etcp.path / "agent.key"),
        "--server-key",
        peer.key_text("pub", etcp.server_public),
        target(server),
        "echo",
    ]


def connect(etcp, server, service="echo", *options, stdin=subprocess.PIPE, key=None, **more):
    key = key or etcp.server_public
    return etcp.tool(
        "connect",
        "--identity",
        etcp.path / "agent.key",
        "--server-key",
        peer.key_text("pub", key),
        *options,
        target(server),
        service,
        stdin=stdin,
        **more,
    )


# ---- keygen, pubkey


def test_keygen_and_pubkey(etcp):
    path = etcp.path / "new.key"
    made = etcp.finished("etcp", "keygen", path)
    assert made.status == 0 and made.log.text == ""
    secret = peer.load_key("sec", path)
    assert made.out.text == peer.key_text("pub", peer.public_of(secret)) + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shown = etcp.finished("etcp", "pubkey", path)
    assert shown.status == 0 and shown.out.text == made.out.text


def test_keygen_never_overwrites(etcp):
    path = etcp.path / "there.key"
    for content in ("precious\n", ""):
        path.write_text(content)
        run = etcp.finished("etcp", "keygen", path)
        assert run.status == EX_CANTCREAT and run.out.text == "" and str(path) in run.log.text
        assert path.read_text() == content
    link = etcp.path / "link.key"
    link.symlink_to(etcp.path / "elsewhere.key")
    assert etcp.finished("etcp", "keygen", link).status == EX_CANTCREAT
    assert not (etcp.path / "elsewhere.key").exists()


def test_keygen_of_a_network_key(etcp):
    path = etcp.path / "network.key"
    run = etcp.finished("etcp", "keygen", "--network", path)
    assert run.status == 0
    key = peer.load_key("net", path)
    assert peer.key_text("net", key) not in run.out.text + run.log.text and "etcp-net-" not in run.out.text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    run = etcp.finished("etcp", "pubkey", path)
    assert run.status != 0 and "network" in run.log.text


def test_keys_differ(etcp):
    assert len({etcp.finished("etcp", "keygen", etcp.path / ("%d.key" % n)).out.text for n in range(10)}) == 10


def test_keygen_where_it_may_not(etcp):
    for path in (etcp.path / "no" / "such" / "x.key", "/proc/x.key"):
        run = etcp.finished("etcp", "keygen", path)
        assert run.status in (EX_CANTCREAT, EX_NOPERM) and str(path) in run.log.text


def test_pubkey_refuses(etcp):
    secret = peer.key_text("sec", bytes(range(32)))
    path = etcp.path / "x.key"
    for content, mode, says in (
        (secret[:-1] + "!", 0o600, ""),
        ("", 0o600, ""),
        (secret, 0o644, "permission"),
        (secret[:12] + "x" + secret[13:], 0o600, "checksum"),
    ):
        path.write_text(content + "\n")
        path.chmod(mode)
        run = etcp.finished("etcp", "pubkey", path)
        assert run.status != 0 and run.out.text == "" and str(path) in run.log.text and says in run.log.text.lower()
        assert secret[15:40] not in run.log.text
    run = etcp.finished("etcp", "pubkey", etcp.path / "nowhere.key")
    assert run.status == EX_NOINPUT and "no such file" in run.log.text


def test_many_meet_a_server_at_once(etcp):
    """One of them writes the key down, the others find it there."""
    server = etcp.server()
    tools = [etcp.tool("ping", "-n", "0", "127.0.0.1:%d" % server.port) for _ in range(12)]
    assert [tool.wait() for tool in tools] == [0] * 12, [tool.log.text for tool in tools]


# ---- check (what it refuses: test_config.py, test_keys.py)


def test_check_tells_the_kinds_apart(etcp):
    for name, text in (
        ("server.conf", etcp.server_text()),
        ("agent.conf", etcp.agent_text(1337)),
        ("any.conf", etcp.server_text()),
        ("any2.conf", etcp.agent_text(1337)),
    ):
        run = etcp.finished("etcp", "check", etcp.write(name, text))
        assert run.status == 0, run.log.text
    run = etcp.finished("etcp", "check", etcp.write("other.conf", "nonsense = 1\n"))
    assert run.status == EX_CONFIG
    run = etcp.finished("etcp", "check", "--server", etcp.write("agent2.conf", etcp.agent_text(1337)))
    assert run.status == EX_CONFIG


def test_check_warns_of_agents_that_nobody_is(etcp):
    path = etcp.write("server.conf", etcp.server_text(rest='service "x" { type = "echo" allow = {"agent", "ghost"} }'))
    run = etcp.finished("etcp", "check", path)
    assert run.status == 0 and "ghost" in run.log.text and '"agent"' not in run.log.text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["keygen"],
        ["keygen", "a", "b"],
        ["pubkey"],
        ["check"],
        ["ping"],
        ["connect"],
        ["connect", "127.0.0.1:1"],
        ["ping", "nonsense"],
        ["ping", "127.0.0.1:99999"],
        ["connect", "127.0.0.1:1", "Bad Name"],
        ["connect", "127.0.0.1:1", "a", "b"],
        ["keygen", "--nonsense", "x"],
        ["ping", "--server-key", "x", "127.0.0.1:1"],
        ["ping", "--suite", "rot13", "127.0.0.1:1"],
    ],
)
def test_usage(etcp, arguments):
    run = etcp.finished("etcp", *arguments)
    assert run.status == EX_USAGE and run.log.text and run.out.text == ""


@pytest.mark.parametrize("command", ["keygen", "pubkey", "check", "ping", "connect"])
def test_help(etcp, command):
    run = etcp.finished("etcp", command, "--help")
    assert run.status == 0 and command in run.out.text and run.log.text == ""


# ---- ping


def ping(etcp, server, *options):
    return etcp.finished(
        "etcp",
        "ping",
        "--identity",
        etcp.path / "agent.key",
        "--server-key",
        peer.key_text("pub", etcp.server_public),
        *options,
        target(server),
    )


def test_ping(etcp):
    run = ping(etcp, etcp.server(), "--count", "3")
    assert run.status == 0, run.log.text
    assert re.search(r"\d+(\.\d+)? ?(ms|µs|us)", run.out.text)
    assert peer.key_text("pub", etcp.server_public) in run.out.text + run.log.text


def borrow(etcp, server, state):
    """ping with an agent's configuration that leaves the key to the state directory."""
    return etcp.finished(
        "etcp",
        "ping",
        "--count",
        "0",
        "-c",
        etcp.write("borrowed.conf", 'server_key = {"%s"}\n' % peer.key_text("pub", etcp.server_public)),
        target(server),
        env={"STATE_DIRECTORY": str(state)},
    )


def test_a_key_is_borrowed_and_none_is_made(etcp):
    server, state = etcp.server(), etcp.path / "borrowed"
    run = borrow(etcp, server, state)
    assert run.status == EX_NOINPUT and "agent.key: there is no key" in run.log.text
    assert not state.exists()
    state.mkdir()
    shutil.copy(etcp.path / "agent.key", state)
    assert borrow(etcp, server, state).status == 0
    assert [path.name for path in state.iterdir()] == ["agent.key"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_borrows_the_key_of_the_daemon(etcp):
    server, state = etcp.server(), etcp.path / "borrowed"
    state.mkdir(mode=0o700)
    shutil.copy(etcp.path / "agent.key", state)
    os.chown(state / "agent.key", 12345, 12345)
    run = borrow(etcp, server, state)
    assert run.status == EX_NOPERM and "belongs to user 12345" in run.log.text
    os.chown(state, 12345, 12345)
    assert borrow(etcp, server, state).status == 0
    run = etcp.finished("etcp", "ping", "--count", "0", target(server), env={"STATE_DIRECTORY": str(state)})
    assert run.status == EX_NOPERM and "run this as that user" in run.log.text and "chown" not in run.log.text
    assert [path.name for path in state.iterdir()] == ["agent.key"]


@pytest.mark.parametrize("count", ["0", "5"])
def test_ping_nobody(etcp, count):
    run = etcp.finished("etcp", "ping", "--count", count, "127.0.0.1:%d" % free_port())
    assert run.status == EX_UNAVAILABLE and "refused" in run.log.text.lower()
    run = etcp.finished("etcp", "ping", "--count", count, "no-such-host.invalid:1337")
    assert run.status in (EX_UNAVAILABLE, EX_NOHOST) and "no-such-host.invalid" in run.log.text


def test_ping_of_another_key(etcp):
    server = etcp.server()
    wrong = peer.key_text("pub", peer.public_of(peer.new_secret()))
    run = etcp.finished("etcp", "ping", "--server-key", wrong, target(server))
    assert run.status not in (0, EX_USAGE)
    assert wrong in run.log.text and peer.key_text("pub", etcp.server_public) in run.log.text


def test_ping_with_a_network_key_that_the_server_lacks(etcp):
    etcp.new_key("net", "network.key")
    run = etcp.finished("etcp", "ping", "--network-key", etcp.path / "network.key", target(etcp.server()))
    assert run.status == EX_UNAVAILABLE and "does the server have one?" in run.log.text


def test_ping_unauthorised(etcp):
    server = etcp.server(rest='service "echo" { type = "echo" allow = {"agent"} }', echo=False)
    assert ping(etcp, server, "--count", "1").status == 0
    run = etcp.finished("etcp", "ping", "--server-key", peer.key_text("pub", etcp.server_public), target(server))
    assert run.status == EX_NOPERM, run.log.text
    assert "made for this call only: use -c or --identity" in run.log.text
    assert "authorized_agents there" not in run.log.text  # nobody is asked to authorise that key


def test_ping_with_a_network_key(etcp):
    etcp.new_key("net", "network.key")
    server = etcp.server(network_key_file='"%s"' % (etcp.path / "network.key"))
    assert ping(etcp, server, "--count", "1", "--network-key", etcp.path / "network.key").status == 0
    assert ping(etcp, server, "--count", "1").status == EX_UNAVAILABLE


@pytest.mark.parametrize("suite", ["auto", "chacha20poly1305"])
def test_ping_with_a_suite(etcp, suite):
    assert ping(etcp, etcp.server(), "--count", "1", "--suite", suite).status == 0


def test_trust_on_first_use_is_remembered(etcp):
    server = etcp.server()
    options = {"env": {"STATE_DIRECTORY": str(etcp.state)}}
    run = etcp.finished("etcp", "ping", "--count", "1", target(server), **options)
    assert run.status == 0 and peer.key_text("pub", etcp.server_public) in run.log.text + run.out.text
    known = (etcp.state / "known_servers").read_text()
    assert peer.key_text("pub", etcp.server_public) in known
    server.stop()
    (etcp.path / "server.key").unlink()
    etcp.new_key("sec", "server.key")
    server = etcp.server(bind='{"%s"}' % target(server))
    run = etcp.finished("etcp", "ping", "--count", "1", target(server), **options)
    assert run.status not in (0, EX_USAGE)
    assert (etcp.state / "known_servers").read_text() == known


# ---- connect


def test_connect_echoes_and_ends_after_both_half_closes(etcp):
    run = connect(etcp, etcp.server())
    run.write(b"first\n")
    assert run.out.wait_bytes(6) == b"first\n"
    run.write(b"second\n")
    run.process.stdin.close()
    assert run.wait() == 0
    assert run.out.data == b"first\nsecond\n"


def test_connect_with_nothing_to_say(etcp):
    run = connect(etcp, etcp.server(), stdin=subprocess.DEVNULL)
    assert run.wait() == 0 and run.out.data == b""


def test_half_close_of_ours_leaves_the_servers_side_open(etcp):
    listener = etcp.listener()
    run = connect(etcp, listener)
    connection = etcp.keep(listener.accept())
    stream = connection.expect(peer.OPEN).stream
    run.write(b"question")
    run.process.stdin.close()
    assert connection.expect(peer.DATA, stream).body == b"question"
    connection.expect(peer.CLOSE, stream, skip=(peer.CREDIT,))
    for part in (b"a ", b"late ", b"answer"):
        connection.send_frame(peer.frame(peer.DATA, stream, part))
        connection.heartbeat()
    connection.send_frame(peer.frame(peer.CLOSE, stream))
    frames, _ = connection.frames_to_end()
    assert frames[-1].id == peer.GOODBYE and frames[-1].code == peer.CODE_OK
    connection.close()
    assert run.wait() == 0 and run.out.data == b"a late answer"


def test_half_close_of_the_servers_ends_it(etcp):
    """As the page of issue and manual says: it ends when the server ends, with everything written that had come."""
    listener = etcp.listener()
    run = connect(etcp, listener)
    connection = etcp.keep(listener.accept())
    stream = connection.expect(peer.OPEN).stream
    connection.send_frame(peer.frame(peer.DATA, stream, b"bye"))
    connection.send_frame(peer.frame(peer.CLOSE, stream))
    connection.frames_to_end()
    connection.close()
    assert run.wait() == 0 and run.out.data == b"bye"


@pytest.mark.parametrize(
    "frame,status",
    [
        (lambda stream: peer.code_frame(peer.ERROR, stream, peer.CODE_RESET, b"went\x1b[31maway"), None),
        (lambda stream: peer.code_frame(peer.GOODBYE, 0, peer.CODE_INTERNAL, b"went\x1b[31maway"), None),
        (lambda stream: peer.code_frame(peer.GOODBYE, 0, peer.CODE_PROTOCOL_ERROR, b"went\x1b[31maway"), None),
    ],
)
def test_server_ends_mid_stream(etcp, frame, status):
    listener = etcp.listener()
    run = connect(etcp, listener)
    connection = etcp.keep(listener.accept())
    stream = connection.expect(peer.OPEN).stream
    connection.send_frame(peer.frame(peer.DATA, stream, b"half an ans"))
    run.out.wait_bytes(11)
    connection.send_frame(frame(stream))
    connection.frames_to_end()
    connection.close()
    assert run.wait() not in (0, EX_USAGE)
    assert run.out.data == b"half an ans"
    assert "away" in run.log.text and "\x1b" not in run.log.text


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_truncation_is_an_error(etcp, how):
    listener = etcp.listener()
    run = connect(etcp, listener)
    connection = etcp.keep(listener.accept())
    stream = connection.expect(peer.OPEN).stream
    connection.send_frame(peer.frame(peer.DATA, stream, b"half"))
    run.out.wait_bytes(4)
    if how == "fin":
        connection.shutdown()
        connection.frames_to_end()
        connection.close()
    else:
        connection.reset()
    assert run.wait() not in (0, EX_USAGE) and run.out.data == b"half" and run.log.text


def test_no_such_service(etcp):
    run = connect(etcp, etcp.server(), "nosuch", stdin=subprocess.DEVNULL)
    assert run.wait() == EX_UNAVAILABLE
    assert "nosuch" in run.log.text and run.out.data == b""


def test_nothing_reaches_a_server_that_is_not_trusted(etcp):
    listener = etcp.listener(peer.new_secret())
    run = connect(etcp, listener, key=peer.public_of(peer.new_secret()))
    run.write(b"secret")
    shake = etcp.keep(listener.accept_wire())
    shake.receive_request()
    shake.send(shake.response())
    shake.receive_end()
    shake.close()
    assert run.wait() not in (0, EX_USAGE)


SIZE = 12 << 20


def feed(run, data):
    def write():
        view = memoryview(data)
        while view:
            view = view[os.write(run.process.stdin.fileno(), view[: 1 << 20]) :]
        run.process.stdin.close()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def test_large_transfer_through_the_echo(etcp):
    data = os.urandom(SIZE)
    run = connect(etcp, etcp.server(log_level='"info"'))
    thread = feed(run, data)
    assert run.wait(60) == 0
    thread.join()
    assert hashlib.sha256(run.out.data).digest() == hashlib.sha256(data).digest()


def test_large_transfer_by_files(etcp):
    """Regular files as stdin and stdout: nothing that can be waited for."""
    source, sink = etcp.path / "source", etcp.path / "sink"
    source.write_bytes(os.urandom(SIZE))
    server = etcp.server(log_level='"info"')
    with source.open("rb") as stdin, sink.open("wb") as stdout:
        run = subprocess.run(
            command(etcp, server), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert run.returncode == 0, run.stderr
    assert sink.read_bytes() == source.read_bytes()


def test_a_slow_reader_stops_the_sender(etcp):
    """Nobody takes the tool's output: it must not take its input without end either; then everything arrives."""
    server = etcp.server(log_level='"info"')
    data = os.urandom(SIZE)
    with subprocess.Popen(
        command(etcp, server), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        taken = 0
        os.set_blocking(process.stdin.fileno(), False)
        while select.select([], [process.stdin], [], 1.0)[1] and taken < len(data):
            taken += os.write(process.stdin.fileno(), data[taken : taken + 65536])
        assert taken < SIZE, "12 MiB were taken although nothing was read"
        os.set_blocking(process.stdin.fileno(), True)

        def rest():
            view = memoryview(data)[taken:]
            while view:
                view = view[os.write(process.stdin.fileno(), view[:65536]) :]
            process.stdin.close()

        thread = threading.Thread(target=rest, daemon=True)
        thread.start()
        digest = hashlib.sha256()
        while piece := process.stdout.read(65536):
            digest.update(piece)
        thread.join(20)
        assert process.wait(20) == 0, process.stderr.read()
    assert digest.digest() == hashlib.sha256(data).digest()


def test_a_reader_that_goes_away(etcp):
    """The end of the pipe that took the output is gone: the tool ends, and tells the server."""
    listener = etcp.listener()
    with subprocess.Popen(
        command(etcp, listener), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        connection = etcp.keep(listener.accept())
        stream = connection.expect(peer.OPEN).stream
        process.stdout.close()
        connection.send_frame(peer.frame(peer.DATA, stream, b"nobody takes this"))
        frames, how = connection.frames_to_end()
        connection.close()
        assert frames[-1].id in (peer.GOODBYE, peer.ERROR) and how == "fin"
        assert process.wait(20) != 0


def test_a_signal_ends_it_with_goodbye(etcp):
    listener = etcp.listener()
    run = connect(etcp, listener)
    connection = etcp.keep(listener.accept())
    connection.expect(peer.OPEN)
    run.signal(signal.SIGTERM)
    frames, _ = connection.frames_to_end()
    assert frames[-1].id == peer.GOODBYE
    connection.close()
    run.killed = True  # it may end by the signal, as programs in pipes do
    assert run.wait() != EX_USAGE


def test_many_at_once(etcp):
    server = etcp.server(log_level='"info"')
    runs = [connect(etcp, server) for _ in range(8)]
    data = [os.urandom(500000) for _ in runs]
    threads = [feed(run, one) for run, one in zip(runs, data)]
    for run, one in zip(runs, data):
        assert run.wait(60) == 0 and run.out.data == one
    for thread in threads:
        thread.join()


def test_everything_that_a_server_says_is_escaped(etcp):
    """Terminal escapes in reasons, in a bad key, in a name: none reaches a terminal."""
    listener = etcp.listener()
    run = connect(etcp, listener, stdin=subprocess.DEVNULL)
    connection = etcp.keep(listener.accept())
    stream = connection.expect(peer.OPEN).stream
    connection.send_frame(
        peer.code_frame(peer.ERROR, stream, peer.CODE_CONNECT_FAILED, b"\x1b]0;owned\x07\x9b31m\r\nno")
    )
    connection.frames_to_end()
    connection.close()
    assert run.wait() == EX_UNAVAILABLE
    eventually(lambda: "owned" in run.log.text, "the reason")
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f\x9b]", run.log.data)
