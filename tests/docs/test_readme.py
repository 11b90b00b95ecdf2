# SPDX-License-Identifier: MIT
"""What README.md shows is what the programs print: the first connection is made as there, on loopback, and each line that the
README shows must come, but for times, keys, addresses and folders."""

import re
import socket

import etcp_peer
import harness

README = (harness.pathlib.Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
LOGGED = re.compile(r"^    (\d{4}-\d\d-\d\d .*)$", re.M)
VARIABLE = (
    (r"^\d{4}-\d\d-\d\d [\d:.]+ ", "TIME "),
    (r"etcp-pub-[\w-]{48}", "KEY"),
    (r"/[^ ,]*/(\w+\.(?:key|conf))", r"FOLDER/\1"),
    (r"(?:server\.example|[\d.]+):\d+", "ADDRESS"),
    (r"duration=[\d.]+s", "duration=TIME"),
    (r"[\d.]+ s$", "TIME"),
    (r"connection=\d+", "connection=N"),
)


def without_what_varies(line):
    for pattern, text in VARIABLE:
        line = re.sub(pattern, text, line)
    return line


def block(first):
    """The indented block of the README that begins with this line."""
    lines = README.split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("    " + first))
    end = next(i for i in range(at, len(lines)) if not lines[i].startswith("    "))
    return "\n".join(line[4:] for line in lines[at:end]) + "\n"


def test_first_connection(etcp):
    etcp.authorized.write_text("%s laptop\n" % etcp_peer.key_text("pub", etcp.agent_public))
    in_state = {"env": {"STATE_DIRECTORY": str(etcp.state)}}
    server = etcp.server(identity=None, log_level=None, echo=False, options=in_state)
    key = server.log.wait(r"public key (etcp-pub-\S+)").group(1)
    agent = etcp.agent(server.port, server_key='{"%s"}' % key, log_level=None, message='interval = "10ms"')
    assert agent.wait() == 0, agent.log.text
    server.log.wait("disconnected:")
    printed = {without_what_varies(line) for program in (server, agent) for line in program.log.lines()}
    shown = LOGGED.findall(README)
    assert len(shown) >= 5
    for line in shown:
        assert without_what_varies(line) in printed, "README.md shows what was not printed: %s\n%s" % (line, printed)
    assert agent.out.lines() == [line.strip() for line in README.split("\n") if line == "    Hello from client!"]


def test_configurations_are_good(etcp):
    # -T: the files that they name are not here.
    server = etcp.write("server.conf", block("bind = "))
    assert etcp.finished("etcp-server", "-T", "-c", server).status == 0
    agent = etcp.write("agent.conf", block("$ cat > agent.conf").split("\n", 1)[1].split("END")[0].replace("$PWD", "/"))
    assert etcp.finished("etcp-agent", "-T", "-c", agent).status == 0


def test_a_tcp_service(etcp):
    """Both lines, on other ports, carry a connection."""
    with socket.create_server(("127.0.0.1", 0)) as backend:
        etcp.authorized.write_text("%s laptop\n" % etcp_peer.key_text("pub", etcp.agent_public))
        service = block('service "postgres"').replace("5432", str(backend.getsockname()[1]))
        server = etcp.server(rest=service, echo=False)
        agent = etcp.agent(server.port, message=None, rest=block('forward "postgres"').replace("5432", "0"))
        port = int(agent.log.wait(r"listening on 127\.0\.0\.1:(\d+): forward postgres").group(1))
        with socket.create_connection(("127.0.0.1", port), harness.TIMEOUT) as client:
            backend.settimeout(harness.TIMEOUT)
            server_end, _ = backend.accept()
            with server_end:
                client.sendall(b"select 1")
                server_end.settimeout(harness.TIMEOUT)
                assert server_end.recv(100) == b"select 1"


def test_mistake_is_told_with_file_and_line(etcp):
    text = block("$ etcp check server.conf").split("\n", 1)[1].strip()
    etcp.write("server.conf", "\n" * 4 + "limits {\n max_stream = 1\n}\n")
    tool = etcp.finished("etcp", "check", "server.conf")
    assert (tool.status, tool.log.text.strip()) == (harness.EX_CONFIG, text)
