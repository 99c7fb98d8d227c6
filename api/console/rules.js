// SPDX-License-Identifier: MIT
// rules - what burns, by the thresholds of deploy/monitoring/rules/alerts.yml
// (a test compares them), but without their `for`: this page is looked at.

import { increase } from "./series.js";

export const LIMITS = {
  RedisPoolHigh: 0.8,
  RedisPoolExhausted: 0.9,
  ErrorRateHigh: 0.05,
  LatencyHigh: 1,
  LatencyNearTimeout: 0.5, // of server.request-timeout
  OutboxOld: 10,
  ConsumerLagGrowing: 1000,
  TimeToIssueSlow: 5,
};
const REQUESTS_MIN = 0.1; // per second; fewer are no rate
const MANY = 2; // per second: of fewer in 10 s the p95 is the slowest one
const LAG_LOOK_BACK = 30; // seconds

const ORDER = ["ok", "unknown", "warning", "critical"];
export const worst = (findings) => findings.reduce(
  (severity, f) => (ORDER.indexOf(f.severity) > ORDER.indexOf(severity) ? f.severity : severity), "ok");

// A finding: {alert, severity, panel, values}; its text is t(alert, values)
// and its section of docs/runbook.md that of the alert.
function pools(find, daemon, name) {
  for (const [pool, figures] of Object.entries(daemon.pools)) {
    const redis = pool.startsWith("redis");
    const panel = redis ? "redis" : "database";
    const values = { daemon: name, pool, ...figures };
    const used = figures.active / figures.max;
    if (figures.state === "FAILING") find("PoolFailing", "critical", panel, values);
    if (figures.state === "SUSPENDED") find("PoolSuspended", "critical", panel, values);
    if (redis && used > LIMITS.RedisPoolExhausted)
      find("RedisPoolExhausted", "critical", panel, values);
    else if (redis && used > LIMITS.RedisPoolHigh)
      find("RedisPoolHigh", "warning", panel, values);
    if (figures.waiting > 0) find("PoolWaiters", "warning", panel, values);
  }
}

function requests(find, figures) {
  if (figures.errorRatio > LIMITS.ErrorRateHigh && figures.requestRate > REQUESTS_MIN)
    find("ErrorRateHigh", "critical", "errors", { ratio: figures.errorRatio });
  if (figures.p95 > LIMITS.LatencyHigh)
    find("LatencyHigh", "warning", "latency", { p95: figures.p95 });
  else if (figures.p95 > LIMITS.LatencyNearTimeout * figures.timeout &&
      figures.requestRate > MANY)
    find("LatencyNearTimeout", "warning", "latency",
      { p95: figures.p95, timeout: figures.timeout });
}

function guards(find, { breaker }) {
  const state = breaker?.state;
  if (state === "OPEN" || state === "FORCED_OPEN")
    find("CircuitBreakerOpen", "critical", "errors", { state });
  if (state === "DISABLED") find("CircuitBreakerDisabled", "warning", "errors", {});
}

function delivery(find, figures, history) {
  if (figures.outboxOldest > LIMITS.OutboxOld)
    find("OutboxOld", "critical", "kafka", { oldest: figures.outboxOldest });
  const [times, lags] = history.of(["lag"]);
  const from = times.findIndex((time) => time > times.at(-1) - LAG_LOOK_BACK);
  if (figures.lag > LIMITS.ConsumerLagGrowing && figures.lag > (lags[from] ?? 0))
    find("ConsumerLagGrowing", "warning", "kafka", { lag: figures.lag });
  if (figures.timeToIssueP99 > LIMITS.TimeToIssueSlow)
    find("TimeToIssueSlow", "warning", "kafka", { p99: figures.timeToIssueP99 });
}

function consumers(find, source) {
  const known = source.consumers.filter((c) => c.everUp);
  for (const consumer of source.consumers) {
    if (consumer.up !== false) continue;
    if (consumer.everUp) find("TargetDown", "critical", "kafka", { target: consumer.url });
    else find("ConsumerUnseen", "unknown", "kafka", { target: consumer.url });
  }
  const sum = (name) => known.reduce((n, c) => n + (c.scrape?.sum(name) || 0), 0);
  if (sum("kafka_consumer_hung_partitions") > 0) find("PartitionHung", "critical", "kafka", {});
  if (sum("kafka_consumer_paused_partitions") > 0)
    find("PartitionsPaused", "critical", "kafka", { n: sum("kafka_consumer_paused_partitions") });
  if (known.length > 0 && known.every((c) => c.up) &&
      sum("kafka_consumer_assigned_partitions") === 0)
    find("PartitionsUnowned", "critical", "kafka", {});
  for (const { window } of known) {
    if (window.now && increase(window.before.scrape.sum("coupon_dead_letters_total"),
      window.now.scrape.sum("coupon_dead_letters_total")) > 0)
      find("DeadLetters", "warning", "kafka", {});
  }
}

// What the reconciler repairs by itself, or other rules tell, is no alarm.
const PASSING = ["STUCK_PENDING", "ORPHAN_PENDING", "UNCONSUMED"];

function correctness(find, { scrape }) {
  for (const { labels, value } of scrape?.all("coupon_reconcile_violations") ?? []) {
    if (value > 0 && !PASSING.includes(labels.violation))
      find("ReconcileViolation", "critical", "events", { n: value, violation: labels.violation });
  }
  for (const { labels, value } of scrape?.all("redis_server_unsafe") ?? []) {
    if (value > 0) find("RedisUnsafe", "warning", "redis", { reason: labels.reason });
  }
}

// Worst first.
export function judge(source, figures, history) {
  const findings = [];
  const find = (alert, severity, panel, values) =>
    findings.push({ alert, severity, panel, values });
  if (source.api.up === false) {
    find("ApiDown", "critical", "latency", { seconds: source.time - source.api.since });
    return findings;
  }
  pools(find, source.api, "api");
  for (const consumer of source.consumers) pools(find, consumer, "consumer");
  requests(find, figures);
  guards(find, source);
  delivery(find, figures, history);
  consumers(find, source);
  correctness(find, source.api);
  return findings.sort((a, b) => ORDER.indexOf(b.severity) - ORDER.indexOf(a.severity));
}
