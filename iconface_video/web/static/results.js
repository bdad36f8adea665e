// Finished videos: the one that is looked at, what has changed since it was made, and all others.

import * as api from "./api.js";
import { Compare } from "./compare.js";
import { $, keepingFocus, make } from "./dom.js";
import { bytes, capital, CODECS, duration, percent, sentence, time, when } from "./format.js";
import { notesOf } from "./kinds.js";
import { counted, t } from "./messages.js";
import { Where } from "./where.js";

export class Results {
  constructor({ act, fail, patch }) {
    Object.assign(this, { act, fail });
    this.compare = new Compare($("result-compare"), t("Result, before and after"));
    this.compare.onFail = () => fail(new Error(t("the browser cannot play this film; download the result instead")));
    this.where = new Where($("result-where"), t("It lies in"), () => api.post(api.project(this.state.id, "/folder"), { result: this.chosen }).catch(fail));
    this.newest = this.chosen = this.shown = this.listed = this.against = "";
    $("make-sides").addEventListener("click", () => act(api.post(`${this.path}/sides`)));
    $("against").addEventListener("change", () => this.choose($("against").value));
    $("take-settings").addEventListener("click", () => patch(settingsOf(this.found.settings)));
    $("save-result").addEventListener("click", () => act(api.post(`${this.path}/save`)));
    $("delete-result").addEventListener("click", () => {
      if (confirm(t("Delete this result? This cannot be taken back."))) act(api.remove(this.path));
    });
  }

  get path() {
    return api.project(this.state.id, `/results/${this.chosen}`);
  }

  // isHere: the page is on the program's own computer.
  show(state, isHere) {
    Object.assign(this, { state, isHere });
    const found = state.results, newest = found.length ? found[0].id : "";
    $("result").hidden = !found.length;
    if (this.newest !== newest || !found.some((item) => item.id === this.chosen)) this.chosen = newest;
    this.newest = newest;
    this.showButton(found[0], state.estimate);
    if (!found.length) {
      this.shown = "";
      this.compare.hide();
      return;
    }
    this.showVersions(found);
    this.showResult(found.find((item) => item.id === this.chosen));
  }

  // Another result beside this one (""): the video as it was. Its film is made once.
  choose(other) {
    this.against = other;
    if (other && !this.found.against.includes(other)) this.act(api.post(`${this.path}/against`, { other }));
    else this.showResult(this.found);
  }

  showAgainst(found) {
    const others = this.state.results.filter((item) => item.id !== found.id);
    if (!others.some((item) => item.id === this.against)) this.against = "";
    $("against-field").hidden = !others.length;
    const identity = JSON.stringify([found.id, others.map((item) => item.id)]);
    if (identity !== this.othersShown) {
      this.othersShown = identity;
      $("against").replaceChildren(new Option(t("The video as it was"), ""), ...others.map((item) => new Option(titleOf(item), item.id)));
    }
    if (document.activeElement !== $("against")) $("against").value = this.against;
    $("take-settings").hidden = !found.changed.some((name) => name === "part" || SETTINGS.includes(name));
  }

  showFilm(found) {
    const other = found.against.includes(this.against) ? this.state.results.find((item) => item.id === this.against) : null;
    const film = other ? `${this.path}/against/${other.id}` : `${this.path}/film.mp4`;
    if (this.shown === film) return;
    this.shown = film;
    this.compare.setTags(other ? unlike(other, found) : t("Before"), other ? unlike(found, other) : t("After"));
    const isSamePart = !other || JSON.stringify(other.settings.part) === JSON.stringify(found.settings.part);
    this.compare.showFilm(film, isSamePart ? found.close_ups : [], this.state.clip.has_sound);
  }

  // What pressing it would do.
  showButton(result, estimate) {
    const isSame = result && !result.changed.length, isKept = result && estimate && estimate.is_kept;
    $("run").textContent = isSame ? t("Restore again") : isKept ? t("Write it anew, without restoring again") : t("Restore the video");
    $("run").classList.toggle("primary", !isSame);
  }

  showVersions(found) {
    $("versions").hidden = found.length < 2;
    const identity = JSON.stringify([found.map((item) => [item.id, item.changed]), this.chosen]);
    if (identity === this.listed) return;
    this.listed = identity;
    keepingFocus($("versions"), () => {
      for (const old of $("versions").querySelectorAll("label")) old.remove();
      $("versions").append(...found.map((item) => {
        const dot = make("input", { type: "radio", name: "version", value: item.id, checked: item.id === this.chosen, "data-key": `version-${item.id}` });
        dot.addEventListener("change", () => {
          this.chosen = item.id;
          this.show(this.state, this.isHere);
        });
        return make("label", { class: "check" }, dot, make("span", {}, titleOf(item)));
      }));
    });
  }

