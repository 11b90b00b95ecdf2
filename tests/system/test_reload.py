# SPDX-License-Identifier: MIT
"""SIGHUP: read everything anew, whole or not at all. SIGTERM: drain, then end."""

import contextlib
import re
import signal
import socket

import pytest

import etcp_peer as peer
from harness import TIMEOUT, eventually, free_port, sanitized
from tunnel import Tunnel, exchange, of_sockets, reset, status

NAMED = 'service "echo" { type = "echo" allow = {"agent", "second"} }'


def reload(program, count=1):
    """Sends SIGHUP and waits until the reload is over; whether it was taken."""
    over = r"(configuration reloaded)|(reload failed)"
    program.signal(signal.SIGHUP)
    if sanitized() == "thread":
        # ThreadSanitizer holds a signal back when it comes in a bad moment, without end if nothing else happens.
        with contextlib.suppress(AssertionError):
            program.log.wait(over, count, timeout=2)
        if len(program.log.lines(over)) < count:
            program.signal(signal.SIGHUP)
    return program.log.wait(over, count).group(1) is not None


@pytest.fixture
def world(etcp):
    etcp.second_secret = peer.new_secret()
    etcp.authorize(peer.public_of(etcp.second_secret), "second")
    return etcp


def change(program, text):
    program.config.write_text(text)


# ---- Reload of the server


def test_a_changed_limit_and_a_new_service_apply(world):
    server = world.server(limits="max_streams = 1")
    connection = world.connect(server)
    connection.echo(connection.open(), b"one")
    assert connection.expect(peer.ERROR, connection.open()).code == peer.CODE_LIMIT
    change(server, world.server_text(limits="max_streams = 5", rest='service "more" { type = "echo" allow = {"*"} }'))
    assert reload(server)
    fresh = world.connect(server)
    for _ in range(2):
        fresh.echo(fresh.open(), b"two")
    fresh.echo(fresh.open("more"), b"three")
    connection.heartbeat()


def test_connections_that_are_allowed_survive(world):
    server = world.server()
    connection = world.connect(server)
    stream = connection.open()
    connection.echo(stream, b"before")
    for count in (1, 2, 3):
        assert reload(server, count)
        connection.echo(stream, b"after")
    assert world.connect(server).server_key == world.server_public


def test_an_agent_that_is_removed_is_cut_and_the_others_stay(world):
    server = world.server(rest=NAMED, echo=False)
    first, second = world.connect(server), world.connect(server, world.second_secret)
    stream = second.open()
    second.echo(stream, b"before")
    first.echo(first.open(), b"before")
    world.authorized.write_text("%s second\n" % peer.key_text("pub", peer.public_of(world.second_secret)))
    assert reload(server)
    frames, how = first.frames_to_end()
    assert frames[-1].id == peer.GOODBYE and frames[-1].code == peer.CODE_UNAUTHORIZED and how == "fin"
    second.echo(stream, b"after")
    refused = world.connect(server, ask=False)
    assert refused.frames_to_end()[0][0].code == peer.CODE_UNAUTHORIZED


def test_an_agent_that_is_added_is_let_in(world):
    server = world.server(rest=NAMED, echo=False)
    third = peer.new_secret()
    assert world.connect(server, third, ask=False).frames_to_end()[0][0].code == peer.CODE_UNAUTHORIZED
    world.authorize(peer.public_of(third), "agent")
    assert reload(server)
    connection = world.connect(server, third)
    connection.echo(connection.open(), b"now")


