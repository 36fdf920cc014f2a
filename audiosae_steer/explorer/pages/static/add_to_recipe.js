// "Add to recipe" on the page of a feature, and the number of edits in the navigation of every page.
import { keep, kept, newEdit, showCount } from "./recipe_basket.js";

showCount();
window.addEventListener("storage", showCount);
window.addEventListener("pageshow", showCount);

const place = document.getElementById("add-to-recipe");
if (place) {
  const button = place.querySelector("button"), said = place.querySelector("[aria-live]");
  const layer = Number(place.dataset.layer), feature = Number(place.dataset.feature);
  const own = (edit) => edit.layer === layer && edit.feature === feature;
  const show = () => { button.textContent = kept().edits.some(own) ? "Take out of recipe" : "Add to recipe"; };
  button.hidden = false;
  button.addEventListener("click", () => {
    const recipe = kept(), there = recipe.edits.some(own);
    recipe.edits = there ? recipe.edits.filter((edit) => !own(edit)) : [...recipe.edits, newEdit(layer, feature)];
    keep(recipe);
    said.textContent = there ? "Taken out." : `Added, silenced: ${recipe.edits.length} in the recipe.`;
    show();
  });
  window.addEventListener("storage", show);
  window.addEventListener("pageshow", show);
  show();
}
