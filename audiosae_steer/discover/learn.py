"""Learn the amounts of constant `Add` edits by gradient through the frozen Whisper.

The loss asks two things: on clips where there should be no text, end-of-text right after the first timestamp (or at
once, without timestamps); on speech, the unsteered model's own distribution over its own transcript, token by token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import AudioError, SiteError, SteeringError
from ..sae import SAE
from .collect import mel, residuals
from .decoder import hidden, logits

Samples = NDArray[np.float32]


class LearnSettings(NamedTuple):
    """How to learn; the defaults take some ten minutes for tiny.en on two cores."""

    features: int = 64
    """Most features that the result may use."""
    steps: int = 250
    """Steps with all features free, under the L1."""
    refine: int = 120
    """Steps with four times as many features as wanted, the largest, and again with the wanted ones alone."""
    lr: float = 0.03
    """Adam's learning rate for d_model amounts, in units of the residual, falling on a cosine."""
    l1: float = 0.3
    """Strength of the soft threshold, as a share of Adam's step."""
    keep: float = 10.0
    """Weight of the divergence on speech against the loss on non-speech."""
    enough: float = 0.05
    """A clip's loss stops counting below it: p(end-of-text) of 95 %."""
    untimed: float = 0.33
    """Share of the steps without timestamps."""
    batch: tuple[int, int] = (12, 6)
    """Clips a step: without speech, with speech."""
    seed: int = 0
    """Of the order of the clips."""


class Learned(NamedTuple):
    """Amounts of `Add(features, amount)`, and how the loss went."""

    features: tuple[int, ...]
    """Indices, by falling weight."""
    amounts: tuple[float, ...]
    """One each, in raw units of the SAE."""
    vector: Tensor
    """(d_model,) what they add to the residual."""
    history: tuple[dict[str, float], ...]
    """Every 25 steps, their means: -log p(end of text) on non-speech, the share of clips where that is below a half,
    divergence per token on speech; and the number of features."""


class _Speech(NamedTuple):
    x: Tensor
    timed: list[int]
    untimed: list[int]


def learn(
    model: Any,
    sae: SAE | None,
    layer: int,
    absent: Sequence[Samples],
    present: Sequence[Samples],
    settings: LearnSettings | None = None,
    *,
    cache: Path | None = None,
    progress: bool = True,
) -> Learned:
    """Learn which features to add, and how much, so that `absent` clips give no text and `present` ones stay the same.

    Args:
        model: an openai-whisper model; its weights are not touched.
        sae: the basis to learn in; None learns a dense vector, the control, with `features` left empty.
        layer: encoder layer, counted from 1, at whose output the amounts are added on every frame.
        absent: clips of up to 30 s, mono at 16 kHz, in which nobody speaks.
        present: clips in which somebody does.
        settings: sizes and schedule.
        cache: a file to keep the encoded clips in, about 1 MB each, for learning several times on the same ones.
        progress: show a progress bar.

    Raises:
        SteeringError: not an openai-whisper model.
        SiteError: the SAE's width or the layer does not fit.
        AudioError: no clips of either kind, or the model hears nothing in any `present` clip.
    """
    settings = settings or LearnSettings()
    _check(model, sae, layer, absent, present)
    width = model.dims.n_audio_state
    if sae is None:
        basis, unit = torch.eye(width), torch.ones(width)
    else:
        rows = sae.rows(range(sae.n_features), torch.float32)
        unit = rows.W_dec.norm(dim=-1)
        basis = rows.W_dec / unit[:, None]
    noise, speech = _prepared(model, layer, absent, present, cache, progress)
    free = dict(model.named_parameters())
    wanted = {name: parameter.requires_grad for name, parameter in free.items()}
    try:
        model.requires_grad_(False)
        run = _Run(model, layer, noise, speech, settings, progress)
        chosen, weights = torch.arange(len(basis)), torch.zeros(len(basis))
        if sae is None:
            weights = run.optimise(weights, basis, settings.steps, 0.0)
        else:
            weights = run.optimise(weights, basis, settings.steps, settings.l1)
            for count in (4 * settings.features, settings.features):
                kept = weights.abs().topk(min(count, len(weights))).indices
                kept = kept[weights[kept] != 0]
                chosen, weights = chosen[kept], weights[kept]
                weights = run.optimise(weights, basis[chosen], settings.refine, 0.0)
    finally:
        for name, parameter in free.items():
            parameter.requires_grad_(wanted[name])
    vector = weights @ basis[chosen]
    if sae is None:
        return Learned((), (), vector, tuple(run.history))
    order = weights.abs().argsort(descending=True)
    amounts = (weights / unit[chosen])[order]
    return Learned(tuple(chosen[order].tolist()), tuple(amounts.tolist()), vector, tuple(run.history))


