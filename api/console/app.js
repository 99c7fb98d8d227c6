// SPDX-License-Identifier: MIT
// app - the console: asks, judges, draws; once a second.

import { $, attribute, h, replace, text } from "./dom.js";
import { updateEvents } from "./events.js";
import { figuresOf } from "./figures.js";
import { clock, count, percent, seconds } from "./format.js";
import { updateGuards } from "./guards.js";
import { language, setLanguage, t, translatePage } from "./i18n.js";
import { labelToken, mountLevers, updateLevers } from "./levers.js";
import { mountPanels, restylePanels, updatePanels } from "./panels.js";
import { updatePools } from "./pools.js";
import { judge, worst } from "./rules.js";
import { History } from "./series.js";
import { Source } from "./source.js";

const HISTORY = 300; // seconds, at one poll a second
const THEME = "coupon-console-theme";
const history = new History(HISTORY);
let shown = null;

// Values of findings as text: ratios and seconds have their units.
const FORMATS = { ratio: percent, p95: seconds, p99: seconds, timeout: seconds, oldest: seconds, seconds,
  lag: count, n: count, active: count, max: count, waiting: count };

function say({ alert, values }) {
  const texts = Object.fromEntries(Object.entries(values).map(
    ([key, value]) => [key, FORMATS[key]?.(value) ?? value]));
  return t(`alert_${alert}`, texts);
}

function drawVerdict(findings) {
  const severity = worst(findings);
  const title = t(`verdict_${severity}`, { n: findings.length });
  const items = findings.map((f) => h("li", { "data-severity": f.severity, "data-alert": f.alert },
    h("span", { class: "badge", "data-severity": f.severity }, t(f.severity)), " ", say(f)));
  attribute($("verdict"), "data-severity", severity);
  attribute(document.body, "data-severity", severity);
  replace($("verdict"), [h("h2", {}, title), ...(items.length ? [h("ul", {}, ...items)] : [])]);
  document.title = `${{ critical: "● ", warning: "○ " }[severity] ?? ""}${t("title")}`;
}

function drawHeader({ api, info, settings, time }) {
  text($("instance"), info
    ? `${location.host} · ${info.build.version} (${info.git.commit.id}) · ${t("up", { time: seconds(api.scrape?.sum("process_uptime_seconds")) })}`
    : location.host);
  text($("pulse"), api.up === false ? t("noAnswer", { time: seconds(time - api.since) })
    : t("asOf", { time: clock(new Date(time * 1000)) }));
  updateLevers(settings?.levers ?? false);
}

function draw(source) {
  const figures = figuresOf(source);
  const numbers = Object.entries(figures).filter(([, value]) => typeof value === "number");
  history.push(source.time, Object.fromEntries(numbers));
  const findings = judge(source, figures, history);
  shown = source;
  drawHeader(source);
  drawVerdict(findings);
  updatePanels(figures, history, findings);
  updatePools(source, findings);
  updateGuards(source);
  updateEvents(source);
  // For tests and drills: how many times it was drawn, and when.
  document.body.dataset.draws = String(Number(document.body.dataset.draws ?? 0) + 1);
}

// ---- theme and language ----

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  localStorage.setItem(THEME, theme);
  restylePanels();
}

function mountChoices() {
  const theme = localStorage.getItem(THEME) ?? "auto";
  $("language").value = language();
  $("theme").value = theme;
  $("language").addEventListener("change", (event) => {
    setLanguage(event.target.value);
    labelToken();
    if (shown) updateEvents(shown);
    restylePanels();
  });
  $("theme").addEventListener("change", (event) => setTheme(event.target.value));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restylePanels);
  setTheme(theme);
}

mountLevers();
mountPanels();
mountChoices();
translatePage();
labelToken();
new Source(draw).start();
