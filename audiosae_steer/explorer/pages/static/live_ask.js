// Requests to the live part, and small helpers that its pages share.
const root = document.body.dataset.root;

function drawnName() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** This page's name: a newer request of the same page takes the place of one that still waits. */
export const SESSION = drawnName();

export class Refused extends Error {
  constructor(message, superseded = false) { super(message); this.superseded = superseded; }
}

async function answered(promise) {
  let answer;
  try { answer = await promise; } catch (error) {
    if (error.name === "AbortError") { throw new Refused("A newer request took its place.", true); }
    throw new Refused("The server does not answer: is it still running?");
  }
  if (answer.ok) { return answer; }
  let said = { error: `The server refused this (${answer.status}).` };
  try { said = await answer.json(); } catch { /* it was no JSON */ }
  throw new Refused(said.error, Boolean(said.superseded));
}

const underway = new Map();

/** The answer to a request of the live part; a newer request to the same path takes its place. */
export function ask(path, content) {
  underway.get(path)?.abort();
  const controller = new AbortController();
  underway.set(path, controller);
  return answered(fetch(`${root}live/${path}`, { method: "POST", body: JSON.stringify({ session: SESSION, ...content }),
    headers: { "content-type": "application/json", accept: "application/json" }, signal: controller.signal }));
}

/** Keep a sound as an own clip: {own, name, seconds, left_out}. */
export async function sendClip(sound, name) {
  const address = `${root}live/clip?name=${encodeURIComponent(name)}`;
  const headers = { "content-type": "application/octet-stream", accept: "application/json" };
  return (await answered(fetch(address, { method: "POST", body: sound, headers }))).json();
}

export function fetchJson(path) { return fetch(`${root}live/${path}`).then((answer) => (answer.ok ? answer.json() : null)).catch(() => null); }

/** An element: text, or children; attributes by name. */
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) { made.setAttribute(key, value === true ? "" : value); }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function byId(id) { return document.getElementById(id); }
export const soundOf = (clip) => (clip.own ? `${root}live/own/${clip.own}.wav` : `${root}sound/${clip.number}.flac`);
export const melOf = (clip) => (clip.own ? `${root}live/own/${clip.own}.png` : `${root}mel/${clip.number}.png`);
