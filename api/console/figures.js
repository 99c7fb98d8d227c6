// SPDX-License-Identifier: MIT
// figures - from the scrapes of all daemons to the numbers that are shown.

const HTTP = "http_server_requests_seconds";
const ofUsers = (l) => l.uri.startsWith("/api/"); // probes and scrapes are none
const failed = (l) => ofUsers(l) && l.outcome === "SERVER_ERROR";

// A share of nothing is nothing, not unknown.
const share = (part, whole) => (whole > 0 ? (part || 0) / whole : whole === 0 ? 0 : NaN);

// Each API with its rate and its share of failures, the busiest first.
function perApi(window) {
  const apis = new Map();
  for (const { labels } of window.now?.scrape.all(`${HTTP}_count`, ofUsers) ?? [])
    apis.set(`${labels.method} ${labels.uri}`, labels);
  return [...apis].map(([name, { method, uri }]) => {
    const same = (l) => l.method === method && l.uri === uri;
    const rate = window.rate(`${HTTP}_count`, same);
    const errors = window.rate(`${HTTP}_count`, (l) => same(l) && failed(l));
    return { name, rate, ratio: share(errors, rate) };
  }).sort((a, b) => b.rate - a.rate || a.name.localeCompare(b.name));
}

function ofRequests({ scrape, window }) {
  const requestRate = window.rate(`${HTTP}_count`, ofUsers);
  return {
    p50: window.quantile(0.5, HTTP, ofUsers),
    p95: window.quantile(0.95, HTTP, ofUsers),
    p99: window.quantile(0.99, HTTP, ofUsers),
    timeout: scrape?.sum("http_server_request_timeout_seconds", (l) => l.server === "http"),
    requestRate,
    errorRatio: share(window.rate(`${HTTP}_count`, failed), requestRate),
    apis: perApi(window),
  };
}

function ofPool(prefix, pool = {}) {
  return {
    [`${prefix}Active`]: pool.active, [`${prefix}Idle`]: pool.idle,
    [`${prefix}Waiting`]: pool.waiting, [`${prefix}Max`]: pool.max,
  };
}

// partition -> lag; while one changes hands two may report it.
function lagByPartition(consumers) {
  const lags = new Map();
  for (const { scrape } of consumers) {
    for (const { labels, value } of scrape?.all("kafka_consumer_lag") ?? [])
      lags.set(labels.partition, Math.max(value, lags.get(labels.partition) ?? 0));
  }
  return [...lags].sort((a, b) => a[0] - b[0]);
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);

function ofKafka({ scrape, window }, consumers) {
  const seen = consumers.filter((c) => c.up);
  const partitions = lagByPartition(seen);
  return {
    queue: scrape?.sum("kafka_producer_queue_messages"),
    producerErrors: window.rate("kafka_producer_errors_total"),
    outboxPending: scrape?.sum("coupon_outbox_pending"),
    outboxOldest: scrape?.sum("coupon_outbox_oldest_seconds"),
    partitions,
    lag: partitions.length ? total(partitions.map(([, lag]) => lag)) : NaN,
    rowRate: seen.length ? total(seen.map((c) => c.window.rate("coupon_rows_written_total"))) : NaN,
    timeToIssueP99: Math.max(-Infinity, ...seen.map(
      (c) => c.window.quantile(0.99, "coupon_time_to_issue_seconds")).filter(Number.isFinite)),
  };
}

function ofProcess(prefix, scrape) {
  return {
    [`${prefix}Cpu`]: scrape?.sum("process_cpu_usage"),
    [`${prefix}Memory`]: scrape?.sum("process_resident_memory_bytes"),
    [`${prefix}Threads`]: scrape?.sum("process_threads"),
  };
}

export function figuresOf({ api, consumers }) {
  const up = api.up ? api : { window: api.window, pools: {} };
  const consumer = consumers.find((c) => c.up);
  return {
    ...ofRequests(up),
    ...ofPool("redis", up.pools.redis),
    ...ofPool("apiDb", up.pools.postgres),
    ...ofPool("consumerDb", consumer?.pools.postgres),
    ...ofKafka(up, consumers),
    ...ofProcess("api", up.scrape),
    ...ofProcess("consumer", consumer?.scrape),
    consumersUp: consumers.filter((c) => c.up).length,
  };
}
