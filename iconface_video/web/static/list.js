// The start page: adding videos, the projects, and the line of their jobs.

import * as api from "./api.js";
import { $, button, keepingFocus, make } from "./dom.js";
import { dropZone } from "./drop.js";
import { bytes, percent, sentence, time } from "./format.js";
import { howFar, isActive, isHeld, share, timeLeft, titleOf } from "./job.js";
import { counted, t } from "./messages.js";
import { openButton } from "./where.js";

const VIDEO = /\.(mp4|m4v|mov|qt|mkv|avi|mpg|mpeg|mts|m2ts|ts|vob|dv|mxf|webm|wmv|flv|3gp|ogv)$/i;

export class List {
  // fail: gets errors.  changed: is called when the list should be asked for again.  opened: gets the number of a new project.
  constructor({ fail, clear, changed, opened }) {
    Object.assign(this, { fail, clear, changed, opened });
    this.uploads = new Map();
    this.shown = this.lineShown = this.uploadsShown = "";
    this.limit = Infinity;
    dropZone($("clip-drop"), $("clip-file"), (files) => this.add(files));
    $("path-form").addEventListener("submit", (event) => this.addPath(event));
    $("restore-all").addEventListener("click", () => this.restoreAll());
    $("line-pause").addEventListener("click", () => this.patchLine({ paused: !this.state.paused }));
  }

  get isUploading() {
    return this.uploads.size > 0;
  }

  begin(about) {
    this.limit = about.max_upload_bytes;
    $("clip-limit").textContent = t("MP4, MOV, MKV, AVI, MPEG and more, up to {size} each; several or a folder at once", { size: bytes(this.limit) });
    $("by-path").hidden = !about.is_loopback;
  }

  show(state) {
    this.state = state;
    const { projects, damaged } = state;
    $("how").hidden = projects.length > 0;
    $("projects").hidden = !projects.length && !damaged.length;
    const ready = this.ready();
    $("restore-row").hidden = ready.length < 2;
    $("restore-all").textContent = counted(ready.length, "Restore {n} video", "Restore all {n} videos");
    $("projects-folder").querySelector(".path").textContent = state.folder;
    $("damaged").replaceChildren(...damaged.map((item) => make("li", { class: "refusal" }, item.error)));
    const identity = JSON.stringify(projects.map((item) => ({ ...item, job: item.job && [item.job.kind, item.job.status] })));
    if (identity !== this.shown) {
      this.shown = identity;
      keepingFocus($("project-list"), () => $("project-list").replaceChildren(...projects.map((item) => this.card(item))), $("projects-title"));
    }
    for (const item of projects) this.showProgress(item);
    this.showLine(state);
  }

  ready() {
    return this.state.projects.filter((item) => item.people && !item.results && !isActive(item.job) && !item.trouble).map((item) => item.id);
  }

  card(item) {
    const link = make("a", { href: `#${item.id}`, class: "project-name", "data-key": `open-${item.id}` }, item.name);
    const facts = [item.seconds === null ? "" : time(item.seconds), bytes(item.bytes), item.file].filter(Boolean).join(" \u00b7 ");
    const rename = button(t("Rename"), () => this.rename(item), { class: "quiet", "data-key": `rename-${item.id}`, "aria-label": t("Rename {name}", { name: item.name }) });
    const remove = button(t("Delete"), () => this.remove(item), { class: "quiet", "data-key": `delete-${item.id}`, "aria-label": t("Delete {name}", { name: item.name }) });
    return make("li", { class: "project", id: `project-${item.id}` },
      make("img", { src: api.project(item.id, "/poster"), alt: "", loading: "lazy" }),
      make("div", { class: "project-text" }, make("h3", {}, link), make("p", { class: item.trouble || item.failed || item.is_in_vain ? "note" : "muted state" }, stateOf(item, this.state.paused)),
        make("progress", { max: 1, "aria-label": t("Progress of {name}", { name: item.name }), hidden: true }), make("p", { class: "muted" }, facts)),
      make("div", { class: "row" }, ...this.actions(item), ...this.open(item), rename, remove));
  }

  open(item) {
    const name = t("Open the folder of {name}", { name: item.name });
    return openButton(() => this.act(api.post(api.project(item.id, "/folder"))), { "data-key": `folder-${item.id}`, "aria-label": name });
  }

  actions(item) {
    if (item.failed && !isActive(item.job)) {
      return [button(t("Try again"), () => this.act(api.post(api.project(item.id, "/again"))), { "data-key": `again-${item.id}`, "aria-label": t("Try {name} again", { name: item.name }) })];
    }
    if (item.people === null || item.results || isActive(item.job) || item.trouble) return [];
    if (!item.people) return item.harder ? [] : [button(t("Look harder"), () => this.act(api.patch(api.project(item.id), { harder: true })), { class: "primary", "data-key": `harder-${item.id}`, "aria-label": t("Look harder for faces in {name}", { name: item.name }) })];
    return [button(t("Restore"), () => this.act(api.post(api.project(item.id, "/run"))), { "data-key": `run-${item.id}`, "aria-label": t("Restore {name}", { name: item.name }) })];
  }

  showProgress(item) {
    const card = $(`project-${item.id}`), bar = card.querySelector("progress");
    if (!isActive(item.job)) return;
    bar.hidden = item.job.status !== "running";
    if (share(item.job) !== null) bar.value = share(item.job);
    else bar.removeAttribute("value");
    card.querySelector(".project-text p").textContent = stateOf(item, this.state.paused);
  }

