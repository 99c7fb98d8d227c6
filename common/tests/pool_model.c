/* SPDX-License-Identifier: MIT */
#include "common/tests/pool_model.h"

#include "common/clock.h"

#include <assert.h>

#define SWEEP (100 * NS_PER_MS) /* a tenth of the shortest time, 1 s */

static struct model_conn
take(struct model_conns *list, size_t i)
{
	const struct model_conn conn = list->at[i];

	assert(i < list->n);
	memmove(&list->at[i], &list->at[i + 1],
		(list->n - i - 1) * sizeof(conn));
	list->n--;
	return conn;
}

static void
append(struct model_conns *list, struct model_conn conn)
{
	assert(list->n < MODEL_CONNS - 1);
	list->at[list->n++] = conn;
}

static void
prepend(struct model_conns *list, struct model_conn conn)
{
	assert(list->n < MODEL_CONNS - 1);
	memmove(&list->at[1], &list->at[0], list->n * sizeof(conn));
	list->at[0] = conn;
	list->n++;
}

size_t
model_total(const struct model *m)
{
	return m->idle.n + m->lent.n + m->checking.n;
}

static size_t
min_idle(const struct model *m)
{
	size_t n = m->config.min_idle;

	n = n < m->config.max_idle ? n : m->config.max_idle;
	return n < m->config.max_active ? n : m->config.max_active;
}

static int
leave_queue(struct model *m, size_t place)
{
	const int waiter = m->queue[place];
	const size_t after = m->waiting - place - 1;

	memmove(&m->queue[place], &m->queue[place + 1], after * sizeof(int));
	memmove(&m->queued_at[place], &m->queued_at[place + 1],
		after * sizeof(int64_t));
	m->waiting--;
	return waiter;
}

static void
answer_head(struct model *m, const struct pool_conn *conn)
{
	m->answers[m->n_answers++] =
		(struct model_answer){ leave_queue(m, 0), conn };
}

static bool
expired(const struct model *m, const struct model_conn *conn)
{
	return m->now - conn->opened >= m->config.max_lifetime_ns;
}

static bool
nobody_is_served(const struct model *m)
{
	return m->waiting == 0 || m->suspended;
}

/* A connection that is in no list at the moment; `checked`: it was idle. */
static void
place(struct model *m, struct model_conn conn, bool checked)
{
	if (m->drained || conn.generation != m->generation ||
		expired(m, &conn) || model_total(m) >= m->config.max_active ||
		(nobody_is_served(m) && m->idle.n >= m->config.max_idle)) {
		m->closing++;
	} else if (!nobody_is_served(m)) {
		conn.since = m->now;
		append(&m->lent, conn);
		answer_head(m, conn.real);
	} else if (checked) {
		prepend(&m->idle, conn);
	} else {
		conn.since = m->now;
		append(&m->idle, conn);
	}
}

enum error_kind
model_request(struct model *m, int waiter, const struct pool_conn **lent)
{
	if (m->drained)
		return ERROR_CLOSED;
	if (m->idle.n > 0 && m->waiting == 0 && !m->suspended) {
		struct model_conn conn = take(&m->idle, m->idle.n - 1);

		conn.since = m->now;
		append(&m->lent, conn);
		*lent = conn.real;
		return ERROR_NONE;
	}
	if (m->failing && model_total(m) == 0 && !m->suspended)
		return ERROR_CONNECT_FAILING;
	if (m->waiting >= m->config.max_waiters)
		return m->suspended ? ERROR_SUSPENDED : ERROR_QUEUE_FULL;
	m->queued_at[m->waiting] = m->now;
	m->queue[m->waiting++] = waiter;
	return ERROR_BUSY;
}

enum error_kind
model_cancel(struct model *m, size_t at, bool timed_out)
{
	(void)leave_queue(m, at);
	m->timeouts += timed_out;
	if (m->suspended)
		return ERROR_SUSPENDED;
	return m->failing && model_total(m) == 0 ? ERROR_CONNECT_FAILING
						 : ERROR_EXHAUSTED;
}

