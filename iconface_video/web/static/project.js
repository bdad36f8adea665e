// One project: its clip, people, settings, previews and results.

import * as api from "./api.js";
import { Compare } from "./compare.js";
import { $ } from "./dom.js";
import { FacesOnView } from "./faces.js";
import { bytes, capital, CODECS, duration, percent, sentence, time } from "./format.js";
import { isActive } from "./job.js";
import { whyPreset } from "./kinds.js";
import { question } from "./list.js";
import { counted, t } from "./messages.js";
import { People } from "./people.js";
import { OwnPresets } from "./own.js";
import { Results } from "./results.js";
import { Where } from "./where.js";

const FRAME_DELAY_MS = 120;
const SCALES = [1, 1.5, 2, 3, 4];
const CONTROLS = ["look-again", "harder", "everybody", "preset", "strength", "mask", "codec", "container", "crf", "scale", "fields",
  "personalize", "device", "workers", "preview-frame",
  "preview-stretch", "begin-here", "end-here", "part-whole", "run", "make-sides", "delete-result", "again", "against",
  "take-settings", "own", "save-folder", "save-take", "save-none", "save-result"];

export class ProjectView {
  constructor({ act, take, fail, clear }) {
    Object.assign(this, { act, take, fail, clear });
    this.state = null;
    this.shownId = this.previewShown = this.momentOf = "";
    this.preview = new Compare($("preview-compare"), t("Preview, before and after"));
    this.preview.onFail = () => fail(new Error(t("the browser cannot play this film; download the result instead")));
    this.results = new Results({ act, fail, patch: (values) => this.patch(values) });
    this.people = new People($("people-list"), $("people-lead"), { act, take, lookAt: (seconds) => this.moveTo(seconds) });
    this.faces = new FacesOnView($("faces-on-view"), (index) => this.people.choose(index));
    this.where = new Where($("project-folder"), t("All of it lies in"), () => api.post(`${this.path}/folder`).catch(fail));
    this.own = new OwnPresets({ fail, clear, patch: (values) => this.patch(values) });
    this.listen();
  }

  begin(about) {
    this.about = about;
    $("preset").replaceChildren(...about.presets.map((item) => new Option(t(capital(item.name)), item.name)));
    $("codec").replaceChildren(...about.codecs.map((name) => new Option(CODECS[name] || name, name)));
    $("container").replaceChildren(...about.containers.map((suffix) => new Option(suffix ? suffix.slice(1).toUpperCase() : t("As the video's"), suffix)));
    $("device").replaceChildren(...about.devices.map((name) => new Option(deviceName(name), name)));
  }

  get path() {
    return api.project(this.state.id);
  }

  patch(values) {
    this.act(api.patch(this.path, values));
  }

  post(path, values) {
    this.act(api.post(`${this.path}${path}`, values));
  }

