// SPDX-License-Identifier: MIT
// format - numbers as a person on call reads them, in the chosen language.

import { language } from "./i18n.js";

export const NONE = "–";
const known = (value) => Number.isFinite(value);
const intl = (options) => new Intl.NumberFormat(language(), options);

export function count(value) {
  if (!known(value)) return NONE;
  return intl({ maximumFractionDigits: 0 }).format(value);
}

export function rate(value) {
  if (!known(value)) return NONE;
  return intl({ maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

export function percent(ratio) {
  if (!known(ratio)) return NONE;
  return intl({ style: "percent", maximumFractionDigits: ratio < 0.1 ? 1 : 0 }).format(ratio);
}

// 0.0042 -> "4.2 ms", 1.25 -> "1.25 s", 75 -> "1 min 15 s"
export function seconds(value) {
  if (!known(value)) return NONE;
  if (value >= 120) return `${count(Math.floor(value / 60))} min ${count(value % 60)} s`;
  if (value >= 1) return `${intl({ maximumSignificantDigits: 3 }).format(value)} s`;
  return `${intl({ maximumSignificantDigits: value >= 0.1 ? 3 : 2 }).format(value * 1000)} ms`;
}

export function bytes(value) {
  if (!known(value)) return NONE;
  return `${intl({ maximumSignificantDigits: 3 }).format(value / 2 ** 20)} MiB`;
}

export function clock(date) {
  return new Intl.DateTimeFormat(language(), {
    hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  }).format(date);
}

export function dateTime(text) {
  return new Intl.DateTimeFormat(language(), {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
  }).format(new Date(text));
}
