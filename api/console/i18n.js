// SPDX-License-Identifier: MIT
// i18n - the page's texts, in Korean and English; the choice is remembered.

import en from "./en.js";
import ko from "./ko.js";

const tables = { en, ko };
const STORED = "coupon-console-language";
let current = localStorage.getItem(STORED) ??
  (navigator.language.startsWith("ko") ? "ko" : "en");
if (!tables[current]) current = "en";

export const language = () => current;

export function setLanguage(name) {
  current = name;
  localStorage.setItem(STORED, name);
  translatePage();
}

// t("leased", {active: 9, max: 10}): "{active} of {max} leased"
export function t(key, values = {}) {
  const text = tables[current][key] ?? tables.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export function translatePage() {
  document.documentElement.lang = current;
  for (const element of document.querySelectorAll("[data-i18n]"))
    element.textContent = t(element.dataset.i18n);
  for (const element of document.querySelectorAll("[data-i18n-label]"))
    element.setAttribute("aria-label", t(element.dataset.i18nLabel));
}
