// One clip at a time, large: picture, curve, sound and cursor in step, all of it by keyboard.
import { decodeCurve, drawCurve, spoken, valueAt } from "./curve.js";

const WRITING = new Set(["INPUT", "TEXTAREA", "SELECT"]);

/** True if a key belongs to the element it was pressed in. */
export function isTyping(target) {
  return WRITING.has(target.tagName) && target.type !== "radio" && target.type !== "checkbox";
}

/** Put a picture into an image; the one before goes at once, and does not stand under another's name until it is there. */
export function putPicture(image, address) {
  if (image.getAttribute("src") === address) { return; }
  image.style.visibility = "hidden";
  image.addEventListener("load", () => { image.style.visibility = ""; }, { once: true });
  image.src = address;
}

export class ClipStage extends EventTarget {
  /**
   * root: the element that the macro `stage` makes. examples: what the page's JSON holds, in the order of J and K.
   * waveform: null, or (container, audio) => Promise of {show(example)}.
   * Events: "clip" (another example), "cursor" (it moved), "rate" (detail: 1 to 5, or null).
   */
  constructor(root, examples, waveform = null) {
    super();
    this.root = root; this.examples = examples; this.rate = Number(root.dataset.rate); this.top = Number(root.dataset.top);
    this.part = (name) => root.querySelector(`#stage-${name}`);
    this.audio = this.part("sound"); this.picture = this.part("picture"); this.canvas = this.part("curve");
    this.now = 0; this.cursor = 0; this.curve = new Float32Array(1);
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    root.classList.add("live");
    for (const name of ["controls", "keys", "rating"]) { if (this.part(name)) { this.part(name).hidden = false; } }
    this.wave = waveform && this.audio ? waveform(this.part("wave"), this.audio).catch(() => null) : Promise.resolve(null);
    this.wave.then((wave) => { if (!wave) { this.part("wave").hidden = true; } });
    this.#listen();
    new ResizeObserver(() => this.draw()).observe(this.picture);
  }

  get example() { return this.examples[this.now]; }
  get playing() { return Boolean(this.audio) && !this.audio.paused; }
  get value() { return valueAt(this.curve, this.rate, this.cursor); }
  get curved() { return this.curve.length > 0; }

  /** Show an example by its place, at a time in seconds; without one, just before its peak. */
  show(place, at = null, play = false) {
    if (place < 0 || place >= this.examples.length) { return; }
    this.now = place;
    const example = this.example;
    this.curve = decodeCurve(example);
    this.part("title").textContent = example.name;
    this.part("words").textContent = example.words;
    this.part("said").textContent = example.said;
    this.part("peak").hidden = !this.curved;
    putPicture(this.part("mel"), example.mel);
    this.picture.setAttribute("aria-valuemax", example.seconds.toFixed(2));
    if (this.audio) {
      const button = this.part("play");
      button.disabled = !example.sound;
      button.title = example.sound ? "" : "The sound of this clip may not be passed on.";
      if ((this.audio.getAttribute("src") || "") !== example.sound) {
        this.audio.pause();
        if (example.sound) { this.audio.src = example.sound; } else { this.audio.removeAttribute("src"); this.audio.load(); }
      }
    }
    this.move(at === null ? Math.max(example.at - 0.4, 0) : at);
    this.wave.then((wave) => wave && this.example === example && wave.show(example));
    this.dispatchEvent(new Event("clip"));
    if (play) { this.play(); }
  }

  /** Put the cursor, and the sound, to a time in seconds. */
  move(seconds) {
    this.cursor = Math.min(Math.max(seconds, 0), this.example.seconds);
    if (this.audio && this.example.sound) {
      const set = () => { this.audio.currentTime = this.cursor; };
      if (this.audio.readyState >= 1) { set(); } else { this.waiting = this.cursor; }
    }
    this.#told();
  }

  play() {
    if (!this.audio || !this.example.sound) { return; }
    if (this.cursor >= this.example.seconds - 0.03) { this.move(0); }
    this.audio.preload = "auto";
    this.audio.play().catch(() => {});
  }

