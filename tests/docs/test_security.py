# SPDX-License-Identifier: MIT
"""The man in the middle of docs/security.md, step by step, between the real agent and the real server: in the classic suite
he reads and changes everything, in the others he gets no further than the Encryption Response."""

import threading

import classic_peer
import etcp_peer
import harness

TEXT = b"Hello from client!"
FORGED = b"Hello from Mallory"


class Middle:
    """M of the table: accepts one classic agent, connects to the server itself, and changes what passes."""

    def __init__(self, server):
        self.server = server
        self.listener = etcp_peer.Listener()
        self.read = []
        self.failure = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            sock, _ = self.listener.sock.accept()
            sock.settimeout(harness.TIMEOUT)
            with sock, etcp_peer.open_socket(self.server.address) as to_server:
                self.pass_on(classic_peer.server_handshake(sock), classic_peer.client_handshake(to_server))
        except Exception as failure:  # told by join(), in the test's own thread
            self.failure = failure

    def pass_on(self, agent, server):
        while message := agent.receive():
            self.read.append(message)
            server.send(FORGED if message == TEXT else message)
            echo = server.receive()
            self.read.append(echo)
            agent.send(TEXT if echo == FORGED else echo)
        server.end()

    def join(self):
        self.thread.join(harness.TIMEOUT)
        assert not self.thread.is_alive(), "the man in the middle has not come to his end"
        if self.failure:
            raise self.failure


def test_classic_token_does_not_prevent_a_man_in_the_middle(etcp):
    server = etcp.server(classic="true")
    middle = Middle(server)
    etcp.keep(middle.listener)
    agent = etcp.agent(middle.listener.port, suite='"classic"', server_key=None, message='count = 2 interval = "10ms"')
    assert agent.wait() == 0, agent.log.text
    middle.join()
    assert middle.read == [TEXT, FORGED] * 2
    assert len(agent.out.lines("Hello from client!")) == 2, "the agent noticed something"


def refuses(etcp, agent, listener):
    """M answers with a key of his own; nothing follows from the agent, who shows both keys."""
    wire = etcp.keep(listener.accept_wire())
    wire.receive_request()
    wire.send(wire.response())
    how = wire.receive_end()
    assert how == "fin", how
    agent.log.wait(etcp_peer.key_text("pub", listener.public))
    assert etcp_peer.key_text("pub", etcp.server_public) in agent.log.text


def test_pinned_key_stops_him_before_the_agent_says_who_it_is(etcp):
    middle = etcp.listener(etcp_peer.new_secret())
    refuses(etcp, etcp.agent(middle.port), middle)


def test_remembered_key_stops_him_too(etcp):
    middle = etcp.listener(etcp_peer.new_secret())
    known = etcp.state / "known_servers"
    known.write_text("%s 127.0.0.1:%d\n" % (etcp_peer.key_text("pub", etcp.server_public), middle.port))
    known.chmod(0o600)
    agent = etcp.agent(middle.port, server_key=None, options={"env": {"STATE_DIRECTORY": str(etcp.state)}})
    refuses(etcp, agent, middle)
