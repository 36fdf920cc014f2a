"""A client of the pages, as a browser on this machine would be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from audiosae_steer.explorer.pages.explorer_app import explorer_app
from audiosae_steer.explorer.pages.explorer_site import Site


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    with TestClient(explorer_app(site), base_url="http://127.0.0.1:7341") as client:
        yield client
