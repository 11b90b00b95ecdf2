# SPDX-License-Identifier: MIT
"""Metrics over HTTP: what monitoring reads, and what everybody else is told."""

import re
import shutil
import signal
import socket
import subprocess

import pytest

import etcp_peer as peer
from harness import EX_CONFIG, EX_UNAVAILABLE, TIMEOUT, eventually, free_port
from tunnel import Tunnel, exchange as converse

CLIENTS_MAX = 16
METRICS = 'metrics { bind = "127.0.0.1:0" }\n'
LINE = re.compile(r'^([a-z_]+)(?:\{([a-z_]+)="([A-Za-z0-9._-]*)"\})? (\d+(?:\.\d+)?)$')


def metrics_port(program, count=1):
    return int(program.log.wait(r"metrics on 127\.0\.0\.1:(\d+)", count).group(1))


def exchange(address, request):
    """Sends bytes; returns all that comes back."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect(address)
        sock.sendall(request)
        pieces = []
        while piece := sock.recv(1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


def get(address, path, method="GET"):
    """The status and the body."""
    answer = exchange(address, ("%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (method, path)).encode())
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"\r\nConnection: close" in head
    if method != "HEAD":
        assert int(re.search(rb"\r\nContent-Length: (\d+)", head).group(1)) == len(body)
    return int(head.split()[1]), body.decode()


def parse(text):
    """The numbers by (name, label); checks what Prometheus demands and advises: HELP and TYPE first, each family once and in one
    piece, counters end in _total and nothing else does, units as suffixes."""
    numbers, family, seen = {}, None, set()
    assert text.endswith("\n")
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("# HELP "):
            name, words = line[7:].split(" ", 1)
            assert re.fullmatch(r"etcp_(server|agent)_[a-z_]+", name) and name not in seen and words.endswith(".") or words
            seen.add(name)
            kind = next(lines).removeprefix("# TYPE %s " % name)
            assert kind in ("counter", "gauge") and (kind == "counter") == name.endswith("_total"), name
            family = name
        else:
            match = LINE.match(line)
            assert match and match.group(1) == family, line
            key = (match.group(1), match.group(3))
            assert key not in numbers
            numbers[key] = float(match.group(4))
    return numbers


def scrape(address):
    status, text = get(address, "/metrics")
    assert status == 200
    return parse(text)


def reload(program, count=1):
    program.signal(signal.SIGHUP)
    return program.log.wait(r"(configuration reloaded)|(reload failed)", count).group(1) is not None


# ---- What is told


def test_off_by_default(etcp):
    server = etcp.server()
    etcp.connect(server).heartbeat()
    assert "metrics on" not in server.log.text


@pytest.mark.parametrize("workers", [1, 3])
def test_the_server_s_numbers(etcp, workers):
    server = etcp.server(rest=METRICS + 'service "unused" { type = "echo" allow = {"agent"} }', workers=workers,
                         limits="max_streams = 2")
    address = ("127.0.0.1", metrics_port(server))
    before = scrape(address)
    assert before["etcp_server_connections", None] == 0 and before["etcp_server_ready", None] == 1
    assert before["etcp_server_streams", "echo"] == before["etcp_server_streams", "unused"] == 0
    connections = [etcp.connect(server) for _ in range(3)]
    for connection in connections:
        connection.echo(connection.open(), b"x" * 100)
    assert connections[0].expect(peer.ERROR, connections[0].open("nosuch")).code == peer.CODE_NO_SUCH_SERVICE
    connections[0].open()
    assert connections[0].expect(peer.ERROR, connections[0].open()).code == peer.CODE_LIMIT
    during = scrape(address)
    assert during["etcp_server_connections", None] == 3 and during["etcp_server_streams", "echo"] == 4
    assert during["etcp_server_stream_received_bytes_total", "echo"] == 300
    assert during["etcp_server_stream_sent_bytes_total", "echo"] == 300
    assert during["etcp_server_streams_refused_total", "no-such-service"] == 1
    assert during["etcp_server_streams_refused_total", "limit"] == 1
    for connection in connections:
        connection.close()
    eventually(lambda: scrape(address)["etcp_server_connections", None] == 0, "they have gone")
    after = scrape(address)
    assert after["etcp_server_streams", "echo"] == 0 and after["etcp_server_streams_refused_total", "limit"] == 1
    ended = sum(number for (name, _), number in after.items() if name == "etcp_server_connections_ended_total")
    assert ended == 3 and after["etcp_server_connections_accepted_total", None] == 3
    for key, number in during.items():
        assert not key[0].endswith("_total") or after[key] >= number, key


def test_counters_survive_a_reload(etcp):
    text = etcp.server_text(rest=METRICS)
    server = etcp.server(text)
    address = ("127.0.0.1", metrics_port(server))
    connection = etcp.connect(server)
    stream = connection.open()
    connection.echo(stream, b"x" * 10)
    server.config.write_text(text + 'service "more" { type = "echo" allow = {"*"} }\n')
    assert reload(server)
    connection.echo(stream, b"x" * 10)
    numbers = scrape(address)
    assert numbers["etcp_server_stream_received_bytes_total", "echo"] == 20
    assert numbers["etcp_server_streams", "echo"] == 1 and numbers["etcp_server_streams", "more"] == 0
    # A service that goes takes its streams along.
    server.config.write_text(etcp.server_text(rest=METRICS + 'service "more" { type = "echo" allow = {"*"} }', echo=False))
    assert reload(server, 2)
    assert connection.expect(peer.ERROR, stream).code == peer.CODE_UNAUTHORIZED
    assert ("etcp_server_streams", "echo") not in scrape(address)


def test_no_number_depends_on_strangers(etcp):
    """However many addresses, keys and names there were, there is the same number of lines."""
    server = etcp.server(rest=METRICS)
    address = ("127.0.0.1", metrics_port(server))
    before = set(scrape(address))
    for number in range(5):
        connection = etcp.connect(server, peer.new_secret())
        connection.expect(peer.ERROR, connection.open("service%d" % number))
    assert set(scrape(address)) == before


def test_the_agent_s_numbers(etcp):
    server = etcp.server()
    agent = etcp.agent(server.port, rest=METRICS, message='count = 1000 interval = "10ms"')
    agent.out.wait("Hello", 2)
    address = ("127.0.0.1", metrics_port(agent))
    numbers = scrape(address)
    assert numbers["etcp_agent_connected", None] == 1 and numbers["etcp_agent_connections_total", None] == 1
    assert numbers["etcp_agent_messages_echoed_total", None] >= 2 and numbers["etcp_agent_round_trip_seconds", None] > 0
    assert get(address, "/readyz")[0] == 200
    server.stop()
    eventually(lambda: get(address, "/readyz")[0] == 503, "not ready without a server")
    assert get(address, "/healthz") == (200, "ok\n")
    eventually(lambda: scrape(address)["etcp_agent_failures_total", None] >= 2, "failures are counted")
    assert scrape(address)["etcp_agent_connected", None] == 0


def test_forwards_by_name(etcp):
    """One whose last connection goes on after it was moved is not told twice."""
    tunnel = Tunnel(etcp, forward="max_connections = 1", start=False)
    tunnel.forward += METRICS
    tunnel.start_server()
    tunnel.start_agent(tunnel.server.port)
    address = ("127.0.0.1", metrics_port(tunnel.agent))
    client, backend = tunnel.pair()
    converse(client, backend)
    assert tunnel.turns_away()
    numbers = scrape(address)
    assert numbers["etcp_agent_forward_accepted_total", "test"] == 2
    assert numbers["etcp_agent_forward_refused_total", "test"] == 1
    config = etcp.path / "agent.conf"
    config.write_text(config.read_text().replace('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:%d"' % free_port()))
    assert reload(tunnel.agent)
    assert scrape(address)["etcp_agent_forward_accepted_total", "test"] == 0
    converse(client, backend)


def test_promtool_agrees(etcp):
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("machine: promtool (Debian package prometheus, 100 MB) is not installed")
    server = etcp.server(rest=METRICS)
    agent = etcp.agent(server.port, rest=METRICS, message='count = 1000 interval = "10ms"')
    agent.out.wait("Hello", 1)
    for program in (server, agent):
        text = get(("127.0.0.1", metrics_port(program)), "/metrics")[1]
        result = subprocess.run([tool, "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                check=False, text=True, timeout=60)
        assert result.returncode == 0 and result.stdout == ""


def test_health_and_readiness(etcp):
    server = etcp.server(rest=METRICS)
    address = ("127.0.0.1", metrics_port(server))
    assert get(address, "/healthz") == (200, "ok\n") and get(address, "/readyz") == (200, "ok\n")
    connection = etcp.connect(server)
    connection.echo(connection.open(), b"x")
    server.signal(signal.SIGTERM)
    server.log.wait("connections to drain")
    assert get(address, "/readyz") == (503, "not ready\n") and get(address, "/healthz") == (200, "ok\n")
    assert scrape(address)["etcp_server_ready", None] == 0


# ---- HTTP


@pytest.fixture
def address(etcp):
    etcp.watched = etcp.server(rest=METRICS)
    return "127.0.0.1", metrics_port(etcp.watched)


@pytest.mark.parametrize("path, status", [("/", 404), ("/metrics/", 404), ("/metricsx", 404), ("//metrics", 404),
                                          ("/metrics?x=1", 200), ("/%6detrics", 404), ("*", 404)])
def test_paths(address, path, status):
    assert get(address, path)[0] == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get"])
def test_other_methods(address, method):
    answer = exchange(address, ("%s /metrics HTTP/1.1\r\n\r\n" % method).encode())
    assert answer.startswith(b"HTTP/1.1 405 ") and b"\r\nAllow: GET, HEAD\r\n" in answer


def test_head_has_no_body(address):
    status, body = get(address, "/metrics", "HEAD")
    assert status == 200 and body == ""


@pytest.mark.parametrize("request_bytes, status", [
    (b"\r\n\r\n", 400), (b"GET /metrics\r\n\r\n", 400), (b"GET /metrics HTTP/3\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    (b"GET /metrics HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789", 413),
    (b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
    (b"GET /metrics HTTP/1.1\r\nA: " + b"x" * 9000, 431), (b"G" * 8192, 431),
    (b"GET /" + b"x" * 8000 + b" HTTP/1.1\r\n\r\n", 404),
])
def test_garbage_is_answered_and_closed(etcp, address, request_bytes, status):
    assert exchange(address, request_bytes).startswith(b"HTTP/1.1 %d " % status)
    assert get(address, "/healthz")[0] == 200
    etcp.connect(etcp.watched).heartbeat()


def test_a_request_in_pieces(address):
    with socket.create_connection(address, TIMEOUT) as sock:
        for byte in b"GET /healthz HTTP/1.0\r\nA: b\r\n\r\n":
            sock.sendall(bytes([byte]))
        answer = b""
        while piece := sock.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\nok\n")


def test_clients_that_say_nothing(etcp, address):
    """As many as there may be: the server goes on, they are cut, and then monitoring is served again."""
    silent = [etcp.keep(socket.create_connection(address, TIMEOUT)) for _ in range(CLIENTS_MAX)]
    silent[0].sendall(b"GET /metr")
    connection = etcp.connect(etcp.watched)
    connection.echo(connection.open(), b"x")
    assert get(address, "/healthz")[0] == 200  # after at most ten seconds: the oldest have had their time
    assert silent[0].recv(100) == b""


def test_clients_that_leave(etcp, address):
    for request in (b"", b"GET", b"GET /metrics HTTP/1.1\r\n\r\n"):
        for _ in range(20):
            sock = socket.create_connection(address, TIMEOUT)
            sock.sendall(request)
            sock.close()
    assert scrape(address)["etcp_server_connections", None] == 0


def test_many_at_once(etcp, address):
    clients = [etcp.keep(socket.create_connection(address, TIMEOUT)) for _ in range(4 * CLIENTS_MAX)]
    for client in clients:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    for client in clients:
        answer = b""
        while piece := client.recv(1 << 16):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200 ")
        client.close()


# ---- Where it is


def test_a_unix_socket(etcp):
    path = str(etcp.path / "m")
    server = etcp.server(rest='metrics { bind = "unix:%s" }' % path)
    server.log.wait("metrics on unix:")
    assert scrape(path)["etcp_server_ready", None] == 1


def test_an_address_for_everybody_is_warned_of(etcp):
    server = etcp.server(rest='metrics { bind = "0.0.0.0:0" }')
    server.log.wait("warning: metrics on 0.0.0.0:\\d+ can be read by everybody")


def test_moved_by_reload(etcp):
    first, second = free_port(), free_port()
    server = etcp.server(rest='metrics { bind = "127.0.0.1:%d" }' % first)
    metrics_port(server)
    server.config.write_text(etcp.server_text(rest='metrics { bind = "127.0.0.1:%d" }' % second))
    assert reload(server)
    assert scrape(("127.0.0.1", second))["etcp_server_ready", None] == 1
    with pytest.raises(ConnectionRefusedError):
        get(("127.0.0.1", first), "/healthz")
    # To another address of the same port: the old one makes way.
    server.config.write_text(etcp.server_text(rest='metrics { bind = "0.0.0.0:%d" }' % second))
    assert reload(server, 2)
    assert get(("127.0.0.1", second), "/healthz")[0] == 200
    # It does so in vain: everything is as it was.
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        server.config.write_text(etcp.server_text(rest='metrics { bind = "127.0.0.1:%d" }' % other.getsockname()[1]))
        assert not reload(server, 3)
    assert get(("127.0.0.1", second), "/healthz")[0] == 200
    server.config.write_text(etcp.server_text())
    assert reload(server, 4)
    with pytest.raises(ConnectionRefusedError):
        get(("127.0.0.1", second), "/healthz")


@pytest.mark.parametrize("daemon", ["server", "agent"])
@pytest.mark.parametrize("bind, code", [("127.0.0.1", EX_CONFIG), ("localhost:9117", EX_CONFIG), ("192.0.2.1:9117", EX_UNAVAILABLE),
                                        ("unix:/nonexistent/folder/m", EX_UNAVAILABLE)])
def test_addresses_that_can_t_be_had(etcp, daemon, bind, code):
    rest = 'metrics { bind = "%s" }' % bind
    program = etcp.server_without_waiting(rest=rest) if daemon == "server" else etcp.agent(1, rest=rest)
    assert program.wait() == code
    assert bind in program.log.text or "metrics" in program.log.text
