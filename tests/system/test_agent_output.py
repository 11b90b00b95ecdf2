# SPDX-License-Identifier: MIT
"""Where echoes are printed: descriptors of every kind, and readers that take their time. Nothing of it stops the agent."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import subprocess
import tty

import pytest

import etcp_peer as peer
from harness import BIN, TIMEOUT, eventually, free_port

HELLO = b"Hello from client!"
EX_IOERR = 74


class Sink:
    """A standard output that is full from the start, with a reader that reads when it is told to."""

    def __init__(self, kind):
        self.kind = kind
        if kind == "socket":
            self.ours, self.theirs = socket.socketpair()
            self.read_fd, self.write_fd = self.ours.fileno(), self.theirs.fileno()
        else:
            self.read_fd, self.write_fd = os.pipe() if kind == "pipe" else pty.openpty()
        if kind == "terminal":
            tty.setraw(self.write_fd)
        os.set_blocking(self.write_fd, False)
        self.filled = 0
        while self.fill() and kind == "terminal":
            select.select([], [self.write_fd], [], 0.2)  # the kernel moves what was written, and there is room again
        os.set_blocking(self.write_fd, True)

    def fill(self):
        """Writes until it is full; returns whether anything went."""
        before = self.filled
        for size in (4096, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.filled += os.write(self.write_fd, bytes(size))
        return self.filled > before

    def flags(self):
        return fcntl.fcntl(self.write_fd, fcntl.F_GETFL)

    def read(self, size):
        """Exactly so many bytes of what the agent has written."""
        data = b""
        while len(data) < self.filled + size:
            piece = os.read(self.read_fd, self.filled + size - len(data))
            assert piece
            data += piece
        data, self.filled = data[self.filled :], 0
        return data

    def close_reader(self):
        if self.kind == "socket":
            self.ours.close()
        else:
            os.close(self.read_fd)
        self.read_fd = -1

    def close(self):
        if self.kind == "socket":
            self.ours.close()
            self.theirs.close()
            return
        for fd in (self.read_fd, self.write_fd):
            if fd >= 0:
                os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Agent:
    def __init__(self, etcp, stdout, server, user=None, **options):
        path = etcp.write("agent.conf", etcp.agent_text(server, **options))
        self.log = etcp.path / "agent.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(BIN / "etcp-agent"), "-c", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=log,
                env={"PATH": "/usr/bin:/bin", "HOME": str(etcp.path), "RUNTIME_DIRECTORY": str(etcp.path / "run-agent")},
            )
        etcp.opened.callback(self.end)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def wait(self):
        code = self.process.wait(TIMEOUT)
        text = self.log.read_text()
        assert "Sanitizer" not in text and "runtime error" not in text, text
        return code


@pytest.fixture(params=["pipe", "terminal", "socket"])
def sink(request, etcp):
    return etcp.keep(Sink(request.param))


def echo_one(connection):
    """Sends the next message back; returns its stream."""
    got = connection.expect(peer.DATA, skip=(peer.OPEN, peer.CREDIT))
    assert got.body == HELLO
    connection.send_frame(peer.frame(peer.DATA, got.stream, got.body))
    return got.stream


def test_a_full_output_holds_up_nothing_but_the_next_message(etcp, sink):
    listener = etcp.listener()
    before = sink.flags()
    agent = Agent(etcp, sink.write_fd, listener.port, message='count = 2 interval = "1ms"')
    connection = etcp.keep(listener.accept())
    echo_one(connection)
    for _ in range(3):
        connection.heartbeat(skip=(peer.CREDIT,))  # no message beside them
    assert sink.flags() == before, "others who share it notice nothing"
    assert sink.read(len(HELLO) + 1) == HELLO + b"\n"
    echo_one(connection)
    assert sink.read(len(HELLO) + 1) == HELLO + b"\n"
    frames, _ = connection.frames_to_end()
    assert frames[-1].id == peer.GOODBYE and frames[-1].code == peer.CODE_OK
    connection.close()
    assert agent.wait() == 0
    assert sink.flags() == before


def test_a_signal_ends_an_agent_whose_output_is_full(etcp, sink):
    listener = etcp.listener()
    before = sink.flags()
    agent = Agent(etcp, sink.write_fd, listener.port)
    connection = etcp.keep(listener.accept())
    echo_one(connection)
    connection.heartbeat(skip=(peer.CREDIT,))
    agent.process.send_signal(signal.SIGTERM)
    assert connection.frames_to_end()[0][-1].code == peer.CODE_OK
    connection.close()
    assert agent.wait() == 0
    assert sink.flags() == before


def test_an_echo_that_waits_is_reported_once_whatever_becomes_of_its_connection(etcp, sink):
    listener = etcp.listener()
    agent = Agent(etcp, sink.write_fd, listener.port, message='count = 2 interval = "1ms"', delay="10ms")
    connection = etcp.keep(listener.accept())
    echo_one(connection)
    connection.heartbeat(skip=(peer.CREDIT,))
    connection.reset()
    again = etcp.keep(listener.accept())
    again.heartbeat(skip=(peer.OPEN, peer.CREDIT))  # and no message: the one that waits is not sent again
    assert sink.read(len(HELLO) + 1) == HELLO + b"\n"
    got = again.expect(peer.DATA, skip=(peer.OPEN, peer.CREDIT))
    again.send_frame(peer.frame(peer.DATA, got.stream, got.body))
    assert sink.read(len(HELLO) + 1) == HELLO + b"\n"
    assert again.frames_to_end()[0][-1].code == peer.CODE_OK
    again.close()
    assert agent.wait() == 0


def test_a_last_echo_that_waits_while_there_is_no_connection(etcp, sink):
    listener = etcp.listener()
    agent = Agent(etcp, sink.write_fd, listener.port, delay="1h")
    connection = etcp.keep(listener.accept())
    echo_one(connection)
    connection.heartbeat(skip=(peer.CREDIT,))
    connection.reset()
    eventually(lambda: "retrying in" in agent.log.read_text(), "it waits for an hour")
    assert sink.read(len(HELLO) + 1) == HELLO + b"\n"
    assert agent.wait() == 0


def test_a_server_that_shuts_down_meanwhile(etcp, sink):
    listener = etcp.listener()
    agent = Agent(etcp, sink.write_fd, listener.port, message='count = 2 interval = "1ms"', delay="10ms")
    connection = etcp.keep(listener.accept())
    echo_one(connection)
    connection.heartbeat(skip=(peer.CREDIT,))
    connection.goodbye(peer.CODE_SHUTTING_DOWN)
    assert connection.frames_to_end()[0][-1].id == peer.GOODBYE
    connection.close()
    again = etcp.keep(listener.accept())
    assert sink.read(len(HELLO) + 1) == HELLO + b"\n"
    echo_one(again)
    assert sink.read(len(HELLO) + 1) == HELLO + b"\n"
    again.frames_to_end()
    again.close()
    assert agent.wait() == 0


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_reader_that_goes_while_an_echo_waits(etcp, kind):
    sink = etcp.keep(Sink(kind))
    listener = etcp.listener()
    agent = Agent(etcp, sink.write_fd, listener.port, message="count = 2")
    connection = etcp.keep(listener.accept())
    echo_one(connection)
    connection.heartbeat(skip=(peer.CREDIT,))
    sink.close_reader()
    connection.frames_to_end()
    connection.close()
    assert agent.wait() == EX_IOERR
    assert "cannot write an echo to standard output" in agent.log.read_text()


def test_files_and_nothing(etcp):
    server = etcp.server()
    path = etcp.path / "echoes"
    with path.open("wb") as file:
        assert Agent(etcp, file, server.port, message='count = 3 interval = "1ms"').wait() == 0
    assert path.read_bytes() == (HELLO + b"\n") * 3
    assert Agent(etcp, subprocess.DEVNULL, server.port).wait() == 0
    with open("/dev/full", "wb") as full:
        assert Agent(etcp, full, server.port).wait() == EX_IOERR


def test_no_output_beside_a_forward(etcp):
    """What is carried ends as well, and the other connections to the server."""
    server = etcp.server()
    port = free_port()
    forward = 'forward "test" { listen = "127.0.0.1:%d" service = "echo" }\n' % port
    read_fd, write_fd = os.pipe()
    try:
        agent = Agent(etcp, write_fd, server.port, message='count = 2 interval = "1s"', rest=forward)
        assert os.read(read_fd, 100) == HELLO + b"\n"
        client = etcp.keep(socket.create_connection(("127.0.0.1", port), TIMEOUT))
        client.settimeout(TIMEOUT)
        client.sendall(b"carried")
        assert client.recv(100) == b"carried"
        os.close(read_fd)
        read_fd = -1
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""
        assert agent.wait() == EX_IOERR
    finally:
        for fd in (read_fd, write_fd):
            if fd >= 0:
                os.close(fd)


def test_the_masters_side_of_a_terminal(etcp):
    """Opening it anew would make another terminal, and the echoes would go there."""
    server = etcp.server()
    master, slave = pty.openpty()
    try:
        tty.setraw(slave)
        before = fcntl.fcntl(master, fcntl.F_GETFL)
        assert Agent(etcp, master, server.port).wait() == 0
        assert os.read(slave, 100) == HELLO + b"\n"
        assert fcntl.fcntl(master, fcntl.F_GETFL) == before, "put back"
    finally:
        os.close(master)
        os.close(slave)
