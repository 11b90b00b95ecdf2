# SPDX-License-Identifier: MIT
"""Every malformed packet, record and frame of the protocol, sent to a real etcp-server: the exact reaction each time,
and a neighbour whose connection never notices."""

import contextlib
import os
import struct

import pytest

import etcp_peer as peer
import vectors
from harness import has_aes, machine_skip

SUITES = [peer.AES, peer.CHACHA, peer.AES_NETWORK, peer.CHACHA_NETWORK]
ASK = bytes.fromhex("0700000000000101010101010101")


class World:
    """A server for one suite, with the keys of that suite's vectors, and the neighbour."""

    def __init__(self, bench, suite):
        self.bench = bench
        self.suite = suite
        self.session = vectors.BY_SUITE[suite]
        self.static = bytes.fromhex(self.session["agent_static_secret"])
        self.network_key = None
        top = {}
        if self.session["network_key"]:
            self.network_key = bytes.fromhex(self.session["network_key"])
            bench.write_key("net", self.network_key, "network.key")
            top["network_key_file"] = '"%s"' % (bench.path / "network.key")
        bench.authorize(peer.public_of(self.static), "vector")
        limits = "max_connections_per_address = 1000 max_handshakes = 1000"
        self.server = bench.server(limits=limits, log_level='"info"', **top)
        self.neighbour = self.connect(bench.agent_secret)
        self.neighbour_stream = self.neighbour.open()

    def connect(self, static=None):
        return self.bench.keep(peer.connect(self.server.address, self.suite, static or self.static, self.network_key))

    def handshake(self):
        """An agent's handshake that has sent nothing yet."""
        sock = peer.open_socket(self.server.address)
        return self.bench.keep(peer.AgentHandshake(sock, self.suite, self.static, self.network_key))

    def check_neighbour(self):
        self.neighbour.echo(self.neighbour_stream, os.urandom(10))


@pytest.fixture(params=SUITES, ids=["aes", "chacha", "aes-network", "chacha-network"])
def world(request, etcp):
    if request.param in (peer.AES, peer.AES_NETWORK) and not has_aes():
        machine_skip("no AES instructions")
    return World(etcp, request.param)


def expect_closed(wire):
    """Closed without a byte."""
    wire.receive_end()


def expect_goodbye(connection, code, names_rule=True):
    """Goodbye with this code, then a FIN. What was under way may come before it."""
    frames, how = connection.frames_to_end()
    assert frames and frames[-1].id == peer.GOODBYE, frames
    assert frames[-1].code == code, frames
    assert not names_rule or frames[-1].reason
    assert all(frame.id in (peer.CREDIT, peer.DATA, peer.CLOSE, peer.HEARTBEAT) for frame in frames[:-1]), frames
    assert how == "fin", "the Goodbye was followed by a reset"
    connection.close()


# ---- Packets


def test_bad_requests(world):
    cases = vectors.inputs(world.suite, "server", "request")
    assert len(cases) >= 10
    for vector in cases:
        wire = world.bench.socket(world.server)
        wire.send(bytes.fromhex(vector["bytes"]))
        if vector["outcome"] == "refusal":
            assert wire.receive(2) == bytes([peer.REFUSAL, vector["code"]]), vector["name"]
        expect_closed(wire)
    world.check_neighbour()


def test_every_suite_byte_is_judged_as_soon_as_it_is_there(world):
    for suite in range(256):
        if (
            suite == world.suite
            or (not world.network_key and suite in (peer.AES, peer.CHACHA))
            or (world.network_key and suite in (peer.AES_NETWORK, peer.CHACHA_NETWORK))
        ):
            continue
        wire = world.bench.socket(world.server)
        wire.send(bytes([peer.REQUEST]) + os.urandom(32) + bytes([suite]))
        if not world.network_key:
            assert wire.receive(2) == bytes([peer.REFUSAL, peer.REFUSED_SUITE]), suite
        expect_closed(wire)
        wire.close()
    world.check_neighbour()


def test_first_byte_is_judged_alone(world):
    for first in (0x00, 0x02, 0x08, 0x0B, 0x47, 0x16, 0xFF):
        wire = world.bench.socket(world.server)
        wire.send(bytes([first]))
        expect_closed(wire)


