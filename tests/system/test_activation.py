# SPDX-License-Identifier: MIT
"""Sockets that systemd passes, known by their names. (tests/packages has them in a real systemd.)"""

import re
import signal
import socket
import subprocess

import pytest

import etcp_peer as peer
from harness import BIN, EX_UNAVAILABLE, TIMEOUT
from tunnel import Tunnel, exchange


def start_with(etcp, program, config, sockets, names):
    """A program that was passed these listening sockets under these names."""
    passed = " ".join("%d<&%d" % (3 + i, end.fileno()) for i, end in enumerate(sockets))
    return subprocess.Popen(
        ["bash", "-c", 'export LISTEN_PID=$$; exec "$0" -c "$1" ' + passed, str(BIN / program), str(config)],
        pass_fds=[end.fileno() for end in sockets], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
        env={"LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names), "XDG_STATE_HOME": str(etcp.path),
             "RUNTIME_DIRECTORY": str(etcp.path), "PATH": "/usr/bin:/bin"})


def activated(etcp, names):
    """A server that was passed a listening socket for each name. Returns the process and the addresses."""
    sockets = [etcp.keep(socket.create_server(("127.0.0.1", 0))) for _ in names]
    config = etcp.path / "activated.conf"
    etcp.new_key("sec", "activated.key")
    config.write_text('identity = "%s/activated.key"\nservice "echo" { type = "echo" allow = {"*"} }\n' % etcp.path)
    return start_with(etcp, "etcp-server", config, sockets, names), [end.getsockname() for end in sockets]


@pytest.mark.parametrize("names", [["etcp"], ["etcp-server.socket"], ["mine.socket", "etcp"], ["unknown"]])
def test_sockets_for_agents_are_served(etcp, names):
    process, addresses = activated(etcp, names)
    try:
        for address in addresses:
            with peer.connect(address, peer.CHACHA, peer.new_secret()) as connection:
                connection.echo(connection.open(), b"through it")
    finally:
        process.terminate()
        log = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 0, log
    for address in addresses:
        assert "listening on %s:%d" % address in log


def test_a_reload_that_changes_bind_in_vain_says_so(etcp):
    process, addresses = activated(etcp, ["etcp"])
    config = etcp.path / "activated.conf"
    log = ""
    try:
        with peer.connect(addresses[0], peer.CHACHA, peer.new_secret()):
            pass
        for rest, told in (('log_level = "debug"\n', False), ('bind = {"127.0.0.1:1"}\n', True), ('bind = {"127.0.0.1:1"}\n', False)):
            config.write_text('identity = "%s/activated.key"\nservice "echo" { type = "echo" allow = {"*"} }\n%s' % (etcp.path, rest))
            process.send_signal(signal.SIGHUP)
            part = ""
            while "configuration reloaded" not in part:
                line = process.stderr.readline()
                assert line, log + part
                part += line
            log += part
            assert ("1 sockets were passed in by systemd: 127.0.0.1:%d; bind is not used: 127.0.0.1:1" % addresses[0][1] in part) == told, log
    finally:
        process.terminate()
        rest = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 0, log + rest


@pytest.mark.parametrize("names", [["metrics"], ["etcp", "status"], [".socket"], ["\x1b[2J"]])
def test_sockets_for_something_else_are_refused(etcp, names):
    process, _ = activated(etcp, names)
    log = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode not in (0, None) and "expected FileDescriptorName=etcp" in log, log
    assert names[-1].replace("\x1b", "\\x1b") in log and "\x1b" not in log


# ---- The agent


