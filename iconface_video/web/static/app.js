// The page: shows the program's state, and passes on what the user does. The program holds the truth; this only draws it.

import * as api from "./api.js";
import { Compare } from "./compare.js";
import { dropZone } from "./drop.js";
import { bytes, capital, counted, duration, sentence, time } from "./format.js";
import { JobBar, isActive } from "./job.js";
import { People } from "./people.js";

const POLL_BUSY_MS = 400, POLL_IDLE_MS = 20000, FRAME_DELAY_MS = 120;
const $ = (id) => document.getElementById(id);

let about = null, state = null, timer = 0, frameTimer = 0;
let clipShown = "", momentOf = "", previewShown = "", resultShown = "", failureShown = "", uploading = null, strengthOf = "";

const preview = new Compare($("preview-compare"), "Preview, before and after");
const result = new Compare($("result-compare"), "Result, before and after");
const bar = new JobBar($("job"), () => api.post("/cancel").then(take, fail));
const people = new People($("people-list"), $("people-lead"), { take, fail, lookAt: moveTo });

function fail(error) {
  if (error.name === "AbortError") return;
  $("alert-text").textContent = sentence(error.message);
  $("alert").hidden = false;
  $("alert").scrollIntoView({ block: "nearest" });
  if (error instanceof api.Gone) start().catch(fail);
}

const clearAlert = () => { $("alert").hidden = true; };

function take(next) {
  const before = state && state.job;
  state = next;
  show();
  if (before && isActive(before) && !isActive(state.job)) ended(state.job);
  clearTimeout(timer);
  timer = setTimeout(poll, isActive(state.job) ? POLL_BUSY_MS : POLL_IDLE_MS);
}

async function poll() {
  try {
    take(await api.state());
  } catch (error) {
    fail(error);
    timer = setTimeout(poll, 3000);
  }
}

function ended(job) {
  if (job.status === "failed" && failureShown !== job.id) {
    failureShown = job.id;
    fail(new Error(job.error));
  }
  const place = { preview: "look", run: "result", survey: "people" }[job.kind];
  if (job.status === "done" && place !== "people") $(place).scrollIntoView({ block: "start", behavior: "smooth" });
}

function show() {
  const { clip, job } = state;
  const busy = isActive(job);
  const surveyed = clip !== null && state.people !== null;
  $("start-over").hidden = clip === null;
  $("clip-drop").hidden = clip !== null || uploading !== null;
  $("how").hidden = clip !== null || uploading !== null;
  $("upload").hidden = uploading === null;
  $("clip-facts").hidden = clip === null || uploading !== null;
  $("look-again").hidden = surveyed || busy;
  for (const id of ["people", "settings", "look", "restore"]) $(id).hidden = !surveyed;
  for (const id of ["clip-other", "look-again", "preset", "preview-frame", "preview-stretch", "run"]) $(id).disabled = busy;
  bar.show(job);
  if (clip) showClip(clip, surveyed);
  else clipShown = momentOf = "";
  if (!surveyed) return;
  people.show(state.people, clip, job);
  if (momentOf !== clipShown) {
    momentOf = clipShown;
    if (state.people.length && !state.preview) $("moment").value = state.people[0].best_seconds;
    showMoment();
  }
  showSettings();
  showPreview();
  showResult();
}

function showClip(clip, surveyed) {
  const identity = `${clip.name} ${clip.bytes}`;
  $("clip-name").textContent = clip.name;
  const rate = clip.rate ? `${Number(clip.rate.toFixed(2))} frames a second` : "";
  $("clip-detail").textContent = [
    clip.seconds === null ? "" : time(clip.seconds), `${clip.width} \u00d7 ${clip.height}`, rate,
    clip.has_sound ? "with sound" : "silent", bytes(clip.bytes),
    surveyed ? counted(clip.shots, "shot") : "",
  ].filter(Boolean).join(" \u00b7 ");
  if (clipShown !== identity) {
    clipShown = identity;
    previewShown = resultShown = strengthOf = "";
    $("clip-still").src = api.url(`/frame?seconds=0&${encodeURIComponent(identity)}`);
  }
  $("moment").max = Math.max(clip.seconds || 0, 0.01);
  $("moment").step = clip.rate ? 1 / clip.rate : 0.04;
}

function showSettings() {
  const known = about.presets.find((item) => item.name === state.preset);
  $("preset").value = state.preset;
  $("preset-about").textContent = known.description;
  if (strengthOf !== state.preset) {
    strengthOf = state.preset;
    $("strength").value = Math.round(known.strength * 100);
  }
  showStrength();
}

function showStrength() {
  $("strength-value").textContent = `${$("strength").value} %`;
  preview.setStrength(Number($("strength").value) / 100);
}

