# SPDX-License-Identifier: MIT
"""Local connections carried to a backend: from a port of the agent's to one behind the server."""

import contextlib
import errno
import os
import pathlib
import signal
import socket
import struct
import threading
import time

import pytest

import etcp_peer as peer
from harness import TIMEOUT, eventually, free_port, has_keepalive
from relay import Path
from traffic import ID_BYTES, Traffic
from tunnel import Tunnel, allow_descriptors, connects_to_reset, exchange, fill, is_reset, read_to_end, receive, reset, status


def processor_seconds(daemon):
    with open(f"/proc/{daemon.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("up", (True, False))
def test_a_pause_after_bulk_on_a_shared_connection_costs_nothing(etcp, up):
    """The stream had turns while it had more to send. It must not ask for another when its socket is dry."""
    tunnel = Tunnel(etcp, agent={"spare_connections": 0, "max_connections": 1})
    pairs = [tunnel.pair() for _ in range(3)]
    for client, backend in pairs:
        exchange(client, backend)
        sender, receiver = (client, backend) if up else (backend, client)
        data = os.urandom(16347 * 200)
        thread = threading.Thread(target=sender.sendall, args=(data,))
        thread.start()
        assert receive(receiver, len(data)) == data
        thread.join(TIMEOUT)
    before = [processor_seconds(daemon) for daemon in (tunnel.agent, tunnel.server)]
    time.sleep(1)  # what is looked at is that nothing happens
    used = [processor_seconds(daemon) - was for daemon, was in zip((tunnel.agent, tunnel.server), before)]
    assert max(used) < 0.5, used
    for client, backend in pairs:
        exchange(client, backend)


# ---- Ends


def test_half_close_of_the_client(etcp):
    client, backend = Tunnel(etcp).pair()
    client.sendall(b"request")
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(backend) == b"request"
    for _ in range(10):
        backend.sendall(b"x" * 100000)
        assert receive(client, 100000)
    backend.close()
    assert client.recv(1) == b""


def test_half_close_of_the_backend(etcp):
    client, backend = Tunnel(etcp).pair()
    backend.sendall(b"greeting")
    backend.shutdown(socket.SHUT_WR)
    assert read_to_end(client) == b"greeting"
    for _ in range(10):
        client.sendall(b"x" * 100000)
        assert receive(backend, 100000)
    client.close()
    assert backend.recv(1) == b""


def test_close_right_after_sending_loses_nothing(etcp):
    tunnel = Tunnel(etcp)
    data = os.urandom(3_000_000)
    for sender, receiver in (tunnel.pair(), tunnel.pair()[::-1]):
        thread = threading.Thread(target=lambda: (sender.sendall(data), sender.close()))
        thread.start()
        assert read_to_end(receiver) == data
        receiver.close()
        thread.join(TIMEOUT)


def test_reset_of_the_client(etcp):
    client, backend = Tunnel(etcp).pair()
    exchange(client, backend)
    reset(client)
    assert is_reset(backend)


def test_reset_of_the_backend(etcp):
    client, backend = Tunnel(etcp).pair()
    exchange(client, backend)
    reset(backend)
    assert is_reset(client)


def test_reset_after_a_half_close(etcp):
    tunnel = Tunnel(etcp)
    for first, second in (tunnel.pair(), tunnel.pair()[::-1]):
        exchange(first, second)
        first.shutdown(socket.SHUT_WR)
        assert second.recv(1) == b""
        reset(first)
        eventually(lambda: socket_error(second) in (errno.ECONNRESET, errno.EPIPE), "the reset is passed on")


def socket_error(sock):
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def test_reset_while_the_other_side_does_not_read(etcp):
    tunnel = Tunnel(etcp)
    for sender, stalled in (tunnel.pair(), tunnel.pair()[::-1]):
        fill(sender)
        reset(sender)
        assert is_reset(stalled)


def test_reset_by_unread_data(etcp):
    """A close with data that nobody has read is a reset in TCP; so it is through the tunnel."""
    tunnel = Tunnel(etcp)
    for closer, other in (tunnel.pair(), tunnel.pair()[::-1]):
        exchange(closer, other)
        other.sendall(b"never read")
        eventually(lambda: closer.recv(100, socket.MSG_PEEK) == b"never read", "arrived")
        closer.close()
        assert is_reset(other)


def test_writing_to_a_client_that_has_gone_is_a_reset(etcp):
    tunnel = Tunnel(etcp)
    client, backend = tunnel.pair()
    client.sendall(b"bye")
    client.close()
    assert read_to_end(backend) == b"bye"

    def write():
        try:
            backend.sendall(b"x" * 1000)
        except (ConnectionResetError, BrokenPipeError):
            return True
        return False

    eventually(write, "the reset is passed on")


def test_nothing_is_left_behind(etcp):
    tunnel = Tunnel(etcp, agent={"spare_connections": 0, "max_connections": 1})
    exchange(*tunnel.pair())
    before = tunnel.server.descriptors(), tunnel.agent.descriptors()
    for way in range(12):
        pair = tunnel.pair()
        exchange(*pair)
        first, second = pair if way % 2 else pair[::-1]
        if way < 4:
            first.shutdown(socket.SHUT_WR)
        elif way < 8:
            reset(first)
        first.close()
        second.close()
    eventually(
        lambda: tunnel.server.descriptors() <= before[0] and tunnel.agent.descriptors() <= before[1],
        "all descriptors closed",
    )


# ---- Reaching the backend


def refused(etcp, tunnel, pattern):
    """A local connection is reset, and the agent's log says why, once."""
    assert connects_to_reset(tunnel)
    return tunnel.agent.log.wait("forward test: connection of .* to service test refused by the server: .*" + pattern)


def test_backend_down(etcp):
    port = free_port()
    tunnel = Tunnel(etcp, to="127.0.0.1:%d" % port)
    refused(etcp, tunnel, r"connect-failed \(the backend: Connection refused\); look at what the service leads to, behind the server")
    tunnel.server.log.wait(r"backend failed: service=test to=127.0.0.1:%d .*Connection refused" % port)
    with socket.create_server(("127.0.0.1", port)) as tunnel.listener:
        exchange(*tunnel.pair())


def test_backend_is_a_name(etcp):
    tunnel = Tunnel(etcp, start=False)
    tunnel.service = tunnel.service.replace("127.0.0.1:", "localhost:")
    tunnel.start_server()
    tunnel.start_agent(tunnel.server.port)
    for client, backend in [tunnel.pair() for _ in range(20)]:
        exchange(client, backend)


def test_backend_with_a_name_that_is_not_there(etcp):
    tunnel = Tunnel(etcp, to="no-such-host.invalid:80")
    refused(etcp, tunnel, r"connect-failed")
    tunnel.server.log.wait(r"backend failed: service=test to=no-such-host.invalid:80")


def test_backend_that_does_not_answer(etcp):
    """A full backlog: the kernel drops what comes, and connecting hangs."""
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        tunnel = Tunnel(etcp, to="127.0.0.1:%d" % full.getsockname()[1], service='connect_timeout = "200ms"')
        refused(etcp, tunnel, r"timeout \(the backend: Connection timed out\)")


def test_unauthorised_agents_reach_nothing(etcp):
    tunnel = Tunnel(etcp, allow='{"somebody-else"}')
    refused(etcp, tunnel, "unauthorized .*; the server.s administrator must put this agent.s name into")
    tunnel.listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        tunnel.listener.accept()


def test_a_service_that_is_not_there(etcp):
    tunnel = Tunnel(etcp, start=False)
    tunnel.service = ""
    tunnel.start_server()
    tunnel.start_agent(tunnel.server.port)
    refused(etcp, tunnel, "no-such-service.*; name a service that")


def test_an_agent_that_is_no_longer_allowed_is_cut(etcp):
    tunnel = Tunnel(etcp, allow='{"agent"}')
    client, backend = tunnel.pair()
    exchange(client, backend)
    text = tunnel.server.config.read_text().replace('{"agent"}', '{"nobody"}')
    tunnel.server.config.write_text(text)
    tunnel.server.signal(signal.SIGHUP)
    assert is_reset(client)
    assert is_reset(backend)


class UnixPairs:
    """What connects to a tunnel between Unix sockets: () -> (client, backend)."""

    def __init__(self, tunnel, path):
        self.tunnel, self.path = tunnel, path

    def connect(self):
        client = self.tunnel.etcp.keep(socket.socket(socket.AF_UNIX))
        client.settimeout(TIMEOUT)
        client.connect(str(self.path))
        return client

    def __call__(self):
        return self.connect(), self.tunnel.accept()


@contextlib.contextmanager
def unix_tunnel(etcp, **options):
    backend_path, local_path = etcp.path / "backend.sock", etcp.path / "local.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(backend_path))
        listener.listen(10)
        tunnel = Tunnel(etcp, to="unix:%s" % backend_path, listen="unix:%s" % local_path, **options)
        tunnel.listener = listener
        yield UnixPairs(tunnel, local_path)


def test_unix_backend_and_unix_listener(etcp):
    with unix_tunnel(etcp) as pair:
        for _ in range(3):
            client, backend = pair()
            exchange(client, backend)
            client.shutdown(socket.SHUT_WR)
            assert backend.recv(1) == b""
            thread = threading.Thread(target=lambda: (backend.sendall(b"x" * 500000), backend.close()))
            thread.start()
            assert len(read_to_end(client)) == 500000
            thread.join(TIMEOUT)


def test_a_backend_is_not_the_dial_itself(etcp):
    """Nobody listens there, and the port is the next that the kernel gives to who connects."""
    if os.geteuid() != 0 or [name for _, name in socket.if_nameindex()] != ["lo"]:
        pytest.skip("machine: the network is everybody's")
    port = 40000
    tunnel = Tunnel(etcp, to="127.0.0.1:%d" % port, start=False)
    tunnel.start_server()
    connection = etcp.connect(tunnel.server)
    ports = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
    before = ports.read_text()
    try:
        ports.write_text("%d %d" % (port, port + 1))
        for _ in range(4):
            stream = connection.open("test")
            assert connection.expect(peer.ERROR, stream).code == peer.CODE_CONNECT_FAILED
        etcp.keep(socket.socket()).bind(("127.0.0.1", port))
    finally:
        ports.write_text(before)


def test_a_unix_backend_whose_queue_is_full_is_waited_for(etcp):
    with unix_tunnel(etcp) as pair:
        listener = pair.tunnel.listener
        listener.listen(0)
        client, backend = pair()
        exchange(client, backend)
        others = []
        with pytest.raises(BlockingIOError):
            while True:
                others.append(etcp.keep(socket.socket(socket.AF_UNIX)))
                others[-1].setblocking(False)
                others[-1].connect(listener.getsockname())
        client = pair.connect()
        eventually(lambda: status(pair.tunnel.server)["totals"]["streams"] == 2, "the second stream")
        assert "backend failed" not in pair.tunnel.server.log.text
        for _ in others[:-1]:
            pair.tunnel.accept()
        exchange(client, pair.tunnel.accept())


def test_what_backends_do_not_read_has_a_bound(etcp):
    """Streams that are over but for what the backend does not take: without limit they would be, connection after connection."""
    allow_descriptors(4096)
    with unix_tunnel(etcp, limits="max_streams = 1000") as pair:
        for _ in range(300):
            client, backend = pair()
            backend.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            client.sendall(b"x" * 400_000)  # of which the socket takes half
            client.close()
        before = pair.tunnel.server.descriptors()
        eventually(lambda: status(pair.tunnel.agent)["forwarded"]["open"] == 0, "the end of the local connections")
        pair.tunnel.agent.kill()
        pair.tunnel.server.log.wait("disconnected")
        eventually(lambda: not status(pair.tunnel.server)["connections"], "the end of the connections")
        assert before - 300 < pair.tunnel.server.descriptors() <= before - 300 + 256 + 4


def test_a_unix_backend_whose_queue_stays_full(etcp):
    with unix_tunnel(etcp, service='connect_timeout = "200ms"') as pair:
        listener = pair.tunnel.listener
        listener.listen(0)
        etcp.keep(socket.socket(socket.AF_UNIX)).connect(listener.getsockname())
        assert pair.connect().recv(1) == b""  # a Unix socket knows no reset
        pair.tunnel.server.log.wait('backend failed: .* reason="its queue of connections is full"')
        pair.tunnel.agent.log.wait("refused by the server: timeout")


@pytest.mark.parametrize("piece", (1000, 30000, 1 << 20))
def test_unix_sockets_push_back(etcp, piece):
    """A Unix socket's buffer holds less the smaller the pieces are. What is taken while nobody reads is bounded; all arrives."""
    data = os.urandom(8_000_000)
    with unix_tunnel(etcp) as pair:
        for sender, receiver in (pair(), pair()[::-1]):
            sent = fill(sender, data, piece)
            assert sent < len(data)
            thread = threading.Thread(target=lambda: (sender.sendall(data[sent:]), sender.close()))
            thread.start()
            assert read_to_end(receiver) == data
            thread.join(TIMEOUT)


def test_ipv6_listener(etcp):
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("machine: no IPv6")
    tunnel = Tunnel(etcp, listen="[::1]:0")
    port = int(tunnel.agent.log.wait(r"listening on \[::1\]:(\d+): forward test").group(1))
    client = tunnel.connect(("::1", port))
    exchange(client, tunnel.accept())


@pytest.mark.parametrize("setting", ("", 'keepalive = "0"'))
def test_keepalive(etcp, setting):
    tunnel = Tunnel(etcp, service=setting, forward=setting)
    client, backend = tunnel.pair()
    exchange(client, backend)
    for end in client, backend:
        here, there = end.getsockname()[1], end.getpeername()[1]
        eventually(lambda: has_keepalive(there, here) == (setting == ""), "keepalive as it was set")


# ---- The PROXY protocol

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def read_v2(sock):
    head = receive(sock, 16)
    assert head[:12] == SIGNATURE and head[12] == 0x21
    body = receive(sock, struct.unpack(">H", head[14:])[0])
    size = {0x11: 12, 0x21: 36, 0x00: 0}[head[13]]
    tlvs, rest = {}, body[size:]
    while rest:
        kind, length = struct.unpack(">BH", rest[:3])
        tlvs[kind] = rest[3 : 3 + length]
        rest = rest[3 + length :]
    return head[13], body[:size], tlvs


def test_proxy_v1(etcp):
    tunnel = Tunnel(etcp, service='proxy_protocol = "v1"')
    client, backend = tunnel.pair()
    expected = "PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (
        client.getsockname()[1],
        tunnel.listener.getsockname()[1],
    )
    assert receive(backend, len(expected)) == expected.encode()
    exchange(client, backend)


