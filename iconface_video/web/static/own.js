// Settings that the user keeps under names of their own: chosen in a project, and on the start page for all that is restored.

import * as api from "./api.js";
import { $ } from "./dom.js";
import { t } from "./messages.js";

const EACH = "";

export class OwnPresets {
  // patch: changes the settings of the open project.
  constructor({ fail, clear, patch }) {
    Object.assign(this, { fail, clear });
    this.kept = [];
    $("own").addEventListener("change", () => $("own").value !== EACH && patch({ own: $("own").value }));
    $("own-keep").addEventListener("click", () => this.keep());
    $("own-delete").addEventListener("click", () => this.remove($("own").value));
  }

  async load() {
    try {
      this.take(await api.get("/api/presets"));
    } catch (error) {
      this.fail(error);
    }
  }

  take({ own }) {
    this.kept = own;
    const wanted = $("restore-own").value;
    const names = () => own.map((item) => new Option(item.name, item.name));
    $("restore-own").replaceChildren(new Option(t("of each video"), EACH), ...names());
    $("restore-own").value = own.some((item) => item.name === wanted) ? wanted : EACH;
    $("restore-own").parentElement.hidden = !own.length;
    $("own").replaceChildren(new Option(own.length ? "\u2013" : t("None are kept yet"), EACH), ...names());
    if (this.state) this.show(this.state);
  }

  // The ones that say the same as the settings of the project are shown as chosen.
  show(state) {
    this.state = state;
    const found = this.kept.find(({ values }) => Object.entries(values).every(([name, value]) => state.options[name] === value));
    if (document.activeElement !== $("own") || found) $("own").value = found ? found.name : EACH;
    $("own-keep").hidden = Boolean(found);
    $("own-delete").hidden = !found;
    $("own-delete").setAttribute("aria-label", t("Delete the settings {name}", { name: found ? found.name : "" }));
  }

  async keep() {
    const name = prompt(t("A name for these settings"));
    if (name === null || !name.trim()) return;
    const isThere = this.kept.some((item) => item.name.toLowerCase() === name.trim().toLowerCase());
    if (isThere && !confirm(t("There are settings called {name}. Replace them?", { name }))) return;
    await this.send(api.post("/api/presets", { name, project: this.state.id }), $("own"));
  }

  async remove(name) {
    if (!confirm(t("Delete the settings {name}? Videos keep theirs.", { name }))) return;
    await this.send(api.post("/api/presets/delete", { name }), $("own-keep"));
  }

  // next: what the keyboard is at afterwards, as the pressed button is gone.
  async send(promise, next) {
    this.clear();
    try {
      this.take(await promise);
      next.focus();
    } catch (error) {
      this.fail(error);
    }
  }
}