def _check(model: Any, sae: SAE | None, layer: int, absent: Sequence[Samples], present: Sequence[Samples]) -> None:
    if not hasattr(model, "dims"):
        raise SteeringError(
            "learning needs an openai-whisper model: load_whisper(..., library='openai'); the recipe then serves both"
        )
    if not 1 <= layer <= model.dims.n_audio_layer:
        raise SiteError(f"there is no encoder layer {layer}: this model has layers 1 to {model.dims.n_audio_layer}")
    if sae is not None and sae.d_model != model.dims.n_audio_state:
        raise SiteError(f"the SAE is {sae.d_model} wide and the model {model.dims.n_audio_state}; take its own SAE")
    if not len(absent) or not len(present):
        raise AudioError("learning needs clips of both kinds: without speech (absent) and with it (present)")


class _Run:
    """The optimisation, on residuals that were computed once."""

    def __init__(
        self, model: Any, layer: int, noise: list[Tensor], speech: list[_Speech], settings: LearnSettings, show: bool
    ) -> None:
        from whisper.decoding import DecodingOptions, DecodingTask

        self.model, self.layer, self.noise, self.speech = model, layer, noise, speech
        self.settings, self.show = settings, show
        task = DecodingTask(model, DecodingOptions(language="en", fp16=False))
        self.tokenizer = task.tokenizer
        self.never = torch.zeros(model.dims.n_vocab)
        self.never[list(task._get_suppress_tokens())] = -1e4  # finite: 0 times infinity is NaN in a divergence
        self.rng = np.random.default_rng(settings.seed)
        self.order: dict[str, list[int]] = {}
        self.unsteered: dict[tuple[int, bool], Tensor] = {}
        self.history: list[dict[str, float]] = []

    def optimise(self, start: Tensor, basis: Tensor, steps: int, l1: float) -> Tensor:
        """Adam, followed by the soft threshold of an L1 (ISTA)."""
        weights = start.clone().requires_grad_()
        lr = self.settings.lr * math.sqrt(basis.shape[1] / max(len(basis), 1))  # the vector moves as far, however many
        optimiser = torch.optim.Adam([weights], lr=lr, betas=(0.9, 0.95))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1), lr / 30)
        recent: list[tuple[float, float, float]] = []
        for step in _track(range(steps), "learning", self.show):
            timed = self.rng.random() >= self.settings.untimed
            vector = weights @ basis
            quiet = self._silent(self._pick("noise", len(self.noise), self.settings.batch[0]), vector, timed)
            kept = self._kept(self._pick("speech", len(self.speech), self.settings.batch[1]), vector, timed)
            loss = F.relu(quiet - self.settings.enough).mean() + self.settings.keep * kept
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                shrink = l1 * optimiser.param_groups[0]["lr"]
                weights.copy_(F.softshrink(weights, shrink) if shrink > 0 else weights)
            recent.append((quiet.mean().item(), (quiet > 0.7).float().mean().item(), kept.item()))
            if (step + 1) % 25 == 0 or step + 1 == steps:
                means = np.mean(recent[-25:], axis=0)
                self.history.append(
                    {
                        "step": step + 1,
                        "silent": round(float(means[0]), 5),
                        "with_text": round(float(means[1]), 4),
                        "kept": round(float(means[2]), 5),
                        "features": int((weights != 0).sum()),
                    }
                )
        return weights.detach()

    def _pick(self, kind: str, of: int, count: int) -> list[int]:
        picked: list[int] = []
        while len(picked) < count:  # every clip once before any comes again
            if not self.order.get(kind):
                self.order[kind] = self.rng.permutation(of).tolist()
            picked.append(self.order[kind].pop())
        return picked

    def _silent(self, chosen: list[int], vector: Tensor, timed: bool) -> Tensor:
        """-log p(end of text) of each clip, right at the start of its text."""
        frames = self._frames(torch.stack([self.noise[i] for i in chosen]), vector)
        first = [*self._prompt(timed), *([self.tokenizer.timestamp_begin] if timed else [])]
        states = hidden(self.model.decoder, torch.tensor([first] * len(chosen)), frames)[:, -1]
        found = logits(self.model.decoder, states) + self.never
        if timed:  # Whisper's rules allow no second timestamp here
            found = found[:, : self.tokenizer.timestamp_begin]
        return -F.log_softmax(found, -1)[:, self.tokenizer.eot]

    def _kept(self, chosen: list[int], vector: Tensor, timed: bool) -> Tensor:
        """Divergence from the unsteered distribution, per token of the unsteered text."""
        frames = self._frames(torch.stack([self.speech[i].x for i in chosen]), vector)
        after = torch.cat(self._said(chosen, frames, timed))
        new = [i for i in chosen if (i, timed) not in self.unsteered]
        if new:
            with torch.no_grad():
                before = self._said(new, self._frames(torch.stack([self.speech[i].x for i in new])), timed)
            self.unsteered |= {(i, timed): states for i, states in zip(new, before, strict=True)}
        reference = torch.cat([self.unsteered[i, timed] for i in chosen])
        return F.kl_div(self._log_p(after), self._log_p(reference), log_target=True, reduction="batchmean")

    def _log_p(self, states: Tensor) -> Tensor:
        return F.log_softmax(logits(self.model.decoder, states) + self.never, -1)

    def _said(self, chosen: list[int], frames: Tensor, timed: bool) -> list[Tensor]:
        prompt = self._prompt(timed)
        rows = [[*prompt, *(self.speech[i].timed if timed else self.speech[i].untimed)] for i in chosen]
        longest = max(map(len, rows))
        padded = torch.tensor([row + [self.tokenizer.eot] * (longest - len(row)) for row in rows])
        states = hidden(self.model.decoder, padded, frames)
        return [found[len(prompt) - 1 : len(row)] for found, row in zip(states, rows, strict=True)]

    def _prompt(self, timed: bool) -> list[int]:
        start = list(self.tokenizer.sot_sequence)
        return start if timed else [*start, self.tokenizer.no_timestamps]

    def _frames(self, x: Tensor, vector: Tensor | None = None) -> Tensor:
        x = x.float() if vector is None else x.float() + vector
        with torch.autocast(x.device.type, torch.bfloat16):  # three times as fast on CPUs that have it
            for block in self.model.encoder.blocks[self.layer :]:
                x = block(x)
        frames: Tensor = self.model.encoder.ln_post(x.float())
        return frames.bfloat16()


