"""Site with the live part: own clips, steering, recipes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..index.index_reader import Index
from ..live.live_explorer import LiveExplorer
from .explorer_app import explorer_site, explorer_views
from .explorer_site import Site
from .notes_file import Notes


def live_site(index: Index, *, notes: Notes | None = None, folders: Sequence[Path] = (), model: Any = None) -> Site:
    """Site of an index with own clips and steering. No model is loaded before one is needed.

    Args:
        index: opened.
        notes: the user's; None: those beside the index.
        folders: further folders in which the SAEs' files may be, beside the index's own.
        model: what to load in the place of the model that the index names; or a model.

    Raises:
        MissingExtraError: Starlette is not installed.
    """
    explorer_views()  # says so if Starlette is missing
    from .views.live_view import VIEWS

    return explorer_site(index, notes=notes, more=VIEWS, extra={"live": LiveExplorer(index, folders, model)})
