// The recipe in the making: its edits as words of an address, and between pages in the browser's own storage.

export const KINDS = {
  ablate: { title: "ablate", numbers: [] },
  scale: { title: "scale", numbers: [["factor", "Factor", 0]] },
  clamp: { title: "clamp", numbers: [["low", "At least", null], ["high", "At most", 0]] },
  set: { title: "set", numbers: [["value", "Value", 1]] },
  add: { title: "add", numbers: [["amount", "Amount", 1]] },
};
const FLAGS = { set: ["only_active", "active"], add: ["units", "typical"] };
const MOST = 64;

export function blank() {
  return { edits: [], recipes: [], strength: 1, gate: "", empty: false, name: "", description: "", judged: [] };
}

const finite = (text) => (text === undefined || text === null || text === "" || !Number.isFinite(Number(text)) ? null : Number(text));

/** `layer:feature:kind:numbers…:flag@from-to`, as addresses have it. */
export function editToText(edit) {
  const parts = [edit.layer, edit.feature, edit.kind, ...KINDS[edit.kind].numbers.map(([name]) => edit[name] ?? "")];
  if (edit.only_active) { parts.push("active"); }
  if (edit.units === "typical") { parts.push("typical"); }
  return parts.join(":") + (edit.window ? `@${edit.window[0]}-${edit.window[1]}` : "");
}

export function editOfText(text) {
  const [front, window] = text.split("@"), [layer, feature, kind, ...rest] = front.split(":");
  if (!/^\d{1,6}$/.test(layer || "") || !/^\d{1,9}$/.test(feature || "") || !(kind in KINDS)) { return null; }
  const edit = { layer: Number(layer), feature: Number(feature), kind };
  KINDS[kind].numbers.forEach(([name, , usual], i) => { const value = finite(rest[i]) ?? usual; if (value !== null) { edit[name] = value; } });
  if (kind === "set") { edit.only_active = rest.includes("active"); }
  if (kind === "add") { edit.units = rest.includes("typical") ? "typical" : "raw"; }
  const span = (window || "").split("-").map(finite);
  if (span.length === 2 && span[0] !== null && span[1] !== null && span[0] < span[1]) { edit.window = span; }
  return edit;
}

/** An edit of a feature as it is first put down: its factor 0 silences it, as the slider shows. */
export function newEdit(layer, feature) { return { layer, feature, kind: "scale", factor: 0 }; }

export function toAddress(recipe, params) {
  for (const name of ["edit", "recipe", "strength", "gate", "empty"]) { params.delete(name); }
  recipe.edits.forEach((edit) => params.append("edit", editToText(edit)));
  recipe.recipes.forEach(({ name, strength }) => params.append("recipe", `${name}:${strength}`));
  if (recipe.strength !== 1) { params.set("strength", recipe.strength); }
  if (recipe.gate) { params.set("gate", recipe.gate); }
  if (recipe.empty) { params.set("empty", "1"); }
}

/** The recipe that an address holds; null if it holds none. */
export function ofAddress(params) {
  if (!["edit", "recipe", "strength", "gate", "empty"].some((name) => params.has(name))) { return null; }
  const recipe = blank();
  recipe.edits = params.getAll("edit").map(editOfText).filter(Boolean).slice(0, MOST);
  recipe.recipes = params.getAll("recipe").map((text) => {
    const at = text.lastIndexOf(":");
    return { name: at < 0 ? text : text.slice(0, at), strength: (at < 0 ? null : finite(text.slice(at + 1))) ?? 1 };
  });
  recipe.strength = finite(params.get("strength")) ?? 1;
  recipe.gate = params.get("gate") || "";
  recipe.empty = params.get("empty") === "1";
  return recipe;
}

/** What a recipe does, as text: two that do the same are equal. */
export function effectOf(recipe) {
  const params = new URLSearchParams();
  toAddress(recipe, params);
  return params.toString();
}

const key = () => `audiosae-steer recipe ${document.body.dataset.model || ""}`;

export function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(key()));
    if (!found || !Array.isArray(found.edits)) { return blank(); }
    const edits = found.edits.map((edit) => { try { return editOfText(editToText(edit)); } catch { return null; } });
    return { ...blank(), ...found, edits: edits.filter(Boolean) };
  } catch { return blank(); }
}

/** Keep a recipe; false where the browser keeps nothing, and the address alone holds it. */
export function keep(recipe) {
  let held = true;
  try { localStorage.setItem(key(), JSON.stringify(recipe)); } catch { held = false; }
  showCount();
  return held;
}

/** True for two recipes that do the same, and say the same of themselves. */
export function isSame(one, other) {
  const words = ({ name, description, judged }) => JSON.stringify([name, description, judged]);
  return effectOf(one) === effectOf(other) && words(one) === words(other);
}

/** Lay a recipe aside, whose place a link's takes; and bring it back. */
export function layAside(recipe) { try { localStorage.setItem(`${key()} aside`, JSON.stringify(recipe)); } catch { /* then it is gone */ } }

export function broughtBack() {
  try { localStorage.setItem(key(), localStorage.getItem(`${key()} aside`)); } catch { /* as it is */ }
  return kept();
}

/** The number of edits, beside the entry in the navigation. */
export function showCount() {
  const link = document.querySelector('header a[href*="steer.html"]'), number = kept().edits.length;
  if (!link) { return; }
  link.querySelector(".count")?.remove();
  if (number) {
    const badge = document.createElement("span"), words = document.createElement("span");
    badge.className = "count"; badge.textContent = number;
    words.className = "hidden"; words.textContent = number === 1 ? " edit in the recipe" : " edits in the recipe";
    badge.append(words); link.append(" ", badge);
  }
}
