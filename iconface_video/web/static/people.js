// The cards of the people in the clip: name, photos, how strongly they are restored, who is who.

import * as api from "./api.js";
import { button, keepingFocus, make } from "./dom.js";
import { dropZone } from "./drop.js";
import { capital, duration, hundredths, percent, sentence, time } from "./format.js";
import { counted, t } from "./messages.js";

export class People {
  // act: gets promises of new states.  take: gets new states.  lookAt: gets a moment in seconds.
  constructor(list, lead, { act, take, lookAt }) {
    Object.assign(this, { list, lead, act, take, lookAt });
    this.cards = [];
    this.shown = "";
    this.opened = new Set(); // people whose further settings are unfolded
  }

  // isHere: the page is on the program's own computer.
  show(state, busy, isHere) {
    const { people, clip, id } = state;
    this.id = id;
    this.lead.textContent = people.length
      ? `${counted(people.length, "{n} person was found.", "{n} people were found.")} ${t("Photos show the model what somebody looks like: sharp, from the front, of about the same age. Without photos it uses their clearest moments in the video.")}`
      : noFaces(clip);
    // New cards only where the people are new: whoever is typing a name must not be interrupted.
    const identity = JSON.stringify([id, people.map((person) => [person.index, person.tracks, person.quality])]);
    if (identity !== this.shown) {
      this.shown = identity;
      this.cards = people.map((person) => new Card(this, person, clip));
      keepingFocus(this.list, () => this.list.replaceChildren(...this.cards.map((card) => card.root)), this.lead);
    }
    people.forEach((person, index) => this.cards[index].update(person, people, busy, isHere));
  }

  // Whoever was pointed at: the card comes into sight, ready for a name.
  choose(index) {
    for (const card of this.cards) card.root.classList.toggle("chosen", card.person.index === index);
    const card = this.cards.find((item) => item.person.index === index);
    if (!card) return;
    card.root.scrollIntoView({ block: "center" });
    (card.name.disabled ? card.root : card.name).focus({ preventScroll: true });
  }
}

export const titleOf = (person) => person.name || t("Person {n}", { n: person.index + 1 });

function noFaces(clip) {
  const reasons = Object.entries(clip.not_tracked).map(([reason, count]) => `${reason}: ${count}`).join(", ");
  return `${t("No face was found that could be followed")}${reasons ? ` (${reasons})` : ""}. ${t("The video would stay as it is.")}`;
}

class Card {
  constructor(owner, person, clip) {
    this.owner = owner;
    this.person = person;
    this.path = api.project(owner.id, `/people/${person.index}`);
    this.root = document.getElementById("person-template").content.firstElementChild.cloneNode(true);
    this.root.tabIndex = -1;
    const find = (selector) => this.root.querySelector(selector);
    for (const part of ["name", "skip", "photos", "drop", "refusal", "strength", "only", "same", "more", "moments", "apart", "to", "keep",
      "kept", "recognise", "learn"]) {
      this[part] = find(`.${part}`);
    }
    const n = person.index + 1, face = find(".face");
    face.src = api.project(owner.id, `/faces/${person.best_track}`);
    face.alt = t("Person {n}, clearest moment", { n });
    this.label(this.name, find(".name-label"), t("Name of person {n}", { n }), "name");
    this.name.placeholder = t("Person {n}", { n });
    find(".seen").textContent = seen(person);
    this.label(find(".drop input"), find(".drop label"), t("Add photos of person {n}", { n }), "photos", true);
    this.label(this.strength, find(".strength-label"), t("Strength of person {n}", { n }), "strength", true);
    this.label(this.learn, find(".learn-label"), t("Learn person {n} from the photos", { n }), "learn", true);
    this.learn.addEventListener("change", () => this.change({ learn: this.learn.value }));
    this.label(this.same, find(".same-label"), t("Person {n} is the same person as", { n }), "same", true);
    this.label(this.to, find(".to-label"), t("The ticked appearances of person {n} are", { n }), "to", true);
    this.skip.dataset.key = `skip-${person.index}`;
    find("summary").dataset.key = `more-${person.index}`;
    this.timeline(find(".timeline"), person, clip.seconds);
    this.name.addEventListener("change", () => this.change({ name: this.name.value }));
    this.skip.addEventListener("change", () => this.change({ skip: this.skip.checked }));
    this.strength.addEventListener("input", () => this.showStrength(this.strength.value / 100));
    this.strength.addEventListener("change", () => this.change({ strength: this.strength.value / 100 }));
    this.only.addEventListener("click", () => this.owner.act(api.post(api.project(owner.id, "/people"), { people: [person.index] })));
    this.keep.addEventListener("click", () => this.keepPerson());
    this.recognise.dataset.key = `recognise-${person.index}`;
    this.keep.dataset.key = `keep-${person.index}`;
    this.recognise.addEventListener("change", () => this.change({ recognise: this.recognise.checked }));
    this.same.addEventListener("change", () => this.same.value !== "" && this.move(null, Number(this.same.value)));
    this.more.open = owner.opened.has(person.index);
    this.more.addEventListener("toggle", () => owner.opened[this.more.open ? "add" : "delete"](person.index));
    this.moments.replaceChildren(...person.tracks.map((item) => this.moment(item)));
    this.apart.addEventListener("click", () => this.move(this.chosen(), null));
    this.to.addEventListener("change", () => this.to.value !== "" && this.move(this.chosen(), Number(this.to.value)));
    find(".appearances").hidden = person.tracks.length < 2;
    dropZone(this.drop, find(".drop input"), (files) => this.add(files));
  }

