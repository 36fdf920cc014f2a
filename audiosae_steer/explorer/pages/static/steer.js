// The page that steers: a clip, recipes and edits; what they do to it; and the recipe that is kept.
import { editRow } from "./edit_rows.js";
import { ask, byId, make, melOf, soundOf } from "./live_ask.js";
import { armOwnSound } from "./own_sound.js";
import { putPicture } from "./parts/clip_stage.js";
import { broughtBack, effectOf, isSame, keep, kept, layAside, newEdit, ofAddress, toAddress } from "./recipe_basket.js";
import { clearResult, showResult } from "./steer_result.js";

const SETTLED = 350, state = JSON.parse(byId("state").textContent), status = byId("status");
const asked = new URL(location.href).searchParams;
const before = kept(), linked = ofAddress(asked);
const replaced = linked && before.edits.length > 0 && effectOf(linked) !== effectOf(before);
const recipe = replaced || (linked && !before.edits.length) ? linked : before;
if (replaced) { layAside(before); }
const known = (recipes) => recipes.filter(({ name }) => state.recipes.some((each) => each.name === name)); // the others are another model's
recipe.recipes = known(recipe.recipes);
let clip = null, own = null, held = false, waiting;

const content = () => ({ edits: recipe.edits.map((edit) => ({ ...edit })), recipes: recipe.recipes, strength: recipe.strength,
  gate: recipe.gate || null, allow_empty: recipe.empty });

function remember() { held = keep(recipe); showAddress(); }

function showAddress() {
  const address = new URL(location.href);
  for (const name of ["clip", "own", "name"]) { address.searchParams.delete(name); }
  if (clip?.own) { address.searchParams.set("own", clip.own); address.searchParams.set("name", clip.name); }
  if (clip?.number) { address.searchParams.set("clip", clip.number); }
  toAddress(recipe, address.searchParams);
  history.replaceState(null, "", address);
}

function changed() {
  remember(); showVerdict(); showJudged();
  clearTimeout(waiting);
  waiting = setTimeout(run, SETTLED);
}

/** Say why there is no result, and take away what was one before. */
function without(words) {
  status.textContent = words;
  clearResult(byId("result"));
  byId("verdict").hidden = true;
  document.body.removeAttribute("aria-busy");
}

async function run() {
  const of = clip;
  if (!clip) { without("Choose a clip."); return; }
  if (state.output === "sound" && !recipe.edits.length) { without("Add an edit to hear what it does."); return; }
  status.textContent = "Working … (the first time, the model is loaded)";
  document.body.setAttribute("aria-busy", "true");
  try {
    const found = await (await ask("steer", { ...(clip.own ? { own: clip.own } : { clip: clip.number }), ...content() })).json();
    if (clip !== of) { return; } // another, or none, has taken its place
    status.textContent = showResult(byId("result"), found);
    byId("verdict").hidden = !recipe.edits.length;
    document.body.removeAttribute("aria-busy");
  } catch (error) {
    if (clip === of && !error.superseded && error.name !== "AbortError") { without(error.message); }
  }
}

// the clip

function choose(now) {
  if (clip !== now) { clearResult(byId("result")); byId("verdict").hidden = true; }
  clip = now;
  if (now?.own) { own = now; }
  byId("clip-now").hidden = !now;
  if (now) { putPicture(byId("clip-mel"), melOf(now)); byId("clip-sound").src = soundOf(now); } else { byId("clip-sound").pause(); }
  if (byId("clip")) { byId("clip").value = now?.number ? String(now.number) : ""; }
  showVerdict();
}

byId("clip")?.addEventListener("change", (event) => {
  const [option] = event.target.selectedOptions;
  if (option.value) { choose({ number: Number(option.value), name: option.dataset.name }); changed(); } else if (own) { choose(own); changed(); } else {
    event.target.value = clip ? String(clip.number) : ""; // there is none to be taken
    byId("own-said").textContent = "No own clip yet: record one, or choose a sound file.";
  }
});
armOwnSound((now) => { choose(now); changed(); }, () => { own = null; choose(null); changed(); });

// shipped recipes

const shows = []; // what shows the recipe in its place

document.querySelectorAll("#recipes > li").forEach((row) => {
  const { name } = row.dataset, box = row.querySelector("input[type=checkbox]"), [slider, field] = row.querySelectorAll(".dial input"), parts = row.querySelector(".dial");
  const own = () => recipe.recipes.find((each) => each.name === name);
  const show = () => { box.checked = Boolean(own()); parts.hidden = !own(); if (own()) { slider.value = field.value = own().strength; } };
  box.addEventListener("change", () => {
    recipe.recipes = recipe.recipes.filter((each) => each.name !== name);
    if (box.checked) { recipe.recipes.push({ name, strength: Number(field.value) }); }
    show(); changed();
  });
  slider.addEventListener("input", () => { field.value = slider.value; own().strength = Number(slider.value); changed(); });
  field.addEventListener("input", () => { if (field.value !== "" && field.validity.valid) { slider.value = field.value; own().strength = Number(field.value); changed(); } });
  shows.push(show);
  show();
});

// edits

function showEdits() {
  const secondsOf = () => byId("clip-sound").duration || state.clips.find(([number]) => number === clip?.number)?.[3] || 1;
  byId("edits").replaceChildren(...recipe.edits.map((edit) => editRow(edit, { changed, seconds: secondsOf,
    removed: () => { recipe.edits = recipe.edits.filter((each) => each !== edit); showEdits(); changed(); byId("add-feature").focus(); } })));
  byId("no-edits").hidden = recipe.edits.length > 0;
  byId("of-all").hidden = recipe.edits.length === 0;
}

