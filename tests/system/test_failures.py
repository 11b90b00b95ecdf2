# SPDX-License-Identifier: MIT
"""Killed servers, silent peers, dead networks: what is lost is sent again, once, in order."""

import contextlib
import re
import signal
import threading

import pytest

import etcp_peer as peer
import relay
from harness import eventually, free_port


def texts(agent):
    return agent.out.text.splitlines()


def test_server_killed_between_messages(etcp):
    """Five messages over three lives of the server: each is echoed and reported exactly once."""
    server = etcp.server()
    bind = '{"127.0.0.1:%d"}' % server.port
    agent = etcp.agent(server.port, message='count = 5 interval = "100ms"', delay="50ms")
    for seen in (1, 3):
        agent.out.wait("Hello", seen)
        server.kill()
        agent.log.wait(r"(?i)refused", 1)
        server = etcp.server(bind=bind)
    assert agent.wait() == 0
    assert texts(agent) == ["Hello from client!"] * 5


@pytest.mark.parametrize("suite", ['"chacha20poly1305"', '"classic"'])
def test_each_message_is_reported_once_wherever_the_connection_breaks(etcp, suite):
    """The real server, behind a relay that cuts each connection after a while: a byte more each time."""
    server = etcp.server(classic="true")
    middle = etcp.keep(relay.Relay(server.address))
    middle.cut_after = 1
    agent = etcp.agent(
        middle.port,
        suite=suite,
        server_key=None if "classic" in suite else '{"%s"}' % peer.key_text("pub", etcp.server_public),
        message='count = 4 interval = "1ms" text = "once"',
        delay="10ms",
        log_level='"info"',
    )
    while agent.running:
        seen = middle.connections
        middle.cut_after += 13
        eventually(lambda: middle.connections > seen or not agent.running, "another connection")  # noqa: B023
    assert agent.wait() == 0
    assert texts(agent) == ["once"] * 4


def test_messages_differ_in_order_when_sent_again(etcp):
    """The tests' server swallows an echo: the message comes again on the next connection, nothing else does."""
    listener = etcp.listener()
    agent = etcp.agent(listener.port, message='count = 4 interval = "1ms"', delay="10ms")
    arrived = 0
    for confirmed in (1, 1, 1):
        connection = etcp.keep(listener.accept())
        peer.EchoServer(connection, limit=confirmed).run()
        arrived += confirmed
        got = connection.expect(peer.DATA, skip=(peer.CREDIT,))
        assert got.body == b"Hello from client!"
        agent.out.wait("Hello", arrived)
        connection.reset()
    connection = etcp.keep(listener.accept())
    echo = peer.EchoServer(connection)
    echo.run()
    connection.close()
    assert b"".join(echo.messages.values()) == b"Hello from client!", "only the last one is left"
    assert agent.wait() == 0
    assert len(texts(agent)) == 4


def test_agent_notices_a_silent_server(etcp):
    """It asks; nobody answers; it says so and comes again."""
    listener = etcp.listener()
    agent = etcp.agent(
        listener.port, rest='heartbeat { interval = "100ms" timeout = "400ms" }', delay="10ms", message="count = 1"
    )
    connection = etcp.keep(listener.accept())
    connection.heartbeat(skip=(peer.OPEN, peer.DATA, peer.CREDIT))
    again = etcp.keep(listener.accept())
    agent.log.wait(r"(?i)nothing|timed? ?out|timeout|silent|lost|dead")
    assert peer.EchoServer(again).run().code == peer.CODE_OK
    again.close()
    assert agent.wait() == 0 and len(texts(agent)) == 1


def test_server_notices_a_silent_agent(etcp):
    """And only that one: another, which answers all the while, goes on."""
    server = etcp.server(rest='heartbeat { interval = "200ms" timeout = "1500ms" }')
    silent, lively = etcp.connect(server), etcp.connect(server)
    silent.answer_heartbeats = False
    frames, answered = [], 0
    end = threading.Thread(target=lambda: frames.extend(silent.frames_to_end()[0]))
    end.start()
    while end.is_alive() or answered < 3:
        got = peer.Frame(lively.receive_record())
        assert got.id == peer.HEARTBEAT and got.kind == peer.ASK
        lively.send_frame(peer.heartbeat_frame(peer.ANSWER, got.opaque))
        answered += 1
    end.join()
    assert [
        frame for frame in frames if frame.id == peer.HEARTBEAT and frame.kind == peer.ASK
    ], "it asks before it gives up"
    lively.echo(lively.open(), b"alive")


@pytest.mark.parametrize("suite", ['"chacha20poly1305"', '"classic"'])
def test_server_that_answers_nothing_at_all(etcp, suite):
    """A port that accepts and says nothing, or next to nothing: after connect_timeout the agent goes on."""
    listener, server = etcp.listener(), etcp.server(classic="true")
    agent = etcp.agent(
        '{"127.0.0.1:%d", "127.0.0.1:%d"}' % (listener.port, server.port),
        message="count = 1",
        suite=suite,
        server_key=None if "classic" in suite else '{"%s"}' % peer.key_text("pub", etcp.server_public),
        connect_timeout='"400ms"',
    )
    wire = etcp.keep(listener.accept_wire())
    assert wire.receive(42)[0] == peer.REQUEST
    wire.send_anyway(bytes([peer.RESPONSE]))
    assert wire.receive_end() in ("fin", "reset")
    assert agent.wait() == 0 and len(texts(agent)) == 1
    agent.log.wait("the handshake took too long: is this the port of an etcp server?")


