"""Trajectories of a flow from noise to audio, and three ways to read them: as they are, as predicted, as a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import SteeringError
from ...io.tensors.digest import sha256_of_tensors

Numbers = NDArray[np.float64]
Reading = Literal["state", "predicted", "line"]
READINGS: tuple[Reading, ...] = get_args(Reading)
KEYS = ("trajectory", "times", "groups", "frames", "velocity")
"""Names of arrays in a file, of which the first is needed."""


@dataclass(frozen=True)
class Trajectory:
    """States of a batch of clips at each step of a flow."""

    states: Tensor
    """(T + 1, batch, frames, d), the first noise and the last the final latents, in float32."""
    times: Numbers
    """(T + 1,) times t of the states, from 0 (noise) to 1 (audio)."""
    groups: tuple[str, ...]
    """Prompt or song of each clip: intervals draw groups."""
    frames: tuple[int, ...]
    """Frames of each clip that count, from its beginning."""
    velocity: Tensor | None = None
    """(T, batch, frames, d) velocities; None: the differences of the states, which are exact for Euler steps."""
    path: bool = True
    """The states are a path that a solver took; residuals of a block at each step are none, and predict nothing."""

    @classmethod
    def of(
        cls,
        states: Any,
        times: Any = None,
        *,
        groups: Sequence[str] | None = None,
        frames: Sequence[int] | None = None,
        velocity: Any = None,
        path: bool = True,
    ) -> Trajectory:
        """A trajectory from arrays, such as the second value that DiffRhythm's `CFM.sample` returns.

        Args:
            states: (T + 1, batch, frames, d), an array or a tensor of any device.
            times: (T + 1,) ascending; None: T + 1 points from 0 to 1 at equal distances, as DiffRhythm has them.
            groups: prompt or song of each clip; None: each clip is one of its own.
            frames: frames of each clip that count, from its beginning; None: all.
            velocity: (T, batch, frames, d), where a solver's steps are not Euler's; None: differences of the states.
            path: False for residuals of a block, which are no path of a solver.

        Raises:
            SteeringError: shapes do not fit, numbers are not finite, or times do not rise from 0 to 1.
        """
        x = torch.as_tensor(states).detach().float().cpu()
        if x.dim() != 4 or x.shape[0] < 2 or not x.numel():
            raise SteeringError(
                f"this trajectory is of shape {tuple(x.shape)}; expected (steps + 1, batch, frames, d), with the noise "
                "first and the final latents last"
            )
        points, batch, length, _ = x.shape
        t = np.linspace(0, 1, points) if times is None else np.asarray(times, float).reshape(-1)
        _check_times(t, points, path)
        names = tuple(map(str, groups)) if groups is not None else tuple(f"clip {i}" for i in range(batch))
        kept = tuple(int(n) for n in frames) if frames is not None else (length,) * batch
        if len(names) != batch or len(kept) != batch or not all(0 < n <= length for n in kept):
            raise SteeringError(
                f"the trajectory has {batch} clips of {length} frames, but {len(names)} groups and {len(kept)} numbers "
                "of frames are given; give one of each for every clip, of 1 to all frames"
            )
        v = None if velocity is None else torch.as_tensor(velocity).detach().float().cpu()
        if v is not None and v.shape != (points - 1, *x.shape[1:]):
            raise SteeringError(f"velocity is of shape {tuple(v.shape)}; expected {(points - 1, *x.shape[1:])}")
        if not all(bool(torch.isfinite(each).all()) for each in (x, v) if each is not None):
            raise SteeringError("the trajectory holds NaN or infinite numbers; mend the sampling that made it")
        return cls(x, t, names, kept, v, path)

    @classmethod
    def read(cls, path: str | Path) -> Trajectory:
        """A trajectory from an `.npz` or `.safetensors` file with an array `trajectory`, as `of` takes it.

        Arrays `times`, `frames`, `velocity` and, in an `.npz`, `groups` are used where they are there.

        Raises:
            SteeringError: the file cannot be read, or is no trajectory.
        """
        found = read_arrays(Path(path))
        if "trajectory" not in found:
            raise SteeringError(
                f"{Path(path).name} holds {', '.join(sorted(found)) or 'nothing'}; expected an array named trajectory, "
                "(steps + 1, batch, frames, d)"
            )
        groups = found.get("groups")
        return cls.of(
            found["trajectory"], found.get("times"), velocity=found.get("velocity"),
            groups=None if groups is None else [str(each) for each in np.asarray(groups).reshape(-1)],
            frames=None if "frames" not in found else [int(each) for each in np.asarray(found["frames"]).reshape(-1)],
        )  # fmt: skip

    @property
    def steps(self) -> int:
        """Number of steps, T."""
        return len(self.times) - 1

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The readings that it allows: residuals of a block predict nothing."""
        return READINGS if self.path else ("state", "line")

    def __len__(self) -> int:
        return int(self.states.shape[1])

    def clip(self, number: int, reading: Reading) -> Tensor:
        """States (T + 1, frames, d) of one clip, read in one of three ways.

        `state` is X_t. `predicted` is x̂₁(t) = X_t + (1 − t)·v_t, the latents that the flow heads for: with Euler's
        v_t = (X_next − X_t) / (t_next − t) this is exact, guidance included. `line` is (1 − t)·X_0 + t·X_T, a path
        that knew its end from the start, and so the null.

        Raises:
            SteeringError: residuals of a block have no prediction.
        """
        x = self.states[:, number, : self.frames[number]].double()
        t = torch.from_numpy(self.times)[:, None, None]
        if reading == "state":
            return x.float()
        if reading == "line":
            share = (t - t[0]) / (t[-1] - t[0])
            return ((1 - share) * x[:1] + share * x[-1:]).float()
        if not self.path:
            raise SteeringError("residuals of a block are no path, and predict nothing; read their state and line")
        v = (x[1:] - x[:-1]) / (t[1:] - t[:-1])
        if self.velocity is not None:
            v = self.velocity[:, number, : self.frames[number]].double()
        return torch.cat([x[:-1] + (1 - t[:-1]) * v, x[-1:]]).float()

    def digest(self) -> str:
        """sha256, in hex, over states, times, groups and frames."""
        words = repr((tuple(self.states.shape), self.times.tolist(), self.groups, self.frames, self.path))
        return sha256_of_tensors([self.states, *([] if self.velocity is None else [self.velocity])], words)


def read_arrays(path: Path) -> dict[str, Any]:
    """Arrays of an `.npz`, or tensors of a `.safetensors` file, by name; nothing in it is executed.

    Raises:
        SteeringError: it is neither, or cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix not in (".npz", ".safetensors"):
        raise SteeringError(f"{path.name} ends in {path.suffix or 'nothing'}; expected .npz or .safetensors")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, SafetensorError, EOFError) as error:
        raise SteeringError(f"{path.name} cannot be read ({error}); write it again") from error


def _check_times(times: Numbers, points: int, path: bool) -> None:
    if len(times) != points or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise SteeringError(f"{len(times)} times are given for {points} states; expected one for each, rising")
    if times[0] < -1e-6 or times[-1] > 1 + 1e-6 or (path and abs(times[-1] - 1) > 1e-6):
        raise SteeringError(
            f"the times go from {times[0]:g} to {times[-1]:g}; expected them from 0 (noise) to 1 (audio), with the "
            "final latents at 1"
        )
