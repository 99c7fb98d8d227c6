# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# monitoring.sh - Prometheus and Alertmanager beside the stack, our rules.
#
# The configuration is made anew at each start, the rules are read where they
# are: after an edit, `curl -X POST http://localhost:19090/-/reload`.

monitoring_fill() { # TEMPLATE FILE
	sed -e "s|@INTERVAL@|$scrape_interval|g" \
		-e "s|@RULES@|$root/deploy/monitoring/rules|g" \
		-e "s|@API_PORT@|$api_port|g" \
		-e "s|@CONSUMER_PORT@|$consumer_port|g" \
		-e "s|@ALERTMANAGER_PORT@|$alertmanager_port|g" \
		-e "s|@WEBHOOK@|$alert_webhook|g" \
		"$root/deploy/monitoring/$1" >"$2"
}

alertmanager_start() {
	require_free_port alertmanager "$alertmanager_port" \
		LOCAL_ALERTMANAGER_PORT
	mkdir -p "$dir/alertmanager"
	monitoring_fill alertmanager.yml.in "$dir/alertmanager/alertmanager.yml"
	launch alertmanager prometheus-alertmanager \
		--config.file="$dir/alertmanager/alertmanager.yml" \
		--storage.path="$dir/alertmanager/data" \
		--web.listen-address="127.0.0.1:$alertmanager_port" \
		--cluster.listen-address=
}

prometheus_start() {
	require_free_port prometheus "$prometheus_port" LOCAL_PROMETHEUS_PORT
	mkdir -p "$dir/prometheus"
	monitoring_fill prometheus.yml.in "$dir/prometheus/prometheus.yml"
	launch prometheus prometheus \
		--config.file="$dir/prometheus/prometheus.yml" \
		--storage.tsdb.path="$dir/prometheus/data" \
		--storage.tsdb.retention.time=7d \
		--web.listen-address="127.0.0.1:$prometheus_port" \
		--web.enable-lifecycle
}

monitoring_wait() { # NAME
	wait_until "$1" 300 readiness curl -fsS --noproxy '*' -m 2 \
		"http://127.0.0.1:$(port_of "$1")/-/ready"
}

alertmanager_wait() { monitoring_wait alertmanager; }
prometheus_wait() { monitoring_wait prometheus; }