byId("add-edit")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const layer = Number(byId("add-layer").value), feature = Number(byId("add-feature").value);
  const { features } = state.layers.find((each) => each.layer === layer);
  if (feature >= features) { byId("add-said").textContent = `Layer ${layer} has features 0 to ${features - 1}.`; return; }
  recipe.edits.push(newEdit(layer, feature));
  byId("add-said").textContent = `Feature ${feature} added, silenced.`;
  byId("add-feature").value = "";
  showEdits(); changed();
});

const strength = byId("strength"), strengthSlider = byId("strength-slider");
if (strength) {
  shows.push(() => { strength.value = strengthSlider.value = recipe.strength; });
  strengthSlider.addEventListener("input", () => { strength.value = strengthSlider.value; recipe.strength = Number(strength.value); changed(); });
  strength.addEventListener("input", () => { if (strength.value !== "" && strength.validity.valid) { strengthSlider.value = strength.value; recipe.strength = Number(strength.value); changed(); } });
}
if (byId("gate")) {
  shows.push(() => {
    byId("gate").value = recipe.gate;
    if (byId("gate").value !== recipe.gate) { recipe.gate = byId("gate").value = ""; }
  });
  byId("gate").addEventListener("change", (event) => { recipe.gate = event.target.value; changed(); });
}
if (byId("empty")) {
  shows.push(() => { byId("empty").checked = recipe.empty; });
  byId("empty").addEventListener("change", (event) => { recipe.empty = event.target.checked; changed(); });
}

// the verdict, and the recipe

/** A verdict holds for the settings that it was given for. */
const isNow = (each) => each.of === effectOf(recipe);

function showVerdict() {
  const rating = recipe.judged.find((each) => each.name === clip?.name && isNow(each))?.rating;
  document.querySelectorAll("#verdict input").forEach((radio) => { radio.checked = radio.value === rating; });
}

function showJudged() {
  byId("judged").replaceChildren(...recipe.judged.map((each) => {
    const gone = make("button", { type: "button", "aria-label": `Forget ${each.name}` }, "forget");
    gone.addEventListener("click", () => { recipe.judged = recipe.judged.filter((other) => other !== each); remember(); showJudged(); showVerdict(); });
    return make("li", {}, make("span", {}, each.name), make("b", {}, isNow(each) ? each.rating : `${each.rating}, of other settings`), gone);
  }));
  byId("no-judged").hidden = recipe.judged.length > 0;
}

byId("verdict")?.addEventListener("change", (event) => {
  recipe.judged = [...recipe.judged.filter((each) => each.name !== clip.name), { name: clip.name, rating: event.target.value, of: effectOf(recipe) }];
  remember(); showJudged();
});

function download(body, name) {
  const link = make("a", { href: URL.createObjectURL(body), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function save(bundled) {
  const form = byId("recipe-form"), said = byId("saved");
  if (!form.reportValidity()) { return; }
  said.textContent = "Saving …";
  try {
    const all = { ...content(), name: recipe.name, description: recipe.description, judged: recipe.judged.filter(isNow).map(({ name, rating }) => ({ name, rating })) };
    const answer = await ask("recipe?as=json", all), text = await answer.text(), needs = (answer.headers.get("x-needs") || "").split(",").filter(Boolean);
    const zipped = bundled && needs.length > 0;
    download(zipped ? await (await ask("recipe?as=zip", all)).blob() : new Blob([text], { type: "application/json" }), `${recipe.name}.${zipped ? "zip" : "json"}`);
    const beside = zipped ? `Unpacked, its folder ${recipe.name} is a recipe for steer() and the command line.`
      : needs.length ? `It needs ${needs.join(" and ")} beside it.` : "Its SAE is fetched from the Hub.";
    said.textContent = `Saved ${recipe.name}.${zipped ? "zip" : "json"}. ${beside}`;
    const command = JSON.parse(text).provenance.to_calibrate;
    byId("saved-how").hidden = !command;
    byId("command").textContent = command || "";
  } catch (error) { said.textContent = error.message; }
}

if (byId("recipe-form")) {
  shows.push(() => { byId("recipe-name").value = recipe.name; byId("recipe-words").value = recipe.description; }, showEdits, showJudged, showVerdict);
  byId("recipe-name").addEventListener("input", (event) => { recipe.name = event.target.value; remember(); });
  byId("recipe-words").addEventListener("input", (event) => { recipe.description = event.target.value; remember(); });
  byId("recipe-form").addEventListener("submit", (event) => { event.preventDefault(); save(true); });
  byId("save-json").addEventListener("click", () => save(false));
  shows.forEach((show) => show());
  byId("aside").hidden = !replaced;
  byId("bring-back").addEventListener("click", () => {
    const address = new URL(location.href);
    toAddress(broughtBack(), address.searchParams);
    location.replace(address);
  });
  const option = asked.get("clip") && byId("clip")?.querySelector(`option[value="${Number(asked.get("clip"))}"]`);
  if (asked.get("own")) { choose({ own: asked.get("own"), name: (asked.get("name") || "own clip").slice(0, 120) }); } else if (option) {
    choose({ number: Number(option.value), name: option.dataset.name });
  }
  remember();
  run();

  // another tab has the same recipe in the making: what it wrote counts, and is not written over
  const takeUp = () => {
    if (!held || document.hidden) { return; }
    const now = kept();
    now.recipes = known(now.recipes);
    if (isSame(now, recipe)) { return; }
    Object.assign(recipe, now);
    shows.forEach((show) => show());
    showAddress();
    clearTimeout(waiting);
    waiting = setTimeout(run, SETTLED);
  };
  window.addEventListener("storage", takeUp);
  window.addEventListener("pageshow", (event) => { if (event.persisted) { takeUp(); } });
  document.addEventListener("visibilitychange", takeUp);
}
