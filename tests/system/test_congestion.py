# SPDX-License-Identifier: MIT
"""`congestion_control`: the sockets of the daemons have it, which is asked of the sockets themselves; and one that the kernel does
not have is an error wherever a configuration is read."""

import pathlib
import signal
import socket

import pytest

from harness import EX_CONFIG, machine_skip
from tunnel import Tunnel, exchange, of_sockets

LISTED = pathlib.Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
UNKNOWN = "no-such-thing"


def algorithm_of(sock):
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


@pytest.fixture
def algorithms():
    """(the system's, another one)"""
    with socket.socket() as sock:
        usual = algorithm_of(sock)
        for name in LISTED.read_text().split():
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
            except PermissionError:
                continue
            if name != usual:
                return usual, name
    machine_skip("the kernel has one congestion control only")


def to_server(tunnel):
    """(what the server's accepted sockets have, what the agent's connected ones have)"""
    port = tunnel.server.port
    accepted = {name for (local, remote), name in of_sockets(tunnel.server, algorithm_of).items() if local == port and remote}
    connected = {name for (_, remote), name in of_sockets(tunnel.agent, algorithm_of).items() if remote == port}
    return accepted, connected


def test_each_daemon_has_what_it_was_told(etcp, algorithms):
    usual, other = algorithms
    tunnel = Tunnel(etcp, server={"congestion_control": '"%s"' % other})
    exchange(*tunnel.pair())
    assert to_server(tunnel) == ({other}, {usual})
    assert of_sockets(tunnel.agent, algorithm_of)[tunnel.address[1], None] == usual

    tunnel = Tunnel(etcp, agent={"congestion_control": '"%s"' % other})
    exchange(*tunnel.pair())
    assert to_server(tunnel) == ({usual}, {other})
    assert of_sockets(tunnel.agent, algorithm_of)[tunnel.address[1], None] == usual


def test_a_reload_changes_it_for_new_connections(etcp, algorithms):
    usual, other = algorithms
    server = etcp.server()
    old = etcp.connect(server)
    stream = old.open()
    old.echo(stream, b"before")
    for count, (setting, expected) in enumerate([(other, other), ("", usual), (other, other)], 1):
        addresses = ["127.0.0.%d:0" % (1 + i) for i in range(count)]  # one more each time
        server.config.write_text(
            etcp.server_text(
                bind="{%s}" % ", ".join('"%s"' % address for address in addresses),
                congestion_control='"%s"' % setting,
            )
        )
        server.signal(signal.SIGHUP)
        server.log.wait("configuration reloaded", count)
        for host in {"127.0.0.1", "127.0.0.%d" % count}:
            port = int(server.log.wait(r"listening on %s:(\d+)" % host).group(1))
            fresh = etcp.connect((host, port))
            fresh.echo(fresh.open(), b"through it")
            accepted = [name for (local, remote), name in of_sockets(server, algorithm_of).items() if local == port and remote]
            assert accepted.count(expected) >= 1 and of_sockets(server, algorithm_of)[port, None] == expected
            fresh.close()
        old.echo(stream, b"still there")


def test_a_reload_of_the_agent_changes_it(etcp, algorithms):
    _, other = algorithms
    tunnel = Tunnel(etcp, agent={"congestion_control": '""', "spare_connections": 0})
    file = etcp.path / "agent.conf"
    file.write_text(file.read_text().replace('congestion_control = ""', 'congestion_control = "%s"' % other))
    tunnel.agent.signal(signal.SIGHUP)
    tunnel.agent.log.wait("configuration reloaded")
    pairs = [tunnel.pair() for _ in range(3)]  # more than there were connections
    for pair in pairs:
        exchange(*pair)
    assert other in to_server(tunnel)[1]


def test_one_that_the_kernel_does_not_have_is_an_error(etcp):
    listed = LISTED.read_text().strip()
    wrong = {
        "etcp-server": etcp.write("server.conf", etcp.server_text(congestion_control='"%s"' % UNKNOWN)),
        "etcp-agent": etcp.write("agent.conf", etcp.agent_text(1, congestion_control='"%s"' % UNKNOWN)),
    }
    for name, file in wrong.items():
        line = 1 + file.read_text().split("\n").index('congestion_control = "%s"' % UNKNOWN)
        expected = '%s:%d: congestion_control: the kernel has no congestion control "%s": expected one of: %s' % (
            file, line, UNKNOWN, listed)
        for arguments in ("-t", "-c", file), ("-c", file):
            program = etcp.finished(name, *arguments)
            assert program.status == EX_CONFIG and expected in program.log.text, program.log.text
        program = etcp.finished("etcp", "check", file)
        assert program.status == EX_CONFIG and expected in program.log.text, program.log.text


def test_a_reload_with_one_that_the_kernel_does_not_have_keeps_the_old(etcp, algorithms):
    _, other = algorithms
    tunnel = Tunnel(etcp, **{side: {"congestion_control": '"%s"' % other} for side in ("server", "agent")})
    for program, file in (tunnel.server, tunnel.server.config), (tunnel.agent, etcp.path / "agent.conf"):
        file.write_text(file.read_text().replace('"%s"' % other, '"%s"' % UNKNOWN))
        program.signal(signal.SIGHUP)
        program.log.wait('reload failed.*the kernel has no congestion control "%s"' % UNKNOWN)
    exchange(*tunnel.pair())
    assert to_server(tunnel) == ({other}, {other})


def test_a_unix_socket_has_none_and_needs_none(etcp, algorithms):
    _, other = algorithms
    path = etcp.path / "s"
    tunnel = Tunnel(etcp, start=False)
    tunnel.server = etcp.server_without_waiting(
        rest=tunnel.service, bind='{"unix:%s"}' % path, congestion_control='"%s"' % other)
    tunnel.server.log.wait("listening on unix:")
    tunnel.agent_options = {"congestion_control": '"%s"' % other}
    tunnel.start_agent('{"unix:%s"}' % path)
    exchange(*tunnel.pair())
