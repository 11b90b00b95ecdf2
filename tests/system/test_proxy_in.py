# SPDX-License-Identifier: MIT
"""A balancer in front of the server says whom it speaks for, in a PROXY header: who is believed, what is none, and what the address
in it counts for."""

import contextlib
import os
import re
import signal
import socket
import struct
import time

import pytest

import etcp_peer as peer
from harness import EX_CONFIG, TIMEOUT, eventually, has_aes
from test_status import status

LOOPBACK = '{"127.0.0.0/8"}'
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
REFUSING_MAX = 64  # connections beyond the limit that are let wait
SUITE = peer.AES if has_aes() else peer.CHACHA


def v1(client="192.0.2.7", port=4242):
    return b"PROXY TCP%c %s %s %d 1337\r\n" % (
        b"6"[0] if ":" in client else b"4"[0],
        client.encode(),
        b"2001:db8::99" if ":" in client else b"198.51.100.1",
        port,
    )


def v2(client="192.0.2.7", port=4242, command=PROXY, tlvs=b""):
    kind = socket.AF_INET6 if ":" in client else socket.AF_INET
    address = socket.inet_pton(kind, client)
    body = address + address + struct.pack(">HH", port, 1337) + tlvs
    return SIGNATURE + struct.pack(">BBH", command, 0x21 if ":" in client else 0x11, len(body)) + body


def v2_unix(path):
    body = path.ljust(108, b"\0") + bytes(108)
    return SIGNATURE + struct.pack(">BBH", PROXY, 0x31, len(body)) + body


CHECK = SIGNATURE + bytes([LOCAL, 0x00, 0, 0])
UNSPEC = SIGNATURE + bytes([PROXY, 0x00, 0, 0])


def behind(etcp, proxy_from=LOOPBACK, **settings):
    """A server that wants a header."""
    return etcp.server(proxy_protocol='"required"', proxy_from=proxy_from, **settings)


def dial(etcp, server, header=b"", source=None):
    """A bare connection, as the balancer at `source` makes it."""
    address = server if isinstance(server, str) else getattr(server, "address", server)
    if isinstance(address, str):
        sock = peer.open_socket(address)
    else:
        sock = socket.create_connection(address, TIMEOUT, source and (source, 0))
    wire = etcp.keep(peer.Wire(sock))
    if header:
        wire.send(header)
    return wire


def shake(etcp, server, header, source=None, together=True, static=None):
    """An agent behind a balancer: header and request in one piece, or the header first."""
    wire = dial(etcp, server, b"" if together else header, source)
    agent = peer.AgentHandshake(wire.sock, SUITE, static or etcp.agent_secret)
    agent.send((header if together else b"") + agent.request())
    agent.receive_response()
    agent.send(agent.authentication())
    connection = agent.connection()
    connection.heartbeat()
    return connection


def closed(wire):
    """Whether the server closes without a byte."""
    with contextlib.suppress(OSError):
        return wire.receive_end() in ("fin", "reset")
    return True


def proxy_failures(server):
    return status(server)["refusals"]["handshakes"]["proxy"]


def refused(etcp, server, header, why, source=None):
    """A header that is closed, with its line and its count."""
    before, lines = proxy_failures(server), len(server.log.lines("proxy header refused: "))
    assert closed(dial(etcp, server, header, source))
    server.log.wait("proxy header refused: ", lines + 1)
    assert re.search(r'proxy header refused: peer=\S+ reason="%s"$' % why, server.log.lines("proxy header refused: ")[-1])
    assert proxy_failures(server) == before + 1


# ---- Whose address it is


@pytest.mark.parametrize("together", (True, False))
@pytest.mark.parametrize(
    "header, shown",
    (
        (v1(), "192.0.2.7:4242"),
        (v1("2001:db8::7"), "[2001:db8::7]:4242"),
        (v2(), "192.0.2.7:4242"),
        (v2("2001:db8::7"), "[2001:db8::7]:4242"),
        (v2("::ffff:192.0.2.7"), "192.0.2.7:4242"),
        (v2(tlvs=b"\x05\0\x04abcd\xe0\0\0" + b"\x04\x01\0" + bytes(256)), "192.0.2.7:4242"),
        (v2_unix(b"/run/client.sock"), "unix:/run/client.sock"),
        (v2_unix(b""), "unix"),
        (v2_unix(b'/x reason="y'), "unix"),
    ),
    ids=("v1-tcp4", "v1-tcp6", "v2-tcp4", "v2-tcp6", "v2-mapped", "v2-tlvs", "v2-unix", "v2-unnamed", "v2-odd-path"),
)
def test_the_clients_address_counts(etcp, header, shown, together):
    server = behind(etcp)
    connection = shake(etcp, server, header, together=together)
    server.log.wait("connected: peer=%s agent=agent " % re.escape(shown))
    assert [one["address"] for one in status(server)["connections"]] == [shown]
    connection.echo(connection.open(), b"through the balancer")
    connection.goodbye()
    connection.frames_to_end()
    server.log.wait("disconnected: peer=%s agent=agent " % re.escape(shown))
    assert "127.0.0.1:%d" % connection.sock.getsockname()[1] not in server.log.text


