# SPDX-License-Identifier: MIT
"""The agent's connections to the server, on which local ones are carried: taken again, shared, waited for, ended; and what becomes
of local connections meanwhile."""

import re
import signal
import socket
import threading

import pytest

import etcp_peer as peer
from harness import EX_UNAVAILABLE, eventually, free_port
from tunnel import Tunnel, connects_to_reset, exchange, is_reset, receive, status


def test_connections_are_reused(etcp):
    tunnel = Tunnel(etcp, agent={"spare_connections": 1})
    for _ in range(20):
        client, backend = tunnel.pair()
        exchange(client, backend)
        client.close()
        assert backend.recv(1) == b""
        backend.close()
    assert len(tunnel.server.log.lines(" connected: peer")) <= 4


def test_each_stream_has_a_connection_of_its_own(etcp):
    tunnel = Tunnel(etcp, agent={"spare_connections": 0})
    pairs = [tunnel.pair() for _ in range(5)]
    for client, backend in pairs:
        exchange(client, backend)
    tunnel.server.log.wait(" connected: peer", 5)


def test_spare_connections_are_ready(etcp):
    tunnel = Tunnel(etcp, agent={"spare_connections": 3})
    tunnel.server.log.wait(" connected: peer", 3)
    exchange(*tunnel.pair())
    tunnel.server.log.wait(" connected: peer", 4)


def test_shared_above_the_limit(etcp):
    tunnel = Tunnel(etcp, agent={"max_connections": 3})
    pairs = [tunnel.pair() for _ in range(30)]
    for client, backend in pairs:
        exchange(client, backend)
    tunnel.server.log.wait(" connected: peer", 3)
    assert len(tunnel.server.log.lines(" connected: peer")) == 3


def test_quiet_connections_are_shared_before_more_are_made(etcp):
    tunnel = Tunnel(etcp, agent={"spare_connections": 2})
    pairs = [tunnel.pair() for _ in range(40)]
    for client, backend in pairs:
        exchange(client, backend)
    assert len(tunnel.server.log.lines(" connected: peer")) <= 8 + 2


def test_busy_connections_are_left_alone(etcp):
    """When all that there are copy bulk, the next local connection gets one more."""
    tunnel = Tunnel(etcp, agent={"spare_connections": 0})
    pairs = [tunnel.pair() for _ in range(8)]
    for _ in range(50):
        for client, backend in pairs[:8]:
            copy = threading.Thread(target=client.sendall, args=(bytes(2 << 20),))
            copy.start()
            assert len(receive(backend, 2 << 20)) == 2 << 20
            copy.join()
        pairs.append(tunnel.pair())
        if len(tunnel.server.log.lines(" connected: peer")) > 8:
            break
    assert len(tunnel.server.log.lines(" connected: peer")) > 8
    for client, backend in pairs:
        exchange(client, backend)


def test_shared_when_the_server_takes_no_more(etcp):
    tunnel = Tunnel(etcp, limits="max_connections_per_address = 2")
    pairs = [tunnel.pair() for _ in range(10)]
    for client, backend in pairs:
        exchange(client, backend)


def test_surplus_connections_are_closed(etcp):
    tunnel = Tunnel(etcp, agent={"spare_connections": 1, "idle_close": '"200ms"'})
    for client, backend in [tunnel.pair() for _ in range(6)]:
        exchange(client, backend)
        client.close()
        backend.close()
    tunnel.server.log.wait("disconnected: .*not needed any more", 5)
    exchange(*tunnel.pair())


def test_server_that_comes_later(etcp):
    tunnel = Tunnel(etcp, start=False)
    port = free_port()
    tunnel.start_agent(port, wait=False)
    client = tunnel.connect()
    client.sendall(b"waiting")
    tunnel.agent.log.wait("cannot connect")
    tunnel.start_server(bind='{"127.0.0.1:%d"}' % port)
    backend = tunnel.accept()
    assert backend.recv(100) == b"waiting"
    exchange(client, backend)


