// SPDX-License-Identifier: MIT
// panels - the six charts: what each draws, its headline and its legend.

import { Chart } from "./chart.js";
import { $, attribute, h, replace, text } from "./dom.js";
import { NONE, bytes, count, percent, rate, seconds } from "./format.js";
import { t } from "./i18n.js";
import { LIMITS, worst } from "./rules.js";

// Keys of a table below the chart: a name and some figures per row.
function table(head, rows) {
  return h("table", { class: "small" },
    h("thead", {}, h("tr", {}, ...head.map((key, i) =>
      h("th", { scope: "col", class: i ? "number" : null }, t(key))))),
    h("tbody", {}, ...rows.map(([name, ...cells]) => h("tr", {},
      h("th", { scope: "row" }, name),
      ...cells.map((cell) => h("td", { class: "number" }, cell))))));
}

function perApi(f) {
  const busy = f.apis.filter((api) => api.rate > 0).slice(0, 4);
  return busy.length === 0 ? null : table(["api", "perSecond", "failed"],
    busy.map((api) => [api.name, rate(api.rate), percent(api.ratio)]));
}

const perPartition = (f) => (f.partitions.length < 2 ? null
  : table(["partition", "lag"], f.partitions.map(([p, lag]) => [p, count(lag)])));

const of = (active, max) => (Number.isFinite(max) ? `${count(active)} / ${count(max)}` : NONE);

const PANELS = [
  { key: "latency", headline: (f) => [seconds(f.p95), "p95"],
    lines: [
      { name: "p50", color: "--line-1", format: seconds },
      { name: "p95", color: "--line-2", format: seconds, fill: true },
      { name: "p99", color: "--line-3", format: seconds }],
    format: seconds, floor: 0.01, limit: LIMITS.LatencyHigh },
  { key: "errors", headline: (f) => [percent(f.errorRatio), t("ofRequests", { rate: rate(f.requestRate) })],
    lines: [{ name: "errorRatio", color: "--line-4", format: percent, fill: true }],
    format: percent, floor: 0.1, limit: LIMITS.ErrorRateHigh, below: perApi },
  { key: "redis", headline: (f) => [of(f.redisActive, f.redisMax), t("leased")],
    lines: [
      { name: "redisActive", color: "--line-2", format: count, fill: true },
      { name: "redisIdle", color: "--line-1", format: count },
      { name: "redisWaiting", color: "--line-4", format: count },
      { name: "redisMax", color: "--line-0", format: count, dash: [6, 4] }],
    format: count, floor: 5 },
  { key: "database", headline: (f) => [of(f.consumerDbActive, f.consumerDbMax), t("leasedConsumer")],
    lines: [
      { name: "consumerDbActive", color: "--line-2", format: count, fill: true },
      { name: "consumerDbWaiting", color: "--line-4", format: count },
      { name: "apiDbActive", color: "--line-1", format: count },
      { name: "apiDbWaiting", color: "--line-3", format: count }],
    format: count, floor: 5 },
  { key: "kafka", headline: (f) => [count(f.lag), t("lag")],
    lines: [
      { name: "lag", color: "--line-2", format: count, fill: true },
      { name: "outboxPending", color: "--line-1", format: count },
      { name: "queue", color: "--line-3", format: count }],
    format: count, floor: 10, below: perPartition,
    facts: (f) => [["outboxOldest", seconds(f.outboxOldest)],
      ["producerErrors", rate(f.producerErrors)],
      ["rowRate", rate(f.rowRate)], ["timeToIssueP99", seconds(f.timeToIssueP99)]] },
  { key: "process", headline: (f) => [percent(f.apiCpu), t("cpuApi")],
    lines: [
      { name: "apiCpu", color: "--line-2", format: percent, fill: true },
      { name: "consumerCpu", color: "--line-1", format: percent },
      { name: "apiMemory", color: "--line-3", format: bytes, scale: "right", dash: [6, 3] },
      { name: "consumerMemory", color: "--line-0", format: bytes, scale: "right", dash: [6, 3] }],
    format: percent, floor: 0.1, right: { format: bytes, floor: 2 ** 25, unit: 2 ** 20 },
    facts: (f) => [["apiThreads", count(f.apiThreads)], ["consumerThreads", count(f.consumerThreads)]] },
];

class Panel {
  constructor(spec) {
    this.spec = spec;
    this.title = h("h2", { id: `panel-${spec.key}` });
    this.badge = h("span", { class: "badge" });
    this.value = h("strong");
    this.unit = h("span", { class: "muted" });
    this.plot = h("div", { class: "chart", role: "img" });
    this.legend = h("ul", { class: "legend" });
    this.below = h("div", { class: "below" });
    this.element = h("article", { class: "panel", "data-panel": spec.key, "aria-labelledby": this.title.id },
      h("header", {}, this.title, this.badge),
      h("p", { class: "headline" }, this.value, " ", this.unit),
      this.plot, this.legend, this.below);
    this.chart = new Chart(this.plot, spec);
    this.chart.onPoint = (index) => this.point(index);
  }

  // The legend tells the present, or the moment under the pointer.
  point(index) {
    this.index = index;
    if (this.figures) this.drawLegend();
  }

  drawLegend() {
    const at = (name, i) => (this.index == null ? this.figures[name] : this.chart.data[i + 1][this.index]);
    const items = this.spec.lines.map(({ name, color, format }, i) => h("li", {},
      h("i", { class: `swatch ${color.slice(2)}` }), `${t(name)} `, h("b", {}, format(at(name, i) ?? NaN))));
    for (const [name, value] of this.spec.facts?.(this.figures) ?? [])
      items.push(h("li", {}, `${t(name)} `, h("b", {}, value)));
    replace(this.legend, items);
  }

  update(figures, history, findings) {
    const { spec } = this;
    const severity = worst(findings.filter((f) => f.panel === spec.key));
    const [value, unit] = spec.headline(figures);
    this.figures = figures;
    attribute(this.element, "data-severity", severity);
    text(this.title, t(spec.key));
    text(this.badge, t(severity));
    text(this.value, value);
    text(this.unit, unit);
    attribute(this.plot, "aria-label", `${t(spec.key)}: ${value} ${unit}`);
    this.drawLegend();
    const below = spec.below?.(figures);
    replace(this.below, below ? [below] : []);
    this.chart.draw(history.of(spec.lines.map((line) => line.name)));
  }
}

const panels = PANELS.map((spec) => new Panel(spec));

export function mountPanels() {
  $("panels").append(...panels.map((panel) => panel.element));
}

export function updatePanels(figures, history, findings) {
  for (const panel of panels) panel.update(figures, history, findings);
}

export function restylePanels() {
  for (const panel of panels) panel.chart.restyle();
}
