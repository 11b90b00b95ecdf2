# SPDX-License-Identifier: MIT
"""An sshd of the tests' own, and files to send through it."""

import getpass
import hashlib
import os
import random
import subprocess

import pytest

import programs
from harness import machine_skip


def write_random(path, size, seed=1):
    """A file that no compression helps with; returns its hash."""
    rng, digest = random.Random(seed), hashlib.sha256()
    block = rng.randbytes(1 << 20)
    with path.open("wb") as file:
        left = size
        while left > 0:
            piece = rng.randbytes(16) + block[: min(left, 1 << 20) - 16] if left > 16 else block[:left]
            digest.update(piece)
            left -= file.write(piece)
    return digest.hexdigest()


def hash_of(file):
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


class Ssh:
    """How to get to the test's own sshd, as whoever runs the tests."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self.user = getpass.getuser()

    def options(self, port, flag="-p"):
        settings = (
            "StrictHostKeyChecking=yes",
            "UserKnownHostsFile=%s" % (self.folder / "known_hosts"),
            "IdentityFile=%s" % (self.folder / "user_key"),
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "HostKeyAlias=test",
        )
        return ["-F", "none", flag, str(port)] + [word for setting in settings for word in ("-o", setting)]

    def command(self, port):
        return [programs.program("ssh", "openssh-client"), *self.options(port)]


SSHD = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
"""


@pytest.fixture(scope="module")
def ssh():
    sshd, keygen = programs.program("sshd", "openssh-server"), programs.program("ssh-keygen", "openssh-client")
    port = programs.port()
    with programs.folder() as folder:
        for name in ("host_key", "user_key"):
            programs.run(keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
        (folder / "known_hosts").write_text("test " + (folder / "host_key.pub").read_text())
        (folder / "sshd_config").write_text(SSHD.format(folder=folder, port=port))
        command = [sshd, "-D", "-e", "-f", str(folder / "sshd_config")]
        if os.geteuid() == 0 and not os.path.isdir("/run/sshd"):
            # Of root it wants an empty folder of this name, which only a started service has: in a view of its own.
            own = 'mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec "$@"'
            command = ["unshare", "-m", "sh", "-c", own, "sh", *command]
            if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
                machine_skip("no mount namespaces, and no /run/sshd")
        with programs.daemon(*command, listens=port, where=folder):
            yield Ssh(folder, port)