def test_server_that_does_not_come(etcp):
    tunnel = Tunnel(etcp, start=False, forward='wait = "300ms"')
    tunnel.start_agent(free_port(), wait=False)
    assert connects_to_reset(tunnel)
    line = tunnel.agent.log.wait("forward test: connection of .* to service test reset: no connection .*").group(0)
    assert "0.30 s" in line and "Connection refused" in line


def test_who_waits_does_not_lengthen_the_back_off(etcp):
    """An attempt comes early for each local connection; the delay after it is as long as it was to be before."""
    tunnel = Tunnel(etcp, start=False, forward='wait = "200ms"', agent={"delay": None})
    tunnel.forward += 'reconnect { initial_delay = "20ms" multiplier = 50.0 max_delay = "1h" jitter = 0.0 }\n'
    tunnel.start_agent(free_port(), wait=False)
    tunnel.agent.log.wait(r"retrying in 1\.00 s")
    for _ in range(3):
        assert connects_to_reset(tunnel)
    lines = tunnel.agent.log.lines(r"retrying in")
    delays = [float(re.search(r"retrying in ([\d.]+) s", line).group(1)) for line in lines]
    assert delays[:3] == [0.02, 1.0, 50.0] and len(delays) >= 5 and set(delays[2:]) == {50.0}


def test_who_waits_does_not_fill_the_log(etcp):
    """Attempts that come early for somebody who waits are told once, as long as they fail for the same reason."""
    tunnel = Tunnel(etcp, start=False, forward='wait = "1s"', agent={"delay": None})
    tunnel.forward += 'reconnect { initial_delay = "20ms" multiplier = 50.0 max_delay = "1h" jitter = 0.0 }\n'
    tunnel.start_agent(free_port(), wait=False)
    tunnel.agent.log.wait(r"info: retrying in 1\.00 s")
    told = len(tunnel.agent.log.lines("(warning|info): (connecting to|cannot connect|retrying)"))
    for _ in range(4):
        assert connects_to_reset(tunnel)
    tunnel.agent.log.wait("debug: cannot connect", count=4)
    assert len(tunnel.agent.log.lines("(warning|info): (connecting to|cannot connect|retrying)")) <= told + 3


@pytest.mark.parametrize("why", ["unlisted", "another key"])
def test_who_waits_does_not_press_a_server_that_has_said_no(etcp, why):
    """It would be taken for an attacker (fail2ban); and nothing but an administrator can change the answer."""
    other_key = {"server_key": '{"%s"}' % peer.key_text("pub", etcp.agent_public)} if why == "another key" else {}
    tunnel = Tunnel(
        etcp,
        start=False,
        forward='wait = "300ms"',
        server={"echo": False},
        agent={"delay": None, "identity": '"%s"' % (etcp.path / "unlisted.key"), **other_key},
    )
    etcp.finished("etcp", "keygen", etcp.path / "unlisted.key")
    tunnel.forward += 'reconnect { initial_delay = "1h" max_delay = "1h" jitter = 0.0 }\n'
    tunnel.start_server()
    tunnel.start_agent(tunnel.server.port, wait=False)
    tunnel.agent.log.wait(r"retrying in 3600\.00 s")
    for _ in range(4):
        assert connects_to_reset(tunnel)
    reason = "unauthorized" if why == "unlisted" else "its key is none of those in server_key"
    tunnel.agent.log.wait(r"reset: no connection to the server in 0\.30 s: .*" + reason, count=4)
    assert len(tunnel.agent.log.lines("connecting to ")) == 1


