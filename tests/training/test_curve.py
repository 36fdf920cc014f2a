"""The curve: what it shows, and that it is written whole."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from audiosae_steer.errors import CheckpointError
from audiosae_steer.sae.quality import Figures
from audiosae_steer.training.curve import History, draw_curve
from audiosae_steer.training.settings import TrainSettings


def history(count: int, nan: bool = False) -> History:
    made = History()
    for n in range(1, count + 1):
        fvu = math.nan if nan else 1 / n
        made.add(100 * n, Figures(fvu, 30 + n, 0.1 / n, 1.1 / n, 29 + n, 0.01), dead=0.2 / n)
    return made


@pytest.mark.parametrize("made", [history(24), history(1), history(3, nan=True), History()], ids=["", "1", "nan", "0"])
def test_a_picture_is_drawn_of_whatever_there_is(made: History, tmp_path: Path) -> None:
    path = draw_curve(made, TrainSettings(), tmp_path / "curve.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 10_000
    assert [file.name for file in tmp_path.iterdir()] == ["curve.png"]


def test_it_shows_the_series_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn = {}
    plot = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda self, x, y, **o: drawn.update({o["label"]: (x, y)}) or plot(self, x, y, **o)
    )
    draw_curve(history(3), TrainSettings(), tmp_path / "curve.png", "on training frames")
    assert drawn["without far frames"] == ([100, 200, 300], pytest.approx([1.1, 0.55, 1.1 / 3]))
    assert set(drawn) == {
        "without far frames", "all frames", "silent, on training frames", "not fired in the last 200 batches",
    }  # fmt: skip


def test_it_resumes_from_rows_as_json_has_them() -> None:
    first = history(2)
    second = History(first.rows)
    second.add(300, Figures(0.1, 3, 0, 0.2, 3, 0), 0.0)
    assert second.series("fvu") == ([100, 200, 300], [1.0, 0.5, 0.1])
    assert len(first.rows) == 2


def test_where_it_cannot_be_written_the_error_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        draw_curve(history(2), TrainSettings(), tmp_path / "file" / "curve.png")
