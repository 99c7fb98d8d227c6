// SPDX-License-Identifier: MIT
// events - stock and time-to-issue of the events that matter now.

import { $, attribute, h, keyed, replace, text } from "./dom.js";
import { NONE, clock, count, dateTime, seconds } from "./format.js";
import { t } from "./i18n.js";
import { lever } from "./levers.js";

const HEAD = ["event", "state", "stock", "issued", "pending", "timeToIssue", "window", "levers"];
const OVER = ["CLOSED"];

function makeRow(item) {
  const cell = (name, extra = "") => h("td", { "data-cell": name, class: extra });
  const stock = cell("stock");
  stock.append(h("div", { class: "bar", role: "img" },
    h("i", { class: "active" }), h("i", { class: "pending" })), h("span", { class: "stock" }));
  const levers = cell("levers", "levers");
  levers.append(...["open", "close"].map((name) =>
    lever(name, () => ({ name, event: row.item }), name === "close")));
  const row = h("tr", {}, h("th", { scope: "row" }), cell("state"), stock, cell("issued", "number"),
    cell("pending", "number"), cell("timeToIssue", "number"), cell("window"), levers);
  row.dataset.event = item.id;
  return row;
}

function updateRow(row, item) {
  const cells = Object.fromEntries([...row.querySelectorAll("[data-cell]")].map((c) => [c.dataset.cell, c]));
  const badge = h("span", { class: "badge", "data-state": item.state }, t(`event_${item.state}`));
  const took = item.timeToIssue;
  row.item = item;
  text(row.firstElementChild, `${item.id} · ${item.name}`);
  replace(cells.state, item.stale ? [badge, h("small", { class: "muted" }, t("stale"))] : [badge]);
  const [issued, pending] = cells.stock.firstElementChild.children;
  issued.style.width = `${(100 * item.issued) / item.total}%`;
  pending.style.width = `${(100 * item.pending) / item.total}%`;
  const left = t("left", { n: count(item.remaining), total: count(item.total) });
  attribute(cells.stock.firstElementChild, "aria-label", left);
  text(cells.stock.lastElementChild, left);
  text(cells.issued, count(item.issued));
  text(cells.pending, count(item.pending));
  text(cells.timeToIssue, took
    ? t("timeToIssueOf", { p50: seconds(took.p50Ms / 1000), p99: seconds(took.p99Ms / 1000) }) : NONE);
  text(cells.window, `${dateTime(item.opensAt)} – ${dateTime(item.closesAt)}`);
  const [open, close] = cells.levers.children;
  open.disabled = item.state !== "SCHEDULED";
  close.disabled = OVER.includes(item.state);
}

export function updateEvents({ board, api }) {
  const region = $("events");
  if (!board) {
    replace(region, [h("p", { class: "muted" }, t(api.up ? "boardMissing" : "loading"))]);
    return;
  }
  text($("events-as-of"), t("asOf", { time: clock(new Date(board.asOf)) }));
  if (board.items.length === 0) {
    replace(region, [h("p", { class: "muted" }, t("noEvents"))]);
    return;
  }
  if (!region.querySelector("table"))
    region.replaceChildren(h("table", {}, h("thead", {}, h("tr")), h("tbody")));
  replace(region.querySelector("thead tr"), HEAD.map((key) =>
    h("th", { scope: "col", class: key === "levers" ? "levers" : null }, t(key))));
  keyed(region.querySelector("tbody"), board.items, (item) => item.id, makeRow, updateRow);
}
