/* SPDX-License-Identifier: MIT */
/*
 * kafka - what every librdkafka client of ours has in common: its settings,
 * its log, its errors, its statistics.
 */
#ifndef COMMON_KAFKA_H
#define COMMON_KAFKA_H

#include "common/compiler.h"

#include <librdkafka/rdkafka.h>
#include <stddef.h>

struct error;
struct settings;

enum kafka_role { KAFKA_PRODUCER, KAFKA_CONSUMER, KAFKA_ADMIN };

/*
 * A configuration with bootstrap servers, our defaults for the role (kafka.c
 * says why each), kafka.properties.* on top, and above those the few that our
 * guarantees stand on.  librdkafka's log lines go to ours.  `opaque` is what
 * callbacks get.
 * -ERROR_CONFIG_INVALID names the property librdkafka refused, or one that
 * has a key of its own (group.id).  A property of the other role (a
 * consumer's in the producer) changes nothing and is not complained about; a
 * known one that this librdkafka is too old for is left out.
 */
int kafka_conf_new(const struct settings *settings, enum kafka_role role,
	void *opaque, rd_kafka_conf_t **ret, struct error *err) NODISCARD;

/*
 * rd_kafka_new(): takes *conf, which becomes NULL on success and is destroyed
 * on failure (-ERROR_CONFIG_INVALID: librdkafka refused the combination).
 */
int kafka_open(enum kafka_role role, rd_kafka_conf_t **conf, rd_kafka_t **ret,
	struct error *err) NODISCARD;

/* Out of the statistics that librdkafka hands to stats_cb every second. */
struct kafka_stats {
	int brokers_up; /* connected; -1 when `json` cannot be read */
	int leaderless; /* partitions, known to this client, without a leader */
	int missing;    /* topics of this client that Kafka says do not exist */
};
void kafka_stats_read(const char *json, size_t len, struct kafka_stats *ret);

/* Would librdkafka take kafka.properties.*?  Talks to nobody. */
int kafka_check(const struct settings *settings, struct error *err) NODISCARD;

#endif
