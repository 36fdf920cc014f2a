// Rows of edits: a kind, and for each number a slider with a field.
import { KINDS } from "./recipe_basket.js";
import { fetchJson, make } from "./live_ask.js";

const root = document.body.dataset.root, known = new Map();

/** Name and range of a feature, asked for once. */
function infoOf(layer, feature) {
  const key = `${layer}/${feature}`;
  if (!known.has(key)) { known.set(key, fetchJson(`feature/${key}.json`)); }
  return known.get(key);
}

/** Slider range of a number: from the feature's highest on the corpus, where it counts activations. */
function rangeOf(name, peak, units) {
  const top = peak > 0 ? Number((1.5 * peak).toPrecision(2)) : 10;
  if (name === "factor") { return [-2, 4, 0.05]; }
  if (name === "amount") { return units === "typical" ? [-10, 10, 0.1] : [-top, top, top / 100]; }
  return [0, top, top / 100];
}

let made = 0;

/** A slider with a number field that say the same; changed(value). An empty field is null where that is allowed. */
export function dial(title, of, value, [low, high, step], changed, empty = false) {
  made += 1;
  const slider = make("input", { type: "range", min: low, max: high, step, "aria-label": `${title} of ${of}, slider` });
  const field = make("input", { type: "number", step: "any", id: `dial-${made}`, "aria-label": `${title} of ${of}`, required: !empty });
  const reach = (number) => { if (number > high) { slider.max = number; } if (number < low) { slider.min = number; } slider.value = number; };
  field.value = value ?? "";
  reach(value ?? (title === "At most" ? high : low));
  slider.addEventListener("input", () => { field.value = Number(Number(slider.value).toPrecision(6)); changed(Number(field.value)); });
  field.addEventListener("input", () => {
    if (field.value === "" ? empty : field.validity.valid) { reach(Number(field.value)); changed(field.value === "" ? null : Number(field.value)); }
  });
  return make("div", { class: "dial" }, make("label", { for: field.id }, title), slider, field);
}

/** The row of an edit; changed() after each change of it, removed() once it is to go. */
export function editRow(edit, { changed, removed, seconds }) {
  const of = `feature ${edit.feature}`, row = make("li", { "data-feature": edit.feature });
  const name = make("span", { class: "edit-name" }, make("a", { class: "number", href: `${root}feature/${edit.layer}/${edit.feature}.html` }, `Feature ${edit.feature}`));
  const more = make("span", { class: "quiet small" }, ` layer ${edit.layer}`), body = make("div"), extra = make("div", { class: "edit-more" });
  name.append(more);
  const kind = make("select", { "aria-label": `Edit of ${of}` }, ...Object.keys(KINDS).map((each) => make("option", { value: each, selected: each === edit.kind }, KINDS[each].title)));
  const remove = make("button", { type: "button", class: "remove", "aria-label": `Remove ${of}` }, "Remove");
  let peak = 0;
  const show = () => {
    body.replaceChildren(...KINDS[edit.kind].numbers.map(([key, title, usual]) => dial(title, of, edit[key] ?? usual, rangeOf(key, peak, edit.units),
      (value) => { if (value === null) { delete edit[key]; } else { edit[key] = value; } changed(); }, edit.kind === "clamp")));
    extra.replaceChildren(...extras());
  };
  const tick = (label, on, set) => {
    const box = make("input", { type: "checkbox", "aria-label": `${label}, ${of}` });
    box.checked = on;
    box.addEventListener("change", () => { set(box.checked); changed(); });
    return make("label", {}, box, label);
  };
  const extras = () => {
    const found = [];
    if (edit.kind === "set") { found.push(tick("only where it fires", Boolean(edit.only_active), (on) => { edit.only_active = on; })); }
    if (edit.kind === "add") { found.push(tick("in typical activations", edit.units === "typical", (on) => { edit.units = on ? "typical" : "raw"; show(); })); }
    found.push(tick("only a stretch", Boolean(edit.window), (on) => { if (on) { edit.window = [0, Math.max(Number(seconds().toFixed(1)), 0.1)]; } else { delete edit.window; } show(); }));
    if (edit.window) {
      ["from", "to"].forEach((word, i) => {
        const field = make("input", { type: "number", min: 0, step: 0.1, value: edit.window[i], "aria-label": `${word}, seconds, ${of}` });
        field.addEventListener("input", () => {
          const value = Number(field.value), window = [...edit.window];
          window[i] = value;
          if (field.value !== "" && window[0] < window[1]) { edit.window = window; changed(); }
        });
        found.push(make("label", {}, word, field, i ? "s" : ""));
      });
    }
    return found;
  };
  kind.addEventListener("change", () => {
    for (const key of ["factor", "low", "high", "value", "amount", "only_active", "units"]) { delete edit[key]; }
    edit.kind = kind.value;
    KINDS[edit.kind].numbers.forEach(([key, , usual]) => { if (usual !== null) { edit[key] = usual; } });
    show(); changed();
  });
  remove.addEventListener("click", removed);
  row.append(make("div", { class: "edit-head" }, name, kind, remove), body, extra);
  show();
  infoOf(edit.layer, edit.feature).then((info) => {
    if (!info) { more.textContent += " · there is no such feature"; return; }
    peak = info.peak;
    more.textContent = ` ${info.label ? `${info.label} · ` : ""}layer ${edit.layer} · ${peak > 0 ? `at most ${peak.toPrecision(3)} on the corpus` : "never fires on the corpus"}`;
    if (!body.contains(document.activeElement)) { show(); }
  });
  return row;
}