  label(control, label, text, kind, keepsText = false) {
    control.id = `person-${this.person.index}-${kind}`;
    control.dataset.key = control.id;
    label.htmlFor = control.id;
    if (keepsText) control.setAttribute("aria-label", text);
    else label.textContent = text;
  }

  timeline(bar, person, length) {
    const spans = person.spans.map(([from, to]) => t("{from} to {to}", { from: time(from), to: time(to) })).join(", ");
    bar.setAttribute("aria-label", t("Seen from {spans}; show the clearest moment", { spans }));
    bar.dataset.key = `timeline-${person.index}`;
    for (const [from, to] of person.spans) {
      const span = make("span");
      const left = (100 * from) / Math.max(length, 0.01);
      span.style.left = `${left}%`;
      span.style.width = `${Math.min(100 - left, (100 * (to - from)) / Math.max(length, 0.01))}%`;
      bar.append(span);
    }
    bar.addEventListener("click", () => this.owner.lookAt(person.best_seconds));
  }

  moment({ track, seconds }) {
    const at = t("Appearance at {time}", { time: time(seconds) });
    const picture = make("img", { src: api.project(this.owner.id, `/faces/${track}`), alt: "", loading: "lazy" });
    picture.addEventListener("error", () => picture.remove()); // only the best ones have a picture
    const tick = make("input", { type: "checkbox", value: track, "aria-label": at, "data-key": `track-${track}` });
    tick.addEventListener("change", () => this.showApart());
    return make("label", { class: "moment" }, tick, picture, make("span", {}, time(seconds)));
  }

  chosen() {
    return [...this.moments.querySelectorAll("input:checked")].map((tick) => Number(tick.value));
  }

  showApart() {
    const count = this.chosen().length;
    this.apart.disabled = this.busy || !count || count === this.person.tracks.length;
    this.to.disabled = this.busy || !count;
  }

  move(tracks, to) {
    this.same.value = this.to.value = ""; // it may be refused
    this.owner.act(api.post(`${this.path}/move`, { tracks, to }));
  }

