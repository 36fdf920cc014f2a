// What steering did to a clip: texts with their differences, or sounds.
import { spoken } from "./parts/curve.js";
import { decided } from "./gate_curves.js";
import { make } from "./live_ask.js";
import { abxPanel } from "./sound_abx.js";

let panel = null;

function text(words) {
  return words ? document.createTextNode(words) : make("span", { class: "nothing" }, "nothing");
}

function changed(diff) {
  const parts = diff.map(([kind, words]) => (kind === "same" ? `${words} `
    : make(kind === "gone" ? "del" : "ins", {}, make("span", { class: "hidden" }, kind === "gone" ? " taken out: " : " put in: "), words)));
  return parts.flatMap((part) => (typeof part === "string" ? [part] : [part, " "]));
}

function numbers(found) {
  const rows = found.before.windows.map((window, i) => {
    const after = found.after.windows.find((each) => each.start === window.start) || found.after.windows[i];
    const named = found.before.windows.length > 1 ? `no_speech_prob from ${window.start.toFixed(0)} s` : "no_speech_prob";
    return [named, spoken(window.no_speech_prob), after ? spoken(after.no_speech_prob) : "–"];
  });
  if (!rows.length) { return null; }
  const cell = (words) => make("td", { class: "right" }, words);
  return make("table", {}, make("thead", {}, make("tr", {}, make("td"), make("th", { scope: "col", class: "right" }, "before"), make("th", { scope: "col", class: "right" }, "after"))),
    make("tbody", {}, ...rows.map(([name, before, after]) => make("tr", {}, make("th", { scope: "row" }, name), cell(before), cell(after)))));
}

function details(found) {
  return make("details", {}, make("summary", {}, "What was done"), make("pre", {}, found.steering || "Nothing: no recipe and no edit."));
}

function notes(found) { return found.notes.length ? make("ul", {}, ...found.notes.map((note) => make("li", {}, note))) : null; }

function textResult(found) {
  const gates = found.after.gates.map((gate) => make("li", {}, `${gate.gate === "timestamp" ? "timestamp" : gate.gate} gate at ${gate.site}: ${decided(gate, found.before.windows.length > 1)}`));
  const same = found.before.text === found.after.text;
  const parts = [make("dl", { class: "texts" }, make("div", {}, make("dt", {}, "Before"), make("dd", { id: "text-before" }, text(found.before.text))),
    make("div", {}, make("dt", {}, "After"), make("dd", { id: "text-after" }, text(found.after.text))))];
  if (!same) { parts[0].append(make("div", {}, make("dt", {}, "Changed"), make("dd", { id: "text-diff" }, ...changed(found.diff)))); }
  return [...parts, numbers(found), gates.length ? make("ul", { "aria-label": "Gates" }, ...gates) : null, notes(found), details(found)];
}

function soundResult(found) {
  const root = document.body.dataset.root;
  const made = abxPanel(found.sounds.map((each) => ({ address: `${root}live/made/${each.sound}.wav`, gain: each.gain, level: each.level })));
  panel = made;
  return [made.panel, make("p", { class: "small quiet" }, `Both went through the codec; their difference has ${found.changed.toFixed(1)} dB RMS.`), notes(found), details(found)];
}

/** Take an answer away, which is of another clip or of other settings. */
export function clearResult(place) {
  panel?.stop();
  panel = null;
  place.replaceChildren();
}

/** Put an answer into its place; gives a sentence on it. */
export function showResult(place, found) {
  clearResult(place);
  place.replaceChildren(...(found.kind === "sound" ? soundResult(found) : textResult(found)).filter(Boolean));
  if (found.kind === "sound") { return "Both sounds are ready."; }
  return found.before.text === found.after.text ? "The text stays the same." : found.after.text ? "The text changed." : "The text is gone.";
}
