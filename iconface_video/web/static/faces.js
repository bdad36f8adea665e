// The faces in the picture on view: a frame around each, which leads to the person's card by a click or by the keyboard.

import * as api from "./api.js";
import { button, keepingFocus, make } from "./dom.js";
import { t } from "./messages.js";
import { titleOf } from "./people.js";

export class FacesOnView {
  // chosen: gets the number of the person that was pointed at.
  constructor(root, chosen) {
    Object.assign(this, { root, chosen });
    this.wanted = this.at = "";
  }

  // Asked for only where the moment or the people are others than before.
  async show({ id, people }, seconds) {
    const wanted = JSON.stringify([id, seconds, people.map((person) => [person.index, person.name, person.tracks])]);
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    const at = JSON.stringify([id, seconds]);
    if (at !== this.at) this.draw([]); // those of another picture
    this.at = at;
    const answer = await api.get(api.project(id, `/faces?seconds=${seconds}`)).catch(() => ({ faces: [] }));
    if (wanted === this.wanted) this.draw(answer.faces, new Map(people.map((person) => [person.index, titleOf(person)])));
  }

  draw(faces, titles = new Map()) {
    keepingFocus(this.root, () => this.root.replaceChildren(...faces.map(({ person, box }) => {
      const name = titles.get(person);
      const frame = button("", () => this.chosen(person), { "aria-label": t("{name}: go to the card", { name }), "data-key": `here-${person}` });
      const place = make("div", { class: "face-here" }, frame, make("span", { "aria-hidden": "true" }, name));
      ["left", "top", "width", "height"].forEach((side, k) => { place.style[side] = `${100 * box[k]}%`; });
      return place;
    })));
    this.root.hidden = !faces.length;
  }
}
