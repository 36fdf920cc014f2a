"""Evaluation of candidates on clips: every text is decoded once, from residuals that are computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from ...data.audio import SAMPLE_RATE, WINDOW, Samples, samples_key
from ...errors import AudioError
from ...evaluate.metrics.rates import Share, share, wrote
from ...evaluate.metrics.wer import Difference, WordErrors, rate_difference, word_errors
from ...evaluate.transcription.from_residuals import encode, write
from ...models.families.whisper_mel import Pad
from ...models.registry import fingerprint
from ...sae.autoencoder import SAE
from ...steering.recipes.schema import Recipe, site_of
from ...steering.site_edits import SiteEdits, SiteGate
from ...steering.steering import Steering, steer
from .candidates import Candidate, Variant
from .gate_thresholds import KINDS, GateThresholds, Kind
from .pareto import Score
from .settings import CalibrateSettings, CalibrationOutput, Mode
from .text_cache import TextCache, Transcript, key_of

PADS: dict[Mode, Pad] = {"timed": "zeros", "untimed": "silence"}
"""Padding of clips by mode: `whisper.transcribe` writes timestamps and does the one, `whisper.decode` the other."""
CHUNK = 8
"""Clips encoded between two reports of progress."""


@dataclass(frozen=True)
class CalibrationClips:
    """Clips that candidates are tried on.

    Raises:
        AudioError: a kind has no clips, or there are not as many texts as clips with speech.
    """

    absent: Sequence[Samples]
    """Clips without speech, mono float32 at 16 kHz."""
    present: Sequence[Samples]
    """Clips with speech."""
    texts: Sequence[str | None]
    """Reference texts of the clips with speech; None where unknown: there, the unsteered model's text is taken."""

    def __post_init__(self) -> None:
        if not len(self.absent) or not len(self.present):
            raise AudioError(
                f"{len(self.absent)} clips without and {len(self.present)} with speech; calibration needs both, 100 of "
                "each or more"
            )
        if len(self.texts) != len(self.present):
            raise AudioError(
                f"{len(self.texts)} texts for {len(self.present)} clips with speech; give one for each, or None"
            )


class Arm(NamedTuple):
    """Variant at a strength that is decoded by itself; a clip gate is not part of it, it chooses between two arms."""

    recipe: int
    """Index of the recipe."""
    variant: Variant | None
    """Edits; None for the unsteered model."""
    strength: float = 0.0
    framed: bool = False
    """The recipe's frame gate applies."""
    allow_empty: bool = False
    """An empty text is allowed."""


class Figures(NamedTuple):
    """Effect and cost of a candidate in one decoding mode."""

    text: Share
    """Share of the clips without speech for which text is written, Whisper's own filters off."""
    filtered: Share
    """The same share with the filters on."""
    words_per_minute: float
    """Words written per minute of clips without speech, filters off."""
    wer: float
    """Word error rate on speech, filters off; 0.05 is 5 %. An utterance has at most as many errors as words: greedy
    decoding loops now and then, and what a single loop writes would decide over everything else."""
    change: Difference
    """Change of that word error rate against the unsteered model, with its paired bootstrap interval."""
    blanked: Share
    """Share of the clips with speech that lost all their text."""
    opened: tuple[Share, Share] | None
    """Shares of the clips without and with speech for which the clip gate opens; None without each."""


