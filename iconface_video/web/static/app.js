// The page: which view is open, what the program says, and what is shown of both. The program holds the truth; this only draws it.

import * as api from "./api.js";
import { $ } from "./dom.js";
import { sentence } from "./format.js";
import { JobBar, isActive } from "./job.js";
import { Known } from "./known.js";
import { List } from "./list.js";
import { choose, language, t, translate } from "./messages.js";
import { ProjectView } from "./project.js";
import * as where from "./where.js";

const POLL_BUSY_MS = 400, POLL_LIST_MS = 1000, POLL_IDLE_MS = 15000, POLL_AWAY_MS = 1500;

let about = null, state = null, timer = 0, isAway = false;
const waited = new Set(); // projects that have been in the line since it was empty last
const openId = () => location.hash.slice(1);

function fail(error) {
  if (error.name === "AbortError") return;
  if (error instanceof api.Locked) {
    lock();
    return;
  }
  if (error instanceof api.Gone && openId() && error.message.startsWith("there is no such project")) {
    location.hash = "";
  }
  isAway = error instanceof api.Away;
  $("alert-text").textContent = sentence(error.message);
  $("alert").hidden = false;
  $("alert").scrollIntoView({ block: "nearest" });
}

const clear = () => { $("alert").hidden = true; };

function act(promise) {
  clear();
  promise.then(take, fail);
}

const bar = new JobBar($("job"), () => act(api.post(api.project(openId(), "/cancel"))));
const project = new ProjectView({ act, take, fail, clear });
const known = new Known({ fail, clear });
const list = new List({ fail, clear, changed: poll, opened: (id) => { location.hash = id; } });

// A new state of the open project, or of the list.
function take(next) {
  if (isAway) clear(); // the program answers again
  isAway = false;
  const isProject = "options" in next;
  if (isProject ? next.id !== openId() : openId()) return; // somebody has gone elsewhere meanwhile
  const before = isProject && state && state.id === next.id ? state.job : null;
  $("locked").hidden = true;
  $("list-view").hidden = isProject;
  $("project-view").hidden = $("to-list").hidden = !isProject;
  if (isProject) {
    bar.show(next.job, next.name, next.paused);
    project.show(next, about);
    if (!state || !("options" in state)) project.own.load(); // somebody has come to a project
    if (before && isActive(before) && next.job && next.job.id === before.id && !isActive(next.job)) {
      bar.ended(next.job, next.name, next.results.length > 0 && !next.results[0].faces_restored);
      project.ended(next.job);
      if (next.job.status === "failed" && !next.failed) fail(new Error(next.job.error)); // else the project itself says so
    }
  } else {
    bar.show(null, "", false);
    list.show(next);
    for (const id of next.line) waited.add(id);
    if (state && "line" in state && state.line.length && !next.line.length) {
      bar.lineEnded(next.projects.filter((item) => waited.has(item.id)).map((item) => item.ended));
    }
    if (!next.line.length) waited.clear();
    if (!state || "options" in state) [known, project.own].forEach((item) => item.load()); // somebody has come to the list
  }
  state = next;
  clearTimeout(timer);
  const isBusy = isProject ? isActive(next.job) : next.line.length > 0;
  timer = setTimeout(poll, isBusy ? (isProject ? POLL_BUSY_MS : POLL_LIST_MS) : POLL_IDLE_MS);
}

async function poll() {
  clearTimeout(timer);
  const id = openId();
  try {
    take(await api.get(id ? api.project(id) : "/api/projects"));
  } catch (error) {
    if (id === openId()) fail(error);
    timer = setTimeout(poll, POLL_AWAY_MS);
  }
}

function lock() {
  clearTimeout(timer);
  $("list-view").hidden = $("project-view").hidden = true;
  $("locked").hidden = false;
  $("phrase").focus();
}

async function enter(event) {
  event.preventDefault();
  clear();
  try {
    await api.post("/api/enter", { phrase: $("phrase").value });
    $("phrase").value = "";
    await start();
  } catch (error) {
    fail(error);
  }
}

async function start() {
  try {
    about = await api.get("/api/about");
  } catch (error) {
    fail(error);
    timer = setTimeout(start, POLL_AWAY_MS);
    return;
  }
  $("version").textContent = t("Version {version}.", { version: about.version });
  where.begin(about);
  list.begin(about);
  known.begin(about);
  project.begin(about);
  if (about.is_locked) lock();
  else await poll();
}

document.documentElement.lang = language;
translate(document.body);
$("language").value = language;
$("language").addEventListener("change", () => choose($("language").value));
$("alert-close").addEventListener("click", clear);
$("enter").addEventListener("submit", enter);
document.querySelector(".skip-link").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the project
  $("main").focus();
});
$("to-list").addEventListener("click", (event) => {
  event.preventDefault();
  location.hash = "";
});
window.addEventListener("hashchange", async () => {
  clear();
  state = null;
  await poll();
  $(openId() ? "clip-title" : "projects-title").focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
window.addEventListener("beforeunload", (event) => {
  if (list.isUploading) event.preventDefault(); // all else goes on without the page
});
start();
