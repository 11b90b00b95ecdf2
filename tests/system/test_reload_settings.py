# SPDX-License-Identifier: MIT
"""Each setting of server.conf is edited and reloaded: what must change changes, and an agent that is connected stays. Which
settings there are is asked of the program: a new one without a test here fails."""

import json
import re
import signal
import socket

import pytest

import classic_peer
import etcp_peer as peer
from harness import TIMEOUT, eventually, free_port, has_keepalive, sleeps

TESTS = {}
ECHO = 'service "echo" { type = "echo" allow = {"*"} }\n'


class Edited:
    """A server with an agent that is connected, and has a stream open, before and after each edit."""

    def __init__(self, etcp, echo=False, header=b"", **settings):
        self.etcp = etcp
        settings.setdefault("rest", ECHO)
        self.fixed = {"bind": '{"127.0.0.1:%d"}' % free_port()}
        self.server = etcp.server(echo=echo, **{**self.fixed, **settings})
        self.reloads = 0
        self.steady = etcp.connect(self.server, header=header)
        self.stream = self.steady.open()
        self.steady.echo(self.stream, b"before")

    def edit(self, **settings):
        settings.setdefault("rest", ECHO)
        self.server.config.write_text(self.etcp.server_text(echo=False, **{**self.fixed, **settings}))
        self.server.signal(signal.SIGHUP)
        self.reloads += 1
        over = self.server.log.wait(r"(configuration reloaded)|(reload failed)", self.reloads)
        assert over.group(1), self.server.log.text
        self.stays()

    def stays(self):
        self.steady.echo(self.stream, b"after")

    def connect(self, **options):
        return self.etcp.connect(self.server, **options)

    def serves(self, **options):
        connection = self.connect(**options)
        connection.echo(connection.open(), b"served")
        return connection

    def refused(self, **options):
        """Whether another connection gets nowhere."""
        try:
            connection = self.connect(**options)
        except (peer.PeerError, OSError):
            return True
        connection.close()
        return False


def setting(name):
    def register(function):
        TESTS[name] = function
        return function

    return register


@setting("bind")
def bind(etcp):
    edited = Edited(etcp)
    old, port = edited.server.address, free_port()
    edited.edit(bind='{"127.0.0.1:%d"}' % port)
    edited.server.address = ("127.0.0.1", port)
    edited.serves()
    with pytest.raises(ConnectionRefusedError):
        peer.open_socket(old)


HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 1337\r\n"


def takes_header(edited, source="127.0.0.1"):
    """Whether a connection that begins with a PROXY header, from an address of the loopback, is answered."""
    with socket.create_connection(edited.server.address, TIMEOUT, (source, 0)) as sock:
        agent = peer.AgentHandshake(sock, peer.CHACHA)
        try:
            agent.send(HEADER + agent.request())
            agent.receive_response()
        except (peer.PeerError, OSError):
            return False
        return True


@setting("proxy_protocol")
def proxy_protocol(etcp):
    edited = Edited(etcp, proxy_from='{"127.0.0.1"}')
    assert not takes_header(edited) and not edited.refused()
    edited.edit(proxy_protocol='"required"', proxy_from='{"127.0.0.1"}')
    assert takes_header(edited) and edited.refused()
    edited.edit()
    assert not takes_header(edited) and not edited.refused()


@setting("proxy_from")
def proxy_from(etcp):
    edited = Edited(etcp, proxy_protocol='"required"', proxy_from='{"127.0.0.1"}', header=HEADER)
    assert takes_header(edited, "127.0.0.1") and not takes_header(edited, "127.0.0.2")
    edited.edit(proxy_protocol='"required"', proxy_from='{"127.0.0.2"}')
    assert takes_header(edited, "127.0.0.2") and not takes_header(edited, "127.0.0.1")


@setting("log_level")
def log_level(etcp):
    edited = Edited(etcp, log_level='"info"')
    debug = r" debug: "
    edited.serves()
    assert not edited.server.log.lines(debug)
    edited.edit(log_level='"debug"')
    edited.serves()
    edited.server.log.wait(debug)


@setting("identity")
def identity(etcp):
    edited = Edited(etcp)
    public = peer.public_of(etcp.new_key("sec", "other.key"))
    assert edited.serves().server_key == etcp.server_public
    edited.edit(identity='"%s"' % (etcp.path / "other.key"))
    assert edited.serves().server_key == public


