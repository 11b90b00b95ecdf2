# SPDX-License-Identifier: MIT
"""Streams are opened right behind Authentication on further connections to a server that has let the agent in before: a round trip
less for whoever waits. What becomes of them when the server does not let it in this time, or is gone."""

import os
import select
import signal
import time

import pytest

import etcp_peer as peer
from harness import TIMEOUT
from test_retry import World, announce, carries, cut_off, end, fail, greet, next_open, nothing_follows, opened
from tunnel import is_reset, reset

FURTHER = {"max_connections": 4, "spare_connections": 0}


def introduced(world, listener=None):
    """A connection of the agent's which the server has not let in: its first ask is not answered."""
    connection = world.etcp.keep((listener or world.listener).accept())
    connection.answer_heartbeats = False
    connection.first = connection.receive_frame()
    assert connection.first.id == peer.HEARTBEAT and connection.first.kind == peer.ASK
    return connection


def let_in(connection):
    connection.send_frame(peer.heartbeat_frame(peer.ANSWER, connection.first.opaque))
    connection.answer_heartbeats = True


def next_opened(data, *servers):
    server = next_open(*servers)
    return server, opened(server, data)


def reject(connection):
    """Returns what the agent had sent on the connection."""
    connection.goodbye(peer.CODE_UNAUTHORIZED)
    connection.shutdown()
    return connection.frames_to_end()[0]


@pytest.fixture
def world(etcp):
    """The first connection carries a stream: others make connections."""
    world = World(etcp, **FURTHER)
    world.connect(b"first")
    world.stream = opened(world.first, b"first")
    return world


@pytest.mark.parametrize("size", (0, 5, 16384, 100000, peer.WINDOW))
def test_a_stream_does_not_wait_for_the_answer(world, size):
    data = os.urandom(size)
    client = world.connect(data)
    second = introduced(world)
    stream = opened(second, data)
    let_in(second)
    carries(second, stream, client, size)
    nothing_follows(world, world.first, second)


def test_a_half_close_does_not_wait_either(world):
    client = world.connect(b"question", close=True)
    second = introduced(world)
    stream = opened(second, b"question", close=True)
    let_in(second)
    second.send_frame(peer.frame(peer.DATA, stream, b"answer"))
    second.send_frame(peer.frame(peer.CLOSE, stream))
    assert client.recv(100) == b"answer"
    assert client.recv(1) == b""


def test_more_than_a_window_waits_for_credit(world):
    data = os.urandom(3 * peer.WINDOW)
    client = world.connect()
    second = introduced(world)
    stream = second.expect(peer.OPEN).stream
    client.settimeout(TIMEOUT)
    client.setblocking(False)
    sent, got = 0, b""
    let_in(second)
    while len(got) < len(data):
        try:
            sent += client.send(data[sent:])
        except BlockingIOError:
            pass
        got += second.expect(peer.DATA, stream).body
        if len(got) % peer.WINDOW == 0:
            second.send_frame(peer.credit_frame(stream, len(got), len(got) + peer.WINDOW))
    assert got == data


def test_the_answer_of_the_service_lets_in_too(world):
    client = world.connect(b"question")
    second = introduced(world)
    stream = opened(second, b"question")
    second.answer_heartbeats = True
    carries(second, stream, client, 8)


@pytest.mark.parametrize("code", (peer.CODE_NO_SUCH_SERVICE, peer.CODE_UNAUTHORIZED, peer.CODE_CONNECT_FAILED))
def test_the_service_is_refused(world, code):
    client = world.connect(b"question")
    second = introduced(world)
    fail(second, opened(second, b"question"), code)
    assert is_reset(client)
    world.agent.log.wait("forward test: .* refused by the server")
    second.answer_heartbeats = True
    nothing_follows(world, world.first, second)


def test_the_client_goes_before_the_answer(world):
    client = world.connect(b"question")
    second = introduced(world)
    stream = opened(second, b"question")
    client.close()
    second.expect(peer.CLOSE, stream)
    let_in(second)
    second.send_frame(peer.frame(peer.CLOSE, stream))
    second.heartbeat()
    again = world.connect(b"again")  # the connection is up and idle now
    stream = opened(second, b"again")
    carries(second, stream, again, 5)


# ---- A server that sends everybody away but the first


@pytest.mark.parametrize("when", ("at once", "a moment later", "without an end"))
def test_it_is_not_asked_again_at_once(etcp, when):
    """A well-meant Goodbye, so that no failure tells it: the connection that is there has the next stream. Also as long as the server
    has not closed the one that it has ended."""
    world = World(etcp, max_connections=4, spare_connections=1)
    world.connect(b"first")
    opened(world.first, b"first")
    second = introduced(world)
    if when != "at once":
        let_in(second)
        second.heartbeat()
    second.goodbye(peer.CODE_OK)
    if when != "without an end":
        second.shutdown()
    second.frames_to_end()
    client = world.connect(b"next")
    carries(world.first, opened(world.first, b"next"), client, 4)


