"""Sound that is planted: latents, an SAE that reads them, the ideal map, and a decoder that sums sinusoids."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiosae_steer import SAE
from audiosae_steer.analyse import ControlSettings, Decoder, PropertyMap, Residuals
from audiosae_steer.analyse.frame.provenance import SAEFacts, provenance
from audiosae_steer.analyse.properties_of_frames.mapped_property import MappedProperty
from audiosae_steer.analyse.properties_of_frames.pitch_engines import Pitches
from audiosae_steer.analyse.properties_of_frames.property_bins import Bins
from audiosae_steer.analyse.properties_of_frames.property_records import ClassWeights

NOTES, GAIN, D = 8, 8, 24
RATE, FRAMES_A_SECOND = 16_000, 50.0
SAMPLES = int(RATE / FRAMES_A_SECOND)
STEP = 4
"""Semitones between notes, so that their partials are far apart."""
TARGET = 60 + 5 * STEP


class Loudest:
    """Pitch of the strongest partial: the planted sound has pure tones alone."""

    name = "loudest partial"

    def __call__(self, samples: Any, times: Any) -> Pitches:
        width = 2048
        padded = np.pad(np.asarray(samples, float), width)
        first = np.round(np.asarray(times) * RATE).astype(int) + width // 2
        rows = padded[first[:, None] + np.arange(width)] * np.hanning(width)
        spectrum = np.abs(np.fft.rfft(rows, 4 * width, axis=1))
        return Pitches(spectrum.argmax(1) * RATE / (4 * width), (spectrum.max(1) > 1e-6).astype(float))


QUICK = ControlSettings(engine=Loudest(), draws=50, references=200)


class World:
    """Latents, an SAE that reads them, the ideal map, and the decoder."""

    def __init__(self, seed: int, clips: int = 4, frames: int = 24) -> None:
        rng = np.random.default_rng(seed)
        self.basis = torch.from_numpy(np.linalg.qr(rng.standard_normal((D, D)))[0]).float()
        self.sae = SAE(self.basis, torch.zeros(D), self.basis, torch.zeros(D), gate="relu")
        notes = rng.integers(NOTES, size=clips)
        notes[:2] = [0, 5]  # one that is at the target, and one that is not
        self.notes = notes
        rows = []
        for note in notes:
            f = np.zeros((frames, D))
            f[:, note], f[:, GAIN], f[:, 12:] = 1.0, 0.5, 0.02 * rng.random((frames, D - 12))
            rows.append(torch.from_numpy(f).float() @ self.basis)
        self.residuals = Residuals.of(rows, groups=[f"p{i}" for i in range(clips)], rate=FRAMES_A_SECOND)
        self.decoder = Decoder(self.decode, RATE)
        bins = Bins("pitch", tuple(float(58 + STEP * i) for i in range(NOTES + 1)), -12.0, False, 0.5, False)
        loud = Bins("loudness", tuple(np.linspace(-60, 0, 21).tolist()), -12.0, False, 0.5, False)
        eye, none = np.eye(NOTES), (0.0,) * NOTES
        pitch = ClassWeights(
            tuple(range(NOTES)), tuple(map(tuple, eye.tolist())), none, tuple(float(i) for i in range(NOTES)), 60.0,
            (1.0,) * NOTES, none,
        )  # fmt: skip
        level = ClassWeights((0, 1), (none, none), (0.0, 0.0), none, 0.0, (1.0,) * NOTES, none)
        self.map = PropertyMap(
            provenance=provenance(saes=[SAEFacts.of(self.sae)]), n_features=D, features=tuple(range(NOTES)),
            typical_norm=1.0, frames=(1, 1), groups=(1, 1),
            properties=tuple(
                MappedProperty(bins=b, missing=0, unseen=0, majority=0, persistence=0, map=m, scores=())
                for b, m in ((bins, pitch), (loud, level))
            ),
        )  # fmt: skip

    def decode(self, x: Tensor) -> NDArray[np.float64]:
        f = (x @ self.basis.T).double().numpy()
        amplitude = np.repeat(f, SAMPLES, 0)
        t = np.arange(len(amplitude)) / RATE
        hz = 440 * 2 ** ((STEP * np.arange(NOTES) + 60 - 69) / 12)
        return amplitude[:, GAIN] * (amplitude[:, :NOTES] * np.sin(2 * np.pi * hz * t[:, None])).sum(1)

    def flips(self) -> float:
        """α at which the margin of another note vanishes: w is (e − 1/8)/norm, and the lead −1 + α·(1/norm)."""
        return float(np.sqrt(1 - 1 / NOTES))
