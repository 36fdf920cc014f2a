"""Runs of the benchmark of false speech: arms on clips, mixtures, hard speech and long files, in each mode."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..latency import Latency
from ..transcription.from_residuals import Written
from . import arms as arm_module
from .arms import LABELS, STRICT, Arm, Masked, Mode, Steered
from .baselines import Summary, fitted_arms, load_summary, random_arms, reconstruction, save_summary, summarise
from .beams import BEAMS, beam_recipes, measure_beams
from .bench_clips import BenchClip, ClipGroup, hard, long_files, mixed_files, mixtures, spread
from .decodings import HF, Baking, Engines
from .environment import processor, versions
from .long_form import LONG, run_long_part
from .measures import of_noise, of_speech, spread_of
from .mixed_arms import decoding_as_it_comes, installed, mixed_arms
from .mixed_run import run_mixed
from .results import (
    ArmInfo,
    ArmResult,
    BeamRow,
    BenchResults,
    ClipsInfo,
    LongResults,
    Machine,
    MixedRow,
    RandomDraws,
    SpeechResult,
)
from .runner import UNSTEERED, Runner
from .settings import BEAM_PART, MIXED_PART, MODES, WINDOWS, BenchData, BenchSettings, Recipes, check, sae_of

SMALL = ("unsteered", "contrast", "learned", "clip-gated", "frame-gated", "both-gated", "gate-alone", "vad", "vad-ours")
"""Curves whose marked arms run on mixtures and hard speech."""


def run_bench(
    model: Any,
    recipes: Recipes,
    data: BenchData,
    cache: Path,
    settings: BenchSettings | None = None,
    *,
    transformers: HF | None = None,
    ctranslate2: Baking | None = None,
    progress: Tell | None = None,
) -> BenchResults:
    """Measure the arms.

    Everything decoded is kept in `cache`, which several processes may share: run parts or arms apart, then all at once.

    Args:
        model: an openai-whisper model, unsteered.
        recipes: those to measure.
        data: the clips.
        cache: folder, about 1 MB a clip and mode.
        settings: parts, modes and arms to run.
        transformers: gives the same model by transformers, and its processor; without it its pipeline is left out.
        ctranslate2: gives a folder for faster-whisper with a recipe baked in, or none, in a storage type; without it
            the part beams leaves faster-whisper out.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SteeringError: an unknown part, mode or arm, or clips of one kind are missing.
        MissingExtraError: something that an arm needs is not installed.
    """
    bench = Bench(model, recipes, data, cache, settings or BenchSettings(), progress)
    return bench.run(transformers, ctranslate2)


class Bench:
    """One run: its arms and their texts. Made by `run_bench`, and to look at single clips."""

    def __init__(
        self, model: Any, recipes: Recipes, data: BenchData, cache: Path, settings: BenchSettings, progress: Tell | None
    ) -> None:
        check(settings, data)
        self.model, self.recipes, self.data, self.settings = model, recipes, data, settings
        self.modes = [mode for name in settings.modes for mode in MODES[name]]
        self.left_out: dict[str, str] = {}
        self.absent, self.present = ClipGroup("absent", tuple(data.absent)), ClipGroup("present", tuple(data.present))
        given = [r for r in (recipes.main, recipes.ungated, recipes.contrast, recipes.dense) if r is not None]
        read = [Steered("", "learned", recipe=recipe).layer for recipe in given]
        sae, sae_layer = sae_of(recipes)
        layers = [layer for layer in (*read, sae_layer) if layer is not None]
        self.runner = Runner(
            model, min(layers, default=model.dims.n_audio_layer), cache, language=settings.language, progress=progress
        )
        self.arms = {arm.name: arm for arm in self._arms(sae, sae_layer)}

    def run(self, transformers: HF | None = None, ctranslate2: Baking | None = None) -> BenchResults:
        """Every part that is asked for."""
        main, parts, usual = self.recipes.main, self.settings.parts, [mode for mode in self.modes if mode is not STRICT]
        recipes = {
            "ours": main,  # a key of published results
            "ungated": self.recipes.ungated,
            "contrast": self.recipes.contrast,
            "dense": self.recipes.dense,
        }
        arms = {arm.name: _arm_info(arm) for arm in self._wanted()}
        clips, random = self._clips() if "clips" in parts else (None, {})
        return BenchResults(
            model=main.model.name,
            recipe=main.name,
            recipes={part: recipe.name for part, recipe in recipes.items() if recipe is not None},
            layer=self.runner.layer,
            settings=self.settings,
            data=self._described(),
            arms=arms,
            machine=Machine(processor=processor(), threads=torch.get_num_threads()),
            versions=versions(),
            clips=clips,
            random=random,
            latency=self._latencies() if "clips" in parts else None,
            mixtures=self._speech(usual, self._mixtures) if "mixtures" in parts else None,
            hard=self._speech(usual, self._hard) if "hard" in parts else None,
            long=self._long(transformers) if "long" in parts else None,
            mixed=self._mixed() if MIXED_PART in parts else None,
            beams=self._beams(transformers, ctranslate2) if BEAM_PART in parts or self.settings.beams else None,
            left_out=self.left_out,
        )

    def written(self, name: str, group: ClipGroup, mode: Mode) -> list[Written]:
        """The texts of an arm, clip by clip."""
        limit = self.settings.noise_tokens if group.name == self.absent.name else None
        return self.runner.written(self.arms[name], group, mode, self.arms, limit=limit)

    @cached_property
    def gate_sae(self) -> SAE | None:
        """The SAE that the recipe's clip gate reads; None without a gate."""
        gate = self.recipes.main.gate
        return None if gate is None else self.recipes.main.load_saes()[gate.sae]

    def _arms(self, sae: SAE | None, layer: int | None) -> Iterator[Arm]:
        """All arms that can be made; `left_out` gets the reasons of the others."""
        recipes, settings = self.recipes, self.settings
        yield UNSTEERED
        if sae is None or layer is None:
            self.left_out["reconstruction"] = "there is no SAE"
        else:
            yield reconstruction(sae, layer)
        own = arm_module.recipe_arms(
            recipes.main,
            ungated=recipes.ungated,
            contrast=recipes.contrast,
            dense=recipes.dense,
            strengths=settings.strengths,
        )
        yield from own
        for name, recipe in (("contrast", recipes.contrast), ("dense", recipes.dense)):
            if recipe is None:
                self.left_out[name] = "no recipe was given"
        if recipes.main.frame_gate is None:
            self.left_out["frame-gated"] = "the recipe has no frame gate"
        try:
            yield from random_arms(recipes.ungated or recipes.main, draws=settings.draws, seed=settings.seed)
        except SteeringError as error:
            self.left_out["random"] = str(error)
        yield from self._fitted(sae, layer)
        if find_spec("faster_whisper") is None:
            self.left_out["vad"] = "faster-whisper, which brings the VAD, is not installed (extra bench)"
        else:
            yield from arm_module.vad_arms(own, [mode.name for mode in self.modes])

    def _fitted(self, sae: SAE | None, layer: int | None) -> Iterator[Arm]:
        """Arms that are fitted or tuned on the clips for finding; only if one of them is asked for."""
        curves = ("mean-difference", "audiosae-max", "audiosae-mean", "typical-shift", "no-speech-prob", "avg-logprob")
        asked = [c for c in curves if any(name.startswith(c) for name in self.settings.arms)]
        if self.settings.arms and not asked:
            return
        if not self.data.find_absent or not self.data.find_present:
            self.left_out |= dict.fromkeys(curves, "no clips to fit it on were given")
            return
        absent, present = (
            ClipGroup(f"find-{kind}", tuple(clips))
            for kind, clips in (("absent", self.data.find_absent), ("present", self.data.find_present))
        )
        written = {mode: self.runner.written(UNSTEERED, present, mode, {}) for mode in self.modes}
        scores = {
            by: {mode.name: arm_module.silence_scores(by, rows) for mode, rows in written.items()}
            for by in ("no_speech_prob", "avg_logprob")
        }
        yield from arm_module.tuned_arms(scores, self.settings.budget)
        if sae is None or layer is None:
            self.left_out |= dict.fromkeys(curves[:4], "there is no SAE")
        elif not self.settings.arms or set(asked) & set(curves[:4]):
            arms, without = fitted_arms(self._summary(sae, layer, absent, present), sae, layer)
            self.left_out |= without
            yield from arms

    def _summary(self, sae: SAE, layer: int, absent: ClipGroup, present: ClipGroup) -> Summary:
        """Pooled features of the clips for finding, computed once and kept."""
        modes = {mode.pad: mode for mode in reversed(self.modes)}  # one for each padding to 30 s
        name = [layer, sae.digest(), absent.key, present.key, sorted(modes)]
        path = self.runner.cache / "fits" / f"{_digest(name)}.safetensors"
        if not path.is_file():
            probabilities, rows, samples, labels = [], [], [], []
            for pad, mode in sorted(modes.items()):
                for group in (absent, present):
                    written = self.runner.written(UNSTEERED, group, mode, {}, limit=1)
                    probabilities += [one.no_speech_prob for one in written]
                    rows += [_later(self.runner, clip, pad, layer) for clip in group.clips]
                    samples += [clip.count for clip in group.clips]
                    labels += [group is present] * len(group.clips)
            tell = self.runner.tell
            found = summarise(rows, samples, probabilities, labels, sae, progress=lambda n, of: tell("pooling", n, of))
            save_summary(found, path)
        return load_summary(path)

    def _wanted(self) -> list[Arm]:
        """The arms that are asked for, in the order of tables."""
        asked = set(self.settings.arms)
        names = [*self.arms, *(arm.curve for arm in self.arms.values())]
        unknown = sorted(asked - {*names, *LABELS})
        if unknown:
            raise SteeringError(f"there is no arm {unknown[0]!r}; expected some of {', '.join(dict.fromkeys(names))}")
        order = list(LABELS)
        chosen = [a for a in self.arms.values() if not asked or {a.name, a.curve} & {*asked, "unsteered"}]
        return sorted(chosen, key=lambda arm: order.index(arm.curve))

    def _clips(self) -> tuple[dict[str, dict[str, ArmResult]], dict[str, RandomDraws]]:
        """Each arm on all clips by mode, and random features by mode."""
        found: dict[str, dict[str, ArmResult]] = {}
        random: dict[str, RandomDraws] = {}
        for mode in self.modes:
            rows = found[mode.name] = {}
            draws: list[ArmResult] = []
            for arm in self._wanted():
                if mode is STRICT and not arm_module.only_masks(arm):
                    continue
                row = self._arm(arm, mode)
                if arm.curve == "random":
                    draws.append(row)
                else:
                    rows[arm.name] = row
            if draws:
                random[mode.name] = spread_of(draws, self.settings.random_clips)
        return found, random

    def _arm(self, arm: Arm, mode: Mode) -> ArmResult:
        """One arm on clips of both kinds, or on a sample of them."""

        def texts(group: ClipGroup) -> tuple[tuple[BenchClip, ...], list[Written], list[Written]]:
            before = self.written("unsteered", group, mode)
            chosen = group.sample(self.settings.random_clips) if arm.sampled else group
            if arm.sampled:
                kept = {clip.key: one for clip, one in zip(group.clips, before, strict=True)}
                before = [kept[clip.key] for clip in chosen.clips]
            return chosen.clips, before, self.written(arm.name, chosen, mode)

        return ArmResult(noise=of_noise(*texts(self.absent)), speech=of_speech(*texts(self.present)))

    def _mixtures(self) -> Iterator[tuple[str, ClipGroup]]:
        return mixtures(self._spoken(), self.absent.clips)

    def _hard(self) -> Iterator[tuple[str, ClipGroup]]:
        return hard(self._spoken(), self.absent.clips, self.data.digits)

    def _spoken(self) -> list[BenchClip]:
        """Utterances with a text, that leave room for what comes before them."""
        short = [s for s in self.present.clips if s.text and s.seconds <= 28]
        return spread(short, self.settings.utterances)

    def _speech(
        self, modes: Sequence[Mode], groups: Callable[[], Iterator[tuple[str, ClipGroup]]]
    ) -> dict[str, dict[str, dict[str, SpeechResult]]]:
        """The marked arms of a few curves on mixtures or on hard speech, by mode and kind."""
        marked = [arm for arm in self._wanted() if arm.curve in SMALL and arm.marked]
        found: dict[str, dict[str, dict[str, SpeechResult]]] = {}
        for mode in modes:
            kinds = found[mode.name] = {}
            for name, group in groups():
                before = self.written("unsteered", group, mode)
                kinds[name] = {
                    arm.name: of_speech(group.clips, before, self.written(arm.name, group, mode)) for arm in marked
                }
        return found

    def _long(self, transformers: HF | None) -> LongResults:
        settings = self.settings
        files = self.data.long or long_files(
            self.present.clips, self.absent.clips, settings.long_count, settings.long_minutes, settings.seed
        )
        if transformers is None:
            self.left_out["pipeline"] = "transformers' model was not given, or transformers is not installed"
        wanted = [arm for arm in self._wanted() if arm.curve in LONG and arm.marked]
        return run_long_part(self.runner, files, wanted, self.arms, transformers, settings.pipeline_files)

    def _mixed(self) -> list[MixedRow]:
        count, seed = self.settings.mixed_count or WINDOWS, self.settings.seed
        files = self.data.mixed or mixed_files(self.present.clips, self.absent.clips, count, seed)
        arms = installed(mixed_arms([self.recipes.main], decoding_as_it_comes(self.settings.language)))
        return run_mixed(self.model, files, arms, self.runner.cache.parent, tell=self.runner.tell)

    def _beams(self, transformers: HF | None, ctranslate2: Baking | None) -> list[BeamRow]:
        engines = Engines(
            openai=self.model, transformers=transformers, ctranslate2=ctranslate2, language=self.settings.language
        )
        return measure_beams(
            engines, beam_recipes(self.recipes), self.absent.clips, self.present.clips, self.runner.cache.parent,
            beams=self.settings.beams or BEAMS, noise_tokens=self.settings.noise_tokens, progress=self.runner.tell,
        )  # fmt: skip

    def _latencies(self) -> dict[str, Latency | None]:
        half = self.settings.timed_clips // 2
        clips = [*self.absent.sample(half).clips, *self.present.sample(half).clips] if half else []
        chosen = [arm for arm in self._wanted() if arm.marked] if clips else []
        return {arm.name: self.runner.latency(arm, clips, self.arms) for arm in chosen}

    def _described(self) -> dict[str, ClipsInfo]:
        data = self.data
        others = {"find_absent": data.find_absent, "find_present": data.find_present, "digits": data.digits}
        kinds = {"absent": self.absent.clips, "present": self.present.clips} | {k: s for k, s in others.items() if s}
        return {name: _clips_info(clips) for name, clips in kinds.items()}


def _later(runner: Runner, clip: BenchClip, pad: Any, layer: int) -> Callable[[], torch.Tensor]:
    return lambda: runner.residuals([clip], pad, layer)[0]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _arm_info(arm: Arm) -> ArmInfo:
    threshold = dict(arm.threshold) if isinstance(arm, Masked) and arm.threshold else None
    return ArmInfo(label=arm.label, curve=arm.curve, at=arm.at, marked=arm.marked, threshold=threshold)


def _clips_info(clips: Sequence[BenchClip]) -> ClipsInfo:
    return ClipsInfo(
        clips=len(clips),
        minutes=round(sum(clip.seconds for clip in clips) / 60, 2),
        with_text=sum(bool(clip.text) for clip in clips),
        sources=dict(Counter(clip.source for clip in clips)),
    )
