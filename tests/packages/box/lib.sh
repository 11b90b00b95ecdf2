# SPDX-License-Identifier: MIT
# What the tests in a box share. Sourced with the working folder /root, where the packages are.
set -euo pipefail
cd /root

step() { printf -- '--- %s\n' "$*"; }
die() {
	printf 'failed: %s\n' "$*" >&2
	journalctl -q --no-pager -n 60 --grep "etcp|probe" >&2
	exit 1
}

# wait_for WHAT COMMAND...: until it succeeds, for a minute at the most
wait_for() {
	local deadline=$((SECONDS + 60))
	until "${@:2}" >/dev/null 2>&1; do
		((SECONDS < deadline)) || die "waited in vain for: $1"
		sleep 0.1
	done
}

# is UNIT STATE: active, inactive, failed ...
is() { [[ $(systemctl is-active "$1" || true) == "$2" ]]; }

# install_first, install_second: the packages and the later version of them; quiet unless it fails
apt_install() { DEBIAN_FRONTEND=noninteractive apt-get -y "$@" >/root/apt.log 2>&1 || { cat /root/apt.log >&2; die "apt-get $*"; }; }
install_first() { apt_install install ./etcp_*.deb ./etcp-server_*.deb ./etcp-agent_*.deb ./libetcp0_*.deb; }
install_second() { apt_install install ./second/etcp_*.deb ./second/etcp-server_*.deb ./second/etcp-agent_*.deb ./second/libetcp0_*.deb; }

# echoes UNIT: how many have come back to an agent
echoes() { journalctl -q --no-pager -o cat -u "$1" | grep -cx 'Hello from client!' || true; }
has_echoes() { (($(echoes "$1") >= $2)); }

journal_has() { journalctl -q --no-pager -o cat "${@:2}" | grep -E -- "$1" >/dev/null; }

# two_hosts: the agents of this machine get a network of their own, 192.0.2.2, joined by a cable to the server's, 192.0.2.1
two_hosts() {
	local unit
	ip netns add agent
	ip link add server type veth peer name agent netns agent
	ip address add 192.0.2.1/24 dev server
	ip -n agent address add 192.0.2.2/24 dev agent
	ip link set server up
	ip -n agent link set agent up
	ip -n agent link set lo up
	for unit in etcp-agent.service etcp-agent@.service; do
		mkdir -p "/etc/systemd/system/$unit.d"
		printf '[Service]\nNetworkNamespacePath=/run/netns/agent\n' >"/etc/systemd/system/$unit.d/host.conf"
	done
	systemctl daemon-reload
}
