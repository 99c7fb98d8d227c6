// SPDX-License-Identifier: MIT
// source - asks the api and the consumers, once a second while somebody looks.

import { Scrape } from "./prometheus.js";
import { Window } from "./series.js";

const PERIOD_MS = 1000;
const TIMEOUT_MS = 2500;
const SLOW = 2; // every so many periods: what costs more, or changes less
const RATE_SECONDS = 10;

const API_NAMES = [
  "http_server_requests_seconds", "http_server_request_timeout_seconds", "kafka_producer_queue_messages", "kafka_producer_errors",
  "coupon_outbox_pending", "coupon_outbox_oldest_seconds", "coupon_reconcile_violations",
  "coupon_issue", "redis_server_unsafe", "process_cpu_usage",
  "process_resident_memory_bytes", "process_threads", "process_uptime_seconds",
  "system_cpu_count_processors",
];
const CONSUMER_NAMES = [
  "kafka_consumer_lag", "kafka_consumer_assigned_partitions",
  "kafka_consumer_paused_partitions", "kafka_consumer_hung_partitions",
  "coupon_time_to_issue_seconds", "coupon_rows_written", "coupon_dead_letters",
  "process_cpu_usage", "process_resident_memory_bytes", "process_threads",
];

const scrapePath = (names) => `actuator/prometheus?includedNames=${names.join(",")}`;

// `url` ends with "/"; the path is below it.
async function ask(url, path) {
  const response = await fetch(url + path, {
    cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: { Accept: path.includes("prometheus") ? "text/plain" : "application/json" },
  });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response;
}

const json = async (url, path) => (await ask(url, path)).json();

// ":8081" -> "http://the page's host:8081/"
function consumerUrl(entry) {
  const origin = entry.startsWith(":")
    ? `${location.protocol}//${location.hostname}${entry}` : entry;
  return `${origin}/`;
}

// One daemon: its last answers, and whether it gives any.
class Daemon {
  constructor(url, names) {
    this.url = url;
    this.names = names;
    this.window = new Window(RATE_SECONDS);
    this.pools = {};
    this.up = null; // null: not asked yet
    this.everUp = false;
    this.since = 0; // of the present state, seconds
  }

  async poll(time) {
    const [scrape, pools] = await Promise.allSettled([
      ask(this.url, scrapePath(this.names)).then((r) => r.text()),
      json(this.url, "actuator/pools"),
    ]);
    const up = scrape.status === "fulfilled";
    if (up !== this.up) this.since = time;
    this.up = up;
    this.everUp ||= up;
    this.pools = pools.status === "fulfilled" ? pools.value.pools : {};
    if (up) this.window.push(time, new Scrape(scrape.value));
    else this.window.clear();
  }

  get scrape() { return this.window.now?.scrape; }
}

export class Source {
  constructor(onUpdate) {
    this.onUpdate = onUpdate;
    this.api = new Daemon("", API_NAMES);
    this.consumers = [];
    this.settings = null;
    this.info = null;
    this.breaker = this.limiter = this.board = null;
    this.polls = 0;
  }

  async start() {
    for (;;) {
      const begun = performance.now();
      if (!document.hidden) {
        await this.poll(Date.now() / 1000);
        this.onUpdate(this);
      }
      const rest = PERIOD_MS - (performance.now() - begun);
      await new Promise((wake) => { setTimeout(wake, Math.max(rest, PERIOD_MS / 4)); });
    }
  }

  async poll(time) {
    this.time = time;
    if (!this.settings || !this.info) await this.introduce();
    const jobs = [this.api, ...this.consumers].map((daemon) => daemon.poll(time));
    if (this.polls++ % SLOW === 0) jobs.push(this.pollSlow());
    await Promise.all(jobs);
    if (this.api.up === false) this.info = null; // a new process may come
  }

  async introduce() {
    try {
      this.settings = await json("", "console/settings");
      this.info = await json("", "actuator/info");
      const urls = this.settings.consumers.map(consumerUrl);
      if (urls.join() !== this.consumers.map((c) => c.url).join())
        this.consumers = urls.map((url) => new Daemon(url, CONSUMER_NAMES));
    } catch {
      this.info = null; // the next poll tries again
    }
  }

  async pollSlow() {
    const [breakers, limiters, board] = await Promise.allSettled([
      json("", "actuator/circuitbreakers"),
      json("", "actuator/ratelimiters"),
      json("", "actuator/coupons"),
    ]);
    this.breaker = breakers.value?.circuitBreakers["coupon-issue"] ?? null;
    this.limiter = limiters.value?.details["coupon-issue"] ?? null;
    if (board.value) this.board = board.value;
  }
}
