"""Effect of features on the text: what ablating one, or setting it, changes on the clips on which it is highest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...data.audio import SAMPLE_RATE
from ...errors import SteeringError
from ...evaluate.transcription.from_residuals import resume
from ...io.progress import Tell
from ...models.registry import unwrap
from ...ops.reference import SAEWeights, input_scale
from .clip_coding import code
from .index_building import IndexJob, windows_of_clip
from .index_source import IndexedSAE
from .partial_index import PartialLayer

BATCH = 8
"""Edits of one clip that are decoded at once."""
LIMIT = 48
"""Tokens after which a text is cut."""
WORDS = 5
"""Words of an effect that are kept, those that change most."""
EDITS = ("ablated", "set")


class FeatureEffect(NamedTuple):
    """Change of a clip's text by one edit of one feature."""

    feature: int
    clip: int
    """The clip's key."""
    edit: str
    """`ablated`, or `set`: to its highest activation of all clips, on every frame."""
    end: float
    """Change of the log-probability that the text ends before it began."""
    first: tuple[str, float]
    """The first token of the text unsteered, or else the likeliest, and the change of its log-probability."""
    words: tuple[tuple[str, float], ...]
    """Words of the unsteered text whose log-probability changes most, each given those before it."""
    before: str
    """The text unsteered, greedy, without timestamps, and allowed to be empty."""
    after: str
    """Likewise with the edit."""

    def json(self) -> str:
        """The change as the index keeps it."""
        return json.dumps({"end": self.end, "first": self.first, "words": self.words, "before": self.before,
                           "after": self.after}, ensure_ascii=False)  # fmt: skip


class _Text(NamedTuple):
    """A clip's text unsteered."""

    tokens: tuple[int, ...]
    text: str
    prompt: tuple[int, ...]
    logs: Tensor
    """(tokens + 1, vocabulary) log-probabilities at each of its tokens, and at its end."""


def check_effects(job: IndexJob) -> None:
    """Refuse effects where they cannot be measured. SteeringError: the model is no Whisper of openai-whisper's."""
    if job.settings.effects and not hasattr(unwrap(job.model), "dims"):
        raise SteeringError(
            "effects on the text are measured with an openai-whisper model (--library openai, which loads the weights "
            "of either library); leave --effects out for other models"
        )


def effects_on_text(
    job: IndexJob, own: IndexedSAE, layer: PartialLayer, progress: Tell | None = None
) -> tuple[FeatureEffect, ...]:
    """Effects of the features that fire most often, on their own top clips.

    The residual is edited where `steer` would, and the encoder resumed from there: the effect is that of
    `Ablate(feature)` and of `Set(feature, peak)` with the error kept. Log-probabilities are those of the unsteered
    text's tokens, each given those before it.

    Args:
        job: the job, with an openai-whisper model.
        own: the layer's SAE.
        layer: the layer's findings over all clips.
        progress: called with what is being done, how many clips are done, and how many there are.
    """
    order = np.argsort(-layer.tally.fired, kind="stable")[: job.settings.effects]
    wanted: dict[int, list[tuple[int, float]]] = {}
    for feature in order[layer.tally.fired[order] > 0].tolist():
        rows = np.flatnonzero(layer.fired.feature == feature)
        peak = float(layer.fired.value[rows].max())
        for row in rows[: job.settings.effect_clips]:  # the highest first
            wanted.setdefault(int(layer.fired.clip[row]), []).append((feature, peak))
    found: list[FeatureEffect] = []
    what = f"measuring effects at {own.site}"
    positions = {clip.key: i for i, clip in enumerate(job.corpus.clips)}
    for done, key in enumerate(sorted(wanted, key=lambda key: positions[key])):
        if progress is not None:
            progress(what, done, len(wanted))
        found += _of_clip(job, own, key, positions[key], wanted[key])
    if progress is not None:
        progress(what, len(wanted), len(wanted))
    return tuple(found)


