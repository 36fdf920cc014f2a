// The map of all features: a canvas that is walked by arrows as well as by the mouse.
import { fitted } from "./parts/curve.js";

const box = document.getElementById("map"), canvas = document.getElementById("map-canvas");
const PADDING = 22, AROUND = 12;

class FeatureMap {
  constructor(places) {
    this.places = places; this.number = places.feature.length; this.now = -1; this.over = -1; this.marked = new Set();
    this.scale = 1; this.x = 0.5; this.y = 0.5;
    this.tip = document.getElementById("map-tip");
    this.order = places.density.map((density, i) => i).sort((a, b) => places.density[b] - places.density[a]);
    this.#listen();
    new ResizeObserver(() => this.draw()).observe(box);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.restore();
  }

  radius(i) { return Math.min(Math.max(5.5 + 1.1 * Math.log10(this.places.density[i] + 1e-5), 1.4), 6) * Math.min(Math.sqrt(this.scale), 2); }

  at(i) {
    const { width, height } = canvas.getBoundingClientRect();
    return [PADDING + ((this.places.x[i] - this.x) * this.scale + 0.5) * (width - 2 * PADDING),
      PADDING + ((this.places.y[i] - this.y) * this.scale + 0.5) * (height - 2 * PADDING)];
  }

  title(i) { const label = this.places.label[i]; return `Feature ${this.places.feature[i]}${label ? `, ${label}` : ""}`; }

  draw() {
    const [context, width, height] = fitted(canvas), style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    context.clearRect(0, 0, width, height);
    const dot = (i, more) => { const [x, y] = this.at(i); context.beginPath(); context.arc(x, y, this.radius(i) + more, 0, 7); };
    context.globalAlpha = this.marked.size ? 0.28 : 0.55; context.fillStyle = colour("--bar");
    for (const i of this.order) { if (!this.marked.has(i)) { dot(i, 0); context.fill(); } }
    context.globalAlpha = 1; context.fillStyle = colour("--accent"); context.strokeStyle = colour("--card"); context.lineWidth = 1.5;
    for (const i of this.marked) { dot(i, 2); context.fill(); context.stroke(); }
    for (const [i, line] of [[this.over, 1.5], [this.now, 3]]) {
      if (i >= 0) {
        context.strokeStyle = colour("--ink"); context.lineWidth = line; dot(i, 5); context.stroke();
        context.fillStyle = colour("--ink"); dot(i, 0); context.fill();
      }
    }
  }

  nearest(x, y, within = 24) {
    let best = -1, least = within * within;
    for (let i = 0; i < this.number; i += 1) {
      const [a, b] = this.at(i), far = (a - x) ** 2 + (b - y) ** 2;
      if (far < least) { best = i; least = far; }
    }
    return best;
  }

  /** The feature that an arrow leads to: near, and in that direction. */
  towards(dx, dy) {
    if (this.now < 0) { return this.order[0]; }
    const { x, y } = this.places;
    let best = -1, least = Infinity;
    for (let i = 0; i < this.number; i += 1) {
      const along = (x[i] - x[this.now]) * dx + (y[i] - y[this.now]) * dy;
      const aside = Math.abs((x[i] - x[this.now]) * dy) + Math.abs((y[i] - y[this.now]) * dx);
      if (i !== this.now && along > 1e-6 && aside <= along * 1.2 && along + 2 * aside < least) { best = i; least = along + 2 * aside; }
    }
    return best;
  }

  choose(i) {
    if (i < 0) { return; }
    this.now = i;
    const [x, y] = this.at(i), { width, height } = canvas.getBoundingClientRect();
    if (x < 8 || y < 8 || x > width - 8 || y > height - 8) { this.x = this.places.x[i]; this.y = this.places.y[i]; }
    const link = document.createElement("a");
    link.href = this.address(i); link.textContent = this.title(i);
    document.getElementById("map-now").replaceChildren(link, ` fires on ${(100 * this.places.density[i]).toPrecision(2)} % of frames`);
    const far = (k) => (this.places.x[k] - this.places.x[i]) ** 2 + (this.places.y[k] - this.places.y[i]) ** 2;
    const near = this.order.filter((k) => k !== i).sort((a, b) => far(a) - far(b)).slice(0, AROUND);
    document.getElementById("around-list").replaceChildren(...near.map((k) => {
      const row = document.createElement("li"), to = document.createElement("a"), label = document.createElement("span");
      to.href = this.address(k); to.textContent = this.places.feature[k];
      label.className = "near-label"; label.textContent = this.places.label[k];
      row.append(to, label);
      return row;
    }));
    this.remember(); this.draw();
  }

  address(i) { return `${box.dataset.feature}${this.places.feature[i]}.html`; }
  open(i) { if (i >= 0) { location.href = this.address(i); } }

