"""One small model of each family that can be steered, of its real class with random weights: a new family is one line.

DiffRhythm's classes are in no package, nor are WavTokenizer's: `DiT` and `CFM` here and `wavtokenizer` are built like
their own.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from make import make_hf, make_openai
from torch import Tensor, nn
from wavtokenizer import given, wavtokenizer

from audiosae_steer import Site
from audiosae_steer.models.registry import family_of, tap_at

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A model, and how to run it on so many seconds."""

    name: str
    family: str
    make: Callable[[], Any]
    inputs: Callable[[Any, float], Call]
    """What a pass of the model takes, always the same."""
    seconds: float = 3.0
    hidden_states: bool = False
    """Whether it gives its hidden states, of which number n is layer n's."""
    part: str | None = None
    """The module that a pass runs, where it is not the model."""
    loop: Callable[[Any, float], Tensor] | None = None
    """What users call, where it is not a pass."""

    def answer(self, output: Any) -> Tensor:
        """The number that matters of a pass."""
        names = ("logits", "audio_values", "last_hidden_state")
        return next((getattr(output, name) for name in names if hasattr(output, name)), output)

    def traced(self, model: Any) -> Any:
        """The module that a pass runs."""
        return model if self.part is None else model.get_submodule(self.part)

    def run(self, model: Any, seconds: float) -> Tensor:
        """The model's answer."""
        if self.loop is not None:
            return self.loop(model, seconds)
        args, kwargs = self.inputs(model, seconds)
        return self.answer(self.traced(model)(*args, **kwargs))

    def width(self, model: Any, site: Site) -> int:
        """Of the residual there."""
        family = family_of(model)
        return tap_at(model, family, site).size or family.dims(model).d_model

    def sites(self, model: Any) -> list[Site]:
        """Every layer."""
        dims = family_of(model).dims(model)
        return [
            Site(layer, side)
            for side, layers in (("encoder", dims.encoder_layers), ("decoder", dims.decoder_layers))
            for layer in range(1, layers + 1)
        ]


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible, a tenth as loud as it could be."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def typed(model: nn.Module, x: Tensor) -> Tensor:
    """As the model's weights are."""
    return x.to(next(model.parameters()).dtype)


def _frozen(model: nn.Module) -> Any:
    for parameter in model.parameters():  # some classes begin with zeros, through which nothing is felt
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return model.eval().requires_grad_(False)


def speech_encoder(kind: str, **more: Any) -> Callable[[], Any]:
    """HuBERT's kin: `kind` is a class of transformers."""

    def make() -> Any:
        import transformers

        torch.manual_seed(0)
        stem = kind.removesuffix("ForCTC").removesuffix("Model")
        config = getattr(transformers, f"{stem}Config")(
            hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7,
            num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, vocab_size=12, num_feat_extract_layers=7,
            layerdrop=0.0, apply_spec_augment=False, **more,
        )  # fmt: skip
        return _frozen(getattr(transformers, kind)(config))

    return make


def mert() -> Any:
    """HuBERT-shaped, of another type and at another rate, as MERT's remote code is."""
    from transformers import HubertConfig, HubertModel

    class MERTConfig(HubertConfig):
        model_type = "mert_model"

    MERTModel = type("MERTModel", (HubertModel,), {"config_class": MERTConfig})
    made = speech_encoder("HubertModel")().config.to_dict()
    made.pop("model_type", None)
    torch.manual_seed(0)
    return _frozen(MERTModel(MERTConfig(**made, sample_rate=24000)))


def encodec(rate: int, channels: int, **more: Any) -> Callable[[], Any]:
    """Of transformers."""

    def make() -> Any:
        from transformers import EncodecConfig, EncodecModel

        torch.manual_seed(0)
        config = EncodecConfig(
            target_bandwidths=[6.0], sampling_rate=rate, audio_channels=channels, num_filters=4, hidden_size=16,
            codebook_size=64, **more,
        )  # fmt: skip
        model = EncodecModel(config)
        for layer in model.quantizer.layers:
            nn.init.normal_(layer.codebook.embed, std=0.3)
        return _frozen(model)

    return make


