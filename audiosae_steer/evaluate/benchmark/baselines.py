"""Baseline arms: the SAE alone, random features, and the papers' recipes, fitted on clips of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.activations.capture import frames_of
from ...errors import SteeringError
from ...io.files import atomic_file
from ...models.sites import Site
from ...sae.autoencoder import SAE
from ...steering.edits import Add, Push, Scale
from ...steering.gates import Pool, pool
from ...steering.recipes.schema import Recipe
from ...steering.site_edits import SiteEdits
from ..metrics.feature_ranking import top_features, weigh
from .arms import Steered

DRAWS = 20
"""Random choices of features: none of 20 reaching a recipe is p < 0.05 by a permutation test (1 in 21)."""
DETECTED = 0.5
"""The papers count a clip as speech if Whisper's no_speech_prob is below this."""


class Summary(NamedTuple):
    """Pooled features and mean residuals at one layer of clips that are not for testing: the input of the fits."""

    features: dict[str, NDArray[np.float64]]
    """(clips, F) by how they are pooled over the frames that hold sound."""
    means: NDArray[np.float64]
    """(clips, d_model), mean residuals over the same frames."""
    no_speech_prob: NDArray[np.float64]
    """(clips,), of the unsteered model."""
    present: NDArray[np.bool_]
    """(clips,), true with speech."""


