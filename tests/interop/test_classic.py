# SPDX-License-Identifier: MIT
"""Old peers: a client and a server of the original's wire with etcp-server and etcp-agent."""

import os
import socket
import struct
import subprocess
import sys
import threading

import pytest

import classic_peer
import etcp_peer
import vectors
from harness import TIMEOUT, eventually

HELLO = "Hello from client!"
SCRIPT = classic_peer.__file__


@pytest.fixture
def server(etcp):
    return etcp.server(classic="true", limits='max_message = "64KiB" max_connections_per_address = 1000')


def connect(server):
    return socket.create_connection(server.address, TIMEOUT)


def client_of(etcp, server):
    return classic_peer.client_handshake(etcp.keep(connect(server)))


def expect_fin(channel):
    assert channel.sock.recv(1) == b""


# ---- An old client and etcp-server


@pytest.mark.parametrize("end", ["record", "zero", "fin"])
def test_five_echoes_and_each_way_to_end(server, end):
    run = subprocess.run(
        [sys.executable, "-B", SCRIPT, "client", "127.0.0.1:%d" % server.port, "--end", end],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [HELLO] * 5


def test_it_is_logged_as_unauthenticated(etcp, server):
    channel = client_of(etcp, server)
    channel.send(b"x")
    assert channel.receive() == b"x"
    server.log.wait(r"(?i)(unauthenticated|not authenticated|nobody is authenticated)")


def test_boundaries_of_messages_are_kept(etcp, server):
    channel = client_of(etcp, server)
    messages = [os.urandom(size) for size in (1, 2, 15, 16, 17, 1000, 4096, 16384, 65519, 1)]
    for message in messages:
        channel.send(message)
    assert [channel.receive() for _ in messages] == messages
    channel.end()
    expect_fin(channel)


def test_many_messages_in_one_segment_and_one_message_in_many(etcp, server):
    channel = client_of(etcp, server)
    messages = [b"%d" % n for n in range(500)]
    channel.sock.sendall(b"".join(channel.seal(message) for message in messages))
    assert [channel.receive() for _ in messages] == messages
    for byte in channel.seal(b"one byte at a time"):
        channel.sock.sendall(bytes([byte]))
    assert channel.receive() == b"one byte at a time"


def test_a_slow_reader_gets_everything_in_order(etcp, server):
    channel = client_of(etcp, server)
    message, count = os.urandom(60000), 200
    sender = threading.Thread(target=lambda: [channel.send(message) for _ in range(count)], daemon=True)
    sender.start()
    for _ in range(count):
        assert channel.receive() == message
    sender.join(TIMEOUT)
    channel.end("zero")
    expect_fin(channel)


def test_who_reads_nothing_is_not_read_from(etcp, server):
    """There is no credit on this wire: what bounds a peer that does not read is that the server stops, too."""
    channel = client_of(etcp, server)
    other = client_of(etcp, server)
    before = server.resident_bytes()
    channel.sock.setblocking(False)
    record, sent, stuck = b"", 0, 0
    while stuck < 100:
        record = record or channel.seal(bytes(60000))
        try:
            taken = channel.sock.send(record)
            record, sent, stuck = record[taken:], sent + taken, 0
        except BlockingIOError:
            stuck += 1
            other.send(b"turn")  # the loop has had its turn when this is back
            assert other.receive() == b"turn"
        assert sent < 100 << 20, "the server reads on and on"
    after = server.resident_bytes()
    assert before is None or after - before < 4 << 20


def keepalive_timer(local, remote):
    """Hundredths of a second until the kernel asks whether the other host is there, of a socket of this host; or None."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        for fields in map(str.split, file):
            if fields[1].endswith(":%04X" % local) and fields[2].endswith(":%04X" % remote):
                kind, when = fields[5].split(":")
                return int(when, 16) if kind == "02" else None
    return None


def test_a_host_that_is_gone_is_noticed(etcp, server):
    """No heartbeat on this wire: the kernel asks, for old peers only."""
    channel = client_of(etcp, server)
    channel.send(b"x")
    assert channel.receive() == b"x"
    port = channel.sock.getsockname()[1]
    due = eventually(lambda: keepalive_timer(server.port, port), "a keepalive timer")
    assert due <= 6000
    modern = etcp.connect(server)
    modern.echo(modern.open(), b"x")
    assert keepalive_timer(server.port, modern.sock.getsockname()[1]) is None


def test_any_nonce_is_taken(etcp, server):
    channel = client_of(etcp, server)
    nonce = os.urandom(12)
    for message in (b"one", b"two"):
        channel.sock.sendall(channel.seal(message, nonce))
        assert channel.receive() == message
    channel.counter = 2**96 - 1
    for message in (b"last", b"first again"):
        channel.send(message)
        assert channel.receive() == message


def test_the_servers_nonces_count_up_from_the_responses(etcp, server):
    sock = etcp.keep(connect(server))
    secret = classic_peer.X25519PrivateKey.generate()
    sock.sendall(classic_peer.make_request(secret, 42))
    response = classic_peer.read_exactly(sock, 69)
    key = secret.exchange(classic_peer.X25519PublicKey.from_public_bytes(response[1:33]))
    first = int.from_bytes(response[33:45], "big")
    channel = classic_peer.Channel(sock, key)
    for number in (1, 2, 3):
        channel.send(b"x")
        head = classic_peer.read_exactly(sock, 16)
        assert int.from_bytes(head[4:], "big") == (first + number) % 2**96
        classic_peer.read_exactly(sock, struct.unpack(">I", head[:4])[0])


def test_each_connection_has_other_keys(etcp, server):
    responses = set()
    for _ in range(3):
        sock = etcp.keep(connect(server))
        sock.sendall(classic_peer.make_request(classic_peer.X25519PrivateKey.generate(), 1))
        responses.add(classic_peer.read_exactly(sock, 69)[1:33])
    assert len(responses) == 3


def test_what_breaks_the_rules_is_closed_without_a_word(etcp, server):
    healthy = client_of(etcp, server)
    cases = {
        "bad tag": lambda c: c.seal(b"x")[:-1] + b"\0",
        "flipped nonce": lambda c: c.seal(b"x")[:4] + bytes(12) + c.seal(b"x")[16:],
        "shorter than a tag": lambda c: struct.pack(">I", 15) + bytes(27),
        "length 1": lambda c: struct.pack(">I", 1) + bytes(13),
        "above the limit, not waited for": lambda c: struct.pack(">I", 65536),
        "the largest length": lambda c: struct.pack(">I", 2**32 - 1),
        "its own record": lambda c: classic_peer.Channel(None, os.urandom(32)).seal(b"x"),
    }
    for name, make in cases.items():
        channel = client_of(etcp, server)
        channel.sock.sendall(make(channel))
        try:
            assert channel.sock.recv(1) == b"", name
        except ConnectionResetError:
            pass
        healthy.send(name.encode())
        assert healthy.receive() == name.encode()


def test_bad_requests_of_the_vectors(etcp, server):
    for vector in vectors.inputs(etcp_peer.CLASSIC, "server", "request"):
        wire = etcp.socket(server)
        wire.send(bytes.fromhex(vector["bytes"]))
        wire.receive_end()


def test_a_lower_limit_of_messages(etcp):
    server = etcp.server(classic="true", limits='max_message = "1KiB"')
    channel = client_of(etcp, server)
    channel.send(bytes(1024 - 16))
    assert len(channel.receive()) == 1024 - 16
    channel.sock.sendall(struct.pack(">I", 1025))
    expect_fin(channel)


def test_the_server_says_goodbye_with_a_fin(etcp, server):
    channel = client_of(etcp, server)
    channel.send(b"before")
    assert channel.receive() == b"before"
    assert server.stop() == 0
    expect_fin(channel)


def test_off_unless_turned_on(etcp):
    for top in ({}, {"classic": "false"}):
        server = etcp.server(**top)
        wire = etcp.socket(server)
        wire.send(classic_peer.make_request(classic_peer.X25519PrivateKey.generate(), 7))
        assert wire.receive(2) == bytes([etcp_peer.REFUSAL, etcp_peer.REFUSED_SUITE])
        wire.receive_end()


def test_modern_agents_beside_old_ones(etcp, server):
    old, new = client_of(etcp, server), etcp.connect(server)
    stream = new.open()
    for number in range(5):
        old.send(b"old %d" % number)
        new.echo(stream, b"new %d" % number)
        assert old.receive() == b"old %d" % number


# ---- etcp-agent and an old server


def agent_conf(etcp, port, **options):
    return etcp.agent(port, suite='"classic"', server_key=None, **options)


def listen(etcp):
    sock = etcp.keep(socket.create_server(("127.0.0.1", 0)))
    sock.settimeout(TIMEOUT)
    return sock


def accept(etcp, listener):
    sock = etcp.keep(listener.accept()[0])
    sock.settimeout(TIMEOUT)
    return sock


def test_agent_sends_five_and_ends_with_an_empty_record(etcp):
    listener = listen(etcp)
    agent = agent_conf(etcp, listener.getsockname()[1], message='count = 5 interval = "10ms"')
    channel = classic_peer.server_handshake(accept(etcp, listener))
    for _ in range(5):
        assert channel.receive() == HELLO.encode()
        channel.send(HELLO.encode())
    head = classic_peer.read_exactly(channel.sock, 16)
    assert struct.unpack(">I", head[:4]) == (16,), "the agent ends with an empty record"
    assert channel.aead.decrypt(head[4:], classic_peer.read_exactly(channel.sock, 16), None) == b""
    channel.sock.close()
    assert agent.wait() == 0
    assert agent.out.text.count(HELLO) == 5
    agent.log.wait(r"(?i)(unauthenticated|not authenticated|nobody is authenticated)")


def test_agent_notices_a_host_that_is_gone(etcp):
    listener = listen(etcp)
    agent = agent_conf(etcp, listener.getsockname()[1], message='count = 2 interval = "1h"')
    sock = accept(etcp, listener)
    channel = classic_peer.server_handshake(sock)
    assert channel.receive() == HELLO.encode()
    channel.send(HELLO.encode())
    agent.out.wait("Hello")
    local, remote = sock.getpeername()[1], sock.getsockname()[1]
    assert eventually(lambda: keepalive_timer(local, remote), "a keepalive timer") <= 6000


def test_agent_with_the_script(etcp):
    script = subprocess.Popen(
        [sys.executable, "-B", SCRIPT, "server", "127.0.0.1:0", "--once"], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(script.stdout.readline().rsplit(":", 1)[1])
        agent = agent_conf(etcp, port, message='count = 5 interval = "10ms"')
        assert agent.wait() == 0
        assert script.stdout.read().splitlines() == ["message: %r" % HELLO.encode()] * 5
        assert script.wait(TIMEOUT) == 0
    finally:
        script.kill()
        script.wait()


def test_agent_reconnects_and_reports_each_echo_once(etcp):
    listener = listen(etcp)
    agent = agent_conf(etcp, listener.getsockname()[1], message='count = 5 interval = "10ms"')
    channel = classic_peer.server_handshake(accept(etcp, listener))
    for _ in range(2):
        assert channel.receive() == HELLO.encode()
        channel.send(HELLO.encode())
    channel.receive()
    channel.sock.close()
    channel = classic_peer.server_handshake(accept(etcp, listener))
    for _ in range(3):
        assert channel.receive() == HELLO.encode()
        channel.send(HELLO.encode())
    assert channel.receive() == b""
    channel.sock.close()
    assert agent.wait() == 0
    assert agent.out.text.count(HELLO) == 5


def test_agent_refuses_what_breaks_the_rules_and_goes_on(etcp):
    listener = listen(etcp)
    agent = agent_conf(etcp, listener.getsockname()[1], message='count = 1 interval = "10ms"', delay="20ms")
    secret = classic_peer.X25519PrivateKey.generate()

    def response(packet, change):
        token = struct.unpack("<Q", packet[34:])[0]
        key = secret.exchange(classic_peer.X25519PublicKey.from_public_bytes(packet[1:33]))
        return change(key, token)

    good = classic_peer.make_response
    cases = {
        "another token": lambda k, t: good(secret, k, t ^ 1, os.urandom(12)),
        "little-endian token": lambda k, t: good(
            secret, k, int.from_bytes(t.to_bytes(8, "big"), "little"), os.urandom(12)
        ),
        "packet id": lambda k, t: b"\x03" + good(secret, k, t, os.urandom(12))[1:],
        "bad tag": lambda k, t: good(secret, k, t, os.urandom(12))[:-1] + b"\0",
        "low order": lambda k, t: b"\x02" + bytes(68),
        "refusal": lambda k, t: bytes([etcp_peer.REFUSAL, 1]),
    }
    for name, change in cases.items():
        sock = accept(etcp, listener)
        request = classic_peer.read_exactly(sock, 42)
        assert request[33] == 0xFD, name
        sock.sendall(response(request, change))
        try:
            assert sock.recv(1) == b"", name
        except ConnectionResetError:
            pass
        sock.close()
        assert agent.running
    channel = classic_peer.server_handshake(accept(etcp, listener))
    assert channel.receive() == HELLO.encode()
    channel.sock.sendall(channel.seal(HELLO.encode())[:-1] + b"\0")
    channel = classic_peer.server_handshake(accept(etcp, listener))
    channel.send(channel.receive())
    assert channel.receive() == b""
    channel.sock.close()
    assert agent.wait() == 0
    assert agent.out.text.count(HELLO) == 1
