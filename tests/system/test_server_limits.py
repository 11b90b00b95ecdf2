# SPDX-License-Identifier: MIT
"""What etcp-server does at its limits, and with addresses it can't have."""

import os
import socket
import time

import pytest

import etcp_peer as peer
from harness import EX_CONFIG, EX_NOPERM, EX_OSERR, EX_UNAVAILABLE, TIMEOUT, eventually

KEEP = 'handshake_timeout = "10s"'


def refusal_of(wire):
    """Sends a request and returns the code of the Refusal, or None for an Encryption Response."""
    wire.send(peer.AgentHandshake(wire.sock, peer.CHACHA).request())
    first = wire.receive(1)[0]
    return wire.receive(1)[0] if first == peer.REFUSAL else None


def gets_in(etcp, server):
    connection = peer.connect(server.address, peer.CHACHA, etcp.agent_secret)
    connection.echo(connection.open(), b"in")
    connection.goodbye()
    connection.frames_to_end()
    connection.close()
    return True


def from_address(server, source):
    """A stranger's connection from another address of the loopback."""
    sock = socket.socket()
    sock.bind((source, 0))
    sock.settimeout(TIMEOUT)
    sock.connect(server.address)
    return peer.Wire(sock)


def turned_away(etcp, server, source="127.0.0.1"):
    """Whether one connection more gets nowhere: closed, or refused as busy."""
    with from_address(server, source) as wire:
        try:
            code = refusal_of(wire)
            if code is not None:
                assert code == peer.REFUSED_BUSY
                wire.receive_end()
            return code is not None
        except (peer.Ended, OSError):
            return True


def test_port_in_use(etcp):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        server = etcp.server_without_waiting(bind='{"%s"}' % address)
        assert server.wait() == EX_UNAVAILABLE
        assert address in server.log.text and "the address is in use" in server.log.text


def test_addresses_that_a_user_may_not_have(etcp, ordinary):
    user, folder = ordinary
    (folder / "s.key").write_text(peer.key_text("sec", bytes(range(32))) + "\n")
    (folder / "s.key").chmod(0o600)
    if user is not None:
        os.chown(folder / "s.key", user, user)
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
        if int(file.read()) <= 1000:
            pytest.skip("anybody may listen on ports below 1024 here")
    for address, says in (
        ("127.0.0.1:1000", "ports below 1024 are root's"),
        ("unix:/etc/etcp-test.sock", "this user may not make files in its folder"),
    ):
        text = 'bind = {"%s"}\nidentity = "%s/s.key"\nstatus_socket = "none"\nservice "echo" { type = "echo" allow = {"*"} }\n' % (address, folder)
        (folder / "s.conf").write_text(text)
        server = etcp.finished("etcp-server", "-c", "s.conf", user=user, cwd=folder)
        assert server.status == EX_NOPERM, server.log.text
        assert "can't listen on %s: Permission denied: %s" % (address, says) in server.log.text


def test_port_in_use_by_another_server(etcp):
    first = etcp.server()
    second = etcp.server_without_waiting(name="second.conf", bind='{"127.0.0.1:%d"}' % first.port)
    assert second.wait() == EX_UNAVAILABLE
    assert gets_in(etcp, first)


def test_one_of_several_addresses_in_use(etcp):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = etcp.server_without_waiting(bind='{"127.0.0.1:0", "127.0.0.1:%d"}' % taken.getsockname()[1])
        assert server.wait() == EX_UNAVAILABLE


def test_address_that_does_not_resolve(etcp):
    server = etcp.server_without_waiting(bind='{"no-such-host.invalid:1337"}')
    assert server.wait() in (EX_UNAVAILABLE, EX_CONFIG)
    assert "no-such-host.invalid" in server.log.text


def test_address_that_is_not_of_this_machine(etcp):
    server = etcp.server_without_waiting(bind='{"192.0.2.1:0"}')
    assert server.wait() in (EX_UNAVAILABLE, EX_OSERR)
    assert "192.0.2.1" in server.log.text


def test_port_that_needs_a_right(etcp):
    path = etcp.path / "there" / "x.sock"
    server = etcp.server_without_waiting(bind='{"unix:%s"}' % path)
    assert server.wait() in (EX_UNAVAILABLE, EX_OSERR)
    assert str(path) in server.log.text


