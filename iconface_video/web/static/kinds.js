// What kind of recording a video is, and so which preset was taken, and what a result's notes say, in the page's own words.

import { capital, hundredths } from "./format.js";
import { t } from "./messages.js";

// The program says "a tape: lines tremble sideways; color lies 2.9 px beside the light", or "not clear (though: ...)".
function looksLike({ kind, looks_like: said }) {
  const [, name, why] = /^(.*?)(?:: | \(though: |, )(.*?)\)?$/.exec(said) || [said, said, ""];
  const reasons = why.split("; ").map(reason).join("; ");
  if (kind === "unknown") return said.includes("though") ? t("not clear (though: {reasons})", { reasons }) : t("not clear, no kind's signs were found");
  return why ? `${t(name)}: ${reasons}` : t(name);
}

// A figure in it stands in for itself in the catalogue.
function reason(text) {
  const [v] = /\d+\.\d/.exec(text) || [""];
  return t(v ? text.replace(v, "{v}") : text, { v });
}

// looked: {name, kind, looks_like}.  used: the preset that is in force.
export function whyPreset(looked, used) {
  const values = { what: looksLike(looked), name: t(capital(looked.name)) };
  if (looked.name !== used) return t("The recording looks like {what}. {name} would suit it.", values);
  return looked.kind === "unknown"
    ? t("What kind of recording it is, is {what}; so {name} was taken. You can choose another.", values)
    : t("The recording looks like {what}; so {name} was taken. You can choose another.", values);
}

// What the program has noted of a result; what it says of most results in the page's words.
export function notesOf({ notes, looked }) {
  if (!looked) return notes.map(noted);
  const values = { what: looksLike(looked), name: t(capital(looked.name)) };
  const said = looked.kind === "unknown"
    ? t("{name} was taken; what kind of recording it is, is {what}.", values)
    : t("{name} was taken, as the recording looks like {what}.", values);
  return [said, ...notes.filter((note) => !note.includes(looked.looks_like)).map(noted)];
}

// Whoever has no name is called by a number, in the page's words.
function whoIs(name) {
  const [, n] = /^person (\d+)$/.exec(name) || [];
  return n ? t("Person {n}", { n }) : name;
}

function noted(note) {
  const [, n, all] = /^going on from an earlier run: (\d+) of (\d+) segments are restored$/.exec(note) || [];
  if (n) return n === all ? t("All faces were kept from an earlier run: none was restored anew.") : t("An earlier run had restored {n} of {all} pieces.", { n, all });
  const [, photos, name, score] = /^(\d+) reference photos? for (.*) \(similarity (\d\.\d+)\)$/.exec(note) || [];
  if (!photos) return note;
  const values = { n: photos, name: whoIs(name), value: hundredths(Number(score)) };
  return photos === "1" ? t("A photo of {name} was used (likeness {value}).", values) : t("{n} photos of {name} were used (likeness {value}).", values);
}
