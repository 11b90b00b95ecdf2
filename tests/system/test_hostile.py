# SPDX-License-Identifier: MIT
"""What a host that means harm can make etcp-server write, keep and wait for."""

import etcp_peer as peer

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
