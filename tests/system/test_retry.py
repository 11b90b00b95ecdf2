# SPDX-License-Identifier: MIT
"""A local connection outlives the server that it was to go to, as long as it is certain that no backend has got a byte of it: then
another stream begins with the same bytes. The servers here are the tests' own, so that every word of theirs is chosen."""

import os
import select
import socket
import time

import pytest

import etcp_peer as peer
from harness import TIMEOUT, sanitized
from tunnel import Tunnel, is_reset, read_to_end, reset
from traffic import Traffic

RETRY_MAX = 8
QUIET = {"spare_connections": 0, "max_connections": 1}
SKIP = (peer.CREDIT,)


def greet(connection):
    """Answers the agent's first ask: the connection is up."""
    connection.answer_heartbeats = False
    first = connection.receive_frame()
    assert first.id == peer.HEARTBEAT and first.kind == peer.ASK
    connection.send_frame(peer.heartbeat_frame(peer.ANSWER, first.opaque))
    connection.answer_heartbeats = True
    return connection


class World:
    """An agent with a port for the service "test", whose servers are played by the test. The first connection is up."""

    def __init__(self, etcp, forward="", **settings):
        self.etcp = etcp
        self.listener = etcp.listener()
        rest = 'forward "test" { listen = "127.0.0.1:0" service = "test" %s }\n' % forward
        self.agent = etcp.agent(self.listener.port, rest=rest, **{**QUIET, "message": None, **settings})
        self.address = ("127.0.0.1", int(self.agent.log.wait(r"listening on 127\.0\.0\.1:(\d+): forward").group(1)))
        self.first = self.server()

    def server(self):
        """The agent's next connection, its first ask answered."""
        return greet(self.etcp.keep(self.listener.accept()))

    def connect(self, data=b"", close=False):
        sock = self.etcp.keep(socket.create_connection(self.address, TIMEOUT))
        sock.settimeout(TIMEOUT)
        if data:
            sock.sendall(data)
        if close:
            sock.shutdown(socket.SHUT_WR)
        return sock


def opened(server, data=b"", close=False):
    """A stream that begins with exactly these bytes; returns its id."""
    stream = server.expect(peer.OPEN).stream
    got = b""
    while len(got) < len(data):
        got += server.expect(peer.DATA, stream).body
    assert got == data
    if close:
        server.expect(peer.CLOSE, stream)
    return stream


def announce(server):
    server.goodbye(peer.CODE_SHUTTING_DOWN)


def end(server, code=peer.CODE_OK):
    server.goodbye(code)
    server.shutdown()


def fail(server, stream, code):
    server.send_frame(peer.code_frame(peer.ERROR, stream, code))


def carries(server, stream, client, taken=0):
    """The stream goes on in both directions, to its end."""
    server.send_frame(peer.credit_frame(stream, taken, taken + peer.WINDOW))
    server.send_frame(peer.frame(peer.DATA, stream, b"answer"))
    assert client.recv(100) == b"answer"
    client.sendall(b"more")
    assert server.expect(peer.DATA, stream, skip=SKIP).body == b"more"
    server.send_frame(peer.frame(peer.CLOSE, stream))
    assert client.recv(1) == b""
    client.close()
    server.expect(peer.CLOSE, stream, skip=SKIP)


def nothing_follows(world, *servers):
    """No further stream has been opened, on a connection that is there or on another one."""
    for server in servers:
        server.heartbeat(skip=())
    world.listener.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        world.listener.sock.accept()


# ---- A server that shuts down


@pytest.mark.parametrize("size", (0, 5, 16384, 100000, peer.WINDOW))
def test_a_stream_that_crosses_goodbye(etcp, size):
    """Refused by name: another connection gets it, byte by byte."""
    world = World(etcp)
    data = os.urandom(size)
    client = world.connect(data)
    stream = opened(world.first, data)
    announce(world.first)
    fail(world.first, stream, peer.CODE_SHUTTING_DOWN)
    second = world.server()
    stream = opened(second, data)
    carries(second, stream, client, size)
    nothing_follows(world, second)


@pytest.mark.parametrize("size", (0, 5, 100000))
def test_a_stream_that_crosses_both_goodbyes(etcp, size):
    """Not even refused: the second Goodbye says that no stream was open."""
    world = World(etcp)
    data = os.urandom(size)
    client = world.connect(data)
    opened(world.first, data)
    announce(world.first)
    end(world.first)
    second = world.server()
    carries(second, opened(second, data), client)


