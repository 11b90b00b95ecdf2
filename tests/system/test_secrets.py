# SPDX-License-Identifier: MIT
"""Secrets in the memory of the running daemons: a core image after the handshake holds none of them. The tests' own
peer is at the other end of the connection, so it knows them all. Nor are they in any log (harness.Program.judge sees
to that for every test)."""

import base64
import os
import re
import shutil
import subprocess

import pytest

import etcp_peer as peer
from harness import has_aes, machine_skip, sanitized

SUITES = [peer.AES_NETWORK, peer.CHACHA_NETWORK]


def dumped_memory(pid):
    """What a core image of a process would hold: its readable private memory, without what it has marked as not to be
    dumped. Linux's own rule, applied from outside."""
    image, keep, head = {}, False, None
    with open("/proc/%d/smaps" % pid, encoding="ascii", errors="replace") as smaps, open(
        "/proc/%d/mem" % pid, "rb", buffering=0
    ) as memory:
        for line in smaps:
            if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line):
                head = match
            elif line.startswith("VmFlags:"):
                start, end, rights, name = int(head[1], 16), int(head[2], 16), head[3], head[4]
                keep = (
                    rights.startswith("r")
                    and " dd" not in line
                    and " io" not in line
                    and name not in ("[vvar]", "[vsyscall]")
                )
                if keep and end - start < 1 << 32:
                    memory.seek(start)
                    try:
                        image["%s %x" % (name, start)] = memory.read(end - start)
                    except OSError:
                        continue
    return image