  pause() { if (this.audio) { this.audio.pause(); } }
  toggle() { if (this.playing) { this.pause(); } else { this.play(); } }

  draw() {
    const example = this.example, near = example.kind === "near";
    drawCurve(this.canvas, { curve: this.curve, rate: this.rate, seconds: example.seconds, cursor: this.cursor,
      top: near ? example.scale : Math.max(example.top ?? this.top, example.scale), dashed: near });
  }

  #told() {
    this.draw();
    const value = spoken(this.value), at = this.cursor.toFixed(2);
    this.picture.setAttribute("aria-valuenow", at);
    this.dispatchEvent(new Event("cursor"));
    if (!this.curved) {
      this.part("value").textContent = `${at} s`;
      this.picture.setAttribute("aria-valuetext", `${at} seconds`);
      return;
    }
    const words = this.example.kind === "near" ? "below threshold" : "activation";
    const bold = document.createElement("b");
    bold.textContent = value;
    this.part("value").replaceChildren(bold, ` at ${at} s`);
    this.picture.setAttribute("aria-valuetext", `${at} seconds, ${words} ${value}`);
  }

  #listen() {
    const on = (name, what) => this.part(name) && this.part(name).addEventListener("click", what);
    on("play", () => this.toggle());
    on("peak", () => this.move(this.example.at));
    on("previous", () => this.show(this.now - 1, null, this.playing));
    on("next", () => this.show(this.now + 1, null, this.playing));
    if (this.audio) {
      const state = () => {
        this.part("play").textContent = this.playing ? "Pause" : "Play";
        this.part("play").setAttribute("aria-pressed", String(this.playing));
      };
      const follow = () => { this.cursor = Math.min(this.audio.currentTime, this.example.seconds); this.#told(); };
      const frame = () => { if (this.playing && !this.calm.matches) { follow(); requestAnimationFrame(frame); } };
      this.audio.addEventListener("play", () => { state(); requestAnimationFrame(frame); });
      for (const name of ["pause", "ended"]) { this.audio.addEventListener(name, state); }
      for (const name of ["timeupdate", "seeked"]) { this.audio.addEventListener(name, () => { if (this.waiting === undefined) { follow(); } }); }
      this.audio.addEventListener("loadedmetadata", () => {
        if (this.waiting !== undefined) { this.audio.currentTime = this.waiting; this.waiting = undefined; }
      });
    }
    const dragged = (event) => {
      const box = this.picture.getBoundingClientRect();
      this.move(((event.clientX - box.left) / box.width) * this.example.seconds);
    };
    this.picture.addEventListener("pointerdown", (event) => { this.picture.setPointerCapture(event.pointerId); dragged(event); });
    this.picture.addEventListener("pointermove", (event) => { if (event.buttons) { dragged(event); } });
    document.addEventListener("keydown", (event) => this.#key(event));
    if (this.part("rating")) {
      this.part("rating").addEventListener("change", (event) => this.#rated(Number(event.target.value)));
    }
  }

  #rated(rating) { this.dispatchEvent(new CustomEvent("rate", { detail: rating })); }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) { return; }
    const step = event.shiftKey ? 1 : 0.1, radio = event.target.type === "radio";
    const onPicture = event.target === this.picture;
    const acts = {
      ArrowLeft: () => this.move(this.cursor - step), ArrowRight: () => this.move(this.cursor + step),
      j: () => this.show(this.now + 1, null, this.playing), k: () => this.show(this.now - 1, null, this.playing),
      " ": () => this.toggle(),
    };
    if (onPicture) {
      Object.assign(acts, { Home: () => this.move(0), End: () => this.move(this.example.seconds),
        PageUp: () => this.move(this.cursor + 1), PageDown: () => this.move(this.cursor - 1) });
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (radio && key.startsWith("Arrow")) { return; }
    if (key === " " && ["BUTTON", "SUMMARY"].includes(event.target.tagName)) { return; }
    if (/^[0-5]$/.test(key) && this.part("rating")) { event.preventDefault(); this.#rated(Number(key) || null); return; }
    if (acts[key]) { event.preventDefault(); acts[key](); }
  }
}