def test_bad_authentications(world):
    cases = vectors.inputs(world.suite, "server", "authentication")
    assert len(cases) >= 8
    original = bytes.fromhex(world.session["packets"][2]["bytes"])
    for vector in cases:
        name = vectors.short(vector)
        shake = world.handshake()
        shake.send(shake.request())
        shake.receive_response()
        if name.startswith("flip-byte-"):
            packet = vectors.flip(shake.authentication(), vector, original)
        elif name == "of-another-session":
            packet = original
        elif name == "low-order-static":
            packet = shake.authentication(static_public=bytes(32), skip_se=True)
        elif name == "static-key-with-top-bit":
            public = peer.public_of(world.static)
            packet = shake.authentication(static_public=public[:31] + bytes([public[31] | 0x80]))
        else:
            raise AssertionError("no way to play " + vector["name"])
        assert vector["outcome"] == "close"
        shake.send(packet)
        expect_closed(shake)
    world.check_neighbour()


def test_every_byte_of_an_authentication_matters(world):
    for position in range(65):
        shake = world.handshake()
        shake.send(shake.request())
        shake.receive_response()
        packet = bytearray(shake.authentication())
        packet[position] ^= 1 << position % 8
        shake.send(bytes(packet))
        expect_closed(shake)
        shake.close()
    world.check_neighbour()


def test_authentication_may_not_carry_a_payload(world):
    """Message 3 is 64 bytes; what follows is a record. A longer message 3 can't be told from one."""
    shake = world.handshake()
    shake.send(shake.request())
    shake.receive_response()
    shake.send(bytes([peer.AUTHENTICATION]) + shake.noise.write_3(b"more"))
    expect_closed(shake)


def test_records_before_authentication(world):
    shake = world.handshake()
    shake.send(shake.request())
    shake.receive_response()
    shake.send(struct.pack(">I", 30) + bytes(42))
    expect_closed(shake)


# ---- Records


def broken_record(connection, name):
    """What the vectors of this name do, with this connection's keys; None for names that are not about records."""
    if name.startswith("flip-byte-"):
        record = bytearray(connection.seal(ASK))
        record[int(name.rsplit("-", 1)[1])] ^= 0x04
        return bytes(record)
    if name == "length-less-by-one":
        record = connection.seal(ASK)
        return struct.pack(">I", len(record) - 17) + record[4:]
    if name == "replayed":
        record = connection.seal(ASK)
        return record + record
    if name == "skipped":
        return connection.seal(ASK, number=connection.sending.n + 1)
    if name == "reordered":
        first, second = connection.seal(ASK), connection.seal(ASK)
        return second + first
    n = connection.sending.n
    if name == "nonce-field-only":
        return connection.seal(ASK, number=n, nonce=connection.sending.aead.nonce(n + 1))
    if name == "nonce-of-the-next-under-field-of-this":
        return connection.seal(ASK, number=n + 1, nonce=connection.sending.aead.nonce(n))
    if name == "own-direction":
        cipher = connection.receiving
        sealed = cipher.aead.seal(cipher.key, cipher.aead.nonce(n), b"", ASK)
        return struct.pack(">I", len(sealed)) + cipher.aead.nonce(n) + sealed
    if name.startswith("length-"):
        length = int(name.rsplit("-", 1)[1])
        head = struct.pack(">I", length) + connection.sending.aead.nonce(n)
        return connection.seal(bytes(length - 16)) if 16 <= length <= 20 else head
    return None


def test_bad_records_close_without_a_word(world):
    cases = [vector for vector in vectors.inputs(world.suite, "server", "records") if vector["outcome"] == "close"]
    assert len(cases) >= 15
    for vector in cases:
        name = vectors.short(vector)
        connection = world.connect()
        data = broken_record(connection, name)
        assert data, "no way to play " + vector["name"]
        connection.send(data)
        if name == "replayed":
            answer = connection.expect(peer.HEARTBEAT)
            assert answer.kind == peer.ANSWER
        expect_closed(connection)
        connection.close()
    world.check_neighbour()


def test_heads_of_records_are_judged_without_the_rest(world):
    connection = world.connect()
    connection.send(struct.pack(">I", 65536))
    expect_closed(connection)
    connection = world.connect()
    connection.send(struct.pack(">I", 20))
    expect_closed(connection)
    connection = world.connect()
    connection.send(struct.pack(">I", 30) + connection.sending.aead.nonce(connection.sending.n + 1))
    expect_closed(connection)
    world.check_neighbour()


