# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# daemons.sh - our own two, pointed at the stack beside them.
#
# $dir/api.yaml and $dir/consumer.yaml are copies to play with; an edit is
# taken by `kill -HUP` or POST /actuator/refresh.

daemon_configure() { # api | consumer
	if [ ! -s "$dir/admin-token" ]; then
		(umask 077 && head -c 24 /dev/urandom | base64 | tr '+/' '-_' \
			>"$dir/admin-token.new")
		mv "$dir/admin-token.new" "$dir/admin-token"
	fi
	cp --update "$root/$1/$1.yaml" "$dir/$1.yaml"
}

# Prints the command line, one argument per line; the tests start more
# daemons with it.
daemon_command() { # api | consumer, PORT
	daemon_configure "$1"
	printf '%s\n' "$bin/$1" --config "$dir/$1.yaml" \
		--set "server.address=$address" --set "server.port=$2" \
		--set "redis.port=$daemon_redis_port" \
		--set "kafka.bootstrap-servers=127.0.0.1:$kafka_port" \
		--set "datasource.url=postgresql://coupon@$daemon_postgres" \
		--set "admin.token-file=$dir/admin-token" \
		--set "console.consumer-urls=:$consumer_port"
}

daemon_start() { # api | consumer
	local port command
	port=$(port_of "$1")
	require_free_port "$1" "$port" "LOCAL_${1^^}_PORT"
	mapfile -t command < <(daemon_command "$1" "$port")
	launch "$1" "${command[@]}"
}

daemon_wait() { # api | consumer
	wait_until "$1" 300 "readiness" curl -fsS --noproxy '*' -m 2 \
		"http://127.0.0.1:$(port_of "$1")/actuator/health/readiness"
}

# It runs, but not this program (rebuilt since) or not with these ports.
daemon_is_outdated() { # api | consumer
	local pid
	pid=$(pid_of "$1") || return 1
	[[ $(readlink "/proc/$pid/exe") == *' (deleted)' ]] && return 0
	! daemon_command "$1" "$(port_of "$1")" | tr '\n' '\0' |
		cmp -s - "/proc/$pid/cmdline"
}

api_start() { daemon_start api; }
api_wait() { daemon_wait api; }
consumer_start() { daemon_start consumer; }
consumer_wait() { daemon_wait consumer; }
