"""Command that serves models: `serve`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import typer

from ..errors import MissingExtraError, SteeringError
from .console import say
from .options import Options, with_settings


@dataclass(frozen=True, kw_only=True)
class Served:
    """The models and recipes."""

    model: tuple[str, ...] = field(default=("tiny.en",), metadata={"short": ("-m",)})
    """openai-whisper name or .pt, transformers id or folder, CTranslate2 folder; repeatable, the first is the
    default."""
    recipe: tuple[str, ...] = field(default=("no-false-speech",), metadata={"short": ("-r",)})
    """Recipe by name, path or Hub id; repeatable, the first steers requests that name none."""
    steer: bool = True
    """Without: no recipe, the unsteered models."""
    device: str = "cpu"
    """Device to run on: cpu, cuda, cuda:1, mps."""
    batch: int = field(default=8, metadata={"min": 1})
    """Windows decoded at once."""


@dataclass(frozen=True, kw_only=True)
class Doors:
    """Address and access."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 is all of this machine's."""
    port: int = 8000
    """Port to listen at."""
    allow_host: tuple[str, ...] = ()
    """Name by which clients may call it, beside this machine's own; repeatable."""
    ignore_unknown: bool = False
    """Pass over fields of a request that are unknown here."""
    drain: float = 60.0
    """Seconds for requests under way when it is ended."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits."""

    max_mb: float = 25.0
    """Size of an upload."""
    max_seconds: float = 1500.0
    """Length of a recording."""
    queue: int = field(default=64, metadata={"min": 1})
    """Requests that wait; more are refused with 429."""
    idle: float = 10.0
    """Seconds without a byte after which an upload is given up."""


@with_settings(
    Options(defaults=Served(), parameter="served"),
    Options(defaults=Doors(), parameter="doors"),
    Options(defaults=Bounds(), parameter="bounds"),
)
def serve(
    served: Served,
    doors: Doors,
    bounds: Bounds,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="AUDIOSAE_STEER_API_KEY", help="key that clients must send; better set by the variable"),
    ] = None,
) -> None:
    """Serve steered Whispers at OpenAI's interface for speech to text."""
    try:
        from ..serve.access import Access
        from ..serve.running import hosts_of, make_service, run
        from ..serve.uploads import Limits
    except ImportError as error:
        raise MissingExtraError(f"{error}; run: pip install 'audiosae-steer[serve]'") from error
    if min(bounds.max_mb, bounds.max_seconds, bounds.idle) <= 0:
        raise SteeringError("--max-mb, --max-seconds and --idle are limits above 0")
    if api_key is not None and not api_key.strip():
        raise SteeringError("the API key is empty; set AUDIOSAE_STEER_API_KEY to a long random text, or leave it unset")
    limits = Limits(bytes=round(bounds.max_mb * 1e6), seconds=bounds.max_seconds, queue=bounds.queue, idle=bounds.idle)
    service = make_service(
        served.model,
        served.recipe if served.steer else (),
        limits=limits,
        device=served.device,
        batch=served.batch,
        access=Access(api_key, hosts_of(doors.host, doors.allow_host)),
        unknown=doors.ignore_unknown,
    )
    say(f"models: {', '.join(served.model)}; base URL for clients: http://{doors.host}:{doors.port}/v1", stderr=True)
    run(service, doors.host, doors.port, drain=doors.drain)
