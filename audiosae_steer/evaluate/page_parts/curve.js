// An activation curve: its bytes, its values, and its drawing over a spectrogram.

/** Activations of an example: bytes in base64, each a step of scale / 255. */
export function decodeCurve(example) {
  const text = atob(example.curve);
  return Float32Array.from(text, (c) => (c.charCodeAt(0) * example.scale) / 255);
}

/** Activation at a time in seconds; the frame that holds it. */
export function valueAt(curve, rate, seconds) {
  const frame = Math.min(Math.floor(seconds * rate + 1e-6), curve.length - 1);
  return frame >= 0 ? curve[frame] : 0;
}

/** Three digits that count. */
export function spoken(value) {
  if (!Number.isFinite(value) || value === 0) { return "0"; }
  const digits = Math.max(2 - Math.floor(Math.log10(Math.abs(value))), 0);
  return value.toFixed(Math.min(digits, 6));
}

/** Fit a canvas to its box in device pixels; returns its context, scaled to CSS pixels. */
export function fitted(canvas) {
  const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  const width = Math.max(Math.round(box.width * ratio), 1), height = Math.max(Math.round(box.height * ratio), 1);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [context, box.width, box.height];
}

const INK = "#ffffff", HALO = "rgba(8, 7, 20, .78)";

function traced(context, curve, seconds, rate, top, width, height) {
  context.beginPath();
  const last = Math.min(curve.length, Math.ceil(seconds * rate));
  for (let i = 0; i < last; i += 1) {
    const x = (((i + 0.5) / rate) / seconds) * width, y = height - 3 - Math.min(curve[i] / top, 1) * (height - 14);
    if (i === 0) { context.moveTo(0, y); }
    context.lineTo(x, y);
  }
}

/**
 * Draw a curve with its scale, the seconds, and the cursor.
 * what: {curve, rate, seconds, top, cursor, dashed}; dashed: of a near miss, whose curve is not an activation. Without
 * values, the seconds and the cursor alone.
 */
export function drawCurve(canvas, what) {
  const [context, width, height] = fitted(canvas);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  context.lineJoin = "round";
  const top = what.top > 0 ? what.top : 1, curved = what.curve.length > 0;
  if (curved) {
    traced(context, what.curve, what.seconds, what.rate, top, width, height);
    context.lineTo(width, height); context.lineTo(0, height); context.closePath();
    context.fillStyle = "rgba(255, 255, 255, .17)"; context.fill();
    for (const [style, line] of [[HALO, 4.5], [INK, 2]]) {
      traced(context, what.curve, what.seconds, what.rate, top, width, height);
      context.setLineDash(what.dashed && style === INK ? [5, 4] : []);
      context.strokeStyle = style; context.lineWidth = line; context.stroke();
    }
    context.setLineDash([]);
  }
  const label = (text, x, y, align) => {
    context.textAlign = align; context.strokeStyle = HALO; context.lineWidth = 3.5; context.strokeText(text, x, y);
    context.fillStyle = INK; context.fillText(text, x, y);
  };
  if (curved) { label(spoken(top), 7, 16, "left"); }
  const step = [0.5, 1, 2, 5, 10].find((each) => (each / what.seconds) * width >= 60) || 15;
  for (let at = step; at < what.seconds - step / 4; at += step) {
    const x = (at / what.seconds) * width;
    context.fillStyle = INK; context.fillRect(x, height - 5, 1, 5);
    label(`${at} s`, x, height - 9, "center");
  }
  if (what.cursor !== null && what.cursor !== undefined) {
    const x = (what.cursor / what.seconds) * width, value = valueAt(what.curve, what.rate, what.cursor);
    const y = height - 3 - Math.min(value / top, 1) * (height - 14);
    context.fillStyle = HALO; context.fillRect(x - 2, 0, 4, height);
    context.fillStyle = "#ffd76a"; context.fillRect(x - 0.75, 0, 1.5, height);
    if (!curved) { return; }
    context.beginPath(); context.arc(x, y, 5, 0, 7);
    context.fillStyle = "#ffd76a"; context.fill(); context.strokeStyle = HALO; context.lineWidth = 2; context.stroke();
  }
}
