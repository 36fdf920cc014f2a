// Buttons that play a sound at once, one at a time.
const audio = new Audio();
let playing = null;

function stop() {
  audio.pause();
  if (playing) { playing.setAttribute("aria-pressed", "false"); }
  playing = null;
}

function armed(button) {
  button.hidden = false;
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const same = playing === button;
    stop();
    if (same) { return; }
    playing = button;
    button.setAttribute("aria-pressed", "true");
    audio.src = button.dataset.sound;
    audio.addEventListener("loadedmetadata", () => { audio.currentTime = Number(button.dataset.at); }, { once: true });
    audio.play().catch(stop);
  });
}

/** Make all of the page's buttons play. */
export function armPlayButtons() {
  audio.addEventListener("ended", stop);
  document.querySelectorAll(".play").forEach(armed);
}
