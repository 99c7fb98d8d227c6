// SPDX-License-Identifier: MIT
// dom - elements without HTML text: nothing a server says is ever parsed.

export const $ = (id) => document.getElementById(id);

// h("td", {class: "number", onclick: f, hidden: true}, "text", element ...)
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// Touches the page only when something differs: a reader, a selection and the
// keyboard's focus stay where they are while figures come every second.
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

export function attribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// Make the children of `parent` those of `elements`, keeping equal ones.
export function replace(parent, elements) {
  const same = parent.childElementCount === elements.length &&
    elements.every((element, i) => element.isEqualNode(parent.children[i]));
  if (!same) parent.replaceChildren(...elements);
}

// One lasting element per key: keyed(parent, ["redis"], make, update).
export function keyed(parent, items, keyOf, make, update) {
  const old = new Map([...parent.children].map((e) => [e.dataset.key, e]));
  const wanted = items.map((item) => {
    const key = String(keyOf(item));
    const element = old.get(key) ?? make(item);
    element.dataset.key = key;
    update(element, item);
    return element;
  });
  if (wanted.length !== parent.childElementCount ||
      wanted.some((element, i) => element !== parent.children[i]))
    parent.replaceChildren(...wanted);
}
