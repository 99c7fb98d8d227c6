// SPDX-License-Identifier: MIT
// pools - each daemon's pools: how full, who holds, who waits, and levers.

import { $, attribute, h, keyed, replace, text } from "./dom.js";
import { count, seconds } from "./format.js";
import { t } from "./i18n.js";
import { lever } from "./levers.js";
import { worst } from "./rules.js";

const NAMED = 5;

// [{holder, heldMs}] -> the holders with most connections, "issue × 50".
function groups(people, ms) {
  const byName = new Map();
  for (const { holder, [ms]: age } of people) {
    const group = byName.get(holder) ?? { holder, n: 0, longest: 0 };
    group.n++;
    group.longest = Math.max(group.longest, age);
    byName.set(holder, group);
  }
  return [...byName.values()].sort((a, b) => b.n - a.n).slice(0, NAMED);
}

function people(title, list, ms) {
  const items = groups(list, ms).map((g) => h("li", {}, h("code", {}, g.holder),
    ` × ${count(g.n)}, ${t("longest", { time: seconds(g.longest / 1000) })}`));
  return h("div", { class: "people" }, h("h4", {}, t(title)),
    items.length ? h("ul", {}, ...items) : h("p", { class: "muted" }, t("nobody")));
}

function facts(pool) {
  const items = [
    t("poolFacts", { active: count(pool.active), max: count(pool.max), idle: count(pool.idle) }),
    pool.waiting === 0 ? t("poolQuiet")
      : t("poolWaiting", { n: count(pool.waiting), oldest: seconds(pool.oldestWaitMs / 1000) }),
    t("poolTimeouts", { n: count(pool.timeouts), failed: count(pool.openFailed) }),
  ];
  if (pool.lastError)
    items.push(t("poolError", { ago: seconds(pool.lastError.ageMs / 1000), message: pool.lastError.message }));
  return items.map((item) => h("li", {}, item));
}

// What an operator may do with a pool of the api; the consumer's are shown.
const LEVERS = ["resize", "suspend", "resume", "evict"];

function makeCard(entry) {
  const levers = entry.daemon !== "api" ? [] : LEVERS.map((name) =>
    lever(name, () => ({ name, pool: entry.name, figures: card.figures }), name === "suspend" || name === "evict"));
  const parts = {
    badge: h("span", { class: "badge" }), bar: h("div", { class: "bar", role: "img" },
      h("i", { class: "active" }), h("i", { class: "idle" })),
    facts: h("ul", { class: "facts" }), people: h("div", { class: "holders" }),
    levers: h("div", { class: "levers" }, ...levers),
  };
  const card = h("article", { class: "card" },
    h("header", {}, h("h3", {}, `${entry.daemon} · ${entry.name}`), parts.badge),
    parts.bar, parts.facts, parts.people, parts.levers);
  card.parts = parts;
  return card;
}

function updateCard(card, { daemon, name, pool, findings }) {
  const { badge, bar, facts: list, people: both } = card.parts;
  const severity = worst(findings.filter((f) =>
    f.values.daemon === daemon && f.values.pool === name));
  card.figures = pool;
  card.dataset.pool = `${daemon}/${name}`;
  attribute(card, "data-severity", severity);
  text(badge, t(pool.state));
  const [active, idle] = bar.children;
  active.style.width = `${(100 * Math.min(pool.active, pool.max)) / pool.max}%`;
  idle.style.width = `${(100 * Math.min(pool.idle, pool.max)) / pool.max}%`;
  attribute(bar, "aria-label",
    t("poolFacts", { active: pool.active, max: pool.max, idle: pool.idle }));
  replace(list, facts(pool));
  replace(both, [people("holders", pool.holders, "heldMs"), people("waiters", pool.waiters, "waitedMs")]);
  for (const button of card.parts.levers.children) {
    const suspended = pool.state === "SUSPENDED";
    if (button.dataset.lever === "suspend") button.disabled = suspended;
    if (button.dataset.lever === "resume") button.disabled = !suspended;
  }
}

export function updatePools({ api, consumers }, findings) {
  const entries = [];
  for (const [daemon, name] of [[api, "api"], ...consumers.map((c, i) =>
    [c, consumers.length > 1 ? `consumer ${i + 1}` : "consumer"])]) {
    for (const [key, pool] of Object.entries(daemon.pools))
      entries.push({ daemon: name, name: key, pool, findings });
  }
  keyed($("pools"), entries, (e) => `${e.daemon}/${e.name}`, makeCard, updateCard);
}
