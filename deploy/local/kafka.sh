# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# kafka.sh - a private one-node Apache Kafka (KRaft) under $dir/kafka.
#
# It starts twice as fast with a class archive.  The first broker to end
# cleanly leaves one in the cache for all later ones.

kafka_version=4.4.0
kafka_home=$cache/kafka-$kafka_version

kafka_archive() { # one per Java: another one's would be ignored
	local java
	java=$(readlink -f "$(command -v java)")
	echo "$kafka_home/classes-$(stat -c %Y "$java").jsa"
}

kafka_configure() {
	sed -e "s|@PORT@|$kafka_port|g" -e "s|@DATA@|$dir/kafka/log|g" \
		-e "s|@CONTROLLER_PORT@|$kafka_controller_port|g" \
		-e "s|@ADVERTISED_PORT@|$kafka_advertised_port|g" \
		"$root/deploy/local/kafka.properties.in" \
		>"$dir/kafka/server.properties"
	[ -e "$dir/kafka/log/meta.properties" ] && return 0
	say kafka "formatting $dir/kafka/log"
	java -Xmx64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
		-XX:-UsePerfData \
		-cp "$kafka_home/lib/*" kafka.tools.StorageTool format \
		--standalone -t AAAAAAAAAAAAAAAAAAAAAQ \
		-c "$dir/kafka/server.properties" >>"$dir/kafka.log" 2>&1 ||
		give_up kafka "could not format its directory"
}

kafka_start() {
	local archive
	require_free_port kafka "$kafka_port" LOCAL_KAFKA_PORT
	require_free_port kafka "$kafka_controller_port" \
		LOCAL_KAFKA_CONTROLLER_PORT
	mkdir -p "$dir/kafka"
	kafka_configure
	archive=-XX:SharedArchiveFile=$(kafka_archive)
	[ -e "$(kafka_archive)" ] ||
		archive=-XX:ArchiveClassesAtExit=$dir/kafka/classes.jsa
	launch kafka java -Xms64m -Xmx256m -XX:+UseSerialGC \
		-XX:TieredStopAtLevel=1 -XX:-UsePerfData "$archive" \
		-Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
		-cp "$kafka_home/lib/*" kafka.Kafka "$dir/kafka/server.properties"
}

kafka_wait() {
	# It opens the port only when it is ready to serve.
	wait_until kafka 300 "its port" is_listening "$kafka_port"
	[ -x "$bin/coupon-topic" ] || die "$bin/coupon-topic: run make first"
	# One, as an event begins; docs/runbook.md grows it to three.
	kafka_topic_exists coupon-issue-requests 1
	kafka_topic_exists coupon-issue-requests.dlq 1
}

kafka_topic_exists() { # TOPIC PARTITIONS
	"$bin/coupon-topic" --bootstrap-server "127.0.0.1:$kafka_port" \
		--create --if-not-exists --topic "$1" --partitions "$2" \
		>>"$dir/kafka.log" 2>&1 || give_up kafka "no topic $1"
}

kafka_stopped() {
	local archive
	archive=$(kafka_archive)
	[ -e "$dir/kafka/classes.jsa" ] || return 0
	if [ ! -e "$archive" ]; then # two may do this at once: rename last
		cp "$dir/kafka/classes.jsa" "$archive.$$"
		mv "$archive.$$" "$archive"
	fi
	rm -f "$dir/kafka/classes.jsa"
}