  showLine({ line, paused, projects }) {
    const names = new Map(projects.map((item) => [item.id, item.name]));
    $("line").hidden = !line.length && !paused;
    $("line-pause").textContent = paused ? t("Go on") : t("Pause");
    $("line-lead").textContent = paused ? t("Paused: nothing is restored until you go on.") : t("One video is worked on at a time, in this order.");
    const identity = JSON.stringify([line, line.map((id) => names.get(id))]);
    if (identity === this.lineShown) return;
    this.lineShown = identity;
    const move = (index, by) => {
      const order = [...line];
      [order[index], order[index + by]] = [order[index + by], order[index]];
      this.patchLine({ order });
    };
    keepingFocus($("line-list"), () => $("line-list").replaceChildren(...line.map((id, index) => {
      const name = names.get(id);
      const up = button("\u2191", () => move(index, -1), { class: "quiet", disabled: index === 0, "data-key": `up-${id}`, "aria-label": t("Move {name} up", { name }) });
      const down = button("\u2193", () => move(index, 1), { class: "quiet", disabled: index === line.length - 1, "data-key": `down-${id}`, "aria-label": t("Move {name} down", { name }) });
      const cancel = button(t("Cancel"), () => this.act(api.post(api.project(id, "/cancel"))), { class: "quiet", "data-key": `cancel-${id}`, "aria-label": t("Cancel {name}", { name }) });
      return make("li", {}, make("span", {}, name), up, down, cancel);
    })), $("line-pause"));
  }

  showUploads() {
    $("uploads").replaceChildren(...[...this.uploads.values()].map(({ file, share: done, call }) => {
      const text = done < 1 ? t("Adding {name}: {share}", { name: file.name, share: percent(done) }) : t("Looking at {name}\u2026", { name: file.name });
      const stop = button(t("Cancel"), () => call.cancel(), { "aria-label": t("Cancel {name}", { name: file.name }) });
      return make("li", {}, make("p", {}, text), make("progress", { max: 1, value: done, "aria-label": text }), stop);
    }));
  }

  // One after the other; each is a project of its own as soon as it has come in.
  async add(files) {
    this.clear();
    const wanted = files.length > 1 ? files.filter((file) => VIDEO.test(file.name) || file.type.startsWith("video/")) : files;
    const refused = [], taken = [];
    if (files.length && !wanted.length) refused.push(t("there is no video among these files"));
    for (const file of wanted) {
      if (file.size > this.limit) {
        refused.push(t("{name}: larger ({size}) than the {limit} that are allowed here; cut the clip, or start the program with a larger --max-upload", { name: file.name, size: bytes(file.size), limit: bytes(this.limit) }));
        continue;
      }
      const entry = { file, share: 0, call: null };
      entry.call = api.upload("/api/projects", file, (done) => {
        entry.share = done;
        this.showUploads();
      });
      this.uploads.set(file, entry);
      this.showUploads();
      try {
        taken.push((await entry.call.done).id);
      } catch (error) {
        if (error.name !== "AbortError") refused.push(error.message);
      }
      this.uploads.delete(file);
      this.showUploads();
      this.changed();
    }
    if (refused.length) this.fail(new Error(refused.map(sentence).join(" ")));
    if (taken.length === 1 && wanted.length === 1) this.opened(taken[0]);
  }

  async addPath(event) {
    event.preventDefault();
    this.clear();
    try {
      const { ids } = await api.post("/api/projects", { path: $("path").value });
      $("path").value = "";
      if (ids.length === 1) this.opened(ids[0]);
      else this.changed();
    } catch (error) {
      this.fail(error);
    }
  }

  act(promise) {
    this.clear();
    promise.then(() => this.changed(), this.fail);
  }

  restoreAll() {
    this.act(api.post("/api/line", { projects: this.ready().reverse(), own: $("restore-own").value }).then((answer) => {
      if (answer.refused.length) this.fail(new Error(answer.refused.map(sentence).join(" ")));
    }));
  }

  patchLine(values) {
    this.act(api.patch("/api/line", values));
  }

  rename(item) {
    const name = prompt(t("A new name for {name}", { name: item.name }), item.name);
    if (name !== null) this.act(api.patch(api.project(item.id), { name }));
  }

  remove(item) {
    if (confirm(question(item.name, item.bytes))) this.act(api.remove(api.project(item.id)));
  }
}

export const question = (name, size) =>
  t("Delete {name} with all its results and photos ({size})? This cannot be taken back. A video that was added by its path stays where it is.", { name, size: bytes(size) });

function stateOf(item, isPaused) {
  if (isActive(item.job) && isHeld(item.job, isPaused)) return t("Paused");
  if (isActive(item.job)) return [item.job.stopping ? t("Stopping") : titleOf(item.job.kind), howFar(item.job), timeLeft(item.job)].filter(Boolean).join(" \u00b7 ");
  if (item.trouble) return sentence(item.trouble);
  if (item.failed) return t("It did not work: {error}", { error: sentence(item.failed) });
  if (item.is_in_vain) return t("No face was restored: the video is as it was.");
  if (item.results) return counted(item.results, "Restored, {n} result", "Restored, {n} results");
  if (item.people === null) return t("Not looked through yet");
  return item.people ? counted(item.people, "{n} person, ready to be restored", "{n} people, ready to be restored") : t("No face was found");
}
