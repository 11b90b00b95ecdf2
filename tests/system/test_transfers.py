# SPDX-License-Identifier: MIT
"""nginx, OpenSSH, rsync and iperf3 through a tunnel: large files, many connections, both directions at once."""

import concurrent.futures
import contextlib
import filecmp
import http.client
import json
import os
import random
import re
import shutil

import pytest

import programs
from harness import TIMEOUT
from openssh import hash_of, ssh, write_random
from tunnel import Tunnel

LARGE = 200_000_000


def tunnel_to(etcp, port, **options):
    return Tunnel(etcp, to="127.0.0.1:%d" % port, server={"workers": 2, "log_level": '"info"'}, **options)


# ---- nginx

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 512; }}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; sendfile on; location /put/ {{ dav_methods PUT; }} }}
}}
"""


class Web:
    def __init__(self, folder, port):
        self.folder, self.port, self.root = folder, port, folder / "www"


@pytest.fixture(scope="module")
def web():
    program, port = programs.program("nginx", "nginx"), programs.port()
    with programs.folder() as folder:
        (folder / "www" / "put").mkdir(parents=True)
        # With root, the workers are nobody's.
        owner = programs.unprivileged()
        lines = "" if owner is None else "user nobody nogroup;"
        (folder / "nginx.conf").write_text(lines + NGINX.format(folder=folder, port=port))
        for path in (folder, folder / "www", folder / "www" / "put"):
            path.chmod(0o755)
            if owner is not None:
                os.chown(path, owner, -1)
        with programs.daemon(
            *(program, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"), listens=port, where=folder
        ):
            yield Web(folder, port)


def test_nginx_large_files(etcp, web):
    """Down and up, compared by hash."""
    tunnel = tunnel_to(etcp, web.port)
    digest = write_random(web.root / "large", LARGE)
    for _ in range(2):
        client = http.client.HTTPConnection(*tunnel.address, timeout=TIMEOUT)
        client.request("GET", "/large")
        assert hash_of(client.getresponse()) == digest
        with (web.root / "large").open("rb") as file:
            client.request("PUT", "/put/large", file, {"Content-Length": str(LARGE)})  # on the same connection
            answer = client.getresponse()
        assert answer.status in (201, 204) and answer.read() is not None
        client.close()
        with (web.root / "put" / "large").open("rb") as file:
            assert hash_of(file) == digest


def test_nginx_ranges(etcp, web):
    tunnel = tunnel_to(etcp, web.port)
    write_random(web.root / "ranged", 3_000_000, seed=2)
    data = (web.root / "ranged").read_bytes()
    client = http.client.HTTPConnection(*tunnel.address, timeout=TIMEOUT)
    rng = random.Random(3)
    for _ in range(100):
        first = rng.randrange(len(data))
        last = rng.randrange(first, len(data))
        client.request("GET", "/ranged", headers={"Range": "bytes=%d-%d" % (first, last)})
        assert client.getresponse().read() == data[first : last + 1]


@pytest.mark.parametrize("size,close", ((600, False), (600, True), (100_000, False)))
def test_nginx_wrk(etcp, web, size, close):
    """Every answer is a good one, with connections that stay and with one for each request."""
    wrk = programs.program("wrk", "wrk")
    tunnel = tunnel_to(etcp, web.port)
    write_random(web.root / ("page%d" % size), size)
    url = "http://127.0.0.1:%d/page%d" % (tunnel.address[1], size)
    extra = ("-H", "Connection: close") if close else ()
    text = programs.run(wrk, "-t", 2, "-c", 64, "-d", "2s", "--timeout", "60s", *extra, url).stdout
    assert "Non-2xx" not in text and "Socket errors" not in text, text
    assert int(re.search(r"(\d+) requests in", text).group(1)) >= 64, text


# ---- OpenSSH and rsync


def test_ssh(etcp, ssh):
    """Bytes both ways, and the exit status of what ran there."""
    tunnel = tunnel_to(etcp, ssh.port)
    command = [*ssh.command(tunnel.address[1]), ssh.user + "@127.0.0.1"]
    data = random.Random(4).randbytes(20_000_000)
    assert programs.run(*command, "cat", input=data, text=False).stdout == data
    assert programs.run(*command, "exit 7", check=False).returncode == 7


def test_scp(etcp, ssh):
    tunnel = tunnel_to(etcp, ssh.port)
    scp = [programs.program("scp", "openssh-client"), "-q", *ssh.options(tunnel.address[1], "-P")]
    digest = write_random(ssh.folder / "sent", LARGE // 4)
    remote = "%s@127.0.0.1:%s" % (ssh.user, ssh.folder / "there")
    programs.run(*scp, ssh.folder / "sent", remote)
    programs.run(*scp, remote, ssh.folder / "back")
    for name in ("there", "back"):
        with (ssh.folder / name).open("rb") as file:
            assert hash_of(file) == digest


def same_trees(one, other):
    difference = filecmp.dircmp(one, other)
    _, wrong, failed = filecmp.cmpfiles(one, other, difference.common_files, shallow=False)
    assert not (difference.left_only or difference.right_only or wrong or failed)
    return all(same_trees(one / name, other / name) for name in difference.common_dirs)


def test_rsync(etcp, ssh):
    """A tree goes there; what has changed goes again; and back it comes."""
    rsync = programs.program("rsync", "rsync")
    tunnel = tunnel_to(etcp, ssh.port)
    rng = random.Random(5)
    one, there, back = (ssh.folder / name for name in ("one", "tree", "again"))
    for i in range(300):
        path = one / ("%d" % (i % 7)) / ("%d" % i)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.choice((0, 10, 5000, 300_000))))
    shell = " ".join(ssh.command(tunnel.address[1]))
    remote = "%s@127.0.0.1:%s/" % (ssh.user, there)
    programs.run(rsync, "-a", "-e", shell, "%s/" % one, remote)
    assert same_trees(one, there)
    for i in range(0, 300, 10):
        with (one / ("%d" % (i % 7)) / ("%d" % i)).open("ab") as file:
            file.write(b"changed")
    shutil.rmtree(one / "6")
    programs.run(rsync, "-a", "--checksum", "--delete", "-e", shell, "%s/" % one, remote)
    programs.run(rsync, "-a", "-e", shell, remote, "%s/" % back)
    assert same_trees(one, there) and same_trees(one, back)


# ---- iperf3

SECOND = 'service "second" {{ type = "forward" to = "127.0.0.1:{}" allow = {{"agent"}} }}\n'


@pytest.mark.parametrize("streams", (1, 8))
@pytest.mark.parametrize("ways", (((),), (("-R",),), ((), ("-R",))), ids=("up", "down", "both"))
def test_iperf3(etcp, streams, ways):
    """
    All streams move, and nobody gets more than was sent. Both ways at once are two clients, because iperf3's --bidir
    expects a backend to see connections in the order in which they were made, which nothing promises.
    """
    program, ports = programs.program("iperf3", "iperf3"), [programs.port() for _ in ways]
    size = 64_000_000  # far more than what all buffers of eight streams take
    with contextlib.ExitStack() as stack:
        for port in ports:
            folder = stack.enter_context(programs.folder())
            stack.enter_context(programs.daemon(program, "-s", "-p", port, listens=port, where=folder))
        tunnel = tunnel_to(etcp, ports[0], start=False)
        tunnel.service += SECOND.format(ports[-1])
        tunnel.forward += 'forward "second" { listen = "127.0.0.1:0" service = "second" }\n'
        tunnel.start_server()
        tunnel.start_agent(tunnel.server.port)
        second = tunnel.agent.log.wait(r"listening on 127\.0\.0\.1:(\d+): forward second").group(1)

        def client(port, way):
            arguments = ("-c", "127.0.0.1", "-p", port, "-P", streams, "-n", size, "-J", *way)
            return json.loads(programs.run(program, *arguments).stdout)

        with concurrent.futures.ThreadPoolExecutor() as clients:
            reports = list(clients.map(client, (tunnel.address[1], second), ways))
    for report in reports:
        assert "error" not in report, report.get("error")
        end = report["end"]
        # iperf3 ends when the sender is through, and reads no further.
        assert 0 < end["sum_received"]["bytes"] <= end["sum_sent"]["bytes"] >= size
        assert len(end["streams"]) == streams
        assert all(stream["sender"]["bytes"] > 0 for stream in end["streams"])
