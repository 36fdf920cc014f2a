"""Ways to steer inside a window of speech and noise, beside the shipped rule on timestamps, and without its parts.

    python benchmarks/mixed_ways.py --model tiny.en --cache CACHE       # 40 windows of the `calibrate` part

Chosen by: these windows are not those that the results are measured on. Beside the rule: a bias on cross-attention, by
the gate's log-probability of speech or constant, on every frame or on those of gaps alone; the recipe's constants on
frames of gaps; what the encoder makes of silence in place of those frames. Without: stretches of speech and of gaps
that are too brief to count, the bound on where the next segment begins, the constants. Needs the real audio beside the
repository. Interrupted, it resumes; several processes may share a cache, each with its own `--ways`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from machine import machine
from mixed import ACCENTED, files, write_results
from torch import Tensor

from audiosae_steer import Recipe, load_recipe, load_whisper, steer
from audiosae_steer.cli.console import progress
from audiosae_steer.evaluate.benchmark.mixed_arms import MixedArm, decoding_as_it_comes
from audiosae_steer.evaluate.benchmark.mixed_run import mixed_table, run_mixed
from audiosae_steer.models.families.timestamps import TimestampMask
from audiosae_steer.steering.gates import TimestampProbe
from audiosae_steer.steering.recipes.schema import FrameGateSpec

RESULTS = Path(__file__).parent / "results"
FLOOR = 0.02
"""Least probability of speech that a bias is made of: it stays above −3.9."""


@dataclass(frozen=True, kw_only=True)
class Way(MixedArm):
    """A recipe, and what is changed while it steers."""

    change: Callable[[Any, Any], Any] | None = None

    @property
    def key(self) -> str:
        """Digest of everything that changes its texts, but for the code of its change."""
        return f"{super().key}-{self.name.replace(' ', '-')}" if self.change else super().key

    @contextmanager
    def on(self, model: Any) -> Iterator[None]:
        """The model under its recipe and its change."""
        with ExitStack() as stack:
            for recipe in self.recipes:
                steering = stack.enter_context(steer(model, recipe))
                if self.change is not None:
                    stack.enter_context(self.change(model, gate_of(steering)))
            yield


def gate_of(steering: Any) -> TimestampProbe:
    """The timestamp gate that a steering runs."""
    (found,) = {
        id(h.timestamp_probe): h.timestamp_probe for h in steering._hooks.values() if h.timestamp_probe
    }.values()
    assert isinstance(found, TimestampProbe)
    return found


@contextmanager
def decided(probe: TimestampProbe, then: Callable[[Tensor, Tensor], None]) -> Iterator[None]:
    """Call `then` with scores and decisions (clips, frames) of each window: True where no speech is heard."""
    forward = probe.forward

    def own(x: Tensor, frames: Tensor | None = None) -> Tensor:
        margin = forward(x, frames)
        then(probe.scores(x), margin > 0)
        return margin

    with patch.object(probe, "forward", own):
        yield


def attention(beta: float, kind: str) -> Callable[[Any, TimestampProbe], Any]:
    """A bias on every head's cross-attention: `logp` on every frame, `gaps` its part in gaps, `constant` there.

    None where every frame is speech, or none.
    """

    @contextmanager
    def change(model: Any, probe: TimestampProbe) -> Iterator[None]:
        bias: list[Tensor] = []

        def keep(scores: Tensor, gap: Tensor) -> None:
            logp = torch.sigmoid(-scores).clamp(min=FLOOR).log()
            found = beta * {"logp": logp, "gaps": logp * gap, "constant": -gap.to(logp)}[kind]
            plain = gap.all(1, keepdim=True) | (~gap).all(1, keepdim=True)
            bias[:] = [torch.where(plain, torch.zeros_like(found), found)]

        with ExitStack() as stack:
            stack.enter_context(decided(probe, keep))
            for block in model.decoder.blocks:
                stack.enter_context(patch.object(block.cross_attn, "qkv_attention", biased(block.cross_attn, bias)))
            yield

    return change


def biased(attention: Any, bias: list[Tensor]) -> Callable[..., tuple[Tensor, None]]:
    """openai-whisper's attention with a bias (1, frames) on its keys."""

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, None]:
        q, k, v = (each.view(*each.shape[:2], attention.n_head, -1).permute(0, 2, 1, 3) for each in (q, k, v))
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[0][:, None, None].to(q))
        return found.permute(0, 2, 1, 3).flatten(2), None

    return attend


