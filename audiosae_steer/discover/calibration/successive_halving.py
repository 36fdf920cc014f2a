"""Search over candidates: successive halving, the choice within the budget, and its distance to the cliff."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import SteeringError
from .breaking_point import Cliff, find_cliff
from .candidates import Candidate
from .evaluator import Evaluator, Figures, score_of
from .pareto import Score, better_half, contenders, excess, nearest, rounds, within
from .settings import Budget, Mode

CLIFFS = 3
"""Most variants with a gate whose cliff is looked for before one is chosen."""
RUNGS = 8
"""Most strengths tried on the way to a cliff, for the progress bar."""


class Tried(NamedTuple):
    """Candidate with its figures on the clips of the last round it was in."""

    candidate: Candidate
    score: Score
    figures: dict[Mode, Figures]
    round: int
    """Last round it was in, from 1."""
    clips: tuple[int, int]
    """Numbers of clips without and with speech in that round."""


class Cliffs(NamedTuple):
    """Cliffs of a candidate: strengths at which speech breaks."""

    gated: Cliff
    """Cliff with the candidate's gate."""
    ungated: Cliff
    """Cliff without the gate, which hides it; the same for an ungated candidate."""


class Choice(NamedTuple):
    """The chosen candidate and its distance to the cliff."""

    tried: Tried
    cliffs: Cliffs
    margin: float
    """Ratio of the cliff to the chosen strength; a lower bound where no cliff was found."""
    enough: bool
    """The margin is at least that of the settings."""


