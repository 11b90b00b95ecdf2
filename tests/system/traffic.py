# SPDX-License-Identifier: MIT
"""Many connections with checked data, driven from one thread: each end sends its bytes as fast as they are taken, and knows
byte by byte what must come. Some stop reading for a while, some reset in the middle."""

import random
import selectors
import socket
import struct
import time

BLOCK = random.Random(1).randbytes(1 << 20)
ID_BYTES = 4
PIECE = 65536


def expected(seed, offset, length):
    """Bytes `offset` to `offset + length` of the stream with this seed."""
    start = (seed * 7919 + offset) % len(BLOCK)
    data = BLOCK[start : start + length]
    return data if len(data) == length else data + BLOCK[: length - len(data)]


class End:
    """One end of one connection: what it sends, what it must get, and how it behaves."""

    def __init__(self, name, seed, size, other_seed, other_size, reset_at=None, stall_at=None, piece=PIECE):
        self.name, self.seed, self.size = name, seed, size
        self.other_seed, self.other_size = other_seed, other_size
        self.reset_at, self.stall_at, self.piece = reset_at, stall_at, piece
        self.sock = self.other = None
        self.sent = self.received = 0
        self.head = b""  # goes before the data
        self.sent_end = self.got_end = self.was_reset = self.did_reset = False
        self.stalled_until = None

    @property
    def over(self):
        return self.did_reset or self.was_reset or (self.sent_end and self.got_end)

    def wants(self):
        events = 0
        if not self.got_end and self.stalled_until is None:
            events |= selectors.EVENT_READ
        if not self.sent_end:
            events |= selectors.EVENT_WRITE
        return events

    def reset(self):
        self.did_reset = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def read(self):
        try:
            data = self.sock.recv(PIECE)
        except BlockingIOError:
            return
        except (ConnectionResetError, BrokenPipeError):
            self.was_reset = True
            return
        if not data:
            self.got_end = True
            assert self.received == self.other_size, "%s: FIN after %d of %d bytes" % (
                self.name,
                self.received,
                self.other_size,
            )
            return
        assert data == expected(self.other_seed, self.received, len(data)), "%s: wrong bytes at %d" % (
            self.name,
            self.received,
        )
        self.received += len(data)
        if self.stall_at is not None and self.received >= self.stall_at:
            self.stall_at, self.stalled_until = None, time.monotonic() + 0.5

    def write(self):
        try:
            if self.head:
                self.head = self.head[self.sock.send(self.head) :]
            elif self.sent < self.size:
                self.sent += self.sock.send(expected(self.seed, self.sent, min(self.piece, self.size - self.sent)))
            if not self.head and self.reset_at is not None and self.sent >= self.reset_at:
                self.reset()
            elif not self.head and self.sent == self.size:
                self.sent_end = True
                self.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except (ConnectionResetError, BrokenPipeError):
            self.was_reset = True
        except OSError:
            self.was_reset = True  # ENOTCONN: reset between two calls


