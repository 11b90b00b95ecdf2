# SPDX-License-Identifier: MIT
"""The invalid inputs of the protocol's vectors, for use on live connections: with the keys of the connection in place
of those of the vector's session."""

import json
import os
import pathlib
import struct

import etcp_peer

NAME = "etcp-sessions.json"
TESTS = pathlib.Path(__file__).resolve().parents[1]
PLACES = [os.environ.get("ETCP_VECTORS"), TESTS.parents[1] / "shared" / "vectors", TESTS / "vectors"]


def load():
    for place in PLACES:
        if place and (pathlib.Path(place) / NAME).exists():
            return json.loads((pathlib.Path(place) / NAME).read_text())
    raise FileNotFoundError("no %s in any of %s" % (NAME, [str(place) for place in PLACES if place]))


VECTORS = load()
SESSIONS = {session["name"]: session for session in VECTORS["sessions"]}
BY_SUITE = {session["suite"]: session for session in VECTORS["sessions"]}


def inputs(suite, to, stage):
    return [
        vector
        for vector in VECTORS["inputs"]
        if vector["to"] == to and vector["stage"] == stage and SESSIONS[vector["session"]]["suite"] == suite
    ]


def short(vector):
    return vector["name"].split("/", 1)[1]


def plaintexts(vector):
    """The frames of an input at stage `records` whose records are sound; None where a record itself is broken."""
    session = SESSIONS[vector["session"]]
    aead = etcp_peer.Aead(etcp_peer.SUITES[session["suite"]][1])
    key = bytes.fromhex(session["agent_key"])
    data, frames = bytes.fromhex(vector["bytes"]), []
    while data:
        length, nonce, sealed = struct.unpack(">I", data[:4])[0], data[4:16], data[16:]
        if nonce != aead.nonce(len(frames)) or not 21 <= length <= 65535 or len(sealed) < length:
            return None
        try:
            frames.append(aead.open(key, nonce, b"", sealed[:length]))
        except etcp_peer.PeerError:
            return None
        data = sealed[length:]
    return frames


def flip(packet, vector, original):
    """Does to `packet` what the vector does to its session's packet: flips the same bits."""
    changed = bytes.fromhex(vector["bytes"])
    assert len(changed) == len(original) == len(packet)
    return bytes(a ^ b ^ c for a, b, c in zip(packet, changed, original))
