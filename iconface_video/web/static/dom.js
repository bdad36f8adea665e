// Making elements, and keeping the focus where it was while a list is drawn anew.

export const $ = (id) => document.getElementById(id);

// make("button", {class: "quiet", onclick: f, "data-key": "x"}, "text", child ...)
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(key, value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

export const button = (text, onclick, attributes = {}) => make("button", { type: "button", onclick, ...attributes }, text);

// Elements are the same before and after where their data-key is.
export function keepingFocus(root, draw, fallback = null) {
  const key = root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  draw();
  if (key === null) return;
  const again = key && [...root.querySelectorAll("[data-key]")].find((item) => item.dataset.key === key && !item.disabled);
  if (again) again.focus();
  else if (fallback) fallback.focus();
}
