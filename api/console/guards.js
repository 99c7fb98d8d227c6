// SPDX-License-Identifier: MIT
// guards - circuit breaker and rate limiter as they stand, and the levers.

import { $, attribute, h, keyed, replace, text } from "./dom.js";
import { NONE, count, seconds } from "./format.js";
import { t } from "./i18n.js";
import { lever } from "./levers.js";

const SEVERITY = { CLOSED: "ok", HALF_OPEN: "warning", DISABLED: "warning",
  OPEN: "critical", FORCED_OPEN: "critical" };

// "-1.0%": too few calls to tell.
const known = (rate) => (rate.startsWith("-") ? NONE : rate);

function breakerFacts(b, uptime = Infinity) {
  return [
    t("breakerSince", { time: seconds(Math.min(b.inStateMs / 1000, uptime)) }),
    t("breakerRates", { rate: known(b.failureRate), threshold: b.failureRateThreshold,
      slow: known(b.slowCallRate), slowThreshold: b.slowCallRateThreshold }),
    t("breakerCalls", { failed: count(b.failedCalls), buffered: count(b.bufferedCalls),
      refused: count(b.notPermittedCalls) }),
  ];
}

function limiterFacts(l) {
  return [
    t("limiterLimit", { n: count(l.limitForPeriod), period: l.limitRefreshPeriod }),
    t("limiterNow", { n: count(l.availablePermissions), waiting: count(l.waiting) }),
  ];
}

function describe({ api, breaker, limiter }) {
  const entries = [];
  if (breaker) entries.push({ key: "breaker", state: breaker.state,
    severity: SEVERITY[breaker.state] ?? "unknown",
    facts: breakerFacts(breaker, api.scrape?.sum("process_uptime_seconds")),
    levers: ["FORCE_OPEN", "CLOSE", "DISABLE"] });
  if (limiter) entries.push({ key: "limiter", state: limiter.enabled ? "on" : "off",
    severity: limiter.enabled ? "ok" : "warning", facts: limiterFacts(limiter),
    levers: ["limit"], figures: limiter });
  return entries;
}

function makeCard(entry) {
  const parts = {
    title: h("h3"), badge: h("span", { class: "badge" }), facts: h("ul", { class: "facts" }),
  };
  const card = h("article", { class: "card", "data-guard": entry.key },
    h("header", {}, parts.title, parts.badge), parts.facts,
    h("div", { class: "levers" }, ...entry.levers.map((name) =>
      lever(name, () => ({ name, figures: card.figures }), name !== "CLOSE" && name !== "limit"))));
  card.parts = parts;
  return card;
}

function updateCard(card, entry) {
  const { title, badge, facts } = card.parts;
  card.figures = entry.figures;
  attribute(card, "data-severity", entry.severity);
  text(title, t(entry.key));
  text(badge, t(entry.state));
  replace(facts, entry.facts.map((fact) => h("li", {}, fact)));
}

export function updateGuards(source) {
  keyed($("guards"), describe(source), (entry) => entry.key, makeCard, updateCard);
}
