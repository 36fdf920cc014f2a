"""Command `analyse domains`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...analyse.domain_features.domain_records import DomainSettings
from ...errors import SteeringError
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, analysed


@dataclass(frozen=True, kw_only=True)
class Given:
    """Clips by domain."""

    domain: tuple[str, ...] = ()
    """NAME=PATH, clips of a domain: folder, file or .txt list; repeatable, several of one name being sources."""


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Given(), parameter="given"),
    Options(
        defaults=Data(), parameter="data", help={"labels": "CSV with columns file,label[,group], in place of --domain"}
    ),
    Options(defaults=DomainSettings(), commas=("controls",), help={"controls": "controls of the SAE, with commas"}),
    Options(defaults=Written(), parameter="written"),
)
def domains(
    sae: SAEOption,
    place: Place,
    given: Given,
    data: Data,
    settings: DomainSettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Count the features of an SAE that fire mostly in one domain: speech, music, other sounds."""
    from ...analyse.domain_features.domain_counts import domains as count
    from ...analyse.domain_features.domain_excerpts import excerpts_of_domains

    clips, sources = None, None
    settings.rules()  # refuses bounds before anything is loaded
    if given.domain:
        if data.labels is not None or data.audio:
            raise SteeringError("give the clips by --domain NAME=PATH, or by --labels and --audio: one of the two")
        clips, sources = excerpts_of_domains(_by_name(given.domain))
        clips = clips if data.report_part is None else clips.reported(data.report_part)
    elif data.labels is None:
        raise SteeringError(
            "say which clips are of which domain: --domain speech=FOLDER --domain music=FOLDER, or --labels"
        )
    analysed(partial(count, sources=sources, settings=settings), sae, model, place, data, written, clips)


def _by_name(given: tuple[str, ...]) -> dict[str, list[str | Path]]:
    """Paths of each domain."""
    found: dict[str, list[str | Path]] = {}
    for words in given:
        name, sign, path = words.partition("=")
        if not (sign and name.strip() and path):
            raise SteeringError(f"--domain {words!r} is not NAME=PATH; write for example --domain speech=recordings/")
        found.setdefault(name.strip(), []).append(Path(path))
    return found