def test_several_addresses_and_a_unix_socket(etcp):
    path = etcp.path / "s.sock"
    server = etcp.server(bind='{"127.0.0.1:0", "unix:%s"}' % path)
    assert gets_in(etcp, server)
    eventually(path.exists, "the Unix socket")
    connection = etcp.keep(peer.connect(str(path), peer.CHACHA, etcp.agent_secret))
    connection.echo(connection.open(), b"by unix")


def test_more_connections_than_the_limit(etcp):
    server = etcp.server(limits="max_connections = 3 " + KEEP)
    kept = [etcp.connect(server) for _ in range(3)]
    assert all(turned_away(etcp, server) for _ in range(3))
    for connection in kept:
        connection.heartbeat()
    kept.pop().close()
    eventually(lambda: not turned_away(etcp, server), "room for another one")


def test_more_connections_of_one_address_than_the_limit(etcp):
    server = etcp.server(bind='{"127.0.0.1:0"}', limits="max_connections_per_address = 2 " + KEEP)
    kept = [etcp.connect(server) for _ in range(2)]
    assert turned_away(etcp, server)
    assert not turned_away(etcp, server, "127.0.0.2"), "another address has its own count"
    for connection in kept:
        connection.heartbeat()
    kept[0].goodbye()
    kept[0].frames_to_end()
    eventually(lambda: not turned_away(etcp, server), "room for another one")


def test_unauthenticated_connections_are_bounded(etcp):
    """In total, and of one address to a part of the total, so that one stranger can't keep the others out."""
    server = etcp.server(limits="max_handshakes = 16 " + KEEP)
    established = etcp.connect(server)
    strangers = [etcp.keep(from_address(server, "127.0.0.9")) for _ in range(20)]
    eventually(lambda: turned_away(etcp, server, "127.0.0.9"), "one address has its part of the handshakes")
    assert gets_in(etcp, server), "another address is served"
    for last in range(10, 40):
        strangers.append(etcp.keep(from_address(server, "127.0.0.%d" % last)))
    eventually(lambda: turned_away(etcp, server, "127.0.0.50"), "strangers fill the handshakes")
    established.heartbeat()
    for stranger in strangers:
        stranger.close()
    eventually(lambda: not turned_away(etcp, server, "127.0.0.50"), "room for another one")
    assert gets_in(etcp, server)


def test_with_a_network_key_a_full_server_is_silent_to_strangers(etcp):
    """Nothing is sent before the token has decrypted, no Refusal either; a member is told why."""
    key = etcp.new_key("net", "network.key")
    server = etcp.server(limits="max_connections = 1 " + KEEP, network_key_file='"%s"' % (etcp.path / "network.key"))
    member = etcp.connect(server, suite=peer.CHACHA_NETWORK, network_key=key)
    for suite, wrong in ((peer.CHACHA, None), (peer.CHACHA_NETWORK, bytes(32)), (peer.AES_NETWORK, bytes(32))):
        with peer.Wire(peer.open_socket(server.address)) as wire:
            wire.send_anyway(peer.AgentHandshake(wire.sock, suite, network_key=wrong).request())
            wire.receive_end()
    with peer.Wire(peer.open_socket(server.address)) as wire:
        wire.send_anyway(peer.AgentHandshake(wire.sock, peer.CHACHA_NETWORK, network_key=key).request())
        assert wire.receive_to_end() in (b"", bytes([peer.REFUSAL, peer.REFUSED_BUSY]))
    member.heartbeat()


def test_silent_and_slow_strangers_are_cut(etcp):
    """The time is one for the whole handshake, however the bytes trickle in."""
    server = etcp.server(limits='handshake_timeout = "400ms"')
    shake = peer.AgentHandshake(peer.open_socket(server.address), peer.CHACHA, etcp.agent_secret)
    etcp.keep(shake)
    request = shake.request()
    silent, halfway, trickling = etcp.socket(server), etcp.socket(server), etcp.socket(server)
    halfway.send(request[:20])
    shake.send(request)
    shake.receive_response()
    started = time.monotonic()
    trickling.sock.settimeout(0.02)
    for position in range(10**6):
        try:
            trickling.sock.sendall(request[position % 30 : position % 30 + 1] if position < 30 else b"")
            if trickling.sock.recv(1) == b"":
                break
        except TimeoutError:
            assert time.monotonic() < started + 20, "the trickling stranger is not cut"
        except OSError:
            break
    for wire in (silent, halfway, shake):
        wire.receive_end()
    assert gets_in(etcp, server)