def test_a_right_that_is_taken_away(world):
    """The agent may stay, for another service; the stream of the one it may not use any more ends."""
    text = 'service "one" { type = "echo" allow = {%s} }\nservice "two" { type = "echo" allow = {"agent"} }'
    server = world.server(rest=text % '"agent"', echo=False)
    connection = world.connect(server)
    one, two = connection.open("one"), connection.open("two")
    connection.echo(one, b"1")
    connection.echo(two, b"2")
    change(server, world.server_text(rest=text % '"second"', echo=False))
    assert reload(server)
    assert connection.expect(peer.ERROR, one, skip=(peer.CREDIT,)).code == peer.CODE_UNAUTHORIZED
    connection.echo(two, b"still 2")
    again = connection.open("one")
    got = connection.expect(peer.ERROR, again, skip=(peer.CREDIT,))
    assert got.code in (peer.CODE_UNAUTHORIZED, peer.CODE_NO_SUCH_SERVICE)


BROKEN = {
    "unknown option": ("colour = 1\n", r"%s:\d+"),
    "syntax": ("limits {\n", r"%s"),
    "bad value": ('drain_timeout = "soon"\n', r"%s:\d+"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_edit_is_refused_and_the_old_configuration_stays_whole(world, name):
    extra, where = BROKEN[name]
    server = world.server()
    connection = world.connect(server)
    change(server, world.server_text(limits="max_connections = 1") + extra)
    assert not reload(server)
    server.log.wait(where % re.escape(str(server.config)))
    connection.echo(connection.open(), b"goes on")
    fresh = world.connect(server)
    fresh.echo(fresh.open(), b"and the new limit is not there")
    change(server, world.server_text())
    assert reload(server, 2)


def test_a_broken_list_of_agents_is_refused(world):
    server = world.server(rest=NAMED, echo=False)
    connection = world.connect(server)
    good = world.authorized.read_text()
    world.authorized.write_text(good + "etcp-pub-broken web\n")
    assert not reload(server)
    server.log.wait(re.escape(str(world.authorized)) + r":\d+")
    connection.echo(connection.open(), b"goes on")
    fresh = world.connect(server)
    fresh.echo(fresh.open(), b"still known")


def test_a_missing_configuration_or_key_is_refused(world):
    server = world.server()
    text = server.config.read_text()
    server.config.unlink()
    assert not reload(server)
    server.config.write_text(text)
    key = (world.path / "server.key").read_text()
    (world.path / "server.key").write_text("nonsense\n")
    assert not reload(server, 2)
    connection = world.connect(server)
    connection.echo(connection.open(), b"goes on")
    (world.path / "server.key").write_text(key)
    assert reload(server, 3)


def test_another_identity_is_for_new_connections(world):
    server = world.server()
    old = world.connect(server)
    (world.path / "server.key").unlink()
    public = peer.public_of(world.new_key("sec", "server.key"))
    assert reload(server)
    assert world.connect(server).server_key == public
    old.echo(old.open(), b"old keys")


def test_another_log_level(world):
    port = free_port()
    bind = '{"127.0.0.1:%d"}' % port

    def visit():
        with contextlib.suppress(OSError):
            world.connect(("127.0.0.1", port)).close()
            return True

    server = world.server_without_waiting(log_level='"warning"', bind=bind)
    eventually(visit, "the server listens")
    assert not server.log.lines("connected:")
    change(server, world.server_text(log_level='"info"', bind=bind))
    server.signal(signal.SIGHUP)
    eventually(lambda: visit() and server.log.lines("connected:"), "lines at info")


def test_many_reloads_in_a_row(world):
    server = world.server()
    connection = world.connect(server)
    stream = connection.open()
    for _ in range(50):
        server.signal(signal.SIGHUP)
        connection.echo(stream, b"x")
    connection.echo(stream, b"end")


def test_an_end_in_the_middle_of_a_reload(world):
    for number in range(10):
        server = world.server(workers=1 + number % 2)
        for _ in range(1 + number % 3):
            server.signal(signal.SIGHUP)
        assert server.stop() == 0


# ---- Reload of the agent


def test_the_agent_takes_a_new_server(world):
    listener, other = world.listener(), world.listener()
    agent = world.agent(listener.port, message='count = 2 interval = "50ms"')
    agent.config = world.path / "agent.conf"
    first = world.keep(listener.accept())
    peer.EchoServer(first, limit=1).run()
    agent.out.wait("Hello")
    change(agent, world.agent_text(other.port, message='count = 2 interval = "50ms"'))
    agent.signal(signal.SIGHUP)
    second = world.keep(other.accept())
    assert peer.EchoServer(second).run().code == peer.CODE_OK
    second.close()
    first.close()
    assert agent.wait() == 0
    assert agent.out.text.count("Hello") == 2


def test_the_agent_refuses_a_broken_edit(world):
    server = world.server()
    agent = world.agent(server.port, message='count = 1000 interval = "20ms"')
    agent.config = world.path / "agent.conf"
    agent.out.wait("Hello")
    agent.config.write_text("sever = {}\n")
    agent.signal(signal.SIGHUP)
    agent.log.wait(re.escape(str(agent.config)) + ":1")
    seen = agent.out.text.count("Hello")
    agent.out.wait("Hello", seen + 2)
    assert agent.stop() == 0


# ---- Drain


def test_sigterm_lets_open_streams_finish(world):
    server = world.server()
    busy, idle = world.connect(server), world.connect(server)
    stream = busy.open()
    busy.echo(stream, b"before")
    server.signal(signal.SIGTERM)
    farewell = busy.expect(peer.GOODBYE, skip=(peer.CREDIT,))
    assert farewell.code == peer.CODE_SHUTTING_DOWN
    assert idle.frames_to_end()[0][0].code == peer.CODE_SHUTTING_DOWN
    assert server.running
    busy.echo(stream, b"after the first goodbye")
    late = busy.open()
    assert busy.expect(peer.ERROR, late, skip=(peer.CREDIT,)).code == peer.CODE_SHUTTING_DOWN
    busy.send_frame(peer.frame(peer.CLOSE, stream))
    busy.expect(peer.CLOSE, stream, skip=(peer.CREDIT,))
    frames, how = busy.frames_to_end()
    assert [frame.id for frame in frames if frame.id != peer.CREDIT] == [peer.GOODBYE] and how == "fin"
    assert server.wait() == 0


def test_while_draining_nobody_new_comes_in(world):
    server = world.server()
    busy = world.connect(server)
    stream = busy.open()
    busy.echo(stream, b"x")
    server.signal(signal.SIGTERM)
    busy.expect(peer.GOODBYE, skip=(peer.CREDIT,))
    with pytest.raises((OSError, peer.PeerError)):
        world.connect(server, timeout=5)
    busy.echo(stream, b"y")


def test_a_second_sigterm_ends_at_once(world):
    server = world.server(drain_timeout='"1h"')
    busy = world.connect(server)
    busy.echo(busy.open(), b"x")
    server.signal(signal.SIGTERM)
    busy.expect(peer.GOODBYE, skip=(peer.CREDIT,))
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_the_drain_time_is_bounded(world):
    server = world.server(drain_timeout='"200ms"')
    busy = world.connect(server)
    busy.echo(busy.open(), b"x")
    server.signal(signal.SIGTERM)
    frames, how = busy.frames_to_end()
    assert [frame.code for frame in frames if frame.id == peer.GOODBYE][0] == peer.CODE_SHUTTING_DOWN
    assert how == "fin"
    assert server.wait() == 0


def test_strangers_do_not_hold_up_the_end(world):
    server = world.server(drain_timeout='"1h"')
    strangers = [world.socket(server) for _ in range(5)]
    strangers[0].send(b"\x01")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once(world, number):
    server = world.server()
    server.signal(number)
    assert server.wait() == 0


def test_more_signals_than_two(world):
    for _ in range(5):
        server = world.server()
        connection = world.connect(server)
        connection.echo(connection.open(), b"x")
        while server.process.poll() is None:
            server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_the_port_is_free_again_at_once(world):
    server = world.server()
    connection = world.connect(server)
    connection.echo(connection.open(), b"x")
    assert server.stop() == 0
    world.server(bind='{"127.0.0.1:%d"}' % server.port)


def test_withdrawal_is_logged_once_and_by_name(etcp):
    """The connection lingers after its Goodbye; a second reload meanwhile has nothing to withdraw."""
    server = etcp.server(echo=False, rest='service "echo" { type = "echo" allow = {"agent"} }\n')
    connection = etcp.connect(server)
    connection.echo(connection.open(), b"x")
    etcp.authorized.write_text("")
    for count in (1, 2):
        server.signal(signal.SIGHUP)
        server.log.wait("configuration reloaded", count)
    assert connection.frames_to_end()[0][-1].code == peer.CODE_UNAUTHORIZED
    connection.close()
    server.log.wait("disconnected: .* agent=agent ")
    assert len(server.log.lines("authorization withdrawn: .* agent=agent$")) == 1
    assert len(server.log.lines("authorization withdrawn")) == 1


# ---- A port that the system chose, by its number from now on


def test_the_port_that_was_chosen_can_be_written_down(world):
    server = world.server()
    bind = 'bind = {"127.0.0.1:0"}'
    assert bind in server.config.read_text()
    change(server, server.config.read_text().replace(bind, 'bind = {"127.0.0.1:%d"}' % server.port))
    assert reload(server)
    connection = world.connect(server)
    connection.echo(connection.open(), b"the same place")
    assert len(server.log.lines("listening on")) == 1


def test_the_port_of_a_forward_that_was_chosen_can_be_written_down(etcp):
    tunnel = Tunnel(etcp)
    ends = tunnel.pair()
    file = etcp.path / "agent.conf"
    listen = 'listen = "127.0.0.1:0"'
    assert listen in file.read_text()
    file.write_text(file.read_text().replace(listen, 'listen = "127.0.0.1:%d"' % tunnel.address[1]))
    assert reload(tunnel.agent)
    exchange(*ends)
    exchange(*tunnel.pair())


def test_a_forward_loses_its_timeout(etcp):
    """The listening socket goes on, and what it accepts has what it has."""
    tunnel = Tunnel(etcp, forward='user_timeout = "300ms"')
    config = etcp.path / "agent.conf"
    for count, expected in enumerate((300, 0), 1):
        client, backend = tunnel.pair()
        exchange(client, backend)
        timeouts = of_sockets(tunnel.agent, lambda sock: sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        assert timeouts[tunnel.address[1], client.getsockname()[1]] == expected
        config.write_text(config.read_text().replace("300ms", "0"))
        assert reload(tunnel.agent, count)


def test_an_agent_that_loses_its_last_forward_says_what_to_do(etcp):
    tunnel = Tunnel(etcp)
    (etcp.path / "agent.conf").write_text(etcp.agent_text(tunnel.server.port))
    assert not reload(tunnel.agent)
    assert "the last forward is gone" in tunnel.agent.log.text and "restart it" in tunnel.agent.log.text
    exchange(*tunnel.pair())


def test_a_reload_tells_all_mistakes(world):
    server = world.server()
    change(server, "colour = 1\nlog_level = loud\n")
    assert not reload(server)
    server.log.wait("%s:2: .*loud" % server.config)
    assert len(server.log.lines("reload failed, everything stays as it was: %s:1: .*colour" % server.config)) == 1
    connection = world.connect(server)
    connection.echo(connection.open(), b"as it was")


# ---- Reload of an agent that sends messages beside its forwards

SLOW = 'count = 100 interval = "1h"'


@pytest.mark.parametrize("before, after", [(None, SLOW), (SLOW, SLOW + ' text = "other"'), (SLOW, None)], ids=["come", "change", "go"])
def test_messages_that_come_or_go_cut_no_forwarded_connection(etcp, before, after):
    """The one connection to the server is the messages' too; they get another one when nobody is carried on it."""
    rules = 'reconnect { initial_delay = "1h" max_delay = "1h" max_attempts = 1 }\n'  # it is no failure
    tunnel = Tunnel(etcp, start=False, agent={"message": before, "max_connections": 1, "delay": None})
    tunnel.forward += rules
    tunnel.start_server()
    tunnel.start_agent(tunnel.server.port)
    pairs = [tunnel.pair() for _ in range(3)]
    for pair in pairs:
        exchange(*pair)
    options = {**tunnel.agent_options, "message": after}
    config = etcp.path / "agent.conf"
    config.write_text(etcp.agent_text(tunnel.server.port, rest=tunnel.forward, **options))
    assert reload(tunnel.agent)
    for pair in pairs:
        exchange(*pair)
        for end in pair:
            end.close()
    tunnel.agent.log.wait("disconnected from .*: the configuration has changed")
    tunnel.agent.log.wait("connected to ", count=2)
    exchange(*tunnel.pair())


def test_what_earlier_messages_have_left_behind_is_not_the_new_ones(etcp):
    """Their stream ends when others are sent already, but have no connection yet."""
    tunnel = Tunnel(etcp, start=False, agent={"message": SLOW + ' service = "slow"', "max_connections": 1})
    backend = etcp.keep(socket.create_server(("127.0.0.1", 0)))
    backend.settimeout(TIMEOUT)
    tunnel.service += 'service "slow" { type = "forward" to = "127.0.0.1:%d" allow = {"agent"} }\n' % backend.getsockname()[1]
    tunnel.start_server()
    tunnel.start_agent(tunnel.server.port)
    slow = etcp.keep(backend.accept()[0])
    pair = tunnel.pair()
    exchange(*pair)
    config = etcp.path / "agent.conf"
    texts = [etcp.agent_text(tunnel.server.port, rest=tunnel.forward, **{"delay": "50ms", **tunnel.agent_options, "message": message})
             for message in (None, SLOW)]
    for text in texts:
        config.write_text(text)
        assert reload(tunnel.agent, len(tunnel.agent.log.lines("configuration reloaded")) + 1)
    reset(slow)
    eventually(lambda: status(tunnel.server)["totals"]["streams"] == 1, "the end of the messages' stream")
    exchange(*pair)
    for end in pair:
        end.close()
    tunnel.agent.log.wait("connected to ", count=2)
    assert not tunnel.agent.log.lines("error: ") and not tunnel.agent.log.lines("service \"slow\": ")


@pytest.mark.parametrize("count", [10, 3])
def test_messages_go_on_when_the_first_forward_comes(etcp, count):
    """Each is reported once, though another part of the agent sends them from then on; also when their number has become smaller."""
    server = etcp.server()
    message = 'count = %d interval = "200ms" text = "m"'
    agent = etcp.agent(server.port, message=message % 1000)
    agent.log.wait("echo 3 of 1000 confirmed")
    forward = 'forward "a" { listen = "127.0.0.1:0" service = "echo" }'
    (etcp.path / "agent.conf").write_text(etcp.agent_text(server.port, message=message % count, rest=forward))
    assert reload(agent)
    agent.log.wait("all messages have been echoed")
    echoes = [int(number) for number in re.findall(r"echo (\d+) of \d+ confirmed", agent.log.text)]
    assert echoes == list(range(1, len(echoes) + 1)) and len(echoes) >= count
    eventually(lambda: agent.out.text.count("m\n") == len(echoes), "each echo is reported once")
    address = ("127.0.0.1", int(agent.log.wait(r"listening on 127\.0\.0\.1:(\d+): forward a").group(1)))
    with socket.create_connection(address, TIMEOUT) as client:
        client.settimeout(TIMEOUT)
        client.sendall(b"through it")
        assert client.recv(100) == b"through it"
