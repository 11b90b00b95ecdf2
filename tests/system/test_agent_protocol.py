# SPDX-License-Identifier: MIT
"""A malformed or hostile server against the real etcp-agent: the exact reaction each time; and then it works all the
same."""

import os
import struct

import pytest

import etcp_peer as peer
import vectors
from harness import has_aes, machine_skip

NAMES = {peer.AES: "aes256gcm", peer.CHACHA: "chacha20poly1305"}
HELLO = b"Hello from client!"


class World:
    """An agent for one suite that reconnects at once, and the tests' server that it comes to."""

    def __init__(self, bench, suite):
        self.bench = bench
        self.suite = suite
        self.session = vectors.BY_SUITE[suite]
        self.network_key, top = None, {}
        if self.session["network_key"]:
            self.network_key = bench.new_key("net", "network.key")
            top["network_key_file"] = '"%s"' % (bench.path / "network.key")
        self.listener = bench.listener(network_key=self.network_key)
        self.agent = bench.agent(
            self.listener.port,
            suite='"%s"' % NAMES[suite & 0x0F],
            delay="10ms",
            message='count = 2 interval = "1ms"',
            **top
        )

    def request(self):
        shake = self.bench.keep(self.listener.accept_wire())
        shake.receive_request()
        assert shake.suite == self.suite
        return shake

    def connection(self):
        """An authenticated connection and the stream that the agent has opened."""
        connection = self.bench.keep(self.listener.accept())
        stream = connection.expect(peer.OPEN).stream
        connection.expect(peer.DATA, stream)
        return connection, stream

    def finish(self):
        """The agent has survived everything: it delivers its messages and ends well."""
        connection = self.bench.keep(self.listener.accept())
        echo = peer.EchoServer(connection)
        assert echo.run().code == peer.CODE_OK
        connection.close()
        assert self.agent.wait() == 0
        assert self.agent.out.text.count(HELLO.decode()) == 2


@pytest.fixture(
    params=[peer.AES, peer.CHACHA, peer.AES_NETWORK, peer.CHACHA_NETWORK],
    ids=["aes", "chacha", "aes-network", "chacha-network"],
)
def world(request, etcp):
    if request.param in (peer.AES, peer.AES_NETWORK) and not has_aes():
        machine_skip("no AES instructions")
    return World(etcp, request.param)


def test_bad_responses(world):
    cases = vectors.inputs(world.suite, "agent", "response")
    original = bytes.fromhex(world.session["packets"][1]["bytes"])
    assert len(cases) >= 12
    for vector in cases:
        name = vectors.short(vector)
        shake = world.request()
        if name.startswith("flip-byte-"):
            packet = vectors.flip(shake.response(), vector, original)
        elif name == "wrong-token":
            packet = shake.response(token=shake.token[:7] + bytes([shake.token[7] ^ 1]))
        elif name == "zero-token":
            packet = shake.response(token=bytes(8))
        elif name == "low-order-ephemeral":
            packet = bytes([peer.RESPONSE]) + bytes(32) + os.urandom(72)
        elif name == "another-static-key":
            shake.static = shake.noise.static = peer.new_secret()
            packet = shake.response()
        elif name.startswith("refusal-"):
            packet = bytes.fromhex(vector["bytes"])
        else:
            raise AssertionError("no way to play " + vector["name"])
        shake.send(packet)
        shake.receive_end()
        shake.close()
    world.finish()


def test_more_bad_responses(world):
    public = peer.public_of(world.listener.static)
    makers = {
        "static key with the top bit": lambda s: s.response(static_public=public[:31] + bytes([public[31] | 0x80])),
        "nothing but an id": lambda s: bytes([0x01]),
        "an error page": lambda s: b"HTTP/1.1 400 Bad Request\r\n\r\n",
        "its own request": lambda s: bytes([peer.REQUEST]) + os.urandom(60),
        "a response of another connection": lambda s: bytes.fromhex(world.session["packets"][1]["bytes"]),
    }
    for make in makers.values():
        shake = world.request()
        shake.send(make(shake))
        shake.receive_end()
        shake.close()
    for cut in (0, 1, 50, 104):
        shake = world.request()
        shake.send(shake.response()[:cut])
        shake.shutdown()
        shake.receive_end()
        shake.close()
    world.finish()


def test_every_byte_of_a_response_matters(world):
    for position in range(105):
        shake = world.request()
        packet = bytearray(shake.response())
        packet[position] ^= 1 << position % 8
        shake.send(bytes(packet))
        shake.receive_end()
        shake.close()
    world.finish()


def test_bad_records(world):
    def seal(connection, **options):
        return connection.seal(peer.heartbeat_frame(peer.ASK), **options)

    def flipped(connection, position):
        record = bytearray(seal(connection))
        record[position] ^= 0x20
        return bytes(record)

    makers = {
        "nonce": lambda c: flipped(c, 15),
        "ciphertext": lambda c: flipped(c, 20),
        "tag": lambda c: flipped(c, 45),
        "skipped": lambda c: seal(c, number=c.sending.n + 1),
        "repeated": lambda c: seal(c, number=c.sending.n) + seal(c, number=c.sending.n),
        "too short": lambda c: struct.pack(">I", 20) + c.sending.aead.nonce(c.sending.n),
        "empty": lambda c: struct.pack(">I", 0),
        "too long": lambda c: struct.pack(">I", 65536),
        "much too long": lambda c: struct.pack(">I", 2**32 - 1),
        "in clear": lambda c: b"Hello from server!!!!!!!!!!!!!!!!!!!!!!!!!!!",
    }
    for name, make in makers.items():
        connection, _ = world.connection()
        data = make(connection)
        connection.answer_heartbeats = False
        connection.send(data)
        frames, _ = connection.frames_to_end()
        assert all(frame.id != peer.GOODBYE for frame in frames), name
        connection.close()
    world.finish()


