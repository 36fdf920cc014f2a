"""Files of others: what they are, byte for byte, and under which licence."""

from __future__ import annotations

import hashlib

import pytest

from audiosae_steer.explorer.pages.explorer_site import STATIC

VENDORED = {
    "wavesurfer/LICENSE": "0fc992dc27cc34dde78bfeb024b4cadff6320f0dcbee2f1228efaeb533ca1364",
    "wavesurfer/wavesurfer.esm.js": "079f3b142f37737f975b03ea8fd18652a316dc2120a2629aeca0844a0c08f2b1",
}
"""SHA-256 of the files of wavesurfer.js 8.0.1 that are needed, as npm has them."""


def test_there_are_no_others():
    assert {
        path.relative_to(STATIC / "vendor").as_posix() for path in (STATIC / "vendor").rglob("*") if path.is_file()
    } == set(VENDORED)


@pytest.mark.parametrize("name", VENDORED)
def test_bytes_are_those_of_the_release(name):
    assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == VENDORED[name]


def test_the_licence_is_there():
    assert "BSD 3-Clause License" in (STATIC / "vendor/wavesurfer/LICENSE").read_text("utf-8")
