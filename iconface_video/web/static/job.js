// The bar at the bottom: what is being done, how far it is, how long it takes, and a way out. Its end is told in the title, to screen
// readers, and by a notification where that is wanted.

import { $, make } from "./dom.js";
import { capital, duration, percent } from "./format.js";
import { counted, t } from "./messages.js";

const ORDER = {
  survey: ["kind", "survey", "estimate"],
  preview: ["load", "anchors", "restore", "compare"],
  run: ["survey", "estimate", "load", "anchors", "learn", "restore", "render", "compare", "save"],
  sides: ["render"],
  versions: ["compare"],
  save: ["save"],
};
const SOMETIMES = ["kind", "survey", "estimate", "learn", "save"];
const NOTIFY = "iconface-notify";

export function titleOf(kind) {
  return {
    survey: t("Looking for people"),
    preview: t("Making the preview"),
    run: t("Restoring the video"),
    sides: t("Making the film of both"),
    versions: t("Putting two results beside each other"),
    save: t("Saving the result"),
  }[kind];
}

function stageName(stage) {
  return {
    load: t("loading the model"),
    kind: t("looking at the recording"),
    survey: t("finding faces"),
    estimate: t("measuring this computer"),
    anchors: t("learning who is who"),
    learn: t("learning people from their photos"),
    restore: t("restoring faces"),
    render: t("writing the video"),
    compare: t("preparing the comparison"),
    save: t("saving the result in the folder"),
  }[stage];
}

// isInVain: no face was restored.
function endOf(job, isInVain) {
  if (job.status === "failed") return t("It did not work: {error}", { error: job.error });
  if (job.status === "cancelled") return t("Stopped.");
  if (job.kind === "run" && isInVain) return t("No face was restored: the video is as it was.");
  return {
    survey: t("The people are found."),
    preview: t("The preview is there."),
    run: t("The video is restored."),
    sides: t("The film of both is there."),
    versions: t("The two results are shown."),
    save: t("The result is saved."),
  }[job.kind];
}

export const isActive = (job) => Boolean(job && ["waiting", "running"].includes(job.status));

// A pause holds what takes long; the rest only waits its turn.
export const isHeld = (job, isPaused) => isPaused && job.status === "waiting" && ["run", "sides", "versions"].includes(job.kind);

export function howFar(job) {
  if (job.status === "waiting") return job.ahead ? counted(job.ahead, "Waiting: {n} job comes first", "Waiting: {n} jobs come first") : t("Waiting");
  const stage = capital(stageName(job.stage) || t("starting"));
  if (!job.done && !job.total) return `${stage}\u2026`;
  const unit = { faces: t("faces"), frames: t("frames"), people: t("people"), steps: t("steps") }[job.unit] || job.unit;
  return job.total
    ? t("{stage}: {done} of {total} {unit}", { stage, done: job.done, total: job.total, unit })
    : t("{stage}: {done} {unit}", { stage, done: job.done, unit });
}

// Of the whole job where that is known.
export function timeLeft(job) {
  if (job.status !== "running") return "";
  if (job.seconds_left_of_all !== null) return t("about {time} left", { time: duration(job.seconds_left_of_all) });
  return job.seconds_left === null ? "" : t("about {time} left in this step", { time: duration(job.seconds_left) });
}

export const share = (job) => (job.share !== null ? job.share : job.total ? Math.min(1, job.done / job.total) : null);

export class JobBar {
  constructor(root, onCancel) {
    this.root = root;
    this.finished = null; // name of what was done while nobody looked: its title stays until somebody does
    $("job-cancel").addEventListener("click", onCancel);
    const wish = $("job-notify");
    wish.closest("label").hidden = !("Notification" in window);
    wish.checked = localStorage.getItem(NOTIFY) === "1" && "Notification" in window && Notification.permission === "granted";
    wish.addEventListener("change", async () => {
      if (wish.checked && (await Notification.requestPermission()) !== "granted") wish.checked = false;
      localStorage.setItem(NOTIFY, wish.checked ? "1" : "0");
    });
  }

  show(job, name, isPaused) {
    const active = isActive(job);
    this.root.hidden = !active;
    document.body.classList.toggle("working", active);
    if (active || !document.hidden || this.finished !== name) this.finished = null;
    document.title = active && job.status === "running" && share(job) !== null
      ? `${percent(share(job))} \u2013 ${name}` : this.titleAtRest(name);
    if (!active) return;
    const title = job.stopping ? t("Stopping") : isHeld(job, isPaused) ? t("Paused") : titleOf(job.kind);
    if ($("job-title").textContent !== title) $("job-title").textContent = title; // read aloud when it changes, not each time
    $("job-detail").textContent = [howFar(job), timeLeft(job)].filter(Boolean).join(", ");
    if (job.status === "running" && share(job) !== null) $("job-bar").value = share(job);
    else $("job-bar").removeAttribute("value");
    $("job-cancel").disabled = job.stopping;
    this.showStages(job);
  }

  titleAtRest(name) {
    return `${this.finished === name ? "\u2713 " : ""}${name ? `${name} \u2013 ` : ""}iconface-video`;
  }

  ended(job, name, isInVain) {
    this.tell(name, endOf(job, isInVain), job.status === "done" && job.kind === "run" && !isInVain, job.status !== "cancelled");
  }

  // Of the start page. ends: how all that waited there has ended; what was cancelled is no success, and no news to whoever cancelled it.
  lineEnded(ends) {
    this.tell("", t("Nothing is left in the line."), ends.includes("done"), ends.some((end) => end !== "cancelled"));
  }

  tell(name, said, isGood, isNews) {
    $("announce").textContent = said;
    if (isGood) this.finished = name;
    document.title = this.titleAtRest(name);
    if (isNews && $("job-notify").checked && document.hidden) new Notification(name || "iconface-video", { body: said, icon: "/static/icon.svg" });
  }

  showStages(job) {
    if (this.jobShown !== job.id) this.met = new Set();
    this.jobShown = job.id;
    this.met.add(job.stage);
    const order = ORDER[job.kind].filter((stage) => !SOMETIMES.includes(stage) || this.met.has(stage));
    const now = order.indexOf(job.stage);
    $("job-stages").hidden = order.length < 2;
    $("job-stages").replaceChildren(...order.map((stage, index) => {
      const item = make("li", { class: index < now ? "over" : index === now ? "now" : "" }, stageName(stage));
      if (index === now) item.setAttribute("aria-current", "step");
      return item;
    }));
  }
}
