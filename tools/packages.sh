# SPDX-License-Identifier: MIT
# Which Debian packages the project needs, and installing those that are missing. Sourced by the other tools.

faster_packages=() # that the control file does not name
build_packages=(gcc libc6-dev cmake ninja-build pkg-config libsodium-dev libevent-dev libconfuse-dev libjansson-dev libsystemd-dev libssl-dev)
if [[ $(dpkg --print-architecture 2>/dev/null) == amd64 ]]; then
	build_packages+=(libipsec-mb-dev) # Debian has it there alone
	if (($(. /etc/os-release && [[ $ID == debian ]] && echo "${VERSION_ID:-0}" || echo 0) >= 13)); then
		faster_packages+=(lib25519-dev) # Debian 12 has none
	fi
fi
build_packages+=("${faster_packages[@]}")
test_packages=(g++ python3 python3-pytest python3-cryptography gdb valgrind mandoc procps openssl
	clang libclang-rt-dev llvm binutils systemd util-linux wrk openssh-client rsync)
# Other people's daemons, which tests start for themselves. Their packages make services of them: only for a machine that nobody
# uses otherwise, which CI=true says, or that starts no services. Elsewhere the tests say what is missing.
daemon_packages=(postgresql redis-server nginx openssh-server iperf3 haproxy)
# For the clean roots in which packages are built and tried.
deb_packages=(debootstrap mmdebstrap git perl util-linux iproute2)

# packages_missing NAME...: those that are not installed, one a line. A package that another provides counts as it.
packages_missing() {
	local name have
	have=" $(dpkg-query -W -f '${db:Status-Abbrev}|${Package}, ${Provides}\n' 2>/dev/null |
		sed -n 's/^ii *|//p' | sed 's/([^)]*)//g' | tr -s ',\n ' ' ') "
	for name in "$@"; do
		case $have in *" $name "*) ;; *) echo "$name" ;; esac
	done
}

# Runs its arguments as root, and keeps packages meanwhile from starting the daemons that they bring.
packages_quietly='policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap "rm -f $policy" EXIT
		printf "#!/bin/sh\nexit 101\n" >"$policy" && chmod 755 "$policy"
	fi
	"$@"'

# packages_install NAME...: installs what is missing with apt, without a question; says so in one line. Returns 1, with what to
# do about it on stderr, if that can't be done.
packages_install() {
	local missing log as_root=() quietly rc=0
	if ! command -v apt-get >/dev/null; then
		return 0 # not Debian: cmake will name what it does not find
	fi
	mapfile -t missing < <(packages_missing "$@")
	((${#missing[@]})) || return 0
	if ((EUID != 0)); then
		if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
			printf 'Packages are missing, and installing them needs root:\n\n  sudo apt-get install %s\n\n' "${missing[*]}" >&2
			return 1
		fi
		as_root=(sudo -n)
	fi
	printf 'installing %d packages with apt: %s\n' "${#missing[@]}" "${missing[*]}"
	log=$(mktemp)
	quietly=("${as_root[@]}" sh -c "$packages_quietly" sh)
	as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
	{ "${as_root[@]}" update && "${quietly[@]}" "${as_root[@]}" install -y --no-install-recommends "${missing[@]}"; } \
		>"$log" 2>&1 </dev/null || rc=1
	((rc == 0)) || { cat "$log" >&2; echo "apt could not install the packages" >&2; }
	rm -f "$log"
	return "$rc"
}