  showResult(found) {
    const left = Object.entries(found.left_alone).map(([reason, count]) => `${reason}: ${count}`).join(", ");
    const values = {
      time: duration(found.seconds), faces: found.faces_restored, done: found.frames_restored,
      frames: found.frames, strength: percent(found.settings.strength),
    };
    const isRestored = found.faces_restored > 0;
    $("result-summary").className = isRestored ? "good" : "refusal";
    $("result-summary").textContent = isRestored
      ? t("Done in {time}: {faces} faces in {done} of {frames} frames restored at {strength} strength.", values) + (left ? ` ${t("Left alone: {list}.", { list: left })}` : "")
      : [t("No face was restored: the video is as it was."), left && t("Left alone: {list}.", { list: left })].filter(Boolean).join(" ");
    $("outdated").hidden = !found.changed.length;
    $("outdated").textContent = found.changed.length
      ? t("Since it was made, this has changed: {list}. You can still download it as it is.", { list: found.changed.map(nameOf).join(", ") })
      : "";
    $("make-sides").hidden = found.has_sides;
    $("download-sides").hidden = !found.has_sides;
    this.found = found;
    this.showAgainst(found);
    this.showFilm(found);
    this.where.show(found.path);
    this.showSaved(found);
    $("download").href = `${this.path}/download`;
    $("download").download = found.name;
    $("download-sides").href = `${this.path}/sides.mp4`;
    $("result-file").textContent = `${found.name}, ${bytes(found.bytes)}`;
    $("result-notes").replaceChildren(...notesOf(found).map((note) => make("li", {}, note)));
  }

  // In the folder that the user has chosen.
  showSaved({ saved, save_error: error }) {
    const { folder } = this.state.options;
    $("result-saved").hidden = !saved;
    $("result-saved").querySelector(".path").textContent = saved;
    $("result-unsaved").hidden = !error;
    $("result-unsaved").textContent = error ? t("It could not be saved in the folder: {error}", { error: sentence(error) }) : "";
    $("save-row").hidden = !this.isHere || !folder || ["/", "\\"].some((step) => saved.startsWith(folder + step));
  }
}

const SETTINGS = ["preset", "harder", "strength", "mask", "codec", "crf", "container", "fields", "scale", "personalize"];

function settingsOf(settings) {
  const values = Object.fromEntries(SETTINGS.map((name) => [name, settings[name]]));
  return { ...values, begin: settings.part[0], end: settings.part[1] };
}

const titleOf = (item) => `${when(item.made)}: ${madeWith(item)}`;

// What sets a result apart from another one, in few words: it stands over the picture.
function unlike(item, other) {
  const others = partsOf(other);
  return partsOf(item).filter((text) => !others.includes(text)).join(", ") || when(item.made);
}

function madeWith(item) {
  return [...partsOf(item), counted(item.faces_restored, "{n} face", "{n} faces"), bytes(item.bytes)].join(", ");
}

function partsOf(item) {
  const { strength, preset, mask, codec, part, scale, fields } = item.settings;
  const isPart = part[0] !== null || part[1] !== null;
  return [
    t("strength {value}", { value: percent(strength) }), t(capital(preset)), mask === "square" ? t("Square") : "", CODECS[codec] || codec,
    scale === 1 ? "" : `\u00d7 ${scale}`, fields === "keep" ? "" : $("fields").querySelector(`[value=${fields}]`).textContent,
    isPart ? t("{from} to {to}", { from: time(part[0] || 0), to: part[1] === null ? "\u2026" : time(part[1]) }) : "",
  ].filter(Boolean);
}

function nameOf(changed) {
  return {
    preset: t("the kind of recording"), harder: t("how hard faces are looked for"), part: t("the part"), people: t("the people"),
    photos: t("the photos"), strength: t("the strength"), strengths: t("the strength of single people"), mask: t("the shape of the blend"),
    codec: t("the codec"), crf: t("the quality"), container: t("the kind of file"), fields: t("what becomes of the fields"),
    scale: t("the size of the picture"), known: t("who is recognised"), personalize: t("who is learnt"),
    learn: t("whether single people are learnt"),
  }[changed];
}
