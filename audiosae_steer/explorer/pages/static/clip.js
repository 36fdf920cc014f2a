// The page of a clip: the features that fire on it, one curve at a time over the same sound.
import { ClipStage } from "./parts/clip_stage.js";
import { waveform } from "./waveform.js";

const state = JSON.parse(document.getElementById("state").textContent);
const stage = new ClipStage(document.getElementById("stage"), state.data, waveform);
const tracks = [...document.querySelectorAll("button.track")];
const asked = new URL(location.href).searchParams, at = asked.get("at");

function remember() {
  const address = new URL(location.href);
  if (tracks.length) { address.searchParams.set("feature", stage.example.key); }
  address.searchParams.set("at", stage.cursor.toFixed(2));
  history.replaceState(null, "", address);
}

tracks.forEach((track, i) => {
  track.disabled = false;
  track.addEventListener("click", () => stage.show(i, stage.cursor, stage.playing));
});
stage.addEventListener("clip", () => {
  tracks.forEach((track) => track.setAttribute("aria-pressed", String(track.dataset.key === stage.example.key)));
  remember();
});
let later;
stage.addEventListener("cursor", () => { clearTimeout(later); later = setTimeout(remember, 250); });
const wanted = state.data.findIndex((each) => each.key === asked.get("feature"));
stage.show(Math.max(wanted, 0), at !== null && Number.isFinite(Number(at)) ? Number(at) : 0);
