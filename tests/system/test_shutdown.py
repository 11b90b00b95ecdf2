# SPDX-License-Identifier: MIT
"""SIGTERM while something is under way: handshakes, a reload that hangs."""

import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

import etcp_peer as peer
from harness import has_aes, machine_skip

AUTOMATIC = peer.AES if has_aes() else peer.CHACHA


def begin_handshake(etcp, server, **options):
    return etcp.keep(peer.AgentHandshake(peer.open_socket(server.address), AUTOMATIC, etcp.agent_secret, **options))


def test_handshakes_under_way_are_answered(etcp):
    """Whoever has not sent its request is refused with a reason; whoever has its answer comes in and is sent home well."""
    server = etcp.server()
    witness = etcp.connect(server)
    witness.echo(witness.open(), b"still here")
    early, late = begin_handshake(etcp, server), begin_handshake(etcp, server)
    slow = begin_handshake(etcp, server)
    slow.send(slow.request()[:20])
    late.send(late.request())
    late.receive_response()
    server.log.wait("accepted", 4)
    server.signal(signal.SIGTERM)
    assert witness.expect(peer.GOODBYE).code == peer.CODE_SHUTTING_DOWN  # the loop knows, and not only the log
    witness.goodbye()
    early.send(early.request())
    assert early.receive(2) == bytes([peer.REFUSAL, peer.REFUSED_SHUTTING_DOWN])
    assert early.receive_end() == "fin"
    slow.send(slow.request()[20:])
    assert slow.receive_to_end() == bytes([peer.REFUSAL, peer.REFUSED_SHUTTING_DOWN])
    late.send(late.authentication())
    frames, how = late.connection().frames_to_end()
    assert [frame.code for frame in frames] == [peer.CODE_SHUTTING_DOWN, peer.CODE_OK] and how == "fin"
    assert server.wait() == 0
    assert len(server.log.lines(r'disconnected: .* agent=agent reason="shutting down"')) == 2
    assert not server.log.lines("handshake failed"), "a filter of the log would ban who did nothing wrong"


def test_silent_strangers_are_not_waited_for_longer_than_a_handshake_takes(etcp):
    server = etcp.server(limits='handshake_timeout = "300ms"')
    stranger = etcp.socket(server)
    server.log.wait("accepted")
    server.signal(signal.SIGTERM)
    assert stranger.receive_end() == "fin"
    assert server.wait() == 0


def test_drain_timeout_ends_handshakes_too(etcp):
    server = etcp.server(limits='handshake_timeout = "60s"', drain_timeout='"200ms"')
    stranger = etcp.socket(server)
    server.log.wait("accepted")
    server.signal(signal.SIGTERM)
    assert stranger.receive_end() == "fin"
    assert server.wait() == 0


def test_agent_is_told_why_and_comes_again(etcp):
    """A real agent whose connection is refused so: it says the reason, and does not wait longer for it."""
    listener = etcp.listener()
    agent = etcp.agent(listener.port, message="count = 1", delay="10ms")
    wire = etcp.keep(listener.accept_wire())
    wire.receive_request()
    wire.send(bytes([peer.REFUSAL, peer.REFUSED_SHUTTING_DOWN]))
    wire.close()
    agent.log.wait("shutting-down")
    connection = etcp.keep(listener.accept())
    peer.EchoServer(connection).run()
    connection.close()
    assert agent.wait() == 0


@pytest.fixture
def dead_name_server(tmp_path):
    """The begin of a command: what follows has a name server that never answers."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        machine_skip("only root can give a process a name server of its own")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for last in range(2, 250):
        address = "127.53.53.%d" % last
        try:
            sock.bind((address, 53))
            break
        except OSError:
            continue
    else:
        machine_skip("port 53 can't be bound")
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver %s\noptions timeout:30 attempts:5\n" % address)
    (tmp_path / "nsswitch.conf").write_text("hosts: files dns\n")
    script = "mount --bind %s /etc/resolv.conf && mount --bind %s /etc/nsswitch.conf && exec " % (
        path,
        tmp_path / "nsswitch.conf",
    )
    if subprocess.run(["unshare", "-m", "sh", "-c", script + "true"], capture_output=True).returncode != 0:
        machine_skip("mount namespaces are not allowed here")
    sock.settimeout(20)
    with sock:
        yield script, sock


@pytest.mark.parametrize("way", ["second signal", "drained", "nothing to drain"])
def test_reload_that_hangs_does_not_hold_up_the_end(etcp, dead_name_server, way):
    script, sock = dead_name_server
    config = etcp.write("server.conf", etcp.server_text(drain_timeout='"1h"'))
    binary = os.path.join(os.environ["ETCP_BIN"], "etcp-server")
    server = etcp.run(shutil.which("unshare"), "-m", "sh", "-c", "%s %s -c %s" % (script, binary, config))
    port = int(re.search(r"\d+$", server.log.wait(r"listening on 127\.0\.0\.1:(\d+)").group(0)).group(0))
    connection = etcp.connect(("127.0.0.1", port))
    stream = connection.open()
    connection.echo(stream, b"up")
    etcp.write("server.conf", etcp.server_text(bind='{"hangs.example:0"}'))
    server.signal(signal.SIGHUP)
    assert b"hangs" in sock.recv(2000), "the reload asks the name server"
    if way == "nothing to drain":
        connection.goodbye()
        server.log.wait("disconnected")
        server.signal(signal.SIGTERM)
    else:
        server.signal(signal.SIGTERM)
        connection.expect(peer.GOODBYE, skip=(peer.CREDIT,))
        if way == "drained":
            connection.send_frame(peer.frame(peer.CLOSE, stream))
            connection.frames_to_end()
        else:
            server.signal(signal.SIGTERM)
    assert server.wait() == 0
