"""The CTranslate2 reader: float32, float16 and int8, and files that lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ctranslate2_files import quantised, variables_of, written
from hypothesis import given
from hypothesis import strategies as st
from make import make_hf, make_openai

from audiosae_steer import ModelError, load_whisper
from audiosae_steer.models.whisper import read_ctranslate2, write_ctranslate2
from audiosae_steer.models.whisper.tokenizer import processor_for


@pytest.fixture(scope="module")
def small() -> Any:
    return make_openai(d=64, layers=2)


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
@pytest.mark.parametrize("library", ["openai", "transformers"])
def test_every_precision_in_both_libraries(small: Any, tmp_path: Path, kind: str, library: Any) -> None:
    variables = variables_of(small)
    if kind == "float16":
        variables = {n: t.half() if t.is_floating_point() else t for n, t in variables.items()}
    elif kind == "int8":
        variables = quantised(variables)
    (tmp_path / "model.bin").write_bytes(written(variables))
    (tmp_path / "config.json").write_text(json.dumps({"alignment_heads": [[1, 0]]}))
    model = load_whisper(tmp_path, library=library)
    mel, tokens = torch.randn(1, 80, 3000), torch.tensor([[50257, 50362, 11]])
    with torch.no_grad():
        got = model(mel, tokens) if library == "openai" else model(mel, decoder_input_ids=tokens).logits
        wanted = small(mel, tokens)
    # sums in another order; weights rounded to 11 bits; or to 8, by up to 1/254 of a row's largest, through 4 blocks:
    # to half of the logits' spread, as a scale or a row in a wrong place would change them by all of it
    tolerance = {"float32": 1e-5, "float16": 2e-2, "int8": 0.5}[kind]
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance * float(wanted.std()))
    if kind == "float32" and library == "openai":
        assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in small.state_dict().items())
        assert model.alignment_heads.to_dense().nonzero().tolist() == [[1, 0]]


@pytest.mark.parametrize("quantisation", ["float32", "int8"])
def test_what_the_writer_shares_is_read(tmp_path: Path, quantisation: str) -> None:
    """Of equal tensors CTranslate2 writes one: a new model's norms, biases and the scales of maps that are zero."""
    model = make_hf(d=64, layers=2)
    for layer in model.model.encoder.layers:
        layer.fc2.weight.data.zero_()
    write_ctranslate2.write(model, tmp_path, quantisation, processor=processor_for(51864, 80))
    found, wanted = load_whisper(tmp_path, "transformers").state_dict(), model.state_dict()
    for name, tensor in wanted.items():
        # int8 rows have a scale of 127 to the largest of them, so that half a step is 1/254 of that; the rest is stored
        step = (
            tensor.abs().flatten(1).amax(1) / 254
            if quantisation == "int8" and tensor.dim() > 1
            else tensor.new_zeros(1)
        )
        error = (
            (found[name] - tensor).abs().flatten(1).amax(1) if tensor.dim() > 1 else (found[name] - tensor).abs().max()
        )
        assert (error <= step * (1 + 1e-3)).all(), name  # the scale, and its product with the row, are rounded too


def test_int8_of_the_released_weights_transcribes_the_same(tiny_en: Any, tmp_path: Path) -> None:
    from audiosae_steer import load_audio
    from audiosae_steer.evaluate.transcription.transcribe import transcribe
    from audiosae_steer.steering.recipes.load import checkpoints_dir

    (tmp_path / "model.bin").write_bytes(written(quantised(variables_of(tiny_en))))
    clip = load_audio(checkpoints_dir() / "clips" / "speech-02.flac")
    assert transcribe(load_whisper(tmp_path), clip).text == transcribe(tiny_en, clip).text


@pytest.fixture(scope="module")
def file(small: Any) -> bytes:
    return written(variables_of(small))


@given(share=st.floats(0, 0.999))
def test_a_truncated_file_says_so(file: bytes, share: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cut") / "model.bin"
    path.write_bytes(file[: int(len(file) * share)])
    with pytest.raises(ModelError, match=r"fetch it again|no CTranslate2|expected a CTranslate2"):
        read_ctranslate2.read(path)


@given(at=st.integers(0, 400), value=st.integers(0, 255))
def test_a_forged_header_gives_our_error_or_a_model(
    file: bytes, at: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("forged") / "model.bin"
    path.write_bytes(file[:at] + bytes([value]) + file[at + 1 :])
    try:
        read_ctranslate2.read(path)
    except ModelError as error:
        assert str(path) in str(error)  # noqa: PT017 - it need not raise


def test_what_is_no_whisper_is_refused(small: Any, tmp_path: Path) -> None:
    variables = variables_of(small)
    cases = {
        "expected a CTranslate2 Whisper": written(variables, spec="TransformerSpec"),
        "no Whisper has: strange": written({**variables, "strange": torch.zeros(2)}),
        "continues for 3 bytes": written(variables) + b"abc",
        "has no scale": written({**variables, "encoder/conv1/bias": torch.zeros(64, dtype=torch.int8)}),
    }
    for says, data in cases.items():
        (tmp_path / "model.bin").write_bytes(data)
        with pytest.raises(ModelError, match=says):
            load_whisper(tmp_path)
    bias, weight = "encoder/conv2/bias", "decoder/embeddings/weight"
    for says, aliases in {
        f"'{bias}' is 'nowhere'": [(bias, "nowhere")],
        f"'{bias}' is 'encoder/conv1/bias'": [(bias, "encoder/conv1/bias")],
        "names more weights than it holds": [(f"encoder/layer_{i}/ffn/linear_0/weight", weight) for i in range(2, 99)],
    }.items():
        (tmp_path / "model.bin").write_bytes(written(variables, aliases=aliases))
        with pytest.raises(ModelError, match=says):
            load_whisper(tmp_path)
    del variables["encoder/conv2/bias"]
    (tmp_path / "model.bin").write_bytes(written(variables))
    with pytest.raises(ModelError, match="1 tensors missing"):
        load_whisper(tmp_path)
