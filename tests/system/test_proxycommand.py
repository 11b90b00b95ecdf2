# SPDX-License-Identifier: MIT
"""`etcp connect` as the ProxyCommand of ssh and of what works over ssh."""

import filecmp
import pathlib
import random
import re
import shlex
import signal
import subprocess

import pytest

import etcp_peer as peer
import programs
from harness import BIN, TIMEOUT, eventually, free_port
from openssh import hash_of, ssh, write_random

SSH_FAILED = 255
README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
MB = 1_000_000


class Way:
    """To sshd through the service "ssh" of a server, without an agent."""

    def __init__(self, etcp, ssh, allow='{"agent"}'):
        self.etcp, self.ssh = etcp, ssh
        service = 'service "ssh" { type = "forward" to = "127.0.0.1:%d" allow = %s }\n' % (ssh.port, allow)
        self.server = etcp.server(rest=service, echo=False)
        self.there = "%s@a-name-that-nobody-resolves" % ssh.user

    def proxy(self, service="ssh", key=None, port=None):
        return shlex.join([
            str(BIN / "etcp"), "connect", "--identity", str(self.etcp.path / "agent.key"),
            "--server-key", peer.key_text("pub", key or self.etcp.server_public),
            "127.0.0.1:%d" % (port or self.server.port), service])

    def options(self, **how):
        # Whatever port is asked for: the way there is the command's.
        return [*self.ssh.options(22), "-o", "ProxyCommand=" + self.proxy(**how)]

    def command(self, *remote, **how):
        return [programs.program("ssh", "openssh-client"), *self.options(**how), self.there, *remote]

    def transfer(self, name, *more):
        """scp or sftp, which spell the port in another way; it does not matter here."""
        options = self.options()
        at = options.index("-p")
        return [programs.program(name, "openssh-client"), "-q", *options[:at], *options[at + 2 :], *more]

    def is_left(self):
        """Whether the server, having served, has no connection any more."""
        return len(self.server.log.lines(r" connected: ")) == len(self.server.log.lines(r" disconnected: ")) > 0


@pytest.fixture
def way(etcp, ssh):
    return Way(etcp, ssh)


def test_bytes_both_ways_and_the_exit_status(way):
    data = random.Random(1).randbytes(20 * MB)
    assert programs.run(*way.command("cat"), input=data, text=False).stdout == data
    for status in 0, 1, 7:
        assert programs.run(*way.command("exit %d" % status), check=False).returncode == status
    eventually(way.is_left, "nothing is left of them")


def test_the_end_of_input_arrives_and_output_goes_on(way, tmp_path):
    """A half-close: the other side speaks once it has read all."""
    digest = write_random(tmp_path / "in", 5 * MB)
    with (tmp_path / "in").open("rb") as file:
        assert programs.run(*way.command("cat >/dev/null; sha256sum </dev/null; echo over"), stdin=file).stdout.endswith("over\n")
    with (tmp_path / "in").open("rb") as file:
        assert programs.run(*way.command("sha256sum"), stdin=file).stdout.split()[0] == digest
    with (tmp_path / "in").open("rb") as file:
        copied = programs.run(*way.command("cat"), stdin=file, text=False).stdout
        assert copied == (tmp_path / "in").read_bytes()


def test_input_that_nobody_reads_holds_nothing_up(way):
    with open("/dev/zero", "rb") as endless:
        assert programs.run(*way.command("exit 3"), stdin=endless, check=False).returncode == 3
    eventually(way.is_left, "nothing is left of it")


def test_both_outputs_stay_apart(way):
    done = programs.run(*way.command("echo to stdout; echo to stderr >&2"))
    assert (done.stdout, done.stderr) == ("to stdout\n", "to stderr\n")  # and etcp says nothing


def test_scp(way):
    digest = write_random(way.ssh.folder / "sent", 50 * MB)
    remote = "%s:%s" % (way.there, way.ssh.folder / "there")
    programs.run(*way.transfer("scp"), way.ssh.folder / "sent", remote)
    programs.run(*way.transfer("scp"), remote, way.ssh.folder / "back")
    for name in "there", "back":
        with (way.ssh.folder / name).open("rb") as file:
            assert hash_of(file) == digest


def test_scp_of_what_is_not_there_fails(way):
    done = programs.run(*way.transfer("scp"), "%s:/no/such/file" % way.there, way.ssh.folder, check=False)
    assert done.returncode != 0 and "No such file" in done.stderr


def test_sftp(way):
    write_random(way.ssh.folder / "put", 3 * MB, seed=2)
    batch = "put {0}/put {0}/got\nget {0}/got {0}/again\nrm {0}/got\n".format(way.ssh.folder)
    programs.run(*way.transfer("sftp", "-b", "-", way.there), input=batch)
    assert filecmp.cmp(way.ssh.folder / "put", way.ssh.folder / "again", shallow=False)
    assert not (way.ssh.folder / "got").exists()


