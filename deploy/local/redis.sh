# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# redis.sh - a private Redis under $dir/redis.

redis_start() {
	require_free_port redis "$redis_port" LOCAL_REDIS_PORT
	mkdir -p "$dir/redis"
	launch redis redis-server "$root/deploy/local/redis.conf" \
		--port "$redis_port" --dir "$dir/redis"
}

redis_wait() {
	# -e: the reply LOADING is a failure, too.
	wait_until redis 300 "its data to be loaded" \
		redis-cli -e -p "$redis_port" ping
}
