"""The sweep itself: rounds of successive halving, the choice, and the way to the cliff."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import SteeringError
from ...io.progress import Tell
from .breaking_point import Break, Cliff, find_cliff
from .candidates import KINDS as EDITS
from .candidates import MARGINS, SHARES, STRENGTHS, Candidate, Gating
from .evaluator import Arms, Figures, score_of
from .gate_thresholds import Mode
from .pareto import Budget, Score, better_half, contenders, excess, nearest, rounds, within

CLIFFS = 3
"""Most ways of editing whose cliff is looked for before one is chosen."""
RUNGS = 8
"""Strengths tried on the way to a cliff, at most."""


class CalibrateSettings(NamedTuple):
    """How candidates are made and chosen."""

    modes: tuple[Mode, ...] = ("timed",)
    """Decoding with timestamps, as `whisper.transcribe` does, and without; the budget is kept in every one."""
    kinds: tuple[str, ...] = EDITS
    """Kinds of edit; see `candidates.variants`."""
    shares: tuple[float, ...] = SHARES
    """Shares of the features to keep."""
    strengths: tuple[float, ...] = STRENGTHS
    """Strengths; 1 is the edits as written."""
    gates: tuple[Gating, ...] = ("none", "clip", "frame", "clip+frame")
    """Ways to gate, of those that a recipe has gates for."""
    gate_margins: tuple[float | None, ...] = MARGINS
    """Where the clip gate's threshold lies, from the highest speech score to the median score without speech."""
    first: int = 16
    """Clips of each kind in the first round."""
    near: float = 1.0
    """Candidates within so many points of the least text are as good: the one furthest from its cliff is taken."""
    margin: float = 1.25
    """How many times the chosen strength the cliff has to be away."""
    breaks: Break = Break()
    """When speech counts as broken."""
    cliff_clips: int = 120
    """Most clips with speech on which the cliff is looked for: what breaks speech shows on a sample of it, and each
    strength tried has to be decoded anew."""
    language: str | None = "en"
    """Code; None lets a multilingual model detect it."""
    batch: int = 16
    """Clips decoded at once."""
    seed: int = 0
    """Of the order in which rounds take clips in."""


class Tried(NamedTuple):
    """A candidate, and what it did on the clips of the last round it was in."""

    candidate: Candidate
    score: Score
    figures: dict[Mode, Figures]
    round: int
    """The last round it was in, from 1."""
    clips: tuple[int, int]
    """Clips without and with speech in that round."""


class Cliffs(NamedTuple):
    """Where speech breaks."""

    gated: Cliff
    """As chosen."""
    ungated: Cliff
    """Without the gate, which hides it; the same if there is none."""


class Choice(NamedTuple):
    """What was chosen."""

    tried: Tried
    cliffs: Cliffs
    margin: float
    """How many times the chosen strength the cliff is away; at least that, where none was found."""
    enough: bool
    """Whether that is as far as was asked."""


