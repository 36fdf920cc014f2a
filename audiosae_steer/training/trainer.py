"""SAELens' trainer, set up for a model's activations, and conversion of its SAE to this project's."""

from __future__ import annotations

import math
import random
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import MissingExtraError, SteeringError
from ..sae.autoencoder import SAE, Gate, Normalisation
from .relu_rms import EPSILON, relu_rms_class
from .settings import TrainSettings

DEAD_AFTER = 200
"""Batches without firing after which SAELens counts a feature as dead, and trains it to fire again."""


def scale_of(sample: Tensor, start: SAE | None = None) -> float:
    """The factor that brings frames' mean norm to √d_model, as SAELens expects; that of `start`, where there is one.

    Raises:
        SteeringError: the sample (frames, d_model) is all zero.
    """
    if start is not None:
        return start.normalisation.scale
    mean = float(sample.norm(dim=-1).mean())
    if not mean > 0:
        raise SteeringError("the activations are all zero; was the audio silent, or the model without weights?")
    return math.sqrt(sample.shape[1]) / mean


def sae_lens() -> Any:
    """SAELens, imported.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import sae_lens as lens
    except ImportError as error:
        raise MissingExtraError("training needs SAELens; run: pip install 'audiosae-steer[train]'") from error
    return lens


def make_trainer(sample: Tensor, settings: TrainSettings, scale: float, start: SAE | None = None) -> Any:
    """SAELens' `SAETrainer` of a new SAE, or of a copy of `start`; its `step` takes batches.

    Args:
        sample: frames (frames, d_model); a new SAE's `b_dec` begins at their mean.
        settings: sizes and schedule.
        scale: the factor that batches are multiplied by.
        start: an SAE of the same sizes to train further, in place of random weights.

    Raises:
        SteeringError: `start` is of other sizes, or of a gate or normalisation that is not trained.
    """
    lens = sae_lens()
    from sae_lens.config import SAETrainerConfig

    d_model = sample.shape[1]
    if start is not None:
        check_start(start, settings, d_model)
    torch.manual_seed(settings.seed)
    random.seed(settings.seed)
    np.random.seed(settings.seed)
    sae = _untrained(lens, d_model, settings)
    if start is None:
        sae.b_dec.data = sample.mean(0) * scale
    else:
        _begin_with(sae, start)
    schedule = SAETrainerConfig(
        total_training_samples=settings.steps * settings.batch,
        train_batch_size_samples=settings.batch,
        lr=settings.lr,
        lr_end=settings.lr / 100,
        lr_scheduler_name="constant",
        lr_warm_up_steps=min(100, settings.steps // 10),
        lr_decay_steps=settings.steps // 3,
        dead_feature_window=DEAD_AFTER,
        logger=lens.LoggingConfig(log_to_wandb=False),
    )
    return lens.SAETrainer(schedule, sae, data_provider=iter(()))


def _untrained(lens: Any, d_model: int, settings: TrainSettings) -> Any:
    common: dict[str, Any] = {
        "d_in": d_model, "d_sae": settings.n_features, "apply_b_dec_to_input": True, "normalize_activations": "none",
    }  # fmt: skip
    if settings.architecture == "relu-rms":
        return relu_rms_class(lens)(lens.StandardTrainingSAEConfig(l1_coefficient=settings.l1, **common))
    if settings.architecture == "topk":
        return lens.TopKTrainingSAE(lens.TopKTrainingSAEConfig(k=settings.kept, **common))
    common["k"] = float(settings.kept)
    if settings.architecture == "matryoshka":
        config = lens.MatryoshkaBatchTopKTrainingSAEConfig(matryoshka_widths=list(settings.nested), **common)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a single width is what was asked for
            return lens.MatryoshkaBatchTopKTrainingSAE(config)
    return lens.BatchTopKTrainingSAE(lens.BatchTopKTrainingSAEConfig(**common))


def _gate(settings: TrainSettings) -> Gate:
    """The gate that a training of these settings ends with."""
    if settings.architecture == "relu-rms":
        return Gate("rms", epsilon=EPSILON)
    return Gate("topk" if settings.architecture == "topk" else "batchtopk", settings.kept)


def check_start(start: SAE, settings: TrainSettings, d_model: int | None = None) -> None:
    """Refuse an SAE that cannot be trained further; a width `d_model` of None is not known yet, and not checked.

    Raises:
        SteeringError: it is of other sizes, or of a gate or normalisation that is not trained.
    """
    width = start.d_model if d_model is None else d_model
    if (start.n_features, start.d_model) != (settings.n_features, width):
        raise SteeringError(
            f"the SAE to start from has {start.n_features} features of width {start.d_model}; expected "
            f"{settings.n_features} of width {width}: give its own size, and the layer that it reads"
        )
    wanted = _gate(settings)
    if start.gate.kind != wanted.kind or start.normalisation.kind == "unit_norm":
        raise SteeringError(
            f"training continues from a {wanted.kind} SAE that scales its input by one number; this one is "
            f"{start.gate.kind} with normalisation {start.normalisation.kind}: start anew"
        )
    if start.gain is not None and (start.gate != wanted or bool((start.gain != 1).any())):
        raise SteeringError(
            f"training continues from an rms SAE with epsilon {EPSILON:g} and gain 1, as `train` makes them; multiply "
            "its rows of W_dec by the gain, or start anew"
        )
    if start.threshold is not None and start.threshold.numel() != 1:
        raise SteeringError(
            "training continues from an SAE with one threshold; this one has one per feature: start anew"
        )


def _begin_with(sae: Any, start: SAE) -> None:
    sae.W_enc.data = start.W_enc.float().T.clone()
    sae.b_enc.data = start.b_enc.float().clone()
    sae.W_dec.data = start.W_dec.float().clone()
    sae.b_dec.data = start.b_dec.float().clone()
    if start.threshold is not None and hasattr(sae, "topk_threshold"):
        sae.topk_threshold = start.threshold.double().clone().reshape(())


def as_sae(sae: Any, settings: TrainSettings, scale: float) -> SAE:
    """This project's SAE of a SAELens one, which encodes x − b_dec, with decoder norms folded into activations."""
    with torch.no_grad():
        rescaled = getattr(sae.cfg, "rescale_acts_by_decoder_norm", False)
        norms = sae.W_dec.norm(dim=-1) if rescaled else torch.ones(settings.n_features)
        gate = _gate(settings)
        return SAE(
            (sae.W_enc * norms).T.clone(),
            sae.b_enc * norms,
            sae.W_dec / norms[:, None],
            sae.b_dec.clone(),
            gate=gate,
            threshold=sae.topk_threshold.float().clamp(min=0) if gate.kind == "batchtopk" else None,
            normalisation=Normalisation("scalar", scale),
            gain=1.0 if gate.kind == "rms" else None,
        )


def versions() -> str:
    """Versions of the libraries that train."""
    from importlib.metadata import version

    return f"sae-lens {version('sae-lens')}, torch {torch.__version__}"
