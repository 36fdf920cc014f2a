// The page of an own clip: what fires, ranked by surprise, over its spectrogram; and what the gates decide.
import { ClipStage } from "./parts/clip_stage.js";
import { decodeCurve, fitted, spoken } from "./parts/curve.js";
import { gateRow } from "./gate_curves.js";
import { ask, byId, make, melOf, soundOf } from "./live_ask.js";
import { armOwnSound } from "./own_sound.js";
import { waveform } from "./waveform.js";

const root = document.body.dataset.root, status = byId("status"), layer = byId("layer");
let clip = null, stage = null;

/** Words for a curve, as the pages of the index have them. */
function inWords(curve, rate, each) {
  const runs = [];
  curve.forEach((value, i) => {
    if (value <= 0) { return; }
    const last = runs[runs.length - 1];
    if (last && i - last[1] <= 0.1 * rate + 1) { last[1] = i; } else { runs.push([i, i]); }
  });
  const told = runs.slice(0, 3).map(([a, b]) => ((b + 1 - a) / rate < 0.1 ? `at ${(a / rate).toFixed(1)} s`
    : `from ${(a / rate).toFixed(1)} to ${((b + 1) / rate).toFixed(1)} s`));
  const more = runs.length > 3 ? ` and ${runs.length - 3} more` : "";
  return `Fires ${told.join(", ")}${more}, at most ${spoken(each.peak)} at ${each.at.toFixed(1)} s.`;
}

function exampleOf(each, found) {
  const label = each.label ? ` · ${each.label}` : "", curve = each.curve;
  const example = { key: String(each.feature), kind: "top", name: `Feature ${each.feature}${label}`, words: clip.name, seconds: found.seconds,
    at: each.at, scale: curve.scale, curve: curve.bytes, mel: melOf(clip), sound: soundOf(clip), rights: "", top: Math.max(curve.scale, 1e-6) };
  return { ...example, said: inWords(decodeCurve(example), found.rate, each) };
}

function track(example, feature, i) {
  const canvas = make("canvas", { "aria-hidden": "true" }), href = `${root}feature/${layer.value}/${example.key}.html`;
  const button = make("button", { type: "button", class: "track", "data-key": example.key, "aria-pressed": "false" },
    make("span", { class: "track-name" }, make("b", { class: "number" }, example.key), ` ${feature.label}`),
    make("span", { class: "track-curve" }, canvas), make("span", { class: "hidden" }, example.said));
  button.addEventListener("click", () => stage.show(i, stage.cursor, stage.playing));
  const curve = decodeCurve(example), redraw = () => canvas.isConnected && area(canvas, curve, example.scale);
  new ResizeObserver(redraw).observe(canvas);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  return make("li", {}, button, make("a", { class: "track-link", href, "aria-label": `Open feature ${example.key}` }, "open"));
}

function area(canvas, curve, top) {
  const [context, width, height] = fitted(canvas), style = getComputedStyle(document.documentElement);
  context.clearRect(0, 0, width, height);
  context.fillStyle = context.strokeStyle = style.getPropertyValue("--bar").trim();
  context.beginPath(); context.moveTo(0, height);
  for (let column = 0; column < width; column += 1) {
    const from = Math.floor((column / width) * curve.length), to = Math.max(Math.ceil(((column + 1) / width) * curve.length), from + 1);
    context.lineTo(column, height - (Math.max(...curve.subarray(from, to), 0) / (top || 1)) * (height - 3));
  }
  context.lineTo(width, height); context.globalAlpha = 0.25; context.fill(); context.globalAlpha = 1; context.lineWidth = 1.4; context.stroke();
}

function row(each) {
  const link = make("a", { class: "number", href: `${root}feature/${layer.value}/${each.feature}.html` }, String(each.feature));
  const cell = (text) => make("td", { class: "right" }, text);
  return make("tr", {}, make("th", { scope: "row" }, link), make("td", { class: "label" }, each.label), cell(each.surprise.toFixed(1)),
    cell(spoken(each.peak)), cell(each.corpus_peak > 0 ? spoken(each.corpus_peak) : "never fires"), cell(`${(100 * each.share).toFixed(1)} %`));
}