class Sweep:
    """Candidates, clips, and everything found out about them so far."""

    def __init__(
        self, arms: Arms, candidates: Sequence[Candidate], budget: Budget, settings: CalibrateSettings
    ) -> None:
        self.arms, self.budget, self.settings = arms, budget, settings
        self.all = list(candidates)
        rng = np.random.default_rng(settings.seed)
        sizes = len(arms.material.absent), len(arms.material.present)
        self._absent, self._present = (rng.permutation(size).tolist() for size in sizes)
        self.rounds = rounds(*sizes, settings.first)
        self.tried: dict[str, Tried] = {}
        self.dropped = 0
        """Candidates that were left out before speech was decoded: they write as much as the unsteered model."""

    def unsteered(self, clips: tuple[int, int] | None = None) -> dict[Mode, Figures]:
        """What the model does as it is, on so many clips of each kind, or all."""
        absent, present = self._first(clips or self.rounds[-1])
        return {mode: self.arms.figures(None, mode, absent, present) for mode in self.arms.modes}

    def run(self, tell: Tell) -> list[Tried]:
        """Rounds of successive halving; returns the candidates that survived, with figures on all clips."""
        alive = self.all
        for number, clips in enumerate(self.rounds, 1):
            what = f"round {number} of {len(self.rounds)}: {clips[0]} + {clips[1]} clips"
            if number == 1:
                alive = self._less_text(alive, clips, tell)
            found = []
            for done, candidate in enumerate(alive):
                tell(what, done, len(alive))
                found.append(self.measure(candidate, clips, number))
            tell(what, len(alive), len(alive))
            if number < len(self.rounds):
                groups = [one.candidate.gate for one in found]
                kept = better_half([one.score for one in found], self.budget, groups)
                alive = [alive[i] for i in kept]
        return found

    def measure(self, candidate: Candidate, clips: tuple[int, int], number: int) -> Tried:
        """A candidate's figures on the first so many clips of each kind."""
        absent, present = self._first(clips)
        figures = {mode: self.arms.figures(candidate, mode, absent, present) for mode in self.arms.modes}
        found = Tried(candidate, score_of(list(figures.values())), figures, number, clips)
        self.tried[_name(candidate)] = found
        return found

    def choose(self, survivors: Sequence[Tried], tell: Tell) -> Choice:
        """The candidate with the least text within the budget, or one as good that is further from its cliff.

        Raises:
            SteeringError: none keeps the budget; names the nearest, and says what to try.
        """
        scores = [one.score for one in survivors]
        plain = score_of(list(self.unsteered().values()))
        allowed = within(scores, self.budget, plain.text)
        if not allowed:
            raise SteeringError(self._advice(survivors, plain))
        good = [survivors[i] for i in contenders(scores, allowed, self.settings.near)]
        groups = list(dict.fromkeys(one.candidate.group for one in good))[:CLIFFS]
        cliffs = {}
        for number, group in enumerate(groups, 1):
            weakest = min((one.candidate for one in good if one.candidate.group == group), key=lambda c: c.strength)
            cliffs[group] = self.cliffs(weakest, f"cliff {number} of {len(groups)}, strengths", tell)
        looked = [one for one in good if one.candidate.group in cliffs]
        # the first is the one with the least text, and stays so among equals
        best = max(looked, key=lambda one: _distance(cliffs[one.candidate.group], one.candidate.strength))
        found = cliffs[best.candidate.group]
        best = self._back_off(best, found.gated, plain)
        margin = found.gated.margin(best.candidate.strength)
        return Choice(best, found, margin, margin >= self.settings.margin - 1e-9)

    def cliffs(self, candidate: Candidate, what: str, tell: Tell) -> Cliffs:
        """Where speech breaks as the strength rises from a candidate's own, on `cliff_clips` clips with speech."""
        most = RUNGS * (1 if candidate.gate == "none" else 2)
        done = 0

        def found(base: Candidate) -> Cliff:
            def cost(strength: float) -> tuple[float, float]:
                nonlocal done
                tell(what, done, most)
                done += 1
                return self._cost(base._replace(strength=strength))

            return find_cliff(cost, base.strength, self.settings.breaks)

        own = found(candidate)
        ungated = own if candidate.gate == "none" else found(candidate._replace(gate="none", margin=None))
        tell(what, most, most)
        return Cliffs(own, ungated)

    def _cost(self, candidate: Candidate) -> tuple[float, float]:
        present = self._present[: self.settings.cliff_clips]
        figures = [self.arms.figures(candidate, mode, (), present) for mode in self.arms.modes]
        return 100 * max(one.change.value for one in figures), max(one.blanked.value for one in figures)

    def _back_off(self, best: Tried, cliff: Cliff, plain: Score) -> Tried:
        """The next smaller strength, and the next, until the cliff is far enough, as far as the budget allows."""
        for strength in sorted(self.settings.strengths, reverse=True):
            if cliff.margin(best.candidate.strength) >= self.settings.margin - 1e-9:
                break
            if strength < best.candidate.strength:
                weaker = self.measure(
                    best.candidate._replace(strength=float(strength)), self.rounds[-1], len(self.rounds)
                )
                if not within([weaker.score], self.budget, plain.text):
                    break
                best = weaker
        return best

    def _less_text(self, alive: list[Candidate], clips: tuple[int, int], tell: Tell) -> list[Candidate]:
        """Those that leave less text than the unsteered model on the first clips: the others need no speech decoded."""
        absent, _ = self._first(clips)

        def hits(candidate: Candidate | None) -> int:
            return sum(
                bool(said.text.strip())
                for mode in self.arms.modes
                for said in (
                    self.arms.unsteered(mode, "absent", absent)
                    if candidate is None
                    else self.arms.texts_of(candidate, mode, "absent", absent)
                )
            )

        most, kept = hits(None), []
        for done, candidate in enumerate(alive):
            tell("candidates on noise", done, len(alive))
            if hits(candidate) < most:
                kept.append(candidate)
        tell("candidates on noise", len(alive), len(alive))
        self.dropped = len(alive) - len(kept)
        if not kept:
            raise SteeringError(
                f"none of {len(alive)} candidates writes less than the unsteered model on {len(absent)} clips without "
                "speech; give other features, higher --strength values, or clips on which the model writes text"
            )
        return kept

    def _advice(self, survivors: Sequence[Tried], plain: Score) -> str:
        best = survivors[nearest([one.score for one in survivors], self.budget)]
        score, budget = best.score, self.budget
        over = excess(score, budget) > 0
        what = (
            f"text on {score.text:.1%} of clips without speech (unsteered {plain.text:.1%}), "
            f"WER {score.wer:+.2f} points, {score.blanked:.1%} of speech blanked"
        )
        hint = (
            "a wider --wer or --blanked, lower --strength values, a gate (fit_gate), or edits learned on more speech"
            if over
            else "higher --strength values, or other features"
        )
        return (
            f"no candidate keeps the budget (WER +{budget.wer:g} points, {budget.blanked:.1%} blanked) and writes less "
            f"on noise. The nearest: {best.candidate.describe(self.arms.recipes)}: {what}. Try {hint}"
        )

    def _first(self, clips: tuple[int, int]) -> tuple[list[int], list[int]]:
        return self._absent[: clips[0]], self._present[: clips[1]]


def _distance(cliffs: Cliffs, strength: float) -> tuple[float, float]:
    return round(cliffs.gated.margin(strength), 6), round(cliffs.ungated.margin(strength), 6)


def _name(candidate: Candidate) -> str:
    return (
        f"{candidate.variant.recipe} {candidate.variant.key} {candidate.strength} {candidate.gate} {candidate.margin}"
    )
