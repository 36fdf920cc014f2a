"""HTML pages by jinja2, one self-contained file each, with everything that a template prints escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .page_parts.single_page import PARTS, page_policy


def render(template: Path, **values: Any) -> str:
    """The page that a template makes of values. Texts in them may be untrusted: they are escaped, never markup.

    Args:
        template: a file that extends `page.html` (beside this module) and fills its blocks `style`, `body` and, if
            it needs one, `script`; nothing else runs in the page. It may import the macros of `parts.html`. A
            misspelt name in it is an error.
        **values: what it prints; `title` is the page's.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent, PARTS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["page_policy"] = page_policy
    return environment.get_template(template.name).render(**values)