def encodec_package() -> Any:
    """Of the package `encodec`, without torchaudio, which it imports for reading files."""
    stands_in = "torchaudio" not in sys.modules
    if stands_in:
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    try:
        model = pytest.importorskip("encodec.model", reason="not installed: pip install --no-deps encodec einops")
        import encodec.modules as parts
        from encodec.quantization import ResidualVectorQuantizer
    finally:
        if stands_in:
            del sys.modules["torchaudio"]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its own: an old way to normalise weights
        sizes = {"channels": 1, "dimension": 16, "n_filters": 4, "causal": True}
        made = model.EncodecModel(
            parts.SEANetEncoder(**sizes), parts.SEANetDecoder(**sizes), ResidualVectorQuantizer(16, 8, 64), [6.0],
            24000, 1,
        )  # fmt: skip
    made.set_target_bandwidth(6.0)
    for layer in made.quantizer.vq.layers:
        layer._codebook.inited.fill_(1.0)
        nn.init.normal_(layer._codebook.embed, std=0.3)
    return _frozen(made)


class DiT(nn.Module):
    """Like DiffRhythm's: Llama's blocks, whose outputs are tuples, and text added after each of the first half."""

    def __init__(self, dim: int = 24, depth: int = 4, mel_dim: int = 8) -> None:
        super().__init__()
        from transformers import LlamaConfig
        from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

        self.dim, self.depth = dim, depth
        config = LlamaConfig(hidden_size=dim, intermediate_size=32, num_attention_heads=2, num_key_value_heads=2)
        config._attn_implementation = "sdpa"
        self.transformer_blocks = nn.ModuleList(_Tuple(LlamaDecoderLayer(config, i)) for i in range(depth))
        self.rotary_emb = LlamaRotaryEmbedding(config=config)
        self.text_embed = nn.Embedding(10, 12)
        self.text_fusion_linears = nn.ModuleList(
            nn.Sequential(nn.Linear(12, dim), nn.SiLU()) for _ in range(depth // 2)
        )
        self.proj_in, self.proj_out = nn.Linear(2 * mel_dim + 1, dim), nn.Linear(dim, mel_dim)

    def forward(
        self, x: Tensor, cond: Tensor, text: Tensor, time: Tensor, drop_audio_cond: bool, drop_text: bool
    ) -> Tensor:
        """The flow at x."""
        cond = torch.zeros_like(cond) if drop_audio_cond else cond
        embedded = self.text_embed(torch.zeros_like(text) if drop_text else text)
        when = time.to(x.dtype).expand(len(x))[:, None, None].expand(*x.shape[:2], 1)
        h = self.proj_in(torch.cat([x, cond, when], dim=-1))
        places = torch.arange(x.shape[1], device=x.device)[None].expand(len(x), -1)
        rotary = self.rotary_emb(h, places)
        for i, block in enumerate(self.transformer_blocks):
            h, *_ = block(h, attention_mask=None, position_embeddings=rotary)
            if i < self.depth // 2:
                h = h + self.text_fusion_linears[i](embedded)
        return self.proj_out(h)


class _Tuple(nn.Module):
    """A block as transformers 4 had it."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, **kwargs: Any) -> tuple[Tensor]:
        out = self.block(x, **kwargs)
        return out if isinstance(out, tuple) else (out,)


class CFM(nn.Module):
    """Like DiffRhythm's: Euler steps from noise, with the transformer run twice a step under guidance."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    @torch.no_grad()
    def sample(self, cond: Tensor, text: Tensor, steps: int = 4, cfg_strength: float = 2.0) -> Tensor:
        """Latents."""
        times = torch.linspace(0, 1, steps)
        x = noise(*cond.shape, seed=3).to(cond.dtype)
        for i in range(steps - 1):
            given = {"x": x, "cond": cond, "text": text, "time": times[i]}
            flow = self.transformer(**given, drop_audio_cond=False, drop_text=False)
            if cfg_strength > 1e-5:
                null = self.transformer(**given, drop_audio_cond=True, drop_text=True)
                flow = flow + (flow - null) * cfg_strength
            x = x + (times[i + 1] - times[i]) * flow
        return x


def diffrhythm() -> Any:
    """A small CFM."""
    torch.manual_seed(0)
    return _frozen(CFM(DiT()))


def ast() -> Any:
    """A classifier of 3 s, in patches of 16 × 16 taken every 10."""
    from transformers import ASTConfig, ASTForAudioClassification

    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, num_mel_bins=36,
        max_length=306, num_labels=5,
    )  # fmt: skip
    return _frozen(ASTForAudioClassification(config))


