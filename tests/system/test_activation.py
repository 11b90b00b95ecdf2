# SPDX-License-Identifier: MIT
"""Sockets that systemd passes, known by their names. (tests/packages has them in a real systemd.)"""

import socket
import subprocess

import pytest

import etcp_peer as peer
from harness import BIN, TIMEOUT


def activated(etcp, names):
    """A server that was passed a listening socket for each name. Returns the process and the addresses."""
    sockets = [etcp.keep(socket.create_server(("127.0.0.1", 0))) for _ in names]
    config = etcp.path / "activated.conf"
    etcp.new_key("sec", "activated.key")
    config.write_text('identity = "%s/activated.key"\nservice "echo" { type = "echo" allow = {"*"} }\n' % etcp.path)
    passed = " ".join("%d<&%d" % (3 + i, end.fileno()) for i, end in enumerate(sockets))
    process = subprocess.Popen(
        ["bash", "-c", 'export LISTEN_PID=$$; exec "$0" -c "$1" ' + passed, str(BIN / "etcp-server"), str(config)],
        pass_fds=[end.fileno() for end in sockets], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
        env={"LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names), "XDG_STATE_HOME": str(etcp.path),
             "RUNTIME_DIRECTORY": str(etcp.path), "PATH": "/usr/bin:/bin"})
    return process, [end.getsockname() for end in sockets]


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


@pytest.mark.parametrize("names", [["metrics"], ["etcp", "status"], [".socket"], ["\x1b[2J"]])
def test_sockets_for_something_else_are_refused(etcp, names):
    process, _ = activated(etcp, names)
    log = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode not in (0, None) and "expected FileDescriptorName=etcp" in log, log
    assert names[-1].replace("\x1b", "\\x1b") in log and "\x1b" not in log