function showPreview() {
  const found = state.preview;
  const id = found ? found.id : "";
  if (id === previewShown) return;
  previewShown = id;
  if (!found) {
    preview.hide();
    showMoment();
    return;
  }
  const files = api.url(`/preview/${id}`);
  $("moment").value = found.seconds;
  $("moment-value").textContent = time(found.seconds);
  $("moment-picture").hidden = true;
  $("preview-caption").textContent = found.kind === "frame"
    ? `The frame at ${time(found.seconds)}. The strength above is shown at once.`
    : `${capital(duration(found.length))} from ${time(found.seconds)}. The strength above is shown at once.`;
  if (found.kind === "stretch") preview.showFilm(`${files}/film.mp4`, found.close_ups, false);
  else preview.showPictures(`${files}/before.jpg`, `${files}/after.jpg`, found.close_ups).catch(fail);
}

function showMoment() {
  if (!state || !state.clip) return;
  const seconds = Number($("moment").value);
  $("moment-value").textContent = time(seconds);
  $("moment-picture").src = api.url(`/frame?seconds=${seconds}&${encodeURIComponent(clipShown)}`);
  $("moment-picture").hidden = false;
  $("preview-caption").textContent = "";
}

function moveTo(seconds) {
  $("moment").value = seconds;
  preview.hide();
  showMoment();
  $("look").scrollIntoView({ block: "start", behavior: "smooth" });
}

function showResult() {
  const found = state.result;
  const id = found ? found.id : "";
  $("result").hidden = !found;
  $("run").textContent = found ? "Restore again" : "Restore the video";
  $("run").classList.toggle("primary", !found);
  if (id === resultShown) return;
  resultShown = id;
  if (!found) {
    result.hide();
    return;
  }
  const left = Object.entries(found.left_alone).map(([reason, count]) => `${reason}: ${count}`).join(", ");
  $("result-summary").textContent =
    `Done in ${duration(found.seconds)}: ${counted(found.faces_restored, "face")} in ${found.frames_restored} of ` +
    `${counted(found.frames, "frame")} restored at ${Math.round(found.strength * 100)} % strength.${left ? ` Left alone: ${left}.` : ""}`;
  $("download").href = api.url(`/result/${id}/download`);
  $("download").download = found.name;
  $("result-file").textContent = `${found.name}, ${bytes(found.bytes)}`;
  $("result-notes").replaceChildren(...found.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  result.showFilm(api.url(`/result/${id}/film.mp4`), found.close_ups, state.clip.has_sound);
}

async function addClip([file, ...others]) {
  clearAlert();
  if (others.length) {
    fail(new Error(`one clip at a time: drop ${file.name} alone, and ${others.map((other) => other.name).join(", ")} when it is done`));
    return;
  }
  if (file.size > about.max_upload_bytes) {
    fail(new Error(`${file.name}: larger (${bytes(file.size)}) than the ${bytes(about.max_upload_bytes)} that are allowed here; cut the clip, or start the program with a larger --max-upload`));
    return;
  }
  const text = (share) => (share < 1 ? `Adding ${file.name}: ${Math.round(share * 100)} %` : `Looking at ${file.name}\u2026`);
  $("upload-text").textContent = text(0);
  $("upload-bar").value = 0;
  uploading = api.upload("/clip", file, (share) => {
    $("upload-text").textContent = text(share);
    $("upload-bar").value = share;
  });
  show();
  try {
    const next = await uploading.done;
    uploading = null;
    take(next);
  } catch (error) {
    uploading = null;
    show();
    fail(error);
  }
}

function act(promise) {
  clearAlert();
  promise.then(take, fail);
}

async function start() {
  about = about || (await api.about());
  $("clip-limit").textContent = `MP4, MOV, MKV, AVI, MPEG and more, up to ${bytes(about.max_upload_bytes)}`;
  $("version").textContent = `Version ${about.version}.`;
  $("preset").replaceChildren(...about.presets.map((item) => new Option(capital(item.name), item.name)));
  take(await api.open());
}

dropZone($("clip-drop"), $("clip-file"), addClip);
$("upload-cancel").addEventListener("click", () => uploading && uploading.cancel());
$("alert-close").addEventListener("click", clearAlert);
$("clip-other").addEventListener("click", () => $("clip-file").click());
$("look-again").addEventListener("click", () => act(api.post("/survey")));
$("preset").addEventListener("change", () => act(api.post("/preset", { preset: $("preset").value })));
$("strength").addEventListener("input", showStrength);
$("moment").addEventListener("input", () => {
  preview.hide();
  clearTimeout(frameTimer);
  $("moment-value").textContent = time(Number($("moment").value));
  frameTimer = setTimeout(showMoment, FRAME_DELAY_MS);
});
for (const kind of ["frame", "stretch"]) {
  $(`preview-${kind}`).addEventListener("click", () => act(api.post("/preview", { kind, seconds: Number($("moment").value) })));
}
$("run").addEventListener("click", () => act(api.post("/run", { strength: Number($("strength").value) / 100 })));
$("start-over").addEventListener("click", async () => {
  if (isActive(state.job) && !confirm("Work is going on. Stop it and remove everything?")) return;
  clearAlert();
  await api.forget();
  await start().catch(fail);
});
window.addEventListener("beforeunload", (event) => {
  if (uploading || (state && isActive(state.job))) event.preventDefault();
});
for (const compare of [preview, result]) compare.onFail = () => fail(new Error("the browser cannot play this film; download the result instead"));
start().catch(fail);