def bad_frames(stream):
    """What a server may not send when the agent has opened `stream` and sent one message on it."""
    return {
        "unlisted id 00": peer.frame(0x00),
        "unlisted id 08": peer.frame(0x08, 0, b"x"),
        "unlisted id 7f": peer.frame(0x7F, stream),
        "open odd": peer.open_frame(stream + 2, "echo"),
        "open zero": peer.open_frame(0, "echo"),
        "open the agent's": peer.open_frame(stream, "echo"),
        "open without a name": peer.open_frame(2, ""),
        "open with a malformed name": peer.open_frame(2, "Echo"),
        "open with a malformed option": peer.open_frame(2, "echo", b"\x01\x02\x04"),
        "data never opened": peer.frame(peer.DATA, stream + 2, b"x"),
        "data on an even id never opened": peer.frame(peer.DATA, 2, b"x"),
        "data on stream 0": peer.frame(peer.DATA, 0, b"x"),
        "data empty": peer.frame(peer.DATA, stream),
        "close never opened": peer.frame(peer.CLOSE, stream + 2),
        "close with a body": peer.frame(peer.CLOSE, stream, b"x"),
        "close on stream 0": peer.frame(peer.CLOSE, 0),
        "error never opened": peer.code_frame(peer.ERROR, stream + 2, 5),
        "error too short": peer.frame(peer.ERROR, stream, b"\0"),
        "error with a long reason": peer.code_frame(peer.ERROR, stream, 5, bytes(256)),
        "credit below the initial": peer.credit_frame(stream, 0, peer.WINDOW - 1),
        "credit for more than was sent": peer.credit_frame(stream, 10**6, 10**7),
        "credit above the most": peer.credit_frame(stream, 0, 2**63),
        "credit too short": peer.frame(peer.CREDIT, stream, bytes(15)),
        "credit never opened": peer.credit_frame(stream + 2, 0, peer.WINDOW),
        "heartbeat on a stream": peer.frame(peer.HEARTBEAT, stream, bytes(9)),
        "heartbeat too short": peer.frame(peer.HEARTBEAT, 0, bytes(8)),
        "heartbeat of kind 2": peer.heartbeat_frame(2),
        "goodbye on a stream": peer.code_frame(peer.GOODBYE, stream, 0),
        "goodbye too short": peer.frame(peer.GOODBYE, 0, b"\0"),
        "goodbye with a long reason": peer.code_frame(peer.GOODBYE, 0, 0, bytes(256)),
    }


def test_bad_frames_end_with_goodbye(world):
    for name in bad_frames(1):
        connection, stream = world.connection()
        connection.send(connection.seal(bad_frames(stream)[name]))
        frames, how = connection.frames_to_end()
        assert frames and frames[-1].id == peer.GOODBYE, "%s: %s" % (name, frames)
        assert frames[-1].code == peer.CODE_PROTOCOL_ERROR and frames[-1].reason, name
        assert how == "fin", name
        connection.close()
    world.finish()


def test_a_server_that_opens_streams_is_told_no(world):
    connection, _ = world.connection()
    connection.send_frame(peer.open_frame(2, "echo"))
    assert connection.expect(peer.ERROR, 2, skip=(peer.CREDIT,)).code == peer.CODE_NO_SUCH_SERVICE
    connection.heartbeat(skip=(peer.CREDIT,))
    connection.close()
    world.finish()


def test_heartbeats_are_answered_and_extensions_ignored(world):
    connection, _ = world.connection()
    connection.send_frame(peer.frame(0x80, 99, b"?"))
    connection.send_frame(peer.frame(0xFF))
    connection.send_frame(peer.heartbeat_frame(peer.ANSWER))
    connection.heartbeat(skip=(peer.CREDIT,))
    connection.close()
    world.finish()


def test_a_server_that_shuts_down_at_once_is_no_error(world):
    shake = world.request()
    shake.send(shake.response())
    shake.receive_authentication()
    connection = shake.connection()
    connection.send(
        connection.seal(peer.code_frame(peer.GOODBYE, 0, peer.CODE_SHUTTING_DOWN))
        + connection.seal(peer.code_frame(peer.GOODBYE, 0, peer.CODE_OK))
    )
    world.agent.log.wait("disconnected .*: the server is shutting down;")
    assert not world.agent.log.lines(r"\d error: ")
    connection.close()
    world.finish()


def test_a_first_record_that_breaks_a_rule_is_named(world):
    shake = world.request()
    shake.send(shake.response())
    shake.receive_authentication()
    connection = shake.connection()
    connection.send_frame(peer.frame(0x7F))
    world.agent.log.wait("cannot connect .*: .*unknown frame id")
    assert not world.agent.log.lines(r"\d error: |info: connected")
    connection.close()
    world.finish()
