"""Optimisation of the amounts of constant `Add` edits by gradient through the frozen Whisper.

The loss asks two things: on clips where there should be no text, end-of-text right after the first timestamp (or at
once, without timestamps); on speech, the unsteered model's own distribution over its own transcript, token by token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import AudioError, SiteError, SteeringError
from ...evaluate.metrics.rates import wrote
from ...evaluate.metrics.wer import word_errors
from ...evaluate.transcription.from_residuals import write
from ...io.progress import track
from ...models.sites import Site
from ...sae.autoencoder import SAE
from ...steering.edits import Push
from ...steering.site_edits import SiteEdits, Steps
from ...steering.steering import steer
from .loss import Constants, Objective
from .matching_pursuit import nearest
from .results import Check, Learned
from .settings import LearnSettings, nothing_to_learn
from .targets import LearningClips, Targets, targets_of

NOTE_EVERY = 25
"""Steps between two entries of the history, each their means."""


def learn_amounts(
    model: Any,
    sae: SAE | None,
    layer: int,
    clips: LearningClips,
    settings: LearnSettings | None = None,
    *,
    cache: Path | None = None,
    progress: bool = True,
) -> Learned:
    """Learn amounts of features to add, under which clips without speech give no text, and others the same as before.

    Every other clip is padded to 30 s as `whisper.transcribe` does it, the rest as transformers does. The amounts kept
    are those that did best on the held-out clips, by `Check.badness`.

    Args:
        model: an openai-whisper model; its weights are not touched.
        sae: the basis to learn in; None learns a dense vector, the control, with `features` left empty.
        layer: encoder layer, counted from 1, at whose output the amounts are added on every frame.
        clips: clips to learn on, and held-out ones to stop early on.
        settings: sizes, loss and schedule.
        cache: a folder to keep the encoded clips in, about 1 MB each, for learning several times on the same ones.
        progress: show a progress bar.

    Raises:
        SteeringError: not an openai-whisper model, or settings that leave nothing to learn.
        SiteError: the SAE's width or the layer does not fit.
        AudioError: too few clips of either kind, or the model writes nothing where there is speech.
        MissingExtraError: jiwer is not installed.
    """
    settings = settings or LearnSettings()
    _check(model, sae, layer, clips, settings)
    basis, unit = _basis(model, sae, settings)
    targets = targets_of(model, clips, layer, cache, progress)
    with _frozen(model):
        run = _Run(Objective(model, layer, targets.noise, targets.speech), targets, settings, progress)
        chosen, weights = torch.arange(len(basis)), torch.zeros(len(basis))
        sparse = sae is not None and len(basis) > 0
        weights = run.optimise(weights, basis, settings.steps, settings.l1 if sparse else 0.0)
        if sparse:
            chosen, weights = nearest(weights @ basis, basis, settings.features)
            weights = run.optimise(weights, basis[chosen], settings.refine, 0.0, gentle=0.25)
    features: tuple[int, ...] = ()
    amounts: tuple[float, ...] = ()
    if sae is not None:
        order = weights.abs().argsort(descending=True)
        features = tuple(chosen[order].tolist())
        amounts = tuple((weights / unit[chosen])[order].tolist())
    vector = weights @ basis[chosen]
    return Learned(features, amounts, vector, run.decoder, tuple(run.history), tuple(run.checks))


def _basis(model: Any, sae: SAE | None, settings: LearnSettings) -> tuple[Tensor, Tensor]:
    """Rows (n, d_model) of norm 1 to learn weights of, and the norms (n,) that they had.

    Without an SAE they are the axes; where the encoder is not edited, n is 0.
    """
    if sae is None:
        width = model.dims.n_audio_state
        return torch.eye(width), torch.ones(width)
    rows = sae.rows(range(sae.n_features), torch.float32)
    unit = rows.W_dec.norm(dim=-1)
    basis = rows.W_dec / unit[:, None]
    return (basis, unit) if settings.features else (basis[:0], unit[:0])


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """A model whose weights want no gradient, until it ends."""
    parameters = dict(model.named_parameters())
    wanted = {name: parameter.requires_grad for name, parameter in parameters.items()}
    try:
        model.requires_grad_(False)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(wanted[name])


def _check(model: Any, sae: SAE | None, layer: int, clips: LearningClips, settings: LearnSettings) -> None:
    if sae is not None and not settings.features and settings.decoder == "none":
        raise nothing_to_learn(settings.features)
    if not hasattr(model, "dims"):
        raise SteeringError(
            "learning needs an openai-whisper model: load_whisper(..., library='openai'); the recipe then serves both"
        )
    if not 1 <= layer <= model.dims.n_audio_layer:
        raise SiteError(f"there is no encoder layer {layer}: this model has layers 1 to {model.dims.n_audio_layer}")
    if sae is not None and sae.d_model != model.dims.n_audio_state:
        raise SiteError(f"the SAE is {sae.d_model} wide and the model {model.dims.n_audio_state}; take its own SAE")
    missing = [name.replace("_", " ") for name, samples in clips._asdict().items() if not len(samples)]
    if missing:
        raise AudioError(
            f"there are no {missing[0]} clips: learning needs some without speech (absent) and some with it (present), "
            "and a few more of each from other recordings, to stop early on"
        )


class _Run:
    """Optimisation on residuals that were computed once; further calls of `optimise` continue its random numbers."""

    def __init__(
        self,
        objective: Objective,
        targets: Targets,
        settings: LearnSettings,
        show: bool,
    ) -> None:
        self.objective, self.targets, self.settings, self.show = objective, targets, settings, show
        self.texts = [objective.tokenizer.decode(list(row.timed)) for row in targets.held_speech]
        self.rng = np.random.default_rng(settings.seed)
        self.order: dict[str, list[int]] = {}
        self.history: list[dict[str, float]] = []
        self.checks: list[Check] = []
        self.step = 0
        dims = objective.model.dims
        decoder = settings.decoder != "none"
        self.decoder = torch.zeros(dims.n_text_layer, dims.n_text_state) if decoder else None
        self.first = settings.decoder == "first"

    def optimise(self, start: Tensor, basis: Tensor, steps: int, l1: float, gentle: float = 1.0) -> Tensor:
        """Weights (n,) that did best on held-out clips, by Adam, followed by the soft threshold of an L1 (ISTA).

        Args:
            start: weights to start from.
            basis: (n, d_model) rows of norm 1.
            steps: steps to take.
            l1: strength of the soft threshold, as a share of Adam's step.
            gentle: factor of the learning rate.
        """
        weights = start.clone().requires_grad_()
        decoder = None if self.decoder is None else self.decoder.clone().requires_grad_()
        rate = gentle * self.settings.lr
        lr = rate * math.sqrt(basis.shape[1] / max(len(basis), 1))  # the vector moves as far, however many
        groups = [{"params": [weights], "lr": lr}]
        groups += [] if decoder is None else [{"params": [decoder], "lr": rate}]
        optimiser = torch.optim.Adam(groups, betas=(0.9, 0.95))
        falling = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: (1 + math.cos(math.pi * step / max(steps, 1))) / 2 * 29 / 30 + 1 / 30
        )
        recent: list[tuple[float, ...]] = []
        best: tuple[Check, Tensor, Tensor | None] | None = None
        for step in track(range(steps), "learning", self.show):
            loss, *terms = self._loss(Constants(weights @ basis, decoder, self.first))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            falling.step()
            with torch.no_grad():
                shrink = l1 * optimiser.param_groups[0]["lr"]
                weights.copy_(F.softshrink(weights, shrink) if shrink > 0 else weights)
            self.step += 1
            recent.append(tuple(term.item() for term in terms))
            if (step + 1) % NOTE_EVERY == 0 or step + 1 == steps:
                self._note(np.mean(recent[-NOTE_EVERY:], axis=0), weights)
            # early weights under an L1 are dense, which is not wanted: under one, only the last are checked
            if step + 1 == steps or (l1 == 0 and (step + 1) % self.settings.check == 0):
                now = weights.detach().clone(), None if decoder is None else decoder.detach().clone()
                found = self._evaluate(now[0], Constants(now[0] @ basis, now[1], self.first))
                if best is None or found.badness < best[0].badness:
                    best = (found, *now)
        if best is None:
            return start
        if best[0] is not self.checks[-1]:
            self.checks.append(best[0])
        self.decoder = best[2]
        return best[1]

    def _loss(self, added: Constants) -> tuple[Tensor, ...]:
        settings, objective = self.settings, self.objective
        timed = bool(self.rng.random() >= settings.untimed)
        language = settings.languages[int(self.rng.integers(len(settings.languages)))]
        noise = self._pick("noise", len(objective.noise), settings.batch[0])
        quiet = objective.silent(noise, added, timed, language)
        kept = objective.kept(self._pick("speech", len(objective.speech), settings.batch[1]), added, timed)
        loss = F.relu(quiet - settings.enough).mean() + settings.keep * (
            kept.per_token + settings.start * kept.at_start
        )
        return loss, quiet.mean(), (quiet > math.log(2)).float().mean(), *kept

    def _pick(self, kind: str, of: int, count: int) -> list[int]:
        picked: list[int] = []
        while len(picked) < count:  # every clip once before any comes again, across steps
            if not self.order.get(kind):
                self.order[kind] = self.rng.permutation(of).tolist()
            picked.append(self.order[kind].pop())
        return picked

    def _note(self, means: Any, weights: Tensor) -> None:
        names = ("silent", "with_text", "kept", "at_start", "cut")
        values = {name: round(float(value), 5) for name, value in zip(names, means, strict=True)}
        self.history.append({"step": self.step, **values, "features": int((weights != 0).sum())})

    def _evaluate(self, weights: Tensor, added: Constants) -> Check:
        model, layer = self.objective.model, self.objective.layer
        parts = [SiteEdits(Site(layer), None, [Push(added.encoder)])]
        for number, vector in enumerate([] if added.decoder is None else added.decoder, 1):
            steps: Steps = "first" if added.first else "all"
            parts.append(SiteEdits(Site(number, "decoder"), None, [Push(vector)], steps=steps))
        with steer(model, parts, allow_empty=True) as steering:
            noise = write(model, self.targets.held_noise, layer, steering=steering, limit=8)
            speech = write(model, [row.x for row in self.targets.held_speech], layer, steering=steering)
        check = Check(
            self.step,
            int((weights != 0).sum()),
            float(np.mean([wrote(w.text) for w in noise])),
            word_errors(self.texts, [w.text for w in speech]).rate,
            float(np.mean([not wrote(w.text) for w in speech])),
        )
        self.checks.append(check)
        return check
