# SPDX-License-Identifier: MIT
"""etcp-agent against the real server and against the tests' own: message mode, reconnecting, trust."""

import re
import signal
import socket
import time

import pytest

import etcp_peer as peer
from harness import EX_UNAVAILABLE, eventually, free_port

HELLO = "Hello from client!"
QUICK = 'count = 3 interval = "10ms"'


def echoes(agent, text=HELLO):
    return [line for line in agent.out.text.splitlines() if text in line]


def serve(etcp, listener):
    """Takes the agent's connection and echoes to its Goodbye."""
    connection = etcp.keep(listener.accept())
    echo = peer.EchoServer(connection)
    assert echo.run().code == peer.CODE_OK
    connection.close()
    return echo


# ---- Message mode


def test_five_messages_a_second_apart_by_default(etcp):
    """The original's behaviour, with no message section at all: the one test here that takes four seconds."""
    server = etcp.server()
    started = time.monotonic()
    agent = etcp.agent(server.port, message=None)
    assert agent.wait() == 0
    assert len(echoes(agent)) == 5 and len(agent.out.text.splitlines()) == 5
    assert time.monotonic() - started >= 4, "the messages are a second apart"


def test_text_count_and_interval(etcp):
    server = etcp.server()
    agent = etcp.agent(server.port, message='text = "Grüß Gott, etcp" count = 7 interval = "1ms"')
    assert agent.wait() == 0
    assert len(echoes(agent, "Grüß Gott, etcp")) == 7


def test_another_service(etcp):
    server = etcp.server(rest='service "mirror.2" { type = "echo" allow = {"agent"} }', echo=False)
    agent = etcp.agent(server.port, message='service = "mirror.2" count = 2 interval = "1ms"')
    assert agent.wait() == 0
    assert len(echoes(agent)) == 2


def test_a_text_of_the_largest_size(etcp):
    server = etcp.server()
    agent = etcp.agent(server.port, message='text = "%s" count = 2 interval = "1ms"' % ("y" * 65000))
    assert agent.wait() == 0
    assert len(echoes(agent, "y" * 65000)) == 2


def test_control_characters_are_printed_escaped(etcp):
    server = etcp.server()
    agent = etcp.agent(server.port, message='text = "a\\x1b[31mred\\nb" count = 1')
    assert agent.wait() == 0
    assert agent.out.data.count(b"\n") == 1 and b"\x1b" not in agent.out.data
    assert "red" in agent.out.text


def test_payload_is_never_logged(etcp):
    server = etcp.server()
    agent = etcp.agent(server.port, message='text = "SECRET-PAYLOAD-77" count = 2 interval = "1ms"')
    assert agent.wait() == 0
    assert len(echoes(agent, "SECRET-PAYLOAD-77")) == 2
    server.stop()
    assert "SECRET-PAYLOAD-77" not in agent.log.text + server.log.text + server.out.text


def test_a_wrong_echo_is_not_reported(etcp):
    listener = etcp.listener()
    agent = etcp.agent(listener.port, message=QUICK)
    connection = etcp.keep(listener.accept())
    stream = connection.expect(peer.OPEN).stream
    size = len(connection.expect(peer.DATA).body)
    connection.send_frame(peer.frame(peer.DATA, stream, b"x" * size))
    connection.frames_to_end()
    assert echoes(agent) == []
    assert b"".join(serve(etcp, listener).messages.values()) == HELLO.encode() * 3
    assert agent.wait() == 0 and len(echoes(agent)) == 3


def test_an_echo_in_pieces_counts_when_it_is_whole(etcp):
    listener = etcp.listener()
    agent = etcp.agent(listener.port, message="count = 1")
    connection = etcp.keep(listener.accept())
    stream = connection.expect(peer.OPEN).stream
    connection.expect(peer.DATA)
    for letter in HELLO[:-1].encode():
        connection.send_frame(peer.frame(peer.DATA, stream, bytes([letter])))
    connection.heartbeat(skip=(peer.CREDIT,))
    assert echoes(agent) == []
    connection.send_frame(peer.frame(peer.DATA, stream, HELLO[-1:].encode()))
    frames, _ = connection.frames_to_end()
    assert frames[-1].id == peer.GOODBYE and frames[-1].code == peer.CODE_OK
    assert agent.wait() == 0 and len(echoes(agent)) == 1


