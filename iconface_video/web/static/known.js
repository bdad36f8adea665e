// The people whom the user keeps: shown on the program's own computer alone.

import * as api from "./api.js";
import { $, button, keepingFocus, make } from "./dom.js";
import { sentence } from "./format.js";
import { counted, t } from "./messages.js";

export class Known {
  constructor({ fail, clear }) {
    Object.assign(this, { fail, clear });
    this.isHere = false;
  }

  begin(about) {
    this.isHere = about.is_loopback;
  }

  async load() {
    if (!this.isHere) return;
    try {
      this.show(await api.get("/api/known"));
    } catch (error) {
      this.fail(error);
    }
  }

  show({ folder, people, copies = [] }) {
    $("known").hidden = !people.length && !copies.length;
    $("known-folder").querySelector(".path").textContent = folder;
    $("known-copies").hidden = !copies.length;
    $("known-copies").textContent = copies.length ? t("Copies of the photos are still in work that is not done, or was kept: {list}", { list: copies.join(", ") }) : "";
    keepingFocus($("known-list"), () => $("known-list").replaceChildren(...people.map((person) => this.row(person))), $("known-title"));
  }

  row(person) {
    const facts = person.trouble ? sentence(person.trouble) : [
      counted(person.photos, "{n} photo", "{n} photos"),
      person.learnt ? counted(person.learnt, "learnt for {n} model", "learnt for {n} models") : t("not learnt yet"),
    ].join(" \u00b7 ");
    const forget = button(t("Forget"), () => this.forget(person.name), {
      class: "quiet", "data-key": `forget-${person.name}`, "aria-label": t("Forget {name}", { name: person.name }),
    });
    return make("li", {}, make("strong", {}, person.name), make("span", { class: person.trouble ? "note" : "muted" }, facts), forget);
  }

  async forget(name) {
    if (!confirm(t("Forget {name}? The kept photos, and what was learnt of them, are deleted. Your own photos and restored videos stay.", { name }))) return;
    this.clear();
    try {
      this.show(await api.post("/api/known/forget", { name }));
    } catch (error) {
      this.fail(error);
    }
  }
}
