"""Recipes that ablate what an analysis found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import SteeringError
from ..frame.provenance import Provenance

if TYPE_CHECKING:
    from ...sae.autoencoder import SAE
    from ...steering.recipes.schema import GateSpec, Recipe


@dataclass(frozen=True)
class Ablation:
    """Features to ablate, and where they were found."""

    features: Sequence[int]
    provenance: Provenance
    """Its first site and SAE are those to steer."""
    says: str
    """Description of the recipe."""
    measured: dict[str, Any]

    def recipe(
        self, model: Any, sae: SAE | str | Path, out: Path, *, gate: GateSpec | None = None, strength: float = 1.0
    ) -> Recipe:
        """Write the recipe and return it; the SAE comes beside it.

        Args:
            model: the model that the features were found in.
            sae: the SAE, or its file or source.
            out: the recipe to write, .json.
            gate: its gate, which reads the SAE `sae`.
            strength: its strength.

        Raises:
            SteeringError: model, SAE or site are others than those of the result, or there are no features.
            RecipeError: it cannot be written.
        """
        from ...discover.recipe_output import RecipeOutput
        from ...discover.sae_files import open_sae, place_sae
        from ...models.registry import fingerprint, unwrap
        from ...steering.recipes.schema import ModelSpec, Recipe, SiteSpec

        output = RecipeOutput.of(out)
        if not self.features:
            raise SteeringError("there are no features to ablate; give a number of them")
        layer, side = layer_of(self.provenance)
        if fingerprint(unwrap(model)) != self.provenance.sites[0].fingerprint:
            raise SteeringError(
                "this model has other weights than the one whose residuals were analysed; give that one"
            )
        opened = open_sae(sae, layer)
        if opened.digest() != self.provenance.saes[0].sha256:
            raise SteeringError("this is another SAE than the one that was analysed; give that one")
        output.path.parent.mkdir(parents=True, exist_ok=True)
        placed = place_sae(opened, sae, layer, output.path.parent)
        edits = [{"kind": "ablate", "features": [int(each) for each in self.features]}]
        made = Recipe(
            schema=1,
            name=output.title,
            description=self.says,
            model=ModelSpec.of(model, output.model_name),
            saes={"sae": placed},
            sites=[SiteSpec.model_validate({"layer": layer, "side": side, "sae": "sae", "edits": edits})],
            gate=gate,
            strength=strength,
            provenance={"version": self.provenance.version, "data": self.provenance.sites[0].data,
                        "settings": self.provenance.settings},
            measured=self.measured,
        )  # fmt: skip
        made.save(output.path)
        return made.located(output.path.parent)


def layer_of(origin: Provenance) -> tuple[int, str]:
    """Layer and side of a result's first site. SteeringError: it is no layer of a model."""
    site = (origin.sites[0].site if origin.sites else None) or ""
    side, _, layer = site.partition(" layer ")
    if side not in ("encoder", "decoder") or not layer.isdigit():
        raise SteeringError(
            f"these residuals are of {site or 'no model'}, and a recipe edits a layer of an encoder or a decoder; read "
            "them there by read_residuals()"
        )
    return int(layer), side