class Evaluator:
    """Evaluates candidates on clips; decodes only texts that are not in the cache.

    Args:
        model: an openai-whisper model, unsteered.
        recipes: recipes that the candidates are variants of.
        saes: SAEs of each recipe, by name.
        clips: clips and reference texts.
        settings: of which the modes, the language and the batch are used.
        output: cache for residuals and texts, and the callback for progress.
    """

    def __init__(
        self,
        model: Any,
        recipes: Sequence[Recipe],
        saes: Sequence[dict[str, SAE]],
        clips: CalibrationClips,
        settings: CalibrateSettings | None = None,
        output: CalibrationOutput | None = None,
    ) -> None:
        self.settings, self.output = settings or CalibrateSettings(), output or CalibrationOutput()
        self.model, self.recipes, self.saes, self.clips = model, recipes, saes, clips
        self.modes = self.settings.modes
        self.texts = TextCache(self.output.cache)
        self._clips: dict[Kind, Sequence[Samples]] = {"absent": clips.absent, "present": clips.present}
        self._names: dict[Kind, list[str]] = {kind: list(map(samples_key, own)) for kind, own in self._clips.items()}
        self._rows: dict[tuple[int, Mode, Kind], list[Tensor]] = {}
        self._errors: dict[tuple[str, str], WordErrors] = {}
        self._weights = fingerprint(model)
        self.gates = GateThresholds(recipes, saes, self.modes, self.rows)
        """Thresholds of the recipes' clip gates."""

    def base(self, recipe: int) -> int:
        """Encoder layer from whose residuals a recipe's arms are run, counted from 1."""
        spec = self.recipes[recipe]
        layers = [site.layer for site in spec.sites if site.side == "encoder"]
        if spec.frame_gate is not None:
            layers.append(spec.frame_gate.layer)
        return min(layers, default=self.model.dims.n_audio_layer)

    def rows(self, layer: int, mode: Mode, kind: Kind) -> list[Tensor]:
        """Residuals (frames, d_model) of all clips of a kind, encoded on the first call."""
        if (layer, mode, kind) not in self._rows:
            clips, task = self._clips[kind], f"encoding {kind}, {mode}, layer {layer}"
            found: list[Tensor] = []
            for start in range(0, len(clips), CHUNK):
                self.output.tell(task, start, len(clips))
                part = clips[start : start + CHUNK]
                found += encode(self.model, part, layer, PADS[mode], cache=self.output.cache, progress=False)
            self.output.tell(task, len(clips), len(clips))
            self._rows[layer, mode, kind] = found
        return self._rows[layer, mode, kind]

    def transcripts(self, arm: Arm, mode: Mode, kind: Kind, chosen: Sequence[int]) -> list[Transcript]:
        """Texts of an arm for the chosen clips of a kind."""
        name, clips = self._key(arm, mode), self._names[kind]
        missing = list(dict.fromkeys(i for i in chosen if self.texts.get(name, clips[i]) is None))
        if missing:
            layer, batch = self.base(arm.recipe), self.settings.batch
            rows = self.rows(layer, mode, kind)
            with self._running(arm):
                for start in range(0, len(missing), batch):
                    part = missing[start : start + batch]
                    found = write(
                        self.model,
                        [rows[i] for i in part],
                        layer,
                        timestamps=mode == "timed",
                        language=self.settings.language,
                        clips=[self._clips[kind][i] for i in part],
                    )
                    new = {clips[i]: Transcript(w.text, w.filtered) for i, w in zip(part, found, strict=True)}
                    self.texts.add(name, new)
        known = [self.texts.get(name, clips[i]) for i in chosen]
        return [each for each in known if each is not None]

    def unsteered(self, mode: Mode, kind: Kind, chosen: Sequence[int]) -> list[Transcript]:
        """Texts of the unsteered model."""
        return self.transcripts(Arm(0, None), mode, kind, chosen)

    def build(
        self, variant: Variant, strength: float = 1.0, *, framed: bool = False, allow_empty: bool = False
    ) -> Steering:
        """Steer the model by a variant without its clip gate; returns the steering, a context manager."""
        recipe, saes = self.recipes[variant.recipe], self.saes[variant.recipe]
        parts = [
            SiteEdits(site_of(site), saes[site.sae] if site.sae else None, site.build(), site.error, site.steps)
            for site in variant.sites
        ]
        spec = recipe.frame_gate
        gate = SiteGate(site_of(spec), saes[spec.sae], spec.build()) if framed and spec is not None else None
        return steer(self.model, parts, gate=gate, strength=strength, allow_empty=allow_empty)

    @contextmanager
    def _running(self, arm: Arm) -> Iterator[None]:
        if arm.variant is None:
            yield
            return
        with self.build(arm.variant, arm.strength, framed=arm.framed, allow_empty=arm.allow_empty):
            yield

    def _key(self, arm: Arm, mode: Mode) -> str:
        edits = None if arm.variant is None else arm.variant.key
        gate = self.recipes[arm.recipe].frame_gate if arm.framed else None
        framed = None if gate is None else gate.model_dump(exclude={"calibration"})
        where = None if arm.variant is None else self.base(arm.recipe)
        # "end", since only the end of text is allowed: entries of older caches, with True, allowed a blank as well
        empty = "end" if arm.allow_empty else False
        return key_of(
            self._weights, edits, arm.strength, framed, empty, mode, PADS[mode], self.settings.language, where
        )

    def texts_of(self, candidate: Candidate, mode: Mode, kind: Kind, chosen: Sequence[int]) -> list[Transcript]:
        """Texts of a candidate; behind a clip gate each clip's text is that of one of two arms."""
        number = candidate.variant.recipe
        # with timestamps the first token is a time, and an empty text always possible
        empty = self.recipes[number].allow_empty and mode == "untimed"
        edited = Arm(number, candidate.variant, candidate.strength, False, empty)
        framed = edited._replace(framed=True)
        if candidate.gate == "none":
            return self.transcripts(edited, mode, kind, chosen)
        if candidate.gate == "frame":
            return self.transcripts(framed, mode, kind, chosen)
        shut = framed if candidate.gate == "clip+frame" else Arm(number, None)
        opened = self.gates.opened(number, candidate.margin, mode, kind)
        texts: dict[int, Transcript] = {}
        for arm, wanted in ((edited, True), (shut, False)):
            own = [i for i in chosen if opened[i] == wanted]
            texts |= dict(zip(own, self.transcripts(arm, mode, kind, own), strict=True))
        return [texts[i] for i in chosen]

    def figures(
        self, candidate: Candidate | None, mode: Mode, absent: Sequence[int], present: Sequence[int]
    ) -> Figures:
        """Figures of a candidate, or of the unsteered model for None, on the chosen clips without and with speech."""
        plain = self.unsteered(mode, "present", present)
        if candidate is None:
            noise, speech, opened = self.unsteered(mode, "absent", absent), plain, None
        else:
            noise = self.texts_of(candidate, mode, "absent", absent)
            speech = self.texts_of(candidate, mode, "present", present)
            opened = self._opened(candidate, mode, absent, present)
        known = [self.clips.texts[i] for i in present]
        references = [own.text if text is None else text for text, own in zip(known, plain, strict=True)]
        before, after = (self._word_errors(references, written).capped for written in (plain, speech))
        change = rate_difference(before, after)
        minutes = sum(min(len(self.clips.absent[i]), WINDOW) for i in absent) / SAMPLE_RATE / 60
        return Figures(
            share([wrote(each.text) for each in noise]),
            share([wrote(each.filtered) for each in noise]),
            sum(len(each.text.split()) for each in noise) / max(minutes, 1e-9),
            after.rate,
            change,
            share([wrote(was.text) and not wrote(now.text) for was, now in zip(plain, speech, strict=True)]),
            opened,
        )

    def _opened(
        self, candidate: Candidate, mode: Mode, absent: Sequence[int], present: Sequence[int]
    ) -> tuple[Share, Share] | None:
        if "clip" not in candidate.gate:
            return None
        number, margin = candidate.variant.recipe, candidate.margin
        without, with_ = (self.gates.opened(number, margin, mode, kind) for kind in KINDS)
        return share([without[i] for i in absent]), share([with_[i] for i in present])

    def _word_errors(self, references: Sequence[str], found: Sequence[Transcript]) -> WordErrors:
        """Word errors of all texts; each pair is counted once, since most candidates change few texts."""
        each = []
        for reference, written in zip(references, found, strict=True):
            pair = (reference, written.text)
            if pair not in self._errors:
                self._errors[pair] = word_errors([reference], [written.text])
            each.append(self._errors[pair])
        return WordErrors(
            tuple(each.errors[0] for each in each),
            tuple(each.words[0] for each in each),
            sum(each.deletions for each in each),
        )


def score_of(figures: Sequence[Figures]) -> Score:
    """Score of a candidate over all modes: the mean text, and the worst cost of any mode."""
    return Score(
        sum(each.text.value for each in figures) / len(figures),
        100 * max(each.change.value for each in figures),
        max(each.blanked.value for each in figures),
        100 * max(each.change.low for each in figures),
        max(each.blanked.low for each in figures),
    )