def test_every_byte_of_a_record_matters(world):
    for position in range(46):
        connection = world.connect()
        record = bytearray(connection.seal(ASK))
        record[position] ^= 0x80 >> position % 8
        if position == 2 or position == 3:
            # Another length within the bounds: only more bytes can show that the tag is wrong.
            record += bytes(65536)
        connection.send_anyway(bytes(record))
        expect_closed(connection)
        connection.close()
    world.check_neighbour()


# ---- Frames


def test_bad_frames_end_with_goodbye(world):
    cases = [vector for vector in vectors.inputs(world.suite, "server", "records") if vector["outcome"] == "goodbye"]
    assert len(cases) >= 45
    for vector in cases:
        connection = world.connect()
        frames = vectors.plaintexts(vector)
        if frames[0] == peer.open_frame(1, "hold"):
            connection.send_frame(peer.open_frame(1, "echo"))
            connection.stall(1)
            frames = [peer.frame(peer.DATA, 1, b"x")] if "past-credit" in vector["name"] else frames[1:]
        for frame in frames:
            connection.send_anyway(connection.seal(frame))
        try:
            expect_goodbye(connection, vector["code"])
        except Exception as error:
            raise AssertionError("%s: %s" % (vector["name"], error)) from error
    world.check_neighbour()


MORE_BAD_FRAMES = {
    "open-name-begins-with-dot": [peer.open_frame(1, ".echo")],
    "open-name-begins-with-hyphen": [peer.open_frame(1, "-echo")],
    "open-name-begins-with-underscore": [peer.open_frame(1, "_echo")],
    "open-name-space": [peer.open_frame(1, "e cho")],
    "open-name-beyond-ascii": [peer.open_frame(1, "échö".encode())],
    "open-malformed-but-no-such-service": [peer.open_frame(1, "nosuch", b"\x01\x07\x05" + bytes(6))],
    "open-origin-twice": [peer.open_frame(1, "echo", peer.origin_option("192.0.2.1", 80) * 2)],
    "open-origin-too-long": [peer.open_frame(1, "echo", b"\x01\x08\x04" + bytes(7))],
    "open-again-after-its-end": [
        peer.open_frame(1, "echo"),
        peer.code_frame(peer.ERROR, 1, 5),
        peer.open_frame(1, "echo"),
    ],
    "data-of-65514-on-stream-0": [peer.frame(peer.DATA, 0, bytes(65514))],
    "close-stream-0": [peer.frame(peer.CLOSE, 0)],
    "error-stream-0": [peer.code_frame(peer.ERROR, 0, 5)],
    "credit-stream-0": [peer.credit_frame(0, 0, peer.WINDOW)],
    "error-empty-body": [peer.open_frame(1, "echo"), peer.frame(peer.ERROR, 1)],
    "goodbye-empty-body": [peer.frame(peer.GOODBYE)],
    "heartbeat-empty-body": [peer.frame(peer.HEARTBEAT)],
    "heartbeat-kind-255": [peer.heartbeat_frame(255)],
    "credit-limit-2-63": [peer.open_frame(1, "echo"), peer.credit_frame(1, 0, 2**63)],
    "credit-limit-most": [peer.open_frame(1, "echo"), peer.credit_frame(1, 0, 2**64 - 1)],
    "credit-empty-body": [peer.open_frame(1, "echo"), peer.frame(peer.CREDIT, 1)],
    "close-of-a-server-id-never-opened": [peer.frame(peer.CLOSE, 2)],
    "credit-of-a-server-id-never-opened": [peer.credit_frame(2, 0, peer.WINDOW)],
    "error-of-a-server-id-never-opened": [peer.code_frame(peer.ERROR, 2, 5)],
    "data-of-an-id-skipped-is-ended-but-malformed": [peer.open_frame(9, "echo"), peer.frame(peer.DATA, 3)],
    "malformed-credit-of-an-ended-stream": [peer.open_frame(9, "echo"), peer.frame(peer.CREDIT, 3, bytes(15))],
    "malformed-close-of-an-ended-stream": [peer.open_frame(9, "echo"), peer.frame(peer.CLOSE, 3, b"x")],
    "malformed-error-of-an-ended-stream": [peer.open_frame(9, "echo"), peer.frame(peer.ERROR, 3, b"\0")],
}


