// Talking to the program. Every refusal becomes an Error whose message is the program's own sentence.

const KEY = "iconface-work";
let token = sessionStorage.getItem(KEY); // of this tab alone

export class Gone extends Error {}

async function answer(response) {
  const values = await response.json().catch(() => ({}));
  if (response.ok) return values;
  const message = values.error || `the program answered with an error (${response.status})`;
  throw response.status === 404 && message.startsWith("this page's files") ? new Gone(message) : new Error(message);
}

async function request(path, options) {
  try {
    return await answer(await fetch(path, options));
  } catch (error) {
    if (error instanceof TypeError) throw new Error("the program does not answer; is it still running?");
    throw error;
  }
}

export const about = () => request("/api/about");

export async function open() {
  if (token) {
    try {
      return await state();
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
    }
  }
  token = (await request("/api/work", { method: "POST" })).work;
  sessionStorage.setItem(KEY, token);
  return state();
}

export async function forget() {
  const old = token;
  token = null;
  sessionStorage.removeItem(KEY);
  if (old) await fetch(`/api/work/${old}`, { method: "DELETE" }).catch(() => {});
}

export const url = (path) => `/api/work/${token}${path}`;
export const state = () => request(url(""));
export const remove = (path) => request(url(path), { method: "DELETE" });

const send = (method, path, values) =>
  request(url(path), { method, headers: { "content-type": "application/json" }, body: JSON.stringify(values || {}) });
export const post = (path, values) => send("POST", path, values);
export const patch = (path, values) => send("PATCH", path, values);

// Puts a file, raw; onProgress gets 0..1. Returns {done: promise of the new state, cancel()}.
export function upload(path, file, onProgress = () => {}) {
  const call = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    call.open("PUT", url(`${path}?name=${encodeURIComponent(file.name)}`));
    call.setRequestHeader("content-type", "application/octet-stream");
    call.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    call.onload = () => {
      let values = {};
      try {
        values = JSON.parse(call.responseText);
      } catch { /* not from the program */ }
      if (call.status < 300) resolve(values);
      else reject(new Error(values.error || `the program answered with an error (${call.status})`));
    };
    call.onerror = () => reject(new Error(`${file.name}: could not be added; is the program still running?`));
    call.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    call.send(file);
  });
  return { done, cancel: () => call.abort() };
}