def _wave(model: Any, seconds: float) -> Call:
    rate = getattr(model.config, "sample_rate", 16000)
    return (typed(model, noise(2, int(seconds * rate))),), {}


def _codec(model: Any, seconds: float) -> Call:
    config = model.config
    wav = typed(model, noise(1, config.audio_channels, int(seconds * config.sampling_rate)))
    return (wav,), {"bandwidth": 6.0}


def _lyrics(model: Any, seconds: float) -> tuple[Tensor, Tensor]:
    frames = int(seconds * 44100 / 2048)
    return typed(model, noise(2, frames, 8)), torch.arange(2 * frames).reshape(2, frames) % 9 + 1


def _step(model: Any, seconds: float) -> Call:
    cond, text = _lyrics(model, seconds)
    given = {"x": cond.flip(0), "cond": cond, "text": text, "time": torch.tensor(0.3)}
    return (), {**given, "drop_audio_cond": False, "drop_text": False}


def _texts(model: Any, seconds: float) -> Call:
    mel = typed(model, noise(2, 80, 3000))
    tokens = torch.tensor([[50257, 50362, 3, 4]]).expand(2, -1)
    if hasattr(model, "proj_out"):
        return (), {"input_features": mel, "decoder_input_ids": tokens}
    return (mel, tokens), {}


def _speech(name: str, family: str, kind: str, **more: Any) -> Case:
    states = not kind.endswith("ForCTC")
    return Case(name, family, speech_encoder(kind, **more), _wave, hidden_states=states)


STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
FAMILIES: tuple[Case, ...] = (
    Case("whisper (openai-whisper)", "whisper", lambda: make_openai(d=24), _texts, 30.0),
    Case("whisper (transformers)", "whisper", lambda: make_hf(d=24), _texts, 30.0),
    _speech("HuBERT", "hubert", "HubertModel"),
    _speech("HuBERT, stable", "hubert", "HubertModel", **STABLE),
    _speech("HuBERT, CTC", "hubert", "HubertForCTC"),
    _speech("wav2vec 2.0", "wav2vec2", "Wav2Vec2Model"),
    _speech("WavLM", "wavlm", "WavLMModel", **STABLE),
    _speech("UniSpeech-SAT", "unispeech-sat", "UniSpeechSatModel"),
    _speech("data2vec-audio", "data2vec-audio", "Data2VecAudioModel", conv_pos_kernel_size=5),
    _speech("wav2vec2-conformer", "hubert-shaped", "Wav2Vec2ConformerModel", position_embeddings_type="rotary"),
    Case("MERT", "mert_model", mert, _wave, hidden_states=True),
    Case("EnCodec 24 kHz", "encodec", encodec(24000, 1), _codec, 1.5),
    Case(
        "EnCodec 48 kHz", "encodec",
        encodec(48000, 2, chunk_length_s=1.0, overlap=0.01, normalize=True, use_causal_conv=False,
                norm_type="time_group_norm"),
        _codec, 2.5,
    ),
    Case("EnCodec (package)", "encodec", encodec_package,
         lambda model, seconds: ((typed(model, noise(1, 1, int(seconds * 24000))),), {}), 1.5),
    Case("WavTokenizer", "wavtokenizer", wavtokenizer,
         lambda model, seconds: ((typed(model, noise(2, int(seconds * 24000))),), given()), 1.5),
    Case("DiffRhythm", "diffrhythm", diffrhythm, _step, part="transformer",
         loop=lambda model, seconds: model.sample(*_lyrics(model, seconds))),
    Case("AST", "ast", ast, lambda model, seconds: ((typed(model, noise(2, 306, 36)),), {})),
)  # fmt: skip


def width(model: Any, site: Site) -> int:
    family = family_of(model)
    return tap_at(model, family, site).size or family.dims(model).d_model
