// What the page says, in the user's language. The English text is the key; what the program itself says comes as it is, in English.

import { german } from "./german.js";

const KEY = "iconface-language";
const CATALOGUES = { en: {}, de: german };

const wished = localStorage.getItem(KEY) || navigator.language.slice(0, 2);
export const language = wished in CATALOGUES ? wished : "en";

// Values go where the text has their names in braces.
export function t(text, values = {}) {
  const found = CATALOGUES[language][text] || text;
  return found.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

export const counted = (n, one, many) => t(n === 1 ? one : many, { n });

export function choose(wanted) {
  localStorage.setItem(KEY, wanted);
  location.reload();
}

const ATTRIBUTES = ["aria-label", "alt", "placeholder", "title"];

// All texts and names of controls that stand in the document.
export function translate(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const key = node.data.replace(/\s+/g, " ").trim();
    if (key && t(key) !== key) node.data = node.data.replace(node.data.trim(), t(key));
  }
  for (const name of ATTRIBUTES) {
    for (const element of root.querySelectorAll(`[${name}]`)) element.setAttribute(name, t(element.getAttribute(name)));
  }
  for (const template of root.querySelectorAll("template")) translate(template.content);
}
