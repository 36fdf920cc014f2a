"""Ways in and out of a steering: quantised, offloaded, adapted, wrapped, traced and pickled models, steered twice."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES, Case, width
from make import count_hooks, make_hf, make_openai, make_sae
from torch import Tensor, nn
from torch.nn.utils import parametrize

from audiosae_steer import (
    Ablate,
    Add,
    ClipGate,
    EditWarning,
    FingerprintWarning,
    FrameGate,
    NeverCalledWarning,
    PickledWarning,
    Push,
    Scale,
    Site,
    SiteEdits,
    SiteGate,
    StackedWarning,
    SteeringError,
    load_audio,
    load_processor,
    load_whisper,
    steer,
)
from audiosae_steer.io.shipped import checkpoints_dir
from audiosae_steer.models.families.empty_text import allows
from audiosae_steer.models.registry import family_of, fingerprint, unwrap
from audiosae_steer.models.storage import held, is_quantised
from audiosae_steer.steering.live import lives

D = 24
EDITS = [Push(torch.linspace(-3, 3, D))]
CLIPS = checkpoints_dir() / "clips"
OF_TORCH = pytest.mark.filterwarnings(
    "ignore:.*torch.ao.quantization is deprecated", "ignore:.*is deprecated:UserWarning",
    "ignore:.*quantized tensor creation:UserWarning", "ignore:.*is_gradient_checkpointing:FutureWarning",
    "ignore::torch.jit.TracerWarning", "ignore:.*is deprecated:DeprecationWarning",
)  # fmt: skip


@pytest.fixture(params=FAMILIES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def mels(*names: str) -> list[Tensor]:
    """Spectrograms of shipped clips, as openai-whisper makes them."""
    import whisper

    return [
        whisper.log_mel_spectrogram(whisper.pad_or_trim(load_audio(CLIPS / f"{name}.flac")))[None] for name in names
    ]


def edited(case: Case, model: Any) -> dict[str, Any]:
    """A push at the first site of a family's model."""
    site = case.sites(model)[0]
    return {"site": site, "edits": [Push(torch.linspace(-3, 3, width(model, site)))]}


# pickles and copies


@pytest.mark.parametrize("library", ["openai", "transformers"])
def test_a_steered_model_is_saved_without_its_steering_and_says_so(library: Any) -> None:
    model = load_whisper("tiny.en", library=library)
    (mel,) = mels("footsteps")
    encoder = model.encoder if library == "openai" else model.model.encoder
    with torch.no_grad():
        plain = encoder(mel)
        steering = steer(model, "no-false-speech")
        steered = encoder(mel)
    file = io.BytesIO()
    with pytest.warns(PickledWarning, match="'no-false-speech'.*call steer"):
        torch.save(model, file)
    assert b"audiosae" not in file.getvalue().replace(
        b"_audiosae_steer_", b""
    )  # it is loaded where this is not installed
    file.seek(0)
    twin = torch.load(file, weights_only=False)
    assert not lives(twin)
    inner = twin.encoder if library == "openai" else twin.model.encoder
    tensor = (lambda output: output) if library == "openai" else (lambda output: output.last_hidden_state)
    with torch.no_grad():
        assert torch.equal(tensor(inner(mel)), tensor(plain))
        with steer(twin, "no-false-speech"):
            assert torch.equal(tensor(inner(mel)), tensor(steered))
            assert allows(twin)
        assert torch.equal(tensor(inner(mel)), tensor(plain))
        assert not allows(twin)
    steering.remove()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.dumps(model)


def test_every_familys_model_is_pickled_unsteered(case: Case) -> None:
    model = case.make()
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):  # of which torch pickles none
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name)
    try:
        pickle.dumps(model)
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
        pytest.skip(f"it cannot be pickled unsteered either: {error}")
    window = case.sites(model)[0].side == "encoder" and family_of(model).frame_rate(model, case.sites(model)[0])
    given = edited(case, model)
    if window:  # with windows, families watch the model by hooks of their own
        given["edits"] = [Push(given["edits"][0].vector, window=(0.0, 9.0))]
    with torch.no_grad():
        plain = case.run(model, case.seconds)
        with steer(model, **given):
            steered = case.run(model, case.seconds)
            assert not torch.equal(steered, plain)
            with pytest.warns(PickledWarning):
                twin = pickle.loads(pickle.dumps(model))
            assert torch.equal(case.run(twin, case.seconds), plain)
            assert torch.equal(case.run(model, case.seconds), steered)