@contextmanager
def silenced(model: Any, probe: TimestampProbe) -> Iterator[None]:
    """What the encoder's last block makes of digital silence, in place of its output in gaps."""
    gaps: list[Tensor] = []
    silent: list[Tensor] = []
    last = model.encoder.ln_post  # whose output the decision goes with: its input is changed
    with torch.no_grad():
        handle = last.register_forward_pre_hook(lambda module, args: silent.append(args[0]))
        model.encoder(torch.full((1, model.dims.n_mels, 3000), -1.5))  # log-mel of zeros, as openai-whisper scales it
        handle.remove()

    def replace(module: Any, args: Any) -> Tensor:
        gap = gaps[0] & ~gaps[0].all(1, keepdim=True)
        return torch.where(gap[..., None], silent[0], args[0])

    with decided(probe, lambda scores, gap: gaps.__setitem__(slice(None), [gap])):
        handle = last.register_forward_pre_hook(replace)
        try:
            yield
        finally:
            handle.remove()


@contextmanager
def unbounded(model: Any, probe: TimestampProbe) -> Iterator[None]:
    """Neither a bound on where the next segment begins, nor on where the text may end."""
    with patch.object(TimestampMask, "_go_on", lambda self, scores, forbidden, at: None):
        yield


def changed(recipe: Recipe, **gate: Any) -> Recipe:
    """The recipe with other settings of its timestamp gate."""
    assert recipe.timestamp_gate is not None
    return recipe.model_copy(update={"timestamp_gate": recipe.timestamp_gate.model_copy(update=gate)})


def ways(recipe: Recipe, beams: int) -> list[MixedArm]:
    """All of them, after the unsteered model and its control."""
    spec = recipe.timestamp_gate
    if spec is None:
        raise SystemExit(f"{recipe.name} has no timestamp gate")
    frame = FrameGateSpec.of(spec.build(), spec.layer, spec.sae)
    decoding = decoding_as_it_comes(beams=beams)
    biases = [(0.5, "logp"), (1.0, "logp"), (1.0, "gaps"), (2.0, "constant"), (6.0, "constant")]
    said = {"logp": "{:g} log p(speech)", "gaps": "{:g} log p(speech), in gaps", "constant": "−{:g} in gaps"}

    def way(name: str, steered: Recipe = recipe, change: Any = None) -> Way:
        return Way(name=name, recipes=(steered,), decoding=decoding, change=change)

    return [
        MixedArm(name="unsteered", decoding=decoding),
        MixedArm(name="gaps silent", variant="silent", decoding=decoding),
        MixedArm(name="Silero VAD", vad=True, decoding=decoding),
        way("the rule, as shipped"),
        *(way(f"and on cross-attention {said[kind].format(b)}", change=attention(b, kind)) for b, kind in biases),
        way("and the recipe's constants on frames of gaps", recipe.model_copy(update={"frame_gate": frame})),
        way("and what the encoder makes of silence in gaps", change=silenced),
        way("the rule, speech of any length counts", changed(recipe, least_speech=0.0)),
        way("the rule, gaps of any length count", changed(recipe, least_gap=0.0)),
        way("the rule, both of any length", changed(recipe, least_speech=0.0, least_gap=0.0)),
        way("the rule, next segment anywhere", change=unbounded),
        way("without the rule", recipe.model_copy(update={"timestamp_gate": None})),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--recipe", default="no-false-speech")
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--part", default="calibrate", choices=("find", "calibrate"))
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--ways", help="parts of names, divided by semicolons; default: all. Prints, writes no results")
    parser.add_argument("--cache", type=Path, required=True, help="folder for texts")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    model = load_whisper(given.model, library="openai")
    arms = ways(load_recipe(given.recipe, model), given.beams)
    if given.ways:
        arms = arms[:1] + [arm for arm in arms[1:] if any(part in arm.name for part in given.ways.split(";"))]
    recordings = files(given.part, given.files, accents=ACCENTED)
    with progress() as tell:
        rows = run_mixed(model, recordings, arms, given.cache, tell=tell)
    print(mixed_table(rows))
    if given.ways:
        return
    asked = {"model": given.model, "recipe": given.recipe, "part": given.part, "files": len(recordings)}
    asked |= {"accented": ACCENTED, "beams": given.beams}
    out = RESULTS / f"ways-{given.model}"
    write_results(out, recordings, rows, {"machine": {**machine(), "threads": given.threads}, **asked})


if __name__ == "__main__":
    main()
