# SPDX-License-Identifier: MIT
"""What an authorised agent can do to the server's memory, descriptors and end: nothing beyond its bounds."""

import contextlib
import os
import signal
import time

import pytest

import etcp_peer as peer
from harness import eventually

MIB = 1 << 20


def until_full(connection, block):
    """Sends the same bytes, sealed anew each time, until the server takes no more; returns how many went."""
    connection.sock.setblocking(False)
    sent, full = 0, False
    while not full and sent < 400 * MIB:
        view, deadline = memoryview(block()), time.monotonic() + 1
        while view and not full:
            try:
                taken = connection.sock.send(view)
                sent, view, deadline = sent + taken, view[taken:], time.monotonic() + 1
            except BlockingIOError:
                time.sleep(0.01)
                full = time.monotonic() > deadline
    assert full, "400 MiB were taken although no answer was read"
    return sent


def test_tiny_frames_take_no_more_memory_than_their_window(etcp):
    """262,144 frames of one byte each for a stream that does not move: overhead counts too."""
    server = etcp.server(log_level='"info"')
    connection = etcp.connect(server, timeout=60)
    stream = connection.open()
    for start in range(0, peer.WINDOW, 32768):
        connection.send_frame(peer.frame(peer.DATA, stream, bytes(32768)))
        back = 0
        while back < 32768:
            back += len(connection.expect(peer.DATA, stream, skip=(peer.CREDIT,)).body)
    connection.heartbeat()
    connection.kept.clear()
    before = server.resident_bytes()
    for _ in range(16):
        connection.send(connection.seal_many(peer.frame(peer.DATA, stream, b"x"), peer.WINDOW // 16))
    connection.heartbeat(skip=())
    after = server.resident_bytes()
    assert before is None or after - before < 2 * MIB, "%d KiB for one stream" % ((after - before) >> 10)
    other = etcp.connect(server)
    other.echo(other.open(), b"beside it")
    connection.send_frame(peer.frame(peer.DATA, stream, b"one more"))
    assert connection.frames_to_end()[0][-1].code == peer.CODE_PROTOCOL_ERROR


def test_many_streams_that_do_not_move(etcp):
    """Forty windows that nobody empties, then all of them go on."""
    server = etcp.server(log_level='"info"')
    connection = etcp.connect(server, timeout=60)
    streams = [connection.open() for _ in range(40)]
    before = server.resident_bytes()
    for stream in streams:
        connection.stall(stream)
    after = server.resident_bytes()
    assert before is None or after - before < 40 * MIB
    for stream in streams:
        connection.send_frame(peer.credit_frame(stream, peer.WINDOW, 3 * peer.WINDOW))
        back = 0
        while back < peer.WINDOW:
            back += len(connection.expect(peer.DATA, stream, skip=(peer.CREDIT,)).body)
        connection.send_frame(peer.frame(peer.CLOSE, stream))
        connection.expect(peer.CLOSE, stream, skip=(peer.CREDIT,))


def test_a_stream_of_streams(etcp):
    """Ten thousand streams, one after the other, on one connection."""
    server = etcp.server(log_level='"info"')
    connection = etcp.connect(server, timeout=60)
    before = server.resident_bytes()
    for _ in range(100):
        batch = []
        for _ in range(100):
            stream = connection.next_stream
            connection.next_stream += 2
            batch += [
                peer.open_frame(stream, "echo"),
                peer.frame(peer.DATA, stream, b"x"),
                peer.frame(peer.CLOSE, stream),
            ]
        connection.send(b"".join(connection.seal(frame) for frame in batch))
        closed = 0
        while closed < 100:
            got = connection.receive_frame()
            assert got.id in (peer.DATA, peer.CLOSE, peer.CREDIT), got
            closed += got.id == peer.CLOSE
    after = server.resident_bytes()
    assert before is None or after - before < 4 * MIB


def test_errors_that_nobody_reads(etcp):
    """Each stream that can't be opened is answered; the answers are not read: the server stops reading, at a bound."""
    server = etcp.server(log_level='"info"')
    connection = etcp.connect(server)

    def block():
        frames = []
        for _ in range(500):
            frames.append(connection.seal(peer.open_frame(connection.next_stream, "nosuch")))
            connection.next_stream += 2
        return b"".join(frames)

    until_full(connection, block)
    assert (server.resident_bytes() or 0) < 60 * MIB
    other = etcp.connect(server)
    other.echo(other.open(), b"beside it")


def test_an_echo_that_nobody_reads(etcp):
    """With credit without end and a full socket, the server holds no more than its bounds."""
    server = etcp.server(log_level='"info"')
    connection = etcp.connect(server)
    stream = connection.open()
    connection.send_frame(peer.credit_frame(stream, 0, 2**62))
    for _ in range(8):
        connection.send_frame(peer.frame(peer.DATA, stream, bytes(32768)))
    streams = [connection.open() for _ in range(100)]
    for other in streams:
        connection.send_frame(peer.credit_frame(other, 0, 2**62))

    def blocks():
        for other in streams:
            yield lambda: b"".join(connection.seal(peer.frame(peer.DATA, other, bytes(32768))) for _ in range(8))

    connection.sock.settimeout(1)
    with contextlib.suppress(TimeoutError):
        for block in blocks():
            connection.sock.sendall(block())
    assert (server.resident_bytes() or 0) < 100 * MIB
    other = etcp.connect(server)
    other.echo(other.open(), b"beside it")


@pytest.mark.parametrize("how", ["silent", "talking"])
def test_a_peer_that_does_not_close_is_closed(etcp, how):
    """After its last words the server waits a moment for the other's end, not for ever and not for any amount."""
    server = etcp.server(log_level='"info"')
    before = server.descriptors()
    for _ in range(3):
        connection = etcp.connect(server)
        connection.send_frame(peer.frame(0x01))
        assert connection.expect(peer.GOODBYE).code == peer.CODE_PROTOCOL_ERROR
        if how == "talking":
            with contextlib.suppress(OSError):
                for _ in range(40):
                    connection.send(os.urandom(100000))
    eventually(lambda: server.descriptors() <= before, "the descriptors are free")


def test_a_peer_that_reads_nothing_does_not_hold_up_the_end(etcp):
    server = etcp.server(drain_timeout='"300ms"', log_level='"info"')
    connection = etcp.connect(server)
    stream = connection.open()
    connection.send_frame(peer.credit_frame(stream, 0, 2**62))
    until_full(connection, lambda: connection.seal_many(peer.heartbeat_frame(peer.ASK), 1000))
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_descriptors_and_memory_come_back(etcp):
    """A thousand connections of all kinds later, the server is as small as before."""
    server = etcp.server(log_level='"info"', limits="max_connections_per_address = 1000")

    def round_of_visits():
        for number in range(25):
            with etcp_wire(server) as wire:
                wire.send_anyway(os.urandom(number * 3))
        for number in range(25):
            with peer.connect(server.address, peer.CHACHA, etcp.agent_secret) as connection:
                connection.echo(connection.open(), bytes(1000))
                if number % 2:
                    connection.goodbye()

    def etcp_wire(server):
        return peer.Wire(peer.open_socket(server.address))

    round_of_visits()
    descriptors = server.descriptors()
    eventually(lambda: server.descriptors() < descriptors or server.descriptors() < 25, "the first round is gone")
    descriptors, before = server.descriptors(), server.resident_bytes()
    for _ in range(10):
        round_of_visits()
    eventually(lambda: server.descriptors() <= descriptors, "all descriptors are free")
    after = server.resident_bytes()
    assert before is None or after - before < 2 * MIB


STREAMS = 400  # 100 MiB of windows
UNLISTED_MAX = 64 * MIB


def hog(etcp, server, secret):
    """Fills the windows of many streams to the echo service and reads nothing; then all that came back, by stream."""
    connection = etcp.connect(server, static=secret, timeout=60)
    for _ in range(STREAMS):
        connection.open()
    data = bytes(peer.WINDOW // 8)
    for stream in range(1, 2 * STREAMS, 2):
        connection.send(connection.seal_many(peer.frame(peer.DATA, stream, data), 8))
    return connection


def harvest(connection):
    """Reads until every stream has either all of its echo or an error; returns bytes by stream, and the errors."""
    back, errors = dict.fromkeys(range(1, 2 * STREAMS, 2), 0), {}
    waiting = set(back)
    while waiting:
        got = connection.receive_frame()
        if got.id == peer.DATA:
            back[got.stream] += len(got.body)
        elif got.id == peer.ERROR:
            errors[got.stream] = got.code
        if back.get(got.stream) == peer.WINDOW or got.stream in errors:
            waiting.discard(got.stream)
    return back, errors


def test_agents_that_nobody_listed_share_a_budget(etcp):
    """Whoever reaches the port can make keys: what all of these have queued is bounded in sum, and listed agents do not
    pay for it."""
    server = etcp.server(log_level='"info"', limits="max_streams = %d" % STREAMS)
    before = server.resident_bytes()
    connection = hog(etcp, server, peer.new_secret())
    other = etcp.connect(server, static=peer.new_secret())
    eventually(lambda: server.log.lines("stream ended: .* queued"), "the budget is used up")
    listed = etcp.connect(server)
    listed.stall(listed.open())
    stream = other.open()
    other.echo(stream, b"what goes through at once needs no budget")
    after = server.resident_bytes()
    assert before is None or after - before < UNLISTED_MAX + 16 * MIB
    back, errors = harvest(connection)
    assert set(errors.values()) == {peer.CODE_INTERNAL}  # `limit` would say that they were not taken
    assert sum(back.values()) > UNLISTED_MAX - 16 * MIB, "the others have got all of theirs"
    connection.stall(connection.open())


def test_an_unlisted_agent_that_goes_gives_its_budget_back(etcp):
    server = etcp.server(log_level='"info"', limits="max_streams = %d" % STREAMS)
    for _ in range(2):
        secret = peer.new_secret()
        connection = hog(etcp, server, secret)
        eventually(lambda: server.log.lines("stream ended: .* queued"), "the budget is used up")
        connection.reset()
    eventually(lambda: len(server.log.lines("disconnected:")) == 2, "both are gone")
    again = etcp.connect(server, static=peer.new_secret())
    again.stall(again.open())


def test_listed_agents_have_no_such_budget(etcp):
    server = etcp.server(log_level='"info"', limits="max_streams = %d" % STREAMS)
    back, errors = harvest(hog(etcp, server, etcp.agent_secret))
    assert not errors and sum(back.values()) == STREAMS * peer.WINDOW


def test_the_budget_follows_the_list(etcp):
    """An agent that is taken off the list while it has much queued counts from then on; and the other way round."""
    server = etcp.server(log_level='"info"', limits="max_streams = %d" % STREAMS)
    connection = hog(etcp, server, etcp.agent_secret)
    etcp.authorized.write_text("")
    eventually(lambda: queued(server, connection), "it has all arrived")
    server.signal(signal.SIGHUP)
    server.log.wait("configuration reloaded")
    stranger = etcp.connect(server, static=peer.new_secret())
    stream = stranger.open()
    with pytest.raises(peer.PeerError, match="error"):
        stranger.stall(stream)
    etcp.authorize(etcp.agent_public, "agent")
    server.signal(signal.SIGHUP)
    server.log.wait("configuration reloaded", 2)
    stranger = etcp.connect(server, static=peer.new_secret())
    stranger.stall(stranger.open())
    back, errors = harvest(connection)
    assert not errors and sum(back.values()) == STREAMS * peer.WINDOW


def queued(server, connection):
    """Whether the server has taken all that was sent."""
    local = "%08X:%04X" % (
        int.from_bytes(bytes(map(int, connection.sock.getsockname()[0].split("."))), "little"),
        connection.sock.getsockname()[1],
    )
    with open("/proc/net/tcp", encoding="ascii") as file:
        lines = [line.split() for line in file]
    ours = [line for line in lines if line[1] == local]
    theirs = [line for line in lines if line[2] == local]
    return ours[0][4].split(":")[0] == "00000000" and theirs[0][4].split(":")[1] == "00000000"
