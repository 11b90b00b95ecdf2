# SPDX-License-Identifier: MIT
"""Streams whose readers have stopped: each holds its window and no more, and the others don't notice."""

import contextlib
import random
import socket
import threading

import pytest

import programs
from harness import TIMEOUT, eventually
from relay import Narrow, Path
from tunnel import Tunnel, allow_descriptors, exchange, fill, read_to_end, status

WINDOW = 262144  # docs/security.md: the first window, and by how much all windows of a loop may have grown
GROWN = 64 * 1024 * 1024
DATA = random.Random(5).randbytes(12_000_000)

# Loop buffers and tables. Beside it: what an allocator keeps of memory that was in use, which is as much again as is queued, and
# for each connection to the server what may be sealed in one go.
SLACK = 12_000_000


def queued(program):
    """The daemon's own account of what waits for readers."""
    return status(program)["totals"]["queued_bytes"]


class Memory:
    """What both daemons hold, compared with the beginning."""

    def __init__(self, tunnel, connections=1):
        self.slack = SLACK + connections * 262144
        self.daemons = tunnel.server, tunnel.agent
        self.before = [daemon.resident_bytes() for daemon in self.daemons]

    def check(self, count, grown=0):
        """Returns how much is queued by both."""
        sizes = [queued(daemon) for daemon in self.daemons]
        for daemon, size, before in zip(self.daemons, sizes, self.before):
            assert size <= count * WINDOW + grown, "%s: %d for %d streams" % (daemon.name, size, count)
            if before is not None:
                now = daemon.resident_bytes()
                assert now - before <= 2 * size + self.slack, "%s: %d of %d queued" % (daemon.name, now - before, size)
        return sum(sizes)

    def is_free(self):
        return all(queued(daemon) == 0 for daemon in self.daemons)


class UnixTunnel(Tunnel):
    """Between Unix sockets, whose buffers hold little: by TCP the kernel would keep megabytes for each connection."""

    def __init__(self, etcp, **options):
        self.folder = etcp.opened.enter_context(programs.folder())
        listener = etcp.keep(socket.socket(socket.AF_UNIX))
        listener.bind(str(self.folder / "backend"))
        listener.listen(200)
        quiet = {"log_level": '"info"'}
        agent = {**quiet, **options.pop("agent", {})}
        places = {"to": "unix:%s" % (self.folder / "backend"), "listen": "unix:%s" % (self.folder / "local")}
        super().__init__(etcp, agent=agent, server=quiet, **places, **options)
        self.listener = listener

    def connect(self):
        sock = self.etcp.keep(socket.socket(socket.AF_UNIX))
        sock.settimeout(TIMEOUT)
        sock.connect(str(self.folder / "local"))
        return sock


def parallel(functions):
    """Runs all of them at once, and fails if one does."""
    failures = []

    def run(function):
        try:
            function()
        except BaseException as error:  # to be raised where the test sees it
            failures.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Stalled:
    """Connections of which one side writes until nothing more is taken, while the other does not read."""

    def __init__(self, ends):
        self.ends, self.taken = ends, {}
        parallel([lambda end=end: self.fill(end[0]) for end in ends])

    def fill(self, sender):
        self.taken[sender] = fill(sender, DATA)
        assert self.taken[sender] < len(DATA)

    def finish(self):
        """The readers go on: all of it comes."""
        for sender, reader in self.ends:
            rest = DATA[self.taken[sender] :]
            got = []
            parallel((lambda: (sender.sendall(rest), sender.close()), lambda: got.append(read_to_end(reader))))
            assert got == [DATA]
            reader.close()


def move(ends):
    """Checked data on a connection both ways at once, many windows of it."""

    def send(sock):
        for _ in range(2):
            sock.sendall(DATA)
        sock.shutdown(socket.SHUT_WR)

    def receive(sock):
        assert read_to_end(sock) == DATA * 2

    parallel([lambda end=end, what=what: what(end) for end in ends for what in (send, receive)])
    for end in ends:
        end.close()


