#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A client and a server of the original's wire (docs: section 6, the classic suite), for tests.

It knows nothing of version 1 and shares no code with etcp_peer.py. Run it:

    classic_peer.py client HOST:PORT [--text TEXT] [--count N] [--end record|zero|fin]
    classic_peer.py server HOST:PORT [--once]

The client prints each echo as a line; the server prints "listening on HOST:PORT", then a line for each message.
"""

import argparse
import os
import socket
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

REQUEST_ID = 0x01
RESPONSE_ID = 0x02
SUITE = 0xFD
REQUEST_BYTES = 42
RESPONSE_BYTES = 69
TAG_BYTES = 16
RECORD_MAX = 65535
DEFAULT_TIMEOUT = 20.0


class ClassicError(Exception):
    """The peer broke a rule of the classic suite."""


def read_exactly(sock, count):
    """Returns `count` bytes; b"" if the peer ended before the first of them; ClassicError if it ended inside."""
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            if data:
                raise ClassicError("the peer ended inside of a packet")
            return b""
        data += piece
    return data


def public_bytes(secret):
    return secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


class Channel:
    """Records in both directions under one key."""

    def __init__(self, sock, key, nonce=None, limit=RECORD_MAX):
        self.sock = sock
        self.key = key
        self.aead = AESGCM(key)
        self.counter = int.from_bytes(nonce if nonce is not None else os.urandom(12), "big")
        self.limit = limit

    def next_nonce(self):
        nonce = self.counter.to_bytes(12, "big")
        self.counter = (self.counter + 1) % 2**96
        return nonce

    def seal(self, plaintext, nonce=None):
        if nonce is None:
            nonce = self.next_nonce()
        sealed = self.aead.encrypt(nonce, plaintext, None)
        return struct.pack(">I", len(sealed)) + nonce + sealed

    def send(self, plaintext):
        self.sock.sendall(self.seal(plaintext))

    def receive(self):
        """Returns the next message; b"" at any of the three ends."""
        head = read_exactly(self.sock, 4)
        if not head:
            return b""
        (length,) = struct.unpack(">I", head)
        if length == 0:
            return b""
        if not TAG_BYTES <= length <= self.limit:
            raise ClassicError("length %d" % length)
        nonce = read_exactly(self.sock, 12)
        sealed = read_exactly(self.sock, length)
        if not nonce or not sealed:
            raise ClassicError("the peer ended inside of a record")
        try:
            return self.aead.decrypt(nonce, sealed, None)
        except InvalidTag:
            raise ClassicError("bad tag") from None

    def end(self, how="record"):
        """Ends as a client may: an empty record, a bare length of 0, or a FIN."""
        if how == "record":
            self.send(b"")
        elif how == "zero":
            self.sock.sendall(b"\0\0\0\0")
        elif how == "fin":
            self.sock.shutdown(socket.SHUT_WR)
        else:
            raise ValueError(how)


def make_request(secret, token):
    """Encryption Request; `token` is the integer."""
    return bytes([REQUEST_ID]) + public_bytes(secret) + bytes([SUITE]) + struct.pack("<Q", token)


def make_response(secret, key, token, nonce):
    sealed = AESGCM(key).encrypt(nonce, struct.pack(">Q", token), None)
    return bytes([RESPONSE_ID]) + public_bytes(secret) + nonce + sealed


def client_handshake(sock, secret=None, token=None):
    """Plays the client's part on a connected socket; returns a Channel."""
    secret = secret or X25519PrivateKey.generate()
    token = int.from_bytes(os.urandom(8), "big") if token is None else token
    sock.sendall(make_request(secret, token))
    response = read_exactly(sock, RESPONSE_BYTES)
    if not response:
        raise ClassicError("closed instead of an Encryption Response")
    if response[0] != RESPONSE_ID:
        raise ClassicError("packet id 0x%02x" % response[0])
    key = secret.exchange(X25519PublicKey.from_public_bytes(response[1:33]))
    try:
        echoed = AESGCM(key).decrypt(response[33:45], response[45:], None)
    except InvalidTag:
        raise ClassicError("the token does not decrypt") from None
    if echoed != struct.pack(">Q", token):
        raise ClassicError("another token")
    return Channel(sock, key)


def server_handshake(sock, secret=None, nonce=None):
    """Plays the server's part on an accepted socket; returns a Channel."""
    secret = secret or X25519PrivateKey.generate()
    nonce = nonce or os.urandom(12)
    request = read_exactly(sock, REQUEST_BYTES)
    if not request:
        raise ClassicError("closed instead of an Encryption Request")
    if request[0] != REQUEST_ID or request[33] != SUITE:
        raise ClassicError("packet id 0x%02x, suite 0x%02x" % (request[0], request[33]))
    (token,) = struct.unpack("<Q", request[34:])
    key = secret.exchange(X25519PublicKey.from_public_bytes(request[1:33]))
    sock.sendall(make_response(secret, key, token, nonce))
    following = (int.from_bytes(nonce, "big") + 1) % 2**96
    return Channel(sock, key, following.to_bytes(12, "big"))


def split_address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def run_client(options):
    with socket.create_connection(split_address(options.address), DEFAULT_TIMEOUT) as sock:
        channel = client_handshake(sock)
        text = options.text.encode()
        for _ in range(options.count):
            channel.send(text)
            echo = channel.receive()
            if echo != text:
                print("not an echo: %r" % echo, file=sys.stderr)
                return 1
            print(echo.decode(errors="backslashreplace"), flush=True)
        channel.end(options.end)
        if sock.recv(1):
            print("an answer to the end", file=sys.stderr)
            return 1
    return 0


def serve(sock):
    """Echoes until the client ends; returns the messages. Ends with a FIN."""
    channel = server_handshake(sock)
    messages = []
    while message := channel.receive():
        messages.append(message)
        print("message: %r" % message, flush=True)
        channel.send(message)
    return messages


def run_server(options):
    host, port = split_address(options.address)
    with socket.create_server((host, port)) as listener:
        print("listening on %s:%d" % listener.getsockname()[:2], flush=True)
        while True:
            sock, _ = listener.accept()
            sock.settimeout(DEFAULT_TIMEOUT)
            with sock:
                try:
                    serve(sock)
                except (ClassicError, OSError) as error:
                    print("error: %s" % error, flush=True)
            if options.once:
                return 0


def main():
    parser = argparse.ArgumentParser(description="A peer of the original's wire")
    roles = parser.add_subparsers(dest="role", required=True)
    client = roles.add_parser("client")
    client.add_argument("address")
    client.add_argument("--text", default="Hello from client!")
    client.add_argument("--count", type=int, default=5)
    client.add_argument("--end", choices=["record", "zero", "fin"], default="record")
    server = roles.add_parser("server")
    server.add_argument("address")
    server.add_argument("--once", action="store_true", help="exit after one connection")
    options = parser.parse_args()
    return run_client(options) if options.role == "client" else run_server(options)


if __name__ == "__main__":
    sys.exit(main())
