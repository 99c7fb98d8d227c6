# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# postgres.sh - a private PostgreSQL cluster under $dir/postgres.
#
# PostgreSQL refuses to run as root: then it runs as the user `postgres` that
# its package made.  When that user cannot reach the directory (a clone below
# /root), the process gets the one capability that lets it.

postgres_data=$dir/postgres

postgres_bin() { # newest version, or the one that made the data
	local version
	version=$(cat "$postgres_data/PG_VERSION" 2>/dev/null ||
		find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' |
		sort -V | tail -n 1)
	echo "/usr/lib/postgresql/$version/bin"
}

postgres_user=()
postgres_choose_user() {
	[ "$(id -u)" = 0 ] || return 0
	postgres_user=(setpriv --reuid=postgres --regid=postgres --init-groups)
	"${postgres_user[@]}" test -x "$dir" ||
		postgres_user+=(--inh-caps=+dac_override
			--ambient-caps=+dac_override)
}

postgres_init() { # made beside, then renamed: whole or not there
	[ -e "$postgres_data/PG_VERSION" ] && return 0
	say postgres "creating a cluster in $postgres_data"
	rm -rf "$postgres_data.new"
	mkdir -m 700 "$postgres_data.new"
	if [ "$(id -u)" = 0 ]; then
		chown postgres: "$postgres_data.new"
	fi
	(cd / && "${postgres_user[@]}" "$(postgres_bin)/initdb" \
		-D "$postgres_data.new" -U postgres -A trust -E UTF8 \
		--locale=C.UTF-8) >>"$dir/postgres.log" 2>&1 </dev/null ||
		give_up postgres "initdb failed"
	mv "$postgres_data.new" "$postgres_data"
}

# After a crash its own pid file may name somebody else's process.
postgres_forget_stale_pid() {
	local pid
	[ -e "$postgres_data/postmaster.pid" ] || return 0
	pid=$(head -n 1 "$postgres_data/postmaster.pid")
	[ "$(readlink "/proc/$pid/cwd")" = "$postgres_data" ] &&
		die "postgres: process $pid still uses $postgres_data"
	rm -f "$postgres_data/postmaster.pid"
}

postgres_start() {
	require_free_port postgres "$postgres_port" LOCAL_POSTGRES_PORT
	postgres_choose_user
	postgres_init
	postgres_forget_stale_pid
	launch postgres "${postgres_user[@]}" "$(postgres_bin)/postgres" \
		-D "$postgres_data" -c port="$postgres_port" \
		-c listen_addresses=127.0.0.1 -c unix_socket_directories= \
		-c logging_collector=off -c max_connections=200
}

postgres_wait() {
	wait_until postgres 300 "recovery" \
		psql -h 127.0.0.1 -p "$postgres_port" -U postgres -c 'SELECT 1'
	psql -q -h 127.0.0.1 -p "$postgres_port" -U postgres <<-'SQL'
		SELECT 'CREATE ROLE coupon LOGIN' WHERE NOT EXISTS
			(SELECT FROM pg_roles WHERE rolname = 'coupon') \gexec
		SELECT 'CREATE DATABASE coupon OWNER coupon' WHERE NOT EXISTS
			(SELECT FROM pg_database WHERE datname = 'coupon') \gexec
	SQL
}
