// Import of notes.
const file = document.getElementById("import"), said = document.getElementById("imported");

file.addEventListener("change", async () => {
  if (!file.files.length) { return; }
  const answer = await fetch(file.dataset.to, { method: "POST", body: await file.files[0].text(),
    headers: { "content-type": "application/json", accept: "application/json" } }).catch(() => null);
  const found = answer && answer.headers.get("content-type").includes("json") ? await answer.json() : null;
  if (answer && answer.ok) {
    said.textContent = `${found.taken} notes taken in${found.foreign ? `; ${found.foreign} of other SAEs left out` : ""}.`;
    setTimeout(() => location.reload(), 900);
  } else {
    said.textContent = found ? found.error : answer ? "The file is too large." : "The server does not answer.";
  }
  file.value = "";
});
