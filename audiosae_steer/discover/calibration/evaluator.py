"""What candidates write, and what that costs: every text is decoded once, from residuals that are computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ...data.audio import SAMPLE_RATE, WINDOW, Samples, samples_key
from ...evaluate.metrics.rates import Share, share, wrote
from ...evaluate.metrics.wer import Difference, WordErrors, rate_difference, word_errors
from ...evaluate.transcription.from_residuals import encode, write
from ...io.progress import Tell
from ...models.families.whisper_mel import Pad
from ...models.registry import fingerprint
from ...sae.autoencoder import SAE
from ...steering.recipes.schema import Recipe, site_of
from ...steering.site_edits import SiteEdits, SiteGate
from ...steering.steering import Steering, steer
from .candidates import Candidate, Variant
from .gate_thresholds import KINDS, Kind, Mode, Placing
from .pareto import Score
from .text_cache import Said, Texts, key_of

PADS: dict[Mode, Pad] = {"timed": "zeros", "untimed": "silence"}
"""How clips are filled up: `whisper.transcribe` writes timestamps and does the one, `whisper.decode` the other."""
CHUNK = 8


class Material(NamedTuple):
    """What candidates are tried on."""

    absent: Sequence[Samples]
    """Clips without speech, mono, 16 kHz."""
    present: Sequence[Samples]
    """Clips with speech."""
    texts: Sequence[str | None]
    """What is said in them; None where that is not known: there, what the unsteered model writes is taken for it."""


class Arm(NamedTuple):
    """What has to be decoded by itself: clip gates do not, they choose between arms."""

    recipe: int
    variant: Variant | None
    """None: unsteered."""
    strength: float = 0.0
    framed: bool = False
    """Behind the frame gate."""
    allow_empty: bool = False


class Figures(NamedTuple):
    """What a candidate does, in one decoding mode."""

    text: Share
    """Clips without speech for which text is written, Whisper's own filters off."""
    filtered: Share
    """The same with them on."""
    words_per_minute: float
    """Words written for each minute without speech, filters off."""
    wer: float
    """Word error rate on speech, filters off; 0.05 is 5 %. An utterance has at most as many errors as words: greedy
    decoding loops now and then, and what a single loop writes would decide over everything else."""
    change: Difference
    """Of that word error rate against the unsteered model, with its paired bootstrap interval."""
    blanked: Share
    """Clips with speech that lost all their text."""
    opened: tuple[Share, Share] | None
    """Clips without and with speech for which the clip gate opens; None without one."""


