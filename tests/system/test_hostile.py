# SPDX-License-Identifier: MIT
"""What a host that means harm can make etcp-server write, keep and wait for."""

import os

import etcp_peer as peer
from harness import eventually, sanitized

NAMED = 'service "echo" { type = "echo" allow = {"agent"} }'
CALLS = 150


def call_with_a_new_key(server):
    connection = peer.connect(server.address, peer.CHACHA, peer.new_secret(), ask=False)
    connection.goodbye()
    connection.frames_to_end()
    connection.close()


def test_agents_that_are_not_authorised_do_not_fill_the_log(etcp):
    server = etcp.server(rest=NAMED, echo=False, log_level='"info"')
    for _ in range(CALLS):
        call_with_a_new_key(server)
    friend = etcp.connect(server)
    server.log.wait("connected: .* agent=agent ")
    friend.goodbye()
    server.log.wait("disconnected: .* agent=agent ")
    assert 20 <= len(server.log.lines("authentication failed")) < CALLS


def test_agents_that_nobody_has_listed_do_not_fill_the_log(etcp):
    server = etcp.server(log_level='"info"')
    for _ in range(CALLS):
        call_with_a_new_key(server)
    friend = etcp.connect(server)
    server.log.wait("connected: .* agent=agent ")
    friend.goodbye()
    server.log.wait("disconnected: .* agent=agent ")
    assert 20 <= len(server.log.lines(r"connected: .* agent=\(unlisted\)")) < 2 * CALLS


def test_taking_and_leaving_the_last_place_does_not_fill_the_log(etcp):
    files = 64 if sanitized() == "thread" else 40
    server = etcp.server(log_level='"info"', limits="max_connections = 1000", options={"files": files})

    def used():
        return len(os.listdir("/proc/%d/fd" % server.pid))

    guests = [etcp.socket(server) for _ in range(files - used())]
    eventually(lambda: used() == files, "every place is taken")
    for _ in range(40):
        guests.append(etcp.socket(server))  # it has to wait,
        guests.pop(0).close()  # but not for long
        guests[-1].send(peer.AgentHandshake(guests[-1].sock, peer.CHACHA).request())
        assert guests[-1].receive(105)[0] == peer.RESPONSE
    server.log.wait("accept paused")
    assert len(server.log.lines("accept paused|accept resumed")) <= 20, server.log.text
