# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# port.sh - who listens on a TCP port, from /proc: no tool, no connection.

listening_inodes() { # PORT; socket inodes in state LISTEN (0A)
	local hex
	printf -v hex ':%04X' "$1"
	awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port {
		print $10 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

is_listening() {
	[ -n "$(listening_inodes "$1")" ]
}

listener_of() { # PORT; prints "PID (command line)"
	local inode fd pid
	inode=$(listening_inodes "$1" | head -n 1)
	for fd in /proc/[0-9]*/fd/*; do
		[ "$(readlink "$fd" 2>/dev/null)" = "socket:[$inode]" ] || continue
		pid=${fd#/proc/}
		pid=${pid%%/*}
		echo "$pid ($(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c 1-70))"
		return
	done
	echo "of another user"
}

require_free_port() { # NAME PORT VARIABLE
	is_listening "$2" || return 0
	die "$1: port $2 is in use by process $(listener_of "$2");" \
		"stop it, or choose another: make run $3=PORT"
}
