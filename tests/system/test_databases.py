# SPDX-License-Identifier: MIT
"""PostgreSQL and Redis through a tunnel, over TCP and over Unix sockets: their own clients, and their own checks."""

import contextlib
import random
import re
import signal
import socket
import subprocess

import pytest

import programs
from harness import TIMEOUT, eventually
from tunnel import Tunnel

PLACES = ("tcp", "unix")


class Place:
    """Where a daemon listens, and where its clients find it through a tunnel."""

    def __init__(self, etcp, kind, port, path, local_name):
        to = "127.0.0.1:%d" % port if kind == "tcp" else "unix:%s" % path
        self.folder = etcp.opened.enter_context(programs.folder())
        self.path = self.folder / local_name
        listen = "127.0.0.1:0" if kind == "tcp" else "unix:%s" % self.path
        self.kind = kind
        self.tunnel = Tunnel(etcp, to=to, listen=listen, server={"workers": 2})
        self.port = self.tunnel.address[1] if kind == "tcp" else None


# ---- PostgreSQL


class Postgres:
    def __init__(self, folder, port):
        self.folder, self.port = folder, port

    def tool(self, place, name, *arguments, **options):
        """A client of the database: through a tunnel, or straight (`place` None)."""
        where = ("-h", "127.0.0.1", "-p", place.port) if place and place.kind == "tcp" else None
        where = where or ("-h", place.folder if place else self.folder, "-p", 5432 if place else self.port)
        return programs.run(programs.postgresql(name), *where, "-U", "test", *arguments, "postgres", **options)

    def ask(self, place, query):
        return self.tool(place, "psql", "-X", "-A", "-t", "-c", query).stdout.strip()


@pytest.fixture(scope="module")
def postgres():
    user, port = programs.unprivileged(), programs.port()
    with programs.folder(user) as folder:
        data = folder / "data"
        programs.run(
            *(programs.postgresql("initdb"), "-D", data, "-U", "test", "-A", "trust", "-N", "--locale=C", "-E", "UTF8"),
            user=user,
            cwd=folder,
        )
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", "%s=%s" % (name, value))]
        path = folder / (".s.PGSQL.%d" % port)
        with programs.daemon(
            *(programs.postgresql("postgres"), "-D", data, *options), listens=path, where=folder, user=user
        ):
            database = Postgres(folder, port)
            eventually(lambda: database.tool(None, "psql", "-c", "", check=False).returncode == 0, "PostgreSQL is up")
            yield database


@pytest.fixture(params=PLACES)
def sql(etcp, postgres, request):
    """(database, the place of a tunnel to it)"""
    path = postgres.folder / (".s.PGSQL.%d" % postgres.port)
    return postgres, Place(etcp, request.param, postgres.port, path, ".s.PGSQL.5432")


def test_pgbench(sql):
    """TPC-B: what was added to accounts, tellers and branches is what the history says, whatever was going on at once."""
    database, place = sql
    database.tool(place, "pgbench", "-i", "-s", "2", "-q")
    done = 0
    for arguments in (("-c", 16, "-t", 50), ("-c", 8, "-t", 50, "-M", "prepared"), ("-c", 4, "-t", 20, "-C")):
        text = database.tool(place, "pgbench", "-n", "-j", 2, *arguments).stdout
        wanted = arguments[1] * arguments[3]
        assert re.search(r"transactions actually processed: %d/%d" % (wanted, wanted), text), text
        done += wanted
    sums = "select count(*), sum(delta) from pgbench_history"
    count, total = database.ask(place, sums).split("|")
    assert int(count) == done
    for table, column in (("accounts", "abalance"), ("tellers", "tbalance"), ("branches", "bbalance")):
        assert database.ask(place, "select sum(%s) from pgbench_%s" % (column, table)) == total
    assert database.ask(None, sums) == "%s|%s" % (count, total)


def test_copy(sql):
    """Megabytes in both directions: out of the database, and into it."""
    database, place = sql
    query = "copy (select i, md5(i::text) from generate_series(1, 300000) i) to stdout"
    rows = database.tool(place, "psql", "-X", "-c", query).stdout
    assert rows == database.tool(None, "psql", "-X", "-c", query).stdout and len(rows) > 10_000_000
    database.ask(place, "drop table if exists copied; create table copied (i int, sum text)")
    database.tool(place, "psql", "-X", "-c", "copy copied from stdin", input=rows)
    assert database.ask(None, "select count(*) from copied where sum = md5(i::text)") == "300000"