def test_a_half_close_is_repeated_too(etcp):
    world = World(etcp)
    client = world.connect(b"all of it", close=True)
    stream = opened(world.first, b"all of it", close=True)
    announce(world.first)
    fail(world.first, stream, peer.CODE_SHUTTING_DOWN)
    second = world.server()
    stream = opened(second, b"all of it", close=True)
    second.send_frame(peer.frame(peer.DATA, stream, b"answer"))
    second.send_frame(peer.frame(peer.CLOSE, stream))
    assert read_to_end(client) == b"answer"


def test_what_is_said_meanwhile_follows_in_order(etcp):
    world = World(etcp)
    client = world.connect(b"before ")
    stream = opened(world.first, b"before ")
    announce(world.first)
    fail(world.first, stream, peer.CODE_SHUTTING_DOWN)
    wire = etcp.keep(world.listener.accept_wire())
    client.sendall(b"while there was no connection ")
    wire.receive_request()
    wire.send(wire.response())
    wire.receive_authentication()
    second = greet(wire.connection())
    opened(second, b"before while there was no connection ")


def test_several_times(etcp):
    world = World(etcp)
    data = os.urandom(30000)
    client, server = world.connect(data), world.first
    for _ in range(RETRY_MAX - 1):
        stream = opened(server, data)
        announce(server)
        fail(server, stream, peer.CODE_SHUTTING_DOWN)
        end(server)
        server = world.server()
    carries(server, opened(server, data), client)


def test_not_for_ever(etcp):
    """A server that takes connections to refuse their streams."""
    world = World(etcp)
    client, server = world.connect(b"question"), world.first
    for tries in range(RETRY_MAX + 1):
        stream = opened(server, b"question")
        announce(server)
        fail(server, stream, peer.CODE_SHUTTING_DOWN)
        end(server)
        if tries < RETRY_MAX:
            server = world.server()
    assert is_reset(client)
    world.agent.log.wait("refused by the server: shutting-down")


def test_no_other_server_is_there(etcp):
    """It waits as long as a connection is waited for, and the log says why."""
    world = World(etcp, forward='wait = "300ms"', delay="1h")
    client = world.connect(b"question")
    stream = opened(world.first, b"question")
    world.listener.sock.close()
    announce(world.first)
    fail(world.first, stream, peer.CODE_SHUTTING_DOWN)
    end(world.first)
    assert is_reset(client)
    world.agent.log.wait(r"reset: the server is shutting down, and no other connection to the server in 0\.30 s")


def test_the_client_goes_while_it_waits(etcp):
    world = World(etcp)
    client = world.connect(b"question")
    stream = opened(world.first, b"question")
    announce(world.first)
    fail(world.first, stream, peer.CODE_SHUTTING_DOWN)
    wire = etcp.keep(world.listener.accept_wire())
    reset(client)
    wire.receive_request()
    wire.send(wire.response())
    wire.receive_authentication()
    second = greet(wire.connection())
    second.heartbeat(skip=(peer.OPEN, peer.DATA, peer.ERROR))
    frames = list(second.kept)
    assert [frame.id for frame in frames if frame.id != peer.DATA] in ([peer.OPEN, peer.ERROR], [])
    nothing_follows(world, second)


# ---- Where it is not certain


def refuse_after(words):
    """Each says something on the stream: the server has taken it."""
    return pytest.mark.parametrize("word", words, ids=lambda word: word.__name__)


def says_data(server, stream):
    server.send_frame(peer.frame(peer.DATA, stream, b"x"))


def says_close(server, stream):
    server.send_frame(peer.frame(peer.CLOSE, stream))


def says_credit(server, stream):
    server.send_frame(peer.credit_frame(stream, 8, peer.WINDOW + 8))


@refuse_after((says_data, says_close, says_credit))
@pytest.mark.parametrize("how", ("error", "end", "limit"))
def test_a_stream_that_was_taken_is_not_repeated(etcp, word, how):
    world = World(etcp)
    client = world.connect(b"question")
    stream = opened(world.first, b"question")
    word(world.first, stream)
    announce(world.first)
    if how == "end":
        end(world.first)
    else:
        fail(world.first, stream, peer.CODE_LIMIT if how == "limit" else peer.CODE_SHUTTING_DOWN)
    assert is_reset(client) or word is says_close  # whoever has read the FIN reads nothing more
    if how == "end":
        world.server().heartbeat(skip=())
    else:
        nothing_follows(world, world.first)


