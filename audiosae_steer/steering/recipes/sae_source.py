"""Source of a recipe's SAE, fetched and checked."""

from __future__ import annotations

import warnings
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...errors import CheckpointError, RecipeError, UnpinnedWarning
from ...io.hub.read import COMMIT
from ...sae.autoencoder import SAE
from .fields import FileName, HubName, beside


class Strict(BaseModel):
    """A part of a recipe: nothing unknown, nothing infinite, nothing changed later."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, populate_by_name=True, defer_build=True)


class SAESpec(Strict):
    """Source of an SAE: a file beside the recipe, or a repository on the Hub pinned to a revision."""

    file: FileName | None = None
    repo: HubName | None = None
    layer: int | None = Field(default=None, ge=0, le=10_000)
    revision: HubName | None = None
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _one_source(self) -> SAESpec:
        if (self.file is None) == (self.repo is None):
            raise ValueError("name either a file beside the recipe or a repo on the Hub")
        return self

    @property
    def pinned(self) -> bool:
        """It is the same SAE for ever: a file, or a repository at a whole commit and not at a branch."""
        return self.repo is None or COMMIT.fullmatch(self.revision or "") is not None

    def load(self, folder: Path | None, recipe: str) -> SAE:
        """The SAE, checked against its sha256.

        Args:
            folder: the recipe's; None where it was not read from one.
            recipe: its name, for messages.

        Raises:
            RecipeError: the file is not there, or the repository holds another SAE.
            CheckpointError: the file is another, or damaged; or in parts whose sha256 its index does not hold, though
                the recipe has one.
            HubError: the Hub did not give it.
        """
        from ...io.hub.read import verify_sha256
        from ...io.tensors.sharded import sha256_of_sae
        from ...sae.load import load_sae

        if self.repo is not None:
            return self._from_hub(self.repo, recipe)
        if folder is None:
            raise RecipeError(f"recipe {recipe!r} names the file {self.file!r}, but was not read from a folder")
        path = beside(folder, str(self.file), recipe)
        if self.sha256 is not None:
            verify_sha256(path, self.sha256)
            _check_covers_parts(sha256_of_sae(path), str(path))
        return load_sae(path)

    def _from_hub(self, repo: str, recipe: str) -> SAE:
        from ...sae.load import from_hub

        sae = from_hub(repo, self.layer, self.revision)
        source = sae.info.get("source", {})
        if self.sha256 is not None:
            _check_covers_parts(source.get("sha256"), repo)
        if self.sha256 is not None and source.get("sha256") != self.sha256:
            raise RecipeError(
                f"{repo} holds another SAE than recipe {recipe!r} was made with (sha256 {source.get('sha256')}, not "
                f"{self.sha256}); pin the recipe's `revision`"
            )
        if not self.pinned:
            commit = source.get("revision")
            warnings.warn(
                f"recipe {recipe!r} takes its SAE from {repo} at {self.revision or 'no commit'}, which may change; "
                f'it is commit {commit} now: write "revision": "{commit}" into the recipe',
                UnpinnedWarning,
                stacklevel=4,
            )
        return sae


def _check_covers_parts(sha256: str | None, where: str) -> None:
    if sha256 is None:
        raise CheckpointError(
            f"{where}: the SAE is in parts, and its index holds no sha256 of them, so that the recipe's says nothing "
            "of its weights; save it anew by save_sae(), and name the new sha256"
        )
