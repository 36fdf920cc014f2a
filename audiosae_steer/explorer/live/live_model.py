"""Model and SAEs of an index, loaded when they are first needed, and used by one worker thread alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...analyse.feature_cards.feature_effects import writes_text
from ...errors import AudioSAESteerError, RecipeError, SiteError, UnknownModelError
from ...io.hub.read import sha256_of
from ...io.shipped import checkpoints_dir
from ...models.families.codec import Codec
from ...models.load import load_model, load_processor, load_whisper
from ...models.registry import family_of, fingerprint, unwrap
from ...models.sites import Site
from ...models.whisper.tokenizer import processor_for
from ...sae.autoencoder import SAE
from ...sae.load import load_sae
from ...steering.recipes.load import recipes
from ...steering.recipes.sae_source import SAESpec
from ...steering.recipes.schema import Recipe
from ..index.index_rows import Layer

SITE = re.compile(r"(encoder|decoder) layer (\d{1,5})")


def site_named(words: str) -> Site:
    """The site that an index names in words.

    Raises:
        SiteError: it is a path, of which the index does not hold enough to find it again.
    """
    found = SITE.fullmatch(words)
    if found is None:
        raise SiteError(
            f"the index is of {words}, which is no layer by number; only such can be heard and steered here"
        )
    return Site(int(found[2]), "encoder" if found[1] == "encoder" else "decoder")


class LiveModel:
    """Model and SAEs of an index.

    Args:
        meta: facts of the index: `model`, `library`, `family`, `weights`.
        layers: its layers, by their number.
        folders: where the SAEs' files may be, beside those that ship; the index's own folder as a rule.
        model: what to load in the place of `meta["model"]`; a model itself is taken as it is.
    """

    def __init__(
        self, meta: Mapping[str, Any], layers: Mapping[int, Layer], folders: Sequence[Path] = (), model: Any = None
    ) -> None:
        self._meta, self._layers, self._folders = dict(meta), dict(layers), tuple(folders)
        self._source: Any = meta.get("model") if model is None else model
        self._model: Any = None
        self._processor: Any = None
        self._saes: dict[str, SAE] = {}
        self._files: dict[str, Path] = {}
        self._recipes: list[Recipe] | None = None

    @property
    def loaded(self) -> bool:
        """The model is in memory."""
        return self._model is not None

    @property
    def name(self) -> str:
        """The model's name, as the index has it."""
        return str(self._meta.get("model", ""))

    def model(self) -> Any:
        """The model, unsteered.

        Raises:
            ModelError, MissingExtraError, UnknownModelError: it cannot be loaded.
        """
        if self._model is None:
            self._model = self._load() if isinstance(self._source, (str, Path)) else self._source
            if self._model is None:
                raise UnknownModelError("the index does not say which model it is of: build it again")
        return self._model

    def _load(self) -> Any:
        library = self._meta.get("library")
        if self._meta.get("family") != "whisper":
            return load_model(self._source)
        return load_whisper(self._source, library="transformers" if library == "transformers" else "openai")

    def processor(self) -> Any:
        """The processor of a transformers Whisper; None for openai-whisper's."""
        inner: Any = unwrap(self.model())
        if hasattr(inner, "dims"):
            return None
        if self._processor is None:
            try:
                self._processor = load_processor(self._source)
            except AudioSAESteerError:  # weights that come alone
                self._processor = processor_for(inner.config.vocab_size, inner.config.num_mel_bins)
        return self._processor

    @property
    def output(self) -> str:
        """Output that steering changes: `text`, `sound`, or nothing, ''."""
        inner = unwrap(self.model())
        if isinstance(family_of(inner), Codec):
            return "sound"
        return "text" if writes_text(inner) else ""

    def other_weights(self) -> bool:
        """The loaded weights are others than those that the index was made with."""
        made, found = self._meta.get("weights"), fingerprint(unwrap(self.model()))
        return bool(made) and found is not None and made != found

    @property
    def numbers(self) -> tuple[int, ...]:
        """Layers of the index."""
        return tuple(self._layers)

    def layer(self, number: int) -> Layer:
        """A layer of the index. SiteError: it has none of that number."""
        if number not in self._layers:
            raise SiteError(f"the index has no layer {number}; it has {', '.join(map(str, self._layers))}")
        return self._layers[number]

    def site(self, number: int) -> Site:
        """The site of a layer of the index."""
        return site_named(self.layer(number).site)

    def source(self, number: int) -> SAESpec:
        """A layer's SAE, as a recipe names it, with its sha256. RecipeError: no recipe can name it so."""
        layer = self.layer(number)
        try:
            given = json.loads(layer.sae)
            if re.fullmatch("[0-9a-f]{64}", layer.sae_sha256):
                given = {**given, "sha256": layer.sae_sha256}
            return SAESpec.model_validate(given)
        except (ValueError, TypeError, ValidationError) as error:
            raise RecipeError(
                f"the index names the SAE of layer {number} in a way that no recipe can; build it again"
            ) from error

    def sae(self, number: int) -> SAE:
        """A layer's SAE, checked against its sha256.

        Raises:
            RecipeError: its file is not beside the index, nor among those that ship.
            HubError, CheckpointError: it cannot be had, or is another.
        """
        source = self.source(number)
        key = source.model_dump_json()
        if key not in self._saes:
            found = source.load(None, f"of layer {number}") if source.repo else load_sae(self.sae_file(number))
            self._saes[key] = found.float()
        return self._saes[key]

    def sae_file(self, number: int) -> Path:
        """The file of a layer's SAE that does not come from the Hub, with the sha256 that the index has.

        Raises:
            RecipeError: there is none.
        """
        source = self.source(number)
        key = source.model_dump_json()
        if key not in self._files:
            self._files[key] = self._found(number, source)
        return self._files[key]

    def _found(self, number: int, source: SAESpec) -> Path:
        name = Path(str(source.file)).name
        places = [folder / str(source.file) for folder in self._folders]
        places += [folder / name for folder in self._folders] + sorted(checkpoints_dir().glob(f"*/{name}"))
        for path in places:
            if path.is_file() and (source.sha256 is None or sha256_of(path) == source.sha256):
                return path
        raise RecipeError(
            f"the SAE of layer {number}, {name} with sha256 {source.sha256 or 'unknown'}, is neither beside the index "
            "nor among those that ship: copy it beside the index, or name its folder"
        )

    def recipes(self) -> list[Recipe]:
        """Shipped recipes that fit the model."""
        if self._recipes is None:
            self._recipes = recipes(self.model())
        return self._recipes

    def recipe(self, name: str) -> Recipe:
        """A shipped recipe that fits the model, by name. RecipeError: there is none."""
        for each in self.recipes():
            if each.name == name:
                return each
        known = ", ".join(each.name for each in self.recipes()) or "none"
        raise RecipeError(f"there is no recipe {name!r} for {self.name}; there are: {known}")
