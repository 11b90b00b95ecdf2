# SPDX-License-Identifier: MIT
"""Several event loops: many connections at once, coming and going, with reloads and an end in between. This is the
file to run under ThreadSanitizer."""

import os
import random
import signal
import threading

import pytest

import etcp_peer as peer
from harness import TIMEOUT

CONNECTIONS = 50


class Crowd:
    """Runs `count` threads of `work(number)`; what they raise fails the test."""

    def __init__(self, count, work):
        self.errors = []
        self.work = work
        self.threads = [threading.Thread(target=self.run, args=[number], daemon=True) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        try:
            self.work(number)
        except Exception as error:  # noqa: BLE001  (handed to the test)
            self.errors.append("%d: %r" % (number, error))

    def join(self):
        for thread in self.threads:
            thread.join(4 * TIMEOUT)
            assert not thread.is_alive(), "a connection hangs"
        assert not self.errors, self.errors


@pytest.fixture
def server(etcp):
    return etcp.server(
        workers=2,
        limits="max_connections = 500 max_connections_per_address = 500 max_handshakes = 1000",
        log_level='"info"',
    )


def test_fifty_at_once(etcp, server):
    connections = [etcp.connect(server, suite=peer.CHACHA, timeout=60) for _ in range(CONNECTIONS)]

    def echo(number):
        connection = connections[number]
        for _ in range(10):
            connection.echo(connection.open(), os.urandom(random.randrange(1, 30000)))

    Crowd(CONNECTIONS, echo).join()
    assert server.stop() == 0


def test_coming_and_going(etcp, server):
    def visit(number):
        for turn in range(6):
            with peer.connect(server.address, peer.CHACHA, etcp.agent_secret, timeout=60) as connection:
                connection.echo(connection.open(), b"%d.%d" % (number, turn))
                if (number + turn) % 3 == 0:
                    connection.goodbye()
                    connection.frames_to_end()
                elif (number + turn) % 3 == 1:
                    connection.reset()

    Crowd(12, visit).join()
    connection = etcp.connect(server)
    connection.echo(connection.open(), b"after all that")


def test_reloads_beside_traffic(etcp, server):
    done = threading.Event()

    def echo(number):
        with peer.connect(server.address, peer.CHACHA, etcp.agent_secret, timeout=60) as connection:
            stream = connection.open()
            while not done.is_set():
                connection.echo(stream, b"%d" % number)

    crowd = Crowd(8, echo)
    for _ in range(10):
        server.signal(signal.SIGHUP)
        with peer.connect(server.address, peer.CHACHA, etcp.agent_secret, timeout=60) as connection:
            connection.echo(connection.open(), b"newcomer")
    done.set()
    crowd.join()


def test_limits_hold_over_all_loops(etcp):
    server = etcp.server(workers=2, limits="max_connections = 10 max_connections_per_address = 500")
    kept = [etcp.connect(server) for _ in range(10)]
    results = []

    def attempt(_):
        try:
            with peer.connect(server.address, peer.CHACHA, etcp.agent_secret, timeout=60):
                results.append("in")
        except (OSError, peer.PeerError):
            results.append("away")

    Crowd(20, attempt).join()
    assert results == ["away"] * 20
    for connection in kept:
        connection.heartbeat()


def test_drain_over_all_loops(etcp, server):
    connections = [etcp.connect(server) for _ in range(10)]
    streams = [connection.open() for connection in connections]
    for connection, stream in zip(connections, streams):
        connection.echo(stream, b"x")
    server.signal(signal.SIGTERM)
    for connection, stream in zip(connections, streams):
        assert connection.expect(peer.GOODBYE, skip=(peer.CREDIT,)).code == peer.CODE_SHUTTING_DOWN
        connection.echo(stream, b"y")
    for connection, stream in zip(connections, streams):
        connection.send_frame(peer.frame(peer.CLOSE, stream))
        assert connection.frames_to_end()[1] == "fin"
    assert server.wait() == 0


def test_garbage_beside_traffic(etcp, server):
    done = threading.Event()

    def echo(number):
        with peer.connect(server.address, peer.CHACHA, etcp.agent_secret, timeout=60) as connection:
            stream = connection.open()
            while not done.is_set():
                connection.echo(stream, b"%d" % number)

    def vandal(number):
        rng = random.Random(number)
        for _ in range(30):
            if rng.random() < 0.5:
                with peer.Wire(peer.open_socket(server.address)) as wire:
                    wire.send_anyway(bytes([peer.REQUEST]) + rng.randbytes(rng.randrange(200)))
            else:
                with peer.connect(server.address, peer.CHACHA, etcp.agent_secret, timeout=60) as connection:
                    connection.send_anyway(
                        connection.seal(bytes([rng.randrange(256)]) + rng.randbytes(rng.randrange(4, 60)))
                    )
                    connection.send_anyway(rng.randbytes(100))

    crowd = Crowd(6, echo)
    vandals = Crowd(4, vandal)
    vandals.join()
    done.set()
    crowd.join()
