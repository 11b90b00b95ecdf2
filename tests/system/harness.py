# SPDX-License-Identifier: MIT
"""What the system tests share: the real programs in folders of their own, read from with deadlines.

Every test gets `etcp`, a Bench: it starts servers, agents and tools, and when the test is over it ends them and judges
what all of them have in common: no sanitizer report, no crash, no secret in any log."""

import base64
import contextlib
import functools
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

import etcp_peer

BIN = pathlib.Path(
    os.environ.get("ETCP_BIN", pathlib.Path(__file__).resolve().parents[2] / "build" / "release" / "bin")
)
TIMEOUT = 20.0  # how long anything may take that should be quick; generous, for sanitizers on a busy machine
EX_USAGE, EX_UNAVAILABLE, EX_SOFTWARE, EX_OSERR, EX_CANTCREAT, EX_NOPERM, EX_CONFIG = 64, 69, 70, 71, 73, 77, 78
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|LeakSanitizer")
SECRET_TEXT = re.compile(r"etcp-(sec|net)-[A-Za-z0-9_-]{40}")


def machine_skip(reason):
    """Skips what this machine can't do, whatever would be installed."""
    pytest.skip("machine: " + reason)


def has_aes():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        return re.search(r"^(flags|Features)\s*:.*\baes\b", file.read(), re.M) is not None


@functools.cache
def sanitized():
    """The sanitizer that the programs were built with, or None."""
    data = (BIN / "etcp-server").read_bytes()
    for name, symbol in (("address", b"__asan_init"), ("thread", b"__tsan_init")):
        if symbol in data:
            return name
    return None


def eventually(condition, what, timeout=TIMEOUT):
    """Waits until `condition()` is true and returns its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "not in time: " + what
        time.sleep(0.01)


def free_port():
    """A port of the loopback that nobody listens on. It is none that the kernel gives away where there are others, so that the program
    under test, which listens on port 0, does not get it; other tests that run are kept off by chance."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first = int(file.read().split()[0])
    for _ in range(100):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", random.randrange(10000, first) if first > 20000 else 0))
            return sock.getsockname()[1]
    raise AssertionError("a hundred ports are taken")


def has_keepalive(local_port, remote_port):
    """Whether the kernel's timer of a TCP connection is that of keepalive (proc(5), /proc/net/tcp)."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file:
            fields = line.split()
            if [name.split(":")[-1] for name in fields[1:3]] == ["%04X" % local_port, "%04X" % remote_port]:
                return fields[5].startswith("02:")
    raise AssertionError("no such connection")


def of_threads(program, field):
    """A field of proc_pid_status(5) of each of a program's threads."""
    pattern = re.compile(r"^%s:\s*(\w+)" % field, re.M)
    files = pathlib.Path("/proc/%d/task" % program.pid).glob("*/status")
    return [pattern.search(file.read_text()).group(1) for file in files]


def sleeps(program):
    """How often its threads have gone to sleep by themselves."""
    return sum(map(int, of_threads(program, "voluntary_ctxt_switches")))


NOBODY = 65534


def ordinary_user(tmp_path_factory):
    """(user, folder) for programs that must not run as root: this user, or nobody with a folder that it may use."""
    if os.geteuid() != 0:
        return None, tmp_path_factory.mktemp("ordinary")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="etcp-test-"))
    os.chown(folder, NOBODY, NOBODY)
    try:
        subprocess.run([BIN / "etcp", "--version"], user=NOBODY, cwd=folder, capture_output=True, check=True)
    except (OSError, subprocess.SubprocessError):
        shutil.rmtree(folder)
        machine_skip("other users may not run the programs where they were built")
    return NOBODY, folder


@pytest.fixture
def ordinary(tmp_path_factory):
    user, folder = ordinary_user(tmp_path_factory)
    yield user, folder
    shutil.rmtree(folder, ignore_errors=True)