def test_no_such_service_is_said_and_tried_again(etcp):
    server = etcp.server()
    agent = etcp.agent(server.port, message='service = "nosuch"', delay="20ms")
    agent.log.wait(r"no-such-service|no such service", 2)
    assert agent.running


def test_more_agents_on_one_server(etcp):
    server = etcp.server()
    agents = [etcp.agent(server.port, message=QUICK, name="agent%d.conf" % number) for number in range(5)]
    for agent in agents:
        assert agent.wait() == 0 and len(echoes(agent)) == 3


# ---- Without a network


def test_a_server_that_comes_later(etcp):
    port = free_port()
    agent = etcp.agent(port, message=QUICK, delay="50ms")
    agent.log.wait(r"(?i)refused", 3)
    assert agent.running
    etcp.server(bind='{"127.0.0.1:%d"}' % port)
    assert agent.wait() == 0 and len(echoes(agent)) == 3


def test_several_servers_in_order(etcp):
    dead, alive, unused = free_port(), etcp.listener(), etcp.listener()
    agent = etcp.agent(
        '{"127.0.0.1:%d", "127.0.0.1:%d", "127.0.0.1:%d"}' % (dead, alive.port, unused.port), message=QUICK
    )
    serve(etcp, alive)
    assert agent.wait() == 0
    unused.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        unused.sock.accept()
    agent.log.wait("127.0.0.1:%d" % dead)


def test_a_name_that_does_not_resolve_is_passed_over(etcp):
    server = etcp.server()
    agent = etcp.agent('{"no-such-host.invalid:1337", "localhost:%d"}' % server.port, message=QUICK)
    assert agent.wait() == 0 and len(echoes(agent)) == 3
    agent.log.wait(r"no-such-host\.invalid")


def test_a_name_that_never_resolves_ends_nothing(etcp):
    agent = etcp.agent('{"no-such-host.invalid:1337"}', message=QUICK, delay="20ms")
    agent.log.wait(r"no-such-host\.invalid.*\n(.*\n)*.*no-such-host\.invalid", 1)
    assert agent.running
    assert agent.stop() == 0


def test_a_unix_socket(etcp):
    path = etcp.path / "s.sock"
    etcp.server(bind='{"127.0.0.1:0", "unix:%s"}' % path)
    agent = etcp.agent('{"unix:%s"}' % path, message=QUICK)
    assert agent.wait() == 0 and len(echoes(agent)) == 3


def test_max_attempts(etcp):
    text = etcp.agent_text(free_port(), message=QUICK, delay=None)
    text += 'reconnect { initial_delay = "10ms" max_delay = "10ms" max_attempts = 3 }\n'
    agent = etcp.agent(text=text)
    assert agent.wait() == EX_UNAVAILABLE
    assert len(agent.log.lines(r"(?i)refused")) >= 3
    assert echoes(agent) == []


def test_delays_grow_and_begin_anew(etcp):
    """What it says it will wait: 100, 200, 400, 400 ms; after a connection that lived long enough, 100 ms again."""
    port = free_port()
    text = etcp.agent_text(port, message='count = 2 interval = "300ms"', delay=None)
    text += (
        'reconnect { initial_delay = "100ms" multiplier = 2.0 max_delay = "400ms" jitter = 0.0 '
        'reset_after = "200ms" }\n'
    )
    agent = etcp.agent(text=text)
    said = r"(?i)(?:again|retry|reconnect|next attempt)\D*?(\d+(?:\.\d+)?) ?(ms|s)\b"
    agent.log.wait(said, 4)

    def delays():
        return [
            round(float(number) * (1000 if unit == "s" else 1)) for number, unit in re.findall(said, agent.log.text)
        ]

    assert delays()[:4] == [100, 200, 400, 400]
    listener = etcp.listener(port=port)
    connection = etcp.keep(listener.accept())
    peer.EchoServer(connection, limit=1).run()
    connection.expect(peer.DATA)
    before = len(delays())
    connection.reset()
    listener.close()
    agent.log.wait(said, before + 1)
    assert delays()[before] == 100


