// The waveform below the spectrogram, by wavesurfer.js; the stage works without it.
import WaveSurfer from "./vendor/wavesurfer/wavesurfer.esm.js";

const COLUMNS = 900;

/** Loudest sample of each column of a sound, read at a low rate: enough for a picture. */
async function outline(address) {
  const answer = await fetch(address);
  if (!answer.ok) { throw new Error(`no sound at ${address}`); }
  const sound = await new OfflineAudioContext(1, 1, 8000).decodeAudioData(await answer.arrayBuffer());
  const samples = sound.getChannelData(0), step = samples.length / COLUMNS;
  const peaks = new Float32Array(COLUMNS);
  for (let i = 0; i < COLUMNS; i += 1) {
    for (let k = Math.floor(i * step); k < (i + 1) * step && k < samples.length; k += 1) {
      peaks[i] = Math.max(peaks[i], Math.abs(samples[k]));
    }
  }
  return [peaks, sound.duration];
}

/** For `ClipStage`: a waveform in a container, of what the audio element plays. */
export async function waveform(container, audio) {
  if (location.protocol === "file:") { throw new Error("pages on the disk may not read files, only play them"); }
  const style = getComputedStyle(document.documentElement);
  const wave = WaveSurfer.create({
    container, media: audio, height: 46, waveColor: style.getPropertyValue("--bar").trim(),
    progressColor: style.getPropertyValue("--accent").trim(), cursorColor: style.getPropertyValue("--ink").trim(),
    cursorWidth: 1, normalize: true, interact: true, dragToSeek: true, cspNonce: document.body.dataset.nonce,
  });
  wave.on("error", () => {});
  return {
    async show(example) {
      if (!example.sound) { wave.empty(); return; }
      try {
        const [peaks, seconds] = await outline(example.sound);
        if (audio.src === new URL(example.sound, document.baseURI).href) { await wave.load(audio.src, [peaks], seconds); }
      } catch { wave.empty(); }
    },
  };
}
