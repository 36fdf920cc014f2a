// The clips of a page in one file, on one stage; where groups have a place for it, it moves to the clip it shows.
import { ClipStage } from "./clip_stage.js";

const state = JSON.parse(document.getElementById("state").textContent);
const thumbs = [...document.querySelectorAll(".thumb")];

/** Put the stage into the group of a clip; the focus stays where it was. */
function settle(stage, thumb) {
  const group = thumb.closest(".stage-group"), slot = group && group.querySelector(".stage-slot");
  if (!slot || slot.contains(stage.root)) { return false; }
  const focused = document.activeElement;
  slot.append(stage.root);
  if (stage.root.contains(focused)) { focused.focus({ preventScroll: true }); }
  return true;
}

if (state.data.length) {
  // each sound is in the page once, and each picture in the link to its clip
  const held = state.data.map((each, i) => ({ ...each, sound: state.sounds[each.sound],
    mel: thumbs[i].querySelector("img").getAttribute("src") }));
  const stage = new ClipStage(document.getElementById("stage"), held);
  let first = true;
  stage.addEventListener("clip", () => {
    thumbs.forEach((thumb, i) => {
      if (i === stage.now) { thumb.setAttribute("aria-current", "true"); } else { thumb.removeAttribute("aria-current"); }
    });
    if (settle(stage, thumbs[stage.now]) && !first) { stage.root.scrollIntoView({ block: "nearest" }); }
    first = false;
  });
  thumbs.forEach((thumb, i) => thumb.addEventListener("click", (event) => { event.preventDefault(); stage.show(i, null, true); }));
  const asked = new URLSearchParams(location.hash.slice(1)), found = held.findIndex((each) => each.key === asked.get("clip"));
  stage.show(Math.max(found, 0));
}
