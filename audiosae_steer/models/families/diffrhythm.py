"""DiffRhythm (github ASLP-lab/DiffRhythm): `CFM`, or its transformer `DiT` alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import nn

from ...errors import SiteError
from ..sites import Dims, Family, Moment, Site, Tap, Watch
from .call_marks import mark_of, under_way
from .method_override import overridden, override

SAMPLE_RATE, SAMPLES_PER_LATENT = 44100, 2048


class DiffRhythm(Family):
    """Layer n is the residual that block n + 1 reads: after the text residual, which the first half of them get."""

    name = "diffrhythm"
    library = "ASLP-lab/DiffRhythm"
    diffuses = True

    def matches(self, model: nn.Module) -> bool:
        """By structure: the repository is no package, and its classes have no name of their own."""
        body = _body(model)
        return (
            type(body).__name__ == "DiT"
            and isinstance(getattr(body, "transformer_blocks", None), nn.ModuleList)
            and isinstance(getattr(body, "text_fusion_linears", None), nn.ModuleList)
        )

    def dims(self, model: nn.Module) -> Dims:
        """From the transformer."""
        body = _body(model)
        return Dims(body.dim, len(body.transformer_blocks), 0, 0)

    def tap(self, model: nn.Module, site: Site) -> Tap:
        """The next block's input where a text residual is added in between, the block's output elsewhere."""
        body = _body(model)
        if site.layer <= len(body.text_fusion_linears):
            return Tap(body.transformer_blocks[site.layer], "input")
        return Tap(body.transformer_blocks[site.layer - 1])

    def bias_module(self, model: nn.Module, site: Site) -> nn.Module:
        """Refused: Llama's maps have no bias."""
        raise SiteError(f"no bias reaches {site} of DiffRhythm: its blocks are Llama's, whose maps have none")

    def frame_rate(self, model: nn.Module, site: Site) -> float:
        """One latent for 2,048 samples of 44.1 kHz: 21.5 a second."""
        return SAMPLE_RATE / SAMPLES_PER_LATENT

    def watch(self, model: nn.Module, tell: Watch, *, windows: bool) -> list[Callable[[], None]]:
        """Step, time and pass of each run of the transformer: guided, it runs twice a step, the second time without."""
        at = _Step()

        def look(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            call = mark_of(module)
            if call is None or call is not at.call:
                at.call, at.step = call, -1
            conditional = not (kwargs.get("drop_text") or kwargs.get("drop_audio_cond"))
            at.step += conditional
            tell(Moment(conditional=conditional, step=max(at.step, 0), flow=kwargs.get("time", 0.0)))

        closers: list[Callable[[], None]] = [
            _body(model).register_forward_pre_hook(look, with_kwargs=True).remove,
        ]
        if hasattr(model, "sample"):
            closers.append(override(model, "sample", _sample))
        return closers


class _Step(threading.local):
    """The step that a thread has come to in its call of `sample`."""

    call: Any = None
    step = -1


def _body(model: Any) -> Any:
    inner = getattr(model, "transformer", None)
    return inner if isinstance(inner, nn.Module) else model


def _sample(model: Any, *args: Any, **kwargs: Any) -> Any:
    """Each call begins with step 0."""
    with under_way(_body(model)):
        return overridden(model, "sample")(*args, **kwargs)