def test_slow_but_in_time_is_fine(etcp):
    server = etcp.server()
    shake = peer.AgentHandshake(peer.open_socket(server.address), peer.CHACHA, etcp.agent_secret)
    etcp.keep(shake)
    for byte in shake.request():
        shake.send(bytes([byte]))
    shake.receive_response()
    for byte in shake.authentication():
        shake.send(bytes([byte]))
    connection = shake.connection()
    for byte in connection.seal(peer.heartbeat_frame(peer.ASK)):
        connection.send(bytes([byte]))
    assert connection.expect(peer.HEARTBEAT).kind == peer.ANSWER


def test_out_of_file_descriptors(etcp):
    """Accepting pauses, which is said once, and resumes; established connections go on."""
    server = etcp.server(options={"files": 40}, limits="max_connections = 1000 " + KEEP)
    established = etcp.connect(server)
    strangers = [etcp.socket(server) for _ in range(60)]
    server.log.wait(r"accept paused")
    established.echo(established.open(), b"still here")
    assert len(server.log.lines(r"accept paused")) == 1
    for stranger in strangers:
        stranger.close()
    assert gets_in(etcp, server)
    established.heartbeat()


def test_too_few_file_descriptors_at_the_start(etcp):
    server = etcp.server_without_waiting(options={"files": 6})
    assert server.wait() in (EX_OSERR, EX_UNAVAILABLE, EX_CONFIG)
    assert server.log.text


def test_streams_above_the_limit(etcp):
    server = etcp.server(limits="max_streams = 3")
    connection = etcp.connect(server)
    kept = [connection.open() for _ in range(3)]
    fourth = connection.open()
    assert connection.expect(peer.ERROR, fourth).code == peer.CODE_LIMIT
    for stream in kept:
        connection.echo(stream, b"x")
    connection.send_frame(peer.frame(peer.CLOSE, kept[0]))
    connection.expect(peer.CLOSE, kept[0], skip=(peer.CREDIT,))
    connection.echo(connection.open(), b"room again")


def test_idle_connections_are_closed(etcp):
    server = etcp.server(limits='idle_timeout = "300ms"')
    connection = etcp.connect(server)
    frames, how = connection.frames_to_end()
    assert frames[-1].id == peer.GOODBYE and how == "fin"


def test_an_agent_that_reads_nothing_is_bounded(etcp):
    """The echo of what it sends is not taken: the server stops reading, and others are served all the same."""
    server = etcp.server()
    flood = etcp.connect(server)
    stream = flood.open()
    flood.send_frame(peer.credit_frame(stream, 0, 2**40))
    flood.sock.setblocking(False)
    block = b"".join(flood.seal(peer.heartbeat_frame(peer.ASK)) for _ in range(2000))
    sent, stalled = 0, False
    while sent < 400 and not stalled:
        view = memoryview(block)
        deadline = time.monotonic() + 1
        while view:
            try:
                view = view[flood.sock.send(view) :]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    stalled = True
                    break
                time.sleep(0.01)
        sent += 1
        block = b"".join(flood.seal(peer.heartbeat_frame(peer.ASK)) for _ in range(2000))
    assert stalled, "400 x 2000 heartbeats were read although no answer was taken"
    assert gets_in(etcp, server)
    assert (server.resident_bytes() or 0) < 100 << 20


@pytest.mark.parametrize("name", ["nosuch", "echo2", "a.b-c_d"])
def test_no_such_service(etcp, name):
    connection = etcp.connect(etcp.server())
    stream = connection.open(name)
    assert connection.expect(peer.ERROR, stream).code == peer.CODE_NO_SUCH_SERVICE
    connection.heartbeat(skip=())