def _prepared(
    model: Any, layer: int, absent: Sequence[Samples], present: Sequence[Samples], cache: Path | None, progress: bool
) -> tuple[list[Tensor], list[_Speech]]:
    if cache is not None and cache.is_file():
        kept = torch.load(cache, weights_only=True)
        if kept["layer"] != layer or kept["clips"] != [len(absent), len(present)]:
            raise SteeringError(
                f"{cache} holds other clips, or another layer's residuals; remove it or name another file"
            )
        return kept["noise"], [_Speech(*row) for row in kept["speech"]]
    noise = _residuals(model, layer, absent, "non-speech", progress)
    speech = _speech(model, layer, present, progress)
    if cache is not None:
        content = {"layer": layer, "clips": [len(absent), len(present)], "noise": noise}
        torch.save({**content, "speech": [tuple(row) for row in speech]}, cache.with_suffix(".part"))
        cache.with_suffix(".part").replace(cache)
    return noise, speech


def _residuals(model: Any, layer: int, clips: Sequence[Samples], what: str, progress: bool) -> list[Tensor]:
    rows: list[Tensor] = []
    for start in _track(range(0, len(clips), 8), f"encoding {what}", progress):
        rows += [row.clone() for row in residuals(model, clips[start : start + 8], [layer])[layer].half()]
    return rows


def _speech(model: Any, layer: int, clips: Sequence[Samples], progress: bool) -> list[_Speech]:
    from whisper.decoding import DecodingOptions

    options = DecodingOptions(language="en", fp16=False, temperature=0.0)
    found = []
    for start in _track(range(0, len(clips), 8), "transcribing speech", progress):
        group = clips[start : start + 8]
        x = residuals(model, group, [layer])[layer].half()
        with torch.no_grad():
            results = model.decode(mel(model, group), options)
        for row, result in zip(x, results, strict=True):
            text = [token for token in result.tokens if token < model.dims.n_vocab - 1501]
            if text and len(result.tokens) < 200:  # a loop is nothing to preserve
                found.append(_Speech(row.clone(), list(result.tokens), text))
    if not found:
        raise AudioError("the model wrote no text for any of the speech clips; are they speech?")
    return found


def _track(items: range, what: str, progress: bool) -> Any:
    if not progress:
        return items
    from rich.progress import track

    return track(items, description=what)