@setting("authorized_agents")
def authorized_agents(etcp):
    named = 'service "echo" { type = "echo" allow = {"agent", "third"} }\n'
    third = peer.new_secret()
    edited = Edited(etcp, rest=named)
    assert edited.refused(static=third)
    listed = etcp.write(
        "more", etcp.authorized.read_text() + "%s third\n" % peer.key_text("pub", peer.public_of(third))
    )
    edited.edit(rest=named, authorized_agents='"%s"' % listed)
    edited.serves(static=third)


@setting("network_key_file")
def network_key_file(etcp):
    key = etcp.new_key("net", "network.key")
    edited = Edited(etcp)
    edited.serves()
    edited.edit(network_key_file='"%s"' % (etcp.path / "network.key"))
    assert edited.refused()
    edited.serves(suite=peer.CHACHA_NETWORK, network_key=key)
    edited.edit()
    assert edited.refused(suite=peer.CHACHA_NETWORK, network_key=key)
    edited.serves()


def classic_echo(etcp, edited, message=b"classic"):
    """Whether a peer of the old wire is served."""
    sock = etcp.keep(peer.open_socket(edited.server.address))
    try:
        channel = classic_peer.client_handshake(sock)
        channel.send(message)
        return channel.receive() == message
    except (classic_peer.ClassicError, OSError):
        return False


@setting("classic")
def classic(etcp):
    edited = Edited(etcp)
    assert not classic_echo(etcp, edited)
    edited.edit(classic="true")
    assert classic_echo(etcp, edited)


@setting("classic_service")
def classic_service(etcp):
    two = ECHO + 'service "old" { type = "echo" allow = {"*"} }\n'
    edited = Edited(etcp, rest=two, classic="true")
    assert classic_echo(etcp, edited)
    edited.edit(rest=two, classic="true", classic_service='"old"')
    assert status_of(edited, "old")["streams_total"] == 0
    assert classic_echo(etcp, edited)
    assert status_of(edited, "old")["streams_total"] == 1


@setting("workers")
def workers(etcp):
    edited = Edited(etcp, workers=1)
    edited.edit(workers=2)
    edited.server.log.wait("another number of workers takes effect at the next start")
    edited.serves()


@setting("drain_timeout")
def drain_timeout(etcp):
    edited = Edited(etcp, drain_timeout='"1h"')
    edited.edit(drain_timeout='"200ms"')
    edited.server.signal(signal.SIGTERM)
    assert edited.server.wait() == 0


@setting("congestion_control")
def congestion_control(etcp):
    """What it does is seen in test_congestion."""
    edited = Edited(etcp)
    with socket.socket() as sock:
        usual = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()
    edited.edit(congestion_control='"%s"' % usual)
    edited.serves()


@setting("busy_poll")
def busy_poll(etcp):
    edited = Edited(etcp, workers=1)

    def polls():
        before = sleeps(edited.server)
        for _ in range(20):
            edited.stays()
        return sleeps(edited.server) - before < 10

    edited.edit(workers=1, busy_poll='"10ms"')
    eventually(polls, "the server polls")
    edited.edit(workers=1)
    eventually(lambda: not polls(), "the server sleeps")