def _of_clip(
    job: IndexJob, own: IndexedSAE, key: int, position: int, features: Sequence[tuple[int, float]]
) -> list[FeatureEffect]:
    model: Any = unwrap(job.model)
    number = own.site.layer or 0
    w = own.sae.float().weights(torch.float32)
    x = windows_of_clip(job, position, job.corpus.read(position, SAMPLE_RATE))[own.site][None]
    coding = code(x[0], w)
    before = _unsteered(model, number, x)
    edits = [(feature, peak, edit) for feature, peak in features for edit in EDITS]
    found = []
    for start in range(0, len(edits), BATCH):
        chosen = edits[start : start + BATCH]
        rows = []
        for feature, peak, edit in chosen:
            f = np.zeros(len(x[0]), np.float32)
            mask = coding.feature == feature
            f[coding.frame[mask]] = coding.value[mask]
            change = torch.from_numpy((0.0 if edit == "ablated" else peak) - f)
            rows.append(_moved(x[0], change, w, feature))
        encoded = _encoded(model, number, torch.stack(rows))
        logs = _log_probabilities(model, encoded, before.prompt, before.tokens)
        texts = [text for _, text, _ in _decoded(model, encoded)]
        for (feature, _, edit), its, text in zip(chosen, logs, texts, strict=True):
            found.append(_effect(model, before, its, (feature, key, edit), text))
    return found


def _moved(x: Tensor, change: Tensor, w: SAEWeights, feature: int) -> Tensor:
    """Residual (frames, d_model) after the activation of a feature changed by (frames,)."""
    scale = input_scale(x, w.norm, w.scale)
    return x + change[:, None] * w.W_dec[feature] / scale


def _encoded(model: Any, layer: int, x: Tensor) -> Tensor:
    weight = model.encoder.ln_post.weight
    return resume(model, layer, x.to(weight.device, weight.dtype))


def _unsteered(model: Any, layer: int, x: Tensor) -> _Text:
    encoded = _encoded(model, layer, x)
    tokens, text, prompt = _decoded(model, encoded)[0]
    return _Text(tokens, text, prompt, _log_probabilities(model, encoded, prompt, tokens)[0])


def _decoded(model: Any, encoded: Tensor) -> list[tuple[tuple[int, ...], str, tuple[int, ...]]]:
    """Tokens, text and prompt of each row of the encoder's output: greedy, and free to be empty."""
    from whisper.decoding import DecodingOptions
    from whisper.tokenizer import get_tokenizer

    options = DecodingOptions(
        language=None if model.is_multilingual else "en", temperature=0.0, without_timestamps=True, sample_len=LIMIT,
        suppress_blank=False, fp16=encoded.dtype == torch.float16,
    )  # fmt: skip
    found = []
    for result in model.decode(encoded, options):
        tokenizer = get_tokenizer(
            model.is_multilingual, num_languages=model.num_languages, language=result.language, task="transcribe"
        )
        found.append((tuple(result.tokens), result.text.strip(), tuple(tokenizer.sot_sequence_including_notimestamps)))
    return found


def _log_probabilities(model: Any, encoded: Tensor, prompt: Sequence[int], tokens: Sequence[int]) -> Tensor:
    """Log-probabilities (rows, tokens + 1, vocabulary) at each token of a text, and at its end."""
    given = torch.tensor([[*prompt, *tokens]], device=encoded.device).expand(len(encoded), -1)
    with torch.no_grad():
        logits = model.decoder(given, encoded).float()
    return torch.log_softmax(logits[:, len(prompt) - 1 :], -1).cpu()


def _likeliest(logs: Tensor, tokenizer: Any) -> int:
    """The likeliest token of text, as far as Whisper's decoding may write it."""
    text = logs[: tokenizer.eot].clone()
    text[list(tokenizer.non_speech_tokens)] = -torch.inf
    return int(text.argmax())


def _effect(model: Any, before: _Text, logs: Tensor, where: tuple[int, int, str], after: str) -> FeatureEffect:
    from whisper.tokenizer import get_tokenizer

    tokenizer = get_tokenizer(model.is_multilingual, num_languages=model.num_languages)
    change = logs - before.logs
    first = before.tokens[0] if before.tokens else _likeliest(before.logs[0], tokenizer)
    found: list[tuple[str, float]] = []
    if before.tokens:
        names, groups = tokenizer.split_to_word_tokens([*before.tokens, tokenizer.eot])
        at = 0
        for name, group in zip(names[:-1], groups[:-1], strict=True):
            places = torch.arange(at, at + len(group))
            found.append((name, round(float(change[places, torch.tensor(group)].sum()), 4)))
            at += len(group)
    most = sorted(range(len(found)), key=lambda i: (-abs(found[i][1]), i))[:WORDS]
    feature, clip, edit = where
    end, its = (round(float(change[0, token]), 4) for token in (tokenizer.eot, first))
    kept = tuple(found[i] for i in most)
    return FeatureEffect(feature, clip, edit, end, (tokenizer.decode([first]), its), kept, before.text, after)