def test_a_steering_itself_is_neither_pickled_nor_copied() -> None:
    model = make_openai(d=D)
    with steer(model, layer=1, edits=EDITS) as steering:
        model.encoder(torch.zeros(1, 80, 3000))
        for way in (pickle.dumps, copy.deepcopy):
            with pytest.raises(SteeringError, match="stays with its model"):
                way(steering)


def test_a_steered_model_is_freed_with_its_steering_and_a_copy_keeps_no_original() -> None:
    model = make_openai(d=D)
    seen = weakref.ref(model)
    steer(model, layer=1, edits=EDITS)  # nobody keeps the steering
    twin = copy.deepcopy(model)
    del model
    gc.collect()
    assert seen() is None
    assert len(lives(twin)) == 1


WORKERS = """
import sys, warnings
import torch, torch.multiprocessing as mp
sys.path[:0] = {helpers!r}
from make import make_openai
from audiosae_steer import Push, steer

def work(model, x, results):
    torch.set_num_threads(1)
    with torch.no_grad():
        results.put(float(model.encoder(x).double().sum()))

if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    model, x = make_openai(d=24), torch.ones(1, 80, 3000)
    with torch.no_grad():
        plain = float(model.encoder(x).double().sum())
        steering = steer(model, layer=1, edits=[Push(torch.linspace(-3, 3, 24))])
        steered = float(model.encoder(x).double().sum())
    for method, wanted in (("fork", steered), ("spawn", plain)):
        context = mp.get_context(method)
        results = context.SimpleQueue()
        process = context.Process(target=work, args=(model, x, results))
        process.start()
        got = results.get()
        process.join()
        assert abs(got - wanted) < 1e-6 * abs(wanted), (method, got, wanted)
    assert plain != steered
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_worker_is_steered_and_a_spawned_one_is_not(tmp_path: Path) -> None:
    program = tmp_path / "workers.py"
    program.write_text(
        WORKERS.format(helpers=[str(Path(__file__).parents[1] / "helpers"), str(Path(__file__).parents[2])])
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# quantised, offloaded, adapted


def quantised(model: Any) -> Any:
    """Its linear maps in int8, by torch itself."""
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


@OF_TORCH
def test_a_quantised_whisper_is_steered_by_a_recipe(tiny_en_hf: Any) -> None:
    processor = load_processor("tiny.en")
    model = quantised(tiny_en_hf)

    def text(model: Any, name: str) -> str:
        given = processor(load_audio(CLIPS / f"{name}.flac"), sampling_rate=16000, return_tensors="pt").input_features
        with torch.no_grad():
            return processor.batch_decode(model.generate(given, max_new_tokens=30), skip_special_tokens=True)[0]

    speech = text(model, "speech-01")
    assert fingerprint(model) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error", FingerprintWarning)  # it is not known to be another model
        steering = steer(model, "no-false-speech")
    assert (text(model, "footsteps"), text(model, "speech-01")) == ("", speech)
    steering.remove()
    assert text(model, "footsteps") != ""
    with steer(tiny_en_hf, "no-false-speech"):
        later = quantised(tiny_en_hf)  # a copy, which follows the original's steering
        assert (text(later, "footsteps"), text(later, "speech-01")) == ("", speech)
        tiny_en_hf(torch.zeros(1, 80, 3000), decoder_input_ids=torch.tensor([[50257, 50362]]))


@OF_TORCH
def test_every_family_is_steered_before_and_after_it_is_quantised(case: Case) -> None:
    model = case.make()
    given = edited(case, model)
    with torch.no_grad():
        try:
            small = quantised(model)
            plain = case.run(small, case.seconds)
        except Exception as error:  # of torch or of the model
            pytest.skip(f"it does not run quantised: {error}")
        if is_quantised(small):
            assert fingerprint(small) is None
        with steer(small, **given):
            after = case.run(small, case.seconds)
        with steer(model, **given):
            before = case.run(quantised(model), case.seconds)
            case.run(model, case.seconds)
        assert torch.equal(case.run(small, case.seconds), plain)
    assert not torch.equal(after, plain)
    torch.testing.assert_close(before, after)


class Packed(torch.Tensor):
    """A weight of another class, as torchao's are: its numbers are not those it was made of."""


