# SPDX-License-Identifier: MIT
"""etcp connect between descriptors of every kind, and how it leaves those that it shares with others."""

import fcntl
import os
import pty
import signal
import socket
import subprocess
import termios

import pytest

import etcp_peer as peer
from harness import BIN, TIMEOUT, eventually


class World:
    def __init__(self, etcp):
        self.etcp = etcp
        self.listener = etcp.listener()

    def start(self, stdin, stdout, service="echo"):
        command = [
            str(BIN / "etcp"),
            "connect",
            "--identity",
            str(self.etcp.path / "agent.key"),
            "--server-key",
            peer.key_text("pub", self.etcp.server_public),
            "127.0.0.1:%d" % self.listener.port,
            service,
        ]
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
        self.etcp.opened.callback(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()

    def accept(self):
        connection = self.etcp.keep(self.listener.accept())
        return connection, connection.expect(peer.OPEN).stream

    def echo(self):
        connection = self.etcp.keep(self.listener.accept())
        echo = peer.EchoServer(connection)
        assert echo.run().code == peer.CODE_OK
        connection.close()
        return b"".join(echo.messages.values())


@pytest.fixture
def world(etcp):
    return World(etcp)


def nonblocking(fd):
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK)


def read_all(fd):
    data = b""
    while piece := os.read(fd, 65536):
        data += piece
    return data


def finish(process, status=0):
    code = process.wait(TIMEOUT)
    said = process.stderr.read()
    assert code == status, said
    assert b"Sanitizer" not in said and b"runtime error" not in said
    return said


def pipes(etcp):
    ends = os.pipe() + os.pipe()
    etcp.opened.callback(lambda: [os.close(end) for end in ends if is_open(end)])
    return ends


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_pipes_are_left_as_they_were(world):
    in_read, in_write, out_read, out_write = pipes(world.etcp)
    process = world.start(in_read, out_write)
    connection, stream = world.accept()
    eventually(lambda: nonblocking(in_read) and nonblocking(out_write), "both are made non-blocking")
    connection.send_frame(peer.frame(peer.DATA, stream, b"x"))
    connection.send_frame(peer.frame(peer.CLOSE, stream))
    assert os.read(out_read, 10) == b"x"
    connection.frames_to_end()
    connection.close()
    finish(process)
    assert not nonblocking(in_read) and not nonblocking(out_write)
    os.close(in_write)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_pipes_are_left_as_they_were_after_a_signal(world, number):
    in_read, _, _, out_write = pipes(world.etcp)
    process = world.start(in_read, out_write)
    connection, _ = world.accept()
    eventually(lambda: nonblocking(in_read) and nonblocking(out_write), "both are made non-blocking")
    process.send_signal(number)
    frames, _ = connection.frames_to_end()
    assert frames[-1].id == peer.GOODBYE
    connection.close()
    finish(process, 128 + number)
    assert not nonblocking(in_read) and not nonblocking(out_write)


def test_what_was_nonblocking_stays_so(world):
    in_read, in_write, out_read, out_write = pipes(world.etcp)
    os.set_blocking(in_read, False)
    process = world.start(in_read, out_write)
    os.write(in_write, b"hello")
    os.close(in_write)
    assert world.echo() == b"hello"
    finish(process)
    assert nonblocking(in_read) and not nonblocking(out_write)
    os.close(out_write)
    assert read_all(out_read) == b"hello"


def test_one_socket_as_both(world):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = world.start(theirs, theirs)
        ours.sendall(b"question")
        connection, stream = world.accept()
        assert connection.expect(peer.DATA, stream).body == b"question"
        connection.send_frame(peer.frame(peer.DATA, stream, b"answer"))
        ours.shutdown(socket.SHUT_WR)
        connection.expect(peer.CLOSE, stream, skip=(peer.CREDIT,))
        connection.send_frame(peer.frame(peer.DATA, stream, b", late"))
        connection.send_frame(peer.frame(peer.CLOSE, stream))
        ours.settimeout(TIMEOUT)
        got = b""
        while piece := ours.recv(100):  # its end comes although we hold the other socket too
            got += piece
        assert got == b"answer, late"
        connection.frames_to_end()
        connection.close()
        finish(process)
        assert not nonblocking(theirs.fileno())


