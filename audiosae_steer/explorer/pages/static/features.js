// The list of features: a sound at once; and, without a server, search in the page itself.
import { armPlayButtons } from "./play_buttons.js";

armPlayButtons();
const root = document.body.dataset.root;
const PAGE = 25, form = document.getElementById("static-search");

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) { made.textContent = text; }
  if (kind) { made.className = kind; }
  return made;
}

function shownRow([layer, feature, label, density, peak, clips, clip, name], several) {
  const row = element("tr"), look = element("td", undefined, "look"), box = element("span", undefined, "thumb-picture");
  if (clip) {
    const picture = element("img");
    picture.src = `${root}mel/${clip}.png`; picture.alt = ""; picture.loading = "lazy";
    box.append(picture); look.append(box);
  }
  const head = element("th"), link = element("a", String(feature), "number"), labels = element("td", label, "label");
  head.scope = "row"; link.href = `${root}feature/${layer}/${feature}.html`; head.append(link);
  labels.append(element("span", name, "reason"));
  const share = element("td", density < 1e-4 ? "< 0.01 %" : `${(100 * density).toFixed(density < 0.01 ? 2 : 1)} %`, "density");
  row.append(look, head);
  if (several) { row.append(element("td", String(layer))); }
  row.append(labels, share, element("td", peak.toPrecision(3), "right"), element("td", String(clips), "right"));
  return row;
}

function searchHere() {
  const all = JSON.parse(document.getElementById("list").textContent), several = all.some((row) => row[0] !== all[0][0]);
  const [words, sort, rows] = ["words", "sort", "rows"].map((id) => document.getElementById(id));
  const column = { feature: 1, label: 2, density: 3, peak: 4, clips: 5 };
  let page = 1;
  const show = () => {
    const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean), by = column[sort.value];
    const found = all.filter((row) => asked.every((word) => `${row[1]} ${row[2]} ${row[7]} ${row[8]}`.toLowerCase().includes(word)));
    found.sort((a, b) => (by === 2 ? (b[2] !== "") - (a[2] !== "") || a[2].localeCompare(b[2]) : by === 1 ? a[0] - b[0] || a[1] - b[1] : b[by] - a[by]));
    const pages = Math.max(Math.ceil(found.length / PAGE), 1);
    page = Math.min(Math.max(page, 1), pages);
    rows.replaceChildren(...found.slice((page - 1) * PAGE, page * PAGE).map((row) => shownRow(row, several)));
    document.getElementById("count").textContent = `${found.length} feature${found.length === 1 ? "" : "s"}`;
    document.getElementById("where").textContent = `page ${page} of ${pages}`;
    document.getElementById("before").disabled = page === 1;
    document.getElementById("after").disabled = page === pages;
    const address = new URL(location.href);
    for (const [name, value] of [["words", words.value], ["sort", sort.value === "peak" ? "" : sort.value], ["page", page === 1 ? "" : page]]) {
      if (value) { address.searchParams.set(name, value); } else { address.searchParams.delete(name); }
    }
    history.replaceState(null, "", address);
  };
  const asked = new URL(location.href).searchParams;
  words.value = asked.get("words") || "";
  sort.value = asked.get("sort") in column ? asked.get("sort") : "peak";
  page = Number(asked.get("page")) || 1;
  form.hidden = false;
  document.getElementById("static-pager").hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  words.addEventListener("input", () => { page = 1; show(); });
  sort.addEventListener("change", () => { page = 1; show(); });
  document.getElementById("before").addEventListener("click", () => { page -= 1; show(); });
  document.getElementById("after").addEventListener("click", () => { page += 1; show(); });
  if (asked.size) { show(); } else { document.getElementById("where").textContent = "page 1"; }
}

if (form) { searchHere(); }
