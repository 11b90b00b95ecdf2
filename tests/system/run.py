#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs one pytest file for ctest. Exit: 0 passed, 77 nothing could be tested here (and why), 1 failed.

With CI=true nothing may be left out that could have run: a missing package and every skip fail, except skips that a
test marks as the machine's (their reason begins with "machine: ")."""

import ctypes
import fcntl
import os
import socket
import struct
import sys

SKIPPED = 77
CLONE_NEWNET = 0x40000000  # sched.h
SIOCSIFFLAGS, IFF_UP = 0x8914, 1  # linux/sockios.h, net/if.h
MACHINE = "machine: "


def leave_out(reason):
    print("skipped: " + reason)
    if os.environ.get("CI") == "true":
        print("failed: with CI=true nothing is left out that could have run")
        return 1
    return SKIPPED


def isolate():
    """With root, a network of its own: other tests run at the same time, and one that looks for a port which nobody listens on
    would find that of another."""
    if os.geteuid() != 0 or ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        print("the network is everybody's")
        return
    with socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


class Counter:
    """Counts what pytest did."""

    def __init__(self):
        self.passed = 0
        self.skipped = []

    def pytest_runtest_logreport(self, report):
        if report.skipped:
            self.skipped.append(report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr))
        elif report.when == "call" and report.passed:
            self.passed += 1

    def pytest_collectreport(self, report):
        if report.skipped:
            self.skipped.append(report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr))


def main():
    for package in ("cryptography", "pytest"):
        try:
            __import__(package)
        except ImportError:
            return leave_out("python3-%s is not installed" % package)
    import pytest

    isolate()
    counter = Counter()
    arguments = ["-p", "no:cacheprovider", "-ra", "--durations=8", "--durations-min=1", "--tb=short"]
    result = pytest.main(arguments + sys.argv[1:], plugins=[counter])
    reasons = [reason.removeprefix("Skipped: ") for reason in counter.skipped]
    avoidable = [reason for reason in reasons if not reason.startswith(MACHINE)]
    if result == pytest.ExitCode.NO_TESTS_COLLECTED and not reasons:
        return 1
    if result not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return 1
    if avoidable and (counter.passed == 0 or os.environ.get("CI") == "true"):
        return leave_out(avoidable[0])
    return 0 if counter.passed else SKIPPED


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main())