def summarise(
    rows: Sequence[Callable[[], Tensor]],
    samples: Sequence[int],
    no_speech_prob: Sequence[float],
    present: Sequence[bool],
    sae: SAE,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Pool residuals.

    Args:
        rows: functions that give the residuals (frames, d_model) of one clip each.
        samples: number of samples of each clip.
        no_speech_prob: the unsteered model's for each.
        present: true for clips with speech.
        sae: the SAE of that layer.
        progress: called with how many are done, and how many there are.
    """
    kinds: tuple[Pool, ...] = get_args(Pool)
    pooled: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in kinds}
    means = []
    for number, (load, count) in enumerate(zip(rows, samples, strict=True)):
        x = load().float()
        x = x[: frames_of(count, len(x))]
        with torch.no_grad():
            f = sae.encode(x)[None]
        for kind in kinds:
            pooled[kind].append(pool(f, kind)[0].double().numpy())
        means.append(x.double().mean(0).numpy())
        if progress is not None:
            progress(number + 1, len(rows))
    features = {kind: np.stack(values) for kind, values in pooled.items()}
    return Summary(features, np.stack(means), np.array(no_speech_prob), np.array(present))


def fitted_arms(found: Summary, sae: SAE, layer: int) -> tuple[list[Steered], dict[str, str]]:
    """The papers' recipes, fitted: difference of means, AudioSAE's, and the typical-scaled shift.

    Also says which could not be made, and why, by curve.

    AudioSAE (arXiv 2602.05027): a logistic regression on features of non-speech clips, taken for speech or not; of the
    100 largest |β|, s = −sign(β); x' = x̂(f + α·s), the error dropped. How features are pooled is not said: both ways.
    The shift (Interspeech 2026): a regression of speech against non-speech on non-zero means; k = 25, each feature by
    α = 3 of its typical activation against its sign, the error kept.
    """
    push = found.means[~found.present].mean(0) - found.means[found.present].mean(0)
    arms = mean_difference(torch.from_numpy(push), layer)
    without: dict[str, str] = {}
    detected = found.no_speech_prob[~found.present] < DETECTED
    for kind in ("max", "mean"):
        if min(detected.sum(), (~detected).sum()) < 2:
            what = f"{int(detected.sum())} of {len(detected)} non-speech clips have a no_speech_prob below {DETECTED}"
            without[f"audiosae-{kind}"] = f"{what}: the regression needs two of each kind"
            continue
        beta = weigh(found.features[kind][~found.present], detected, "l2").values
        chosen = top_features(beta, 100)
        signs = (-np.sign(beta[chosen])).tolist()
        arms += shifts(f"audiosae-{kind}", sae, layer, chosen.tolist(), signs, (1.0, 3.0), marked=1.0, error="drop")
    features = found.features["nonzero_mean"]
    beta = weigh(features, found.present, "l2").values
    chosen = top_features(beta, 25)
    typical = _typical(sae, features)
    amounts = (-np.sign(beta[chosen]) * typical[chosen]).tolist()
    arms += shifts("typical-shift", sae, layer, chosen.tolist(), amounts, (1.0, 3.0), marked=3.0)
    return arms, without


def save_summary(found: Summary, path: Path) -> None:
    """Write a summary atomically."""
    from safetensors.numpy import save_file

    tensors: dict[str, NDArray[Any]] = {f"features.{kind}": values for kind, values in found.features.items()}
    tensors |= {"means": found.means, "no_speech_prob": found.no_speech_prob, "present": found.present}
    with atomic_file(path) as part:
        save_file(tensors, part)


def load_summary(path: Path) -> Summary:
    """Read a summary that `save_summary` wrote."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    features = {name[9:]: tensors[name] for name in tensors if name.startswith("features.")}
    return Summary(features, tensors["means"], tensors["no_speech_prob"], tensors["present"])


def reconstruction(sae: SAE, layer: int) -> Steered:
    """The SAE's reconstruction in place of the residual, with nothing edited."""
    return Steered("reconstruction", "reconstruction", sites=(_site(layer, sae, [Scale(0, 1.0)], "drop"),))


def random_arms(recipe: Recipe, *, draws: int = DRAWS, seed: int = 0) -> list[Steered]:
    """Arms of as many random features as the recipe adds to: its amounts in another order, random signs, its norm.

    Vectors that it pushes by at further sites become random directions of the same norm.

    Raises:
        SteeringError: the recipe does not begin with `Add` edits at an encoder layer, or edits features elsewhere too.
    """
    spec, *others = recipe.sites
    edits = spec.build()
    pushes = [[edit for edit in other.build() if isinstance(edit, Push)] for other in others]
    if (
        spec.side != "encoder"
        or not all(isinstance(edit, Add) for edit in edits)
        or any(len(own) < len(other.edits) for own, other in zip(pushes, others, strict=True))
    ):
        raise SteeringError(
            "random features are drawn for a recipe that adds to features at one encoder layer, and to none elsewhere"
        )
    sae = recipe.load_saes()[str(spec.sae)]
    amounts: dict[int, float] = {}
    for edit in edits:
        if isinstance(edit, Add):
            typical = None if sae.typical is None else sae.typical[list(edit.features)]
            for i, amount in zip(edit.features, edit.affine(typical).b.tolist(), strict=True):
                amounts[i] = amounts.get(i, 0.0) + amount
    wanted = _vector(sae, amounts).norm()
    fires = np.arange(sae.n_features) if sae.typical is None else np.flatnonzero(sae.typical.cpu().numpy() > 0)
    rng = np.random.default_rng(seed)
    sizes = np.abs(list(amounts.values()))
    arms = []
    for number in range(1, draws + 1):
        features = rng.choice(fires, len(sizes), replace=False)
        drawn = dict(zip(features.tolist(), rng.permutation(sizes) * rng.choice((-1.0, 1.0), len(sizes)), strict=True))
        factor = float(wanted / _vector(sae, drawn).norm())
        edit = Add(list(drawn), [float(amount) * factor for amount in drawn.values()])
        further = tuple(
            SiteEdits(Site(other.layer, other.side), None, [_turned(push, rng) for push in own], steps=other.steps)
            for other, own in zip(others, pushes, strict=True)
        )
        arms.append(
            Steered(
                f"random-{number}",
                "random",
                f"{number}",
                sites=(_site(spec.layer, sae, [edit]), *further),
                strength=recipe.strength,
                marked=False,
                sampled=True,
            )
        )
    return arms


def _turned(push: Push, rng: np.random.Generator) -> Push:
    """A push of the same norm in a random direction."""
    direction = torch.from_numpy(rng.standard_normal(len(push.vector)))
    return Push(direction * (push.vector.norm() / direction.norm()), push.amount)


def mean_difference(vector: Tensor, layer: int, alphas: Sequence[float] = (0.5, 1.0, 2.0)) -> list[Steered]:
    """A push along mean(noise) − mean(speech), both (d_model,), without the SAE."""
    return [
        Steered(
            f"mean-difference-{a:g}",
            "mean-difference",
            f"α = {a:g}",
            sites=(_site(layer, None, [Push(vector, a)]),),
            marked=a == 1.0,
        )
        for a in alphas
    ]


def shifts(
    curve: str,
    sae: SAE,
    layer: int,
    features: Sequence[int],
    amounts: Sequence[float],
    alphas: Sequence[float],
    *,
    marked: float,
    error: Literal["keep", "drop"] = "keep",
) -> list[Steered]:
    """Amounts added to features, times each α, one of which is marked."""
    return [
        Steered(
            f"{curve}-{a:g}",
            curve,
            f"α = {a:g}",
            sites=(_site(layer, sae, [Add(list(features), [a * amount for amount in amounts])], error),),
            marked=a == marked,
        )
        for a in alphas
    ]


def _typical(sae: SAE, nonzero: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each feature's mean activation where it fires: the SAE's own, or that of these clips."""
    if sae.typical is not None:
        own: NDArray[np.float64] = sae.typical.double().cpu().numpy()
        return own
    fires = (nonzero > 0).sum(0)
    found: NDArray[np.float64] = nonzero.sum(0) / np.maximum(fires, 1)
    return found


def _vector(sae: SAE, amounts: Mapping[int, float]) -> Tensor:
    """The vector (d_model,) that those amounts add to the residual."""
    rows = sae.rows(list(amounts), torch.float64)
    return torch.tensor(list(amounts.values()), dtype=torch.float64) @ rows.W_dec.cpu()


def _site(layer: int, sae: SAE | None, edits: list[Any], error: Literal["keep", "drop"] = "keep") -> SiteEdits:
    return SiteEdits(Site(layer), sae, edits, error)
