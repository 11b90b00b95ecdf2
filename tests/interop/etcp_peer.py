#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A second implementation of version 1 of the protocol, for tests: agent and server, all suites but classic.

It is made for breaking rules: every packet, record and frame can be built by hand, sealed under any nonce and sent as
any bytes; it knows every secret of its connections. Blocking sockets, each wait has a deadline. Run it:

    etcp_peer.py agent HOST:PORT --key FILE [--network-key FILE] [--suite 1] [--service echo] [--text TEXT] [--count N]
    etcp_peer.py server HOST:PORT --key FILE [--network-key FILE] [--once]

The keys' files may be etcp's; a key file that does not exist is made for the run only.
"""

import argparse
import base64
import collections
import hashlib
import hmac
import os
import socket
import struct
import sys
import time

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

REQUEST, RESPONSE, AUTHENTICATION, REFUSAL = 0x01, 0x02, 0x08, 0x0B
OPEN, CLOSE, DATA, ERROR, HEARTBEAT, CREDIT, GOODBYE = 0x03, 0x04, 0x05, 0x06, 0x07, 0x09, 0x0A
FRAME_NAMES = {
    OPEN: "open",
    CLOSE: "close",
    DATA: "data",
    ERROR: "error",
    HEARTBEAT: "heartbeat",
    CREDIT: "credit",
    GOODBYE: "goodbye",
}
ASK, ANSWER = 0, 1
(
    CODE_OK,
    CODE_PROTOCOL_ERROR,
    CODE_UNAUTHORIZED,
    CODE_NO_SUCH_SERVICE,
    CODE_CONNECT_FAILED,
    CODE_RESET,
    CODE_TIMEOUT,
    CODE_LIMIT,
    CODE_SHUTTING_DOWN,
    CODE_INTERNAL,
) = range(10)
REFUSED_SUITE, REFUSED_BUSY, REFUSED_SHUTTING_DOWN = 1, 2, 3

AES, CHACHA, AES_NETWORK, CHACHA_NETWORK, CLASSIC = 0x01, 0x02, 0x11, 0x12, 0xFD
SUITES = {
    AES: (b"Noise_XX_25519_AESGCM_SHA256", "aes", False),
    CHACHA: (b"Noise_XX_25519_ChaChaPoly_SHA256", "chacha", False),
    AES_NETWORK: (b"Noise_XXpsk0_25519_AESGCM_SHA256", "aes", True),
    CHACHA_NETWORK: (b"Noise_XXpsk0_25519_ChaChaPoly_SHA256", "chacha", True),
}
WINDOW = 262144
DATA_MAX = 65514
REKEY_EVERY = 2**20
DEFAULT_TIMEOUT = 20.0


class PeerError(Exception):
    """The other side did what the protocol forbids, or something else than was waited for."""


class Ended(PeerError):
    """The other side ended; `how` is "fin" or "reset"."""

    def __init__(self, how):
        super().__init__("the peer ended with a %s" % how)
        self.how = how


# ---- Keys


def new_secret():
    return X25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def public_of(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def exchange(secret, public):
    """X25519; an all-zero result raises PeerError."""
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise PeerError("the X25519 result is zero") from None


def key_text(kind, key):
    """`kind` is pub, sec or net."""
    prefix = b"etcp-" + kind.encode() + b"-"
    checksum = hashlib.blake2b(prefix + key, digest_size=32).digest()[:4]
    return (prefix + base64.urlsafe_b64encode(key + checksum)).decode()


def parse_key(kind, text):
    """The strict reading of section 7; ValueError says what is wrong."""
    prefixes = {name: "etcp-%s-" % name for name in ("pub", "sec", "net")}
    if len(text) != 57:
        raise ValueError("length")
    found = [name for name, prefix in prefixes.items() if text.startswith(prefix)]
    if not found:
        raise ValueError("prefix")
    if found[0] != kind:
        raise ValueError("kind: " + found[0])
    body = text[9:]
    if not all(c.isascii() and (c.isalnum() or c in "-_") for c in body):
        raise ValueError("alphabet")
    raw = base64.urlsafe_b64decode(body)
    if raw[32:] != hashlib.blake2b(prefixes[kind].encode() + raw[:32], digest_size=32).digest()[:4]:
        raise ValueError("checksum")
    if kind == "pub" and not is_canonical(raw[:32]):
        raise ValueError("value")
    return raw[:32]


def is_canonical(public):
    return int.from_bytes(public, "little") < 2**255 - 19


def load_key(kind, path):
    with open(path, encoding="ascii") as file:
        lines = [line.rstrip("\n") for line in file]
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        raise ValueError("%s: %d keys" % (path, len(lines)))
    return parse_key(kind, lines[0])


# ---- Noise, revision 34


class Aead:
    def __init__(self, name):
        self.name = name
        self.maker = AESGCM if name == "aes" else ChaCha20Poly1305

    def nonce(self, n):
        return bytes(4) + n.to_bytes(8, "big" if self.name == "aes" else "little")

    def seal(self, key, nonce, ad, plaintext):
        return self.maker(key).encrypt(nonce, plaintext, ad)

    def open(self, key, nonce, ad, sealed):
        if len(sealed) < 16:
            raise PeerError("shorter than a tag")
        try:
            return self.maker(key).decrypt(nonce, sealed, ad)
        except InvalidTag:
            raise PeerError("bad tag") from None


class CipherState:
    def __init__(self, aead, key=None):
        self.aead = aead
        self.key = key
        self.n = 0

    def encrypt(self, ad, plaintext):
        if self.key is None:
            return plaintext
        sealed = self.aead.seal(self.key, self.aead.nonce(self.n), ad, plaintext)
        self.n += 1
        return sealed

    def decrypt(self, ad, sealed):
        if self.key is None:
            return sealed
        plaintext = self.aead.open(self.key, self.aead.nonce(self.n), ad, sealed)
        self.n += 1
        return plaintext

    def rekey(self):
        self.key = self.aead.seal(self.key, self.aead.nonce(2**64 - 1), b"", bytes(32))[:32]


def hkdf(chaining_key, material, count):
    temporary = hmac.digest(chaining_key, material, "sha256")
    outputs, last = [], b""
    for i in range(1, count + 1):
        last = hmac.digest(temporary, last + bytes([i]), "sha256")
        outputs.append(last)
    return outputs


class SymmetricState:
    def __init__(self, name, aead):
        self.aead = aead
        self.h = name.ljust(32, b"\0") if len(name) <= 32 else hashlib.sha256(name).digest()
        self.ck = self.h
        self.cipher = CipherState(aead)

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def mix_key(self, material):
        self.ck, key = hkdf(self.ck, material, 2)
        self.cipher = CipherState(self.aead, key)

    def mix_key_and_hash(self, material):
        self.ck, hashed, key = hkdf(self.ck, material, 3)
        self.mix_hash(hashed)
        self.cipher = CipherState(self.aead, key)

    def encrypt_and_hash(self, plaintext):
        sealed = self.cipher.encrypt(self.h, plaintext)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed):
        plaintext = self.cipher.decrypt(self.h, sealed)
        self.mix_hash(sealed)
        return plaintext

    def split(self):
        return tuple(CipherState(self.aead, key) for key in hkdf(self.ck, b"", 2))


class Handshake:
    """Noise XX or XXpsk0. Keeps every secret that it computes in `secrets` (name: bytes), so that tests can look for
    them."""

    def __init__(self, initiator, suite, static, ephemeral=None, network_key=None, prologue=None):
        name, aead, psk = SUITES[suite]
        self.initiator = initiator
        self.static = static
        self.ephemeral = ephemeral or new_secret()
        self.network_key = network_key if psk else None
        self.remote_static = None
        self.remote_ephemeral = None
        self.symmetric = SymmetricState(name, Aead(aead))
        self.symmetric.mix_hash(prologue or b"ETCP\x01" + bytes([suite]))
        self.secrets = {"ephemeral": self.ephemeral}

    def note(self, name):
        self.secrets["chaining key after " + name] = self.symmetric.ck
        if self.symmetric.cipher.key:
            self.secrets["cipher key after " + name] = self.symmetric.cipher.key

    def mix_ephemeral(self, public):
        self.symmetric.mix_hash(public)
        if self.network_key is not None:
            self.symmetric.mix_key(public)
            self.note("e")

    def mix_dh(self, name, secret, public):
        shared = exchange(secret, public)
        self.secrets["shared secret " + name] = shared
        self.symmetric.mix_key(shared)
        self.note(name)

    def es(self):
        if self.initiator:
            self.mix_dh("es", self.ephemeral, self.remote_static)
        else:
            self.mix_dh("es", self.static, self.remote_ephemeral)

    def se(self):
        if self.initiator:
            self.mix_dh("se", self.static, self.remote_ephemeral)
        else:
            self.mix_dh("se", self.ephemeral, self.remote_static)

    def write_1(self, payload, ephemeral_public=None):
        if self.network_key is not None:
            self.symmetric.mix_key_and_hash(self.network_key)
        public = ephemeral_public or public_of(self.ephemeral)
        self.mix_ephemeral(public)
        return public + self.symmetric.encrypt_and_hash(payload)

    def read_1(self, message):
        if self.network_key is not None:
            self.symmetric.mix_key_and_hash(self.network_key)
        self.remote_ephemeral = message[:32]
        self.mix_ephemeral(self.remote_ephemeral)
        return self.symmetric.decrypt_and_hash(message[32:])

    def write_2(self, payload, static_public=None):
        public = public_of(self.ephemeral)
        self.mix_ephemeral(public)
        self.mix_dh("ee", self.ephemeral, self.remote_ephemeral)
        sealed = self.symmetric.encrypt_and_hash(static_public or public_of(self.static))
        self.es()
        return public + sealed + self.symmetric.encrypt_and_hash(payload)

    def read_2(self, message):
        self.remote_ephemeral = message[:32]
        self.mix_ephemeral(self.remote_ephemeral)
        self.mix_dh("ee", self.ephemeral, self.remote_ephemeral)
        self.remote_static = self.symmetric.decrypt_and_hash(message[32:80])
        if not is_canonical(self.remote_static):
            raise PeerError("the static key is not canonical")
        self.es()
        return self.symmetric.decrypt_and_hash(message[80:])

    def write_3(self, payload=b"", static_public=None, skip_se=False):
        sealed = self.symmetric.encrypt_and_hash(static_public or public_of(self.static))
        if skip_se:
            # A static key of low order: every implementation that went on would mix an all-zero secret.
            self.symmetric.mix_key(bytes(32))
        else:
            self.se()
        return sealed + self.symmetric.encrypt_and_hash(payload)

    def read_3(self, message):
        self.remote_static = self.symmetric.decrypt_and_hash(message[:48])
        if not is_canonical(self.remote_static):
            raise PeerError("the static key is not canonical")
        self.se()
        return self.symmetric.decrypt_and_hash(message[48:])

    def split(self):
        """(sending, receiving) for this side."""
        first, second = self.symmetric.split()
        self.secrets["agent's first key"] = first.key
        self.secrets["server's first key"] = second.key
        return (first, second) if self.initiator else (second, first)


# ---- Frames


class Frame:
    """One frame; `fields` has what its body says, for the ids of section 4."""

    def __init__(self, plaintext):
        if len(plaintext) < 5:
            raise PeerError("a frame of %d bytes" % len(plaintext))
        self.plaintext = plaintext
        self.id, self.stream = struct.unpack(">BI", plaintext[:5])
        self.body = plaintext[5:]
        self.name = FRAME_NAMES.get(self.id, "0x%02x" % self.id)
        if self.id < 0x80 and self.id not in FRAME_NAMES:
            raise PeerError("frame id 0x%02x" % self.id)
        self.code = self.reason = self.service = self.kind = self.opaque = self.consumed = self.limit = None
        if self.id in (ERROR, GOODBYE):
            if not 2 <= len(self.body) <= 257:
                raise PeerError("%s with a body of %d" % (self.name, len(self.body)))
            self.code = struct.unpack(">H", self.body[:2])[0]
            self.reason = self.body[2:]
        elif self.id == OPEN:
            self.service = self.body[1 : 1 + self.body[0]].decode("ascii")
        elif self.id == HEARTBEAT:
            if len(self.body) != 9:
                raise PeerError("heartbeat with a body of %d" % len(self.body))
            self.kind, self.opaque = self.body[0], self.body[1:]
        elif self.id == CREDIT:
            self.consumed, self.limit = struct.unpack(">QQ", self.body)
        if self.id in (HEARTBEAT, GOODBYE) and self.stream != 0:
            raise PeerError("%s on stream %d" % (self.name, self.stream))
        if self.id in (OPEN, CLOSE, DATA, ERROR, CREDIT) and self.stream == 0:
            raise PeerError("%s on stream 0" % self.name)
        if self.id == DATA and not self.body:
            raise PeerError("data without data")
        if self.id == CLOSE and self.body:
            raise PeerError("close with a body")

    def __repr__(self):
        text = "%s(stream %d" % (self.name, self.stream)
        if self.code is not None:
            text += ", code %d, %r" % (self.code, self.reason)
        elif self.id == CREDIT:
            text += ", consumed %d, limit %d" % (self.consumed, self.limit)
        elif self.id == HEARTBEAT:
            text += ", kind %d" % self.kind
        else:
            text += ", %d bytes" % len(self.body)
        return text + ")"


def frame(frame_id, stream=0, body=b""):
    return struct.pack(">BI", frame_id, stream) + body


def open_frame(stream, service, options=b""):
    name = service if isinstance(service, bytes) else service.encode()
    return frame(OPEN, stream, bytes([len(name)]) + name + options)


def origin_option(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    value = bytes([6 if ":" in address else 4]) + socket.inet_pton(family, address) + struct.pack(">H", port)
    return bytes([1, len(value)]) + value


def code_frame(frame_id, stream, code, reason=b""):
    return frame(frame_id, stream, struct.pack(">H", code) + reason)


def credit_frame(stream, consumed, limit):
    return frame(CREDIT, stream, struct.pack(">QQ", consumed, limit))


def heartbeat_frame(kind, opaque=None):
    return frame(HEARTBEAT, 0, bytes([kind]) + (os.urandom(8) if opaque is None else opaque))


# ---- Connections


class Wire:
    """Bytes on a socket, with deadlines."""

    def __init__(self, sock, timeout=DEFAULT_TIMEOUT):
        self.sock = sock
        self.timeout = timeout
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) if sock.family != socket.AF_UNIX else None

    def send(self, data):
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)

    def send_anyway(self, data):
        """Sends to a peer that may have closed already."""
        try:
            self.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self, count, timeout=None):
        """Exactly `count` bytes. Ended when the peer ended before the first of them, PeerError inside, TimeoutError."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        data = b""
        while len(data) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no %d bytes in time" % count)
            self.sock.settimeout(left)
            try:
                piece = self.sock.recv(count - len(data))
            except ConnectionResetError:
                raise Ended("reset") from None
            if not piece:
                if data:
                    raise PeerError("ended inside of a packet")
                raise Ended("fin")
            data += piece
        return data

    def receive_end(self, timeout=None):
        """Waits for the end and returns how it came; bytes before it are a PeerError."""
        try:
            data = self.receive(1, timeout)
        except Ended as end:
            return end.how
        raise PeerError("byte 0x%02x where an end was due" % data[0])

    def receive_to_end(self, timeout=None):
        """All bytes to the end, however that comes."""
        data = b""
        try:
            while True:
                data += self.receive(1, timeout)
        except Ended:
            return data

    def shutdown(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Connection(Wire):
    """An authenticated connection. Numbers and keys may be changed by hand at any time."""

    def __init__(self, sock, sending, receiving, timeout=DEFAULT_TIMEOUT):
        super().__init__(sock, timeout)
        self.sending = sending
        self.receiving = receiving
        self.kept = collections.deque()
        self.answer_heartbeats = True
        self.next_stream = 1

    def seal(self, plaintext, number=None, nonce=None):
        """A record; the next one in order, unless a number is named. `nonce` replaces the field on the wire only."""
        cipher = self.sending
        if number is None:
            if cipher.n and cipher.n % REKEY_EVERY == 0:
                cipher.rekey()
            number = cipher.n
            cipher.n += 1
        field = cipher.aead.nonce(number)
        sealed = cipher.aead.seal(cipher.key, field, b"", plaintext)
        return struct.pack(">I", len(sealed)) + (nonce or field) + sealed

    def send_frame(self, plaintext):
        self.send(self.seal(plaintext))

    def seal_many(self, plaintext, count):
        """The next `count` records, all of the same frame; quick. May not reach over a rekey."""
        cipher = self.sending
        assert cipher.n // REKEY_EVERY == (cipher.n + count - 1) // REKEY_EVERY
        records = [self.seal(plaintext)]
        length, encrypt, nonce = records[0][:4], cipher.aead.maker(cipher.key).encrypt, cipher.aead.nonce
        for number in range(cipher.n, cipher.n + count - 1):
            field = nonce(number)
            records.append(length + field + encrypt(field, plaintext, b""))
        cipher.n += count - 1
        return b"".join(records)

    def receive_record(self, timeout=None):
        head = self.receive(16, timeout)
        (length,) = struct.unpack(">I", head[:4])
        if not 21 <= length <= 65535:
            raise PeerError("length %d" % length)
        try:
            body = self.receive(length, timeout)
        except Ended:
            raise PeerError("ended inside of a record") from None
        cipher = self.receiving
        if cipher.n and cipher.n % REKEY_EVERY == 0:
            cipher.rekey()
        nonce = cipher.aead.nonce(cipher.n)
        if head[4:] != nonce:
            raise PeerError("nonce %s, not %s" % (head[4:].hex(), nonce.hex()))
        plaintext = cipher.aead.open(cipher.key, nonce, b"", body)
        cipher.n += 1
        return plaintext

    def receive_frame(self, timeout=None):
        """The next frame that is no heartbeat ask; asks are answered (see answer_heartbeats)."""
        if self.kept:
            return self.kept.popleft()
        while True:
            got = Frame(self.receive_record(timeout))
            if got.id == HEARTBEAT and got.kind == ASK and self.answer_heartbeats:
                self.send_anyway(self.seal(heartbeat_frame(ANSWER, got.opaque)))
                continue
            return got

    def expect(self, frame_id, stream=None, skip=(), timeout=None):
        """The next frame, which must be this one; frames with an id in `skip` are passed over."""
        while True:
            got = self.receive_frame(timeout)
            if got.id == frame_id and (stream is None or got.stream == stream):
                return got
            if got.id not in skip:
                raise PeerError("%r where %s was due" % (got, FRAME_NAMES[frame_id]))

    def frames_to_end(self, timeout=None):
        """All frames to the end of the connection, and how it ended."""
        frames = []
        while True:
            try:
                frames.append(self.receive_frame(timeout))
            except Ended as end:
                return frames, end.how

    def heartbeat(self, opaque=None, skip=(CREDIT, DATA, CLOSE, ERROR)):
        """Asks and waits for the answer; frames in `skip` that come before it are kept for receive_frame()."""
        opaque = opaque or os.urandom(8)
        self.send_frame(heartbeat_frame(ASK, opaque))
        passed = list(self.kept)
        self.kept.clear()
        while True:
            got = self.receive_frame()
            if got.id == HEARTBEAT and got.kind == ANSWER and got.opaque == opaque:
                self.kept.extend(passed)
                return
            if got.id == HEARTBEAT and got.kind == ANSWER:
                continue
            if got.id not in skip:
                raise PeerError("%r where an answer was due" % got)
            passed.append(got)

    def open(self, service="echo", options=b""):
        stream = self.next_stream
        self.next_stream += 2
        self.send_frame(open_frame(stream, service, options))
        return stream

    def echo(self, stream, data):
        """Sends data on a stream to an echo service and checks what comes back (up to one window in all)."""
        for start in range(0, len(data), DATA_MAX):
            self.send_frame(frame(DATA, stream, data[start : start + DATA_MAX]))
        back = b""
        while len(back) < len(data):
            back += self.expect(DATA, stream, skip=(CREDIT, HEARTBEAT)).body
        if back != data:
            raise PeerError("not an echo")

    def stall(self, stream):
        """Makes a stream of an echo service one that takes no more and sends no more: its echo has used up this side's
        window, for which no credit is given, and the other side's window is full. Returns what may not be passed."""
        limit = WINDOW
        for start in range(0, WINDOW, 32768):
            self.send_frame(frame(DATA, stream, bytes(32768)))
            back = 0
            while back < 32768:
                got = self.receive_frame()
                if got.id == CREDIT:
                    limit = got.limit
                elif got.id == DATA and got.stream == stream:
                    back += len(got.body)
                else:
                    raise PeerError("%r from an echo" % got)
        self.heartbeat(skip=(CREDIT,))
        while self.kept:
            limit = self.receive_frame().limit
        for start in range(WINDOW, limit, 32768):
            self.send_frame(frame(DATA, stream, bytes(min(32768, limit - start))))
        self.heartbeat(skip=())
        return limit

    def goodbye(self, code=CODE_OK, reason=b""):
        self.send_frame(code_frame(GOODBYE, 0, code, reason))


class AgentHandshake(Wire):
    """The agent's side, step by step."""

    def __init__(
        self, sock, suite=AES, static=None, network_key=None, ephemeral=None, token=None, timeout=DEFAULT_TIMEOUT
    ):
        super().__init__(sock, timeout)
        self.suite = suite
        self.static = static or new_secret()
        self.token = token or os.urandom(8)
        self.noise = Handshake(True, suite, self.static, ephemeral, network_key)

    def request(self, ephemeral_public=None):
        message = self.noise.write_1(self.token, ephemeral_public)
        return bytes([REQUEST]) + message[:32] + bytes([self.suite]) + message[32:]

    def read_response(self, packet):
        if packet[0] != RESPONSE or len(packet) != 105:
            raise PeerError("packet id 0x%02x of %d" % (packet[0], len(packet)))
        if self.noise.read_2(packet[1:]) != self.token:
            raise PeerError("another token")
        return self.noise.remote_static

    def receive_response(self, timeout=None):
        packet = self.receive(1, timeout)
        if packet[0] == REFUSAL:
            raise PeerError("refused with code %d" % self.receive(1)[0])
        return self.read_response(packet + self.receive(104, timeout))

    def authentication(self, static_public=None, skip_se=False):
        return bytes([AUTHENTICATION]) + self.noise.write_3(b"", static_public, skip_se)

    def connection(self):
        return Connection(self.sock, *self.noise.split(), self.timeout)


def connect(
    address, suite=AES, static=None, network_key=None, server_key=None, ask=True, timeout=DEFAULT_TIMEOUT, header=b""
):
    """Connects to a server at (host, port) or a Unix path; returns a Connection whose first heartbeat has been answered
    (`ask`; otherwise only the handshake has been sent). `header` goes before everything."""
    sock = open_socket(address, timeout)
    shake = AgentHandshake(sock, suite, static, network_key, timeout=timeout)
    try:
        shake.send(header + shake.request())
        found = shake.receive_response()
        if server_key is not None and found != server_key:
            raise PeerError("another server key")
        shake.send(shake.authentication())
        connection = shake.connection()
        connection.secrets = shake.noise.secrets
        connection.server_key = found
        if ask:
            connection.heartbeat()
        return connection
    except BaseException:
        sock.close()
        raise


def open_socket(address, timeout=DEFAULT_TIMEOUT):
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(address)
        return sock
    return socket.create_connection(address, timeout)


class ServerHandshake(Wire):
    """The server's side, step by step."""

    def __init__(self, sock, static, network_key=None, ephemeral=None, timeout=DEFAULT_TIMEOUT):
        super().__init__(sock, timeout)
        self.static = static
        self.network_key = network_key
        self.ephemeral = ephemeral
        self.suite = None
        self.noise = None
        self.token = None

    def read_request(self, packet):
        self.suite = packet[33]
        if packet[0] != REQUEST or self.suite not in SUITES:
            raise PeerError("packet id 0x%02x, suite 0x%02x" % (packet[0], self.suite))
        if SUITES[self.suite][2] != (self.network_key is not None):
            raise PeerError("suite 0x%02x does not fit the network key" % self.suite)
        if len(packet) != (58 if SUITES[self.suite][2] else 42):
            raise PeerError("a request of %d" % len(packet))
        self.noise = Handshake(False, self.suite, self.static, self.ephemeral, self.network_key)
        self.token = self.noise.read_1(packet[1:33] + packet[34:])

    def receive_request(self, timeout=None):
        head = self.receive(34, timeout)
        rest = self.receive(24 if head[33] in (AES_NETWORK, CHACHA_NETWORK) else 8, timeout)
        self.read_request(head + rest)

    def response(self, token=None, static_public=None):
        return bytes([RESPONSE]) + self.noise.write_2(token or self.token, static_public)

    def read_authentication(self, packet):
        if packet[0] != AUTHENTICATION or len(packet) != 65:
            raise PeerError("packet id 0x%02x of %d" % (packet[0], len(packet)))
        if self.noise.read_3(packet[1:]) != b"":
            raise PeerError("a payload in message 3")
        return self.noise.remote_static

    def receive_authentication(self, timeout=None):
        return self.read_authentication(self.receive(65, timeout))

    def connection(self):
        connection = Connection(self.sock, *self.noise.split(), self.timeout)
        connection.secrets = self.noise.secrets
        connection.next_stream = 2
        return connection


class Listener:
    """A listening socket that accepts with a deadline."""

    def __init__(self, static=None, network_key=None, host="127.0.0.1", port=0, timeout=DEFAULT_TIMEOUT):
        self.static = static or new_secret()
        self.public = public_of(self.static)
        self.network_key = network_key
        self.timeout = timeout
        self.sock = socket.create_server((host, port))
        self.address = self.sock.getsockname()[:2]
        self.port = self.address[1]

    def accept_wire(self, timeout=None):
        self.sock.settimeout(self.timeout if timeout is None else timeout)
        sock, _ = self.sock.accept()
        return ServerHandshake(sock, self.static, self.network_key, timeout=self.timeout)

    def accept(self, timeout=None):
        """A connection whose handshake is done; `agent_key` is the agent's."""
        shake = self.accept_wire(timeout)
        shake.receive_request()
        shake.send(shake.response())
        agent_key = shake.receive_authentication()
        connection = shake.connection()
        connection.agent_key = agent_key
        connection.suite = shake.suite
        return connection

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class EchoServer:
    """What a server with an echo service does on one connection; `messages` is what arrived, by stream."""

    def __init__(self, connection, limit=None):
        self.connection = connection
        self.messages = {}
        self.echoed = 0
        self.limit = limit

    def run(self):
        """Echoes until the agent says Goodbye, which is returned, or until `limit` Data frames have been echoed."""
        connection, taken = self.connection, {}
        while self.limit is None or self.echoed < self.limit:
            got = connection.receive_frame()
            if got.id == GOODBYE:
                return got
            if got.id == OPEN:
                taken[got.stream] = 0
                self.messages[got.stream] = b""
                if got.service != "echo":
                    connection.send_frame(code_frame(ERROR, got.stream, CODE_NO_SUCH_SERVICE, b"no such service"))
            elif got.id == DATA:
                self.messages[got.stream] += got.body
                taken[got.stream] += len(got.body)
                connection.send_frame(frame(DATA, got.stream, got.body))
                connection.send_frame(credit_frame(got.stream, taken[got.stream], taken[got.stream] + WINDOW))
                self.echoed += 1
            elif got.id == CLOSE:
                connection.send_frame(frame(CLOSE, got.stream))
        return None


# ---- By hand


def split_address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def key_or_new(kind, path):
    if path is None:
        return None
    return load_key(kind, path) if os.path.exists(path) else os.urandom(32)


def run_agent(options):
    static = key_or_new("sec", options.key)
    network_key = key_or_new("net", options.network_key)
    suite = options.suite | (0x10 if network_key else 0)
    with connect(split_address(options.address), suite, static, network_key) as connection:
        print("server %s" % key_text("pub", connection.server_key), flush=True)
        stream = connection.open(options.service)
        for _ in range(options.count):
            connection.echo(stream, options.text.encode())
            print(options.text, flush=True)
        connection.goodbye()
        connection.frames_to_end()
    return 0


def run_server(options):
    listener = Listener(
        key_or_new("sec", options.key), key_or_new("net", options.network_key), *split_address(options.address)
    )
    print("listening on %s:%d" % listener.address)
    print("server key %s" % key_text("pub", listener.public), flush=True)
    while True:
        try:
            with listener.accept(timeout=10**6) as connection:
                print("agent %s" % key_text("pub", connection.agent_key), flush=True)
                EchoServer(connection).run()
        except (PeerError, OSError) as error:
            print("error: %s" % error, flush=True)
        if options.once:
            return 0


def main():
    parser = argparse.ArgumentParser(description="A second implementation of the etcp protocol")
    roles = parser.add_subparsers(dest="role", required=True)
    for role in ("agent", "server"):
        sub = roles.add_parser(role)
        sub.add_argument("address")
        sub.add_argument("--key", default=os.devnull + ".none")
        sub.add_argument("--network-key")
        if role == "agent":
            sub.add_argument("--suite", type=int, choices=[1, 2], default=1)
            sub.add_argument("--service", default="echo")
            sub.add_argument("--text", default="Hello from client!")
            sub.add_argument("--count", type=int, default=5)
        else:
            sub.add_argument("--once", action="store_true", help="exit after one connection")
    options = parser.parse_args()
    return run_agent(options) if options.role == "agent" else run_server(options)


if __name__ == "__main__":
    sys.exit(main())
