// The bar at the bottom: what is being done, how far it is, how long it takes, and a way out.

import { capital, counted, duration } from "./format.js";

const TITLES = { survey: "Looking for people", preview: "Making the preview", run: "Restoring the video" };
const STAGES = {
  load: "loading the model",
  survey: "finding faces",
  anchors: "learning who is who",
  restore: "restoring faces",
  render: "writing the video",
  compare: "preparing the comparison",
};
const ORDER = {
  survey: ["survey"],
  preview: ["load", "anchors", "restore", "compare"],
  run: ["load", "anchors", "restore", "render", "compare"],
};

export const isActive = (job) => Boolean(job && ["waiting", "running"].includes(job.status));

export class JobBar {
  constructor(root, onCancel) {
    this.root = root;
    const find = (id) => root.querySelector(id);
    [this.title, this.detail, this.bar, this.stages, this.cancel] =
      ["#job-title", "#job-detail", "#job-bar", "#job-stages", "#job-cancel"].map(find);
    this.cancel.addEventListener("click", onCancel);
  }

  show(job) {
    this.root.hidden = !isActive(job);
    document.body.classList.toggle("working", isActive(job));
    if (!isActive(job)) return;
    const title = job.stopping ? "Stopping" : TITLES[job.kind];
    if (this.title.textContent !== title) this.title.textContent = title; // read aloud when it changes, not each time
    this.detail.textContent = job.status === "waiting" ? waiting(job) : detail(job);
    if (job.status === "running" && job.total) this.bar.value = Math.min(1, job.done / job.total);
    else this.bar.removeAttribute("value");
    this.cancel.disabled = job.stopping;
    this.showStages(job);
  }

  showStages(job) {
    const order = ORDER[job.kind];
    const now = order.indexOf(job.stage);
    this.stages.hidden = order.length < 2;
    this.stages.replaceChildren(...order.map((stage, index) => {
      const item = document.createElement("li");
      item.textContent = STAGES[stage];
      item.className = index < now ? "over" : index === now ? "now" : "";
      if (index === now) item.setAttribute("aria-current", "step");
      return item;
    }));
  }
}

function waiting(job) {
  return job.ahead ? `Waiting: ${counted(job.ahead, "job comes", "jobs come")} first` : "Waiting";
}

function detail(job) {
  const stage = capital(STAGES[job.stage] || "starting");
  if (!job.done && !job.total) return `${stage}\u2026`;
  const amount = job.total ? `${job.done} of ${job.total} ${job.unit}` : `${job.done} ${job.unit}`;
  const left = job.seconds_left === null ? "" : `, about ${duration(job.seconds_left)} left in this step`;
  return `${stage}: ${amount}${left}`;
}