@pytest.mark.parametrize("header", (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ::1 ::2 3 4\r\n", UNSPEC, CHECK), ids=("v1", "v1-long", "v2", "local"))
def test_without_a_client_it_is_the_connections_own(etcp, header):
    server = behind(etcp)
    connection = shake(etcp, server, header)
    server.log.wait(r"connected: peer=127\.0\.0\.1:%d agent=agent " % connection.sock.getsockname()[1])


@pytest.mark.parametrize("header", (v1(), v2("2001:db8::7", tlvs=b"\x04\0\x10" + bytes(16))), ids=("v1", "v2"))
def test_a_header_in_pieces(etcp, header):
    """Split at every byte: nothing behind it is lost, nothing of it is taken for the handshake."""
    server = behind(etcp)
    for at in range(1, len(header)):
        wire = dial(etcp, server)
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        agent = peer.AgentHandshake(wire.sock, SUITE, etcp.agent_secret)
        agent.send(header[:at])
        assert status(server)["totals"]["handshakes"] >= 1  # the server's loop has been there
        agent.send(header[at:] + agent.request())
        agent.receive_response()
        wire.close()


def test_a_header_byte_by_byte(etcp):
    server = behind(etcp)
    header = v2()
    wire = dial(etcp, server)
    agent = peer.AgentHandshake(wire.sock, SUITE, etcp.agent_secret)
    for byte in header + agent.request():
        agent.send(bytes([byte]))
        status(server)
    agent.receive_response()


@pytest.mark.parametrize("workers", (1, 3))
def test_many_through_one_balancer(etcp, workers):
    """The balancer's own address meets no limit; each client's does."""
    server = behind(
        etcp, workers=workers, limits='max_connections_per_address = 2 max_handshakes = 16 handshake_timeout = "10min"'
    )
    kept = [shake(etcp, server, v2("192.0.2.%d" % (1 + n // 2), 1000 + n)) for n in range(24)]
    wire = dial(etcp, server)
    agent = peer.AgentHandshake(wire.sock, SUITE, etcp.agent_secret)
    agent.send(v2("192.0.2.3", 9999) + agent.request())
    assert agent.receive(2) == bytes([peer.REFUSAL, peer.REFUSED_BUSY])
    server.log.wait(r'refused: peer=192\.0\.2\.3:9999 limit="max_connections_per_address"')
    for connection in kept:
        connection.heartbeat()
    kept[4].goodbye()
    kept[4].frames_to_end()
    eventually(lambda: status(server)["totals"]["connections"] == 23, "one has gone")
    shake(etcp, server, v2("192.0.2.3", 9999))


def test_one_client_has_its_share_of_the_handshakes(etcp):
    server = behind(etcp, limits='max_handshakes = 16 handshake_timeout = "10min"')
    kept = [dial(etcp, server, v2("192.0.2.3", 1000 + n)) for n in range(2)]
    eventually(lambda: status(server)["totals"]["handshakes"] == 2, "two are under way")
    third = dial(etcp, server, v2("192.0.2.3", 3000))
    server.log.wait(r'refused: peer=192\.0\.2\.3:3000 limit="max_handshakes of one address"')
    shake(etcp, server, v2("192.0.2.4"))
    del kept, third


def test_failures_name_the_client(etcp):
    """What bans are made of has the client's address, never the balancer's."""
    server = behind(etcp)
    wire = dial(etcp, server, v2("192.0.2.66", 6666) + b"GET / HTTP/1.1\r\n\r\n")
    assert closed(wire)
    server.log.wait(r'handshake failed: peer=192\.0\.2\.66:6666 reason="')
    stranger = peer.new_secret()
    named = behind(etcp, name="named.conf", echo=False, rest='service "echo" { type = "echo" allow = {"agent"} }\n')
    with pytest.raises((peer.PeerError, OSError)):
        shake(etcp, named, v2("192.0.2.67", 6667), static=stranger)
    named.log.wait(r"authentication failed: peer=192\.0\.2\.67:6667 key=")


# ---- Who is believed


def test_others_are_closed_before_anything_else(etcp):
    server = behind(etcp, proxy_from='{"127.0.0.8/29", "::1"}')
    for source in ("127.0.0.1", "127.0.0.7", "127.0.0.16"):
        refused(etcp, server, b"", "the address is not in proxy_from", source)
        refused(etcp, server, v2(), "the address is not in proxy_from", source)
    for source in ("127.0.0.8", "127.0.0.15"):
        shake(etcp, server, v2(), source)
    assert "peer=192.0.2.7:4242" in server.log.text
    assert "refused: peer=192" not in server.log.text


def test_ipv6_sources(etcp):
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("machine: no IPv6")
    server = behind(etcp, bind='{"127.0.0.1:0", "[::1]:0"}', proxy_from='{"::/126"}')
    port = int(server.log.wait(r"listening on \[::1\]:(\d+)").group(1))
    shake(etcp, ("::1", port), v2("2001:db8::7"))
    server.log.wait(r"connected: peer=\[2001:db8::7\]:4242 ")
    refused(etcp, server, v2(), "the address is not in proxy_from")


def test_unix_sources(etcp):
    path = str(etcp.path / "front.sock")
    server = behind(etcp, bind='{"127.0.0.1:0", "unix:%s"}' % path, proxy_from='{"unix"}')
    shake(etcp, path, v2("192.0.2.9"))
    server.log.wait(r"connected: peer=192\.0\.2\.9:4242 ")
    refused(etcp, server, v2(), "the address is not in proxy_from")


def test_without_the_option_a_header_is_garbage(etcp):
    server = etcp.server(proxy_from=LOOPBACK)
    for header in (v1(), v2(), CHECK):
        assert closed(dial(etcp, server, header))
    server.log.wait(r"handshake failed: peer=127\.0\.0\.1:\d+ ", 3)


@pytest.mark.parametrize(
    "settings, message",
    (
        ({"proxy_protocol": '"required"'}, "without proxy_from"),
        ({"proxy_protocol": '"required"', "proxy_from": "{}"}, "without proxy_from"),
        ({"proxy_protocol": '"optional"'}, "expected one of: off required"),
        ({"proxy_from": '{"10.0.0.0/33"}'}, "at most 32 bits"),
        ({"proxy_from": '{"10.0.0.1/8"}'}, "ends where its bits do"),
        ({"proxy_from": '{"balancer.example"}'}, "expected a network"),
        ({"proxy_from": '{"10.0.0.0/8", "10.0.0.0/8"}'}, "every network once"),
    ),
)
def test_configurations_that_are_wrong(etcp, settings, message):
    server = etcp.server_without_waiting(**settings)
    assert server.wait() == EX_CONFIG
    assert message in server.log.text


# ---- What is no header


@pytest.mark.parametrize(
    "header, why",
    (
        (b"\x01" + bytes(41), "there is no PROXY header"),
        (b"GET / HTTP/1.1\r\n\r\n", "there is no PROXY header"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4242\r\n", "the line is too short"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 99999\r\n", "a port is malformed"),
        (b"PROXY TCP4 192.0.2.07 198.51.100.1 4242 1\r\n", "an address is malformed"),
        (b"PROXY UNKNOWN\n", "the line is no line of text"),
        (b"PROXY UNKNOWN " + b"x" * 200, "the line is too long"),
        (SIGNATURE + b"\x31\x11\0\x0c" + bytes(12), "the version is not 2"),
        (SIGNATURE + b"\x22\x11\0\x0c" + bytes(12), "the command is not known"),
        (SIGNATURE + b"\x21\x12\0\x0c" + bytes(12), "the family is none of TCP4, TCP6, UNIX and UNSPEC for streams"),
        (SIGNATURE + b"\x21\x21\0\x0c" + bytes(12), "it is too short for its addresses"),
        (SIGNATURE + b"\x21\x11\xff\xff" + bytes(100), "it is too long"),
        (SIGNATURE + b"\x20\x00\xff\xff", "it is too long"),
    ),
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_what_is_no_header(etcp, header, why):
    server = behind(etcp)
    refused(etcp, server, header, why)
    shake(etcp, server, v2())
    assert "handshake failed" not in server.log.text  # which would have the balancer banned


def test_two_headers(etcp):
    """The second is the client's own, and no handshake."""
    server = behind(etcp)
    for second in (v1("192.0.2.99"), v2("192.0.2.99"), CHECK):
        assert closed(dial(etcp, server, v2() + second))
    server.log.wait(r"handshake failed: peer=192\.0\.2\.7:4242 ", 3)
    assert "192.0.2.99" not in server.log.text


@pytest.mark.parametrize("header", (v1(), v2()), ids=("v1", "v2"))
def test_a_header_that_is_cut_off(etcp, header):
    server = behind(etcp)
    wire = dial(etcp, server, header[:-1])
    eventually(lambda: status(server)["totals"]["handshakes"] == 1, "it waits for the rest")
    wire.shutdown()
    assert closed(wire)
    server.log.wait(r'proxy header refused: peer=127\.0\.0\.1:\d+ reason="it is cut off"')
    assert status(server)["totals"]["handshakes"] == 0 and proxy_failures(server) == 1


def test_a_header_that_takes_too_long(etcp):
    """The time is that of the whole handshake, and a byte now and then does not begin it anew."""
    server = behind(etcp, limits='handshake_timeout = "500ms"')
    wire = dial(etcp, server)
    began = time.monotonic()
    with contextlib.suppress(OSError):
        for byte in v2(tlvs=b"\x04\x02\0" + bytes(512)):
            wire.sock.sendall(bytes([byte]))
            wire.sock.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                if wire.sock.recv(1) == b"":
                    break
    assert time.monotonic() - began < TIMEOUT  # all bytes together would take longer
    server.log.wait('proxy header refused: .* reason="it has not come in time"')
    dial(etcp, server, v2()).receive_end()
    server.log.wait(r"handshake failed: peer=192\.0\.2\.7:4242 .*took too long")


def test_the_header_shares_the_handshakes_time(etcp):
    server = behind(etcp, limits='handshake_timeout = "1s"')
    wire = dial(etcp, server)
    eventually(lambda: status(server)["totals"]["handshakes"] == 1, "it waits for the header")
    wire.send(v2())
    assert wire.receive_end()
    server.log.wait(r"handshake failed: peer=192\.0\.2\.7:4242 .*took too long")


# ---- Health checks


@pytest.mark.parametrize("header", (CHECK, b""), ids=("local", "nothing"))
@pytest.mark.parametrize("way", ("fin", "reset"))
def test_a_health_check_is_silent(etcp, header, way):
    server = behind(etcp, log_level='"info"')
    before = server.log.text
    for _ in range(5):
        wire = dial(etcp, server, header)
        if way == "fin":
            wire.shutdown()
            wire.receive_end()
        else:
            eventually(lambda: status(server)["totals"]["handshakes"] == 1, "the server has seen it")
            wire.reset()
    eventually(lambda: status(server)["totals"]["handshakes"] == 0, "all have gone")
    assert server.log.text == before
    assert set(status(server)["refusals"]["handshakes"].values()) == {0}


# ---- Bounds


def test_headers_that_do_not_come_are_bounded(etcp):
    server = behind(etcp, limits='max_handshakes = 20 handshake_timeout = "10min"')
    established = shake(etcp, server, v2())
    idle = [dial(etcp, server, v2()[: n % 28]) for n in range(20)]
    eventually(lambda: status(server)["totals"]["handshakes"] == 20, "they fill the handshakes")
    for n in range(REFUSING_MAX):
        idle.append(dial(etcp, server, v2()[:20]))
    eventually(lambda: status(server)["refusals"]["limits"]["max_handshakes"] == REFUSING_MAX, "and the rest")
    assert closed(dial(etcp, server))
    server.log.wait('refused: peer=127.* limit="max_handshakes"')
    established.heartbeat()
    for wire in idle:
        wire.close()
    eventually(lambda: status(server)["totals"]["handshakes"] == 0, "room")
    shake(etcp, server, v2())


def test_half_headers_cost_little_and_leave_nothing(etcp):
    """A thousand balancers that say half a header and nothing more."""
    server = behind(etcp, limits="max_handshakes = 2000 max_connections = 4000")
    shake(etcp, server, v2()).close()
    eventually(lambda: status(server)["totals"]["connections"] == 0, "gone")
    descriptors, before = server.descriptors(), server.resident_bytes()
    half = v2(tlvs=b"\x04\x03\0" + bytes(768))[:700]
    wires = [dial(etcp, server, half) for _ in range(500)]
    eventually(lambda: status(server)["totals"]["handshakes"] == 500, "all of them wait")
    if before is not None:
        assert server.resident_bytes() - before < 500 * 4096
    for wire in wires:
        wire.reset()
    eventually(lambda: status(server)["totals"]["handshakes"] == 0, "all have gone")
    eventually(lambda: server.descriptors() <= descriptors, "all descriptors closed")


def test_stop_does_not_wait_for_headers(etcp):
    server = behind(etcp, limits='handshake_timeout = "10min"', drain_timeout='"1h"')
    wires = [dial(etcp, server, v2()[:n]) for n in range(20)]
    eventually(lambda: status(server)["totals"]["handshakes"] == 20, "they wait")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert all(closed(wire) for wire in wires)


def test_lines_are_limited(etcp):
    server = behind(etcp, proxy_from='{"127.0.0.2"}')
    wires = [dial(etcp, server) for _ in range(200)]
    assert all(closed(wire) for wire in wires)
    assert proxy_failures(server) == 200
    assert len(server.log.lines("proxy header refused: ")) < 100