def test_bytes_in_dribs_and_drabs_do_not_lengthen_a_handshake(etcp):
    listener = etcp.listener()
    agent = etcp.agent(listener.port, message="count = 1", connect_timeout='"400ms"', delay="10ms")
    wire = etcp.keep(listener.accept_wire())
    wire.receive_request()
    response = wire.response()
    wire.sock.settimeout(0.05)
    for byte in response[:-1]:
        wire.sock.send(bytes([byte]))
        with contextlib.suppress(TimeoutError):
            if wire.sock.recv(1) == b"":
                break
    else:
        raise AssertionError("five seconds for a response")
    agent.log.wait("the handshake took too long")
    etcp.keep(listener.accept_wire())


def test_unauthorised_agent_is_told_so(etcp):
    server = etcp.server(rest='service "echo" { type = "echo" allow = {"agent"} }', echo=False)
    secret = etcp.new_key("sec", "stranger.key")
    agent = etcp.agent(server.port, identity='"%s"' % (etcp.path / "stranger.key"), delay="20ms")
    agent.log.wait(r"(?i)unauthori[sz]ed|not authori[sz]ed")
    public = peer.key_text("pub", peer.public_of(secret))
    agent.log.wait(re.escape(public))
    server.log.wait(re.escape(public))
    assert agent.running and texts(agent) == [] and not agent.log.lines("(?<!dis)connected")
    etcp.authorize(peer.public_of(secret), "agent")
    server.signal(signal.SIGHUP)
    assert agent.wait() == 0 and len(texts(agent)) == 1


def test_server_that_answers_heartbeats_and_nothing_else(etcp):
    """A service that swallows what it gets: the connection is given up, and the message sent again on another."""
    listener = etcp.listener()
    agent = etcp.agent(listener.port, message='count = 1 timeout = "200ms"', delay="10ms")
    connection = etcp.keep(listener.accept())
    got = connection.expect(peer.DATA, skip=(peer.OPEN,))
    connection.send_frame(peer.frame(peer.DATA, got.stream, got.body[:5]))
    connection.heartbeat(skip=(peer.CREDIT,))
    frames, _ = connection.frames_to_end()
    assert frames[-1].id == peer.GOODBYE and frames[-1].code == peer.CODE_OK
    connection.close()
    agent.log.wait('service "echo" has sent back 5 of 18 bytes within message.timeout')
    agent.log.wait("retrying in")
    again = etcp.keep(listener.accept())
    assert peer.EchoServer(again).run().code == peer.CODE_OK
    again.close()
    assert agent.wait() == 0 and len(texts(agent)) == 1


def test_the_time_between_messages_is_no_wait_for_an_echo(etcp):
    server = etcp.server()
    agent = etcp.agent(server.port, message='count = 3 interval = "400ms" timeout = "200ms"')
    assert agent.wait() == 0 and len(texts(agent)) == 3
    assert len(agent.log.lines(" connected to")) == 1
    assert not agent.log.lines("message.timeout")


def test_truncation_is_an_error_not_an_end(etcp):
    listener = etcp.listener()
    agent = etcp.agent(listener.port, message="count = 1", delay="10ms")
    connection = etcp.keep(listener.accept())
    connection.expect(peer.DATA, skip=(peer.OPEN,))
    connection.shutdown()
    connection.frames_to_end()
    connection.close()
    agent.log.wait(r"(?i)goodbye|truncat")
    connection = etcp.keep(listener.accept())
    peer.EchoServer(connection).run()
    connection.close()
    assert agent.wait() == 0 and len(texts(agent)) == 1


def test_server_shutting_down_lets_the_agent_go_and_come_back(etcp):
    server = etcp.server()
    bind = '{"127.0.0.1:%d"}' % server.port
    agent = etcp.agent(server.port, message='count = 3 interval = "200ms"', delay="20ms")
    agent.out.wait("Hello")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    etcp.server(bind=bind)
    assert agent.wait() == 0
    assert texts(agent) == ["Hello from client!"] * 3


def test_a_second_agent_is_not_disturbed_by_a_dying_first(etcp):
    server = etcp.server()
    healthy = etcp.agent(server.port, message='count = 30 interval = "10ms"')
    healthy.out.wait("Hello")
    for number in range(5):
        dying = etcp.agent(server.port, message='count = 100 interval = "1ms"', name="dying%d.conf" % number)
        dying.out.wait("Hello")
        dying.kill()
    assert healthy.wait() == 0
    assert len(texts(healthy)) == 30
    assert not healthy.log.lines(r"(?i)refused|lost|again in")


def test_port_taken_by_something_else(etcp):
    """A web server's answer is no Encryption Response."""
    port = free_port()
    listener = etcp.listener(port=port)
    agent = etcp.agent(port, message="count = 1", delay="10ms")
    wire = etcp.keep(listener.accept_wire())
    wire.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    wire.receive_to_end()
    wire.close()
    listener.close()
    etcp.server(bind='{"127.0.0.1:%d"}' % port)
    assert agent.wait() == 0
    eventually(lambda: len(texts(agent)) == 1, "the echo")
