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

    def enter():
        wire = etcp.socket(server)
        wire.send(peer.AgentHandshake(wire.sock, peer.CHACHA).request())
        assert wire.receive(105)[0] == peer.RESPONSE
        return wire

    guests = [enter() for _ in range(files - used())]
    for _ in range(40):
        for guest in (guests.pop(0), guests.pop(0)):
            guest.close()
        eventually(lambda: used() == files - 2, "two places are free")
        guests += [enter(), enter()]
    server.log.wait("accept paused")
    assert len(server.log.lines("accept paused|accept resumed")) <= 20, server.log.text