def test_more_bad_frames(world):
    for name, frames in MORE_BAD_FRAMES.items():
        connection = world.connect()
        for frame in frames:
            connection.send_anyway(connection.seal(frame))
        try:
            expect_goodbye(connection, peer.CODE_PROTOCOL_ERROR)
        except Exception as error:
            raise AssertionError("%s: %s" % (name, error)) from error
    world.check_neighbour()


def test_unlisted_ids_below_0x80_are_errors_and_those_above_are_not(world):
    listed = {peer.OPEN, peer.CLOSE, peer.DATA, peer.ERROR, peer.HEARTBEAT, peer.CREDIT, peer.GOODBYE}
    connection = world.connect()
    for frame_id in range(0x80, 0x100):
        connection.send_frame(peer.frame(frame_id, frame_id * 77, os.urandom(frame_id % 7)))
    connection.heartbeat(skip=())
    for frame_id in set(range(0x80)) - listed:
        connection = world.connect()
        connection.send_frame(peer.frame(frame_id, 0, bytes(9)))
        expect_goodbye(connection, peer.CODE_PROTOCOL_ERROR)
    world.check_neighbour()


def test_what_is_no_error(world):
    for vector in vectors.inputs(world.suite, "server", "records"):
        if vector["outcome"] not in ("heartbeat-answer", "ends-well", "stream-error"):
            continue
        connection = world.connect()
        for frame in vectors.plaintexts(vector):
            # The vectors' other service exists in their server only; any stream will do here.
            connection.send_frame(frame.replace(b"hold", b"echo"))
        if vector["outcome"] == "heartbeat-answer":
            got = connection.expect(peer.HEARTBEAT, skip=(peer.CREDIT,))
            assert got.kind == peer.ANSWER and got.opaque == bytes([1] * 8), vector["name"]
        elif vector["outcome"] == "stream-error":
            assert connection.expect(peer.ERROR).code == vector["code"]
            connection.heartbeat(skip=())
        else:
            assert connection.frames_to_end() == ([], "fin"), vector["name"]
        connection.close()


def test_frames_of_ended_streams_are_dropped(world):
    connection = world.connect()
    connection.send_frame(peer.open_frame(9, "echo"))
    connection.send_frame(peer.code_frame(peer.ERROR, 9, peer.CODE_RESET))
    for stream in (9, 7, 1):
        connection.send_frame(peer.frame(peer.DATA, stream, b"late"))
        connection.send_frame(peer.credit_frame(stream, 0, peer.WINDOW))
        connection.send_frame(peer.frame(peer.CLOSE, stream))
        connection.send_frame(peer.code_frame(peer.ERROR, stream, 5))
    connection.heartbeat(skip=())
    connection.next_stream = 11
    connection.echo(connection.open(), b"and on")


def test_after_goodbye_everything_is_ignored(world):
    connection = world.connect()
    connection.send(
        connection.seal(peer.code_frame(peer.GOODBYE, 0, 0)) + connection.seal(peer.frame(0x01)) + os.urandom(99)
    )
    assert connection.frames_to_end()[0] == []
    world.check_neighbour()


def test_a_protocol_error_counts_although_much_follows(world):
    """The Goodbye arrives although the peer goes on sending: closing is as section 3 says, not a reset."""
    connection = world.connect()
    connection.send_anyway(connection.seal(peer.frame(0x01)) + os.urandom(200000))
    expect_goodbye(connection, peer.CODE_PROTOCOL_ERROR)


def test_noise_from_strangers_disturbs_nobody(world):
    for size in (1, 33, 34, 41, 42, 57, 58, 100, 5000, 70000):
        wire = world.bench.socket(world.server)
        wire.send_anyway(bytes([peer.REQUEST]) + os.urandom(32) + bytes([world.suite]) + os.urandom(size))
        with contextlib.suppress(OSError):
            wire.shutdown()
        assert len(wire.receive_to_end()) in (0, 105)
        world.check_neighbour()
        wire.close()


def test_a_replayed_request_leads_nowhere(world):
    shake = world.handshake()
    request = shake.request()
    shake.send(request)
    shake.receive_response()
    thief = world.bench.socket(world.server)
    thief.send(request)
    thief.receive(105)
    thief.send(shake.authentication())
    expect_closed(thief)


def test_a_fin_without_goodbye_is_a_truncation_and_logged(world):
    connection = world.connect()
    connection.shutdown()
    assert connection.frames_to_end()[0] == []
    world.server.log.wait(r"(?i)goodbye|truncat")
    world.check_neighbour()
