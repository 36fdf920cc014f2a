"""Working directory of a guide: an empty folder with bundled clips in `clips/speech/` and `clips/nonspeech/`."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path

BUNDLED = Path(__file__).resolve().parents[2] / "checkpoints"

folder = Path(tempfile.mkdtemp(prefix="guide-"))
atexit.register(shutil.rmtree, folder, ignore_errors=True)
for clip in json.loads((BUNDLED / "clips" / "clips.json").read_text(encoding="utf-8")):
    target = folder / "clips" / clip["kind"] / clip["file"]
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(BUNDLED / "clips" / clip["file"], target)
shutil.copy(BUNDLED / "whisper-tiny.en" / "encoder-4.safetensors", folder / "encoder-4.safetensors")
os.chdir(folder)
os.environ.pop("FORCE_COLOR", None)  # Jupyter sets it, and commands would draw progress bars into the page
os.environ.update(NO_COLOR="1", TERM="dumb", COLUMNS="110", TQDM_DISABLE="1")