def test_a_terminal(world):
    master, slave = pty.openpty()
    try:
        settings = termios.tcgetattr(slave)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        process = world.start(slave, slave)
        os.write(master, b"line\n\x04")
        assert world.echo() == b"line\n"
        finish(process)
        assert os.read(master, 100) == b"line\r\n"
        assert not nonblocking(slave)
    finally:
        os.close(master)
        os.close(slave)


def test_what_cannot_be_waited_for(world):
    with open("/dev/null", "rb") as null, open("/dev/null", "wb") as sink:
        process = world.start(null, sink)
        assert world.echo() == b""
        finish(process)
    source, sink = world.etcp.path / "source", world.etcp.path / "sink"
    source.write_bytes(os.urandom(1 << 20))
    with source.open("rb") as stdin, sink.open("wb") as stdout:
        process = world.start(stdin, stdout)
        assert world.echo() == source.read_bytes()
        finish(process)
    assert sink.read_bytes() == source.read_bytes()


def test_a_folder_as_input(world):
    folder = os.open(world.etcp.path, os.O_RDONLY)
    try:
        process = world.start(folder, subprocess.DEVNULL)
        connection, _ = world.accept()
        connection.frames_to_end()
        connection.close()
        assert b"standard input" in finish(process, 74)
    finally:
        os.close(folder)


def test_a_full_disk_as_output(world):
    with open("/dev/full", "wb", buffering=0) as full:
        process = world.start(subprocess.PIPE, full)
        connection, stream = world.accept()
        connection.send_frame(peer.frame(peer.DATA, stream, b"x"))
        connection.frames_to_end()
        connection.close()
        assert b"standard output" in finish(process, 74)
        process.stdin.close()


def test_a_reader_that_is_gone(world):
    _, _, out_read, out_write = pipes(world.etcp)
    process = world.start(subprocess.PIPE, out_write)
    connection, stream = world.accept()
    os.close(out_write)
    os.close(out_read)
    connection.send_frame(peer.frame(peer.DATA, stream, b"x"))
    connection.frames_to_end()
    connection.close()
    assert b"standard output" in finish(process, 74)
    process.stdin.close()


def test_input_at_hand_is_sent_when_the_server_has_ended(world):
    """A server that closes its half first still gets all of a file."""
    source = world.etcp.path / "source"
    source.write_bytes(os.urandom(150000))
    with source.open("rb") as stdin:
        process = world.start(stdin, subprocess.DEVNULL)
        connection, stream = world.accept()
        connection.send_frame(peer.frame(peer.CLOSE, stream))
        frames, _ = connection.frames_to_end()
        connection.close()
        assert b"".join(frame.body for frame in frames if frame.id == peer.DATA) == source.read_bytes()
        finish(process)


def test_no_standard_descriptors_at_all(world):
    command = (
        'exec "$@" <&- >&-',
        "sh",
        str(BIN / "etcp"),
        "connect",
        "--identity",
        str(world.etcp.path / "agent.key"),
        "--server-key",
        peer.key_text("pub", world.etcp.server_public),
        "127.0.0.1:%d" % world.listener.port,
        "echo",
    )
    process = subprocess.Popen(["sh", "-c", *command], stderr=subprocess.PIPE)
    world.etcp.opened.callback(world.end, process)
    connection, stream = world.accept()
    connection.expect(peer.CLOSE, stream)
    connection.send_frame(peer.frame(peer.DATA, stream, b"x"))
    connection.send_frame(peer.frame(peer.CLOSE, stream))
    connection.frames_to_end()
    connection.close()
    finish(process)


def test_the_agent_without_standard_output(world):
    """What it prints must not end up in the socket that would have got the number."""
    config = world.etcp.write(
        "agent.conf", world.etcp.agent_text(world.listener.port, message='count = 2 interval = "1ms"')
    )
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" <&- >&-', "sh", str(BIN / "etcp-agent"), "-c", str(config)], stderr=subprocess.PIPE
    )
    world.etcp.opened.callback(world.end, process)
    assert world.echo() == b"Hello from client!" * 2
    finish(process)
