"""Indices and sites that the explorer's tests share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_index import made_index

from audiosae_steer.explorer.index.index_reader import Index
from audiosae_steer.explorer.pages.explorer_app import explorer_site
from audiosae_steer.explorer.pages.explorer_site import Site


@pytest.fixture(scope="session")
def index_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of layers 3 and 4, 64 features each, 40 clips. Shared: leave it as it was."""
    return made_index(tmp_path_factory.mktemp("index") / "made.sqlite")


@pytest.fixture
def index(index_file: Path, tmp_path: Path) -> Index:
    """A copy of the index, opened, in a folder of its own, so that notes beside it are the test's."""
    copy = Path(shutil.copy(index_file, tmp_path / "made.sqlite"))
    opened = Index(copy)
    yield opened
    opened.close()


@pytest.fixture
def site(index: Index) -> Site:
    """The pages over it."""
    return explorer_site(index)
