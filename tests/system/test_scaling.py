# SPDX-License-Identifier: MIT
"""docs/scaling.md: haproxy in front of three servers, which are drained and restarted one after the other while agents carry
connections with checked data. The configurations are those of the document, with other addresses in their places."""

import pathlib
import re
import shutil
import signal
import socket
import subprocess

import pytest

import etcp_peer as peer
from harness import TIMEOUT, Output, eventually, free_port, has_aes, sanitized
from load import CLIENT, Load, address_of, restart, start_agent, start_server
from test_status import status

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "scaling.md"

haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/sbin")
pytestmark = pytest.mark.skipif(not haproxy, reason="haproxy is not installed")


def from_document(kind, places):
    """The block of the document that is marked so, each of these texts in it replaced."""
    (text,) = re.findall(r"^```%s\n(.*?)^```$" % re.escape(kind), DOCUMENT.read_text(), re.M | re.S)
    for place, other in places.items():
        assert place in text, "%s is not in the document's %s" % (place, kind)
        text = text.replace(place, str(other))
    return text


# ---- haproxy


class Haproxy:
    """haproxy in the foreground, with its admin socket."""

    def __init__(self, etcp, text, admin):
        self.admin = admin
        path = etcp.write("haproxy.cfg", text)
        checked = subprocess.run([haproxy, "-c", "-f", path], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        self.process = subprocess.Popen(
            [haproxy, "-db", "-f", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0
        )
        self.log = Output(self.process.stderr, "haproxy")
        eventually(admin.exists, "haproxy's admin socket")

    def tell(self, command):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect(str(self.admin))
            sock.sendall(command.encode() + b"\n")
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
        return answer.decode()

    def look(self, name, column):
        rows = [row.split(",") for row in self.tell("show stat").splitlines()]
        return next(row[rows[0].index(column)] for row in rows if row[:2] == ["etcp_servers", name])

    def is_up(self, name, up=True):
        return self.look(name, "status").startswith("UP") == up

    def sessions(self, name):
        return int(self.look(name, "scur"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(TIMEOUT)
        self.log.thread.join(TIMEOUT)


# ---- Servers and agents


def peers_of(server):
    return {connection["address"] for connection in status(server)["connections"]}


def sources_to(port):
    """"127.0.0.1:PORT" of each connection of this machine that leads to a port of the loopback."""
    found = set()
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in list(file)[1:]:
            fields = line.split()
            if fields[2] == "0100007F:%04X" % port and fields[3] == "01":
                found.add("127.0.0.1:%d" % int(fields[1].split(":")[1], 16))
    return found


class Scaled:
    """Everything that the document shows."""

    def __init__(self, etcp):
        self.etcp = etcp
        self.load = etcp.keep(Load())
        self.front = free_port()
        admin = etcp.path / "admin.sock"
        makers = [
            start_agent(
                etcp,
                name,
                'reconnect { initial_delay = "1s" }\n'
                + from_document(
                    "agent.conf",
                    places={
                        "etcp.example.net:1337": "127.0.0.1:%d" % self.front,
                        re.search(r"etcp-pub-\S{48}", DOCUMENT.read_text()).group(): peer.key_text(
                            "pub", etcp.server_public
                        ),
                        "127.0.0.1:8080": "127.0.0.1:0",
                    },
                ),
            )
            for name in ("web1", "web2")
        ]
        self.servers = [
            start_server(
                etcp,
                "server%d.conf" % number,
                from_document(
                    "server.conf",
                    places={
                        "192.0.2.11:1337": "127.0.0.1:%d" % free_port(),
                        "192.0.2.10": "127.0.0.1",
                        "/etc/etcp/server.key": etcp.path / "server.key",
                        "/etc/etcp/authorized_agents": etcp.authorized,
                        "127.0.0.1:8080": "127.0.0.1:%d" % self.load.port,
                    },
                ),
            )
            for number in (1, 2, 3)
        ]
        places = {"192.0.2.10:1337": "127.0.0.1:%d" % self.front, "/run/haproxy/admin.sock": admin}
        for number, server in enumerate(self.servers):
            places["192.0.2.%d:1337" % (11 + number)] = "127.0.0.1:%d" % server.port
        self.haproxy = etcp.keep(Haproxy(etcp, from_document("haproxy", places=places), admin))
        self.agents = [make() for make in makers]
        for agent in self.agents:
            self.load.start(address_of(agent))

    def all_peers(self):
        return set().union(*(peers_of(server) for server in self.servers))


# ---- The tests


def test_servers_restart_under_load(etcp):
    scaled = Scaled(etcp)
    load = scaled.load
    load.goes_on()
    assert load.sources == {CLIENT}, "the backends see the clients"
    eventually(lambda: scaled.all_peers() == sources_to(scaled.front), "the servers see the agents and not haproxy")
    # While all servers are there: where connections go that a restart has moved is haproxy's choice.
    eventually(lambda: sum(bool(peers_of(server)) for server in scaled.servers) >= 2, "the load is spread")
    for turn in range(3 if sanitized() else 6):
        number = turn % 3
        name = "etcp%d" % (number + 1)
        if turn % 2:  # with a word to haproxy before, as the document has it
            scaled.haproxy.tell("set server etcp_servers/%s state drain" % name)
        scaled.servers[number] = restart(etcp, scaled.servers[number])
        if turn % 2:
            scaled.haproxy.tell("set server etcp_servers/%s state ready" % name)
        eventually(lambda: scaled.haproxy.is_up(name), "haproxy has found the new one")
        load.goes_on()
        # Connections that are still being closed count for leastconn, and the next restart would find nobody here.
        server = scaled.servers[number]
        eventually(lambda: scaled.haproxy.sessions(name) == len(peers_of(server)), "haproxy has let go of the old ones")
    load.stop()
    assert load.sources == {CLIENT}
    for program in etcp.programs:
        assert not program.log.lines("handshake failed|header refused|authentication failed"), "health checks are silent"
        assert not program.log.lines("forward web: .*(reset|refused by)"), program.log.text


def test_the_address_of_an_agent_elsewhere(etcp):
    """An agent at another address than haproxy's: log, status and limits have it."""
    scaled = Scaled(etcp)
    with socket.create_connection(("127.0.0.1", scaled.front), TIMEOUT, ("127.0.0.5", 0)) as sock:
        agent = peer.AgentHandshake(sock, peer.AES if has_aes() else peer.CHACHA, etcp.agent_secret)
        agent.send(agent.request())
        agent.receive_response()
        agent.send(agent.authentication())
        connection = agent.connection()
        connection.heartbeat()
        shown = "127.0.0.5:%d" % sock.getsockname()[1]
        assert shown in scaled.all_peers()
        (server,) = [one for one in scaled.servers if shown in peers_of(one)]
        server.log.wait("connected: peer=%s agent=agent " % re.escape(shown))
    scaled.load.stop()


def test_a_server_that_is_down_is_gone_round(etcp):
    """Not restarted: the others do its work, and none of the checks of haproxy is a failure to a server."""
    scaled = Scaled(etcp)
    scaled.load.goes_on()
    scaled.servers[0].signal(signal.SIGTERM)
    assert scaled.servers[0].wait(3 * TIMEOUT) == 0
    eventually(lambda: scaled.haproxy.is_up("etcp1", False), "haproxy has noticed")
    scaled.load.goes_on()
    scaled.load.stop()
    for server in scaled.servers[1:]:
        # An agent may leave in the middle of a handshake that it needs no more; checks would be one a second.
        refused = status(server)["refusals"]["handshakes"]
        assert refused["proxy"] == 0 and sum(refused.values()) <= 1, refused