def test_one_of_several_servers_has_said_no(etcp):
    tunnel = Tunnel(etcp, start=False, forward='wait = "300ms"', server={"echo": False}, agent={"delay": None, "identity": '"%s"' % (etcp.path / "unlisted.key")})
    etcp.finished("etcp", "keygen", etcp.path / "unlisted.key")
    tunnel.forward += 'reconnect { initial_delay = "1h" max_delay = "1h" jitter = 0.0 }\n'
    tunnel.start_server()
    tunnel.start_agent('{"127.0.0.1:%d", "127.0.0.1:%d"}' % (tunnel.server.port, free_port()), wait=False)
    tunnel.agent.log.wait(r"retrying in 3600\.00 s: Connection refused")
    for _ in range(4):
        assert connects_to_reset(tunnel)
    tunnel.agent.log.wait("reset: no connection to the server", count=4)
    assert len(tunnel.agent.log.lines("connecting to ")) == 2


def test_a_reload_while_somebody_waits_is_told(etcp):
    tunnel = Tunnel(etcp, start=False, forward='wait = "1h"', agent={"delay": None, "log_level": '"info"'})
    tunnel.forward += 'reconnect { initial_delay = "1h" max_delay = "1h" jitter = 0.0 }\n'
    port = free_port()
    tunnel.start_agent(port, wait=False)
    tunnel.agent.log.wait(r"retrying in 3600\.00 s")
    tunnel.connect()
    eventually(lambda: status(tunnel.agent)["totals"]["attempts_total"] >= 2, "an attempt for the one that waits")
    told = len(tunnel.agent.log.lines("connecting to "))
    assert told == 1
    tunnel.agent.signal(signal.SIGHUP)
    tunnel.agent.log.wait("configuration reloaded")
    tunnel.agent.log.wait("connecting to ", count=2)
    tunnel.agent.log.wait("cannot connect to .*: Connection refused; is etcp-server running there", count=2)


def test_advice_is_for_the_failure_that_it_stands_with(etcp):
    tunnel = Tunnel(etcp, start=False)
    tunnel.start_agent('{"127.0.0.1:%d", "nohost.invalid:1337"}' % free_port(), wait=False)
    tunnel.agent.log.wait("cannot connect to 127.0.0.1:.*: Connection refused; is etcp-server running there")
    line = tunnel.agent.log.wait("cannot connect to nohost.invalid:1337: .*").group(0)
    assert "etcp-server" not in line


def test_server_restart(etcp):
    tunnel = Tunnel(etcp)
    client, backend = tunnel.pair()
    exchange(client, backend)
    tunnel.server.kill()
    assert is_reset(client)
    tunnel.start_server(bind='{"127.0.0.1:%d"}' % tunnel.server.port)
    exchange(*tunnel.pair())


def test_server_drains(etcp):
    tunnel = Tunnel(etcp)
    client, backend = tunnel.pair()
    exchange(client, backend)
    tunnel.server.signal(signal.SIGTERM)
    client.sendall(b"still")
    assert backend.recv(100) == b"still"
    client.close()
    assert backend.recv(1) == b""
    backend.close()
    assert tunnel.server.wait() == 0


def test_agent_drains(etcp):
    tunnel = Tunnel(etcp)
    client, backend = tunnel.pair()
    exchange(client, backend)
    tunnel.agent.signal(signal.SIGTERM)

    tunnel.agent.log.wait("not needed|the agent was stopped|ended here")
    with pytest.raises(ConnectionRefusedError):
        tunnel.connect()
    exchange(client, backend)
    client.close()
    assert backend.recv(1) == b""
    backend.close()
    assert tunnel.agent.wait() == 0


@pytest.mark.parametrize("at_once", (True, False))
def test_server_goes_while_the_agent_drains(etcp, at_once):
    """The last stream is lost with the main connection."""
    tunnel = Tunnel(etcp, agent={"spare_connections": 0})
    client, backend = tunnel.pair()
    exchange(client, backend)
    tunnel.agent.signal(signal.SIGTERM)
    tunnel.agent.log.wait("stopping")
    if at_once:
        tunnel.server.kill()
    else:
        tunnel.server.signal(signal.SIGTERM)
        tunnel.server.log.wait("stopping")
        tunnel.server.signal(signal.SIGTERM)
    assert is_reset(client)
    assert tunnel.agent.wait() == 0
    if at_once:  # a loss that was taken for the end of the stop made a call on a client that was gone
        assert "warning: disconnected from" in tunnel.agent.log.text


