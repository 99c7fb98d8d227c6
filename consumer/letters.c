/* SPDX-License-Identifier: MIT */
#include "consumer/letters.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka_scan.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/pg.h"
#include "consumer/letter.h"
#include "consumer/letter_print.h"
#include "consumer/letter_sender.h"
#include "consumer/letter_store.h"
#include "consumer/letters_command.h"

#include <assert.h>
#include <inttypes.h>

/*
 * DESIGN
 *
 * The topic is read from its first message to its present end; a chunk of it
 * at a time is looked up in PostgreSQL, acted upon, and forgotten, so memory
 * is bounded whatever the topic holds.
 *
 * Kafka cannot forget a single message.  What was done with one is a row of
 * dead_letter_mark; a replay is marked after Kafka has acknowledged it, so an
 * interruption can send a letter twice, which the consumer takes as once,
 * and never lose one.  The check for a final state and the sending are not
 * one step either, and need not be: a request that ends in between is a late
 * copy to the consumer.
 */
#define CHUNK_SIZE 500
#define CHUNK_BYTES (16 << 20)
#define ASK_NS (10 * NS_PER_S)   /* is Kafka there at all? */
#define READ_NS (300 * NS_PER_S) /* the whole topic */

struct run {
	const struct settings *settings;
	struct letters_command command;
	struct letter_store store;
	struct letter_sender *sender; /* NULL until there is one to send */
	struct letter letters[CHUNK_SIZE];
	size_t n;
	size_t bytes;
	size_t done; /* or would be */
	size_t refused;
};

/* ---- what happens to one chunk ---- */

static void
forget_from(struct run *run, size_t first)
{
	for (size_t i = first; i < run->n; i++)
		letter_fini(&run->letters[i]);
	run->n = first;
}

/* Keep those that `keep` takes, in their order. */
static void
filter(struct run *run, bool (*keep)(struct run *, const struct letter *))
{
	size_t kept = 0;

	for (size_t i = 0; i < run->n; i++) {
		struct letter letter = run->letters[i];

		if (keep(run, &letter))
			run->letters[kept++] = letter;
		else
			letter_fini(&letter);
	}
	run->n = kept;
}

static bool
is_wanted(struct run *run, const struct letter *letter)
{
	return letters_command_wants(&run->command, letter);
}

static void
say(const struct letter *letter, const char *what, const char *detail)
{
	printf("%" PRId32 ":%" PRId64 "  %s", letter->partition, letter->offset,
		what);
	letter_print_bytes(stdout, detail, strlen(detail));
	if (letter->identified)
		printf("  coupon=%" PRId64 " user=%" PRId64 " request=%s",
			letter->message.coupon_id, letter->message.user_id,
			letter->message.request_id);
	putchar('\n');
}

static bool
can_be_replayed(struct run *run, const struct letter *letter)
{
	struct error err;

	if (letter_check_replay(letter, &err) == 0)
		return true;
	say(letter, "refused: ", err.msg);
	run->refused++;
	return false;
}

static bool
can_be_discarded(struct run *run, const struct letter *letter)
{
	if (letter->mark != MARK_DISCARDED)
		return true;
	say(letter, "refused: discarded at ", letter->marked_at);
	run->refused++;
	return false;
}

/* Those that Kafka has first; the others go. */
static bool
was_sent(struct run *run, const struct letter *letter)
{
	(void)run;
	return letter->sent;
}

static int
send_letters(struct run *run, struct error *err)
{
	int rc = 0;

	if (run->sender == NULL)
		rc = letter_sender_new(run->settings, &run->sender, err);
	if (rc == 0)
		rc = letter_sender_send(run->sender, run->letters, run->n, err);
	filter(run, was_sent);
	return rc;
}

static int
mark(struct run *run, enum letter_mark mark, struct error *err)
{
	if (run->n == 0)
		return 0;
	int rc =
		letter_store_mark(&run->store, run->letters, run->n, mark, err);
	for (size_t i = 0; i < run->n; i++)
		say(&run->letters[i],
			mark == MARK_REPLAYED ? "replayed" : "discarded",
			rc == 0 ? "" : ", but this was not recorded");
	run->done += run->n;
	return rc;
}

static int
replay(struct run *run, struct error *err)
{
	struct error ignored;

	filter(run, can_be_replayed);
	if (!run->command.execute) {
		for (size_t i = 0; i < run->n; i++)
			say(&run->letters[i], "would be replayed", "");
		run->done += run->n;
		return 0;
	}
	if (run->n == 0)
		return 0;
	int rc = send_letters(run, err);
	int marked = mark(run, MARK_REPLAYED, rc == 0 ? err : &ignored);
	return rc != 0 ? rc : marked;
}

static int
discard(struct run *run, struct error *err)
{
	filter(run, can_be_discarded);
	if (run->command.execute)
		return mark(run, MARK_DISCARDED, err);
	for (size_t i = 0; i < run->n; i++)
		say(&run->letters[i], "would be discarded", "");
	run->done += run->n;
	return 0;
}