  update(person, people, busy, isHere) {
    this.busy = busy;
    if (document.activeElement !== this.name) this.name.value = person.name;
    this.skip.checked = person.skip;
    this.root.classList.toggle("skipped", person.skip);
    if (document.activeElement !== this.strength) this.strength.value = Math.round(person.strength * 100);
    this.showStrength(this.strength.value / 100);
    const others = people.filter((other) => other.index !== person.index);
    this.only.hidden = this.same.parentElement.hidden = this.to.parentElement.hidden = !others.length;
    for (const list of [this.same, this.to]) {
      list.replaceChildren(new Option("\u2013", ""), ...others.map((other) => new Option(titleOf(other), other.index)));
    }
    const photos = JSON.stringify(person.photos);
    if (photos !== this.photosShown) {
      this.photosShown = photos;
      keepingFocus(this.photos, () => this.photos.replaceChildren(...person.photos.map((photo) => this.photo(photo))), this.name);
    }
    for (const control of this.root.querySelectorAll("input, select, button")) {
      if (!control.classList.contains("timeline")) control.disabled = busy;
    }
    this.showApart();
    this.showLearn(person, busy);
    this.showKept(person, busy, isHere);
  }

  // Without a photo there is nothing to learn from; what was chosen is still shown, and can be taken back.
  showLearn(person, busy) {
    if (document.activeElement !== this.learn) this.learn.value = person.learn;
    const hasPhotos = person.photos.length > 0 || Boolean(person.recognised);
    this.learn.disabled = busy || !(hasPhotos || person.learn);
    this.root.querySelector(".learn-about").textContent = hasPhotos
      ? t("A minute or two, before the first face is restored; previews go without.") : t("Needs a photo");
  }

  showKept(person, busy, isHere) {
    const found = person.recognised;
    if (found) this.lastRecognised = found;
    const line = this.recognise.closest("label"), last = this.lastRecognised;
    line.hidden = !found && person.recognise;
    this.recognise.checked = person.recognise;
    line.querySelector(".recognised-text").textContent = last
      ? t("This is {name}, whom you keep (likeness {value})", { name: last.name, value: hundredths(last.score) })
      : t("May be somebody whom you keep");
    this.keep.hidden = !isHere;
    this.keep.disabled = busy || !person.name || !person.photos.length;
    this.keep.title = this.keep.disabled ? t("Needs a name and a photo") : "";
    this.kept.hidden = !this.said && !(person.is_kept && person.photos.length);
    this.kept.textContent = this.said || t("{name} is kept, and recognised in other videos.", { name: person.name });
  }

  async keepPerson() {
    this.refuse("");
    this.keep.disabled = true;
    try {
      const state = await api.post(`${this.path}/keep`);
      this.said = state.notes.map(sentence).join(" ");
      this.owner.take(state);
    } catch (error) {
      this.refuse(sentence(error.message));
      this.keep.disabled = false;
    }
  }

  showStrength(share) {
    this.root.querySelector(".strength-value").textContent = percent(share);
  }

  photo(photo) {
    const picture = make("img", { src: `${this.path}/photos/${photo.id}`, alt: "" });
    const detail = photo.notes.length
      ? make("div", { class: "note" }, capital(photo.notes.join("; ")))
      : make("div", { class: "muted" }, t("Likeness {value}", { value: hundredths(photo.likeness) }));
    const remove = button("\u2715", () => this.owner.act(api.remove(`${this.path}/photos/${photo.id}`)), {
      class: "quiet", "aria-label": t("Remove {name}", { name: photo.file }), "data-key": `photo-${photo.id}`,
    });
    return make("div", { class: "photo" }, picture, make("div", {}, make("div", {}, photo.file), detail), remove);
  }

  change(values) {
    this.refuse("");
    this.owner.act(api.patch(this.path, values));
  }

  async add(files) {
    this.refuse("");
    this.drop.classList.add("busy");
    const refused = [];
    for (const file of files) {
      try {
        this.owner.take(await api.upload(`${this.path}/photos`, file).done);
      } catch (error) {
        refused.push(sentence(error.message));
      }
    }
    this.drop.classList.remove("busy");
    this.refuse(refused.join(" "));
  }

  refuse(message) {
    this.refusal.textContent = message;
    this.refusal.hidden = !message;
  }
}

function seen(person) {
  const values = { duration: duration(person.seconds), from: time(person.spans[0][0]), n: person.spans.length };
  return person.spans.length > 1 ? t("On screen {duration}, {n} appearances", values) : t("On screen {duration}, from {from}", values);
}
