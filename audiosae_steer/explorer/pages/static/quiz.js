// The quiz: sounds, ticks by number keys, an address that keeps the ticks, and a tally of this tab.
import { armPlayButtons } from "./play_buttons.js";

const KEY = "audiosae-steer quiz", form = document.getElementById("quiz"), result = document.getElementById("result");
const boxes = form ? [...form.querySelectorAll("input[name=picked]")] : [];

armPlayButtons();

function tally() {
  try { return JSON.parse(sessionStorage.getItem(KEY)) || {}; } catch { return {}; }
}

function tell(rounds) {
  const all = Object.values(rounds), sum = (place) => all.reduce((total, each) => total + each[place], 0);
  const place = document.getElementById("tally");
  if (!place || !all.length) { return; }
  const [right, clips] = [sum(0), sum(1)], share = Math.round((100 * right) / clips);
  place.textContent = `So far ${right} of ${clips} clips right (${share} %) in ${all.length} round${all.length === 1 ? "" : "s"}; chance is right on 50 %.`;
}

function remember() {
  const address = new URL(location.href);
  address.searchParams.delete("picked");
  boxes.filter((box) => box.checked).forEach((box) => address.searchParams.append("picked", box.value));
  history.replaceState(null, "", address);
}

const rounds = tally();
if (result) {
  const { round, right, clips } = result.dataset;
  if (!(round in rounds)) { rounds[round] = [Number(right), Number(clips)]; } // the first answer counts
  try { sessionStorage.setItem(KEY, JSON.stringify(rounds)); } catch { /* then it is told for this round alone */ }
  result.focus();
}
tell(rounds);

if (boxes.length) {
  document.getElementById("quiz-keys").hidden = false;
  form.addEventListener("change", remember);
  document.addEventListener("keydown", (event) => {
    const box = boxes.find((each) => each.value === event.key);
    if (!box || event.ctrlKey || event.metaKey || event.altKey) { return; }
    box.checked = !box.checked;
    box.focus();
    remember();
  });
}