class Output:
    """What a program writes to one pipe, collected by a thread."""

    def __init__(self, pipe, name):
        self.pipe = pipe
        self.name = name
        self.data = b""
        self.ended = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.collect, daemon=True)
        self.thread.start()

    def collect(self):
        while piece := os.read(self.pipe.fileno(), 1 << 16):
            with self.changed:
                self.data += piece
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()
        self.pipe.close()

    @property
    def text(self):
        return self.data.decode(errors="backslashreplace")

    def lines(self, pattern=""):
        return [line for line in self.text.splitlines() if re.search(pattern, line)]

    def wait(self, pattern, count=1, timeout=TIMEOUT):
        """Waits until `pattern` matches `count` times; returns the last of these matches."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                found = list(re.finditer(pattern, self.text, re.M))
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                assert left > 0 and not self.ended, "%s: %d of %d %r in\n%s" % (
                    self.name,
                    len(found),
                    count,
                    pattern,
                    self.text,
                )
                self.changed.wait(left)

    def wait_bytes(self, count, timeout=TIMEOUT):
        deadline = time.monotonic() + timeout
        with self.changed:
            while len(self.data) < count:
                left = deadline - time.monotonic()
                assert left > 0 and not self.ended, "%s: %d of %d bytes" % (self.name, len(self.data), count)
                self.changed.wait(left)
            return self.data


class Program:
    """A running program of the project."""

    def __init__(self, bench, name, arguments, stdin=subprocess.DEVNULL, env=None, files=None, cwd=None, user=None):
        self.name = name
        self.runtime = bench.path / ("run%d" % len(bench.programs))
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            "HOME": str(bench.path),
            "XDG_STATE_HOME": str(bench.path / "state"),
            "RUNTIME_DIRECTORY": str(self.runtime),
            "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=0",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "TSAN_OPTIONS": "halt_on_error=0:atexit_sleep_ms=0",
        }
        environment.update(env or {})

        def limit_files():
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        self.process = subprocess.Popen(
            [str(BIN / name), *map(str, arguments)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=cwd or bench.path,
            preexec_fn=limit_files if files else None,
            bufsize=0,
            user=user,
        )
        label = "%s[%d]" % (name, self.process.pid)
        self.out = Output(self.process.stdout, label + " stdout")
        self.log = Output(self.process.stderr, label + " stderr")
        self.killed = False
        bench.programs.append(self)

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def resident_bytes(self):
        """Memory in use, or None where a sanitizer's own would drown it."""
        if sanitized():
            return None
        with open("/proc/%d/statm" % self.pid, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def kill(self):
        """SIGKILL; waits until it is gone."""
        self.killed = True
        self.process.kill()
        self.process.wait(TIMEOUT)

    def wait(self, timeout=TIMEOUT):
        """Waits for the program's own end; returns its exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("%s does not end:\n%s" % (self.log.name, self.log.text)) from None
        self.out.thread.join(TIMEOUT)
        self.log.thread.join(TIMEOUT)
        return status

    def stop(self):
        """SIGTERM, and again until it has ended; returns its exit status."""
        deadline = time.monotonic() + TIMEOUT
        while self.running:
            self.signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.2)
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError("%s does not stop:\n%s" % (self.log.name, self.log.text))
        return self.wait()

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def judge(self, secrets):
        """What must hold for every program, whatever the test was about."""
        text = self.log.text + self.out.text
        assert not SANITIZER.search(text), "%s\n%s" % (self.log.name, text)
        status = self.process.returncode
        assert self.killed or status >= 0, "%s died of signal %d\n%s" % (self.log.name, -status, text)
        if self.name == "etcp" and self.out.data:
            text = self.log.text
        assert not SECRET_TEXT.search(text), "%s: a secret key in\n%s" % (self.log.name, text)
        for name, secret in secrets.items():
            for spelling in (
                secret.hex(),
                secret.hex().upper(),
                base64.b64encode(secret).decode().rstrip("="),
                base64.urlsafe_b64encode(secret).decode().rstrip("="),
            ):
                assert spelling not in text, "%s: %s in\n%s" % (self.log.name, name, text)


class Listener(etcp_peer.Listener):
    """The tests' own server; waiting for a connection ends early when nobody is left who could make it."""

    def __init__(self, bench, *arguments, **options):
        super().__init__(*arguments, **options)
        self.bench = bench

    def accept_wire(self, timeout=None):
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            programs = list(self.bench.programs)
            done = programs and not any(program.running for program in programs)
            try:
                return super().accept_wire(0.1)
            except TimeoutError:
                assert not done, "nobody will connect:\n" + programs[-1].log.text
                assert time.monotonic() < deadline, "no connection in time:\n" + programs[-1].log.text


class Server(Program):
    """etcp-server; its first address is `address`."""

    def __init__(self, bench, config, **options):
        self.config = pathlib.Path(config)
        super().__init__(bench, "etcp-server", ["-c", self.config], **options)

    def started(self):
        match = self.log.wait(r"listening on 127\.0\.0\.1:(\d+)")
        self.address = ("127.0.0.1", int(match.group(1)))
        self.port = self.address[1]
        return self


class Bench:
    """A folder with keys and configurations, and the programs that run with them."""

    def __init__(self, path):
        self.path = path
        self.programs = []
        self.secrets = {}
        self.opened = contextlib.ExitStack()
        self.state = path / "state"
        self.state.mkdir(mode=0o700)
        self.authorized = path / "authorized_agents"
        self.authorized.write_text("# agents of this test\n")
        self.server_secret = self.new_key("sec", "server.key")
        self.server_public = etcp_peer.public_of(self.server_secret)
        self.agent_secret = self.new_key("sec", "agent.key")
        self.agent_public = etcp_peer.public_of(self.agent_secret)
        self.authorize(self.agent_public, "agent")

    # ---- Keys and files

    def new_key(self, kind, name, mode=0o600):
        """A new secret or network key in a file of the bench; returns its bytes."""
        key = etcp_peer.new_secret() if kind == "sec" else os.urandom(32)
        self.write_key(kind, key, name, mode)
        return key

    def write_key(self, kind, key, name, mode=0o600):
        path = self.path / name
        path.touch(mode=mode)
        path.write_text(etcp_peer.key_text(kind, key) + "\n")
        path.chmod(mode)
        self.secrets[name] = key

    def authorize(self, public, name):
        with self.authorized.open("a", encoding="ascii") as file:
            file.write("%s %s\n" % (etcp_peer.key_text("pub", public), name))

    def write(self, name, text):
        path = self.path / name
        path.write_text(text)
        return path

    # ---- Configurations. `top` replaces or adds lines "name = value", None leaves one out; `rest` is added as it is.

    def settings(self, defaults, top, rest):
        chosen = {**defaults, **top}
        lines = ["%s = %s" % (name, value) for name, value in chosen.items() if value is not None]
        return "\n".join(lines + [rest, ""])

    def server_text(self, rest=None, limits="", echo=True, **top):
        defaults = {
            "bind": '{"127.0.0.1:0"}',
            "log_level": '"debug"',
            "identity": '"%s"' % (self.path / "server.key"),
            "authorized_agents": '"%s"' % self.authorized,
            "workers": 1,
        }
        text = self.settings(defaults, top, rest or "")
        if limits:
            text += "limits { %s }\n" % limits
        if echo:
            text += 'service "echo" { type = "echo" allow = {"*"} }\n'
        return text

    def agent_text(self, server, rest=None, message='count = 1 interval = "10ms"', delay="50ms", **top):
        """An agent for `server`: a port of the loopback, or the text of the whole list."""
        servers = server if isinstance(server, str) else '{"127.0.0.1:%d"}' % server
        defaults = {
            "server": servers,
            "server_key": '{"%s"}' % etcp_peer.key_text("pub", self.server_public),
            "identity": '"%s"' % (self.path / "agent.key"),
            "log_level": '"debug"',
        }
        text = self.settings(defaults, top, rest or "")
        if delay:
            text += 'reconnect { initial_delay = "%s" multiplier = 1.0 max_delay = "%s" jitter = 0.0 }\n' % (
                delay,
                delay,
            )
        if message is not None:
            text += "message { %s }\n" % message
        return text

    # ---- Programs

    def run(self, name, *arguments, **options):
        return Program(self, name, arguments, **options)

    def tool(self, *arguments, **options):
        return Program(self, "etcp", arguments, **options)

    def finished(self, name, *arguments, **options):
        """Runs a program to its end; returns it with `status` set."""
        program = Program(self, name, arguments, **options)
        program.status = program.wait()
        return program

    def server_without_waiting(self, text=None, name="server.conf", options=None, **top):
        path = self.write(name, text if text is not None else self.server_text(**top))
        return Server(self, path, **(options or {}))

    def server(self, text=None, name="server.conf", options=None, **top):
        return self.server_without_waiting(text, name, options, **top).started()

    def agent(self, server=None, text=None, name="agent.conf", options=None, **top):
        path = self.write(name, text if text is not None else self.agent_text(server, **top))
        return Program(self, "etcp-agent", ["-c", path], **(options or {}))

    def connect(self, server, static=None, suite=None, **options):
        """The tests' own agent, authorised unless another key is given, connected to a server."""
        suite = suite or (etcp_peer.AES if has_aes() else etcp_peer.CHACHA)
        address = server.address if isinstance(server, Server) else server
        return self.keep(etcp_peer.connect(address, suite, static or self.agent_secret, **options))

    def socket(self, server):
        """A stranger's bare socket."""
        address = server.address if isinstance(server, Server) else server
        return self.keep(etcp_peer.Wire(etcp_peer.open_socket(address)))

    def listener(self, secret=None, **options):
        """The tests' own server, with the key that agents are told to expect."""
        return self.keep(Listener(self, secret or self.server_secret, **options))

    def keep(self, closable):
        """Closes it when the test is over."""
        return self.opened.enter_context(closable)

    def finish(self):
        self.opened.close()
        try:
            for program in self.programs:
                program.stop()
        finally:
            for program in self.programs:
                if program.running:
                    program.kill()
        for program in self.programs:
            program.judge(self.secrets)


@pytest.fixture
def etcp(tmp_path, request):
    bench = Bench(tmp_path)
    yield bench
    failed = getattr(request.node, "failed", False)
    try:
        bench.finish()
    finally:
        if failed:
            for program in bench.programs:
                print("---- %s\n%s" % (program.log.name, program.log.text[-3000:]))