def test_rsync(way):
    rsync = programs.program("rsync", "rsync")
    rng = random.Random(3)
    one, two = way.ssh.folder / "one", way.ssh.folder / "two"
    one.mkdir()
    for number in range(50):
        (one / str(number)).write_bytes(rng.randbytes(rng.choice((0, 100, 200_000))))
    shell = shlex.join(way.command()[:-1])
    programs.run(rsync, "-a", "-e", shell, "%s/" % one, "%s:%s/" % (way.there, two))
    same = filecmp.cmpfiles(one, two, [str(number) for number in range(50)], shallow=False)
    assert same[1] == same[2] == []


def test_a_service_that_is_refused_is_named(etcp, ssh):
    way = Way(etcp, ssh, allow='{"somebody-else"}')
    advice = {"ssh": "into the service's allow list", "no-such-service": "name a service that the server's configuration has"}
    for service in advice:
        done = programs.run(*way.command("true", service=service), check=False)
        assert done.returncode == SSH_FAILED
        assert 'etcp connect: service "%s": ' % service in done.stderr and advice[service] in done.stderr, done.stderr


def test_a_server_with_another_key_is_refused(way):
    other = peer.public_of(peer.new_secret())
    done = programs.run(*way.command("true", key=other), check=False)
    assert done.returncode == SSH_FAILED and "none of those in server_key" in done.stderr, done.stderr


def test_a_server_that_is_away_is_named(way):
    port = free_port()
    done = programs.run(*way.command("true", port=port), check=False)
    assert done.returncode == SSH_FAILED
    assert "cannot connect to 127.0.0.1:%d (127.0.0.1:%d): Connection refused; is etcp-server running there" % (port, port) in done.stderr, done.stderr


def test_a_backend_that_is_away_is_named(etcp, ssh):
    way = Way(etcp, type("Away", (), {"port": free_port(), "user": ssh.user, "options": ssh.options})())
    done = programs.run(*way.command("true"), check=False)
    assert done.returncode == SSH_FAILED and 'etcp connect: service "ssh": connect-failed' in done.stderr, done.stderr


def begin(way, **options):
    """An ssh whose remote end has begun to talk and waits for more."""
    process = subprocess.Popen(
        way.command("echo up; exec cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options)
    assert process.stdout.readline() == "up\n", process.stderr.read()
    return process


def test_a_server_that_is_killed_ends_ssh_with_an_error(way):
    process = begin(way)
    way.server.kill()
    _, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == SSH_FAILED
    assert "etcp connect: 127.0.0.1:%d: " % way.server.port in said, said


def test_a_server_that_is_stopped_lets_a_session_end_by_itself(way):
    process = begin(way)
    way.server.signal(signal.SIGTERM)
    way.server.log.wait("to drain")
    output, said = process.communicate("last words\n", timeout=TIMEOUT)
    assert (process.returncode, output, said) == (0, "last words\n", "")
    assert way.server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_an_ssh_that_is_killed(way, number):
    """Its ProxyCommand notices by its descriptors alone."""
    process = begin(way, start_new_session=True)
    process.send_signal(number)
    process.communicate(timeout=TIMEOUT)
    eventually(way.is_left, "the connection is gone")


def test_many_at_once(way):
    processes = [
        subprocess.Popen(way.command("cat; exit %d" % number), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(1, 9)
    ]
    for number, process in enumerate(processes, 1):
        output, _ = process.communicate("%d\n" % number, timeout=programs.LONG)
        assert (process.returncode, output) == (number, "%d\n" % number)


def test_the_command_in_a_configuration_of_ssh(way, etcp):
    """As in ~/.ssh/config, with what an agent.conf knows already."""
    config = etcp.write("agent.conf", etcp.agent_text(way.server.port, message=None))
    (way.ssh.folder / "config").write_text(
        "Host backend\n  HostName backend\n  User %s\n  ProxyCommand %s connect -c %s 127.0.0.1:%d ssh\n"
        % (way.ssh.user, BIN / "etcp", config, way.server.port))
    options = way.ssh.options(22)
    at = options.index("-F")
    options[at + 1] = str(way.ssh.folder / "config")
    done = programs.run(programs.program("ssh", "openssh-client"), *options, "backend", "echo $SSH_CONNECTION")
    assert done.stdout.startswith("127.0.0.1 ")


def test_what_the_readme_shows(etcp, ssh):
    text = README.read_text(encoding="utf-8")
    line = next(line.strip() for line in text.split("\n") if line.startswith('    service "ssh"'))
    command, shown = re.search(r"^    \$ (ssh -o ProxyCommand=.*)\n    (.*)$", text, re.M).groups()
    server = etcp.server(rest=line.replace(":22", ":%d" % ssh.port), echo=False, authorized_agents='"%s"' % etcp.write(
        "listed", "%s laptop\n" % peer.key_text("pub", etcp.agent_public)))
    etcp.write("agent.conf", etcp.agent_text(server.port, message=None))
    words = shlex.split(command.replace("server.example:1337", "127.0.0.1:%d" % server.port))
    words[2] = words[2].replace("etcp connect", "%s connect" % (BIN / "etcp"))
    words[3] = ssh.user + "@" + words[3]
    words[:1] = [programs.program("ssh", "openssh-client"), *ssh.options(22)]
    assert programs.run(*words, cwd=etcp.path).stdout == shown + "\n"