def test_shutting_down_without_an_announcement_is_not_repeated(etcp):
    """It may be a server that ends what it was at."""
    world = World(etcp)
    client = world.connect(b"question")
    fail(world.first, opened(world.first, b"question"), peer.CODE_SHUTTING_DOWN)
    assert is_reset(client)
    nothing_follows(world, world.first)


@pytest.mark.parametrize("code", [c for c in range(11) if c not in (peer.CODE_LIMIT, peer.CODE_SHUTTING_DOWN)])
def test_other_codes_are_not_repeated(etcp, code):
    world = World(etcp)
    client = world.connect(b"question")
    stream = opened(world.first, b"question")
    announce(world.first)
    fail(world.first, stream, code)
    assert is_reset(client)
    nothing_follows(world, world.first)


def out_of_patience(server):
    announce(server)
    end(server, peer.CODE_SHUTTING_DOWN)


def ok_at_once(server):
    end(server)


def timed_out(server):
    announce(server)
    end(server, peer.CODE_TIMEOUT)


def cut_off(server):
    server.shutdown()


def cut_off_after_an_announcement(server):
    announce(server)
    server.shutdown()


def broken(server):
    server.reset()


ENDS = pytest.mark.parametrize(
    "how", (out_of_patience, ok_at_once, timed_out, cut_off, cut_off_after_an_announcement, broken)
)


@ENDS
def test_a_connection_that_is_lost_with_data_is_not_repeated(etcp, how):
    world = World(etcp)
    client = world.connect(b"question")
    opened(world.first, b"question")
    how(world.first)
    assert is_reset(client)
    nothing_follows(world, world.server())


@ENDS
def test_a_half_close_alone_is_not_repeated_either(etcp, how):
    world = World(etcp)
    client = world.connect(close=True)
    opened(world.first, close=True)
    how(world.first)
    assert is_reset(client)
    nothing_follows(world, world.server())


@ENDS
def test_a_connection_that_is_lost_before_anything_was_sent(etcp, how):
    world = World(etcp)
    client = world.connect()
    opened(world.first)
    how(world.first)
    second = world.server()
    stream = opened(second)
    carries(second, stream, client)


def test_a_connection_that_is_lost_before_the_stream_had_an_answer(etcp):
    """The stream shares it with another one, which has been at work: that one ends, the other goes on."""
    world = World(etcp)
    busy = world.connect(b"busy")
    stream = opened(world.first, b"busy")
    world.first.send_frame(peer.frame(peer.DATA, stream, b"x"))
    assert busy.recv(1) == b"x"
    silent = world.connect()
    opened(world.first)
    world.first.reset()
    assert is_reset(busy)
    second = world.server()
    carries(second, opened(second), silent)


# ---- Streams in a connection


def test_too_many_streams_in_a_connection(etcp):
    """The one too many goes to another connection, or waits for room in this one."""
    world = World(etcp)
    first = world.connect(b"first")
    stream = opened(world.first, b"first")
    data = os.urandom(50000)
    second = world.connect(data)
    refused = opened(world.first, data)
    fail(world.first, refused, peer.CODE_LIMIT)
    carries(world.first, stream, first)
    carries(world.first, opened(world.first, data), second)
    assert "refused by the server" not in world.agent.log.text


def test_too_many_streams_with_another_connection(etcp):
    world = World(etcp, max_connections=3)
    clients = [world.connect(b"first")]
    opened(world.first, b"first")
    clients.append(world.connect(b"second"))
    servers = [world.first, world.server()]
    opened(servers[1], b"second")
    clients.append(world.connect(b"third"))  # at the limit: shares one of them until the third connection is up
    shared = next_open(*servers)
    servers.append(world.server())
    fail(shared, opened(shared, b"third"), peer.CODE_LIMIT)
    servers.remove(shared)
    other = next_open(*servers)
    carries(other, opened(other, b"third"), clients[2])


def next_open(*servers):
    """The connection on which a stream is opened next."""
    ready, _, _ = select.select([server.sock for server in servers], [], [], TIMEOUT)
    return next(server for server in servers if server.sock in ready)


def test_no_room_in_time(etcp):
    world = World(etcp, forward='wait = "300ms"')
    world.connect(b"first")
    opened(world.first, b"first")
    client = world.connect(b"second")
    fail(world.first, opened(world.first, b"second"), peer.CODE_LIMIT)
    assert is_reset(client)
    world.agent.log.wait("reset: the server takes no more streams in a connection, and no other connection")