def pack(model: nn.Module) -> nn.Module:
    """Matrices as bitsandbytes packs them: uint8, two numbers a byte, unpacked when used."""

    class Small(nn.Module):
        def __init__(self, whole: nn.Linear) -> None:
            super().__init__()
            low, high = whole.weight.min(), whole.weight.max()
            self.scale, self.low = float(high - low) / 255, float(low)
            codes = ((whole.weight - low) / self.scale).round().to(torch.uint8)
            self.weight = nn.Parameter(codes.reshape(-1, 1), requires_grad=False)
            self.shape, self.bias = whole.weight.shape, whole.bias
            self.in_features, self.out_features = whole.in_features, whole.out_features

        def forward(self, x: Tensor) -> Tensor:
            weight = self.weight.reshape(self.shape).to(x.dtype) * self.scale + self.low
            return nn.functional.linear(x, weight, self.bias)

    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear or type(child).__name__ == "Linear":
                setattr(module, name, Small(child))
    return model


@pytest.mark.parametrize("make", [make_openai, make_hf])
def test_packed_weights_are_computed_with_in_float32(make: Callable[..., Any]) -> None:
    model = pack(make(d=D))
    mel = 0.1 * torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
    sae, encoder = make_sae("relu", D, 40), model.encoder if hasattr(model, "dims") else model.model.encoder
    assert is_quantised(model)
    assert fingerprint(model) is None
    before = encoder(mel)
    with steer(model, sae=sae, layer=2, edits=[Scale(range(20), 3.0)]) as steering:
        after = encoder(mel)
        assert steering.hooks[Site(2)].plan.dtype == torch.float32
    first = next(iter(before.values())) if not isinstance(before, Tensor) else before
    second = next(iter(after.values())) if not isinstance(after, Tensor) else after
    assert not torch.equal(first, second)
    whole = nn.Sequential(nn.Linear(D, D))
    whole[0].weight = nn.Parameter(whole[0].weight.detach().to(torch.float8_e4m3fn), requires_grad=False)
    whole[0].bias = None
    assert held(whole) == (torch.float32, torch.device("cpu"))
    with steer(whole, site=Site(path="0"), edits=EDITS) as steering:
        assert steering.hooks[Site(path="0")].plan.dtype == torch.float32
        steering.hooks[Site(path="0")](torch.zeros(1, 2, D))


def test_a_weight_of_another_class_has_no_fingerprint() -> None:
    model = make_openai(d=D)
    assert fingerprint(model) is not None
    block = model.encoder.blocks[0].mlp[0]
    block.weight = nn.Parameter(block.weight.detach().as_subclass(Packed), requires_grad=False)
    assert fingerprint(model) is None


@pytest.mark.filterwarnings("ignore")  # of torchao's own making
def test_torchao(tiny_en_hf: Any) -> None:
    torchao = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    model, (mel,) = copy.deepcopy(tiny_en_hf), mels("footsteps")
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
    assert fingerprint(model) is None
    with torch.no_grad():
        plain = model.model.encoder(mel).last_hidden_state
        with steer(model, "no-false-speech") as steering:
            assert not torch.equal(model.model.encoder(mel).last_hidden_state, plain)
            assert steering.opened is not None
            assert steering.opened.tolist() == [True]
        assert torch.equal(model.model.encoder(mel).last_hidden_state, plain)


@pytest.mark.parametrize("when", ["before", "after"])
def test_offloaded_weights(when: str) -> None:
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
    model, mel = make_hf(d=D), 0.1 * torch.randn(1, 80, 3000)
    with torch.no_grad():
        plain = model.model.encoder(mel).last_hidden_state
        with steer(model, layer=2, edits=EDITS):
            wanted = model.model.encoder(mel).last_hidden_state
        steering = steer(model, layer=2, edits=EDITS) if when == "before" else None
        accelerate.cpu_offload(model, execution_device="cpu")
        assert fingerprint(model) is None
        steering = steering or steer(model, layer=2, edits=EDITS)
        assert torch.equal(model.model.encoder(mel).last_hidden_state, wanted)
        steering.remove()
        assert torch.equal(model.model.encoder(mel).last_hidden_state, plain)
        call, args, kwargs = family_of(model).prepare(model, torch.zeros(16000).numpy())
        assert call(*args, **kwargs).last_hidden_state.device.type == "cpu"


