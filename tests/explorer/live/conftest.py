"""A live explorer of tiny.en, its application, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from families import encodec
from live_index import codec_index, live_index
from starlette.testclient import TestClient

from audiosae_steer.explorer.index.index_reader import Index
from audiosae_steer.explorer.live.live_explorer import LiveExplorer
from audiosae_steer.explorer.pages.explorer_app import explorer_app
from audiosae_steer.explorer.pages.explorer_site import Site
from audiosae_steer.explorer.pages.live_site import live_site


@pytest.fixture(scope="session")
def live_pages(tmp_path_factory: pytest.TempPathFactory, tiny_en: Any) -> Iterator[Site]:
    """The site of a small real index. Shared."""
    index = Index(live_index(tmp_path_factory.mktemp("live") / "index.sqlite", tiny_en))
    site = live_site(index, model=tiny_en)
    yield site
    site.extra["live"].close()
    index.close()


@pytest.fixture(scope="session")
def explorer(live_pages: Site) -> LiveExplorer:
    """Its live part."""
    return live_pages.extra["live"]


@pytest.fixture(scope="session")
def codec_pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site of an index of a small EnCodec of random weights. Shared."""
    index = Index(codec_index(tmp_path_factory.mktemp("codec")))
    site = live_site(index, model=encodec(24000, 1)())
    yield site
    site.extra["live"].close()
    index.close()


@pytest.fixture(scope="session")
def codec(codec_pages: Site) -> LiveExplorer:
    """Its live part."""
    return codec_pages.extra["live"]


@pytest.fixture
def live_client(live_pages: Site) -> Iterator[TestClient]:
    with TestClient(explorer_app(live_pages), base_url="http://127.0.0.1:7341") as client:
        yield client