  zoom(factor, x = this.now >= 0 ? this.places.x[this.now] : this.x, y = this.now >= 0 ? this.places.y[this.now] : this.y) {
    const scale = Math.min(Math.max(this.scale * factor, 1), 60), share = 1 - this.scale / scale;
    this.x += (x - this.x) * share; this.y += (y - this.y) * share; this.scale = scale;
    if (scale === 1) { this.x = 0.5; this.y = 0.5; }
    this.remember(); this.draw();
  }

  mark(words) {
    const asked = words.trim().toLowerCase();
    this.marked = new Set(asked ? this.order.filter((i) => this.places.label[i].toLowerCase().includes(asked)) : []);
    document.getElementById("marked").textContent = asked ? `${this.marked.size} features marked with a larger dot` : "";
    this.remember(); this.draw();
  }

  remember() {
    const address = new URL(location.href), put = (name, value) => value ? address.searchParams.set(name, value) : address.searchParams.delete(name);
    put("feature", this.now >= 0 ? String(this.places.feature[this.now]) : "");
    put("mark", document.getElementById("mark").value);
    put("view", this.scale > 1 ? [this.x, this.y, this.scale].map((each) => each.toFixed(3)).join(",") : "");
    history.replaceState(null, "", address);
  }

  restore() {
    const asked = new URL(location.href).searchParams, view = (asked.get("view") || "").split(",").map(Number);
    if (view.length === 3 && view.every(Number.isFinite)) { [this.x, this.y, this.scale] = [view[0], view[1], Math.min(Math.max(view[2], 1), 60)]; }
    document.getElementById("mark").value = asked.get("mark") || "";
    const now = this.places.feature.indexOf(Number(asked.get("feature") ?? -1));
    this.mark(document.getElementById("mark").value);
    if (now >= 0) { this.choose(now); }
  }

  #listen() {
    const point = (event) => { const { left, top } = canvas.getBoundingClientRect(); return [event.clientX - left, event.clientY - top]; };
    let dragged = null;
    canvas.addEventListener("pointerdown", (event) => { dragged = { from: point(event), x: this.x, y: this.y, far: false }; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = point(event), { width, height } = canvas.getBoundingClientRect();
      if (dragged && event.buttons) {
        const [dx, dy] = [x - dragged.from[0], y - dragged.from[1]];
        dragged.far = dragged.far || Math.hypot(dx, dy) > 5;
        if (dragged.far && this.scale > 1) {
          this.x = dragged.x - dx / (width - 2 * PADDING) / this.scale; this.y = dragged.y - dy / (height - 2 * PADDING) / this.scale;
          this.draw();
        }
        return;
      }
      const over = this.nearest(x, y);
      if (over !== this.over) { this.over = over; this.draw(); }
      this.tip.hidden = over < 0;
      if (over >= 0) {
        this.tip.textContent = this.title(over);
        this.tip.style.left = `${Math.min(x + 14, width - this.tip.offsetWidth - 6)}px`;
        this.tip.style.top = `${Math.max(y - 34, 4)}px`;
      }
    });
    canvas.addEventListener("pointerleave", () => { this.over = -1; this.tip.hidden = true; this.draw(); });
    canvas.addEventListener("pointerup", (event) => { if (dragged && !dragged.far) { this.open(this.nearest(...point(event))); } dragged = null; this.remember(); });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const [x, y] = point(event), { width, height } = canvas.getBoundingClientRect();
      this.zoom(event.deltaY < 0 ? 1.25 : 0.8, this.x + ((x - PADDING) / (width - 2 * PADDING) - 0.5) / this.scale,
        this.y + ((y - PADDING) / (height - 2 * PADDING) - 0.5) / this.scale);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) { return; }
      const acts = { ArrowLeft: () => this.choose(this.towards(-1, 0)), ArrowRight: () => this.choose(this.towards(1, 0)),
        ArrowUp: () => this.choose(this.towards(0, -1)), ArrowDown: () => this.choose(this.towards(0, 1)),
        Enter: () => this.open(this.now), "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5), 0: () => this.zoom(0) };
      if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
    });
    document.getElementById("closer").addEventListener("click", () => this.zoom(1.5));
    document.getElementById("wider").addEventListener("click", () => this.zoom(1 / 1.5));
    document.getElementById("whole").addEventListener("click", () => this.zoom(0));
    document.getElementById("mark").addEventListener("input", (event) => this.mark(event.target.value));
  }
}

if (box) {
  const here = document.getElementById("places"); // of pages without a server
  const map = new FeatureMap(here ? JSON.parse(here.textContent) : await (await fetch(box.dataset.places)).json());
  canvas.dataset.ready = String(map.number);
}