@pytest.mark.filterwarnings("ignore")  # of peft's own making
def test_an_adapted_whisper() -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    base = make_hf(d=D)
    adapted = peft.get_peft_model(base, peft.LoraConfig(target_modules=["q_proj", "fc1"], r=2))
    assert unwrap(adapted) is base
    assert unwrap(torch.compile(adapted)) is base
    mel = 0.1 * torch.randn(1, 80, 3000)
    with torch.no_grad():
        plain = base.model.encoder(mel).last_hidden_state
        with steer(adapted, layer=2, edits=EDITS):
            assert not torch.equal(base.model.encoder(mel).last_hidden_state, plain)
        assert torch.equal(base.model.encoder(mel).last_hidden_state, plain)
    assert family_of(adapted).name == "whisper"
    fingerprint(adapted)


# wrapped


def test_wrappers_of_torch_are_seen_through(case: Case, tmp_path: Path) -> None:
    model = case.make()
    wrapped = [
        nn.DataParallel(model),
        torch.optim.swa_utils.AveragedModel(model),
        torch.compile(nn.DataParallel(model)),
    ]
    assert unwrap(wrapped[0]) is model
    assert unwrap(wrapped[1]) is wrapped[1].module
    assert unwrap(wrapped[2]) is model
    given = edited(case, model)
    with torch.no_grad():
        plain = case.run(model, case.seconds)
        with steer(wrapped[0], **given):
            assert not torch.equal(case.run(model, case.seconds), plain)
        assert torch.equal(case.run(model, case.seconds), plain)


def test_distributed_data_parallel(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        model = make_hf(d=D).requires_grad_()
        given = {"input_features": torch.zeros(1, 80, 3000), "decoder_input_ids": torch.tensor([[50257, 50362]])}
        wrapped = nn.parallel.DistributedDataParallel(model)
        with torch.no_grad():
            plain = wrapped(**given).logits
            with steer(wrapped, layer=2, edits=EDITS) as steering:
                assert steering.model is model
                assert not torch.equal(wrapped(**given).logits, plain)
            assert torch.equal(wrapped(**given).logits, plain)
    finally:
        torch.distributed.destroy_process_group()


def test_a_replica_is_refused(case: Case) -> None:
    """As DataParallel makes them on several devices: shallow copies that share their hooks."""
    model = case.make()
    site = case.sites(model)[0]
    with steer(model, **edited(case, model)) as steering:
        replica = steering.hooks and model.get_submodule(_path_of(case, model, site))._replicate_for_data_parallel()
        hooks = [*replica._forward_hooks.values()] or [*replica._forward_pre_hooks.values()]
        x = torch.zeros(1, 3, width(model, site))
        with pytest.raises(SteeringError, match="DistributedDataParallel"):
            hooks[-1](replica, (x,), x) if replica._forward_hooks else hooks[-1](replica, (x,), {})
        steering.hooks[site].ran = True


def _path_of(case: Case, model: Any, site: Site) -> str:
    tap = family_of(model).tap(model, site)
    return next(name for name, module in model.named_modules() if module is tap.module)


# traced


@OF_TORCH
def test_a_traced_encoder_decides_clip_by_clip(tiny_en: Any) -> None:
    speech, noise = mels("speech-01", "footsteps")
    with torch.no_grad(), steer(tiny_en, "no-false-speech"):
        wanted = [tiny_en.encoder(mel) for mel in (speech, noise)]
        for example in (speech, noise):
            traced = torch.jit.trace(tiny_en.encoder, example, check_trace=False)
            exported = torch.export.export(tiny_en.encoder, (example,)).module()
            for mel, answer in zip((speech, noise), wanted, strict=True):
                torch.testing.assert_close(traced(mel), answer, rtol=1e-4, atol=1e-4)
                torch.testing.assert_close(exported(mel), answer, rtol=1e-4, atol=1e-4)
        assert not torch.equal(*wanted)


@OF_TORCH
@pytest.mark.parametrize("kind", ["relu", "topk", "batchtopk"])
@pytest.mark.parametrize("error", ["keep", "drop"])
def test_every_path_is_traced_by_masks(kind: Any, error: Any) -> None:
    model, sae = make_openai(d=D), make_sae(kind, D, 40)
    gate_sae = make_sae("relu", D, 40)
    one, other = (torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(seed)) for seed in (0, 5))
    seen = []
    handle = model.encoder.blocks[0].register_forward_hook(lambda module, args, output: seen.append(output))
    for mel in (one, other):
        model.encoder(mel)
    handle.remove()
    f = torch.stack([gate_sae.encode(x)[0].amax(0) for x in seen])
    feature = int((f[0] - f[1]).argmax())
    middle = float(f[:, feature].mean())
    gates = [
        SiteGate(Site(1), gate_sae, ClipGate((feature,), (1.0,), threshold=middle)),
        SiteGate(Site(1), gate_sae, FrameGate((feature,), (1.0,), threshold=middle, reach=0.1)),
    ]
    parts = [SiteEdits(Site(2), sae, [Scale(range(20), 3.0)], error)]
    for gate in gates:
        with torch.no_grad(), steer(model, parts, gate=gate):
            wanted = [model.encoder(mel) for mel in (one, other)]
            for example in (one, other):
                traced = torch.jit.trace(model.encoder, example, check_trace=False)
                for mel, answer in zip((one, other), wanted, strict=True):
                    torch.testing.assert_close(traced(mel), answer, rtol=1e-3, atol=1e-3)