def test_sigterm_says_goodbye(etcp):
    listener = etcp.listener()
    agent = etcp.agent(listener.port, message='count = 100 interval = "1h"')
    connection = etcp.keep(listener.accept())
    peer.EchoServer(connection, limit=1).run()
    agent.out.wait(HELLO)
    agent.signal(signal.SIGTERM)
    frames, how = connection.frames_to_end()
    assert frames[-1].id == peer.GOODBYE and how == "fin"
    connection.close()
    assert agent.wait() == 0


def test_more_signals_than_one(etcp):
    """Whoever is impatient does not make a good end a bad one."""
    listener = etcp.listener()
    for _ in range(5):
        agent = etcp.agent(listener.port, message='count = 100 interval = "1h"')
        connection = etcp.keep(listener.accept())
        peer.EchoServer(connection, limit=1).run()
        agent.signal(signal.SIGTERM)
        connection.close()
        while agent.process.poll() is None:
            agent.signal(signal.SIGTERM)
        assert agent.wait() == 0


@pytest.mark.parametrize("when", ["resolving", "connecting", "handshake", "waiting"])
def test_sigterm_at_any_time(etcp, when):
    listener = etcp.listener()
    if when == "handshake":
        agent = etcp.agent(listener.port)
        etcp.keep(listener.accept_wire()).receive_request()
    elif when == "waiting":
        agent = etcp.agent(free_port(), delay="1h")
        agent.log.wait(r"(?i)refused")
    elif when == "resolving":
        agent = etcp.agent('{"no-such-host.invalid:1337"}')
    else:
        full = etcp.keep(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        agent = etcp.agent(full.getsockname()[1])
    agent.log.wait(r".")
    agent.signal(signal.SIGTERM)
    assert agent.wait() == 0


# ---- Trust


def test_a_pinned_server_and_another_one(etcp):
    server = etcp.server()
    wrong = peer.key_text("pub", peer.public_of(peer.new_secret()))
    agent = etcp.agent(server.port, server_key='{"%s"}' % wrong, delay="20ms")
    real = peer.key_text("pub", etcp.server_public)
    agent.log.wait(re.escape(wrong) + r"|" + re.escape(real))
    eventually(lambda: wrong in agent.log.text and real in agent.log.text, "both keys in the log")
    assert agent.running and echoes(agent) == []


def test_nothing_is_sent_to_a_server_that_is_not_trusted(etcp):
    listener = etcp.listener(peer.new_secret())
    etcp.agent(listener.port)
    shake = etcp.keep(listener.accept_wire())
    shake.receive_request()
    shake.send(shake.response())
    shake.receive_end()


def test_one_of_several_pins(etcp):
    server = etcp.server()
    pins = [peer.public_of(peer.new_secret()), etcp.server_public]
    agent = etcp.agent(
        server.port, server_key="{%s}" % ", ".join('"%s"' % peer.key_text("pub", pin) for pin in pins), message=QUICK
    )
    assert agent.wait() == 0 and len(echoes(agent)) == 3


def tofu(etcp, server, state, **options):
    return etcp.agent(server, server_key=None, options={"env": {"STATE_DIRECTORY": str(state)}}, **options)


def test_trust_on_first_use_then_refusal_of_another_key(etcp):
    state = etcp.path / "agent-state"
    state.mkdir(mode=0o700)
    server = etcp.server()
    old = peer.key_text("pub", etcp.server_public)
    first = tofu(etcp, server.port, state, message=QUICK)
    assert first.wait() == 0 and len(echoes(first)) == 3
    assert first.log.lines(re.escape(old)), "it warns with the key"
    known = (state / "known_servers").read_text()
    assert "127.0.0.1:%d" % server.port in known and old in known

    again = tofu(etcp, server.port, state, message=QUICK)
    assert again.wait() == 0 and len(echoes(again)) == 3
    assert (state / "known_servers").read_text() == known

    server.stop()
    (etcp.path / "server.key").unlink()
    new = peer.key_text("pub", peer.public_of(etcp.new_key("sec", "server.key")))
    server = etcp.server(bind='{"127.0.0.1:%d"}' % server.port)
    victim = tofu(etcp, server.port, state, message=QUICK, delay="20ms")
    eventually(lambda: old in victim.log.text and new in victim.log.text, "both keys in the log")
    assert victim.log.lines("known_servers"), "it says where the old key is kept"
    assert victim.running and echoes(victim) == []
    assert (state / "known_servers").read_text() == known


def test_a_broken_known_servers_is_not_trusted_over(etcp):
    state = etcp.path / "agent-state"
    state.mkdir(mode=0o700)
    server = etcp.server()
    (state / "known_servers").write_text("127.0.0.1:%d etcp-pub-garbage\n" % server.port)
    (state / "known_servers").chmod(0o600)
    agent = tofu(etcp, server.port, state, delay="20ms")
    agent.log.wait(r"known_servers:1")
    assert echoes(agent) == []
    assert "garbage" in (state / "known_servers").read_text()


def test_network_key_on_the_agents_side_only(etcp):
    etcp.new_key("net", "network.key")
    server = etcp.server()
    agent = etcp.agent(server.port, network_key_file='"%s"' % (etcp.path / "network.key"), delay="20ms")
    agent.log.wait(r"(?i)refus|unsupported")
    assert agent.running and echoes(agent) == []


def test_network_key_on_the_servers_side_only(etcp):
    etcp.new_key("net", "network.key")
    server = etcp.server(network_key_file='"%s"' % (etcp.path / "network.key"))
    agent = etcp.agent(server.port, delay="20ms")
    agent.log.wait(r"127\.0\.0\.1:%d.*\n(.*\n)*.*127\.0\.0\.1:%d" % (server.port, server.port))
    assert agent.running and echoes(agent) == []


def test_network_key_on_both_sides(etcp):
    etcp.new_key("net", "network.key")
    line = '"%s"' % (etcp.path / "network.key")
    server = etcp.server(network_key_file=line)
    agent = etcp.agent(server.port, network_key_file=line, message=QUICK)
    assert agent.wait() == 0 and len(echoes(agent)) == 3


# ---- Suites


@pytest.mark.parametrize("code", [peer.REFUSED_SUITE, peer.REFUSED_BUSY, peer.REFUSED_SHUTTING_DOWN, 77])
def test_a_refusal_is_a_hint_only(etcp, code):
    listener = etcp.listener()
    etcp.agent(listener.port, suite='"auto"', delay="20ms", message=QUICK)
    shake = etcp.keep(listener.accept_wire())
    shake.receive_request()
    first = shake.suite
    shake.send(bytes([peer.REFUSAL, code]))
    shake.shutdown()
    shake.receive_end()
    again = etcp.keep(listener.accept_wire())
    again.receive_request()
    assert again.suite == (peer.CHACHA if code == peer.REFUSED_SUITE and first == peer.AES else first)


def test_a_chosen_suite_is_never_changed(etcp):
    listener = etcp.listener()
    etcp.agent(listener.port, suite='"chacha20poly1305"', delay="20ms")
    for _ in range(3):
        shake = etcp.keep(listener.accept_wire())
        shake.receive_request()
        assert shake.suite == peer.CHACHA
        shake.send(bytes([peer.REFUSAL, peer.REFUSED_SUITE]))
        shake.close()
