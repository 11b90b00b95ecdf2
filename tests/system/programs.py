# SPDX-License-Identifier: MIT
"""Other people's programs, each in a folder of its own, from Debian's packages; none of the machine's own is touched."""

import contextlib
import glob
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import pytest

from harness import NOBODY, TIMEOUT, eventually, free_port

LONG = 120.0  # for a whole run of a client, with sanitizers on a busy machine
FOLDERS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/bin", "/usr/sbin", "/bin", "/sbin"])


def program(name, package, folder=None):
    """The path of a program, or a skip that says where it would come from."""
    path = shutil.which(name, path=folder or FOLDERS)
    if path is None:
        pytest.skip("%s is not installed (Debian's package %s)" % (name, package))
    return path


def postgresql(name):
    """A program of PostgreSQL's newest version; Debian keeps those out of PATH."""
    versions = glob.glob("/usr/lib/postgresql/*/bin")
    newest = max(versions, key=lambda path: int(path.split("/")[4]), default=None)
    return program(name, "postgresql", newest)


@contextlib.contextmanager
def folder(user=None):
    """A folder of a user's own. Its path is short, because names of Unix sockets have to be."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="etcp-test-"))
    try:
        if user is not None:
            os.chown(path, user, user)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def unprivileged():
    """A user for programs that refuse to run as root."""
    return NOBODY if os.geteuid() == 0 else None


def identity(user):
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


def run(*command, user=None, check=True, timeout=LONG, **options):
    """Runs a program to its end; returns what it wrote, and what it said when it failed is the test's message."""
    text = options.pop("text", True)
    command = [str(word) for word in command]
    options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
    if "input" in options:
        del options["stdin"]
    done = subprocess.run(command, capture_output=True, text=text, timeout=timeout, **identity(user), **options)
    assert not check or done.returncode == 0, "%s: exit %d\n%s\n%s" % (
        " ".join(command),
        done.returncode,
        done.stdout[-3000:],
        done.stderr[-3000:],
    )
    return done


def answers(address):
    """Whether somebody listens there: a port of the loopback, or a path."""
    family = socket.AF_INET if isinstance(address, int) else socket.AF_UNIX
    with socket.socket(family) as sock:
        return sock.connect_ex(("127.0.0.1", address) if family == socket.AF_INET else str(address)) == 0


@contextlib.contextmanager
def daemon(*command, listens, where, user=None, **options):
    """A daemon that stays in the foreground, until the block is left; `listens` is its port or path, `where` gets its log."""
    log = where / (pathlib.Path(command[0]).name + ".log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=where,
            **identity(user),
            **options,
        )
    try:

        def up():
            assert process.poll() is None, "%s ended:\n%s" % (command[0], log.read_text(errors="replace")[-3000:])
            return answers(listens)

        eventually(up, "%s listens" % command[0])
        yield process
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def port():
    """A port for a daemon that can't choose one itself."""
    return free_port()
