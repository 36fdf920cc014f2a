"""Scripts of users by which faults were reported: each exits 0 where the fault is mended.

What each is about is tested by itself too: `whisper.decode` in `models/families/test_empty_text.py`, threads in
`steering/test_pass_state.py`, and pickles, quantised and traced models in `steering/test_ways_in.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import audiosae_steer

REPORTS = sorted((Path(__file__).resolve().parents[2] / "shared" / "reports").glob("*.py"))


@pytest.mark.skipif(not REPORTS, reason="the reports (../shared/reports beside the repository) are not on this machine")
@pytest.mark.parametrize("script", REPORTS, ids=lambda path: path.stem)
def test_a_reported_fault_is_mended(script: Path, tmp_path: Path) -> None:
    package = str(Path(audiosae_steer.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": package},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
