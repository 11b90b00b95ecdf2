# SPDX-License-Identifier: MIT
"""Version 1 between the real programs and the second implementation, in both directions and all suites."""

import os
import subprocess
import sys
import threading

import pytest

import etcp_peer as peer
from harness import TIMEOUT, has_aes, machine_skip

HELLO = "Hello from client!"
SUITES = [peer.AES, peer.CHACHA, peer.AES_NETWORK, peer.CHACHA_NETWORK]
NAMES = {peer.AES: "aes256gcm", peer.CHACHA: "chacha20poly1305"}


@pytest.fixture(params=SUITES, ids=["aes", "chacha", "aes-network", "chacha-network"])
def suite(request):
    if request.param in (peer.AES, peer.AES_NETWORK) and not has_aes():
        machine_skip("no AES instructions")
    return request.param


def network(etcp, suite):
    """(key, options of the configuration) for a suite."""
    if not peer.SUITES[suite][2]:
        return None, {}
    return etcp.new_key("net", "network.key"), {"network_key_file": '"%s"' % (etcp.path / "network.key")}


def test_server_echoes_of_all_sizes(etcp, suite):
    key, top = network(etcp, suite)
    server = etcp.server(**top)
    connection = etcp.connect(server, suite=suite, network_key=key, server_key=etcp.server_public)
    for size in (1, 21, 1000, 16384, 65514, 65515, 200000):
        connection.echo(connection.open(), os.urandom(size))
    connection.goodbye()
    assert connection.frames_to_end()[1] == "fin"


def test_server_closes_its_side_after_the_last_echo(etcp, suite):
    key, top = network(etcp, suite)
    connection = etcp.connect(etcp.server(**top), suite=suite, network_key=key)
    stream = connection.open()
    connection.send_frame(peer.frame(peer.DATA, stream, b"last words"))
    connection.send_frame(peer.frame(peer.CLOSE, stream))
    assert connection.expect(peer.DATA, stream, skip=(peer.CREDIT,)).body == b"last words"
    connection.expect(peer.CLOSE, stream, skip=(peer.CREDIT,))
    connection.echo(connection.open(), b"the connection goes on")


def test_more_than_the_window_with_credit_both_ways(etcp, suite):
    """3 MiB through the echo: only credit in both directions lets that pass."""
    key, top = network(etcp, suite)
    connection = etcp.connect(etcp.server(**top), suite=suite, network_key=key)
    stream, data = connection.open(), os.urandom(3 << 20)
    limit, sent, back = peer.WINDOW, 0, bytearray()
    while len(back) < len(data):
        while sent < min(limit, len(data)):
            size = min(limit - sent, 16384, len(data) - sent)
            connection.send_frame(peer.frame(peer.DATA, stream, data[sent : sent + size]))
            sent += size
        got = connection.receive_frame()
        if got.id == peer.CREDIT:
            assert got.limit >= limit and got.consumed <= sent
            limit = got.limit
        elif got.id == peer.DATA:
            back += got.body
            connection.send_frame(peer.credit_frame(stream, len(back), len(back) + peer.WINDOW))
    assert bytes(back) == data


def test_streams_at_once_do_not_mix(etcp, suite):
    key, top = network(etcp, suite)
    connection = etcp.connect(etcp.server(**top), suite=suite, network_key=key)
    streams = {connection.open(): b"" for _ in range(20)}
    for _ in range(5):
        for stream in streams:
            connection.send_frame(peer.frame(peer.DATA, stream, b"%d," % stream))
    while any(len(back) < len(b"%d," % stream) * 5 for stream, back in streams.items()):
        got = connection.expect(peer.DATA, skip=(peer.CREDIT,))
        streams[got.stream] += got.body
    assert all(back == b"%d," % stream * 5 for stream, back in streams.items())


def test_agent_with_the_second_implementation(etcp, suite):
    key, top = network(etcp, suite)
    listener = etcp.listener(network_key=key)
    agent = etcp.agent(listener.port, message='count = 5 interval = "10ms"', suite='"%s"' % NAMES[suite & 0x0F], **top)
    connection = etcp.keep(listener.accept())
    assert connection.suite == suite
    assert connection.agent_key == etcp.agent_public
    echo = peer.EchoServer(connection)
    farewell = echo.run()
    assert farewell.code == peer.CODE_OK
    assert b"".join(echo.messages.values()) == HELLO.encode() * 5
    connection.close()
    assert agent.wait() == 0
    assert agent.out.text.count(HELLO) == 5


def test_agent_sends_a_heartbeat_ask_first(etcp):
    listener = etcp.listener()
    etcp.agent(listener.port)
    connection = etcp.keep(listener.accept())
    connection.answer_heartbeats = False
    first = connection.receive_frame()
    assert first.id == peer.HEARTBEAT and first.kind == peer.ASK


def test_thousands_of_records_keep_their_order(etcp):
    connection = etcp.connect(etcp.server())
    stream = connection.open()
    records = b"".join(connection.seal(peer.frame(peer.DATA, stream, b"%05d" % number)) for number in range(5000))
    sender = threading.Thread(target=connection.send, args=[records], daemon=True)
    sender.start()
    back = b""
    while len(back) < 25000:
        back += connection.expect(peer.DATA, stream, skip=(peer.CREDIT,)).body
    sender.join(TIMEOUT)
    assert back == b"".join(b"%05d" % number for number in range(5000))


def test_the_server_follows_a_rekey(etcp):
    """2^20 records from the agent, most of them extensions that the server ignores; then the echo must still work."""
    connection = etcp.connect(etcp.server(log_level='"info"'))
    while connection.sending.n < peer.REKEY_EVERY:
        connection.send(connection.seal_many(b"\x80\0\0\0\0", min(16384, peer.REKEY_EVERY - connection.sending.n)))
    connection.echo(connection.open(), b"under the second key")


def test_by_hand_both_scripts_talk_to_the_programs(etcp):
    server = etcp.server()
    run = subprocess.run(
        [
            sys.executable,
            "-B",
            peer.__file__,
            "agent",
            "127.0.0.1:%d" % server.port,
            "--key",
            str(etcp.path / "agent.key"),
            "--suite",
            "2",
            "--count",
            "3",
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["server " + peer.key_text("pub", etcp.server_public)] + [HELLO] * 3
