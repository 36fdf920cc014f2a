"""Modules joined into one, and the policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib

import pytest

from audiosae_steer.evaluate.page_parts.single_page import PARTS, data_address, joined_modules, page_policy


def test_our_own_modules_are_joined_without_an_import():
    joined = joined_modules([PARTS / "curve.js", PARTS / "clip_stage.js"])
    assert "import " not in joined.replace("important ", "")
    assert joined.count("class ClipStage") == 1
    assert "function drawCurve" in joined


def test_what_is_missing_or_not_understood_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"imports curve.js, which is not before it"):
        joined_modules([PARTS / "clip_stage.js"])
    odd = tmp_path / "odd.js"
    for text in ('import all from "./x.js";\n', "export default 1;\n", "export { a };\n"):
        odd.write_text(text)
        with pytest.raises(ValueError, match="cannot be joined"):
            joined_modules([odd])


def test_a_script_cannot_end_early(tmp_path):
    file = tmp_path / "a.js"
    file.write_text('const a = "</script><b>";\n')
    assert "</script" not in joined_modules([file])


def test_the_policy_names_these_texts():
    policy = page_policy("let a;", "b {}")
    digest = base64.b64encode(hashlib.sha256(b"let a;").digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert data_address("image/png", b"ab") == "data:image/png;base64,YWI="
