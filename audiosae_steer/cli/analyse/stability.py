"""Command `analyse stability`."""

from __future__ import annotations

from dataclasses import dataclass

from ...analyse.feature_stability.coverage_records import StabilitySettings
from ...analyse.frame.control_dictionaries import CONTROLS
from ...errors import SteeringError
from ..console import progress
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, finish, read_data, read_sae, read_site


@dataclass(frozen=True, kw_only=True)
class Other:
    """The SAE to compare with."""

    other: str = "random"
    """SAE B, as --sae; or a control of --sae: random or permuted."""
    other_model: str | None = None
    """Model that B reads; default: the same."""
    other_layer: int | None = None
    """Encoder layer that B reads; default: the same."""


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Other(), parameter="other"),
    Options(defaults=Data(), parameter="data", hidden=("report_part",)),
    Options(defaults=StabilitySettings(), commas=("controls",), help={"controls": "controls of B, with commas"}),
    Options(defaults=Written(), parameter="written"),
)
def stability(
    sae: SAEOption,
    place: Place,
    other: Other,
    data: Data,
    settings: StabilitySettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Measure how many of an SAE's features another SAE has as well, of another seed, layer or model."""
    from ...analyse.feature_stability.feature_stability import stability as compare
    from ...analyse.frame.control_dictionaries import control
    from ...models.load import load_model
    from ...models.sites import Site

    clips = read_data(data)
    first = read_sae(sae, place.layer)
    site = place.site
    there = site if other.other_layer is None else Site(other.other_layer, place.side)
    controlled = other.other in CONTROLS
    if controlled and (other.other_model is not None or there != site):
        raise SteeringError(
            f"{other.other} is a control of --sae, at its own model and layer; leave out --other-model and "
            "--other-layer, or give the SAE to compare with"
        )
    second = None if controlled else read_sae(other.other, there.layer)
    loaded = load_model(model)
    with progress() as tell:
        residuals = read_site(loaded, site, clips, data, tell)
        others = None
        if other.other_model is not None or there != site:
            others = read_site(other.other_model or loaded, there, clips, data, tell)
        against = control(other.other, first, residuals, seed=settings.seed) if second is None else second
        found = compare(first, against, residuals, others, settings=settings, progress=tell)
    finish(found, written, clips)
