# SPDX-License-Identifier: MIT
"""What the benchmarks share: a network namespace of their own, and a look at processes."""
import contextlib
import fcntl
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys


class Failure(Exception):
    pass


def listening(pid):
    """Where a process listens, or None. (The server logs it, but not at the level that a benchmark wants.)"""
    sockets = set()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(fd))
        except FileNotFoundError:
            pass
    for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        local, state, inode = (line.split()[i] for i in (1, 3, 9))
        if state == "0A" and f"socket:[{inode}]" in sockets:
            return f"127.0.0.1:{int(local.split(':')[1], 16)}"
    return None


def bring_up_loopback():
    SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = bytearray(struct.pack("16sH14x", b"lo", 0))
        fcntl.ioctl(control, SIOCGIFFLAGS, request)
        name, flags = struct.unpack("16sH14x", request)
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", name, flags | IFF_UP))


def set_sysctl(name, value):
    try:
        pathlib.Path("/proc/sys", name.replace(".", "/")).write_text(value)
        return True
    except OSError:
        return False


def own_network():
    """Enters a network namespace if that is possible, by running this program anew inside."""
    if os.environ.get("ETCP_BENCH_INSIDE"):
        bring_up_loopback()
        for name in ("cubic", "reno"):
            if set_sysctl("net.ipv4.tcp_congestion_control", name):
                break
        set_sysctl("net.ipv4.ip_local_port_range", "2048 65000")
        set_sysctl("net.ipv4.tcp_tw_reuse", "1")
        return True
    unshare = shutil.which("unshare")
    if (
        os.geteuid() != 0
        or not unshare
        or subprocess.run([unshare, "-n", "true"], stderr=subprocess.DEVNULL).returncode != 0
    ):
        return False
    place = os.open("/proc/self/ns/net", os.O_RDONLY)
    os.set_inheritable(place, True)
    os.execve(
        unshare,
        [unshare, "-n", "--", sys.executable, *sys.argv],
        {**os.environ, "ETCP_BENCH_INSIDE": "1", "ETCP_BENCH_OUTSIDE": str(place)},
    )


TCP_MEMORY = "/proc/sys/net/ipv4/tcp_mem"


def outside(command, text=None):
    """Runs a command in the network namespace that own_network() has left, where the kernel shows its limits for all; returns what
    it prints, or None."""
    place = os.environ.get("ETCP_BENCH_OUTSIDE")
    argv = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{place}", *command] if place else command
    ran = subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return ran.stdout if ran.returncode == 0 else None


@contextlib.contextmanager
def more_tcp_memory():
    """While it lasts, all TCP sockets of the machine may hold half of its memory together, not the kernel's tenth. A thousand bulk
    streams whose senders are faster than the tunnel fill that tenth, and then the kernel throws away what arrives, on loopback too.
    Yields the limit in GiB, or None where it can't be changed."""
    page = os.sysconf("SC_PAGE_SIZE")
    before = outside(["cat", TCP_MEMORY]) if os.geteuid() == 0 else None
    pages = os.sysconf("SC_PHYS_PAGES") // 2
    if not before or int(before.split()[2]) >= pages or outside(["tee", TCP_MEMORY], f"{pages // 2} {pages} {pages}") is None:
        yield round(int(before.split()[2]) * page / 2**30, 1) if before else None
        return
    try:
        yield round(pages * page / 2**30, 1)
    finally:
        outside(["tee", TCP_MEMORY], before)


def table(title, head, rows):
    print(f"\n{title}")
    rows = [head] + rows
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths)))
    sys.stdout.flush()


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
