# SPDX-License-Identifier: MIT
"""Everything that can meet on shared connections at once: small and large writes, half-closes, resets, stalls, a path that takes
little at a time, and servers that are restarted. Every byte is checked, and nobody is reset who has not asked for it."""

import signal
import threading

import pytest

from harness import TIMEOUT, Server, eventually, free_port, sanitized
from relay import Narrow
from traffic import Traffic
from tunnel import Tunnel, allow_descriptors, exchange


class Restarts:
    """Has the tunnel's server restarted again and again, each time when so many connections more have come to an end."""

    def __init__(self, tunnel, traffic, every):
        self.tunnel, self.traffic, self.every = tunnel, traffic, every
        self.count, self.running, self.failure = 0, True, None
        self.thread = threading.Thread(target=self.run)

    def once(self):
        server = self.tunnel.server
        server.signal(signal.SIGTERM)
        assert server.wait(4 * TIMEOUT) == 0, server.log.text[-2000:]
        assert "drain_timeout is over" not in server.log.text
        self.tunnel.server = Server(self.tunnel.etcp, server.config).started()
        self.count += 1

    def run(self):
        try:
            while self.running:
                before = self.traffic.ends
                eventually(
                    lambda: not self.running or self.traffic.ends >= before + self.every, "more traffic", 10 * TIMEOUT
                )
                if self.running:
                    self.once()
        except BaseException as failure:  # the test tells
            self.failure = failure

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.running = False
        self.thread.join(10 * TIMEOUT)


@pytest.mark.parametrize("narrow", (False, True))
@pytest.mark.parametrize("connections", (1, 8))
def test_restarts_under_unruly_traffic(etcp, connections, narrow):
    count = 300 if sanitized() else 1000
    tunnel = Tunnel(
        etcp,
        start=False,
        forward='wait = "5min"',
        agent={"max_connections": connections, "log_level": '"info"'},
        server={"bind": '{"127.0.0.1:%d"}' % free_port(), "log_level": '"info"', "drain_timeout": '"5min"'},
        limits="max_streams = 2000",
    )
    allow_descriptors(4096)
    tunnel.start_server()
    with Narrow(tunnel.server.address) as path:
        tunnel.start_agent(path.port if narrow else tunnel.server.port)
        traffic = Traffic(
            tunnel.address, tunnel.listener, count, connections, size=30000, unruly=0.3, talking=0.5, at_once=60
        )
        with Restarts(tunnel, traffic, count // 4) as restarts:
            traffic.run(12 * TIMEOUT)
        assert restarts.failure is None, restarts.failure
        assert restarts.count > 1
        exchange(*tunnel.pair())
        eventually(lambda: tunnel.agent.descriptors() < 100, "all descriptors closed")
