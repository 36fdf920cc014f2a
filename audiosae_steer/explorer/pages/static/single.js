// One feature in a file of its own: the stage, without notes and without a server.
import { ClipStage } from "./parts/clip_stage.js";

const held = JSON.parse(document.getElementById("state").textContent).data;
const thumbs = [...document.querySelectorAll(".thumb")];

if (held.length) {
  const stage = new ClipStage(document.getElementById("stage"), held);
  stage.addEventListener("clip", () => thumbs.forEach((thumb, i) => {
    if (i === stage.now) { thumb.setAttribute("aria-current", "true"); } else { thumb.removeAttribute("aria-current"); }
  }));
  thumbs.forEach((thumb, i) => thumb.addEventListener("click", (event) => { event.preventDefault(); stage.show(i, null, true); }));
  const asked = new URLSearchParams(location.hash.slice(1)), found = held.findIndex((each) => each.key === asked.get("clip"));
  stage.show(Math.max(found, 0));
}
