// Before and after on one canvas: a boundary to drag, or side by side. The film holds both halves in one picture (before on
// the left), so they cannot run apart; pictures come as a pair. Strength is blended here, so it needs no new work.

import { time } from "./format.js";
import { t } from "./messages.js";

const MODES = ["slider", "sides"];

export class Compare {
  constructor(place, label) {
    place.append(document.getElementById("compare-template").content.cloneNode(true));
    this.root = place.lastElementChild;
    const find = (selector) => this.root.querySelector(selector);
    this.canvas = find("canvas");
    this.canvas.setAttribute("aria-label", label);
    this.video = find("video");
    this.split = find(".split");
    this.handle = find(".handle");
    this.seek = find(".seek");
    this.clock = find(".time");
    this.play = find(".play");
    this.sound = find(".sound");
    this.zoom = find(".zoom");
    this.mode = "slider";
    this.strength = 1;
    this.closeUps = [];
    this.source = null;
    this.split.addEventListener("input", () => this.draw());
    for (const button of this.root.querySelectorAll(".mode")) {
      button.addEventListener("click", () => this.setMode(button.dataset.mode));
    }
    this.zoom.addEventListener("click", () => {
      this.press(this.zoom, !this.isPressed(this.zoom));
      this.draw();
    });
    this.sound.addEventListener("click", () => {
      this.press(this.sound, !this.isPressed(this.sound));
      this.video.muted = !this.isPressed(this.sound);
    });
    this.play.addEventListener("click", () => (this.video.paused ? this.video.play() : this.video.pause()));
    this.seek.addEventListener("input", () => {
      this.video.pause();
      this.video.currentTime = Number(this.seek.value);
    });
    for (const event of ["play", "pause"]) this.video.addEventListener(event, () => this.showPlaying());
    for (const event of ["loadeddata", "seeked"]) this.video.addEventListener(event, () => this.draw());
    this.video.addEventListener("error", () => this.video.src && this.onFail());
    this.hide();
  }

  onFail() {}
  press(button, on) { button.setAttribute("aria-pressed", String(on)); }
  isPressed(button) { return button.getAttribute("aria-pressed") === "true"; }

  // What stands on the left, and on the right.
  setTags(before, after) {
    this.root.querySelector(".tag.before").textContent = before;
    this.root.querySelector(".tag.after").textContent = after;
  }

  hide() {
    this.root.hidden = true;
    this.source = null;
    this.video.pause();
    this.video.removeAttribute("src");
  }

  showFilm(address, closeUps, hasSound) {
    this.begin(closeUps, true);
    this.sound.hidden = !hasSound;
    this.video.src = address;
    this.source = "film";
  }

  async showPictures(before, after, closeUps) {
    this.begin(closeUps, false);
    const load = async (address) => {
      const picture = new Image();
      picture.src = address;
      await picture.decode();
      return picture;
    };
    this.pictures = await Promise.all([load(before), load(after)]);
    this.source = "pictures";
    this.draw();
  }

  begin(closeUps, isFilm) {
    this.hide();
    this.closeUps = closeUps;
    this.zoom.hidden = !closeUps.length;
    this.press(this.zoom, false);
    this.setMode(this.mode);
    for (const item of [this.play, this.seek, this.clock]) item.hidden = !isFilm;
    this.sound.hidden = true;
    this.root.hidden = false;
  }

  setMode(mode) {
    this.mode = MODES.includes(mode) ? mode : MODES[0];
    this.root.classList.toggle("sides", this.mode === "sides");
    for (const button of this.root.querySelectorAll(".mode")) this.press(button, button.dataset.mode === this.mode);
    this.draw();
  }

  setStrength(strength) {
    this.strength = strength;
    this.draw();
  }

  showPlaying() {
    const playing = !this.video.paused;
    this.play.classList.toggle("playing", playing);
    this.play.setAttribute("aria-label", playing ? t("Pause") : t("Play"));
    if (playing) this.animate();
  }

  animate() {
    this.draw();
    if (!this.video.paused) requestAnimationFrame(() => this.animate());
  }

  // [picture, x offset of its half, width, height] of before and after; null while nothing is there yet.
  halves() {
    if (this.source === "film" && this.video.readyState >= 2) {
      const width = this.video.videoWidth / 2, height = this.video.videoHeight;
      return { before: [this.video, 0], after: [this.video, width], width, height };
    }
    if (this.source === "pictures") {
      const [before, after] = this.pictures;
      return { before: [before, 0], after: [after, 0], width: before.naturalWidth, height: before.naturalHeight };
    }
    return null;
  }

  // The part of the picture that is shown: all of it, or a window of the same shape around the face of this moment.
  window(width, height) {
    const all = { x: 0, y: 0, w: width, h: height };
    if (!this.isPressed(this.zoom) || !this.closeUps.length) return all;
    const [x, y, side] = this.place(this.source === "film" ? this.video.currentTime : 0);
    const scale = Math.min(1, Math.max(0.08, (side * width) / Math.min(width, height)));
    const w = width * scale, h = height * scale;
    return {
      x: Math.min(Math.max(0, x * width - w / 2), width - w),
      y: Math.min(Math.max(0, y * width - h / 2), height - h),
      w, h,
    };
  }

  // Centre and side at a time: between two rows of one face in between, at a change of face a jump.
  place(now) {
    const rows = this.closeUps;
    let i = rows.findIndex((row) => row[0] > now);
    if (i < 0) i = rows.length;
    const a = rows[Math.max(0, i - 1)], b = rows[Math.min(i, rows.length - 1)];
    const between = a !== b && a[4] === b[4] ? Math.min(1, Math.max(0, (now - a[0]) / (b[0] - a[0]))) : 0;
    return [1, 2, 3].map((k) => a[k] + between * (b[k] - a[k]));
  }

  draw() {
    const found = this.halves();
    if (!found || this.root.hidden) return;
    const { before, after, width, height } = found;
    const part = this.window(width, height);
    const sides = this.mode === "sides";
    this.resize(sides ? 2 * width : width, height);
    const context = this.canvas.getContext("2d");
    const paint = ([picture, offset], x) => context.drawImage(picture, offset + part.x, part.y, part.w, part.h, x, 0, width, height);
    const edge = sides ? width : (width * Number(this.split.value)) / 100;
    paint(before, 0);
    context.save();
    context.beginPath();
    context.rect(edge, 0, this.canvas.width - edge, height);
    context.clip();
    if (sides) paint(before, width);
    context.globalAlpha = this.strength;
    paint(after, sides ? width : 0);
    context.restore();
    this.handle.style.left = `${this.split.value}%`;
    if (this.source === "film") {
      this.seek.max = this.video.duration || 1;
      this.seek.value = this.video.currentTime;
      this.clock.textContent = `${time(this.video.currentTime)} / ${time(this.video.duration || 0)}`;
    }
  }

  resize(width, height) {
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
  }
}
