# SPDX-License-Identifier: MIT
"""What is behind a service, when it is slow to be there, takes nothing, or costs more descriptors than there are."""

import os
import socket

import pytest

import etcp_peer as peer
from harness import BIN, TIMEOUT, eventually, machine_skip
from tunnel import Tunnel, allow_descriptors, fill, receive, status

PIECES = range(0, peer.WINDOW, 16384)
QUIET = 'heartbeat { interval = "1h" timeout = "2h" }\n'
FAILING_SEND = BIN.parent / "tests" / "failing-send.so"


def unix_listener(etcp, backlog):
    path = etcp.path / "backend.sock"
    listener = etcp.keep(socket.socket(socket.AF_UNIX))
    listener.settimeout(TIMEOUT)
    listener.bind(str(path))
    listener.listen(backlog)
    return listener, path


def send_window(etcp, tunnel):
    """A window of data for a backend that is not there yet. Returns the connection, the stream and the data."""
    connection = etcp.connect(tunnel.server)
    connection.answer_heartbeats = False
    stream, data = connection.next_stream, os.urandom(peer.WINDOW)
    frames = [peer.open_frame(stream, "test")] + [peer.frame(peer.DATA, stream, data[at : at + 16384]) for at in PIECES]
    connection.send(b"".join(map(connection.seal, frames)))
    tunnel.server.log.wait("message received: .* bytes=16384", count=len(PIECES))
    return connection, stream, data


def test_credit_for_what_has_waited_for_the_backend(etcp):
    """It goes out when the backend is there: nothing else would bring it along. (The backend's queue is full, so that the kernel
    tries again after a second; and no timer of a handshake comes by.)"""
    listener = etcp.keep(socket.create_server(("127.0.0.1", 0), backlog=0))
    tunnel = Tunnel(etcp, to="127.0.0.1:%d" % listener.getsockname()[1], start=False, limits='handshake_timeout = "60s"')
    tunnel.listener = listener
    tunnel.service += QUIET
    tunnel.start_server()
    etcp.keep(socket.create_connection(listener.getsockname()))
    connection, stream, data = send_window(etcp, tunnel)
    tunnel.accept()
    assert receive(tunnel.accept(), len(data)) == data
    assert connection.expect(peer.CREDIT, stream, skip=(peer.HEARTBEAT,)).stream == stream


@pytest.mark.parametrize("proxy", ["off", "v1", "v2"])
def test_a_header_in_front_of_a_window_takes_no_more_memory(etcp, proxy):
    listener, path = unix_listener(etcp, 0)
    etcp.keep(socket.socket(socket.AF_UNIX)).connect(str(path))
    tunnel = Tunnel(etcp, to="unix:%s" % path, start=False, service='proxy_protocol = "%s"' % proxy)
    tunnel.start_server()
    _, _, data = send_window(etcp, tunnel)
    assert status(tunnel.server)["totals"]["queued_bytes"] == peer.WINDOW
    etcp.keep(listener.accept()[0])
    backend = etcp.keep(listener.accept()[0])
    backend.settimeout(TIMEOUT)
    header = {"off": b"", "v1": b"PROXY ", "v2": b"\r\n\r\n\0\r\nQUIT\n"}[proxy]
    assert receive(backend, len(header)) == header
    assert status(tunnel.server)["totals"]["queued_bytes"] <= peer.WINDOW
    rest = bytearray()
    while not rest.endswith(data[-64:]):
        piece = backend.recv(1 << 18)
        assert piece
        rest += piece
    assert rest.endswith(data) and len(rest) - len(data) < 300


@pytest.mark.parametrize("blocked", [False, True])
def test_a_write_that_fails_for_want_of_memory_is_tried_again(etcp, blocked):
    """While nothing is read from the socket, too, when only errors are waited for."""
    if not FAILING_SEND.exists():
        machine_skip("%s was not built" % FAILING_SEND.name)
    fails = etcp.path / "fails"
    listener, path = unix_listener(etcp, 1)
    tunnel = Tunnel(etcp, to="unix:%s" % path, start=False)
    tunnel.service += QUIET
    options = {"env": {"LD_PRELOAD": str(FAILING_SEND), "FAILING_SEND": str(fails), "ASAN_OPTIONS": "verify_asan_link_order=0"}}
    tunnel.server = etcp.server(rest=tunnel.service, limits='handshake_timeout = "60s"', options=options)
    connection = etcp.connect(tunnel.server)
    stream = connection.open("test")
    backend = etcp.keep(listener.accept()[0])
    if blocked:
        fill(backend)  # no credit comes: the server stops reading
    backend.settimeout(TIMEOUT)
    fails.write_text("")
    connection.send(connection.seal(peer.frame(peer.DATA, stream, b"hello, backend")))
    assert receive(backend, 14) == b"hello, backend"
    assert not fails.exists()


def streams(tunnel):
    return next(one for one in status(tunnel.server)["services"] if one["name"] == "test")["streams"]


def test_one_agent_leaves_descriptors_to_others(etcp):
    """Each stream takes one at the server. Newcomers get in, however many streams there are."""
    allow_descriptors(4096)
    other = etcp.new_key("sec", "other.key")
    etcp.authorize(peer.public_of(other), "other")
    tunnel = Tunnel(etcp, start=False, allow='{"agent", "other"}')
    tunnel.server = etcp.server(rest=tunnel.service, limits="max_connections = 100 max_streams = 256", options={"files": 400})
    connections = [etcp.connect(tunnel.server) for _ in range(2)]
    for connection in connections:
        first = connection.next_stream
        connection.send(b"".join(connection.seal(peer.open_frame(first + 2 * i, "test")) for i in range(200)))
    tunnel.server.log.wait('backend failed: service=test .*reason="backends have all descriptors that they may have')
    assert 250 <= streams(tunnel) < 350
    newcomer = etcp.connect(tunnel.server, static=other)
    newcomer.echo(newcomer.open(), b"let in")
    # What has ended is there for others again.
    for connection in connections:
        connection.close()
    eventually(lambda: streams(tunnel) == 0, "the end of all streams")
    newcomer.send(b"".join(newcomer.seal(peer.open_frame(newcomer.next_stream + 2 * i, "test")) for i in range(100)))
    eventually(lambda: streams(tunnel) == 100, "streams of another agent")