def test_what_a_newcomer_carried_goes_to_the_one_that_is_there(world):
    """A stream that has said nothing yet, on a connection that the server ends as soon as it is there, but does not close."""
    client = world.connect()
    second = introduced(world)
    opened(second)
    let_in(second)
    second.heartbeat()
    second.goodbye(peer.CODE_OK)
    second.frames_to_end()
    carries(world.first, opened(world.first), client)


# ---- It is not let in


def next_introduced(world):
    """The connection that is made for a further local connection: those that come while the pool holds back go to the first one."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        client = world.connect(b"next")
        ready, _, _ = select.select([world.listener.sock, world.first.sock], [], [], TIMEOUT)
        if world.listener.sock in ready:
            return introduced(world)
        stream = opened(world.first, b"next")
        client.close()
        world.first.expect(peer.CLOSE, stream)
        world.first.send_frame(peer.frame(peer.CLOSE, stream))
    raise AssertionError("no further connection is made")


@pytest.mark.parametrize("size", (0, 5, 100000, peer.WINDOW))
def test_not_let_in_this_time(world, size):
    """Nobody has got a byte: another connection begins with the same ones, and from now on the answer is waited for."""
    data = os.urandom(size)
    client = world.connect(data)
    second = introduced(world)
    opened(second, data)
    reject(second)
    world.agent.log.wait("does not know us")
    carries(world.first, opened(world.first, data), client, size)
    assert reject(next_introduced(world)) == []
    world.agent.log.wait(r"cannot connect to .*: the server said goodbye: unauthorized")


def test_let_in_and_told_that_the_server_shuts_down(world):
    client = world.connect(b"question")
    second = introduced(world)
    stream = opened(second, b"question")
    announce(second)
    fail(second, stream, peer.CODE_SHUTTING_DOWN)
    end(second)
    carries(world.first, opened(world.first, b"question"), client, 8)


def resets(connection):
    connection.reset()


def says_ok(connection):
    end(connection)


def says_limit(connection):
    end(connection, peer.CODE_LIMIT)


def breaks_a_rule(connection):
    connection.send_frame(peer.frame(0x7F))


def forges(connection):
    connection.send(bytes.fromhex("0000001e") + connection.sending.aead.nonce(0) + bytes(30))


LOSSES = pytest.mark.parametrize("how", (cut_off, resets, says_ok, says_limit, breaks_a_rule, forges))


@LOSSES
def test_a_connection_that_is_lost_with_data_is_not_repeated(world, how):
    """The server may have let it in and begun."""
    client = world.connect(b"question")
    second = introduced(world)
    opened(second, b"question")
    how(second)
    assert is_reset(client)
    nothing_follows(world, world.first)


@LOSSES
def test_a_connection_that_is_lost_before_anything_was_sent(world, how):
    client = world.connect()
    second = introduced(world)
    opened(second)
    how(second)
    carries(world.first, opened(world.first), client)  # the pool holds back
    assert reject(next_introduced(world)) == []  # the answer is waited for now


def test_a_record_and_then_unauthorized(world):
    """It was let in, and sent away in the same moment: its stream may have been taken in between."""
    client = world.connect(b"question")
    second = introduced(world)
    opened(second, b"question")
    ask, goodbye = peer.heartbeat_frame(peer.ASK), peer.code_frame(peer.GOODBYE, 0, peer.CODE_UNAUTHORIZED)
    second.send(second.seal(ask) + second.seal(goodbye))
    second.shutdown()
    assert is_reset(client)
    nothing_follows(world, world.first)


@pytest.mark.parametrize("how", (says_ok, says_limit, cut_off))
def test_what_is_lost_is_said(world, how):
    client = world.connect(b"question")
    second = introduced(world)
    opened(second, b"question")
    how(second)
    assert is_reset(client)
    world.agent.log.wait("warning: cannot connect to ")
    world.agent.log.wait("warning: one connection less to .*; 1 forwarded connections ended with it")


# ---- It is not answered


def test_nobody_waits_longer_than_for_a_connection(etcp):
    world = World(etcp, forward='wait = "1s"', **FURTHER)
    world.connect(b"first")
    opened(world.first, b"first")
    client = world.connect(b"question")
    second = introduced(world)
    stream = opened(second, b"question")
    assert is_reset(client)
    world.agent.log.wait(r"reset: no connection to the server in 1\.00 s")
    frames, _ = second.frames_to_end()  # the connection has nothing else to do
    assert [(frame.id, frame.code) for frame in frames] == [(peer.ERROR, peer.CODE_TIMEOUT), (peer.GOODBYE, peer.CODE_OK)]
    assert frames[0].stream == stream
    client = world.connect(b"again")
    third = introduced(world)  # its answer is waited for
    let_in(third)
    carries(third, opened(third, b"again"), client, 5)


@pytest.mark.parametrize("data", (b"", b"question"))
def test_a_late_answer(etcp, data):
    """Later than anything is kept for a stream on a connection that is up."""
    world = World(etcp, forward='wait = "30s"', **FURTHER)
    world.connect(b"first")
    opened(world.first, b"first")
    client = world.connect(data)
    second = introduced(world)
    opened(second, data)
    time.sleep(11)
    reject(second)
    carries(world.first, opened(world.first, data), client, len(data))


def test_a_connection_that_is_not_up_is_not_idle(world):
    client = world.connect(b"question")
    second = introduced(world)
    stream = opened(second, b"question")
    reset(client)
    second.expect(peer.ERROR, stream)
    client = world.connect(b"again")
    fail(world.first, world.stream, peer.CODE_RESET)  # now the first one is idle
    carries(world.first, opened(world.first, b"again"), client, 5)
    client = world.connect(b"more")
    let_in(second)
    carries(*next_opened(b"more", world.first, second), client, 4)


# ---- Where it does wait


@pytest.mark.parametrize("how", (reject, resets))
def test_a_server_with_the_same_key_is_waited_for(etcp, how):
    """One identity for two servers: only the second one has let the agent in."""
    other, second = etcp.listener(), etcp.listener()
    agent = etcp.agent(
        '{"127.0.0.1:%d", "127.0.0.1:%d"}' % (other.port, second.port),
        rest='forward "test" { listen = "127.0.0.1:0" service = "test" }\n',
        message=None,
        **FURTHER
    )
    world = Two(etcp, agent, other, second)
    how(introduced(world, other))
    first = greet(etcp.keep(second.accept()))
    world.connect(b"first")
    opened(first, b"first")
    client = world.connect(b"question")
    assert how(introduced(world, other)) in ([], None)
    third = introduced(world, second)
    stream = opened(third, b"question")
    let_in(third)
    carries(third, stream, client, 8)


def test_nobody_waits_any_more(etcp):
    """The local connection has gone meanwhile, so other servers are tried as ever."""
    world = World(etcp, forward='wait = "300ms"', **FURTHER)
    world.connect(b"first")
    opened(world.first, b"first")
    client = world.connect(b"question")
    wire = etcp.keep(world.listener.accept_wire())
    wire.receive_request()
    assert is_reset(client)
    wire.send(wire.response())
    wire.receive_authentication()
    second = etcp.keep(wire.connection())
    second.answer_heartbeats = False
    assert second.receive_frame().kind == peer.ASK
    assert reject(second) == []
    world.agent.log.wait(r"cannot connect to .*: the server said goodbye: unauthorized")


def test_a_server_with_another_key_is_waited_for(etcp):
    """The agent is let in by the second server of its list only; the first one is never sent a stream."""
    other = etcp.listener(secret=peer.new_secret())
    second = etcp.listener()
    pins = ['"%s"' % peer.key_text("pub", listener.public) for listener in (other, second)]
    agent = etcp.agent(
        '{"127.0.0.1:%d", "127.0.0.1:%d"}' % (other.port, second.port),
        rest='forward "test" { listen = "127.0.0.1:0" service = "test" }\n',
        message=None,
        server_key="{%s}" % ", ".join(pins),
        **FURTHER
    )
    world = Two(etcp, agent, other, second)
    world.reject_at_the_first()
    first = greet(etcp.keep(second.accept()))
    world.connect(b"first")
    opened(first, b"first")
    client = world.connect(b"question")
    world.reject_at_the_first()
    third = introduced(world, second)
    stream = opened(third, b"question")  # this one has let it in before
    let_in(third)
    carries(third, stream, client, 8)


class Two(World):
    def __init__(self, etcp, agent, other, listener):  # pylint: disable=super-init-not-called
        self.etcp, self.agent, self.other, self.listener = etcp, agent, other, listener
        self.address = ("127.0.0.1", int(agent.log.wait(r"listening on 127\.0\.0\.1:(\d+): forward").group(1)))

    def reject_at_the_first(self):
        assert reject(introduced(self, self.other)) == []


def test_spare_connections_wait(etcp):
    """Nobody waits for them, so a server that sends them away leads to the next one as ever."""
    world = World(etcp, max_connections=3, spare_connections=1)
    world.connect(b"first")
    spare = introduced(world)
    assert reject(spare) == []
    world.agent.log.wait(r"cannot connect to .*: the server said goodbye: unauthorized")


def test_after_a_reload_the_answer_is_waited_for(etcp):
    """The agent may have another key now."""
    world = World(etcp, **FURTHER)
    world.connect(b"first")
    opened(world.first, b"first")
    world.agent.signal(signal.SIGHUP)
    world.agent.log.wait("configuration reloaded")
    client = world.connect(b"question")
    second = introduced(world)
    assert reject(second) == []
    carries(world.first, opened(world.first, b"question"), client, 8)
