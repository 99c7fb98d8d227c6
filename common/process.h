/* SPDX-License-Identifier: MIT */
/*
 * process - what the system says of this process, for metrics and /info.
 * Any thread.
 */
#ifndef COMMON_PROCESS_H
#define COMMON_PROCESS_H

#include <stdint.h>

struct metrics;

/*
 * CPU, memory, threads, descriptors, start time, uptime: under the names a
 * Spring operator knows and under Prometheus' standard ones.  Once a process.
 */
void process_metrics_register(struct metrics *metrics);

/* When it was started, unix milliseconds; 0 when /proc does not say. */
int64_t process_start_ms(void);

#endif