void
model_release(struct model *m, size_t i, enum pool_return how)
{
	struct model_conn conn = take(&m->lent, i);

	conn.checked = m->now;
	if (how == POOL_DESTROY)
		m->closing++;
	else
		place(m, conn, false);
}

static bool
wants_open(const struct model *m)
{
	const size_t opening = m->opening.n;
	size_t need = m->waiting;

	if (m->drained || m->suspended || (m->failing && m->now < m->retry))
		return false;
	if (m->idle.n < min_idle(m))
		need += min_idle(m) - m->idle.n;
	if (m->failing && model_total(m) == 0 && need == 0)
		need = 1;
	return need > opening &&
	       opening < (m->failing ? 1 : m->config.max_opening) &&
	       model_total(m) + opening + m->closing < m->config.max_active;
}

enum model_work
model_take(struct model *m, const struct pool_conn **check)
{
	if (wants_open(m))
		return MODEL_OPEN;
	if (!m->checks_due || m->checking.n > 0)
		return MODEL_NOTHING;
	for (size_t i = 0; i < m->idle.n; i++) {
		if (m->now - m->idle.at[i].checked < m->config.keepalive_ns)
			continue;
		*check = m->idle.at[i].real;
		append(&m->checking, take(&m->idle, i));
		return MODEL_CHECK;
	}
	m->checks_due = false;
	return MODEL_NOTHING;
}

void
model_opening(struct model *m, const struct pool_conn *real)
{
	append(&m->opening, (struct model_conn){
				    .real = real,
				    .generation = m->generation,
			    });
}

void
model_opened(struct model *m, size_t i, bool ok)
{
	struct model_conn conn = take(&m->opening, i);

	if (ok) {
		conn.opened = conn.checked = m->now;
		m->opened++;
		m->failing = false;
		m->backoff = 0;
		place(m, conn, false);
		return;
	}
	m->open_failed++;
	if (m->failing && m->now < m->retry)
		return;
	m->failing = true;
	m->backoff = m->backoff == 0 ? 10 * NS_PER_MS : 2 * m->backoff;
	if (m->backoff > 5 * NS_PER_S)
		m->backoff = 5 * NS_PER_S;
	m->retry = m->now + m->backoff;
}

void
model_checked(struct model *m, bool ok)
{
	struct model_conn conn = take(&m->checking, 0);

	conn.checked = m->now;
	if (ok)
		place(m, conn, true);
	else
		m->closing++;
}

void
model_keep(struct model *m)
{
	if (m->now >= m->sweep) {
		for (size_t i = 0; i < m->idle.n; i++) {
			const struct model_conn *conn = &m->idle.at[i];
			const bool old = m->now - conn->since >=
						 m->config.idle_timeout_ns &&
					 m->idle.n > min_idle(m);

			if (expired(m, conn) || old)
				(void)take(&m->idle, i--);
			else if (m->now - conn->checked >=
				 m->config.keepalive_ns)
				m->checks_due = true;
		}
		m->sweep = m->now + SWEEP;
	}
	m->closing = 0;
}

void
model_configure(struct model *m, const struct pool_config *config)
{
	m->config = *config;
	m->sweep = m->now;
	while (m->idle.n > 0 && (model_total(m) > config->max_active ||
					m->idle.n > config->max_idle)) {
		(void)take(&m->idle, 0);
		m->closing++;
	}
}

void
model_resume(struct model *m)
{
	m->suspended = false;
	while (m->waiting > 0 && m->idle.n > 0) {
		struct model_conn conn = take(&m->idle, m->idle.n - 1);

		conn.since = m->now;
		append(&m->lent, conn);
		answer_head(m, conn.real);
	}
}

void
model_evict(struct model *m)
{
	m->generation++;
	m->closing += m->idle.n;
	m->idle.n = 0;
}

void
model_drain(struct model *m)
{
	m->drained = true;
	while (m->waiting > 0)
		answer_head(m, NULL);
	m->closing += m->idle.n;
	m->idle.n = 0;
}
