// Gates over a clip: the score at each frame, the threshold, and where it was open.
import { fitted, spoken } from "./parts/curve.js";
import { make } from "./live_ask.js";

const NAMES = { clip: "clip gate", frame: "frame gate", timestamp: "timestamp gate" };
const DOES = { clip: "edits", frame: "edits", timestamp: "no timestamps" };

export function scoresOf(gate) {
  const step = (gate.high - gate.low) / 255;
  return Float32Array.from(atob(gate.bytes), (c) => gate.low + c.charCodeAt(0) * step);
}

function draw(canvas, gate, scores, seconds) {
  const [context, width, height] = fitted(canvas), style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim(), span = Math.max(gate.high - gate.low, 1e-6);
  const y = (score) => height - 4 - ((score - gate.low) / span) * (height - 8), x = (at) => (at / seconds) * width;
  context.clearRect(0, 0, width, height);
  context.fillStyle = colour("--bar"); context.globalAlpha = 0.2;
  for (const window of gate.windows) {
    for (const [from, to] of window.spans) { context.fillRect(x(from), 0, Math.max(x(to) - x(from), 1), height); }
  }
  context.globalAlpha = 1; context.strokeStyle = colour("--muted"); context.lineWidth = 1; context.setLineDash([5, 4]);
  context.beginPath(); context.moveTo(0, y(gate.threshold)); context.lineTo(width, y(gate.threshold)); context.stroke();
  context.setLineDash([]); context.strokeStyle = colour("--ink"); context.lineWidth = 1.6; context.lineJoin = "round";
  context.beginPath();
  scores.forEach((score, i) => {
    const at = ((i + 0.5) / scores.length) * width;
    if (i) { context.lineTo(at, y(score)); } else { context.moveTo(at, y(score)); }
  });
  context.stroke();
}

/** What a gate decided for a window, in words. */
export function decided(window, many = false) {
  const where = many ? `${window.start.toFixed(0)} to ${window.end.toFixed(0)} s: ` : "", kind = window.gate;
  const score = `score ${spoken(window.score ?? 0)} ${window.opened ? ">" : "≤"} ${spoken(window.threshold)}`;
  const spans = kind === "clip" ? [] : window.spans.slice(0, 4).map(([a, b]) => `${a.toFixed(1)} to ${b.toFixed(1)} s`);
  const open = spans.length ? `open at ${spans.join(", ")}${window.spans.length > 4 ? " …" : ""}` : "opened";
  return `${where}${window.opened ? open : "stayed shut"}, ${score}`;
}

/** A row of the list of gates. */
export function gateRow(gate, seconds) {
  const canvas = make("canvas", { "aria-hidden": "true" }), scores = scoresOf(gate);
  const words = gate.windows.map((window) => make("li", {}, decided(window, gate.windows.length > 1)));
  const open = gate.windows.some((window) => window.opened);
  const row = make("li", {},
    make("div", { class: "gate-name" }, make("b", {}, NAMES[gate.kind] || gate.kind), make("span", { class: "quiet" }, `of ${gate.recipe}`),
      make("span", { class: open ? "tag strong" : "tag" }, open ? `open: ${DOES[gate.kind] || ""}` : "shut")),
    make("div", { class: "gate-curve" }, canvas), make("ul", { class: "gate-said small" }, ...words));
  if (gate.kind === "clip") {
    row.querySelector(".gate-said").append(make("li", { class: "quiet" }, "It decides once for each window, from each feature's highest; the curve has the same weights at each frame."));
  }
  const redraw = () => canvas.isConnected && draw(canvas, gate, scores, seconds);
  new ResizeObserver(redraw).observe(canvas);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  return row;
}
