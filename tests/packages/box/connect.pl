#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# connect.pl [PORT]: connects to 127.0.0.1:PORT (1337) again and again until told to stop (SIGTERM); then prints "CONNECTIONS REFUSED OTHER".
use strict;
use warnings;
use Errno qw(ECONNREFUSED EINTR);
use Socket;

my ($connected, $refused, $other, $stop) = (0, 0, 0, 0);
$SIG{TERM} = sub { $stop = 1 };
my $address = sockaddr_in($ARGV[0] // 1337, INADDR_LOOPBACK);
while (!$stop) {
    socket(my $s, AF_INET, SOCK_STREAM, 0) or die "socket: $!";
    if (connect($s, $address)) { $connected++ }
    elsif ($! == ECONNREFUSED) { $refused++ }
    elsif ($! != EINTR) { $other++ }
    close $s;
    select undef, undef, undef, 0.002; # load, not a flood: the server counts handshakes
}
print "$connected $refused $other\n";
