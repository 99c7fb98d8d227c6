# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# port.sh - who listens on a TCP port, from /proc: no tool, no connection.

# "INODE UID" of sockets in state LISTEN (0A) that a server on 127.0.0.1, or a
# client of localhost, would meet: there, on ::1 or on every address.
listeners() { # PORT
	local hex
	printf -v hex ':%04X' "$1"
	awk -v port="$hex" '$4 == "0A" && sub(port "$", "", $2) &&
		$2 ~ /^0+$|0100007F$|^0+1000000$/ { print $10, $8 }' \
		/proc/net/tcp /proc/net/tcp6 2>/dev/null
}

is_listening() {
	[ -n "$(listeners "$1")" ]
}

listener_of() { # PORT; prints "process PID (command line)"
	local inode user fd pid
	read -r inode user < <(listeners "$1") || true
	fd=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" -print -quit \
		2>/dev/null || true)
	if [ -z "$fd" ]; then # not ours to look into
		echo "a process of user $(id -nu "$user" 2>/dev/null || echo "$user")"
		return
	fi
	pid=${fd#/proc/}
	pid=${pid%%/*}
	echo "process $pid ($(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c 1-70))"
}

require_free_port() { # NAME PORT VARIABLE
	is_listening "$2" || return 0
	die "$1: port $2 is in use by $(listener_of "$2");" \
		"stop it, or choose another: make run $3=PORT"
}