@pytest.mark.parametrize("connections", (1, 256), ids=("shared", "apart"))
@pytest.mark.parametrize("count", (1, 100))
@pytest.mark.parametrize("way", (1, -1), ids=("up", "down"))
def test_stalled_streams(etcp, connections, count, way):
    allow_descriptors(4096)
    tunnel = UnixTunnel(etcp, agent={"max_connections": connections})
    move(tunnel.pair())
    memory = Memory(tunnel, min(connections, count))
    stalled = Stalled([tunnel.pair()[::way] for _ in range(count)])
    # A window may have grown before its reader was found to have stopped.
    assert memory.check(count, grown=GROWN) > 0
    parallel([lambda pair=pair: move(pair) for pair in [tunnel.pair() for _ in range(3)]])
    memory.check(count, grown=GROWN)
    stalled.finish()
    assert memory.is_free()


def test_all_streams_stalled_both_ways(etcp):
    """Nobody reads on either side of any connection, and they share one: nothing waits for ever."""
    tunnel = UnixTunnel(etcp, agent={"max_connections": 1})
    memory = Memory(tunnel)
    pairs = [tunnel.pair() for _ in range(20)]
    up = Stalled(pairs)
    down = Stalled([pair[::-1] for pair in pairs])
    memory.check(20, grown=GROWN)
    move(tunnel.pair())
    for client, backend in pairs:
        received = {}

        def finish(sock, taken):
            sock.sendall(DATA[taken:])
            sock.shutdown(socket.SHUT_WR)

        parallel(
            (
                lambda: finish(client, up.taken[client]),
                lambda: finish(backend, down.taken[backend]),
                lambda: received.update(client=read_to_end(client)),
                lambda: received.update(backend=read_to_end(backend)),
            )
        )
        assert received["client"] == received["backend"] == DATA
        client.close()
        backend.close()
    assert memory.is_free()


@pytest.mark.parametrize("way", (1, -1), ids=("up", "down"))
def test_bulk_leaves_room_for_others(etcp, way):
    """Streams that always have more to send than the connection takes, and one beside them that rarely has a few bytes."""
    tunnel = UnixTunnel(etcp, start=False, agent={"max_connections": 1})
    tunnel.start_server()
    with Narrow(tunnel.server.address) as path:
        tunnel.start_agent(path.port)
        quiet = [tunnel.pair()]
        bulk = [tunnel.pair()[::way] for _ in range(20)]
        quiet.append(tunnel.pair())  # of the others, some are older and some are younger
        received, stop = [0], threading.Event()

        def send(sock):
            sock.settimeout(0.5)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError, BrokenPipeError):
                    sock.send(DATA[:1000000])
            sock.shutdown(socket.SHUT_WR)

        def receive(sock):
            while data := sock.recv(1 << 18):
                received[0] += len(data)

        def talk():
            try:
                # By then windows have grown, and it is the connection that holds up the bulk.
                eventually(lambda: received[0] > 15_000_000, "bulk goes through")
                for client, backend in quiet * 5:
                    exchange(client, backend)
            finally:
                stop.set()

        parallel(
            [lambda ends=ends: send(ends[0]) for ends in bulk]
            + [lambda ends=ends: receive(ends[1]) for ends in bulk]
            + [talk]
        )


def test_grown_windows_are_bounded_together(etcp):
    """Windows that have grown one after the other, each as far as the path asks for; then all readers stop."""
    count = 12
    tunnel = UnixTunnel(etcp, start=False, agent={"max_connections": 1})
    tunnel.start_server()
    with Path(tunnel.server.address, 0.01) as path:
        tunnel.start_agent(path.port)
        pairs = [tunnel.pair() for _ in range(count)]
        for client, backend in pairs:

            def read():
                left = len(DATA)
                while left > 0:
                    left -= len(backend.recv(min(left, 1 << 18)))

            parallel((lambda: client.sendall(DATA), read))
        memory = Memory(tunnel)
        Stalled(pairs)
        memory.check(count, grown=GROWN)
        for client, backend in pairs:
            client.close()
            backend.close()
        eventually(memory.is_free, "what is queued goes with its stream")