class Activated(Tunnel):
    """A tunnel whose agent gets its sockets passed. `sockets` are (name, address) of what is passed, the address None for any port
    of the loopback; `forwards` are (name, listen)."""

    def __init__(self, etcp, sockets, forwards=(("test", "127.0.0.1:1"),)):
        super().__init__(etcp, start=False)
        self.start_server()
        self.names = [name for name, _ in sockets]
        self.sockets = [etcp.keep(socket.create_server(address or ("127.0.0.1", 0))) for _, address in sockets]
        self.addresses = [end.getsockname() for end in self.sockets]
        self.config = self.configure(forwards)
        self.process = None

    def configure(self, forwards):
        rest = "".join('forward "%s" { listen = "%s" service = "test" }\n' % forward for forward in forwards)
        return self.etcp.write("agent.conf", self.etcp.agent_text(self.server.port, rest=rest, message=None, drain_timeout='"0"'))

    def run(self):
        self.process = start_with(self.etcp, "etcp-agent", self.config, self.sockets, self.names)

    def __enter__(self):
        self.run()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT)
        self.process.stderr.close()

    def read_until(self, text):
        """The agent's log up to a line with this text; the test's own time limit bounds it."""
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if text in line:
                return "".join(lines)
        raise AssertionError("%r is not in\n%s" % (text, "".join(lines)))

    def end(self):
        """Its exit status and log."""
        self.process.terminate()
        log = self.process.communicate(timeout=TIMEOUT)[1]
        return self.process.returncode, log

    def serves(self, address):
        client = self.connect(address)
        backend = self.accept()
        exchange(client, backend)
        return client, backend


def test_a_socket_is_for_the_forward_that_it_is_named_for(etcp):
    with Activated(etcp, [("test", None)]) as tunnel:
        tunnel.serves(tunnel.addresses[0])
        status, log = tunnel.end()
        assert status == 0
        assert "listening on 127.0.0.1:%d: forward test" % tunnel.addresses[0][1] in log
        assert "forward test: a socket was passed in by systemd: 127.0.0.1:%d; listen is not used: 127.0.0.1:1" % (
            tunnel.addresses[0][1]) in log


@pytest.mark.parametrize("name", ["etcp-agent.socket", "unknown", ""])
def test_a_socket_without_a_name_of_a_forward_goes_by_its_address(etcp, name):
    tunnel = Activated(etcp, [(name, None), (name, ("127.0.0.2", 0))])
    tunnel.config = tunnel.configure([("one", "127.0.0.2:%d" % tunnel.addresses[1][1]),
                                      ("other", "127.0.0.1:%d" % tunnel.addresses[0][1]), ("own", "127.0.0.3:0")])
    with tunnel:
        for address in tunnel.addresses:
            tunnel.serves(address)
        status, log = tunnel.end()
        assert status == 0 and "warning" not in log, log
        for forward, (host, port) in zip(["other", "one"], tunnel.addresses):
            assert "listening on %s:%d: forward %s" % (host, port, forward) in log
        assert "listening on 127.0.0.3:" in log  # what was not passed, it opens itself


def test_a_name_comes_before_an_address(etcp):
    """Each is named for the forward that is to listen on the other's address."""
    tunnel = Activated(etcp, [("b", None), ("a", None)])
    ports = [address[1] for address in tunnel.addresses]
    tunnel.config = tunnel.configure([("a", "127.0.0.1:%d" % ports[0]), ("b", "127.0.0.1:%d" % ports[1])])
    with tunnel:
        tunnel.serves(tunnel.addresses[0])
        _, log = tunnel.end()
        assert "listening on 127.0.0.1:%d: forward b" % ports[0] in log
        assert "listening on 127.0.0.1:%d: forward a" % ports[1] in log


@pytest.mark.parametrize("names, shown", [
    (["postgres"], "postgres"), (["test", "test"], "test"), (["test", "\x1b[2J"], "\\x1b[2J")])
def test_a_socket_that_fits_no_forward_is_refused(etcp, names, shown):
    with Activated(etcp, [(name, None) for name in names]) as tunnel:
        log = tunnel.process.communicate(timeout=TIMEOUT)[1]
        assert tunnel.process.returncode == EX_UNAVAILABLE
        assert '127.0.0.1:%d (named "%s")' % (tunnel.addresses[-1][1], shown) in log and "\x1b" not in log, log
        assert "expected FileDescriptorName= the name of a forward" in log


