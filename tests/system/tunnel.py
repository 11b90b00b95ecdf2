# SPDX-License-Identifier: MIT
"""A tunnel through both daemons, and what tests do with the sockets at its ends."""

import ctypes
import json
import os
import re
import resource
import socket
import struct
import time

from harness import TIMEOUT

SYS_PIDFD_GETFD = 438  # on every architecture
RESET = struct.pack("ii", 1, 0)
ENDLESS = b"x" * (1 << 26)  # more than any window


def reset(sock):
    """Closes with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def read_to_end(sock):
    data = bytearray()
    while piece := sock.recv(1 << 18):
        data += piece
    return bytes(data)


def is_reset(sock):
    """Whether reading ends with a RST, whatever comes before."""
    try:
        while sock.recv(1 << 18):
            pass
    except ConnectionResetError:
        return True
    return False


def receive(sock, length):
    data = bytearray()
    while len(data) < length:
        piece = sock.recv(length - len(data))
        assert piece, "%d of %d bytes" % (len(data), length)
        data += piece
    return bytes(data)


def allow_descriptors(count):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def fill(sock, data=ENDLESS, piece=65536):
    """Writes `data` until nothing more is taken for a while; returns how much was."""
    sock.setblocking(False)
    total, stalled = 0, 0
    while stalled < 20 and total < len(data):
        try:
            total += sock.send(data[total : total + piece])
            stalled = 0
        except BlockingIOError:
            stalled += 1
            time.sleep(0.01)
    sock.settimeout(TIMEOUT)
    return total


def status(program):
    """What a daemon says about itself on its status socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect(str(program.runtime / "status.sock"))
        return json.loads(read_to_end(sock))


def of_sockets(program, look):
    """{(local port, remote port): what `look` finds out about the socket} of a program's TCP sockets; a listener's remote port is
    None."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    found = {}
    pidfd = os.pidfd_open(program.pid)
    try:
        for name in os.listdir("/proc/%d/fd" % program.pid):
            number = call(SYS_PIDFD_GETFD, pidfd, int(name), 0)
            if number < 0:
                continue  # closed meanwhile
            try:
                with socket.socket(fileno=number) as sock:
                    if sock.family != socket.AF_INET:
                        continue
                    try:
                        remote = sock.getpeername()[1]
                    except OSError:
                        remote = None
                    found[sock.getsockname()[1], remote] = look(sock)
            except OSError:
                os.close(number)  # no socket
    finally:
        os.close(pidfd)
    return found


def connects_to_reset(tunnel):
    """Whether a new connection is reset, which may happen as early as in connect()."""
    try:
        client = tunnel.connect()
        client.sendall(b"x")
    except (ConnectionResetError, BrokenPipeError):
        return True
    return is_reset(client)


class Tunnel:
    """A backend, a server with the service "test" that leads to it, and an agent with a port for that service."""

    def __init__(
        self,
        etcp,
        to=None,
        listen="127.0.0.1:0",
        service="",
        forward="",
        allow='{"agent"}',
        start=True,
        server=None,
        agent=None,
        limits="",
    ):
        self.etcp = etcp
        self.listener = None
        if to is None:
            self.listener = etcp.keep(socket.create_server(("127.0.0.1", 0), backlog=1024))
            to = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.service = 'service "test" { type = "forward" to = "%s" allow = %s %s }\n' % (to, allow, service)
        self.forward = 'forward "test" { listen = "%s" service = "test" %s }\n' % (listen, forward)
        self.server_options = {"limits": limits, **(server or {})}
        self.agent_options = agent or {}
        self.server = self.agent = None
        if start:
            self.start_server()
            self.start_agent(self.server.port)

    def start_server(self, **top):
        self.server = self.etcp.server(rest=self.service, **{**self.server_options, **top})

    def start_agent(self, server_port, wait=True):
        self.agent = self.etcp.agent(
            text=self.etcp.agent_text(
                server_port, rest=self.forward, **{"message": None, "delay": "50ms", **self.agent_options}
            )
        )
        self.agent.log.wait(r"listening on .*: forward test")
        match = re.search(r"listening on 127\.0\.0\.1:(\d+): forward test", self.agent.log.text)
        if match:
            self.address = ("127.0.0.1", int(match.group(1)))
        if wait:
            self.agent.log.wait(r"connected to ")

    def connect(self, address=None):
        sock = self.etcp.keep(socket.create_connection(address or self.address, TIMEOUT))
        sock.settimeout(TIMEOUT)
        return sock

    def turns_away(self, address=None):
        """Whether a connection is reset, which may come before it is known here that there is one."""
        try:
            return is_reset(self.connect(address))
        except ConnectionResetError:
            return True

    def accept(self):
        self.listener.settimeout(TIMEOUT)
        sock, _ = self.listener.accept()
        sock.settimeout(TIMEOUT)
        return self.etcp.keep(sock)

    def pair(self):
        """(the client's socket, the backend's) of one connection."""
        client = self.connect()
        return client, self.accept()


def exchange(one, other):
    one.sendall(b"question")
    assert other.recv(100) == b"question"
    other.sendall(b"answer")
    assert one.recv(100) == b"answer"
