"""Paths that the system does not let be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from permissions import without_permission

from audiosae_steer.errors import AudioSAESteerError, CheckpointError, RecipeError
from audiosae_steer.io.paths import local


def test_what_is_there_and_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").write_bytes(b"")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local("~/here") == tmp_path / "here"
    for name in ("absent", "here/below", "", "."):
        assert local(tmp_path / name) == tmp_path / name
    assert local("user/repo") == Path("user/repo")


@pytest.mark.parametrize("raising", [CheckpointError, RecipeError])
def test_what_cannot_be_asked_or_read(raising: type[AudioSAESteerError], tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    for source, why in (
        ("x" * 300, "too long"),
        (tmp_path / "circle", "symbolic links"),
        ("~nosuchuser/x", "home"),
        ("a\0b", "null byte"),
        ("/proc/self/mem", "Input/output error"),
    ):
        if source != "/proc/self/mem" or Path(source).exists():
            with pytest.raises(raising, match=why):
                local(source, raising)
    with without_permission() as folder:
        for name in ("closed.pt", "locked/ae.pt"):
            with pytest.raises(raising, match=f"cannot read .*{name}: Permission denied; check"):
                local(folder / name, raising)
