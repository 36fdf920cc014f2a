"""Commands that read and write SAE files: `convert`, `inspect` and `calibrate-threshold`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import ActivationError
from .console import ModelOption, progress, say
from .options import Options, with_settings

if TYPE_CHECKING:
    from ..models.sites import Site

SourceArgument = Annotated[
    str, typer.Argument(help="file, folder, or user/repo or user/repo/folder on the Hub; any format that is read")
]
LayerOption = Annotated[int | None, typer.Option(help="which, where there are several; default: all")]
RevisionOption = Annotated[str | None, typer.Option(help="branch, tag or commit on the Hub")]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Sound that SAEs are measured on."""

    audio: tuple[Path, ...] = ()
    """Sound to measure on: folder, file, or .txt list; repeatable."""
    side: Literal["encoder", "decoder"] | None = None
    """Stack of blocks that layers count in; default: what the SAE says, else the encoder."""
    most: int = field(default=64, metadata={"min": 1})
    """Most files of --audio to read."""
    cache: Path | None = None
    """Folder for activations, to resume from or use again."""


@with_settings(Options(defaults=Measured(), parameter="on"))
def convert(
    source: SourceArgument,
    out: Annotated[Path, typer.Argument(help="the file to write, .safetensors; or a folder, for a file of each layer")],
    layer: LayerOption = None,
    revision: RevisionOption = None,
    precision: Annotated[
        Literal["keep", "float32", "float16", "bfloat16"], typer.Option(help="of the two large matrices")
    ] = "keep",
    model: ModelOption = "tiny.en",
    *,
    on: Measured,
) -> None:
    """Write SAEs of any format as native files, a layer each. With --audio, what a file leaves open is measured."""
    from ..data.activations.for_sae import sample_of, sites_in
    from ..sae.convert import ConvertSettings
    from ..sae.convert import convert as convert_all

    sites = sites_in(source, layer, on.side, revision) if on.audio else {}
    read = len(sample_of(on.audio, on.most)) if on.audio else 0
    files = f"{read} file{'' if read == 1 else 's'} of {', '.join(path.name for path in on.audio)}"
    with _frames(model, on, sites) as frames, progress() as tell:
        done = convert_all(
            source, out, layer, revision=revision, activations=frames, progress=tell,
            settings=ConvertSettings(
                precision=precision, side=on.side,
                measured_on=f"{model}, {files}" if on.audio else "",
            ),
        )  # fmt: skip
    for one in done:
        if one.sae is None:
            say(f"{one.path}: was converted before")
            continue
        say(f"{one.path}: {one.sae}")
        for what in ("normalisation", "threshold"):
            if what in one.sae.info:
                say(f"  {what}: {_words(one.sae.info[what])}")
        if one.before is not None and one.after is not None:
            rounding = "" if one.after is one.before else f" ({one.before.fvu:.5f} before it was rounded)"
            say(f"  on the audio: FVU {one.after.fvu:.5f}{rounding}, L0 {one.after.l0:.1f}")
        elif precision != "keep":
            say("  what rounding costs was not measured: give --audio and --model")


def inspect(
    source: SourceArgument,
    layer: LayerOption = None,
    revision: RevisionOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Say what SAE files hold, how they are read and why, without changing them."""
    from ..sae.convert import layers_in
    from ..sae.load import load_sae
    from ..steering.describe import of_sae

    found = {}
    layers: list[int | None] = [layer] if layer is not None else [*layers_in(source, revision)]
    for each in layers or [None]:
        sae = load_sae(source, each, revision=revision)
        name = str(source) if each is None else f"{source}, layer {each}"
        if as_json:
            found[name] = _facts(sae)
            continue
        say(f"{name}")
        say(of_sae(sae))
        facts = _facts(sae)
        norms = facts["decoder_norms"]
        say(f"  decoder rows: norms {norms[0]:.3g} to {norms[1]:.3g}, {facts['empty_rows']} empty")
    if as_json:
        say(json.dumps(found, indent=1))


@with_settings(Options(defaults=Measured(), parameter="on", hidden=("audio",)))
def calibrate_threshold(
    source: SourceArgument,
    out: Annotated[Path, typer.Option(help="the SAE to write, .safetensors")],
    audio: Annotated[list[Path], typer.Option(help="sound to calibrate on: folder, file, or .txt list; repeatable")],
    model: ModelOption = "tiny.en",
    layer: LayerOption = None,
    k: Annotated[
        int | None, typer.Option(min=1, help="features that fire per frame, on average; default: the SAE's k")
    ] = None,
    revision: RevisionOption = None,
    *,
    on: Measured,
) -> None:
    """Give a BatchTopK SAE the threshold that lets k features fire per frame of this audio, which makes it fast."""
    from ..data.activations.for_sae import site_of
    from ..sae.convert import layers_in, recalibrated
    from ..sae.load import load_sae
    from ..sae.quality import measure

    plain = load_sae(source, layer if layers_in(source, revision) else None, revision=revision)
    given = replace(on, audio=tuple(audio))
    with _frames(model, given, {None: site_of(plain, layer, on.side, source)}) as frames:
        assert frames is not None
        x = frames(None)
    if x.shape[-1] != plain.d_model:
        raise ActivationError(f"{source} reads residuals of width {plain.d_model}; those of {model} are {x.shape[-1]}")
    sae = recalibrated(plain, x, k)
    sae.save(out)
    before, after = measure(plain, x), measure(sae, x)
    said = "the true selection" if plain.threshold is None else "the threshold it had"
    say(f"with {said}: FVU {before.fvu:.4f}, L0 {before.l0:.1f}")
    say(f"calibrated:{' ' * max(1, len(said) - 5)}FVU {after.fvu:.4f}, L0 {after.l0:.1f}")
    say(f"wrote {out}: {sae}")


def _facts(sae: Any) -> dict[str, Any]:
    norms = sae.W_dec.float().norm(dim=-1)
    return {
        "d_model": sae.d_model,
        "n_features": sae.n_features,
        "gate": sae.gate.kind,
        "k": sae.gate.k,
        "epsilon": sae.gate.epsilon,
        "gain": None if sae.gain is None else [float(sae.gain.min()), float(sae.gain.max())],
        "threshold": None if sae.threshold is None else [float(sae.threshold.min()), float(sae.threshold.max())],
        "normalisation": [sae.normalisation.kind, sae.normalisation.scale],
        "dtype": str(sae.W_enc.dtype).removeprefix("torch."),
        "typical": sae.typical is not None,
        "decoder_norms": [float(norms.min()), float(norms.max())],
        "empty_rows": int((norms == 0).sum()),
        "info": sae.info,
    }


def _words(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    tried = ", ".join(f"{name} {fvu:.4f}" for name, fvu in value["fvu"].items())
    return f"{value['chosen']}; {value['because']} (FVU: {tried})"


@contextmanager
def _frames(model: str, on: Measured, sites: Mapping[int | None, Site]) -> Iterator[Callable[[int | None], Any] | None]:
    """A function of the layer that gives residuals of the audio; None without audio."""
    if not on.audio:
        yield None
        return
    from ..data.activations.for_sae import collect_sample
    from ..models.load import load_model

    asked = list(dict.fromkeys(sites.values()))
    with tempfile.TemporaryDirectory() as temporary:
        cache = on.cache or Path(temporary) / "activations"
        give = collect_sample(load_model(model), on.audio, asked, cache, most=on.most)
        yield lambda layer: give(sites[layer])