def look(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect(str(path))
        pieces = []
        while piece := sock.recv(1 << 16):
            pieces.append(piece)
    return json.loads(b"".join(pieces))


def status_of(edited, service):
    document = look(edited.server.runtime / "status.sock")
    return next(one for one in document["services"] if one["name"] == service)


@setting("status_socket")
def status_socket(etcp):
    edited = Edited(etcp)
    old, new = edited.server.runtime / "status.sock", etcp.path / "other.sock"
    assert look(old)["program"] == "etcp-server"
    edited.edit(status_socket='"%s"' % new)
    assert look(new)["program"] == "etcp-server"
    eventually(lambda: not old.exists(), "the old status socket is gone")
    edited.edit(status_socket='"none"')
    eventually(lambda: not new.exists(), "there is no status socket")


@setting("metrics.bind")
def metrics_bind(etcp):
    edited = Edited(etcp)
    edited.edit(rest=ECHO + 'metrics { bind = "127.0.0.1:0" }\n')
    port = int(edited.server.log.wait(r"metrics on 127\.0\.0\.1:(\d+)").group(1))
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in sock.recv(100)
    edited.edit()
    with pytest.raises(ConnectionRefusedError):
        peer.open_socket(("127.0.0.1", port))


@setting("limits.max_connections")
def max_connections(etcp):
    edited = Edited(etcp)
    edited.serves().close()
    edited.edit(limits="max_connections = 1")
    assert edited.refused()
    edited.edit(limits="max_connections = 2")
    eventually(lambda: not edited.refused(), "room for one more")


@setting("limits.max_connections_per_address")
def max_connections_per_address(etcp):
    edited = Edited(etcp)
    edited.serves().close()
    edited.edit(limits="max_connections_per_address = 1")
    assert edited.refused()
    edited.edit()
    eventually(lambda: not edited.refused(), "room for one more")


@setting("limits.max_handshakes")
def max_handshakes(etcp):
    edited = Edited(etcp)
    strangers = [etcp.socket(edited.server) for _ in range(4)]
    edited.serves()
    edited.edit(limits="max_handshakes = 4")
    eventually(edited.refused, "strangers fill the handshakes")
    for stranger in strangers:
        stranger.close()
    eventually(lambda: not edited.refused(), "room for another one")


@setting("limits.max_streams")
def max_streams(etcp):
    edited = Edited(etcp, limits="max_streams = 1")
    edited.edit(limits="max_streams = 2")
    connection = edited.connect()
    for _ in range(2):
        connection.echo(connection.open(), b"room")
    assert connection.expect(peer.ERROR, connection.open(), skip=(peer.CREDIT,)).code == peer.CODE_LIMIT


@setting("limits.handshake_timeout")
def handshake_timeout(etcp):
    edited = Edited(etcp, limits='handshake_timeout = "10min"')
    edited.edit(limits='handshake_timeout = "100ms"')
    etcp.socket(edited.server).receive_end()


@setting("limits.idle_timeout")
def idle_timeout(etcp):
    edited = Edited(etcp)
    edited.edit(limits='idle_timeout = "100ms"')
    frames, how = edited.connect().frames_to_end()
    assert frames[-1].id == peer.GOODBYE and how == "fin"
    edited.stays()  # its stream is open


@setting("limits.max_message")
def max_message(etcp):
    edited = Edited(etcp, classic="true")
    assert classic_echo(etcp, edited, b"x" * 2000)
    edited.edit(classic="true", limits='max_message = "1KiB"')
    assert not classic_echo(etcp, edited, b"x" * 2000)
    assert classic_echo(etcp, edited, b"x" * 500)


@setting("heartbeat.interval")
def heartbeat_interval(etcp):
    edited = Edited(etcp, rest=ECHO + 'heartbeat { interval = "30min" timeout = "1h" }\n')
    edited.edit(rest=ECHO + 'heartbeat { interval = "50ms" timeout = "1h" }\n')
    connection = edited.connect()
    connection.answer_heartbeats = False
    assert connection.expect(peer.HEARTBEAT).kind == peer.ASK


@setting("heartbeat.timeout")
def heartbeat_timeout(etcp):
    edited = Edited(etcp, rest=ECHO + 'heartbeat { interval = "50ms" timeout = "1h" }\n')
    edited.edit(rest=ECHO + 'heartbeat { interval = "50ms" timeout = "300ms" }\n')
    edited.connect()  # nobody reads from it, so nobody answers
    edited.server.log.wait("disconnected: .*dead-peer")
    edited.stays()


@setting("service.type")
def service_type(etcp):
    edited = Edited(etcp)
    connection = edited.connect()
    assert connection.expect(peer.ERROR, connection.open("more")).code == peer.CODE_NO_SUCH_SERVICE
    edited.edit(rest=ECHO + 'service "more" { type = "echo" allow = {"*"} }\n')
    connection.echo(connection.open("more"), b"more")
    edited.edit()
    assert connection.expect(peer.ERROR, connection.open("more"), skip=(peer.CREDIT, peer.ERROR)).code


@setting("service.allow")
def service_allow(etcp):
    named = 'service "echo" { type = "echo" allow = {%s} }\n'
    second = peer.new_secret()
    etcp.authorize(peer.public_of(second), "second")
    edited = Edited(etcp, rest=named % '"agent"')
    connection = edited.connect(static=second)
    assert connection.expect(peer.ERROR, connection.open()).code in (peer.CODE_UNAUTHORIZED, peer.CODE_NO_SUCH_SERVICE)
    edited.edit(rest=named % '"agent", "second"')
    edited.serves(static=second)


class Forwarded(Edited):
    """The same with a service "test" that leads to a backend."""

    def __init__(self, etcp, options=""):
        self.backend = etcp.keep(socket.create_server(("127.0.0.1", 0)))
        self.backend.settimeout(TIMEOUT)
        super().__init__(etcp, rest=self.services(options))

    def services(self, options, to=None):
        return ECHO + 'service "test" { type = "forward" to = "127.0.0.1:%d" allow = {"agent"} %s }\n' % (
            (to or self.backend).getsockname()[1],
            options,
        )

    def reaches(self, backend=None):
        """(the connection and the stream, the backend's socket) after a byte has passed."""
        connection = self.connect()
        stream = connection.open("test")
        sock, _ = (backend or self.backend).accept()
        sock.settimeout(TIMEOUT)
        self.etcp.keep(sock)
        sock.sendall(b"x")
        assert connection.expect(peer.DATA, stream).body == b"x"
        return connection, stream, sock


@setting("service.to")
def service_to(etcp):
    edited = Forwarded(etcp)
    _, _, old = edited.reaches()
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(TIMEOUT)
        edited.edit(rest=edited.services("", other))
        edited.reaches(other)
    old.sendall(b"goes on")


@setting("service.connect_timeout")
def service_connect_timeout(etcp):
    edited = Forwarded(etcp)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in first, second:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        edited.edit(rest=edited.services('connect_timeout = "100ms"', full))
        connection = edited.connect()
        assert connection.expect(peer.ERROR, connection.open("test")).code == peer.CODE_TIMEOUT


@setting("service.proxy_protocol")
def service_proxy_protocol(etcp):
    edited = Forwarded(etcp)
    edited.reaches()
    edited.edit(rest=edited.services('proxy_protocol = "v1"'))
    _, _, sock = edited.reaches()
    assert sock.recv(100) == b"PROXY UNKNOWN\r\n"


@setting("service.keepalive")
def service_keepalive(etcp):
    edited = Forwarded(etcp, 'keepalive = "0"')
    for options, expected in (('keepalive = "0"', False), ('keepalive = "10s"', True)):
        edited.edit(rest=edited.services(options))
        _, _, sock = edited.reaches()
        here, there = sock.getsockname()[1], sock.getpeername()[1]
        eventually(lambda: has_keepalive(there, here) == expected, "keepalive as it was set")


@setting("service.user_timeout")
def service_user_timeout(etcp):
    """A backend that takes nothing for so long is given up."""
    edited = Forwarded(etcp)
    edited.backend.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    edited.edit(rest=edited.services('user_timeout = "300ms"'))
    connection, stream, _ = edited.reaches()
    limit, sent = peer.WINDOW, 0
    while True:
        while sent < limit:
            connection.send_frame(peer.frame(peer.DATA, stream, bytes(min(32768, limit - sent))))
            sent += min(32768, limit - sent)
        got = connection.receive_frame()
        if got.id == peer.CREDIT:
            limit = got.limit
        else:
            assert (got.id, got.code) == (peer.ERROR, peer.CODE_RESET)
            break


def test_every_setting_has_a_test(etcp):
    dump = etcp.finished("etcp-server", "-T", "-c", etcp.write("server.conf", etcp.server_text()))
    assert dump.status == 0, dump.log.text
    settings, section = set(), ""
    for line in dump.out.text.splitlines():
        if opened := re.match(r'(\w+)(?: "[^"]*")? \{', line):
            section = opened.group(1) + "."
        elif line.startswith("}"):
            section = ""
        else:
            settings.add(section + re.match(r"\s*(\w+) = ", line).group(1))
    assert settings == set(TESTS)


@pytest.mark.parametrize("name", TESTS)
def test_edit_and_reload(etcp, name):
    TESTS[name](etcp)