function remember() {
  const address = new URL(location.href), set = (name, value) => (value ? address.searchParams.set(name, value) : address.searchParams.delete(name));
  set("layer", layer.value); set("own", clip?.own); set("name", clip?.own && clip.name); set("clip", clip?.number);
  set("feature", null); set("at", null);
  if (stage && clip) { set("feature", stage.example.key); set("at", stage.cursor.toFixed(2)); }
  history.replaceState(null, "", address);
  byId("to-steer").href = `${root}steer.html${!clip ? "" : clip.own ? `?own=${clip.own}&name=${encodeURIComponent(clip.name)}` : `?clip=${clip.number}`}`;
}

function show(found, asked) {
  const curved = found.features.filter((each) => each.curve), examples = curved.map((each) => exampleOf(each, found));
  byId("timeline-number").textContent = curved.length;
  byId("fired-said").textContent = `${found.fired} features, the most surprising ${found.features.length}`;
  byId("fired").replaceChildren(...found.features.map(row));
  byId("timeline").replaceChildren(...examples.map((example, i) => track(example, curved[i], i)));
  byId("gate-list").replaceChildren(...found.gates.map((gate) => gateRow(gate, found.seconds)));
  byId("gates").hidden = found.gates.length === 0;
  byId("found").hidden = examples.length === 0;
  status.textContent = examples.length
    ? `${found.fired} of the layer's features fire on ${clip.name}. ${found.notes.join(" ")}` : `No feature of this layer fires on ${clip.name}.`;
  if (!examples.length) { return; }
  if (stage) { stage.pause(); stage.examples = examples; } else {
    stage = new ClipStage(byId("stage"), examples, waveform);
    let later;
    stage.addEventListener("clip", () => {
      document.querySelectorAll("button.track").forEach((each) => each.setAttribute("aria-pressed", String(each.dataset.key === stage.example.key)));
      remember();
    });
    stage.addEventListener("cursor", () => { clearTimeout(later); later = setTimeout(remember, 250); });
  }
  stage.rate = found.rate; stage.top = 1e-6;
  const place = examples.findIndex((example) => example.key === asked?.get("feature")), at = Number(asked?.get("at") ?? NaN);
  stage.show(Math.max(place, 0), Number.isFinite(at) ? at : 0);
}

/** Take away what was found on the clip before. */
function clear() {
  stage?.pause();
  byId("found").hidden = true;
}

/** Have no clip: what was sent was none. */
function forget() {
  clip = null;
  clear();
  status.textContent = "";
  document.body.removeAttribute("aria-busy");
  byId("none-yet").hidden = false;
  if (byId("from-index")) { byId("from-index").value = ""; }
  remember();
}

async function listen(asked = null) {
  if (!clip) { return; }
  const of = clip;
  clear();
  byId("none-yet").hidden = true;
  status.textContent = "Listening … (the first time, the model is loaded)";
  document.body.setAttribute("aria-busy", "true");
  try {
    const content = clip.own ? { own: clip.own } : { clip: clip.number };
    const found = await (await ask("listen", { ...content, layer: Number(layer.value) })).json();
    if (clip !== of) { return; } // another, or none, has taken its place
    show(found, asked);
    remember();
    document.body.removeAttribute("aria-busy");
  } catch (error) {
    if (clip === of && !error.superseded && error.name !== "AbortError") { status.textContent = error.message; document.body.removeAttribute("aria-busy"); }
  }
}

armOwnSound((kept) => { clip = kept; if (byId("from-index")) { byId("from-index").value = ""; } listen(); }, forget);
layer.addEventListener("change", () => listen());
byId("from-index")?.addEventListener("change", (event) => {
  const { value, selectedOptions } = event.target;
  if (value) { clip = { number: Number(value), name: selectedOptions[0].textContent }; listen(); }
});

const asked = new URL(location.href).searchParams, number = asked.get("clip"), option = number && byId("from-index")?.querySelector(`option[value="${Number(number)}"]`);
if (asked.get("own")) { clip = { own: asked.get("own"), name: (asked.get("name") || "own clip").slice(0, 120) }; listen(asked); } else if (option) {
  option.selected = true;
  clip = { number: Number(number), name: option.textContent };
  listen(asked);
}