def test_more_streams_than_the_server_takes(etcp):
    """The real server, with few streams in few connections, and more clients than both have room for."""
    tunnel = Tunnel(etcp, limits="max_streams = 2", forward='wait = "5min"', agent={"max_connections": 3})
    Traffic(tunnel.address, tunnel.listener, 40 if sanitized() else 100, size=20000).run(4 * TIMEOUT)
    assert "refused by the server" not in tunnel.agent.log.text and "reset" not in tunnel.agent.log.text


def test_refusals_that_take_their_time(etcp):
    """Each connection refuses the stream, but late: the time of the local connection ends all the same."""
    world = World(etcp, forward='wait = "2s"', max_connections=64)
    client = world.connect(b"question")
    fail(world.first, opened(world.first, b"question"), peer.CODE_LIMIT)
    second = world.server()
    stream = opened(second, b"question")
    time.sleep(2.1)  # its time, which has begun with the first refusal
    fail(second, stream, peer.CODE_LIMIT)
    assert is_reset(client)
    world.agent.log.wait("forward test: .* refused by the server: limit")


# ---- Connections are replaced


def test_spare_connections_are_replaced_at_once(etcp):
    world = World(etcp, spare_connections=3, max_connections=64)
    spares = [world.server() for _ in range(2)]
    world.connect(b"busy")
    opened_on = next_open(world.first, *spares)
    stream = opened(opened_on, b"busy")
    spares = [server for server in (world.first, *spares, world.server()) if server is not opened_on]
    for _ in range(4):
        gone = spares.pop(0)
        if gone is world.first:
            spares.append(gone)
            continue
        announce(gone)
        end(gone)
        spares.append(world.server())
    opened_on.send_frame(peer.frame(peer.DATA, stream, b"x"))


def test_an_idle_connection_that_is_announced_the_end_is_given_up(etcp):
    """A server that never says the second Goodbye holds nothing of the agent's; nor does one that says so to all who come."""
    world = World(etcp, spare_connections=1, max_connections=64)
    busy = world.connect(b"busy")
    spare = world.server()
    on = next_open(world.first, spare)
    stream = opened(on, b"busy")
    idle = spare if on is world.first else None
    if idle is None:
        idle = world.server()
    for _ in range(3):
        announce(idle)
        frames, how = idle.frames_to_end()
        assert [frame.code for frame in frames] == [peer.CODE_OK] and how == "fin"
        idle.close()
        idle = world.server()
    carries(on, stream, busy)


def test_a_server_that_refuses_every_stream_as_one_too_many(etcp):
    """Connections are made up to the limit, each is tried, and then the local connection waits for its time to end."""
    world = World(etcp, forward='wait = "500ms"', max_connections=3)
    client = world.connect(b"question")
    fail(world.first, opened(world.first, b"question"), peer.CODE_LIMIT)
    servers = [world.first]
    for _ in range(2):
        servers.append(world.server())
        fail(servers[-1], opened(servers[-1], b"question"), peer.CODE_LIMIT)
    assert is_reset(client)
    world.agent.log.wait("reset: the server takes no more streams in a connection, and no other connection")


def test_while_the_first_connection_drains_others_are_made(etcp):
    """Its streams go on; new ones are carried by others, though only one connection is allowed."""
    world = World(etcp)
    old = world.connect(b"old")
    stream = opened(world.first, b"old")
    announce(world.first)
    world.first.heartbeat()  # it knows; a stream that crosses is another test's
    for _ in range(3):
        fresh = world.connect(b"new")
        if _ == 0:
            second = world.server()
        carries(second, opened(second, b"new"), fresh)
    carries(world.first, stream, old)
    end(world.first)
    third = world.server()
    frames, _ = second.frames_to_end()
    assert [frame.code for frame in frames] == [peer.CODE_OK]  # there is one again
    client = world.connect(b"last")
    carries(third, opened(third, b"last"), client)


def test_messages_beside_forwards_do_not_cut_them(etcp):
    world = World(etcp, message='count = 1000 interval = "1h"')
    echo = world.first.expect(peer.OPEN).stream
    hello = world.first.expect(peer.DATA, echo).body
    client = world.connect(b"question")
    stream = opened(world.first, b"question")
    world.first.send_frame(peer.frame(peer.DATA, echo, hello))
    world.agent.out.wait("Hello")
    announce(world.first)
    carries(world.first, stream, client)
    assert world.first.frames_to_end()[0][-1].code == peer.CODE_OK
