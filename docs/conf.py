"""Settings of Sphinx for the documentation: MyST pages, notebooks that are executed, and the API from the docstrings.

sphinx-build -W docs docs/_build                     # guides as they stand, none of them run
DOCS_EXECUTE=two sphinx-build -W docs docs/_build    # the two cheapest guides run, as CI does
DOCS_EXECUTE=all sphinx-build -W docs docs/_build    # all of them run
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
# the guides call `audiosae-steer`, which lies beside the interpreter even where no environment is activated
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))

from audiosae_steer import __version__  # noqa: E402

project = "audiosae-steer"
author = "audiosae-steer contributors"
copyright = author
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
source_suffix = {".md": "myst-nb"}

html_theme = "furo"
html_title = f"audiosae-steer {release}"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
pygments_style = "friendly"
pygments_dark_style = "monokai"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
add_module_names = False

CHEAPEST = ("guides/quiet-whisper", "guides/what-fires")
"""The guides that show the main job in the least time."""
GUIDES = sorted(path.relative_to(HERE).with_suffix("").as_posix() for path in (HERE / "guides").glob("*.md"))

execute = os.environ.get("DOCS_EXECUTE", "off")
if execute not in ("all", "two", "off"):
    raise ValueError(f"DOCS_EXECUTE is {execute!r}; expected all, two or off")
nb_execution_mode = "off" if execute == "off" else "force"
nb_execution_excludepatterns = [f"{guide}.md" for guide in GUIDES if execute == "two" and guide not in CHEAPEST]
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_output_stderr = "remove"
nb_merge_streams = True

OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+\.md)(#[\w-]+)?\)")
"""A link to a Markdown file; it may lie outside this folder, where Sphinx makes no page of it."""
INCLUDED = {HERE.parent / "CONTRIBUTING.md": "/contributing.md", HERE.parent / "CHANGELOG.md": "/changelog.md"}
"""Pages that hold a file from outside this folder: GitHub links to the file, Sphinx to the page."""


def link_files(app: Any, docname: str, source: list[str]) -> None:
    """Links to Markdown files of the repository become downloads of them, as those to its other files are.

    Those that a page here includes become links to that page.
    """
    folder = (HERE / docname).parent

    def role(link: re.Match[str]) -> str:
        file = (folder / link[2]).resolve()
        if file in INCLUDED:
            return f"[{link[1]}]({INCLUDED[file]}{link[3] or ''})"
        return link[0] if file.is_relative_to(HERE) else f"{{download}}`{' '.join(link[1].split())} <{link[2]}>`"

    source[0] = OUTSIDE.sub(role, source[0])


def keep_sentences(order: str) -> Any:
    """Attributes' docstrings stay whole: Napoleon reads "Share of the change: 0 is none" as a type and its text."""

    def handler(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
        if what not in ("attribute", "property", "data"):
            return
        if order == "before":
            _sentences[name] = list(lines)
        else:
            lines[:] = _sentences.pop(name, lines)

    return handler


_sentences: dict[str, list[str]] = {}


def setup(app: Any) -> None:
    """Register the above with Sphinx."""
    app.connect("source-read", link_files)
    app.connect("autodoc-process-docstring", keep_sentences("before"), priority=1)
    app.connect("autodoc-process-docstring", keep_sentences("after"), priority=900)
