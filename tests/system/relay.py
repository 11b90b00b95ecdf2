# SPDX-License-Identifier: MIT
"""A TCP relay for tests that can cut connections."""

import collections
import contextlib
import selectors
import socket
import struct
import threading
import time

from harness import TIMEOUT


class Relay:
    """Relays connections to `target`, one after the other. With `cut_after` set, a connection is reset in both
    directions when that many bytes have passed, both directions counted."""

    def __init__(self, target):
        self.target = target
        self.cut_after = None
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                with near, contextlib.suppress(OSError), socket.create_connection(self.target, TIMEOUT) as far:
                    self.relay(near, far)
                self.connections += 1

    def relay(self, near, far):
        limit, passed = self.cut_after, 0
        with selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while selector.get_map():
                for key, _ in selector.select():
                    data = key.fileobj.recv(65536 if limit is None else min(65536, limit - passed))
                    passed += len(data)
                    if not data:
                        selector.unregister(key.fileobj)
                        key.data.shutdown(socket.SHUT_WR)
                    else:
                        key.data.sendall(data)
                    if limit is not None and passed >= limit:
                        for sock in (near, far):
                            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Narrow:
    """Relays connections to `target` a little at a time: whoever sends much finds that nothing more is taken, again and again."""

    def __init__(self, target, piece=16384, pause=0.002):
        self.target, self.piece, self.pause = target, piece, pause
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # of the connections that it accepts, too
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                try:
                    far.connect(self.target)
                except ConnectionRefusedError:
                    near.close()
                    continue
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    def carry(self, one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(self.piece):
                other.sendall(data)
                time.sleep(self.pause)  # the path is that narrow
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Path:
    """Relays connections to `target` with a delay in each direction, and measures how much is on the way: a path with a lot of
    room. The sockets' own buffers add to neither."""

    def __init__(self, target, delay):
        self.target, self.delay = target, delay
        self.most_under_way = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.run, daemon=True)]
        self.threads[0].start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
                for one, other in ((near, far), (far, near)):
                    thread = threading.Thread(target=self.carry, args=(one, other), daemon=True)
                    thread.start()

    def carry(self, one, other):
        waiting, under_way, lock = collections.deque(), 0, threading.Condition()

        def deliver():
            nonlocal under_way
            with contextlib.suppress(OSError):
                while True:
                    with lock:
                        while not waiting:
                            lock.wait()
                        due, data = waiting[0]
                    time.sleep(max(0.0, due - time.monotonic()))  # the delay that is simulated
                    if not data:
                        other.shutdown(socket.SHUT_WR)
                        return
                    other.sendall(data)
                    with lock:
                        waiting.popleft()
                        under_way -= len(data)

        threading.Thread(target=deliver, daemon=True).start()
        with contextlib.suppress(OSError):
            data = b"x"
            while data:
                data = one.recv(1 << 18)
                with lock:
                    waiting.append((time.monotonic() + self.delay, data))
                    under_way += len(data)
                    self.most_under_way = max(self.most_under_way, under_way)
                    lock.notify()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
