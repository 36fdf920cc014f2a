// An own clip: a file that is chosen or dropped, or the microphone, sent as a WAV file.
import { byId, sendClip } from "./live_ask.js";

const LONGEST = 30;

/** A WAV file, 16 bits, mono. */
export function wavOf(blocks, rate) {
  const number = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * number));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * number, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * number, true);
  let at = 44;
  for (const block of blocks) {
    for (const sample of block) { view.setInt16(at, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true); at += 2; }
  }
  return new Blob([view.buffer], { type: "audio/wav" });
}

class Microphone {
  /** heard: called with seconds and level, from 0 to 1. */
  async start(heard) {
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule(`${document.body.dataset.root}static/recorder_worklet.js`);
    this.blocks = [];
    this.number = 0;
    const source = this.context.createMediaStreamSource(this.stream), node = new AudioWorkletNode(this.context, "recorder");
    node.port.onmessage = ({ data }) => {
      this.blocks.push(data);
      this.number += data.length;
      heard(this.number / this.context.sampleRate, Math.max(...data.map(Math.abs)));
    };
    source.connect(node).connect(this.context.destination); // it is silent, and runs only if it is connected
    await this.context.resume();
  }

  async stop() {
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context.close();
    return wavOf(this.blocks, this.context.sampleRate);
  }
}

/** Arm the parts of `own_sound` in live_parts.html; taken: called with the kept clip; refused: when one was none. */
export function armOwnSound(taken, refused) {
  const said = byId("own-said"), button = byId("record"), meter = byId("record-level"), box = byId("own-sound");
  let microphone = null, busy = false;

  const refuse = (words) => { said.textContent = words; refused(); };

  async function send(sound, name) {
    said.textContent = "Sending …";
    try {
      const clip = await sendClip(sound, name);
      const left = clip.left_out > 0.5 ? ` Its last ${clip.left_out} s are left out.` : "";
      said.textContent = `${clip.name}: ${clip.seconds.toFixed(1)} s.${left}`;
      taken(clip);
    } catch (error) { refuse(error.message); }
  }

  const chosen = (files) => {
    const [file] = files;
    if (!file) { return; }
    if (file.size > Number(box.dataset.most)) { refuse(`${file.name} is larger than ${box.dataset.most >> 20} MB.`); return; }
    send(file, file.name);
  };
  byId("own-file").addEventListener("change", (event) => { chosen(event.target.files); event.target.value = ""; });
  box.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("over"); });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => { event.preventDefault(); box.classList.remove("over"); chosen(event.dataTransfer.files); });

  async function stop() {
    const ending = microphone;
    microphone = null;
    button.textContent = "Record"; button.setAttribute("aria-pressed", "false"); meter.hidden = true;
    const sound = await ending.stop();
    if (ending.number) { await send(sound, "recording.wav"); } else { said.textContent = "The microphone gave no sound."; }
  }

  if (!navigator.mediaDevices || !window.AudioWorkletNode) {
    button.disabled = true;
    said.textContent = "This browser records only on pages of this machine or over https.";
    return;
  }
  button.addEventListener("click", async () => {
    if (busy) { return; }
    busy = true;
    try {
      if (microphone) { await stop(); return; }
      const begun = new Microphone();
      await begun.start((seconds, level) => {
        meter.value = level;
        button.textContent = `Stop · ${seconds.toFixed(1)} s`;
        if (seconds >= LONGEST && microphone === begun) { stop(); }
      });
      microphone = begun;
      button.setAttribute("aria-pressed", "true"); meter.hidden = false;
      said.textContent = `Recording, ${LONGEST} s at most.`;
    } catch (error) {
      said.textContent = error.name === "NotAllowedError" ? "The browser was not allowed to use the microphone." : `No microphone: ${error.message}`;
    } finally { busy = false; }
  });
}
