# SPDX-License-Identifier: MIT
"""etcp status and the status socket: who is told what, what it looks like, and who is told nothing."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading

import pytest

import etcp_peer as peer
from harness import EX_NOPERM, EX_UNAVAILABLE, EX_USAGE, TIMEOUT, eventually, free_port, machine_skip
from tunnel import Tunnel, exchange, is_reset

EX_DATAERR = 65
CLIENTS_MAX = 16  # that a daemon serves at once


def status_socket(program):
    path = program.runtime / "status.sock"
    eventually(path.exists, "the status socket")
    return path


def ask(path):
    """The raw document."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect(str(path))
        pieces = []
        while piece := sock.recv(1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


def status(program):
    return json.loads(ask(status_socket(program)))


def only(items):
    assert len(items) == 1, items
    return items[0]


def reload(program, count=1):
    program.signal(signal.SIGHUP)
    return program.log.wait(r"(configuration reloaded)|(reload failed)", count).group(1) is not None


# ---- What the server tells


def test_a_server_without_agents(etcp):
    server = etcp.server(workers=2)
    document = status(server)
    assert document["format"] == 1 and document["program"] == "etcp-server" and document["state"] == "serving"
    assert document["pid"] == server.pid and document["workers"] == 2
    assert document["public_key"] == peer.key_text("pub", etcp.server_public)
    assert document["listening"] == ["127.0.0.1:%d" % server.port]
    assert document["connections"] == [] and document["totals"]["connections"] == 0
    assert only(document["services"])["allow"] == ["*"]


@pytest.mark.parametrize("workers", [1, 3])
def test_connections_and_what_they_do(etcp, workers):
    server = etcp.server(workers=workers)
    connections = [etcp.connect(server) for _ in range(3)]
    stranger = etcp.connect(server, peer.new_secret())
    for connection in connections:
        connection.echo(connection.open(), b"x" * 1000)
    connections[0].echo(connections[0].open(), b"y" * 24)
    document = status(server)
    assert document["totals"]["connections"] == 4 and document["totals"]["authenticated_total"] == 4
    assert document["totals"]["streams"] == 4 and document["totals"]["streams_total"] == 4
    service = only(document["services"])
    assert service["streams"] == 4 and service["received_bytes"] == service["sent_bytes"] == 3024
    shown = sorted(document["connections"], key=lambda connection: connection["id"])
    assert [connection["agent"] for connection in shown] == ["agent"] * 3 + [None]
    assert [connection["streams"] for connection in shown] == [2, 1, 1, 0]
    assert [connection["services"] for connection in shown] == [["echo"]] * 3 + [[]]
    for connection in shown:
        assert re.fullmatch(r"127\.0\.0\.1:\d+", connection["address"])
        assert connection["suite"] in ("aes256gcm", "chacha20poly1305")
        assert connection["round_trip_us"] > 0 and connection["silent_us"] <= connection["connected_us"]
        assert connection["received_bytes"] > 0 and connection["sent_bytes"] > 0
    assert shown[0]["public_key"] == peer.key_text("pub", etcp.agent_public)
    assert shown[3]["public_key"] not in (None, shown[0]["public_key"])
    received = document["totals"]["received_bytes"]
    assert received >= sum(connection["received_bytes"] for connection in shown) >= 3024
    # Those that have gone are counted on.
    for connection in connections:
        connection.close()
    eventually(lambda: len(status(server)["connections"]) == 1, "three have gone")
    document = status(server)
    assert document["totals"]["streams"] == 0 and document["totals"]["streams_total"] == 4
    assert document["totals"]["received_bytes"] >= received
    stranger.heartbeat()


def test_a_look_has_the_round_trip_measured(etcp):
    """A peer that talks is never asked for a heartbeat; the kernel's figure stands in until one was answered."""
    server = etcp.server()
    connection = etcp.connect(server)
    connection.answer_heartbeats = False
    assert 0 < only(status(server)["connections"])["round_trip_us"] < 10_000_000
    asked = connection.expect(peer.HEARTBEAT)
    assert asked.kind == peer.ASK
    connection.send_frame(peer.heartbeat_frame(peer.ANSWER, asked.opaque))
    connection.heartbeat()  # it has been taken
    assert only(status(server)["connections"])["round_trip_us"] > 0


def test_refusals_by_cause(etcp):
    named = 'service "named" { type = "echo" allow = {"agent"} }'
    server = etcp.server(rest=named, echo=False, limits="max_connections_per_address = 5 max_streams = 1")
    etcp.socket(server).send(b"GET / HTTP/1.1\r\n\r\n")
    eventually(lambda: status(server)["refusals"]["handshakes"]["protocol"] == 1, "garbage is counted")
    connection = etcp.connect(server)
    for service, code in (("nothing", peer.CODE_NO_SUCH_SERVICE), ("named", None), ("named", peer.CODE_LIMIT)):
        stream = connection.open(service)
        if code is None:
            connection.echo(stream, b"x")
        else:
            assert connection.expect(peer.ERROR, stream).code == code
    stranger = etcp.connect(server, peer.new_secret(), ask=False)
    stranger.frames_to_end()
    held = [etcp.socket(server) for _ in range(8)]
    eventually(lambda: status(server)["refusals"]["limits"]["max_connections_per_address"] >= 1, "the limit is met")
    refusals = status(server)["refusals"]
    assert refusals["unauthorized"] == 1
    assert refusals["streams"]["no-such-service"] == 1 and refusals["streams"]["limit"] == 1
    assert refusals["streams"]["internal"] == 0
    del held


def test_more_connections_than_one_batch(etcp):
    """Workers describe them a batch at a time; none is missing or told twice."""
    server = etcp.server(workers=2, limits="max_connections_per_address = 1000 max_handshakes = 1000")
    connections = [etcp.connect(server) for _ in range(300)]
    ids = [connection["id"] for connection in status(server)["connections"]]
    assert len(ids) == len(set(ids)) == len(connections)


def test_state_while_draining(etcp):
    server = etcp.server()
    connection = etcp.connect(server)
    connection.echo(connection.open(), b"x")
    server.signal(signal.SIGTERM)
    server.log.wait("1 connections to drain")
    document = status(server)
    assert document["state"] == "draining" and document["listening"] == []
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not (server.runtime / "status.sock").exists()


# ---- What the agent tells


def test_an_agent_that_is_connected(etcp):
    server = etcp.server()
    agent = etcp.agent('{"127.0.0.1:%d", "127.0.0.1:%d"}' % (free_port(), server.port), message='count = 1000 interval = "10ms"')
    agent.out.wait("Hello", 3)
    document = status(agent)
    assert document["program"] == "etcp-agent" and document["state"] == "connected"
    connection = document["connection"]
    assert connection["address"] == "127.0.0.1:%d" % server.port and connection["round_trip_us"] > 0
    assert connection["public_key"] == peer.key_text("pub", etcp.server_public)
    assert [one["state"] for one in document["servers"]] == ["failed", "connected"]
    assert document["servers"][0]["last_failure"]["cause"] == "Connection refused"
    assert document["servers"][1]["last_failure"] is None and document["servers"][1]["connections_total"] == 1
    assert document["messages"]["count"] == 1000 and 3 <= document["messages"]["echoed"] < 1000
    assert document["next_attempt_us"] is None


def test_an_agent_that_waits(etcp):
    agent = etcp.agent(free_port(), delay="60s")
    agent.log.wait("retrying in")
    document = status(agent)
    assert document["state"] == "waiting" and document["connection"] is None
    assert 0 < document["next_attempt_us"] <= 60_000_000
    assert document["failed_attempts"] == 1 and document["last_failure"]["cause"] == "Connection refused"


def other_forward(service):
    return 'forward "other" { listen = "127.0.0.1:0" service = "%s" }\n' % service


def forward_numbers(agent):
    """By name: open, waiting, accepted, refused."""
    return {
        one["name"]: (one["open"], one["waiting"], one["accepted_total"], one["refused_total"])
        for one in status(agent)["forwards"]
    }


def test_forwards_and_what_they_do(etcp):
    tunnel = Tunnel(etcp, forward="max_connections = 1", start=False)
    tunnel.forward += other_forward("nosuch")
    tunnel.start_server()
    tunnel.start_agent(tunnel.server.port)
    assert forward_numbers(tunnel.agent) == {"test": (0, 0, 0, 0), "other": (0, 0, 0, 0)}
    other = int(tunnel.agent.log.wait(r"listening on 127\.0\.0\.1:(\d+): forward other").group(1))
    client, backend = tunnel.pair()
    exchange(client, backend)
    assert tunnel.turns_away() and tunnel.turns_away(("127.0.0.1", other))
    assert forward_numbers(tunnel.agent) == {"test": (1, 0, 2, 1), "other": (0, 0, 1, 1)}
    listening = [one["listening"] for one in status(tunnel.agent)["forwards"]]
    assert listening == ["127.0.0.1:%d" % port for port in (tunnel.address[1], other)]
    shown = etcp.finished("etcp", "status", status_socket(tunnel.agent)).out.text
    assert re.search(r"^  forwarded +1 open, 0 waiting; \d connections to the server, \d idle$", shown, re.M)
    assert re.search(r"^  FORWARD +LISTENING +SERVICE +OPEN +WAITING +ACCEPTED +REFUSED$", shown, re.M)
    assert re.search(r"^  test +127\.0\.0\.1:%d +test +1 +0 +2 +1$" % tunnel.address[1], shown, re.M)
    assert re.search(r"^  refused +test, .* ago: forward\.max_connections are open$", shown, re.M)
    assert re.search(r"^  refused +other, .* ago: no-such-service", shown, re.M)
    causes = {one["name"]: one["last_failure"]["cause"] for one in status(tunnel.agent)["forwards"]}
    assert causes["test"] == "forward.max_connections are open" and causes["other"].startswith("no-such-service")
    # One that is gone from the configuration is there until its last connection has ended.
    config = etcp.path / "agent.conf"
    config.write_text(config.read_text().replace(tunnel.forward, other_forward("nosuch")))
    assert reload(tunnel.agent)
    gone = only([one for one in status(tunnel.agent)["forwards"] if one["listening"] is None])
    assert gone["name"] == "test" and gone["open"] == 1 and forward_numbers(tunnel.agent)["other"] == (0, 0, 1, 1)
    exchange(client, backend)
    client.close()
    backend.close()
    eventually(lambda: list(forward_numbers(tunnel.agent)) == ["other"], "the end of the forward that is gone")


def test_a_backend_that_is_away(etcp):
    """Both ends say so: the server by the service, the agent by the forward."""
    tunnel = Tunnel(etcp, to="127.0.0.1:%d" % free_port())
    assert tunnel.turns_away() and tunnel.turns_away()
    service = only([one for one in status(tunnel.server)["services"] if one["name"] == "test"])
    assert (service["streams"], service["streams_total"], service["failed_total"]) == (0, 2, 2)
    shown = etcp.finished("etcp", "status", status_socket(tunnel.server)).out.text
    assert re.search(r"^  SERVICE +TYPE +STREAMS +OPENED +FAILED +RECEIVED +SENT +ALLOW$", shown, re.M), shown
    assert re.search(r"^  test +forward +0 +2 +2 ", shown, re.M), shown
    shown = etcp.finished("etcp", "status", status_socket(tunnel.agent)).out.text
    assert re.search(r"^  refused +test, .* connect-failed \(the backend: Connection refused\)", shown, re.M), shown


def test_forwards_that_wait(etcp):
    """Without a server: they wait, and are refused when their time is over."""
    tunnel = Tunnel(etcp, forward='wait = "300ms"', start=False)
    tunnel.start_agent(free_port(), wait=False)
    client = tunnel.connect()
    assert is_reset(client)
    assert forward_numbers(tunnel.agent) == {"test": (0, 0, 1, 1)}
    config = etcp.path / "agent.conf"
    config.write_text(config.read_text().replace("300ms", "60s"))
    assert reload(tunnel.agent)
    client = tunnel.connect()
    eventually(lambda: forward_numbers(tunnel.agent) == {"test": (0, 1, 2, 1)}, "a connection that waits")
    client.close()


def test_a_server_s_words_are_escaped(etcp):
    """Control characters in a reason never reach a terminal, neither from the agent nor from the tool."""
    listener = etcp.listener()
    agent = etcp.agent(listener.port, delay="60s")
    connection = listener.accept()
    connection.goodbye(peer.CODE_INTERNAL, "\x1b[2J\u202eevil\x07\"".encode())
    agent.log.wait("retrying in")
    document = status(agent)
    cause = document["last_failure"]["cause"]
    assert "\\x1b[2J" in cause and "\\x07" in cause and "evil" in cause
    assert not re.search(r"[\x00-\x1f\x7f\u202e]", cause)
    shown = etcp.finished("etcp", "status", status_socket(agent))
    assert shown.status == 0 and "\\x1b[2J" in shown.out.text and not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", shown.out.text)


def test_what_a_server_says_of_a_stream_is_escaped(etcp):
    listener = etcp.listener()
    tunnel = Tunnel(etcp, start=False, agent={"spare_connections": 0})
    tunnel.start_agent(listener.port, wait=False)
    connection = listener.accept()
    client = tunnel.connect()
    stream = connection.expect(peer.OPEN, skip=(peer.HEARTBEAT,)).stream
    connection.send_frame(peer.code_frame(peer.ERROR, stream, peer.CODE_INTERNAL, "\x1b[2J\u202eevil\x07".encode()))
    assert is_reset(client)
    cause = only(status(tunnel.agent)["forwards"])["last_failure"]["cause"]
    assert "\\x1b[2J" in cause and "\\x07" in cause and not re.search(r"[\x00-\x1f\x7f\u202e]", cause)
    shown = etcp.finished("etcp", "status", status_socket(tunnel.agent)).out.text
    assert re.search(r"^  refused +test, .*evil", shown, re.M) and not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", shown)


# ---- The tool


def test_the_tool_shows_both(etcp):
    runtime = etcp.path / "user"
    environment = {"XDG_RUNTIME_DIR": str(runtime)}
    server = etcp.server(options={"env": {"RUNTIME_DIRECTORY": str(runtime / "etcp" / "server")}})
    agent = etcp.agent(server.port, message='count = 1000 interval = "10ms"',
                       options={"env": {"RUNTIME_DIRECTORY": str(runtime / "etcp" / "agent-web")}})
    agent.out.wait("Hello", 2)
    name = {"server": ("server", r"^etcp-server \S+, serving, up \d+ s, pid %d$" % server.pid),
            "web": ("web", r"^etcp-agent \S+, connected, up \d+ s, pid %d$" % agent.pid)}
    for argument, (which, heading) in name.items():
        shown = etcp.finished("etcp", "status", argument, env=environment)
        assert re.search(heading, shown.out.text, re.M), shown.out.text
        assert shown.status == 0 or os.path.exists("/run/etcp/%s/status.sock" % which)  # the machine's own may be dead
        assert "\x1b" not in shown.out.text
    shown = etcp.finished("etcp", "status", runtime / "etcp" / "server" / "status.sock")
    assert re.search(r"^  agents +1; \d connections, 0 in a handshake, \d accepted since the start$", shown.out.text, re.M)
    assert re.search(r"^  AGENT +ADDRESS +CONNECTED +HEARD +ROUND TRIP", shown.out.text, re.M)
    assert re.search(r"^  agent +127\.0\.0\.1:\d+ ", shown.out.text, re.M)
    # Where the machine itself runs a server, that one is shown as well.
    lines = etcp.finished("etcp", "status", "--json", "server", env=environment).out.text.splitlines()
    document = only([document for document in map(json.loads, lines) if document["pid"] == server.pid])
    assert only(document["connections"])["agent"] == "agent"


def test_a_terminal_gets_colours_and_no_more_than_its_width(etcp):
    server = etcp.server()
    connection = etcp.connect(server)
    path = status_socket(server)
    import pty
    import fcntl
    import struct
    import termios

    def on_terminal(environment):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        program = subprocess.run([str(etcp_bin()), "status", str(path)], stdout=slave, stderr=subprocess.PIPE, check=True,
                                 timeout=TIMEOUT, env={"PATH": "/usr/bin:/bin", "TERM": "xterm", **environment})
        os.close(slave)
        text = b""
        while True:
            try:
                piece = os.read(master, 1 << 16)
            except OSError:
                break
            if not piece:
                break
            text += piece
        os.close(master)
        assert program.stderr == b""
        return text.decode()

    coloured = on_terminal({})
    assert "\x1b[32mserving\x1b[0m" in coloured
    plain = re.sub(r"\x1b\[\d*m", "", coloured)
    assert "\x1b" not in plain and max(map(len, plain.splitlines())) <= 80
    assert " AGENT " in plain and " SERVICES" not in plain
    assert on_terminal({"NO_COLOR": "1"}).replace("\r\n", "\n").count("\x1b") == 0
    connection.heartbeat()


def etcp_bin():
    from harness import BIN
    return BIN / "etcp"


def test_watching_goes_on_when_the_daemon_is_away(etcp):
    server = etcp.server()
    path = status_socket(server)
    watch = etcp.tool("status", "--watch=0.1", path)
    watch.out.wait(r"etcp-server \S+, serving", 3)
    server.stop()
    watch.log.wait("no daemon listens there", 2)
    watch.kill()


@pytest.mark.parametrize("arguments, code, words", [
    (["nosuch"], EX_UNAVAILABLE, "nosuch: nothing found"),
    (["/nonexistent/status.sock"], EX_UNAVAILABLE, "no daemon listens there"),
    (["/" + "x" * 200], EX_UNAVAILABLE, "File name too long"),
    ([""], EX_USAGE, "expected server, agent"),
    (["a b"], EX_USAGE, "expected server, agent"),
    (["*"], EX_USAGE, "expected server, agent"),
    (["one", "two"], EX_USAGE, "at most one daemon"),
    (["--watch=0"], EX_USAGE, "expected seconds"),
    (["--watch=nan"], EX_USAGE, "expected seconds"),
    (["--watch=1x"], EX_USAGE, "expected seconds"),
    (["--nosuch"], EX_USAGE, "etcp status --help"),
])
def test_wrong_calls(etcp, arguments, code, words):
    tool = etcp.finished("etcp", "status", *arguments, env={"XDG_RUNTIME_DIR": str(etcp.path)})
    assert tool.status == code and words in tool.log.text and not tool.out.data


@pytest.mark.parametrize("answer, code", [
    (b"", EX_NOPERM), (b"{", EX_DATAERR), (b"[]", EX_DATAERR), (b"\x1b[2J", EX_DATAERR),
    (b'{"program":"etcp-server"}', EX_DATAERR), (b'{"format":1}', EX_DATAERR),
    (b'{"format":2,"program":"etcp-server"}', EX_DATAERR), (b'{"format":1,"program":7}', EX_DATAERR),
    (b'{"format":1,"format":1,"program":"etcp-server"}', EX_DATAERR), (b'{"format":1,"program":"etcp-server"}x', EX_DATAERR),
    (b'{"format":1,"program":"etcp-server"}', 0), (b'{"format":1,"program":"etcp-agent"}', 0),
    (b'{"format":1,"program":"etcp-server","state":7,"totals":[],"services":{},"connections":[1,{}],"refusals":{"limits":7},'
     b'"listening":[{}]}', 0),
    (b'{"format":1,"program":"etcp-agent","connection":{},"servers":[null,{"address":[]}],"messages":{"service":"\\u001b"}}', 0),
    (b'{"format":1,"program":"\\u001b[2J\\u0007","version":"' + b"\\u001b" * 5000 + b'"}', 0),
])
def test_whatever_answers(etcp, answer, code):
    """The tool believes nothing that a socket says."""
    path = etcp.path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(TIMEOUT)
        tool = etcp.tool("status", path)
        connection = listener.accept()[0]
        connection.sendall(answer)
        connection.close()
        assert tool.wait() == code
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", tool.out.data + tool.log.data)


# ---- Who may look


def as_nobody(path):
    """What somebody else's process is told."""
    return subprocess.run(
        [sys.executable, "-c", "import os,socket,sys\nos.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n"
         "s=socket.socket(socket.AF_UNIX)\ns.settimeout(20)\ntry:\n s.connect(sys.argv[1])\n sys.stdout.write(repr(s.recv(100)))\n"
         "except PermissionError:\n sys.stdout.write('denied')\n", str(path)],
        stdout=subprocess.PIPE, check=True, timeout=TIMEOUT * 2, text=True).stdout


def test_the_socket_is_for_owner_and_group(etcp):
    server = etcp.server()
    path = status_socket(server)
    mode = path.stat()
    assert stat.S_IMODE(mode.st_mode) == 0o660 and mode.st_uid == os.geteuid() and mode.st_gid == os.getegid()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


def test_strangers_are_refused(etcp, tmp_path_factory):
    if os.geteuid() != 0:
        machine_skip("needs root, to be somebody else")
    folder = tmp_path_factory.mktemp("open")
    path = folder / "s"
    server = etcp.server(status_socket='"%s"' % path)
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    assert as_nobody(path) == "denied"
    path.chmod(0o666)  # somebody has opened it by mistake: who asks is still looked at
    assert as_nobody(path) == "b''"
    server.log.wait(r"status refused: uid=65534 gid=65534 pid=\d+")
    assert json.loads(ask(path))["state"] == "serving"


def test_slow_readers_cost_others_nothing(etcp):
    """As many as there may be, none of which reads: the server goes on, and who comes then is served once one of them has gone."""
    server = etcp.server()
    path = status_socket(server)
    slow = []
    for _ in range(CLIENTS_MAX):
        sock = etcp.keep(socket.socket(socket.AF_UNIX))
        sock.connect(str(path))
        slow.append(sock)
    waiting = etcp.keep(socket.socket(socket.AF_UNIX))
    waiting.settimeout(TIMEOUT)
    waiting.connect(str(path))
    connection = etcp.connect(server)
    connection.echo(connection.open(), b"x")
    slow[0].close()
    slow[1].send(b"x")  # it reads nothing but what makes room; this is thrown away
    assert waiting.recv(10)
    slow[1].settimeout(TIMEOUT)
    assert b"etcp-server" in slow[1].recv(1 << 16)


def test_those_who_never_leave_are_cut(etcp):
    server = etcp.server()
    path = status_socket(server)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(2 * TIMEOUT)
        sock.connect(str(path))
        while sock.recv(1 << 16):
            pass
        eventually(lambda: broken(sock), "the server closes", 2 * TIMEOUT)


def broken(sock):
    try:
        sock.send(b"x")
    except OSError:
        return True
    return False


# ---- Where it is


def test_switched_off_and_moved_by_reload(etcp):
    server = etcp.server()
    path, moved = status_socket(server), etcp.path / "elsewhere.sock"
    server.config.write_text(etcp.server_text(status_socket='"none"'))
    assert reload(server)
    assert not path.exists()
    server.config.write_text(etcp.server_text(status_socket='"%s"' % moved))
    assert reload(server, 2)
    assert json.loads(ask(moved))["pid"] == server.pid
    server.config.write_text(etcp.server_text())
    assert reload(server, 3)
    assert status(server)["pid"] == server.pid and not moved.exists()


@pytest.mark.parametrize("daemon", ["server", "agent"])
def test_a_reload_that_fails_changes_nothing(etcp, daemon):
    if daemon == "server":
        program = etcp.server()
        text = etcp.server_text
    else:
        port = free_port()
        program = etcp.agent(port)

        def text(**top):
            return etcp.agent_text(port, **top)
    path = status_socket(program)
    config = etcp.path / (daemon + ".conf")
    config.write_text(text(status_socket='"/nonexistent/folder/s"'))
    assert not reload(program)
    assert json.loads(ask(path))["pid"] == program.pid
    # One of both can't be had: neither is changed.
    config.write_text(text(status_socket='"%s"' % (etcp.path / "new.sock"), rest='metrics { bind = "192.0.2.1:1" }'))
    assert not reload(program, 2)
    assert json.loads(ask(path))["pid"] == program.pid and not (etcp.path / "new.sock").exists()


@pytest.mark.parametrize("number", range(10))
def test_a_stop_while_many_ask(etcp, number):
    """What the workers were asked for may not have been answered when they end. (Freed memory is overwritten.)"""
    server = etcp.server(workers=8, options={"env": {"MALLOC_PERTURB_": "165"}})
    path = str(status_socket(server))
    asked, over = threading.Semaphore(0), threading.Event()

    def ask_on_and_on():
        while not over.is_set():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(TIMEOUT)
                sock.connect(path)
                while sock.recv(65536):
                    pass
                asked.release()

    threads = [threading.Thread(target=ask_on_and_on) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50 + 10 * number):
            assert asked.acquire(timeout=TIMEOUT)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.log.text[-2000:]
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_leftover_is_replaced_and_another_s_is_not(etcp):
    first = etcp.server()
    path = status_socket(first)
    second = etcp.server(name="second.conf", options={"env": {"RUNTIME_DIRECTORY": str(first.runtime)}})
    second.log.wait("no status socket: .*in use")
    assert json.loads(ask(path))["pid"] == first.pid
    first.kill()
    third = etcp.server(name="third.conf", options={"env": {"RUNTIME_DIRECTORY": str(first.runtime)}})
    third.log.wait("status on unix:")
    assert json.loads(ask(path))["pid"] == third.pid


def test_a_path_that_is_asked_for_must_be_had(etcp):
    server = etcp.server_without_waiting(status_socket='"/nonexistent/folder/s"')
    assert server.wait() == EX_UNAVAILABLE and "can't listen on unix:/nonexistent/folder/s" in server.log.text
    agent = etcp.agent(1, status_socket='"/nonexistent/folder/s"')
    assert agent.wait() == EX_UNAVAILABLE and "can't listen on unix:/nonexistent/folder/s" in agent.log.text
