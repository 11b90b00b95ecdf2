# SPDX-License-Identifier: MIT
"""Connections with checked data, opened steadily through agents, while servers are restarted: not one may fail."""

import asyncio
import collections
import random
import signal
import socket
import struct
import threading
import time

import etcp_peer as peer
from harness import TIMEOUT, Server, eventually

CLIENT = "127.0.0.7"  # whom the backend must see
AT_ONCE = 8  # connections of each agent
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


class Load:
    """A backend, and clients that open connections to it through agents, one after the other, AT_ONCE at a time for each agent.
    Every byte is checked, and so is that the backend sees each connection once. Runs on a thread of its own."""

    def __init__(self):
        self.done = 0
        self.failures = []
        self.sources = set()  # addresses in the backend's PROXY headers
        self.seen = collections.Counter()  # by the backend: connections that brought data
        self.running = True
        self.loop = asyncio.new_event_loop()
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.sock.getsockname()[1]
        self.tasks = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(asyncio.start_server(self.backend, sock=self.sock, limit=1 << 18))
        self.loop.run_forever()

    async def backend(self, reader, writer):
        """Reads to the end, answers with the same and its end."""
        try:
            head = await reader.readexactly(16)
            assert head[:13] == SIGNATURE + b"\x21" and head[13] == 0x11
            body = await reader.readexactly(struct.unpack(">H", head[14:])[0])
            self.sources.add(socket.inet_ntoa(body[:4]))
            data = await reader.read(-1)
            if data:
                self.seen[data[:8]] += 1
            writer.write(data)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # reset: the client tells
        finally:
            writer.close()

    async def once(self, address, rng, name):
        data = name + rng.randbytes(rng.choice((0, 10, 1000, rng.randrange(200000))))
        reader, writer = await asyncio.open_connection(*address, local_addr=(CLIENT, 0), limit=1 << 18)
        try:
            writer.write(data)
            writer.write_eof()
            got = await asyncio.wait_for(reader.read(-1), 3 * TIMEOUT)
            assert got == data, "%d of %d bytes" % (len(got), len(data))
            assert self.seen.pop(name) == 1, "the backend has seen it more than once"
        finally:
            writer.close()

    async def client(self, address, seed):
        rng = random.Random(seed)
        number = 0
        while self.running:
            number += 1
            try:
                await self.once(address, rng, struct.pack(">II", seed, number))
                self.done += 1
            except (OSError, AssertionError, KeyError, asyncio.TimeoutError) as failure:
                self.failures.append("%s: %r" % (time.strftime("%X"), failure))

    def start(self, address):
        for _ in range(AT_ONCE):
            self.tasks.append(
                asyncio.run_coroutine_threadsafe(self.client(address, len(self.tasks) + 1), self.loop)
            )

    def goes_on(self, count=100):
        """Waits until so many connections more are over; none may have failed."""
        before = self.done
        eventually(lambda: self.failures or self.done >= before + count, "the load goes on", 3 * TIMEOUT)
        assert not self.failures, self.failures[:5]

    def stop(self):
        self.running = False
        for task in self.tasks:
            task.result(4 * TIMEOUT)
        assert not self.failures, self.failures[:5]
        assert not self.seen, "connections that no client has made, or bytes that came twice"

    def close(self):
        self.running = False
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(TIMEOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def start_server(etcp, name, text):
    return Server(etcp, etcp.write(name, text)).started()


def restart(etcp, server):
    """As `systemctl restart`: SIGTERM, its end, a new one with the same configuration."""
    server.signal(signal.SIGTERM)
    assert server.wait(3 * TIMEOUT) == 0, server.log.text[-2000:]
    assert "drain_timeout is over" not in server.log.text
    return Server(etcp, server.config).started()


def start_agent(etcp, name, text):
    etcp.new_key("sec", name + ".key")
    etcp.authorize(peer.public_of(etcp.secrets[name + ".key"]), name)
    text = 'identity = "%s"\n' % (etcp.path / (name + ".key")) + text
    return lambda: etcp.agent(text=text, name=name + ".conf")


def address_of(agent):
    agent.log.wait(r"connected to ")
    return ("127.0.0.1", int(agent.log.wait(r"listening on 127\.0\.0\.1:(\d+): forward").group(1)))
