// The page of a feature: its clips on the stage, ratings and notes, and an address that restores it all.
import { ClipStage } from "./parts/clip_stage.js";
import { waveform } from "./waveform.js";

const state = JSON.parse(document.getElementById("state").textContent);
const root = document.body.dataset.root, frozen = document.body.dataset.static === "1";
const place = document.getElementById("stage");

function remember(stage) {
  const address = new URL(location.href);
  address.searchParams.set("clip", stage.example.key);
  address.searchParams.set("at", stage.cursor.toFixed(2));
  history.replaceState(null, "", address);
}

function start() {
  const stage = new ClipStage(place, state.data, waveform), thumbs = [...document.querySelectorAll(".thumb")];
  const asked = new URL(location.href).searchParams, link = document.getElementById("clip-link");
  const ratings = new Map(Object.entries(state.ratings)), [layer, feature] = location.pathname.split("/").slice(-2);
  let later;
  const rated = () => {
    for (const radio of document.querySelectorAll("#stage-rating input")) {
      radio.checked = Number(radio.value) === ratings.get(stage.example.key);
    }
  };
  stage.addEventListener("clip", () => {
    thumbs.forEach((thumb, i) => {
      if (i === stage.now) { thumb.setAttribute("aria-current", "true"); } else { thumb.removeAttribute("aria-current"); }
    });
    link.href = `${root}clip/${layer}/${stage.example.key}.html`;
    document.getElementById("clip-rights").textContent = stage.example.rights;
    rated();
    remember(stage);
  });
  stage.addEventListener("cursor", () => {
    clearTimeout(later);
    later = setTimeout(() => remember(stage), 250);
  });
  stage.addEventListener("rate", async (event) => {
    const key = stage.example.key;
    const answer = await fetch(`${root}notes/${layer}/${feature.replace(".html", "")}/rating`, { method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify({ clip: Number(key), rating: event.detail }) });
    if (answer.ok) { if (event.detail) { ratings.set(key, event.detail); } else { ratings.delete(key); } }
    rated();
    document.getElementById("kept").textContent = answer.ok
      ? (event.detail ? `Clip rated ${event.detail} of 5.` : "Rating taken away.") : "The rating could not be kept.";
  });
  thumbs.forEach((thumb, i) => thumb.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) { return; }
    event.preventDefault();
    stage.show(i, null, true);
    if (place.getBoundingClientRect().bottom < 120) {
      place.scrollIntoView({ block: "start", behavior: stage.calm.matches ? "auto" : "smooth" });
    }
  }));
  const wanted = state.data.findIndex((each) => each.key === asked.get("clip"));
  const at = asked.get("at");
  stage.show(wanted >= 0 ? wanted : state.now, at !== null && Number.isFinite(Number(at)) ? Number(at) : null);
}

if (place) { start(); }

const note = document.getElementById("note");
if (note && !frozen) {
  note.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await fetch(note.action, { method: "POST", body: new URLSearchParams(new FormData(note)),
      headers: { accept: "application/json" } }).catch(() => null);
    const kept = document.getElementById("kept");
    if (answer && answer.ok) {
      const now = await answer.json();
      kept.textContent = "Kept.";
      if (now.label) { document.getElementById("title-label").textContent = now.label; }
    } else {
      kept.textContent = answer ? (await answer.json()).error : "The server does not answer.";
    }
  });
}