def gdb_core(path, pid):
    core = path / "core.image"
    run = subprocess.run(
        ["gdb", "-batch", "-nx", "-p", str(pid), "-ex", "generate-core-file %s" % core],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if not core.exists():
        machine_skip("gdb can't attach: " + run.stderr[-200:].strip())
    return {"core": core.read_bytes()}


def images(etcp, program):
    try:
        yield "memory", dumped_memory(program.pid)
    except PermissionError:
        machine_skip("may not read another process's memory")
    if sanitized():
        return
    if not shutil.which("gdb"):
        pytest.skip("gdb is not installed")
    yield "gdb", gdb_core(etcp.path, program.pid)


def spellings(secret):
    yield "raw", secret
    yield "reversed", secret[::-1]
    yield "hex", secret.hex().encode()
    yield "base64url", base64.urlsafe_b64encode(secret)[:42]


def look_for(image, secrets):
    found = []
    for name, secret in secrets.items():
        for spelling, needle in spellings(secret):
            for place, data in image.items():
                if needle in data:
                    found.append("%s (%s) in %s" % (name, spelling, place))
    return found


def contains(image, needle):
    return any(needle in data for data in image.values())


def check(etcp, program, secrets, marker):
    for way, image in images(etcp, program):
        assert contains(image, marker), "%s: the method does not even find a public key" % way
        assert sum(map(len, image.values())) > 1 << 20, way
        found = look_for(image, secrets)
        assert not found, "%s of %s: %s" % (way, program.name, "; ".join(found))


@pytest.fixture(params=SUITES, ids=["aes", "chacha"])
def suite(request):
    if request.param == peer.AES_NETWORK and not has_aes():
        machine_skip("no AES instructions")
    return request.param


def everything(etcp, connection, **more):
    secrets = dict(connection.secrets)
    del secrets["ephemeral"]
    secrets.update(etcp.secrets)
    secrets.update(more)
    return secrets


def test_the_server_holds_no_secret_that_would_be_dumped(etcp, suite):
    key = etcp.new_key("net", "network.key")
    server = etcp.server(network_key_file='"%s"' % (etcp.path / "network.key"))
    connection = etcp.connect(server, suite=suite, network_key=key)
    stream = connection.open()
    for _ in range(20):
        connection.echo(stream, os.urandom(5000))
    check(etcp, server, everything(etcp, connection), etcp.server_public)


def test_the_server_with_records_under_way(etcp, suite):
    """A half record and a half handshake lie in the server's buffers meanwhile."""
    key = etcp.new_key("net", "network.key")
    server = etcp.server(network_key_file='"%s"' % (etcp.path / "network.key"))
    connection = etcp.connect(server, suite=suite, network_key=key)
    connection.echo(connection.open(), b"x")
    half = peer.AgentHandshake(peer.open_socket(server.address), suite, etcp.agent_secret, key)
    etcp.keep(half)
    half.send(half.request())
    half.receive_response()
    half.send(half.authentication()[:40])
    connection.heartbeat()
    connection.send(connection.seal(peer.heartbeat_frame(peer.ASK))[:30])
    secrets = everything(etcp, connection)
    secrets.update(
        {
            "half: " + name: value
            for name, value in half.noise.secrets.items()
            if name.startswith("shared") or name in ("chaining key after es", "cipher key after es")
        }
    )
    check(etcp, server, secrets, etcp.server_public)


def test_after_the_end_of_a_connection_nothing_is_left(etcp, suite):
    key = etcp.new_key("net", "network.key")
    server = etcp.server(network_key_file='"%s"' % (etcp.path / "network.key"))
    connection = etcp.connect(server, suite=suite, network_key=key)
    connection.echo(connection.open(), os.urandom(1000))
    secrets = everything(etcp, connection)
    connection.goodbye()
    connection.frames_to_end()
    check(etcp, server, secrets, etcp.server_public)


def test_the_agent_holds_no_secret_that_would_be_dumped(etcp, suite):
    key = etcp.new_key("net", "network.key")
    listener = etcp.listener(network_key=key)
    agent = etcp.agent(
        listener.port,
        network_key_file='"%s"' % (etcp.path / "network.key"),
        suite='"%s"' % ("aes256gcm" if suite == peer.AES_NETWORK else "chacha20poly1305"),
        message='count = 100 interval = "1h"',
    )
    connection = etcp.keep(listener.accept())
    peer.EchoServer(connection, limit=1).run()
    agent.out.wait("Hello")
    connection.heartbeat(skip=(peer.CREDIT,))
    check(etcp, agent, everything(etcp, connection), etcp.server_public)


def test_the_classic_suite_too(etcp):
    import classic_peer

    server = etcp.server(classic="true")
    sock = etcp.keep(peer.open_socket(server.address))
    channel = classic_peer.client_handshake(sock)
    for _ in range(10):
        channel.send(b"x" * 1000)
        assert channel.receive() == b"x" * 1000
    secrets = dict(etcp.secrets)
    secrets["classic shared secret"] = channel.key
    check(etcp, server, secrets, etcp.server_public)


def test_secret_memory_is_locked(etcp):
    """Where nothing may be dumped, nothing is swapped either (the limit for locked memory allows what a server needs)."""
    if sanitized():
        machine_skip("sanitizers lock no memory")
    server = etcp.server()
    connection = etcp.connect(server)
    connection.echo(connection.open(), b"x")
    with open("/proc/%d/smaps" % server.pid, encoding="ascii", errors="replace") as smaps:
        flags = [line.split() for line in smaps if line.startswith("VmFlags:")]
    # Droppable ("dp") is the C library's random state (glibc 2.41): the kernel drops it rather than swap it.
    secret = [of for of in flags if "dd" in of and "wr" in of and "dp" not in of]
    assert secret
    assert all("lo" in of for of in secret)


def test_the_method_finds_a_secret_that_is_there(etcp):
    """The control: the same search in this test's own memory, where the secrets are."""
    secret = etcp.new_key("sec", "control.key")
    try:
        image = dumped_memory(os.getpid())
    except PermissionError:
        machine_skip("may not read a process's memory")
    assert look_for(image, {"control": secret})


def test_key_files_are_not_left_readable(etcp):
    run = etcp.finished("etcp", "keygen", etcp.path / "made.key")
    assert run.status == 0
    assert (etcp.path / "made.key").stat().st_mode & 0o777 == 0o600
    secret = peer.load_key("sec", etcp.path / "made.key")
    assert run.out.text.strip() == peer.key_text("pub", peer.public_of(secret))
    assert peer.key_text("sec", secret)[9:40] not in run.out.text + run.log.text
