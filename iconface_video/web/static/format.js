// Numbers for people.

import { language } from "./messages.js";

const point = (text) => (language === "de" ? text.replace(".", ",") : text);

export function time(seconds) {
  const tenths = Math.round(seconds * 10);
  const whole = Math.floor(tenths / 10);
  const h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = whole % 60;
  const tail = point(`${String(s).padStart(2, "0")}.${tenths % 10}`);
  return h ? `${h}:${String(m).padStart(2, "0")}:${tail}` : `${m}:${tail}`;
}

export function duration(seconds) {
  if (seconds < 10) return point(`${Math.max(0.1, seconds).toFixed(1)} s`);
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor(whole / 60) % 60).padStart(2, "0")} min`;
}

export function bytes(count) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return point(`${unit < 2 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`);
}

export const CODECS = { h264: "H.264", hevc: "HEVC (H.265)", prores: "ProRes", ffv1: "FFV1" };
export const hundredths = (value) => point(value.toFixed(2));
export const percent = (share) => `${Math.round(share * 100)} %`;
export const when = (seconds) => new Date(seconds * 1000).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// The program's sentence as the page shows it: a file's name at its beginning stays as it is.
export function sentence(text) {
  const begun = /^([^:]*\.\w+: |\/)/.test(text) ? text : capital(text);
  return /[.!?)]$/.test(begun) ? begun : `${begun}.`;
}