class Sweep:
    """Search over candidates by successive halving.

    Args:
        evaluator: evaluates candidates; its settings are used.
        candidates: candidates to choose among.
        budget: highest cost on speech.
    """

    def __init__(self, evaluator: Evaluator, candidates: Sequence[Candidate], budget: Budget) -> None:
        self.evaluator, self.budget, self.settings = evaluator, budget, evaluator.settings
        self._tell = evaluator.output.tell
        self.all = list(candidates)
        rng = np.random.default_rng(self.settings.seed)
        sizes = len(evaluator.clips.absent), len(evaluator.clips.present)
        self._absent, self._present = (rng.permutation(size).tolist() for size in sizes)
        self.rounds = rounds(*sizes, self.settings.first)
        self.tried: dict[str, Tried] = {}
        self.dropped = 0
        """Number of candidates left out before speech was decoded, since they write as much as the unsteered model."""

    def unsteered(self, clips: tuple[int, int] | None = None) -> dict[Mode, Figures]:
        """Figures of the unsteered model on the first so many clips of each kind, or on all."""
        absent, present = self._first(clips or self.rounds[-1])
        return {mode: self.evaluator.figures(None, mode, absent, present) for mode in self.evaluator.modes}

    def run(self) -> list[Tried]:
        """Run the rounds of successive halving; returns the candidates that survived, with figures on all clips."""
        alive = self.all
        for number, clips in enumerate(self.rounds, 1):
            task = f"round {number} of {len(self.rounds)}: {clips[0]} + {clips[1]} clips"
            if number == 1:
                alive = self._less_text(alive, clips)
            found = []
            for done, candidate in enumerate(alive):
                self._tell(task, done, len(alive))
                found.append(self.measure(candidate, clips, number))
            self._tell(task, len(alive), len(alive))
            if number < len(self.rounds):
                groups = [each.candidate.gate for each in found]
                kept = better_half([each.score for each in found], self.budget, groups)
                alive = [alive[i] for i in kept]
        return found

    def measure(self, candidate: Candidate, clips: tuple[int, int], number: int) -> Tried:
        """Figures of a candidate on the first so many clips of each kind."""
        absent, present = self._first(clips)
        figures = {mode: self.evaluator.figures(candidate, mode, absent, present) for mode in self.evaluator.modes}
        found = Tried(candidate, score_of(list(figures.values())), figures, number, clips)
        self.tried[_name(candidate)] = found
        return found

    def choose(self, survivors: Sequence[Tried]) -> Choice:
        """Choose the candidate with the least text within the budget, or one as good that is further from its cliff.

        Raises:
            SteeringError: no candidate keeps the budget; the message names the nearest, and what to try.
        """
        scores = [each.score for each in survivors]
        plain = score_of(list(self.unsteered().values()))
        allowed = within(scores, self.budget, plain.text)
        if not allowed:
            raise SteeringError(self._advice(survivors, plain))
        good = [survivors[i] for i in contenders(scores, allowed, self.settings.near)]
        groups = list(dict.fromkeys(each.candidate.group for each in good))[:CLIFFS]
        cliffs = {}
        for number, group in enumerate(groups, 1):
            weakest = min((each.candidate for each in good if each.candidate.group == group), key=lambda c: c.strength)
            cliffs[group] = self.cliffs(weakest, f"cliff {number} of {len(groups)}, strengths")
        looked = [each for each in good if each.candidate.group in cliffs]
        # the first is the one with the least text, and stays so among equals
        best = max(looked, key=lambda each: _distance(cliffs[each.candidate.group], each.candidate.strength))
        found = cliffs[best.candidate.group]
        best = self._back_off(best, found.gated, plain)
        margin = found.gated.margin(best.candidate.strength)
        return Choice(best, found, margin, margin >= self.settings.margin - 1e-9)

    def cliffs(self, candidate: Candidate, task: str) -> Cliffs:
        """Cliffs found by raising the strength from the candidate's own, on `cliff_clips` clips with speech."""
        most = RUNGS * (1 if candidate.gate == "none" else 2)
        done = 0

        def found(base: Candidate) -> Cliff:
            def cost(strength: float) -> tuple[float, float]:
                nonlocal done
                self._tell(task, done, most)
                done += 1
                return self._cost(base._replace(strength=strength))

            return find_cliff(cost, base.strength, self.settings.breaks)

        own = found(candidate)
        ungated = own if candidate.gate == "none" else found(candidate._replace(gate="none", margin=None))
        self._tell(task, most, most)
        return Cliffs(own, ungated)

    def _cost(self, candidate: Candidate) -> tuple[float, float]:
        present = self._present[: self.settings.cliff_clips]
        figures = [self.evaluator.figures(candidate, mode, (), present) for mode in self.evaluator.modes]
        return 100 * max(each.change.value for each in figures), max(each.blanked.value for each in figures)

    def _back_off(self, best: Tried, cliff: Cliff, plain: Score) -> Tried:
        """Lower the strength step by step until the cliff is far enough, as long as the budget is kept."""
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

    def _less_text(self, alive: list[Candidate], clips: tuple[int, int]) -> list[Candidate]:
        """Candidates with less text than the unsteered model on the first clips; others need no speech decoded."""
        absent, _ = self._first(clips)

        def hits(candidate: Candidate | None) -> int:
            return sum(
                bool(each.text.strip())
                for mode in self.evaluator.modes
                for each in (
                    self.evaluator.unsteered(mode, "absent", absent)
                    if candidate is None
                    else self.evaluator.texts_of(candidate, mode, "absent", absent)
                )
            )

        most, kept = hits(None), []
        for done, candidate in enumerate(alive):
            self._tell("candidates on noise", done, len(alive))
            if hits(candidate) < most:
                kept.append(candidate)
        self._tell("candidates on noise", len(alive), len(alive))
        self.dropped = len(alive) - len(kept)
        if not kept:
            raise SteeringError(
                f"none of {len(alive)} candidates writes less than the unsteered model on {len(absent)} clips without "
                "speech; give other features, higher --strength values, or clips on which the model writes text"
            )
        return kept

    def _advice(self, survivors: Sequence[Tried], plain: Score) -> str:
        best = survivors[nearest([each.score for each in survivors], self.budget)]
        score, budget = best.score, self.budget
        over = excess(score, budget) > 0
        figures = (
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
            f"on noise. The nearest: {best.candidate.describe(self.evaluator.recipes)}: {figures}. Try {hint}"
        )

    def _first(self, clips: tuple[int, int]) -> tuple[list[int], list[int]]:
        return self._absent[: clips[0]], self._present[: clips[1]]


def _distance(cliffs: Cliffs, strength: float) -> tuple[float, float]:
    return round(cliffs.gated.margin(strength), 6), round(cliffs.ungated.margin(strength), 6)


def _name(candidate: Candidate) -> str:
    return (
        f"{candidate.variant.recipe} {candidate.variant.key} {candidate.strength} {candidate.gate} {candidate.margin}"
    )
