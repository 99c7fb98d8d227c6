// SPDX-License-Identifier: MIT
// levers - what an operator may change, each after a dialog that says what it
// will do.  The admin token lives in this module's memory only: not in
// storage, where it would outlive the incident and every script of this
// origin could read it; reloading or closing the page forgets it.

import { $, h, text } from "./dom.js";
import { count } from "./format.js";
import { t } from "./i18n.js";

const IDLE_MS = 15 * 60 * 1000; // an unattended screen locks itself
let token = null;
let idleTimer = 0;

// ---- the levers ----

const POOL_KEYS = {
  redis: { max: "redis.pool.max-active", idle: "redis.pool.max-idle" },
  postgres: { max: "datasource.hikari.maximum-pool-size" },
};
const LIMIT_KEY = "ratelimiter.coupon-issue.limit-for-period";

const post = (path, body) => ({ method: "POST", path, body });
const set = (name, value) => post("actuator/env", { name, value: String(value) });

// max-idle follows where it was no limit before, or the new connections would
// be closed each time they come back.
function resize({ pool, figures }, size) {
  const keys = POOL_KEYS[pool];
  const { config } = figures;
  const requests = [set(keys.max, size)];
  if (keys.idle && config["max-idle"] >= config["max-active"])
    requests.push(set(keys.idle, size));
  return requests;
}

const poolAction = ({ name, pool }) => [post(`actuator/pools/${pool}/${name}`)];
const breakerAction = ({ name }) => [post("actuator/circuitbreakers/coupon-issue", { updateState: name })];
const eventAction = ({ name, event }) => [post(`actuator/coupons/${event.id}/${name}`)];

const poolValues = ({ pool, figures }) => ({ pool, active: count(figures.active),
  idle: count(figures.idle), waiting: count(figures.waiting), max: count(figures.max) });
const eventValues = ({ event }) => ({ id: event.id, name: event.name,
  remaining: count(event.remaining), pending: count(event.pending) });

// values: for the texts; number: asks for one; typed: asks to type it.
const LEVERS = {
  resize: { values: poolValues, requests: resize, number: ({ figures }) => figures.max },
  suspend: { values: poolValues, requests: poolAction },
  resume: { values: poolValues, requests: poolAction },
  evict: { values: poolValues, requests: poolAction },
  FORCE_OPEN: { requests: breakerAction },
  CLOSE: { requests: breakerAction },
  DISABLE: { requests: breakerAction },
  limit: { values: ({ figures }) => ({ max: count(figures.limitForPeriod) }),
    requests: (_, n) => [set(LIMIT_KEY, n)], number: ({ figures }) => figures.limitForPeriod },
  open: { values: eventValues, requests: eventAction },
  close: { values: eventValues, requests: eventAction, typed: ({ event }) => String(event.id) },
};

// The button of a lever; context() is asked when it is pressed.
export function lever(name, context, danger = false) {
  return h("button", {
    type: "button", class: danger ? "danger" : null, "data-lever": name,
    "data-i18n": `do_${name}`, onclick: () => confirm(name, context()),
  }, t(`do_${name}`));
}

// ---- requests ----

async function send({ method, path, body }) {
  const response = await fetch(path, {
    method, cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(10000),
    headers: { Authorization: `Bearer ${token}`, "Accept-Language": document.documentElement.lang,
      ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  if (response.status === 401 || response.status === 403) lock();
  if (response.ok) return;
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? problem.title ?? String(response.status));
}

async function carryOut(name, context, number) {
  try {
    for (const request of LEVERS[name].requests(context, number)) await send(request);
    toast(t("done", { what: t(`do_${name}`) }), "ok");
  } catch (error) {
    toast(t("failedTo", { what: t(`do_${name}`), why: error.message }), "critical");
  }
  unlocked();
}

export function toast(message, severity) {
  const element = $("toast");
  element.dataset.severity = severity;
  text(element, message);
  clearTimeout(element.timer);
  element.timer = setTimeout(() => text(element, ""), 8000);
}

// ---- dialogs ----

// Shows a form; onOk gets it when it is sent.
function ask(title, danger, parts, onOk) {
  const dialog = $("dialog");
  const close = () => dialog.close();
  const form = h("form", { onsubmit: (event) => {
    event.preventDefault();
    close();
    onOk(form);
  } },
  h("h2", { id: "dialog-title" }, title), ...parts,
  h("div", { class: "buttons" },
    h("button", { type: "button", onclick: close }, t("cancel")),
    h("button", { type: "submit", class: danger ? "danger" : "primary" }, t("confirm"))));
  dialog.replaceChildren(form);
  dialog.showModal();
  form.querySelector("input, [type=button]").focus();
}

function confirm(name, context) {
  const { values, number, typed } = LEVERS[name];
  const texts = values?.(context) ?? {};
  const parts = [h("p", { class: "effect" }, t(`effect_${name}`, texts))];
  if (number) {
    parts.push(h("label", {}, t("newValue"), h("input", { name: "number", type: "number",
      min: 1, max: 100000000, required: true, value: number(context) })));
  }
  if (typed) {
    const expected = typed(context);
    parts.push(h("label", {}, t("typeToConfirm", { text: expected }), h("input", { name: "typed",
      required: true, autocomplete: "off", pattern: expected })));
  }
  const danger = ["suspend", "evict", "close", "FORCE_OPEN", "DISABLE"].includes(name);
  ask(t(`do_${name}`), danger, parts,
    (form) => carryOut(name, context, form.elements.number?.valueAsNumber));
}

// ---- the token ----

function lock() {
  token = null;
  clearTimeout(idleTimer);
  document.body.dataset.levers = "locked";
  labelToken();
}

function unlocked() {
  if (token === null) return;
  document.body.dataset.levers = "open";
  clearTimeout(idleTimer);
  idleTimer = setTimeout(lock, IDLE_MS);
  labelToken();
}

async function tryToken(value) {
  try {
    const response = await fetch("console/settings", { cache: "no-store", credentials: "omit",
      headers: { Authorization: `Bearer ${value}` } });
    if (!(await response.json()).admin) throw new Error(t("wrongToken"));
    token = value;
    unlocked();
  } catch (error) {
    toast(error.message, "critical");
  }
}

function askToken() {
  ask(t("unlock"), false, [
    h("p", { class: "effect" }, t("tokenWhy")),
    h("label", {}, t("token"), h("input", { name: "token", type: "password", required: true,
      autocomplete: "off", spellcheck: "false" })),
  ], (form) => tryToken(form.elements.token.value.trim()));
}

export function labelToken() {
  text($("token"), t(token === null ? "unlock" : "lock"));
}

// `available`: the api has an admin token at all.
export function updateLevers(available) {
  $("token").hidden = !available;
}

export function mountLevers() {
  $("token").addEventListener("click", () => (token === null ? askToken() : lock()));
  lock();
}