static void
print(const struct run *run,
	void (*print_one)(FILE *out, const struct letter *letter))
{
	for (size_t i = 0; i < run->n; i++)
		print_one(stdout, &run->letters[i]);
}

static int
act(struct run *run, struct error *err)
{
	const bool json = run->command.json;

	switch (run->command.verb) {
	case LETTERS_LIST:
		print(run, json ? letter_print_json : letter_print_row);
		break;
	case LETTERS_SHOW:
		print(run, json ? letter_print_json : letter_print_text);
		break;
	case LETTERS_REPLAY:
		return replay(run, err);
	case LETTERS_DISCARD:
		return discard(run, err);
	case LETTERS_HELP:
		break;
	}
	return 0;
}

static int
finish_chunk(struct run *run, struct error *err)
{
	int rc = run->n == 0 ? 0
			     : letter_store_look_up(
				       &run->store, run->letters, run->n, err);

	if (rc == 0) {
		filter(run, is_wanted);
		rc = act(run, err);
	}
	forget_from(run, 0);
	run->bytes = 0;
	return rc;
}

/* ---- reading ---- */

static int
take_letter(void *arg, const rd_kafka_message_t *raw, struct error *err)
{
	struct run *run = arg;

	letter_init(&run->letters[run->n++], raw);
	if (!letters_command_selects(&run->command, &run->letters[run->n - 1]))
		forget_from(run, run->n - 1);
	else
		run->bytes += raw->len;
	return run->n == CHUNK_SIZE || run->bytes >= CHUNK_BYTES
		       ? finish_chunk(run, err)
		       : 0;
}

static int
read_topic(struct run *run, struct error *err)
{
	struct kafka_scan scan = {
		.topic = run->settings->kafka_dead_letter_topic,
		.arg = run,
		.deadline_ns = clock_now_ns() + ASK_NS,
	};
	struct kafka_scan_partition *partitions;
	size_t n;
	int rc = kafka_scan(run->settings, &scan, &partitions, &n, err);

	if (rc != 0)
		return rc;
	free(partitions);
	if (run->command.verb == LETTERS_LIST && !run->command.json)
		letter_print_head(stdout);
	scan.message = take_letter;
	scan.deadline_ns = clock_now_ns() + READ_NS;
	rc = kafka_scan(run->settings, &scan, &partitions, &n, err);
	if (rc == 0)
		free(partitions);
	return rc == 0 ? finish_chunk(run, err) : rc;
}

/* ---- the whole ---- */

static void
report_missing(struct run *run)
{
	for (size_t i = 0; i < run->command.n_ids; i++) {
		const struct letter_id *id = &run->command.ids[i];

		if (id->found)
			continue;
		printf("%" PRId32 ":%" PRId64 "  not found\n", id->partition,
			id->offset);
		run->refused++;
	}
}

static void
report_total(const struct run *run)
{
	const struct letters_command *command = &run->command;

	if (command->verb != LETTERS_REPLAY && command->verb != LETTERS_DISCARD)
		return;
	printf("%zu %s%s, %zu refused or not found%s\n", run->done,
		command->execute ? "" : "would be ",
		command->verb == LETTERS_REPLAY ? "replayed" : "discarded",
		run->refused,
		command->execute ? "" : "; nothing was done: add --execute");
}

static int
run_command(struct run *run, struct error *err)
{
	struct metrics *metrics = metrics_new();
	struct settings own = *run->settings;
	struct pg_pools *pools;

	own.datasource_maximum_pool_size = 1;
	own.datasource_minimum_idle = 1;
	int rc =
		pg_pools_new(&own, "coupon-dead-letters", metrics, &pools, err);
	if (rc == 0) {
		run->store = (struct letter_store){ pg_write_pool(pools),
			own.kafka_dead_letter_topic };
		rc = read_topic(run, err);
		if (pg_pools_drain(pools, clock_now_ns() + NS_PER_S))
			pg_pools_free(pools);
	}
	metrics_free(metrics);
	letter_sender_free(run->sender);
	forget_from(run, 0);
	return rc;
}

static int
exit_status(const struct run *run)
{
	return run->refused > 0 ? LETTERS_REFUSED : LETTERS_DONE;
}

int
letters_main(const struct settings *settings, int argc, char **argv)
{
	struct run *run = must(calloc(1, sizeof(*run)));
	struct error err;
	int status = LETTERS_USAGE;

	run->settings = settings;
	log_set_level(LOG_LEVEL_OFF); /* one sentence says what went wrong */
	if (letters_command_parse(&run->command, argc, argv, &err) != 0) {
		(void)fprintf(stderr, "consumer: %s\n", err.msg);
	} else if (run->command.verb == LETTERS_HELP) {
		(void)fputs(letters_usage, stdout);
		status = LETTERS_DONE;
	} else if (run_command(run, &err) != 0) {
		(void)fprintf(stderr, "consumer: %s\n", err.msg);
		status = LETTERS_FAILED;
	} else {
		report_missing(run);
		report_total(run);
		status = exit_status(run);
	}
	letters_command_fini(&run->command);
	free(run);
	return status;
}