def test_a_socket_without_any_forward_is_refused(etcp):
    with Activated(etcp, [("test", None)], forwards=()) as tunnel:
        log = tunnel.process.communicate(timeout=TIMEOUT)[1]
        assert tunnel.process.returncode == EX_UNAVAILABLE and "there is no forward for them" in log, log


def test_something_else_than_a_listening_socket_is_refused(etcp):
    tunnel = Activated(etcp, [("test", None)])
    tunnel.sockets = [etcp.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))]
    with tunnel:
        log = tunnel.process.communicate(timeout=TIMEOUT)[1]
        assert tunnel.process.returncode == EX_UNAVAILABLE and "is not a listening stream socket" in log, log


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_connects_while_the_agent_is_away_is_served(etcp, how):
    with Activated(etcp, [("test", None)]) as tunnel:
        tunnel.serves(tunnel.addresses[0])[0].close()
        tunnel.process.send_signal(how)
        tunnel.process.communicate(timeout=TIMEOUT)
        early = [tunnel.connect(tunnel.addresses[0]) for _ in range(20)]
        for number, client in enumerate(early):
            client.sendall(b"%4d" % number)
        tunnel.run()
        served = set()
        for _ in early:
            backend = tunnel.accept()
            number = backend.recv(100)
            served.add(int(number))
            backend.sendall(number)
        assert served == set(range(20))
        for number, client in enumerate(early):
            assert client.recv(100) == b"%4d" % number


def test_a_reload_keeps_the_sockets(etcp):
    """Another name for one that goes by its address; a forward that goes and comes back; one that moves, in vain."""
    tunnel = Activated(etcp, [("etcp-agent.socket", None), ("test", None)])
    one, two = ("127.0.0.1:%d" % address[1] for address in tunnel.addresses)
    tunnel.configure([("first", one), ("test", two)])
    with tunnel:
        ends = tunnel.serves(tunnel.addresses[0])
        tunnel.configure([("renamed", one)])
        tunnel.process.send_signal(signal.SIGHUP)
        assert 'no forward uses the socket that systemd passed in: %s (named "test")' % two in tunnel.read_until(
            "configuration reloaded")
        tunnel.serves(tunnel.addresses[0])
        waits = tunnel.connect(tunnel.addresses[1])

        tunnel.configure([("renamed", one), ("test", "127.0.0.1:2")])
        tunnel.process.send_signal(signal.SIGHUP)
        assert "%s; listen is not used: 127.0.0.1:2" % two in tunnel.read_until("configuration reloaded")
        exchange(waits, tunnel.accept())
        tunnel.serves(tunnel.addresses[1])

        tunnel.configure([("renamed", one), ("test", two), ("bad", "192.0.2.1:1")])
        tunnel.process.send_signal(signal.SIGHUP)
        tunnel.read_until("reload failed")
        for address in tunnel.addresses:
            tunnel.serves(address)
        exchange(*ends)


def test_systemd_is_told_how_much_is_forwarded(etcp):
    tunnel = Tunnel(etcp, start=False)
    tunnel.start_server()
    path = etcp.path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(path))
        told.settimeout(TIMEOUT)
        rest = tunnel.forward
        tunnel.agent = etcp.agent(text=etcp.agent_text(tunnel.server.port, rest=rest, message=None),
                                  options={"env": {"NOTIFY_SOCKET": str(path)}})

        def hear(pattern):
            while not re.search(pattern, told.recv(4096).decode()):
                pass

        hear(r"STATUS=Connected to 127\.0\.0\.1:\d+ \(127\.0\.0\.1:\d+\)$")
        port = int(tunnel.agent.log.wait(r"listening on 127\.0\.0\.1:(\d+)").group(1))
        client = tunnel.connect(("127.0.0.1", port))
        backend = tunnel.accept()
        exchange(client, backend)
        hear(r"STATUS=Connected to .*; 1 connections forwarded, 0 waiting$")
        client.close()
        backend.close()
        hear(r"STATUS=Connected to [^;]*$")