def test_proxy_v2(etcp):
    tunnel = Tunnel(etcp, service='proxy_protocol = "v2"')
    ids = set()
    for _ in range(3):
        client, backend = tunnel.pair()
        client.sendall(b"early")
        family, line, tlvs = read_v2(backend)
        assert family == 0x11
        loopback = socket.inet_aton("127.0.0.1")
        assert line == loopback + loopback + struct.pack(
            ">HH", client.getsockname()[1], tunnel.listener.getsockname()[1]
        )
        assert tlvs[0xE0] == b"agent"
        assert tlvs[0xE1].decode() == peer.key_text("pub", etcp.agent_public)
        assert set(tlvs) == {0x05, 0xE0, 0xE1}
        ids.add(tlvs[0x05])
        assert backend.recv(100) == b"early"
        exchange(client, backend)
    assert len(ids) == 3


def test_proxy_of_a_client_without_address(etcp):
    path = etcp.path / "local.sock"
    for version, expected in (("v1", b"PROXY UNKNOWN\r\n"), ("v2", SIGNATURE + b"\x21\x00")):
        tunnel = Tunnel(etcp, listen="unix:%s" % path, service='proxy_protocol = "%s"' % version)
        client = etcp.keep(socket.socket(socket.AF_UNIX))
        client.connect(str(path))
        backend = tunnel.accept()
        assert receive(backend, len(expected)) == expected
        tunnel.agent.stop()
        tunnel.server.stop()


