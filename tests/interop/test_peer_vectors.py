# SPDX-License-Identifier: MIT
"""The tests' own implementations against the protocol's transcripts, so that what they say of the programs can be
believed."""

import json
import os
import pathlib
import socket
import struct

import pytest

import classic_peer
import etcp_peer
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

NAME = "etcp-sessions.json"
HERE = pathlib.Path(__file__).resolve().parent
PLACES = [os.environ.get("ETCP_VECTORS"), HERE.parents[2] / "shared" / "vectors", HERE.parent / "vectors"]


def load():
    for place in PLACES:
        if place and (pathlib.Path(place) / NAME).exists():
            return json.loads((pathlib.Path(place) / NAME).read_text())
    pytest.fail("no %s in any of %s" % (NAME, [str(p) for p in PLACES if p]))


VECTORS = load()
SESSIONS = {session["name"]: session for session in VECTORS["sessions"]}
MODERN = [name for name, session in SESSIONS.items() if session["suite"] != etcp_peer.CLASSIC]


def raw(session, field):
    return bytes.fromhex(session[field]) if session.get(field) else None


def pair():
    """Both ends' handshakes on two ends of a socket pair that nobody uses."""
    return socket.socketpair()


def shakes(session):
    left, right = pair()
    agent = etcp_peer.AgentHandshake(
        left,
        session["suite"],
        raw(session, "agent_static_secret"),
        raw(session, "network_key"),
        raw(session, "agent_ephemeral_secret"),
        raw(session, "verify_token"),
    )
    server = etcp_peer.ServerHandshake(
        right,
        raw(session, "server_static_secret"),
        raw(session, "network_key"),
        raw(session, "server_ephemeral_secret"),
    )
    return agent, server


@pytest.mark.parametrize("name", MODERN)
def test_transcript_byte_for_byte_in_both_roles(name):
    session = SESSIONS[name]
    packets = [bytes.fromhex(packet["bytes"]) for packet in session["packets"]]
    agent, server = shakes(session)
    with agent, server:
        assert agent.request() == packets[0]
        server.read_request(packets[0])
        assert server.response() == packets[1]
        assert agent.read_response(packets[1]) == raw(session, "server_static_public")
        assert agent.authentication() == packets[2]
        assert server.read_authentication(packets[2]) == raw(session, "agent_static_public")
        assert agent.noise.symmetric.h == server.noise.symmetric.h == raw(session, "handshake_hash")
        ends = {"agent": agent.connection(), "server": server.connection()}
        assert ends["agent"].sending.key == raw(session, "agent_key")
        assert ends["agent"].receiving.key == raw(session, "server_key")
        for record in session["records"]:
            sender, receiver = ends[record["from"]], ends["server" if record["from"] == "agent" else "agent"]
            plaintext = bytes.fromhex(record["plaintext"])
            assert sender.sending.n == record["number"]
            wire = sender.seal(plaintext)
            assert wire == bytes.fromhex(record["bytes"])
            sender.send(wire)
            got = etcp_peer.Frame(receiver.receive_record())
            assert got.plaintext == plaintext
            assert got.name == record["frame"]["frame"]
            assert got.code == record["frame"].get("code")
            assert got.service == record["frame"].get("service")


@pytest.mark.parametrize("number", range(len(VECTORS["rekey"])))
def test_rekey(number):
    vector = VECTORS["rekey"][number]
    aead = etcp_peer.Aead("aes" if vector["noise_cipher"] == "AESGCM" else "chacha")
    plaintext = bytes.fromhex(vector["plaintext"])
    left, right = pair()
    with left, right:
        ciphers = [etcp_peer.CipherState(aead, bytes.fromhex(vector["key_before"])) for _ in range(2)]
        for cipher in ciphers:
            cipher.n = vector["record_before"]["number"]
        sender = etcp_peer.Connection(left, ciphers[0], None)
        receiver = etcp_peer.Connection(right, None, ciphers[1])
        for which in ("record_before", "record_after"):
            wire = sender.seal(plaintext)
            assert wire == bytes.fromhex(vector[which]["bytes"])
            sender.send(wire)
            assert receiver.receive_record() == plaintext
        assert ciphers[0].key == ciphers[1].key == bytes.fromhex(vector["key_after"])
        ciphers[0].rekey()
        assert ciphers[0].key == bytes.fromhex(vector["key_after_second_rekey"])


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda v: v.get("why") or "valid")
def test_keys_as_text(vector):
    kind = vector["text"][5:8]
    if vector["valid"]:
        key = bytes.fromhex(vector["hex"])
        assert etcp_peer.parse_key(kind, vector["text"]) == key
        assert etcp_peer.key_text(kind, key) == vector["text"]
    else:
        with pytest.raises(ValueError):
            etcp_peer.parse_key(kind if kind in ("pub", "sec", "net") else "pub", vector["text"])


