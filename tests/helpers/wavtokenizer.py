"""A small WavTokenizer with random weights: the same structure, names and calls as jishengpeng/WavTokenizer @ 5cf440d.

Its repository is no package. What is smaller than there: widths, the number of blocks, one residual unit and no LSTM in
the encoder, one ResNet block and no attention before the backbone's blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

Given = dict[str, Any]


class SEANetEncoder(nn.Module):
    """Strided convolutions: one frame for as many samples as the product of the ratios, the last frame filled up."""

    def __init__(self, ratios: Sequence[int], dimension: int = 16, n_filters: int = 4) -> None:
        super().__init__()
        self.dimension, self.ratios = dimension, list(reversed(ratios))
        layers: list[nn.Module] = [weight_norm(nn.Conv1d(1, n_filters, 7, padding=3))]
        for ratio in self.ratios:
            layers += [nn.ELU(), weight_norm(nn.Conv1d(n_filters, n_filters, ratio, stride=ratio))]
        layers += [nn.ELU(), weight_norm(nn.Conv1d(n_filters, dimension, 7, padding=3))]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(functional.pad(x, (0, -x.shape[-1] % math.prod(self.ratios))))


class EuclideanCodebook(nn.Module):
    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.register_buffer("embed", 0.3 * torch.randn(size, dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        codes = torch.cdist(x.float(), self.embed.float()).argmin(-1)
        return functional.embedding(codes, self.embed), codes


class VectorQuantization(nn.Module):
    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self._codebook = EuclideanCodebook(dim, size)

    @property
    def codebook(self) -> Tensor:
        return self._codebook.embed

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        quantized, codes = self._codebook(x.transpose(1, 2))
        return quantized.transpose(1, 2), codes


class LanguageVectorQuantization(nn.Module):
    def __init__(self, dim: int, size: int, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VectorQuantization(dim, size) for _ in range(count))

    def forward(self, x: Tensor, n_q: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        quantized, codes = self.layers[0](x)
        return quantized, codes[None], torch.zeros(1, 1, device=x.device)


class Quantized(NamedTuple):
    quantized: Tensor
    codes: Tensor
    penalty: Tensor


class ResidualVectorQuantizer(nn.Module):
    """As there, `infer` is a method, so that a hook of the module does not see it."""

    def __init__(self, dimension: int, bins: int) -> None:
        super().__init__()
        self.n_q, self.bins = 1, bins
        self.vq = LanguageVectorQuantization(dimension, bins, self.n_q)

    def forward(self, x: Tensor, frame_rate: int, bandwidth: float | None = None) -> Quantized:
        return self.infer(x, frame_rate, bandwidth)

    def infer(self, x: Tensor, frame_rate: int, bandwidth: float | None = None) -> Quantized:
        quantized, codes, loss = self.vq(x, n_q=1)
        return Quantized(quantized, codes, loss.mean())


class EncodecModel(nn.Module):
    """With a decoder that is never called."""

    def __init__(self, encoder: SEANetEncoder, quantizer: ResidualVectorQuantizer) -> None:
        super().__init__()
        self.encoder, self.quantizer = encoder, quantizer
        self.decoder = nn.Conv1d(encoder.dimension, 1, 7, padding=3)
        self.sample_rate, self.channels, self.target_bandwidths = 24000, 1, [6.6] * 4
        self.frame_rate = math.ceil(self.sample_rate / math.prod(encoder.ratios))


class EncodecFeatures(nn.Module):
    def __init__(self, dowmsamples: Sequence[int], dimension: int = 16, vq_bins: int = 64) -> None:
        super().__init__()
        self.frame_rate, self.bandwidths = 25, [6.6] * 4
        self.encodec = EncodecModel(SEANetEncoder(dowmsamples, dimension), ResidualVectorQuantizer(dimension, vq_bins))

    def forward(self, audio: Tensor, bandwidth_id: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        emb = self.encodec.encoder(audio.unsqueeze(1))
        return tuple(self.encodec.quantizer(emb, self.frame_rate, bandwidth=self.bandwidths[bandwidth_id]))

    def infer(self, audio: Tensor, bandwidth_id: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        emb = self.encodec.encoder(audio.unsqueeze(1))
        return tuple(self.encodec.quantizer.infer(emb, self.frame_rate, bandwidth=self.bandwidths[bandwidth_id]))


class AdaLayerNorm(nn.Module):
    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.scale, self.shift = nn.Embedding(count, dim), nn.Embedding(count, dim)
        nn.init.ones_(self.scale.weight)

    def forward(self, x: Tensor, cond_embedding_id: Tensor) -> Tensor:
        x = functional.layer_norm(x, (self.dim,), eps=1e-6)
        return x * self.scale(cond_embedding_id) + self.shift(cond_embedding_id)


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim: int, intermediate_dim: int, scale: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = AdaLayerNorm(4, dim)
        self.pwconv1, self.pwconv2 = nn.Linear(dim, intermediate_dim), nn.Linear(intermediate_dim, dim)
        self.act, self.gamma = nn.GELU(), nn.Parameter(scale * torch.ones(dim))

    def forward(self, x: Tensor, cond_embedding_id: Tensor | None = None) -> Tensor:
        h = self.norm(self.dwconv(x).transpose(1, 2), cond_embedding_id)
        h = self.gamma * self.pwconv2(self.act(self.pwconv1(h)))
        return x + h.transpose(1, 2)


class ResnetBlock(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(4, dim, eps=1e-6), nn.GroupNorm(4, dim, eps=1e-6)
        self.conv1, self.conv2 = nn.Conv1d(dim, dim, 3, padding=1), nn.Conv1d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        return x + self.conv2(functional.silu(self.norm2(h)))


class VocosBackbone(nn.Module):
    def __init__(self, input_channels: int, dim: int, intermediate_dim: int, num_layers: int) -> None:
        super().__init__()
        self.input_channels = input_channels
        self.embed = nn.Conv1d(input_channels, dim, 7, padding=3)
        self.norm = AdaLayerNorm(4, dim)
        self.convnext = nn.ModuleList(ConvNeXtBlock(dim, intermediate_dim, 1 / num_layers) for _ in range(num_layers))
        self.final_layer_norm = nn.LayerNorm(dim, eps=1e-6)
        self.pos_net = nn.Sequential(ResnetBlock(dim), nn.GroupNorm(4, dim, eps=1e-6))

    def forward(self, x: Tensor, bandwidth_id: Tensor | None = None) -> Tensor:
        x = self.pos_net(self.embed(x))
        x = self.norm(x.transpose(1, 2), cond_embedding_id=bandwidth_id).transpose(1, 2)
        for conv_block in self.convnext:
            x = conv_block(x, cond_embedding_id=bandwidth_id)
        return self.final_layer_norm(x.transpose(1, 2))


class ISTFTHead(nn.Module):
    """Overlap and add with its own padding, so that frames × hop samples come out."""

    def __init__(self, dim: int, n_fft: int, hop_length: int) -> None:
        super().__init__()
        self.out = nn.Linear(dim, n_fft + 2)
        self.n_fft, self.hop_length = n_fft, hop_length
        self.register_buffer("window", torch.hann_window(n_fft))

    def forward(self, x: Tensor) -> Tensor:
        mag, phase = self.out(x).transpose(1, 2).chunk(2, dim=1)
        mag = torch.clip(torch.exp(mag), max=1e2)
        spectrum = mag * (torch.cos(phase) + 1j * torch.sin(phase))
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1) * self.window[None, :, None]
        count, pad = x.shape[1], (self.n_fft - self.hop_length) // 2
        shape = {
            "output_size": (1, (count - 1) * self.hop_length + self.n_fft),
            "kernel_size": (1, self.n_fft),
            "stride": (1, self.hop_length),
        }
        envelope = functional.fold(self.window.square().expand(1, count, -1).transpose(1, 2), **shape)
        return (functional.fold(frames, **shape)[:, 0, 0] / envelope[:, 0, 0].clamp(min=1e-11))[:, pad:-pad]


class WavTokenizer(nn.Module):
    """Everything that users call is in inference mode, as there."""

    def __init__(self, feature_extractor: EncodecFeatures, backbone: VocosBackbone, head: ISTFTHead) -> None:
        super().__init__()
        self.feature_extractor, self.backbone, self.head = feature_extractor, backbone, head

    @torch.inference_mode()
    def forward(self, audio_input: Tensor, **kwargs: Any) -> Tensor:
        features, _, _ = self.feature_extractor(audio_input, **kwargs)
        return self.decode(features, **kwargs)

    @torch.inference_mode()
    def encode(self, audio_input: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor]:
        features, discrete_codes, _ = self.feature_extractor(audio_input, **kwargs)
        return features, discrete_codes

    @torch.inference_mode()
    def encode_infer(self, audio_input: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor]:
        features, discrete_codes, _ = self.feature_extractor.infer(audio_input, **kwargs)
        return features, discrete_codes

    @torch.inference_mode()
    def decode(self, features_input: Tensor, **kwargs: Any) -> Tensor:
        return self.head(self.backbone(features_input, **kwargs))

    @torch.inference_mode()
    def codes_to_features(self, codes: Tensor) -> Tensor:
        tables = torch.cat([vq.codebook for vq in self.feature_extractor.encodec.quantizer.vq.layers])
        return functional.embedding(codes, tables).sum(dim=0).transpose(1, 2)


def wavtokenizer(ratios: Sequence[int] = (8, 5, 4, 2)) -> WavTokenizer:
    """Random weights: 75 frames a second by default, 40 with 6, 5, 5, 4."""
    torch.manual_seed(0)
    hop = math.prod(ratios)
    model = WavTokenizer(EncodecFeatures(ratios), VocosBackbone(16, 24, 32, 3), ISTFTHead(24, 4 * hop, hop))
    encodec = model.feature_extractor.encodec
    with torch.no_grad():  # entries are the encoder's own frames of noise, so that different sounds get different codes
        frames = encodec.encoder(0.1 * torch.randn(1, 1, 64 * hop))[0].T
        encodec.quantizer.vq.layers[0].codebook.copy_(frames)
    return model.eval().requires_grad_(False)


def given() -> Given:
    """The argument that each of its calls needs."""
    return {"bandwidth_id": torch.tensor([0])}
