# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# process.sh - background processes that outlive this script.
#
# $dir/NAME.pid holds "PID STARTTIME".  The start time (clock ticks since
# boot) tells our process from a later one with the same number, so a pid
# file left by a crash or a reboot is harmless.

start_time() { # PID; fails when it is gone or only waits to be reaped
	local stat fields
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	read -ra fields <<<"${stat##*) }" # the name may hold blanks
	[ "${fields[0]}" != Z ] && echo "${fields[19]}"
}

pid_of() { # NAME; prints the pid, fails when NAME does not run
	local pid started
	[ -s "$dir/$1.pid" ] || return 1
	read -r pid started <"$dir/$1.pid" || return 1
	[ "$(start_time "$pid")" = "${started:-none}" ] && echo "$pid"
}

is_running() {
	pid_of "$1" >/dev/null
}

launch() { # NAME COMMAND...
	local name=$1 pid
	shift
	# A session of its own: Ctrl-C in the terminal is not for it.
	setsid "$@" >>"$dir/$name.log" 2>&1 </dev/null 9>&- &
	pid=$!
	echo "$pid $(start_time "$pid")" >"$dir/$name.pid"
}

# Returns as soon as COMMAND succeeds; ends the script when NAME dies first.
wait_until() { # NAME SECONDS WHAT COMMAND...
	local name=$1 what=$3 begin=$SECONDS told=$SECONDS
	local limit=$(($2 * ${LOCAL_PATIENCE:-1}))
	shift 3
	until "$@" >/dev/null 2>&1; do
		is_running "$name" || give_up "$name" "ended before $what"
		((SECONDS - begin < limit)) ||
			give_up "$name" "gave up waiting for $what after $limit s"
		if ((SECONDS - told >= 2)); then
			told=$SECONDS
			say "$name" "waiting for $what ($((SECONDS - begin)) s)"
		fi
		sleep 0.05
	done
}

give_up() { # NAME WHY
	tail -n 15 "$dir/$1.log" | sed "s/^/    /" >&2
	die "$1: $2 (all of it: $dir/$1.log)"
}

send() { # NAME SIGNAL; nothing when it does not run
	local pid
	pid=$(pid_of "$1") || return 0
	kill "-$2" "$pid" 2>/dev/null || true
}

wait_gone() { # NAME SECONDS; after that it is killed
	local name=$1 limit=$2 begin=$SECONDS told=$SECONDS
	while is_running "$name"; do
		if ((SECONDS - begin >= limit)); then
			say "$name" "still there after $limit s: killed"
			send "$name" KILL
			limit=$((limit + 5))
		elif ((SECONDS - told >= 2)); then
			told=$SECONDS
			say "$name" "waiting for its end ($((SECONDS - begin)) s)"
		fi
		sleep 0.05
	done
	rm -f "$dir/$name.pid"
}