def test_cancel(sql):
    """psql cancels by a second connection, while the first waits."""
    database, place = sql
    where = ("-h", "127.0.0.1", "-p", str(place.port)) if place.kind == "tcp" else ("-h", str(place.folder))
    with subprocess.Popen(
        [programs.postgresql("psql"), *where, "-U", "test", "-X", "-c", "select pg_sleep(1000)", "postgres"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as psql:
        try:
            asleep = "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"
            eventually(lambda: database.ask(None, asleep) == "1", "psql waits")
            psql.send_signal(signal.SIGINT)
            _, text = psql.communicate(timeout=TIMEOUT)
        finally:
            psql.kill()
    assert "canceling statement due to user request" in text
    eventually(lambda: database.ask(None, asleep) == "0", "nothing is left running")


# ---- Redis


@pytest.fixture(scope="module")
def redis():
    program, port = programs.program("redis-server", "redis-server"), programs.port()
    with programs.folder() as folder:
        path = folder / "redis.sock"
        options = ("--bind", "127.0.0.1", "--port", port, "--unixsocket", path, "--save", "", "--dir", folder)
        with programs.daemon(program, *options, listens=path, where=folder):
            yield port, path


@pytest.fixture(params=PLACES)
def place(etcp, redis, request):
    return Place(etcp, request.param, *redis, "redis.sock")


def benchmark(place, *arguments):
    where = ("-h", "127.0.0.1", "-p", place.port) if place.kind == "tcp" else ("-s", place.path)
    return programs.run(programs.program("redis-benchmark", "redis-tools"), *where, *arguments).stdout


class Client:
    """As much of Redis' protocol as the tests need."""

    def __init__(self, place):
        if place.kind == "tcp":
            self.sock = socket.create_connection(("127.0.0.1", place.port), TIMEOUT)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(TIMEOUT)
            self.sock.connect(str(place.path))
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    @staticmethod
    def request(*words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)

    def answer(self):
        line = self.file.readline()
        assert line.endswith(b"\r\n") and line[:1] in b"+:$", line
        if line[:1] != b"$":
            return line[1:-2]
        length = int(line[1:])
        if length < 0:
            return None
        value = self.file.read(length + 2)
        assert len(value) == length + 2
        return value[:-2]

    def ask(self, *words):
        self.sock.sendall(self.request(*words))
        return self.answer()


def test_redis_benchmark(place):
    with Client(place) as client:
        client.ask("flushall")
        for pipeline in (1, 16):
            text = benchmark(place, "-c", 50, "-n", 4800, "-P", pipeline, "-t", "set,get,incr,lpush,lrange_100", "-q")
            assert len(re.findall(r"requests per second", text)) >= 5, text
        assert client.ask("get", "counter:__rand_int__") == b"9600"
        assert int(client.ask("llen", "mylist")) >= 9600


def test_redis_pipeline(place):
    """Thousands of commands under way at once, each with an answer of its own to be had in its place."""
    rng = random.Random(7)
    values = [rng.randbytes(rng.choice((0, 1, 100, 5000))) for _ in range(5000)]
    with Client(place) as client:
        for start in range(0, len(values), 500):
            batch = range(start, start + 500)
            client.sock.sendall(b"".join(client.request("set", "key:%d" % i, values[i]) for i in batch))
            client.sock.sendall(b"".join(client.request("get", "key:%d" % i) for i in batch))
            assert [client.answer() for _ in batch] == [b"OK"] * 500
            assert [client.answer() for _ in batch] == [values[i] for i in batch]
        client.ask("flushall")
        assert client.ask("get", "key:0") is None


def test_redis_large_values(place):
    value = random.Random(8).randbytes(30_000_000)
    with Client(place) as client, Client(place) as other:
        assert client.ask("set", "large", value) == b"OK"
        assert other.ask("get", "large") == value
        assert client.ask("append", "large", b"more") == b"%d" % (len(value) + 4)
        assert other.ask("getrange", "large", -5, -1) == value[-1:] + b"more"


def test_redis_says_no_more(place, redis):
    """A client that the server ends hears that, and the next one is served."""
    with Client(place) as client, Client(place) as other:
        number = client.ask("client", "id")
        assert other.ask("client", "kill", "id", number) == b"1"
        with contextlib.suppress(ConnectionResetError):
            assert client.sock.recv(100) == b""
        assert other.ask("ping") == b"PONG"
