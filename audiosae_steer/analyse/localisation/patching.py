"""Passes of a model with the residual at one layer replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ...data.activations.by_clip import takes_whole_windows
from ...data.activations.capture import frames_of
from ...data.audio import Samples
from ...errors import SiteError
from ...models.families.whisper_mel import encoder_path, mel
from ...models.registry import family_of, tap_at, unwrap
from ...models.sites import Site, Tap


class States(NamedTuple):
    """Residuals of one pass."""

    at: dict[int, Tensor]
    """(frames, d_model) at the output of each layer; at 0 the first layer's input, where it is known."""
    sound: int
    """Frames that are sound."""


class Runner(Protocol):
    """Something that runs clips, with a layer's residual replaced."""

    def run(self, samples: Samples, layers: Sequence[int], patch: tuple[int, Tensor] | None = None) -> States:
        """States of a clip at layers; `patch` is a layer and the residual (frames, d_model) that replaces its own."""


class ModelRunner:
    """Passes of a model that reads audio, at layers of its encoder.

    Args:
        model: a model of a known family, not steered.
    """

    def __init__(self, model: Any) -> None:
        self.model = unwrap(model)
        self.family = family_of(self.model)

    def run(self, samples: Samples, layers: Sequence[int], patch: tuple[int, Tensor] | None = None) -> States:
        """States of a clip of at most one window; see `Runner`.

        Raises:
            SiteError: there is no such layer, or nothing passes by it.
        """
        wanted = {layer: tap_at(self.model, self.family, Site(layer)) for layer in sorted({*layers} - {0})}
        first = tap_at(self.model, self.family, Site(1))
        found: dict[int, Tensor] = {}
        handles = []
        if patch is not None:  # before what reads, so that it reads the patched residual
            tap = wanted.get(patch[0]) or tap_at(self.model, self.family, Site(patch[0]))
            handles.append(_hook(tap, lambda x: patch[1].to(x)[None]))
        handles += [_hook(tap, _keeper(found, layer)) for layer, tap in wanted.items()]
        if 0 in layers and first.place == "output":
            handles.append(_hook(Tap(first.module, "input", first.layout), _keeper(found, 0)))
        whole = takes_whole_windows(self.model, Site(1))
        if whole:
            module: Any = self.model.get_submodule(encoder_path(self.model))
            args: Any = (mel(self.model, [samples], "silence"),)
            kwargs: Any = {}
        else:
            module, args, kwargs = self.family.prepare(self.model, samples)
        try:
            with torch.no_grad():
                module(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        missing = [layer for layer in wanted if layer not in found]
        if missing:
            raise SiteError(f"nothing passed by layer {missing[0]}: take a layer of the encoder")
        frames = len(next(iter(found.values())))
        return States(found, frames_of(len(samples), frames) if whole else frames)


def _keeper(found: dict[int, Tensor], layer: int) -> Any:
    def keep(x: Tensor) -> None:
        found[layer] = x[0].detach().float().cpu().clone()

    return keep


def _hook(tap: Tap, use: Any) -> Any:
    """A hook that shows the residual (1, frames, d_model) to `use`, and puts what that gives in its place."""

    def replaced(x: Tensor) -> Tensor | None:
        given = use(x.transpose(1, 2) if tap.layout == "bdf" else x)
        return None if given is None else given.transpose(1, 2) if tap.layout == "bdf" else given

    def output(module: Any, args: Any, out: Any) -> Any:
        made = replaced(out[0] if isinstance(out, tuple) else out)
        return None if made is None else (made, *out[1:]) if isinstance(out, tuple) else made

    def inputs(module: Any, args: Any, kwargs: Any) -> Any:
        name = None if args else next(iter(kwargs))
        made = replaced(args[0] if name is None else kwargs[name])
        if made is None:
            return None
        return ((made, *args[1:]), kwargs) if name is None else (args, {**kwargs, name: made})

    if tap.place == "output":
        return tap.module.register_forward_hook(output)
    return tap.module.register_forward_pre_hook(inputs, with_kwargs=True)