class Arms:
    """Evaluates candidates on clips, decoding only what is not known yet.

    Args:
        model: an openai-whisper model, unsteered.
        recipes: those that the candidates are variants of.
        saes: their SAEs.
        material: the clips.
        modes: `timed` and `untimed`.
        cache: folder for residuals and texts.
        language: as `write` takes it.
        batch: clips at once.
        tell: called with what is being done, how many are done, and how many there are.
    """

    def __init__(
        self,
        model: Any,
        recipes: Sequence[Recipe],
        saes: Sequence[dict[str, SAE]],
        material: Material,
        modes: Sequence[Mode] = ("timed",),
        *,
        cache: Path | None = None,
        language: str | None = "en",
        batch: int = 16,
        tell: Tell | None = None,
    ) -> None:
        self.model, self.recipes, self.saes, self.material = model, recipes, saes, material
        self.modes, self.cache, self.language, self.batch = tuple(modes), cache, language, batch
        self.tell = tell or (lambda what, done, total: None)
        self.texts = Texts(cache)
        self._clips: dict[Kind, Sequence[Samples]] = {"absent": material.absent, "present": material.present}
        self._names: dict[Kind, list[str]] = {
            kind: list(map(samples_key, clips)) for kind, clips in self._clips.items()
        }
        self._rows: dict[tuple[int, Mode, Kind], list[Tensor]] = {}
        self._errors: dict[tuple[str, str], WordErrors] = {}
        self._weights = fingerprint(model)
        self.gates = Placing(recipes, saes, self.modes, self.rows)
        """Where the thresholds of clip gates go."""

    def base(self, recipe: int) -> int:
        """The encoder layer from which a recipe's arms are run."""
        spec = self.recipes[recipe]
        layers = [site.layer for site in spec.sites if site.side == "encoder"]
        if spec.frame_gate is not None:
            layers.append(spec.frame_gate.layer)
        return min(layers, default=self.model.dims.n_audio_layer)

    def rows(self, layer: int, mode: Mode, kind: Kind) -> list[Tensor]:
        """Residuals of all clips of a kind, encoded on the first call."""
        if (layer, mode, kind) not in self._rows:
            clips, what = self._clips[kind], f"encoding {kind}, {mode}, layer {layer}"
            found: list[Tensor] = []
            for start in range(0, len(clips), CHUNK):
                self.tell(what, start, len(clips))
                part = clips[start : start + CHUNK]
                found += encode(self.model, part, layer, PADS[mode], cache=self.cache, progress=False)
            self.tell(what, len(clips), len(clips))
            self._rows[layer, mode, kind] = found
        return self._rows[layer, mode, kind]

    def said(self, arm: Arm, mode: Mode, kind: Kind, chosen: Sequence[int]) -> list[Said]:
        """What an arm writes for the chosen clips of a kind."""
        name, clips = self._key(arm, mode), self._names[kind]
        missing = list(dict.fromkeys(i for i in chosen if self.texts.get(name, clips[i]) is None))
        if missing:
            layer = self.base(arm.recipe)
            rows = self.rows(layer, mode, kind)
            with self._running(arm):
                for start in range(0, len(missing), self.batch):
                    part = missing[start : start + self.batch]
                    found = write(
                        self.model,
                        [rows[i] for i in part],
                        layer,
                        timestamps=mode == "timed",
                        language=self.language,
                        batch=self.batch,
                    )
                    new = {clips[i]: Said(w.text, w.filtered) for i, w in zip(part, found, strict=True)}
                    self.texts.add(name, new)
        known = [self.texts.get(name, clips[i]) for i in chosen]
        return [said for said in known if said is not None]

    def unsteered(self, mode: Mode, kind: Kind, chosen: Sequence[int]) -> list[Said]:
        """What the model writes as it is."""
        return self.said(Arm(0, None), mode, kind, chosen)

    def build(
        self, variant: Variant, strength: float = 1.0, *, framed: bool = False, allow_empty: bool = False
    ) -> Steering:
        """Steer the model by a variant, without its clip gate; a context manager, as `steer` returns it."""
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
        empty = "end" if arm.allow_empty else False  # only the end, not a blank, as texts of before allowed too
        return key_of(self._weights, edits, arm.strength, framed, empty, mode, PADS[mode], self.language, where)

    def texts_of(self, candidate: Candidate, mode: Mode, kind: Kind, chosen: Sequence[int]) -> list[Said]:
        """What a candidate writes; behind a clip gate each clip's text is that of one arm or the other."""
        number = candidate.variant.recipe
        # with timestamps the first token is a time, and an empty text always possible
        empty = self.recipes[number].allow_empty and mode == "untimed"
        whole = Arm(number, candidate.variant, candidate.strength, False, empty)
        framed = whole._replace(framed=True)
        if candidate.gate == "none":
            return self.said(whole, mode, kind, chosen)
        if candidate.gate == "frame":
            return self.said(framed, mode, kind, chosen)
        shut = framed if candidate.gate == "clip+frame" else Arm(number, None)
        opened = self.gates.opened(number, candidate.margin, mode, kind)
        texts: dict[int, Said] = {}
        for arm, wanted in ((whole, True), (shut, False)):
            own = [i for i in chosen if opened[i] == wanted]
            texts |= dict(zip(own, self.said(arm, mode, kind, own), strict=True))
        return [texts[i] for i in chosen]

    def figures(
        self, candidate: Candidate | None, mode: Mode, absent: Sequence[int], present: Sequence[int]
    ) -> Figures:
        """What a candidate, or with None the model as it is, does on the chosen clips without and with speech."""
        plain = self.unsteered(mode, "present", present)
        if candidate is None:
            noise, speech, opened = self.unsteered(mode, "absent", absent), plain, None
        else:
            noise = self.texts_of(candidate, mode, "absent", absent)
            speech = self.texts_of(candidate, mode, "present", present)
            opened = self._opened(candidate, mode, absent, present)
        known = [self.material.texts[i] for i in present]
        references = [own.text if text is None else text for text, own in zip(known, plain, strict=True)]
        before, after = (self._word_errors(references, said).capped for said in (plain, speech))
        change = rate_difference(before, after)
        minutes = sum(min(len(self.material.absent[i]), WINDOW) for i in absent) / SAMPLE_RATE / 60
        return Figures(
            share([wrote(said.text) for said in noise]),
            share([wrote(said.filtered) for said in noise]),
            sum(len(said.text.split()) for said in noise) / max(minutes, 1e-9),
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

    def _word_errors(self, references: Sequence[str], found: Sequence[Said]) -> WordErrors:
        """Word errors of all; those of each pair of texts are counted once, since most candidates change few."""
        each = []
        for reference, said in zip(references, found, strict=True):
            pair = (reference, said.text)
            if pair not in self._errors:
                self._errors[pair] = word_errors([reference], [said.text])
            each.append(self._errors[pair])
        return WordErrors(
            tuple(one.errors[0] for one in each),
            tuple(one.words[0] for one in each),
            sum(one.deletions for one in each),
        )


def score_of(figures: Sequence[Figures]) -> Score:
    """What choosing goes by, of a candidate's figures in all modes: the mean text, and the worst cost of any mode."""
    return Score(
        sum(one.text.value for one in figures) / len(figures),
        100 * max(one.change.value for one in figures),
        max(one.blanked.value for one in figures),
        100 * max(one.change.low for one in figures),
        max(one.blanked.low for one in figures),
    )
