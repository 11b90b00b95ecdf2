# SPDX-License-Identifier: MIT
"""`busy_poll`: who has traffic polls in place of sleeping, who has none sleeps. Whether a program sleeps is asked of the kernel."""

import signal

from harness import eventually, of_threads, sleeps
from tunnel import Tunnel, exchange

LONG = '"10ms"'  # the longest there is: even a busy machine's answers come within it
EXCHANGES = 20


def is_asleep(program):
    return set(of_threads(program, "State")) == {"S"}


def slept(program, ends):
    """How often it slept in so many exchanges through it, each of which is at least two reasons to."""
    before = sleeps(program)
    for _ in range(EXCHANGES):
        exchange(*ends)
    return sleeps(program) - before


def polls(program, ends):
    return slept(program, ends) < EXCHANGES // 2


def does_not_poll(program, ends):
    return slept(program, ends) >= EXCHANGES // 2


def tunnel_with(etcp, value):
    return Tunnel(etcp, server={"busy_poll": value, "workers": 1}, agent={"busy_poll": value})


def test_with_traffic_both_poll_and_without_both_sleep(etcp):
    tunnel = tunnel_with(etcp, LONG)
    daemons = tunnel.server, tunnel.agent
    for daemon in daemons:
        eventually(lambda: is_asleep(daemon), "idle after the start")
    for _ in range(2):
        ends = tunnel.pair()
        for daemon in daemons:
            eventually(lambda: polls(daemon, ends), "%s polls" % daemon.name)
        for daemon in daemons:
            eventually(lambda: is_asleep(daemon), "%s is idle again, its connections open" % daemon.name)


def test_by_default_both_sleep(etcp):
    tunnel = tunnel_with(etcp, '"0"')
    ends = tunnel.pair()
    for daemon in tunnel.server, tunnel.agent:
        eventually(lambda: does_not_poll(daemon, ends), "%s sleeps" % daemon.name)


def test_a_reload_turns_it_on_and_off(etcp):
    tunnel = tunnel_with(etcp, '"0"')
    ends = tunnel.pair()
    files = {tunnel.server: tunnel.server.config, tunnel.agent: etcp.path / "agent.conf"}
    for round_, (old, new, expected) in enumerate([('"0"', LONG, polls), (LONG, '"0"', does_not_poll)], 1):
        for daemon, file in files.items():
            text = file.read_text()
            assert "busy_poll = " + old in text
            file.write_text(text.replace("busy_poll = " + old, "busy_poll = " + new))
            daemon.signal(signal.SIGHUP)
            daemon.log.wait("configuration reloaded", round_)
            eventually(lambda: expected(daemon, ends), "%s as it was told" % daemon.name)


def test_it_ends_when_it_is_told_while_it_polls(etcp):
    tunnel = tunnel_with(etcp, LONG)
    ends = tunnel.pair()
    for daemon in tunnel.agent, tunnel.server:
        eventually(lambda: polls(daemon, ends), "%s polls" % daemon.name)
    for end in ends:
        end.close()
    for daemon in tunnel.agent, tunnel.server:
        assert daemon.stop() == 0
