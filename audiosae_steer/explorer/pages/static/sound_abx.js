// Two sounds compared by ear: levels matched, and blind with a tally.
import { make } from "./live_ask.js";

/** Probability of as many hits or more by guessing. */
export function chance(hits, tries) {
  let p = 0, c = 1;
  for (let k = 0; k <= tries; k += 1) { if (k >= hits) { p += c; } c = (c * (tries - k)) / (k + 1); }
  return p / 2 ** tries;
}

const drawn = () => (crypto.getRandomValues(new Uint8Array(1))[0] & 1);

/** A panel for [before, after], each {address, gain, level}; keys A, B and X play, where nothing is typed. */
export function abxPanel(sounds) {
  const audios = sounds.map((sound) => { const audio = new Audio(sound.address); audio.preload = "auto"; audio.loop = true; return audio; });
  const match = make("input", { type: "checkbox", checked: true }), blind = make("input", { type: "checkbox" });
  const names = ["Before", "After"], said = make("p", { class: "small", "aria-live": "polite" });
  const plays = ["A", "B", "X"].map((letter) => make("button", { type: "button", class: "play-sound", "aria-pressed": "false" }, letter));
  const stopping = make("button", { type: "button" }, "Stop"), panel = make("div", { class: "abx-panel" });
  const guesses = ["A", "B"].map((letter) => make("button", { type: "button" }, `X is ${letter}`));
  let order = [0, 1], x = 0, right = 0, asked = 0, now = -1;

  const level = () => audios.forEach((audio, i) => { audio.volume = match.checked ? sounds[i].gain : 1; });
  const stop = () => { audios.forEach((audio) => audio.pause()); plays.forEach((button) => button.setAttribute("aria-pressed", "false")); };
  const soundAt = (place) => (place === 2 ? order[x] : order[place]);
  function play(place) {
    const next = soundAt(place), from = now < 0 ? 0 : audios[now].currentTime;
    stop(); level();
    audios[next].currentTime = Math.min(from, audios[next].duration || 0);
    audios[next].play().catch(() => {});
    now = next;
    plays[place].setAttribute("aria-pressed", "true");
  }
  function draw() { order = blind.checked && drawn() ? [1, 0] : [0, 1]; x = drawn(); }
  function name() {
    plays[0].textContent = blind.checked ? "A" : names[0]; plays[1].textContent = blind.checked ? "B" : names[1];
    for (const part of [plays[2], ...guesses]) { part.hidden = !blind.checked; }
    said.textContent = blind.checked ? "A and B are before and after, drawn at random; X is one of them. No answers yet."
      : `Before ${sounds[0].level.toFixed(1)} dB, after ${sounds[1].level.toFixed(1)} dB RMS. Changing over keeps the place.`;
  }
  plays.forEach((button, place) => button.addEventListener("click", () => play(place)));
  stopping.addEventListener("click", stop);
  match.addEventListener("change", level);
  blind.addEventListener("change", () => { stop(); right = asked = 0; draw(); name(); });
  guesses.forEach((button, guess) => button.addEventListener("click", () => {
    const hit = guess === x;
    asked += 1; right += hit ? 1 : 0;
    said.textContent = `${hit ? "Right" : "Wrong"}: ${right} of ${asked}; as many or more by chance with p = ${chance(right, asked).toFixed(3)}.`;
    stop(); draw();
  }));
  const key = (event) => {
    if (!panel.isConnected) { document.removeEventListener("keydown", key); stop(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) { return; }
    const place = "abx".indexOf(event.key.toLowerCase());
    if (place >= 0 && (place < 2 || blind.checked)) { play(place); }
  };
  document.addEventListener("keydown", key);
  panel.append(make("div", { class: "abx" }, ...plays, stopping), make("div", { class: "abx" }, ...guesses),
    make("div", { class: "choices" }, make("label", {}, match, "levels matched"), make("label", {}, blind, "blind")), said,
    make("p", { class: "quiet small" }, make("kbd", {}, "A"), " ", make("kbd", {}, "B"), " ", make("kbd", {}, "X"), " play."));
  name();
  return { panel, stop };
}