class Decoding(nn.Module):
    """A decoder by itself, as it is exported."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, audio: Tensor) -> Tensor:
        return self.model.model.decoder(tokens, encoder_hidden_states=audio, use_cache=False).last_hidden_state


@OF_TORCH
@pytest.mark.filterwarnings("ignore:.*loss_type")
def test_a_decoder_by_itself_would_freeze_the_gate_and_is_refused() -> None:
    model, sae = make_hf(d=D), make_sae("relu", D, 40)
    tokens, mel = torch.tensor([[50257, 50362, 11, 12]]), torch.zeros(1, 80, 3000)
    gates = [ClipGate((3,), (1.0,), threshold=-1.0)]
    for gate in gates:
        parts = [SiteEdits(Site(2, "decoder"), sae, [Add(7, 5.0)])]
        with torch.no_grad(), steer(model, parts, gate=SiteGate(Site(1), sae, gate)) as steering:
            audio = model.model.encoder(mel).last_hidden_state
            decoding = Decoding(model)
            with pytest.raises(SteeringError, match="the clip gate decided for one batch"):
                torch.jit.trace(decoding, (tokens, audio), check_trace=False)
            if hasattr(torch.compiler, "is_exporting"):
                with pytest.raises(Exception, match="the clip gate decided for one batch"):
                    torch.export.export(decoding, (tokens, audio))
            decoding(tokens, audio)
            assert steering.opened is not None


@OF_TORCH
def test_a_step_of_a_diffusion_is_not_traced() -> None:
    case = next(case for case in FAMILIES if case.name == "DiffRhythm")
    model = case.make()
    args, kwargs = case.inputs(model, 1.0)
    site = case.sites(model)[0]
    parts = [SiteEdits(site, None, [Push(torch.ones(width(model, site)))], steps=(0, 2))]
    with steer(model, parts):
        model.transformer(*args, **kwargs)
        with pytest.raises(SteeringError, match="flow="):
            torch.jit.trace(lambda x: model.transformer(**{**kwargs, "x": x}), (kwargs["x"],), check_trace=False)


@OF_TORCH
def test_scripting_a_steered_module_says_what_to_do() -> None:
    model = nn.Sequential(nn.Linear(D, D))
    with steer(model, site=Site(path="0"), edits=EDITS):
        model(torch.zeros(1, 2, D))
        with pytest.raises(SteeringError, match="cannot be scripted"):
            torch.jit.script(model)
        assert not hasattr(next(iter(model[0]._forward_hooks.values())), "__name__")


# twice


def test_the_same_twice_warns_and_replace_takes_the_first_away() -> None:
    model, mel = make_openai(d=D), torch.zeros(1, 80, 3000)
    sae, gate = make_sae("relu", D, 40), ClipGate((3,), (1.0,), threshold=-9.0)
    plain, hooks = model.encoder(mel), count_hooks(model)
    given: list[dict[str, Any]] = [
        {"layer": 2, "edits": EDITS},
        {"layer": 1, "sae": sae, "edits": {"a": [Add(3, 4.0, window=(0.0, 9.0))]}, "allow_empty": True},
        {"recipe": [SiteEdits(Site(2), sae, [Add(3, 4.0)])], "gate": SiteGate(Site(1), sae, gate)},
    ]
    for each in given:
        first = steer(model, **each)
        alone = model.encoder(mel)
        with pytest.warns(StackedWarning, match=r"\.remove\(\).*replace=True"):
            second = steer(model, **each)
        model.encoder(mel)
        second.remove()
        third = steer(model, **each, replace=True)
        assert torch.equal(model.encoder(mel), alone)
        assert "removed" in repr(first)
        third.remove()
        first.remove()
        assert torch.equal(model.encoder(mel), plain)
        assert count_hooks(model) == hooks
        assert "decode" not in vars(model)


def test_a_warning_that_is_an_error_leaves_the_model_as_it_was() -> None:
    model = make_openai(d=D)
    with steer(model, layer=2, edits=EDITS):
        model.encoder(torch.zeros(1, 80, 3000))
        hooks = count_hooks(model)
        with pytest.raises(StackedWarning):
            steer(model, layer=2, edits=EDITS)  # warnings are errors in these tests
        assert count_hooks(model) == hooks


def test_others_of_the_same_kind_do_not_warn() -> None:
    model, sae, other = make_openai(d=D), make_sae("relu", D, 40), make_sae("relu", D, 40, 5)
    given: list[dict[str, Any]] = [
        {"layer": 2, "sae": sae, "edits": [Add(3, 4.0)]},
        {"layer": 2, "sae": other, "edits": [Add(3, 4.0)]},
        {"layer": 1, "sae": sae, "edits": [Add(3, 4.0)]},
        {"layer": 2, "sae": sae, "edits": [Add(3, 5.0)]},
        {"layer": 2, "side": "decoder", "sae": sae, "edits": [Add(3, 4.0)]},
    ]
    steerings = [steer(model, **each) for each in given]
    assert len(lives(model)) == len(given)
    model(torch.zeros(1, 80, 3000), torch.tensor([[50257, 50362]]))
    for steering in steerings:
        steering.remove()
    assert lives(model) == []


@pytest.mark.parametrize("library", ["openai", "transformers"])
def test_a_recipe_that_nobody_kept_is_replaced(library: Any) -> None:
    model = load_whisper("tiny.en", library=library)
    hooks = count_hooks(model)
    steer(model, "no-false-speech")  # a notebook's cell
    with pytest.warns(StackedWarning, match="recipe 'no-false-speech'"):
        steer(model, "no-false-speech")
    steering = steer(model, "no-false-speech", replace=True)
    assert len(lives(model)) == 1
    with pytest.warns(NeverCalledWarning):
        steering.remove()
    assert count_hooks(model) == hooks
    assert not allows(model)


def test_replace_on_a_copy_leaves_the_original_steered() -> None:
    model, mel = make_openai(d=D), torch.zeros(1, 80, 3000)
    plain = model.encoder(mel)
    with steer(model, layer=2, edits=EDITS, allow_empty=True):
        steered = model.encoder(mel)
        twin = copy.deepcopy(model)
        with pytest.warns(StackedWarning):
            steer(twin, layer=2, edits=EDITS)
        twin = copy.deepcopy(model)
        with steer(twin, layer=2, edits=EDITS, replace=True):
            assert torch.equal(twin.encoder(mel), steered)
        assert torch.equal(twin.encoder(mel), plain)
        assert not allows(twin)
        assert torch.equal(model.encoder(mel), steered)
        assert allows(model)


def test_edits_whose_features_never_fire_say_so_on_leaving() -> None:
    model, sae = make_openai(d=D), make_sae("relu", D, 40)
    sae.b_enc[5] = -1e6
    mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
    steering = steer(model, sae=sae, layer=2, edits=[Ablate(5)])
    model.encoder(mel)
    with pytest.warns(EditWarning, match=r"encoder layer 2 and changed nothing there: its features \(5\) never fired"):
        steering.remove()
    quiet: list[dict[str, Any]] = [
        {"edits": [Ablate(range(20))]},
        {"edits": [Add(5, 1.0)]},
        {"edits": [Ablate(5)], "strength": 0.0},
        {"edits": [Ablate(5)], "gate": ClipGate((3,), (1.0,), threshold=1e9)},
    ]
    for each in quiet:
        with steer(model, sae=sae, layer=2, **each):
            model.encoder(mel)
