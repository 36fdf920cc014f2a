"""Origin of a result: model, SAEs, data, settings, and what a reader has to be warned of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import Any

from ...io.record_fields import own_first
from ...io.strict_json import plain
from ...sae.autoencoder import SAE
from .codes import Dictionary
from .residual_clips import Residuals

FORMAT = 1
"""Version of the results' JSON."""


@dataclass(frozen=True, kw_only=True)
class SAEFacts:
    """An SAE or a control, as it was used."""

    sha256: str | None
    """Of all that it depends on, in hex; None of dense coordinates."""
    n_features: int
    gate: str
    """Its gate's kind, which is part of the method; a control's name, of a control."""
    k: int | None = None
    threshold: float | None = None
    """The gate's threshold, where it is one number."""
    l0: float | None = None
    """Features that fire on a frame of the data, on average."""

    @classmethod
    def of(cls, dictionary: Dictionary, l0: float | None = None) -> SAEFacts:
        """Facts of an SAE or a control."""
        if not isinstance(dictionary, SAE):
            return cls(sha256=None, n_features=dictionary.n_features, gate="dense", l0=rounded(l0))
        single = dictionary.threshold is not None and dictionary.threshold.dim() == 0
        return cls(
            sha256=dictionary.digest(),
            n_features=dictionary.n_features,
            gate=str(dictionary.info.get("control", dictionary.gate.kind)),
            k=dictionary.gate.k,
            threshold=rounded(float(dictionary.threshold)) if single and dictionary.threshold is not None else None,
            l0=rounded(l0),
        )


@dataclass(frozen=True, kw_only=True)
class SiteFacts:
    """A model's site, and the data that was read there."""

    model: str | None
    """Family of the model; None of residuals or patterns that were given."""
    fingerprint: str | None
    """sha256 over a few of its tensors."""
    site: str | None
    data: str
    """sha256 over the files, their stretches, labels and groups; of given residuals, over those."""
    clips: int
    frames: int
    """Frames of sound."""
    groups: int
    """Speakers, instruments or recordings."""
    rate: float | None
    """Frames per second."""

    @classmethod
    def of(cls, residuals: Residuals) -> SiteFacts:
        """Facts of residuals."""
        return cls(
            model=residuals.model,
            fingerprint=residuals.weights,
            site=residuals.site,
            data=residuals.digest,
            clips=len(residuals),
            frames=int(residuals.frames.sum()),
            groups=len(set(residuals.groups)),
            rate=rounded(residuals.rate),
        )


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Origin of a result. It names no machine, folder or date, so that the same input gives the same JSON."""

    format: int = FORMAT
    """Version of the JSON."""
    version: str = ""
    """Version of this package."""
    sites: tuple[SiteFacts, ...] = ()
    saes: tuple[SAEFacts, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    in_sample: bool = False
    """Figures are of the clips that were chosen and fitted on."""
    warnings: tuple[str, ...] = ()
    """Sentences that a reader has to know before the numbers."""


def provenance(
    *,
    sites: Sequence[SiteFacts] = (),
    saes: Sequence[SAEFacts] = (),
    settings: Any = None,
    seed: int = 0,
    in_sample: bool = False,
    warnings: Sequence[str] = (),
) -> Provenance:
    """The origin of a result, with this package's version.

    Args:
        sites: where the data was read.
        saes: SAEs and controls.
        settings: a settings dataclass, or a mapping.
        seed: seed of everything random.
        in_sample: there is one part only.
        warnings: sentences for the reader.
    """
    from importlib.metadata import version

    content: Any = plain(settings if settings is not None else {})
    if is_dataclass(settings):
        content = {field.name: content[field.name] for field in own_first(type(settings))}
    return Provenance(
        version=version("audiosae-steer"),
        sites=tuple(sites),
        saes=tuple(saes),
        settings=dict(content) if isinstance(content, Mapping) else {},
        seed=seed,
        in_sample=in_sample,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def finite(value: Any, digits: int = 10) -> float:
    """A number likewise rounded; 0 where it is none, NaN or infinite."""
    return rounded(value, digits) or 0.0


def rounded(value: Any, digits: int = 10) -> float | None:
    """A number to so many significant digits, so that JSON is short; None of None, NaN and infinity."""
    if value is None:
        return None
    number = float(value)
    return float(f"{number:.{digits}g}") if abs(number) < float("inf") else None
