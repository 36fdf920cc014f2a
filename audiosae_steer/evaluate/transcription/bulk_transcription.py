"""Transcription of a corpus as work on units: on one process, several, or Ray, with the same texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from ...data.audio import SAMPLE_RATE, Samples
from ...errors import AudioError, SteeringError, WorkError
from ...io.progress import Tell
from ...io.units.seeded_choice import seed_of
from ...io.units.unit_plan import HOUR, Item, Plan
from ...io.units.unit_store import is_url
from ...io.units.unit_work import RECORDS, Produced, Unit, settings_of
from ...io.units.worker_threads import worker_threads
from ...models.registry import fingerprint
from .corpus_audio import list_corpus, read_item
from .decoding import Decoding
from .jobs import check_formats
from .steered_whisper import SteeredWhisper, load_steered
from .subtitles import FORMATS, transcript_record
from .transcribe import Transcript, transcribe_batch
from .unheard import check_share, drop_unheard

KIND = "transcribe"
"""Name of this work in plans."""
TEXTS = "texts"
"""Folder of the transcripts by recording, below that of the output."""
LINES = "transcripts.jsonl"
"""Name of a unit's transcripts, a line each."""


@dataclass(frozen=True, kw_only=True)
class BulkSettings:
    """Settings of a bulk transcription: all that changes its texts, but for the weights and the recordings."""

    model: str = "tiny.en"
    """As of `load_whisper`."""
    library: Literal["openai", "transformers"] = "openai"
    """Whose model to load."""
    device: str = "cpu"
    """Device that it runs on."""
    batch: int = 1
    """Recordings that are decoded at once, those of about one length together; more than one needs transformers."""
    threads: int = 1
    """Threads of each worker: sums of another order differ in their last bits, and texts may follow."""
    recipe: str | None = "no-false-speech"
    """As of `steer`; None: unsteered."""
    strength: float | None = None
    """Of the recipe; None: its own."""
    threshold: float | None = None
    """Of its gate; None: its own."""
    decoding: Decoding = field(default_factory=Decoding)
    """Options of decoding."""
    least_speech: float | None = None
    """Share of speech below which words or segments are left out; see `unheard.drop_unheard`."""
    formats: tuple[str, ...] = ()
    """Formats of the transcripts by recording, beside the lines of all."""
    seed: int = 0
    """Of Whisper's retries at higher temperatures, which draw."""

    def __post_init__(self) -> None:
        check_formats(self.formats)
        if self.least_speech is not None:
            check_share(self.least_speech)
        if self.batch < 1 or (self.batch > 1 and self.library == "openai"):
            raise SteeringError(f"batch is {self.batch}; expected 1, or more with library transformers")
        if self.threads < 1:
            raise SteeringError(f"threads is {self.threads}; expected at least 1")

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> BulkSettings:
        """Settings of a plan. WorkError: they are not of this version."""
        try:
            decoding = dict(content["decoding"])
            decoding["temperatures"] = tuple(decoding["temperatures"])
            given = content | {"decoding": Decoding(**decoding), "formats": tuple(content["formats"])}
            return cls(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise WorkError(f"the plan's settings are not of this version ({error}); make it anew") from error

    def load(self) -> SteeredWhisper:
        """The model, steered. SteeringError, ModelError, RecipeError: it cannot be."""
        return load_steered(
            self.model, self.library, self.device, recipe=self.recipe, strength=self.strength,
            threshold=self.threshold, language=self.decoding.language, drops_unheard=self.least_speech is not None,
        )  # fmt: skip


def plan_transcription(
    source: str | Path, settings: BulkSettings, *, seconds: float = HOUR, progress: Tell | None = None
) -> Plan:
    """The plan of a corpus' transcription. The model is loaded once, for its fingerprint and that it can be.

    Args:
        source: a folder, or a URL that fsspec reads.
        settings: of the transcription.
        seconds: of audio in a unit, at most.
        progress: called with what is being done, how much is done, and how much there is.

    Raises:
        AudioError: there is no audio.
        SteeringError, ModelError, RecipeError: the model cannot be loaded or steered so.
        WorkError: its weights have no fingerprint.
    """
    place = str(source) if is_url(source) else str(Path(source).expanduser().resolve())
    items = list_corpus(place, progress)
    return Plan.of(KIND, asdict(settings) | _identity(settings.load()), items, seconds=seconds, source=place)


@dataclass(frozen=True)
class BulkTranscription:
    """Transcription of units; each worker loads the model once."""

    settings: BulkSettings
    source: str
    identity: dict[str, Any]
    """Digests of the weights, the recipe and its SAEs that the plan was made with."""

    @classmethod
    def of(cls, plan: Plan) -> BulkTranscription:
        """The work of a plan. WorkError: it is of another kind or version."""
        content = settings_of(plan, KIND)
        own = BulkSettings.__dataclass_fields__
        identity = {name: value for name, value in content.items() if name not in own}
        settings = BulkSettings.from_json({name: value for name, value in content.items() if name in own})
        return cls(settings, plan.source, identity)

    def open(self) -> Callable[[Unit], Produced]:
        """Load the model, and return the function of a unit.

        Raises:
            WorkError: the model, recipe or SAE on this machine is another one than the plan was made with.
        """
        loaded = self.settings.load()
        found = _identity(loaded)
        for name, value in self.identity.items():
            if found.get(name) != value:
                raise WorkError(f"{name} of the plan is {value}, and on this machine {found.get(name)}; install the "
                                "same model, recipe and SAE on every machine")  # fmt: skip
        return lambda unit: self._made(loaded, unit)

    def _made(self, loaded: SteeredWhisper, unit: Unit) -> Produced:
        lines: dict[str, str] = {}
        files: dict[str, bytes] = {}
        failed: dict[str, str] = {}
        with worker_threads(self.settings.threads):
            for group in _batches(unit.items, self.settings.batch // (1 + unit.halved) or 1):
                read: dict[str, tuple[Samples, list[str]]] = {}
                for item in group:
                    try:
                        read[item.name] = read_item(self.source, item)
                    except AudioError as error:
                        failed[item.name] = str(error)
                texts = self._texts(loaded, [samples for samples, _ in read.values()], tuple(read))
                for (name, (samples, warned)), text in zip(read.items(), texts, strict=True):
                    about = {"recording": name, "seconds": round(len(samples) / SAMPLE_RATE, 3)}
                    content = about | transcript_record(text) | ({"warnings": warned} if warned else {})
                    lines[name] = json.dumps(content, ensure_ascii=False) + "\n"
                    for form in self.settings.formats:
                        files[f"{TEXTS}/{name}.{form}"] = FORMATS[form](text).encode()
        files[f"{RECORDS}/{unit.stem}/{LINES}"] = "".join(lines[name] for name in sorted(lines)).encode()
        return Produced(files, failed)

    def _texts(self, loaded: SteeredWhisper, given: Sequence[Samples], names: tuple[str, ...]) -> list[Transcript]:
        """Texts of a batch, whose draws are of its recordings alone."""
        if not given:
            return []
        device = torch.device(self.settings.device)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed_of(self.settings.seed, "\0".join(names), "sampling"))
            texts = transcribe_batch(loaded.model, given, self.settings.decoding, processor=loaded.processor)
        least = self.settings.least_speech
        return texts if least is None else [drop_unheard(text, least) for text in texts]


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Batches of inputs of about one length, the shortest first; ties by name."""
    ordered = sorted(items, key=lambda item: (item.seconds, item.name))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def _identity(loaded: SteeredWhisper) -> dict[str, Any]:
    """Digests of the weights, the recipe and its SAEs. WorkError: the weights have no fingerprint."""
    weights = fingerprint(loaded.model)
    if weights is None:
        raise WorkError(
            "these weights have no fingerprint to know them by (bfloat16 or quantised); load them in float32, or "
            "transcribe without --engine"
        )
    identity: dict[str, Any] = {"weights": weights, "dtype": str(next(loaded.model.parameters()).dtype)}
    if loaded.recipe is not None:
        content = json.dumps(loaded.recipe.model_dump(mode="json", by_alias=True), sort_keys=True)
        identity["recipe_sha256"] = hashlib.sha256(content.encode()).hexdigest()
        identity["sae_sha256"] = {name: sae.digest() for name, sae in loaded.recipe.load_saes().items()}
    return identity
