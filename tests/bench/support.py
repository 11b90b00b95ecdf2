# SPDX-License-Identifier: MIT
"""What the benchmarks share: a network namespace of their own, and a look at processes."""
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
    os.execve(unshare, [unshare, "-n", "--", sys.executable, *sys.argv], {**os.environ, "ETCP_BENCH_INSIDE": "1"})


def table(title, head, rows):
    print(f"\n{title}")
    rows = [head] + rows
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths)))
    sys.stdout.flush()


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
