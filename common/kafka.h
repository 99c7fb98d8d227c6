/* SPDX-License-Identifier: MIT */
/*
 * kafka - what every librdkafka client of ours has in common: its settings,
 * its log, its errors, its statistics.
 */
#ifndef COMMON_KAFKA_H
#define COMMON_KAFKA_H

#include "common/compiler.h"

#include <librdkafka/rdkafka.h>
#include <stdint.h>

struct error;
struct metrics;
struct settings;

enum kafka_role { KAFKA_PRODUCER, KAFKA_CONSUMER, KAFKA_ADMIN };

/*
 * A configuration with bootstrap servers, our defaults for the role
 * (docs/architecture.md says why each) and kafka.properties.* on top.
 * librdkafka's log lines go to ours.  `opaque` is what callbacks get.
 * -ERROR_CONFIG_INVALID names the property librdkafka refused; a property of
 * the other role (a consumer's in the producer) is left out silently.
 */
int kafka_conf_new(const struct settings *settings, enum kafka_role role,
	void *opaque, rd_kafka_conf_t **ret, struct error *err) NODISCARD;

/* For --check: would librdkafka take kafka.properties.*? */
int kafka_check(const struct settings *settings, struct error *err) NODISCARD;

#endif
