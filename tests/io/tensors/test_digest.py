"""Digests of tensors and SAEs: values that caches and files hold, so that they may not change."""

from __future__ import annotations

import hashlib

import torch

from audiosae_steer.io.tensors.digest import sha256_of_tensors
from audiosae_steer.sae.autoencoder import SAE, Gate


def test_numbers_one_after_the_other() -> None:
    a, b = torch.arange(6.0).reshape(2, 3), torch.tensor(0.5)
    expected = hashlib.sha256(b"x" + a.numpy().tobytes() + b.numpy().tobytes()).hexdigest()
    assert sha256_of_tensors((a, None, b), "x") == expected
    assert sha256_of_tensors((a.T.contiguous().T, b.bfloat16()), "x") == expected
    assert sha256_of_tensors((), "x") == hashlib.sha256(b"x").hexdigest()


def test_bytes_as_they_are_stored() -> None:
    halves = torch.arange(6.0).to(torch.bfloat16)
    stored = halves.view(torch.uint8).numpy().tobytes()
    assert sha256_of_tensors((halves,), dtype=None) == hashlib.sha256(stored).hexdigest()


def test_an_saes_digest_is_that_of_its_gate_and_tensors() -> None:
    sae = SAE(torch.eye(3, 2), torch.ones(3), torch.eye(3, 2), torch.zeros(2), gate=Gate("relu"))
    digest = hashlib.sha256(b"Gate(kind='relu', k=None) Normalisation(kind='none', scale=1.0)")
    for tensor in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec):
        digest.update(tensor.numpy().tobytes())
    assert sae.digest() == digest.hexdigest()
    assert sae.altered(W_dec=sae.W_dec.half()).digest() == sae.digest()
    assert sae.altered(threshold=torch.tensor(0.5), gate=Gate("jumprelu")).digest() != sae.digest()