class Traffic:
    """`count` connections to `address`, whose other ends come to `listener`: all at once, or so many at a time. A part of them
    is unruly, and another part talks, that is, sends little, and in small pieces."""

    def __init__(self, address, listener, count, seed=1, size=60000, unruly=0.0, talking=0.0, at_once=None):
        rng = random.Random(seed)
        self.address, self.listener = address, listener
        self.selector = selectors.DefaultSelector()
        self.pairs = [self.pair(rng, number, size, unruly) for number in range(count)]
        self.later = list(self.pairs[at_once:]) if at_once else []
        for pair in self.pairs:
            if rng.random() < talking:
                self.make_talk(rng, *pair)
        self.ends = 0

    @staticmethod
    def pair(rng, number, size, unruly):
        sizes = [rng.choice((0, 1, rng.randrange(size), rng.randrange(2 * size))) for _ in range(2)]
        options = [{}, {}]
        kind = rng.random()
        if kind < unruly / 2:
            which = rng.randrange(2)
            options[which]["reset_at"] = rng.randrange(sizes[which] + 1)
        elif kind < unruly:
            which = rng.randrange(2)
            options[which]["stall_at"] = rng.randrange(sizes[1 - which] + 1) or 1
        names = "client %d" % number, "backend %d" % number
        seeds = 2 * number, 2 * number + 1
        client = End(names[0], seeds[0], sizes[0], seeds[1], sizes[1], **options[0])
        backend = End(names[1], seeds[1], sizes[1], seeds[0], sizes[0], **options[1])
        client.other, backend.other = backend, client
        client.head = struct.pack(">I", number)
        return client, backend

    @staticmethod
    def make_talk(rng, *pair):
        for end in pair:
            end.piece = rng.randrange(1, 300)
            end.size = min(end.size, rng.randrange(40) * end.piece)
            end.other.other_size = end.size
            if end.reset_at is not None:
                end.reset_at = min(end.reset_at, end.size)
            if end.other.stall_at is not None:
                end.other.stall_at = min(end.other.stall_at, end.size) or 1

    def connect(self, end):
        end.sock = socket.socket()
        end.sock.setblocking(False)
        end.sock.connect_ex(self.address)
        self.watch(end)

    def watch(self, end):
        events = 0 if end.over else end.wants()
        watched = self.selector.get_map().get(end.sock)
        if events and watched is None:
            self.selector.register(end.sock, events, end)
        elif events and watched.events != events:
            self.selector.modify(end.sock, events, end)
        elif not events and watched is not None:
            self.selector.unregister(end.sock)
        if end.over and end.sock.fileno() >= 0:
            end.sock.close()
            self.ends += 1
            if self.later and end.name.startswith("client"):
                self.connect(self.later.pop(0)[0])

    def accept(self):
        try:
            sock, _ = self.listener.accept()
        except BlockingIOError:
            return
        sock.setblocking(False)
        self.selector.register(sock, selectors.EVENT_READ, sock)
        self.strangers[sock] = b""

    def meet(self, sock):
        """A connection to the backend says which one it is."""
        try:
            data = sock.recv(ID_BYTES - len(self.strangers[sock]))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.strangers[sock] += data
        if data and len(self.strangers[sock]) < ID_BYTES:
            return
        self.selector.unregister(sock)
        head = self.strangers.pop(sock)
        if not data:
            sock.close()  # reset before it could say
            return
        end = self.pairs[struct.unpack(">I", head)[0]][1]
        assert end.sock is None, "%s has come twice" % end.name
        end.sock = sock
        self.watch(end)

    def run(self, timeout):
        """Until every end is over; returns how many were reset by somebody."""
        deadline = time.monotonic() + timeout
        self.strangers = {}
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, self.listener)
        for client, _ in self.pairs[: len(self.pairs) - len(self.later)]:
            self.connect(client)
        while not self.finished():
            assert time.monotonic() < deadline, "not in time: " + self.describe()
            for key, events in self.selector.select(0.05):
                if key.data is self.listener:
                    self.accept()
                elif isinstance(key.data, End):
                    end = key.data
                    if events & selectors.EVENT_READ:
                        end.read()
                    if events & selectors.EVENT_WRITE and not end.over:
                        end.write()
                    self.watch(end)
                else:
                    self.meet(key.data)
            self.wake()
        self.selector.close()
        for client, backend in self.pairs:
            if not (client.did_reset or backend.did_reset):
                assert not client.was_reset and not backend.was_reset, "%s: reset by nobody" % client.name
        return sum(client.was_reset or backend.was_reset for client, backend in self.pairs)

    def wake(self):
        now = time.monotonic()
        for pair in self.pairs:
            for end in pair:
                if end.stalled_until is not None and now >= end.stalled_until:
                    end.stalled_until = None
                    if end.sock.fileno() >= 0:
                        self.watch(end)

    def finished(self):
        for client, backend in self.pairs:
            if not client.over or (backend.sock is not None and not backend.over):
                return False
            if backend.sock is None and not client.did_reset:
                return False
        return True

    def describe(self):
        left = [end for pair in self.pairs for end in pair if not end.over]
        return "%d ends left, first: %s" % (
            len(left),
            ["%s sent %d/%d got %d/%d" % (e.name, e.sent, e.size, e.received, e.other_size) for e in left[:5]],
        )
