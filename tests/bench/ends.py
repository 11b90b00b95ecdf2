# SPDX-License-Identifier: MIT
"""Ends of tunnels as processes: started, counted and stopped with all their children."""
import os
import pathlib
import signal
import subprocess
import time

from support import Failure

START_SECONDS = 20
STOP_SECONDS = 5


class Groups:
    """Control groups that count processor time; without them, processes and their children are counted."""

    def __init__(self):
        self.base = None
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            where, kind = line.split()[1:3]
            base = pathlib.Path(where, f"etcp-bench-{os.getpid()}")
            if kind == "cgroup2" and self.base is None:
                try:
                    base.mkdir()
                    (base / "try").mkdir()
                    usable = "user_usec" in (base / "try" / "cpu.stat").read_text()
                    (base / "try").rmdir()
                    if usable:
                        self.base = base
                    else:
                        base.rmdir()
                except OSError:
                    pass
        self.count = 0

    def new(self):
        if self.base is None:
            return None
        self.count += 1
        group = self.base / str(self.count)
        group.mkdir()
        return group

    def close(self):
        if self.base is not None:
            for group in [*self.base.glob("*/"), self.base]:
                try:
                    group.rmdir()
                except OSError:
                    pass


def children(pid):
    """A process and all that came from it."""
    found = [pid]
    for parent in found:
        try:
            found += [
                int(child) for child in pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            ]
        except OSError:
            pass
    return found


class End:
    """One end of a tunnel: a process that listens, and its children."""

    def __init__(self, name, argv, port, folder, groups):
        self.name = name
        self.group = groups.new()
        self.log = open(folder / f"{name}.log", "w+b")
        # Its runtime files must not meet those of a daemon that the machine runs for its users.
        environment = {**os.environ, "RUNTIME_DIRECTORY": str(folder), "STATE_DIRECTORY": str(folder)}
        self.process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=environment,
            cwd=folder,
            preexec_fn=self.enter,
        )
        deadline = time.monotonic() + START_SECONDS
        while not listens(port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = self.text()
                self.stop()
                raise Failure(f"{name} end did not start: {text}")
            time.sleep(0.01)

    def enter(self):
        if self.group is not None:
            (self.group / "cgroup.procs").write_text("0")

    def text(self):
        self.log.seek(0)
        return " ".join(self.log.read()[-2000:].decode(errors="replace").split())

    def pids(self):
        if self.group is None:
            return children(self.process.pid)
        return [int(pid) for pid in (self.group / "cgroup.procs").read_text().split()]

    def account(self):
        return (
            f"{self.name}=cgroup:{self.group}/cpu.stat"
            if self.group is not None
            else f"{self.name}=pid:{self.process.pid}"
        )

    def memory(self):
        """Of all processes in bytes: {field: sum}."""
        sums = {"Pss": 0, "Private_Dirty": 0, "Rss": 0}
        for pid in self.pids():
            try:
                text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue  # it has just ended
            for line in text.splitlines():
                field = line.split(":")[0]
                if field in sums:
                    sums[field] += int(line.split()[1]) * 1024
        return sums

    def stop(self):
        left = [pid for pid in self.pids() if pid != self.process.pid]
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        deadline = time.monotonic() + STOP_SECONDS
        while left and time.monotonic() < deadline:
            left = self.pids() if self.group is not None else [pid for pid in left if os.path.exists(f"/proc/{pid}")]
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)
        self.log.close()
        if self.group is not None:
            try:
                self.group.rmdir()
            except OSError:
                pass  # Groups tries again
            self.group = None


def listens(port):
    wanted = f"0100007F:{port:04X}"
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == wanted and fields[3] == "0A":
            return True
    return False


def passive_opens():
    """How many TCP connections have been accepted in this network namespace."""
    head, values = [
        line.split()[1:] for line in pathlib.Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")
    ]
    return int(values[head.index("PassiveOpens")])
