// The cards of the people in the clip: name, photos, whether they are restored.

import * as api from "./api.js";
import { capital, counted, duration, sentence, time } from "./format.js";
import { dropZone } from "./drop.js";

export class People {
  // take: gets every new state.  fail: gets errors that have no card of their own.  lookAt: gets a moment in seconds.
  constructor(list, lead, { take, fail, lookAt }) {
    Object.assign(this, { list, lead, take, fail, lookAt });
    this.cards = [];
    this.shown = "";
  }

  show(people, clip, job) {
    const found = people.length;
    this.lead.textContent = found
      ? `${counted(found, "person was", "people were")} found. Photos show the model what somebody looks like: sharp, from the front, of about the same age. Without photos it uses their clearest moments in the video.`
      : noFaces(clip);
    // New cards only where the people are new: whoever is typing a name must not be interrupted.
    const identity = JSON.stringify(people.map((person) => [person.spans, person.quality]));
    if (identity !== this.shown) {
      this.shown = identity;
      this.cards = people.map((person) => new Card(this, person, clip));
      this.list.replaceChildren(...this.cards.map((card) => card.root));
    }
    const busy = Boolean(job && ["waiting", "running"].includes(job.status));
    people.forEach((person, index) => this.cards[index].update(person, busy));
  }
}

function noFaces(clip) {
  const reasons = Object.entries(clip.not_tracked).map(([reason, count]) => `${reason}: ${count}`).join(", ");
  return `No face was found that could be followed${reasons ? ` (${reasons})` : ""}. The video would stay as it is.`;
}

class Card {
  constructor(owner, person, clip) {
    this.owner = owner;
    this.index = person.index;
    this.path = `/people/${person.index}`;
    this.root = document.getElementById("person-template").content.firstElementChild.cloneNode(true);
    const find = (selector) => this.root.querySelector(selector);
    this.name = find(".person-name");
    this.skip = find(".skip");
    this.photos = find(".photos");
    this.drop = find(".drop");
    this.refusal = find(".refusal");
    const label = `Person ${person.index + 1}`;
    const face = find(".face");
    face.src = `${api.url(this.path)}/face?${Math.random()}`;
    face.alt = `${label}, clearest moment`;
    this.name.id = `person-${person.index}-name`;
    this.name.placeholder = label;
    find(".person-head label").htmlFor = this.name.id;
    find(".person-head label").textContent = `Name of ${label.toLowerCase()}`;
    find(".seen").textContent = seen(person);
    const file = find(".drop input");
    file.id = `person-${person.index}-photos`;
    file.setAttribute("aria-label", `Add photos of ${label.toLowerCase()}`);
    find(".drop label").htmlFor = file.id;
    this.timeline(find(".timeline"), person, clip.seconds);
    this.name.addEventListener("change", () => this.change({ name: this.name.value }));
    this.skip.addEventListener("change", () => this.change({ skip: this.skip.checked }));
    dropZone(this.drop, file, (files) => this.add(files));
  }

  timeline(bar, person, length) {
    bar.setAttribute("aria-label", `Seen from ${person.spans.map(([from, to]) => `${time(from)} to ${time(to)}`).join(", ")}`);
    for (const [from, to] of person.spans) {
      const span = document.createElement("span");
      span.style.left = `${(100 * from) / Math.max(length, 0.01)}%`;
      span.style.width = `${(100 * (to - from)) / Math.max(length, 0.01)}%`;
      bar.append(span);
    }
    bar.addEventListener("click", () => this.owner.lookAt(person.spans[0][0]));
  }

  update(person, busy) {
    if (document.activeElement !== this.name) this.name.value = person.name;
    this.skip.checked = person.skip;
    this.root.classList.toggle("skipped", person.skip);
    this.drop.hidden = person.skip;
    for (const input of this.root.querySelectorAll("input")) input.disabled = busy;
    const ids = person.photos.map((photo) => photo.id).join();
    if (ids !== this.ids) {
      this.ids = ids;
      this.photos.replaceChildren(...person.photos.map((photo) => this.photo(photo)));
    }
    for (const button of this.photos.querySelectorAll("button")) button.disabled = busy;
  }

  photo(photo) {
    const row = document.createElement("div");
    row.className = "photo";
    const picture = document.createElement("img");
    picture.src = api.url(`${this.path}/photos/${photo.id}`);
    picture.alt = "";
    const text = document.createElement("div");
    const file = document.createElement("div");
    file.textContent = photo.file;
    const detail = document.createElement("div");
    detail.className = photo.notes.length ? "note" : "muted";
    detail.textContent = photo.notes.length ? capital(photo.notes.join("; ")) : `Likeness ${photo.likeness.toFixed(2)}`;
    text.append(file, detail);
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "quiet";
    remove.textContent = "\u2715";
    remove.setAttribute("aria-label", `Remove ${photo.file}`);
    remove.addEventListener("click", () =>
      api.remove(`${this.path}/photos/${photo.id}`).then(this.owner.take, this.owner.fail));
    row.append(picture, text, remove);
    return row;
  }

  change(values) {
    this.refuse("");
    api.patch(this.path, values).then(this.owner.take, this.owner.fail);
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
  const parts = counted(person.spans.length, "appearance");
  return `On screen ${duration(person.seconds)}, ${person.spans.length > 1 ? parts : `from ${time(person.spans[0][0])}`}`;
}