def test_agent_ends_at_once_when_told_twice(etcp):
    tunnel = Tunnel(etcp)
    client, backend = tunnel.pair()
    exchange(client, backend)
    tunnel.agent.signal(signal.SIGTERM)
    tunnel.agent.log.wait("stopping")
    tunnel.agent.signal(signal.SIGTERM)
    assert is_reset(client)
    assert tunnel.agent.wait() == 0


def test_drain_timeout(etcp):
    tunnel = Tunnel(etcp, agent={"drain_timeout": '"200ms"'})
    client, backend = tunnel.pair()
    exchange(client, backend)
    tunnel.agent.signal(signal.SIGTERM)
    assert is_reset(client)
    assert is_reset(backend)
    assert tunnel.agent.wait() == 0


def test_limit_of_local_connections(etcp):
    tunnel = Tunnel(etcp, forward="max_connections = 2")
    pairs = [tunnel.pair(), tunnel.pair()]
    assert connects_to_reset(tunnel)
    tunnel.agent.log.wait("forward test: .* reset: forward.max_connections are open")
    pairs[0][0].close()
    pairs[0][1].close()
    exchange(*pairs[1])


def test_messages_beside_a_forward(etcp):
    tunnel = Tunnel(etcp, agent={"message": 'count = 3 interval = "10ms"'})
    exchange(*tunnel.pair())
    tunnel.agent.log.wait("all messages have been echoed")
    exchange(*tunnel.pair())
    assert tunnel.agent.running


def test_reload_of_forwards(etcp):
    tunnel = Tunnel(etcp)
    client, backend = tunnel.pair()
    exchange(client, backend)
    config = etcp.path / "agent.conf"
    text = config.read_text()
    config.write_text(text.replace(tunnel.forward, tunnel.forward.replace('forward "test"', 'forward "other"')))
    tunnel.agent.signal(signal.SIGHUP)
    port = int(tunnel.agent.log.wait(r"listening on 127\.0\.0\.1:(\d+): forward other").group(1))
    tunnel.agent.log.wait("configuration reloaded")
    exchange(client, backend)
    with pytest.raises(ConnectionRefusedError):
        tunnel.connect()
    exchange(tunnel.connect(("127.0.0.1", port)), tunnel.accept())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config.write_text(
            text + 'forward "more" { listen = "127.0.0.1:%d" service = "test" }\n' % taken.getsockname()[1]
        )
        tunnel.agent.signal(signal.SIGHUP)
        tunnel.agent.log.wait("reload failed, everything stays as it was: .*in use")
    exchange(tunnel.connect(("127.0.0.1", port)), tunnel.accept())


def test_reload_with_the_port_of_another_forward(etcp):
    """Two forwards can't share one port, also if the one has it by chance: none of them goes away in silence."""
    tunnel = Tunnel(etcp)
    config = etcp.path / "agent.conf"
    text = config.read_text()
    config.write_text(text + 'forward "more" { listen = "127.0.0.1:%d" service = "other" }\n' % tunnel.address[1])
    tunnel.agent.signal(signal.SIGHUP)
    tunnel.agent.log.wait("reload failed, everything stays as it was: .*in use")
    exchange(*tunnel.pair())


def test_listen_address_in_use(etcp):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        agent = etcp.agent(
            1, message=None, rest='forward "x" { listen = "127.0.0.1:%d" service = "x" }' % taken.getsockname()[1]
        )
        assert agent.wait() == EX_UNAVAILABLE
        assert "in use" in agent.log.text