# ---- Load


class Bookkeeping:
    """What both daemons hold before a load: afterwards they hold as much, to the last descriptor."""

    FRUGAL = {
        "spare_connections": 0,
        "idle_close": '"100ms"',
        "log_level": '"info"',
    }  # connections go when they are idle

    def __init__(self, tunnel):
        allow_descriptors(4096)
        self.tunnel = tunnel
        self.daemons = tunnel.server, tunnel.agent
        self.before = self.descriptors()

    def descriptors(self):
        return [daemon.descriptors() for daemon in self.daemons]

    def service(self):
        (service,) = (one for one in status(self.tunnel.server)["services"] if one["name"] == "test")
        return service

    def check(self):
        eventually(lambda: self.descriptors() == self.before, "all descriptors closed")
        assert [status(daemon)["totals"]["queued_bytes"] for daemon in self.daemons] == [0, 0]
        assert self.service()["streams"] == 0 and status(self.tunnel.agent)["forwarded"]["open"] == 0


def test_a_thousand_connections(etcp):
    """Nothing is left, and the server has counted each byte that went through, once."""
    tunnel = Tunnel(etcp, agent=Bookkeeping.FRUGAL)
    books = Bookkeeping(tunnel)
    traffic = Traffic(tunnel.address, tunnel.listener, 1000, seed=1)
    traffic.run(100)
    assert len(tunnel.server.log.lines(" connected: peer")) <= 64
    books.check()
    service = books.service()
    assert service["streams_total"] == 1000
    assert service["received_bytes"] == sum(ID_BYTES + client.size for client, _ in traffic.pairs)
    assert service["sent_bytes"] == sum(backend.size for _, backend in traffic.pairs)


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_unruly_connections(etcp, seed):
    tunnel = Tunnel(
        etcp,
        agent={**Bookkeeping.FRUGAL, "max_connections": (1, 8, 64)[seed]},
        server={"workers": seed + 1},
        limits="max_streams = 2000",
    )
    books = Bookkeeping(tunnel)
    reset_ones = Traffic(tunnel.address, tunnel.listener, 1000, seed=seed, size=100000, unruly=0.4).run(100)
    assert reset_ones > 50
    books.check()
    exchange(*tunnel.pair())


@pytest.mark.parametrize("connections", (1, 64))
def test_far_more_than_windows_both_ways(etcp, connections):
    """Streams of megabytes, some of which stall or reset: every limit is met, and the others go on."""
    tunnel = Tunnel(etcp, agent={"max_connections": connections, "log_level": '"info"'}, server={"log_level": '"info"'})
    Traffic(tunnel.address, tunnel.listener, 40, seed=connections, size=3_000_000, unruly=0.5).run(100)
    exchange(*tunnel.pair())


@pytest.mark.parametrize("down", (False, True))
def test_window_grows_with_the_path(etcp, down):
    """Where the path holds more than the first window, one stream is not held to that."""
    tunnel = Tunnel(etcp, start=False, agent={"spare_connections": 0})
    tunnel.start_server()
    with Path(tunnel.server.address, 0.02) as path:
        tunnel.start_agent(path.port)
        sender, receiver = tunnel.pair()[:: -1 if down else 1]
        data = os.urandom(12_000_000)
        thread = threading.Thread(target=lambda: (sender.sendall(data), sender.shutdown(socket.SHUT_WR)))
        thread.start()
        assert read_to_end(receiver) == data
        thread.join(TIMEOUT)
        assert path.most_under_way > 3 * 262144