  listen() {
    $("rename").addEventListener("click", () => {
      const name = prompt(t("A new name for {name}", { name: this.state.name }), this.state.name);
      if (name !== null) this.patch({ name });
    });
    $("delete").addEventListener("click", async () => {
      if (!confirm(question(this.state.name, this.state.clip ? this.state.clip.bytes : 0))) return;
      await api.remove(this.path).catch(this.fail);
      location.hash = "";
    });
    $("moved").addEventListener("submit", (event) => {
      event.preventDefault();
      this.patch({ path: $("moved-path").value });
    });
    $("look-again").addEventListener("click", () => this.post("/survey"));
    $("again").addEventListener("click", () => this.post("/again"));
    $("harder").addEventListener("click", () => this.patch({ harder: !this.state.options.harder }));
    $("everybody").addEventListener("click", () => this.post("/people", { people: this.state.people.map((person) => person.index) }));
    $("preset").addEventListener("change", () => this.patch({ preset: $("preset").value, strength: null, mask: null }));
    $("strength").addEventListener("input", () => this.showStrength());
    $("strength").addEventListener("change", () => this.patch({ strength: Number($("strength").value) / 100 }));
    for (const name of ["mask", "codec", "container", "fields", "device", "personalize"]) {
      $(name).addEventListener("change", () => this.patch({ [name]: $(name).value }));
    }
    $("scale").addEventListener("change", () => this.patch({ scale: Number($("scale").value) }));
    $("workers").addEventListener("change", () => this.patch({ workers: Number($("workers").value) || null }));
    $("crf").addEventListener("change", () => $("crf").value !== "" && this.patch({ crf: Number($("crf").value) }));
    $("moment").addEventListener("input", () => {
      this.preview.hide();
      clearTimeout(this.frameTimer);
      $("moment-value").textContent = time(Number($("moment").value));
      this.frameTimer = setTimeout(() => this.showMoment(), FRAME_DELAY_MS);
    });
    for (const kind of ["frame", "stretch"]) {
      $(`preview-${kind}`).addEventListener("click", () => this.post("/preview", { kind, seconds: Number($("moment").value) }));
    }
    $("begin-here").addEventListener("click", () => this.patch({ begin: Number($("moment").value) || null }));
    $("end-here").addEventListener("click", () => this.patch({ end: Number($("moment").value) }));
    $("part-whole").addEventListener("click", () => this.patch({ begin: null, end: null }));
    $("save-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.patch({ folder: $("save-folder").value });
    });
    $("save-none").addEventListener("click", () => {
      $("save-folder").value = "";
      $("save-folder").focus();
      this.patch({ folder: "" });
    });
    $("run").addEventListener("click", () => this.post("/run"));
    $("log-details").addEventListener("toggle", () => this.showLog());
  }

  show(state) {
    this.state = state;
    const busy = isActive(state.job), surveyed = state.people !== null && state.clip !== null;
    for (const id of ["people", "settings", "look", "restore"]) $(id).hidden = !surveyed;
    for (const id of CONTROLS) $(id).disabled = busy;
    this.showClip(state, surveyed, busy);
    if (!surveyed) return;
    // Without a face there is nothing to look at or to restore: what is left to do is to look harder.
    $("look").hidden = !state.people.length;
    $("restore").hidden = !state.people.length && !state.results.length;
    $("to-restore").hidden = !state.people.length;
    this.people.show(state, busy, this.about.is_loopback);
    $("everybody").hidden = !state.people.some((person) => person.skip);
    $("harder").textContent = state.options.harder ? t("Look as usual again") : t("Look harder for small or dim faces");
    $("harder").classList.toggle("primary", !state.people.length && !state.options.harder);
    $("harder").classList.toggle("quiet", state.people.length > 0);
    if (this.momentOf !== state.id) {
      this.momentOf = state.id;
      this.previewShown = "";
      this.preview.hide(); // another project's
      $("moment").value = state.people.length && !state.preview ? state.people[0].best_seconds : 0;
      this.showMoment();
    }
    if (!$("moment-view").hidden) this.faces.show(state, Number($("moment").value));
    this.showSettings(state);
    this.own.show(state);
    this.showPart(state);
    this.showPreview(state);
    this.showEstimate(state);
    this.results.show(state, this.about.is_loopback);
  }

  showClip(state, surveyed, busy) {
    const { clip } = state;
    $("project-name").textContent = state.name;
    $("trouble").hidden = !state.trouble;
    $("trouble").textContent = state.trouble;
    $("moved").hidden = !state.trouble || !this.about.is_loopback;
    $("warnings").replaceChildren(...state.warnings.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    $("failed").hidden = !state.failed || busy;
    if (state.failed) $("failed-text").textContent = t("It did not work: {error}", { error: sentence(state.failed.error) });
    $("look-again").hidden = surveyed || busy || Boolean(state.failed);
    this.where.show(state.folder);
    $("goes-to").textContent = state.results_folder;
    $("save-details").hidden = !this.about.is_loopback;
    if (document.activeElement !== $("save-folder") || !busy && this.folderShown !== state.options.folder) $("save-folder").value = state.options.folder;
    this.folderShown = state.options.folder;
    $("save-none").hidden = !state.options.folder;
    if (this.shownId !== state.id) {
      this.shownId = state.id;
      $("clip-still").src = api.project(state.id, "/poster");
      $("log-details").open = false;
      $("save-details").open = Boolean(state.options.folder);
    }
    if (!clip) return;
    const rate = clip.rate ? t("{rate} frames a second", { rate: Number(clip.rate.toFixed(2)) }) : "";
    $("clip-name").textContent = clip.name;
    $("clip-detail").textContent = [
      clip.seconds === null ? "" : time(clip.seconds), `${clip.width} \u00d7 ${clip.height}`, rate,
      clip.has_sound ? t("with sound") : t("silent"), bytes(clip.bytes),
      surveyed ? counted(clip.shots, "{n} shot", "{n} shots") : "",
    ].filter(Boolean).join(" \u00b7 ");
    $("moment").max = Math.max(clip.seconds || 0, 0.01);
    $("moment").step = clip.rate ? 1 / clip.rate : 0.04;
  }

  showSettings({ options, clip, looked }) {
    const known = this.about.presets.find((item) => item.name === options.preset);
    $("preset").value = options.preset;
    $("preset-why").hidden = !looked;
    if (looked) $("preset-why").textContent = whyPreset(looked, options.preset);
    $("preset-about").textContent = known ? t(known.description) : "";
    if (document.activeElement !== $("strength")) $("strength").value = Math.round(options.strength * 100);
    for (const name of ["mask", "codec", "container", "fields", "device", "personalize"]) $(name).value = options[name];
    if (document.activeElement !== $("crf")) $("crf").value = options.crf;
    if (document.activeElement !== $("workers")) $("workers").value = options.workers || 1;
    $("fields-field").hidden = !clip.is_interlaced;
    const scales = SCALES.includes(options.scale) ? SCALES : [...SCALES, options.scale].sort();
    $("scale").replaceChildren(...scales.map((scale) => new Option(sizeAt(clip, scale), scale)));
    $("scale").value = options.scale;
    this.showStrength();
  }

  showStrength() {
    $("strength-value").textContent = percent($("strength").value / 100);
    this.preview.setStrength(Number($("strength").value) / 100);
  }

  showPart({ options, clip }) {
    const begin = options.begin || 0, end = options.end === null ? clip.seconds : options.end;
    const length = Math.max(clip.seconds || 0, 0.01), shade = $("part-bar").firstElementChild;
    shade.style.left = `${(100 * begin) / length}%`;
    shade.style.width = `${Math.max(0, (100 * (Math.min(end, length) - begin)) / length)}%`;
    const isWhole = options.begin === null && options.end === null;
    $("part-whole").hidden = isWhole;
    $("part-value").textContent = isWhole
      ? t("The whole video is restored.")
      : t("Restored and written: {from} to {to}", { from: time(begin), to: time(end) });
  }

  showEstimate({ estimate }) {
    $("estimate").hidden = estimate === null;
    if (estimate === null) return;
    const values = {
      time: duration(estimate.seconds), faces: estimate.faces, frames: estimate.frames,
      size: bytes(estimate.bytes), kept: bytes(estimate.work_bytes),
    };
    $("estimate").textContent = estimate.is_kept
      ? t("About {time} on this computer: the faces are restored, only the video is written anew; the result takes about {size}.", values)
      : t("About {time} on this computer for {faces} faces in {frames} frames; the result takes about {size}, the faces that are kept {kept}.", values);
  }

  showPreview(state) {
    const found = state.preview, id = found ? found.id : "";
    if (id === this.previewShown) return;
    this.previewShown = id;
    if (!found) {
      this.preview.hide();
      this.showMoment();
      return;
    }
    const files = `${this.path}/preview/${id}`;
    $("moment").value = found.seconds;
    $("moment-value").textContent = time(found.seconds);
    $("moment-view").hidden = true;
    $("preview-caption").textContent = found.kind === "frame"
      ? t("The frame at {time}. The strength above is shown at once.", { time: time(found.seconds) })
      : t("{length} from {time}. The strength above is shown at once.", { length: duration(found.length), time: time(found.seconds) });
    if (found.kind === "stretch") this.preview.showFilm(`${files}/film.mp4`, found.close_ups, false);
    else this.preview.showPictures(`${files}/before.jpg`, `${files}/after.jpg`, found.close_ups).catch(this.fail);
  }

  showMoment() {
    if (!this.state || !this.state.clip) return;
    const seconds = Number($("moment").value);
    $("moment-value").textContent = time(seconds);
    $("moment").setAttribute("aria-valuetext", time(seconds));
    $("moment-picture").src = `${this.path}/frame?seconds=${seconds}`;
    $("moment-view").hidden = false;
    this.faces.show(this.state, seconds);
    $("preview-caption").textContent = "";
  }

  moveTo(seconds) {
    $("moment").value = seconds;
    this.preview.hide();
    this.showMoment();
    $("look").scrollIntoView({ block: "start" });
    $("moment").focus({ preventScroll: true });
  }

  async showLog() {
    if (!$("log-details").open) return;
    const answer = await fetch(`${this.path}/log`).catch(() => null);
    $("log").textContent = answer && answer.ok ? await answer.text() : "";
  }

  ended(job) {
    this.showLog();
    const place = { preview: "look", run: "result", versions: "result" }[job.kind];
    if (job.status === "done" && place) $(place).scrollIntoView({ block: "start" });
  }
}

function deviceName(name) {
  return { auto: t("The fastest there is"), cpu: t("The processor") }[name] || name;
}

// About: the program makes sizes even.
function sizeAt({ width, height }, scale) {
  return `${Math.round(width * scale)} \u00d7 ${Math.round(height * scale)}`;
}
