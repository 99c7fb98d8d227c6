# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# common.sh - where the local stack lives, its ports, and how it speaks.
#
# Sourced by every script here.  LOCAL_DIR and LOCAL_*_PORT move the whole
# stack elsewhere: that is how the system tests run beside `make run`.
# Ports stay below 32768, where the kernel hands out none by itself.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
dir=${LOCAL_DIR:-$root/build/local}
bin=${LOCAL_BIN:-$root/build/release/bin}
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/coupon

address=${LOCAL_ADDRESS:-127.0.0.1}        # the daemons'; the rest is loopback
api_port=${LOCAL_API_PORT:-8080}
consumer_port=${LOCAL_CONSUMER_PORT:-8081}
redis_port=${LOCAL_REDIS_PORT:-16379}
postgres_port=${LOCAL_POSTGRES_PORT:-15432}
kafka_port=${LOCAL_KAFKA_PORT:-19092}
kafka_advertised_port=${LOCAL_KAFKA_ADVERTISED_PORT:-$kafka_port} # a proxy's
# What the daemons are told, when something stands between (make drill).
daemon_redis_port=${LOCAL_DAEMON_REDIS_PORT:-$redis_port}
daemon_postgres=${LOCAL_DAEMON_POSTGRES:-127.0.0.1:$postgres_port/coupon}
kafka_controller_port=${LOCAL_KAFKA_CONTROLLER_PORT:-$((kafka_port + 1))}
prometheus_port=${LOCAL_PROMETHEUS_PORT:-19090}
alertmanager_port=${LOCAL_ALERTMANAGER_PORT:-19094}
scrape_interval=${LOCAL_SCRAPE_INTERVAL:-5s}
# Where Alertmanager sends its messages; by default nobody listens.
alert_webhook=${LOCAL_ALERT_WEBHOOK:-http://127.0.0.1:19095/}

say() {
	printf '  %-10s %s\n' "$1" "${*:2}"
}

# One at a time: whoever holds FILE as descriptor 9.
take_turn() { # FILE WHO
	exec 9>"$1"
	flock -n 9 && return
	say "$2" "waiting for another that is at it" >&2
	flock 9
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}
