#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Tries what a daemon in a sandbox must not be able to do. Prints "did NAME" or "refused NAME (why)" for each.
use strict;
use warnings;
use Fcntl;
use POSIX ();
use Socket;

my %number = (mmap => 9, mprotect => 10, ptrace => 101, personality => 135, mount => 165, settimeofday => 164,
    sethostname => 170, add_key => 248, unshare => 272, process_vm_readv => 310, sched_setscheduler => 144,
    syslog => 103, bpf => 321, perf_event_open => 298, userfaultfd => 323, shmget => 29, io_uring_setup => 425);
my ($anonymous, $rwx, $rw, $rx) = (0x22, 7, 3, 5);

sub call { my $name = shift; my $r = syscall($number{$name}, @_); return $r != -1; }
sub writes { my ($path) = @_; sysopen(my $f, $path, O_WRONLY | O_CREAT, 0600) or return 0; close $f; unlink $path; return 1; }
sub reads { my ($path) = @_; open(my $f, '<', $path) or return 0; my $n = sysread($f, my $byte, 1); return defined $n && $n == 1; }
sub makes { my ($family) = @_; return socket(my $s, $family, SOCK_DGRAM, 0); }

my @probes = (
    ['ProtectSystem: write in /etc' => sub { writes('/etc/probe') }],
    ['ProtectSystem: write in /usr' => sub { writes('/usr/probe') }],
    ['ProtectSystem: write in /var/lib' => sub { writes('/var/lib/probe') }],
    ['ProtectSystem: write in /var/log' => sub { writes('/var/log/probe') }],
    ['ProtectHome: read /root' => sub { reads('/root/box/lib.sh') }],
    ['PrivateTmp: see /tmp' => sub { -e '/tmp/probe-was-here' }],
    ['PrivateDevices, DevicePolicy: open /dev/net/tun' => sub { sysopen(my $f, '/dev/net/tun', O_RDWR) }],
    ['InaccessiblePaths: read the other daemon\'s key' => sub { reads($ENV{PROBE_OTHER}) }],
    ['NoExecPaths: run a program' => sub { my $pid = fork; defined $pid or return 0;
        if (!$pid) { open STDERR, '>', '/dev/null'; exec { '/bin/true' } 'true' or POSIX::_exit(1); } waitpid $pid, 0; return $? == 0; }],
    ['ProtectProc: see other users\' processes' => sub { -e '/proc/1/status' }],
    ['ProcSubset: read /proc/meminfo' => sub { reads('/proc/meminfo') }],
    ['ProtectKernelTunables: write /proc/sys/net' => sub { sysopen(my $f, '/proc/sys/net/ipv4/ip_forward', O_WRONLY) }],
    ['ProtectControlGroups: make a control group' => sub { mkdir '/sys/fs/cgroup/probe' and rmdir '/sys/fs/cgroup/probe' }],
    ['ProtectKernelModules: list modules' => sub { opendir(my $d, '/usr/lib/modules') }],
    ['RestrictAddressFamilies: packet' => sub { makes(17) }],
    ['RestrictAddressFamilies: netlink' => sub { makes(16) }],
    ['RestrictAddressFamilies: vsock' => sub { makes(40) }],
    ['RestrictAddressFamilies: alg' => sub { socket(my $s, 38, SOCK_SEQPACKET, 0) }],
    ['RestrictNamespaces: a user namespace' => sub { my $pid = fork; defined $pid or return 0;
        if (!$pid) { POSIX::_exit(call('unshare', 0x10000000) ? 0 : 1); } waitpid $pid, 0; return $? == 0; }],
    ['MemoryDenyWriteExecute: memory both writable and executable' => sub { call('mmap', 0, 4096, $rwx, $anonymous, -1, 0) }],
    ['MemoryDenyWriteExecute: make memory executable' => sub { my $at = syscall($number{mmap}, 0, 4096, $rw, $anonymous, -1, 0);
        call('mprotect', $at, 4096, $rx) }],
    ['RestrictRealtime: real-time scheduling' => sub { my $one = pack 'i', 1; call('sched_setscheduler', 0, 1, $one) }],
    ['RestrictSUIDSGID: a setuid file' => sub { my $path = "$ENV{PROBE_STATE}/probe"; writes($path);
        sysopen(my $f, $path, O_WRONLY | O_CREAT, 0600) or return 0; my $did = chmod 04700, $path; unlink $path; return $did; }],
    ['LockPersonality: another personality' => sub { call('personality', 0x0040000) }],
    ['ProtectHostname: set the name of the host' => sub { my $name = 'systemd-box'; call('sethostname', $name, length $name) }],
    ['ProtectKernelLogs: ask for the kernel\'s log' => sub { call('syslog', 10, 0, 0) }],
    ['SystemCallFilter: mount' => sub { my ($t, $at) = ('tmpfs', '/mnt'); call('mount', $t, $at, $t, 0, 0) }],
    ['SystemCallFilter: ptrace' => sub { call('ptrace', 0, 0, 0, 0) }],
    ['SystemCallFilter: process_vm_readv' => sub { call('process_vm_readv', $$, 0, 0, 0, 0, 0) }],
    ['SystemCallFilter: add_key' => sub { my ($t, $d, $p) = ('user', 'probe', 'x'); call('add_key', $t, $d, $p, 1, -2) }],
    ['SystemCallFilter: System V shared memory' => sub { call('shmget', 0, 4096, 0600) }],
    ['SystemCallFilter: userfaultfd' => sub { call('userfaultfd', 1) }],
    ['SystemCallFilter: io_uring' => sub { my $p = "\0" x 120; call('io_uring_setup', 1, $p) }],
    ['SystemCallFilter: change an owner' => sub { my $path = "$ENV{PROBE_STATE}/probe"; sysopen(my $f, $path, O_WRONLY | O_CREAT, 0600) or return 0;
        my $did = chown $<, (split / /, $()[0], $path; unlink $path; return $did == 1; }],
    ['capabilities: a port below 1024' => sub { socket(my $s, AF_INET, SOCK_STREAM, 0) or return 0; bind($s, sockaddr_in(81, INADDR_LOOPBACK)) }],
    ['capabilities: any at all' => sub { open(my $f, '<', '/proc/self/status') or return 0; grep { /^Cap(Prm|Eff|Bnd|Amb):\s*+(?!0+$)/ } <$f> }],
    ['NoNewPrivileges: off' => sub { open(my $f, '<', '/proc/self/status') or return 0; grep { /^NoNewPrivs:\s*0/ } <$f> }],
    ['PrivateUsers: all users mapped' => sub { open(my $f, '<', '/proc/self/uid_map') or return 0; grep { /\s4294967295$/ } <$f> }],
    ['LimitCORE: dump core' => sub { my $pid = fork; defined $pid or return 0;
        if (!$pid) { chdir $ENV{PROBE_STATE}; POSIX::abort(); } waitpid $pid, 0; my $did = $? & 128; unlink glob("$ENV{PROBE_STATE}/core*"); return $did; }],
);
# What it must be able to do all the same; these are named "may".
my @needs = (
    ['may: write in the state directory' => sub { writes("$ENV{PROBE_STATE}/probe") }],
    ['may: make IPv4, IPv6 and Unix sockets' => sub { makes(AF_INET) && makes(AF_INET6) && makes(AF_UNIX) }],
    ['may: resolve a name' => sub { my ($error, @found) = Socket::getaddrinfo('localhost', '80'); !$error && @found }],
    ['may: read its configuration' => sub { reads('/etc/etcp/server.conf') }],
    ['may: lock memory' => sub { my $at = syscall($number{mmap}, 0, 4096, $rw, $anonymous, -1, 0); syscall(149, $at, 4096) == 0 }],
);

$| = 1;
POSIX::uname() && (POSIX::uname())[4] eq 'x86_64' or do { print "skipped: the numbers of system calls are x86_64's\n"; exit 0 };
# Each in a process of its own: some leave it changed, or are answered with a signal.
for my $probe (@probes, @needs) {
    my ($name, $try) = @$probe;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        alarm 10;
        $! = 0;
        my $did = $try->();
        print $did ? "did $name\n" : "refused $name ($!)\n";
        POSIX::_exit(0);
    }
    waitpid $pid, 0;
    print "refused $name (signal ", $? & 127, ")\n" if $? != 0;
}
