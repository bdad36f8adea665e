// Talking to the program. Every refusal becomes an Error whose message is the program's own sentence.

import { t } from "./messages.js";

export class Gone extends Error {}
export class Locked extends Error {}
export class Away extends Error {}

async function answer(response) {
  const values = await response.json().catch(() => ({}));
  if (response.ok) return values;
  const message = values.error || t("the program answered with an error ({status})", { status: response.status });
  if (response.status === 401 && !response.url.endsWith("/enter")) throw new Locked(message);
  throw response.status === 404 ? new Gone(message) : new Error(message);
}

async function request(path, options) {
  try {
    return await answer(await fetch(path, options));
  } catch (error) {
    if (error instanceof TypeError) throw new Away(t("the program does not answer; is it still running?"));
    throw error;
  }
}

// What changes something is sent once the change before it is answered: whoever moves a slider and starts at once starts with that.
let last = Promise.resolve();

function inTurn(begin) {
  const mine = last.then(begin);
  last = mine.catch(() => {});
  return mine;
}

const send = (method) => (path, values) => inTurn(() =>
  request(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(values || {}) }));
export const get = (path) => request(path);
export const post = send("POST");
export const patch = send("PATCH");
export const remove = (path) => inTurn(() => request(path, { method: "DELETE" }));
export const project = (id, path = "") => `/api/projects/${id}${path}`;

// Puts a file, raw; onProgress gets 0..1. Returns {done: promise of the answer, cancel()}.
export function upload(path, file, onProgress = () => {}) {
  const call = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    call.open("PUT", `${path}?name=${encodeURIComponent(file.name)}`);
    call.setRequestHeader("content-type", "application/octet-stream");
    call.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    call.onload = () => {
      let values = {};
      try {
        values = JSON.parse(call.responseText);
      } catch { /* not from the program */ }
      if (call.status < 300) resolve(values);
      else reject(new Error(values.error || t("the program answered with an error ({status})", { status: call.status })));
    };
    call.onerror = () => reject(new Error(t("{name}: could not be added; is the program still running?", { name: file.name })));
    call.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    call.send(file);
  });
  return { done, cancel: () => call.abort() };
}