def handshake_inputs(to, stage):
    return [i for i in VECTORS["inputs"] if i["to"] == to and i["stage"] == stage and i["session"] in MODERN]


@pytest.mark.parametrize("vector", handshake_inputs("agent", "response"), ids=lambda v: v["name"])
def test_agent_refuses_bad_responses(vector):
    session = SESSIONS[vector["session"]]
    agent, server = shakes(session)
    with agent, server:
        agent.request()
        server.send(bytes.fromhex(vector["bytes"]))
        server.shutdown()
        with pytest.raises(etcp_peer.PeerError):
            if agent.receive_response() != raw(session, "server_static_public"):
                raise etcp_peer.PeerError("another server key")


@pytest.mark.parametrize(
    "vector",
    handshake_inputs("server", "request") + handshake_inputs("server", "authentication"),
    ids=lambda v: v["name"],
)
def test_server_refuses_bad_packets(vector):
    session = SESSIONS[vector["session"]]
    packets = [bytes.fromhex(packet["bytes"]) for packet in session["packets"]]
    agent, server = shakes(session)
    with agent, server:
        bad = bytes.fromhex(vector["bytes"])
        if vector["stage"] == "request":
            with pytest.raises(etcp_peer.PeerError):
                server.read_request(bad)
                server.response()
        else:
            server.read_request(packets[0])
            server.response()
            with pytest.raises(etcp_peer.PeerError):
                server.read_authentication(bad)


# ---- Classic


def classic_session():
    return next(session for session in SESSIONS.values() if session["suite"] == etcp_peer.CLASSIC)


def classic_key(session, side):
    return X25519PrivateKey.from_private_bytes(raw(session, side + "_ephemeral_secret"))


def test_classic_packets_byte_for_byte():
    session = classic_session()
    token, nonce = session["verify_token_number"], raw(session, "response_nonce")
    request, response = (bytes.fromhex(packet["bytes"]) for packet in session["packets"])
    assert classic_peer.make_request(classic_key(session, "agent"), token) == request
    assert struct.pack("<Q", token) == raw(session, "verify_token")
    assert (
        classic_peer.make_response(classic_key(session, "server"), raw(session, "shared_secret"), token, nonce)
        == response
    )


def test_classic_conversation_byte_for_byte():
    session = classic_session()
    request, response = (bytes.fromhex(packet["bytes"]) for packet in session["packets"])
    ours, theirs = pair()
    with ours, theirs:
        theirs.sendall(response)
        client = classic_peer.client_handshake(ours, classic_key(session, "agent"), session["verify_token_number"])
        assert theirs.recv(4096) == request
    ours, theirs = pair()
    with ours, theirs:
        theirs.sendall(request)
        server = classic_peer.server_handshake(ours, classic_key(session, "server"), raw(session, "response_nonce"))
        assert theirs.recv(4096) == response
    client.counter = int(session["records"][0]["nonce"], 16)
    for record in session["records"]:
        sender, receiver = (client, server) if record["from"] == "agent" else (server, client)
        wire = sender.seal(bytes.fromhex(record["plaintext"]))
        assert wire == bytes.fromhex(record["bytes"])
        ours, theirs = pair()
        with ours, theirs:
            theirs.sendall(wire)
            receiver.sock = ours
            assert receiver.receive() == bytes.fromhex(record["plaintext"])


def test_classic_nonce_wraps_as_a_96_bit_integer():
    channel = classic_peer.Channel(None, bytes(32), b"\xff" * 12)
    assert channel.next_nonce() == b"\xff" * 12
    assert channel.next_nonce() == bytes(12)


@pytest.mark.parametrize(
    "vector",
    [i for i in VECTORS["inputs"] if i["session"] == "demo-classic" and i["stage"] == "response"],
    ids=lambda v: v["name"],
)
def test_classic_client_refuses_bad_responses(vector):
    session = classic_session()
    ours, theirs = pair()
    with ours, theirs:
        theirs.sendall(bytes.fromhex(vector["bytes"]))
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(classic_peer.ClassicError):
            classic_peer.client_handshake(ours, classic_key(session, "agent"), session["verify_token_number"])
