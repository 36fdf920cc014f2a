"""Steering of audio through a neural codec, and of latents before their decoder."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import AudioError, EditError, SiteError, SteeringError
from ..models.families.codec import Codec
from ..models.registry import family_of, unwrap
from ..models.sites import Site
from ..models.storage import held
from ..sae.autoencoder import SAE
from .cautions import caution_values
from .edits import Edit
from .numbers import number
from .plan import ErrorMode, Plan
from .steering import steer

LATENTS_PER_SECOND = 44100 / 2048
"""Of DiffRhythm's VAE: one latent for 2,048 samples at 44.1 kHz."""


def edit_audio(
    model: Any,
    wav: Tensor | NDArray[np.float32],
    edits: Sequence[Edit],
    *,
    sae: SAE | None = None,
    side: Literal["encoder", "decoder"] = "encoder",
    error: ErrorMode = "keep",
    strength: float = 1.0,
    bandwidth: float | None = None,
) -> Tensor:
    """Audio (same shape, same rate) through a codec, with features of its latents edited.

    Args:
        model: an EnCodec of transformers or of the package `encodec`, or a WavTokenizer.
        wav: (samples,), (channels, samples) or (batch, channels, samples) at the model's rate.
        edits: what to change, in order; windows are in seconds of `wav`.
        sae: the SAE whose features `edits` name.
        side: `encoder` edits the latents before the quantizer, `decoder` those of the codes, before the decoder.
        error: as for `steer`.
        strength: as for `steer`; 0 gives the codec's own output.
        bandwidth: of EnCodec, in kbit/s; None: the model's lowest, or as the package's model was set.

    Returns:
        Audio of the shape and dtype of `wav`, at its rate.

    Raises:
        AudioError: `wav` is not audio, has another number of channels than the model, or a bandwidth that it lacks.
        SiteError: the model is not a codec.
    """
    inner: Any = unwrap(model)
    family = family_of(inner)
    if not isinstance(family, Codec):
        raise SiteError(
            "edit_audio() takes a codec, EnCodec or WavTokenizer, which makes sound of sound; not a "
            f"{type(inner).__name__}"
        )
    sound = _sound(wav, family.sample_rate(inner))
    if not sound.is_floating_point() or not 1 <= sound.dim() <= 3 or not sound.numel():
        raise AudioError(
            f"wav is of shape {tuple(sound.shape)} and {sound.dtype}; expected floating-point samples, (samples,), "
            "(channels, samples) or (batch, channels, samples), and one of them at least"
        )
    if not torch.isfinite(sound).all():
        raise AudioError("wav holds NaN or infinite samples; mend the file or the processing before")
    batch = sound.reshape(*[1] * (3 - sound.dim()), *sound.shape)
    channels, known = family.channels(inner), family.bandwidths(inner)
    if batch.shape[1] != channels:
        raise AudioError(f"wav has {batch.shape[1]} channels, and this model takes {channels}")
    if bandwidth is not None and bandwidth not in known:
        has = f"has {', '.join(f'{each:g}' for each in known)} kbit/s" if known else "has one codebook: leave it out"
        raise AudioError(f"bandwidth is {bandwidth!r}; this model {has}")
    weight = held(inner)
    given = batch.to(weight.device, weight.dtype)
    with torch.no_grad(), steer(inner, sae=sae, site=Site(1, side), edits=edits, error=error, strength=strength):
        out = family.round_trip(inner, given, bandwidth)
    made: Tensor = out[..., : sound.shape[-1]].to(sound.device, sound.dtype).reshape(sound.shape)
    return made.clone() if made.is_inference() else made  # else nothing could be written to it


def _sound(wav: Any, rate: int) -> Tensor:
    """AudioError if it is no array: a path, of which only its reader knows which samples to take."""
    if isinstance(wav, (str, PathLike)):
        raise AudioError(
            f"wav is a path, {str(wav)!r}; expected its samples at the model's rate: "
            f"edit_audio(model, load_audio(path, sample_rate={rate}), ...), where channels are averaged"
        )
    try:
        return torch.as_tensor(wav)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AudioError(f"wav is a {type(wav).__name__}; expected samples in a tensor or an array") from error


def steer_latents(
    latents: Tensor,
    sae: SAE | None,
    edits: Sequence[Edit],
    *,
    layout: Literal["bfd", "bdf"] = "bdf",
    frame_rate: float = LATENTS_PER_SECOND,
    error: ErrorMode = "keep",
    strength: float = 1.0,
) -> Tensor:
    """Latents with features edited, between DiffRhythm's `sample()` and its VAE's `decode_export()`.

    The VAE is TorchScript, in which no hook can be put; its latents pass by here.

    Args:
        latents: (batch, d, frames), as the VAE takes them; with layout "bfd" (batch, frames, d), as `sample()` gives
            them.
        sae: of the latents; None where all edits are pushes.
        edits: what to change, in order; windows are in seconds.
        layout: order of the axes.
        frame_rate: latents per second.
        error: as for `steer`.
        strength: as for `steer`.

    Returns:
        Latents of the same shape and dtype.

    Raises:
        SiteError: the latents are not of that layout, or not of the SAE's width.
        EditError: an edit does not fit the SAE.
    """
    if layout not in ("bfd", "bdf"):
        raise SiteError(f'layout is {layout!r}; expected "bdf" (batch, d, frames) or "bfd" (batch, frames, d)')
    if not isinstance(latents, Tensor) or latents.dim() != 3:
        shape = tuple(latents.shape) if isinstance(latents, Tensor) else type(latents).__name__
        raise SiteError(f"latents are {shape}; expected three axes: batch, and d and frames as layout says")
    if not isinstance(edits, Sequence) or isinstance(edits, str):
        raise EditError(f"edits must be a list, not {type(edits).__name__}")
    if sae is not None and not isinstance(sae, SAE):
        raise SteeringError(f"sae is a {type(sae).__name__}, not an SAE; load_sae(...) makes one of a file or a folder")
    if not number(frame_rate, "frame_rate", "it is in latents per second") > 0:
        raise SteeringError(f"frame_rate is {frame_rate}; expected latents per second, more than 0")
    x = latents.transpose(1, 2) if layout == "bdf" else latents
    if sae is not None and sae.d_model != x.shape[-1]:
        raise SiteError(
            f"the SAE reads latents of width {sae.d_model}, and these are {x.shape[-1]} wide in layout {layout!r}: "
            "take another SAE, or the other layout"
        )
    dtype = torch.promote_types(latents.dtype, torch.float32)
    plan = Plan([list(edits)], sae, x.shape[-1], error=error, frame_rate=frame_rate, dtype=dtype).to(x.device)
    amount = number(strength, "strength", "0 changes nothing")
    caution_values(edits, "these latents", stacklevel=3)
    steered: Tensor = plan(x, torch.tensor(amount, dtype=dtype, device=x.device))
    return steered.transpose(1, 2) if layout == "bdf" else steered
