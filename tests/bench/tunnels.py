# SPDX-License-Identifier: MIT
"""The tunnels that are compared, each as one would run it: how its two ends are configured and started.

What they have in common: TLS 1.3 with AES-256-GCM, X25519 and an ECDSA P-256 certificate where it is TLS, TCP_NODELAY,
no idle timeouts, limits that 5,000 connections fit in, logging off or at warnings. Nobody but etcp and ssh verifies its
peer, which spares the others the work."""
import getpass
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import textwrap

SUITE = "TLS_AES_256_GCM_SHA384"
LOOPS = min(os.cpu_count(), 2)  # of those that don't find a number for themselves
MANY = 8000


class Plan:
    """What a tunnel is wanted for, and where it may write."""

    def __init__(self, folder, settings, programs, sink, ports, fresh_handshakes):
        self.folder = folder  # of this tunnel
        self.keys = settings  # folder with what keygen() made
        self.etcp_bin, self.tools = programs  # folders of ours
        self.sink = sink  # port of what is behind the tunnel
        self.front, self.middle = ports  # ports of the two ends
        self.fresh_handshakes = fresh_handshakes  # no connection or session is used again

    def write(self, name, text):
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path


def keygen(folder, etcp_bin):
    """Keys and certificates for all of them."""
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if shutil.which("openssl"):
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/CN=localhost",
                "-keyout",
                folder / "key.pem",
                "-out",
                folder / "cert.pem",
            ],
            **quiet,
        )
        (folder / "both.pem").write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
        (folder / "both.pem").chmod(0o600)
    (folder / "spiped.key").write_bytes(os.urandom(32))
    if shutil.which("ssh-keygen"):
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / f"ssh_{name}"], **quiet)
        shutil.copy(folder / "ssh_user.pub", folder / "ssh_authorized")
    for name in ("server", "agent"):
        out = subprocess.run(
            [etcp_bin / "etcp", "keygen", folder / f"{name}.key"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        (folder / f"{name}.pub").write_text(re.search(r"etcp-pub-\S{48}", out).group(0))
    (folder / "authorized_agents").write_text((folder / "agent.pub").read_text() + " bench\n")


class Tunnel:
    """One kind of tunnel. `programs` must be there, `packages` of Debian bring them."""

    name = ""
    programs, packages = (), ()
    best_of = True  # one of the peers that etcp is compared with
    idle_at_most = None  # connections in the work with idle ones, if it can't hold as many
    only = None  # works, if not all
    needs_root = False

    def missing(self):
        if self.needs_root and os.geteuid() != 0:
            return "needs root"
        found = [
            shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") for program in self.programs
        ]
        lost = [program for program, path in zip(self.programs, found) if not path]
        return f"{', '.join(lost)} not installed" if lost else None

    def program(self, name):
        return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

    def version(self):
        return None

    def ends(self, plan):
        """The arguments of the server end and of the client end."""
        raise NotImplementedError

    def first_connections(self, plan, tools):
        """The arguments of a client that makes first connections to the server end, and measures them."""
        return [tools / "bench-tls", "--to", f"127.0.0.1:{plan.middle}"]


def first_line(argv, pattern):
    """What `pattern` finds in what a program says of itself."""
    ran = subprocess.run(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        timeout=10,
    )
    found = re.search(pattern, ran.stdout)
    return found.group(1) if found else None


class Haproxy(Tunnel):
    programs, packages = ("haproxy", "openssl"), ("haproxy", "openssl")
    encrypted = True

    def __init__(self, name="haproxy", buffer_bytes=None):
        self.name, self.buffer_bytes = name, buffer_bytes

    def version(self):
        return first_line([self.program("haproxy"), "-v"], r"version (\S+)")

    def conf(self, plan, name, bind, server):
        bufsize = f"tune.bufsize {self.buffer_bytes}" if self.buffer_bytes else ""
        cache = "tune.ssl.cachesize 0" if plan.fresh_handshakes else ""
        path = plan.write(
            name,
            f"""\
            global
                maxconn {MANY}
                {bufsize}
                {cache}
            defaults
                mode tcp
                maxconn {MANY}
                timeout connect 10s
                timeout client 1h
                timeout server 1h
            listen tunnel
                bind {bind}
                server next {server}
            """,
        )
        return [self.program("haproxy"), "-db", "-q", "-f", str(path)]

    def ends(self, plan):
        bind = f"127.0.0.1:{plan.middle}"
        server = f"127.0.0.1:{plan.middle}"
        if self.encrypted:
            bind += f" ssl crt {plan.keys}/both.pem ssl-min-ver TLSv1.3 ciphersuites {SUITE} curves X25519"
            server += f" ssl verify none ssl-min-ver TLSv1.3 ciphersuites {SUITE}"
            if plan.fresh_handshakes:
                bind += " no-tls-tickets"
                server += " no-ssl-reuse"
        return (
            self.conf(plan, "server.cfg", bind, f"127.0.0.1:{plan.sink}"),
            self.conf(plan, "client.cfg", f"127.0.0.1:{plan.front}", server),
        )


class PlainRelay(Haproxy):
    encrypted = False
    best_of = False

    def __init__(self):
        super().__init__("plain haproxy")


class Nginx(Tunnel):
    programs, packages = ("nginx", "openssl"), ("nginx", "libnginx-mod-stream", "openssl")
    MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")

    def __init__(self, name="nginx", buffer_bytes=None):
        self.name, self.buffer_bytes = name, buffer_bytes

    def missing(self):
        return super().missing() or (None if self.MODULE.exists() else "libnginx-mod-stream not installed")

    def version(self):
        return first_line([self.program("nginx"), "-v"], r"nginx/(\S+)")

    def conf(self, plan, name, options):
        # Its temporary folders are made at the start, wanted or not.
        home = plan.folder / name
        home.mkdir(exist_ok=True)
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        buffers = f"proxy_buffer_size {self.buffer_bytes};" if self.buffer_bytes else ""
        path = plan.write(
            f"{name}.conf",
            f"""\
            {user}
            load_module {self.MODULE};
            daemon off;
            worker_processes {LOOPS};
            worker_rlimit_nofile {2 * MANY + 100};
            pid {home}/pid;
            error_log stderr error;
            events {{ worker_connections {2 * MANY}; }}
            stream {{
                proxy_timeout 1h;
                proxy_connect_timeout 10s;
                tcp_nodelay on;
                {buffers}
                server {{
                    {options}
                }}
            }}
            """,
        )
        return [self.program("nginx"), "-p", str(home), "-c", str(path), "-e", "stderr"]

    def ends(self, plan):
        resumption = "ssl_session_cache shared:all:10m;"
        if plan.fresh_handshakes:
            resumption = "ssl_session_cache off; ssl_session_tickets off;"
        server = f"""listen 127.0.0.1:{plan.middle} ssl backlog=4096;
                    proxy_pass 127.0.0.1:{plan.sink};
                    ssl_certificate {plan.keys}/cert.pem;
                    ssl_certificate_key {plan.keys}/key.pem;
                    ssl_protocols TLSv1.3;
                    ssl_conf_command Ciphersuites {SUITE};
                    ssl_ecdh_curve X25519;
                    {resumption}"""
        client = f"""listen 127.0.0.1:{plan.front} backlog=4096;
                    proxy_pass 127.0.0.1:{plan.middle};
                    proxy_ssl on;
                    proxy_ssl_protocols TLSv1.3;
                    proxy_ssl_conf_command Ciphersuites {SUITE};
                    proxy_ssl_session_reuse {"off" if plan.fresh_handshakes else "on"};"""
        return self.conf(plan, "server", server), self.conf(plan, "client", client)


class Hitch(Tunnel):
    name = "hitch"
    programs, packages = ("hitch", "openssl"), ("hitch", "openssl")

    def version(self):
        return first_line([self.program("hitch"), "--version"], r"hitch (\S+)")

    def ends(self, plan):
        def conf(name, extra, *options):
            user = f'user = "{getpass.getuser()}"' if os.geteuid() == 0 else ""
            path = plan.write(
                name,
                f"""\
                {extra}
                workers = {LOOPS}
                backlog = 4096
                {user}
                tls-protos = TLSv1.3
                ciphersuites = "{SUITE}"
                syslog = off
                quiet = on
                daemon = off
                """,
            )
            return [self.program("hitch"), f"--config={path}", *options]

        server = f"""frontend = "[127.0.0.1]:{plan.middle}"
                backend = "[127.0.0.1]:{plan.sink}"
                pem-file = "{plan.keys}/both.pem"
                ecdh-curve = "X25519" """
        client = f"""frontend = "[127.0.0.1]:{plan.front}"
                backend = "[127.0.0.1]:{plan.middle}"
                pem-file = "{plan.keys}/both.pem" """
        return conf("server.conf", server), conf("client.conf", client, "--client")


class Stunnel(Tunnel):
    name = "stunnel"
    programs, packages = ("stunnel4", "openssl"), ("stunnel4", "openssl")

    def version(self):
        return first_line([self.program("stunnel4"), "-version"], r"stunnel (\S+)")

    def ends(self, plan):
        def conf(name, extra):
            path = plan.write(
                name,
                f"""\
                foreground = yes
                pid =
                syslog = no
                debug = 3
                [tunnel]
                sslVersion = TLSv1.3
                ciphersuites = {SUITE}
                curves = X25519
                TIMEOUTidle = 3600
                {extra}
                """,
            )
            return [self.program("stunnel4"), str(path)]

        server = f"""accept = 127.0.0.1:{plan.middle}
                connect = 127.0.0.1:{plan.sink}
                cert = {plan.keys}/cert.pem
                key = {plan.keys}/key.pem"""
        client = f"""client = yes
                accept = 127.0.0.1:{plan.front}
                connect = 127.0.0.1:{plan.middle}"""
        return conf("server.conf", server), conf("client.conf", client)


class Spiped(Tunnel):
    name = "spiped"
    programs, packages = ("spiped",), ("spiped",)

    def version(self):
        return first_line([self.program("spiped"), "-v"], r"spiped (\S+)")

    def ends(self, plan):
        def argv(way, source, target):
            return [
                self.program("spiped"),
                way,
                "-F",
                "-s",
                f"[127.0.0.1]:{source}",
                "-t",
                f"[127.0.0.1]:{target}",
                "-k",
                f"{plan.keys}/spiped.key",
                "-n",
                str(MANY),
                "-p",
                f"{plan.folder}/pid{way}",
            ]

        return argv("-d", plan.middle, plan.sink), argv("-e", plan.front, plan.middle)


class Socat(Tunnel):
    name = "socat"
    programs, packages = ("socat", "openssl"), ("socat", "openssl")
    idle_at_most = 300  # a process for each

    def version(self):
        return first_line([self.program("socat"), "-V"], r"socat version (\S+)")

    def ends(self, plan):
        tls = "openssl-min-proto-version=TLS1.3,nodelay"
        server = [
            f"OPENSSL-LISTEN:{plan.middle},bind=127.0.0.1,reuseaddr,fork,backlog=4096,verify=0,"
            f"cert={plan.keys}/both.pem,{tls}",
            f"TCP:127.0.0.1:{plan.sink},nodelay",
        ]
        client = [
            f"TCP-LISTEN:{plan.front},bind=127.0.0.1,reuseaddr,fork,backlog=4096,nodelay",
            f"OPENSSL:127.0.0.1:{plan.middle},verify=0,{tls}",
        ]
        start = [self.program("socat"), "-b", "65536"]
        return start + server, start + client


class Ssh(Tunnel):
    name = "ssh"
    programs, packages = ("sshd", "ssh", "ssh-keygen"), ("openssh-server", "openssh-client")
    needs_root = True
    RUN = pathlib.Path("/run/sshd")  # sshd insists on it

    def version(self):
        return first_line([self.program("ssh"), "-V"], r"OpenSSH_([^ ,]+)")

    def ends(self, plan):
        self.RUN.mkdir(mode=0o755, exist_ok=True)
        conf = plan.write(
            "sshd_config",
            f"""\
            ListenAddress 127.0.0.1:{plan.middle}
            HostKey {plan.keys}/ssh_host
            AuthorizedKeysFile {plan.keys}/ssh_authorized
            PermitRootLogin yes
            PidFile none
            UsePAM no
            StrictModes no
            LogLevel ERROR
            Ciphers aes256-gcm@openssh.com
            KexAlgorithms curve25519-sha256
            Compression no
            """,
        )
        server = [self.program("sshd"), "-D", "-e", "-f", str(conf)]
        client = [
            self.program("ssh"),
            "-N",
            "-F",
            "none",
            "-L",
            f"127.0.0.1:{plan.front}:127.0.0.1:{plan.sink}",
            "-p",
            str(plan.middle),
            "-i",
            f"{plan.keys}/ssh_user",
            "-c",
            "aes256-gcm@openssh.com",
            "-o",
            "Compression=no",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            f"UserKnownHostsFile={plan.folder}/known_hosts",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "ExitOnForwardFailure=yes",
            f"{getpass.getuser()}@127.0.0.1",
        ]
        return server, client


def on_processor(number, argv):
    """As CPUAffinity= of a unit does: counted from the last of those that there are."""
    processors = sorted(os.sched_getaffinity(0))
    return ["taskset", "--cpu-list", str(processors[-1 - number % len(processors)]), *argv]


class Etcp(Tunnel):
    """With the defaults, but for limits. `busy_poll` is a time, or None; who polls has a processor of its own at each end."""

    best_of = False

    def __init__(self, name="etcp", busy_poll=None, only=None):
        self.name, self.busy_poll, self.only = name, busy_poll, only

    def missing(self):
        return None

    def ends(self, plan):
        who = "*" if plan.fresh_handshakes else "bench"  # bench-load makes a key for each run
        busy = f'busy_poll = "{self.busy_poll}"' if self.busy_poll else ""
        server = plan.write(
            "server.conf",
            f"""\
            bind = {{"127.0.0.1:{plan.middle}"}}
            log_level = "warning"
            status_socket = "none"
            identity = "{plan.keys}/server.key"
            authorized_agents = "{plan.keys}/authorized_agents"
            {busy}
            limits {{
              max_connections = {MANY}
              max_connections_per_address = {MANY}
              max_handshakes = 1024
            }}
            service "bench" {{ type = "forward"  to = "127.0.0.1:{plan.sink}"  allow = {{"{who}"}} }}
            """,
        )
        agent = plan.write(
            "agent.conf",
            f"""\
            server = {{"127.0.0.1:{plan.middle}"}}
            server_key = {{"{(plan.keys / "server.pub").read_text()}"}}
            log_level = "warning"
            status_socket = "none"
            identity = "{plan.keys}/agent.key"
            {'spare_connections = 0  idle_close = "100ms"' if plan.fresh_handshakes else ""}
            {busy}
            reconnect {{ initial_delay = "100ms" }}
            forward "bench" {{ listen = "127.0.0.1:{plan.front}"  service = "bench"  max_connections = {MANY} }}
            """,
        )
        server_end = [plan.etcp_bin / "etcp-server", "-c", str(server)]
        agent_end = [plan.etcp_bin / "etcp-agent", "-c", str(agent)]
        if self.busy_poll:
            server_end, agent_end = on_processor(0, server_end), on_processor(1, agent_end)
        return server_end, agent_end

    def first_connections(self, plan, tools):
        return [
            tools / "bench-load",
            "handshake",
            "--to",
            f"127.0.0.1:{plan.middle}",
            "--server-key",
            (plan.keys / "server.pub").read_text(),
            "--service",
            "bench",
            "--message",
            "--size",
            "1",
        ]


class BareRelay(Tunnel):
    """The least that a relay can do for a message: what no tunnel that sleeps between messages can be much faster than."""

    name = "bare relay"
    best_of = False
    only = ("echo1",)

    def missing(self):
        return None

    def ends(self, plan):
        relay = plan.tools / "bare-relay"
        return [relay, plan.middle, plan.sink], [relay, plan.front, plan.middle]


class NoTunnel(Tunnel):
    name = "no tunnel"
    best_of = False

    def ends(self, plan):
        return None, None


def knows_busy_poll(etcp_bin):
    """Whether both daemons have the option."""
    with tempfile.NamedTemporaryFile() as empty:
        dumps = [
            subprocess.run(
                [etcp_bin / daemon, "-T", "-c", empty.name],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for daemon in ("etcp-server", "etcp-agent")
        ]
    return all("busy_poll" in dump.stdout for dump in dumps)


def all_tunnels(etcp_bin):
    tunnels = [Etcp()]
    if knows_busy_poll(etcp_bin):
        tunnels.append(Etcp("etcp busy_poll", busy_poll="100us", only=("echo1",)))
    return tunnels + [
        Haproxy(),
        Haproxy("haproxy 64k", 65536),
        Nginx(),
        Nginx("nginx 64k", 65536),
        Hitch(),
        Stunnel(),
        Spiped(),
        Socat(),
        Ssh(),
        PlainRelay(),
        BareRelay(),
        NoTunnel(),
    ]
