# SPDX-License-Identifier: MIT
"""Servers that are restarted under load, without a balancer (docs/scaling.md): no local connection fails."""

import signal

from harness import free_port, sanitized
from load import Load, address_of, restart, start_agent, start_server


def forward_text(etcp, load):
    return 'service "web" { type = "forward" to = "127.0.0.1:%d" allow = {"web1"} proxy_protocol = "v2" }\n' % load.port


def plain_servers(etcp, load, count):
    return [
        start_server(
            etcp,
            "server%d.conf" % number,
            etcp.server_text(rest=forward_text(etcp, load), echo=False, bind='{"127.0.0.1:%d"}' % free_port()),
        )
        for number in range(count)
    ]


def agent_of(etcp, servers):
    make = start_agent(
        etcp,
        "web1",
        etcp.agent_text(
            "{%s}" % ", ".join('"127.0.0.1:%d"' % server.port for server in servers),
            rest='forward "web" { listen = "127.0.0.1:0" service = "web" }\n',
            message=None,
            delay="200ms",
            identity=None,
        ),
    )
    for server in servers:
        server.signal(signal.SIGHUP)  # authorized_agents has one more
        server.log.wait("configuration reloaded")
    return make()


def test_several_servers_without_a_balancer(etcp):
    load = etcp.keep(Load())
    servers = plain_servers(etcp, load, 2)
    agent = agent_of(etcp, servers)
    load.start(address_of(agent))
    load.goes_on()
    for turn in range(2 if sanitized() else 4):
        servers[turn % 2] = restart(etcp, servers[turn % 2])
        load.goes_on()
    load.stop()
    assert not agent.log.lines("forward web: .*(reset|refused by)"), agent.log.text


def test_a_single_server_that_restarts(etcp):
    """What comes while it is away waits."""
    load = etcp.keep(Load())
    servers = plain_servers(etcp, load, 1)
    agent = agent_of(etcp, servers)
    load.start(address_of(agent))
    load.goes_on()
    for _ in range(1 if sanitized() else 3):
        servers[0] = restart(etcp, servers[0])
        load.goes_on()
    load.stop()
    assert not agent.log.lines("forward web: .*(reset|refused by)"), agent.log.text
