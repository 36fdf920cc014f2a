"""Answers with bytes that a browser may ask for in parts, as it does to seek in a sound."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_RANGE = re.compile(r"bytes=(\d{0,12})-(\d{0,12})", re.ASCII)
KEPT = "private, max-age=3600"
"""Leave for the browser to keep it for an hour: the address of a clip holds for one index."""


def ranged(request: Request, body: bytes, kind: str, tag: str) -> Response:
    """The answer to a request for `body`, whole or the one range that is asked for.

    Several ranges at once are answered by the whole, as RFC 9110 (14.2) allows; one that begins behind the end by 416.

    Args:
        request: whose headers say what is wanted.
        body: all of it.
        kind: media type.
        tag: what stands for these bytes, for `ETag`.
    """
    from starlette.responses import Response

    etag = f'"{tag}"'
    headers = {"accept-ranges": "bytes", "etag": etag, "cache-control": KEPT}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if asked is None or asked.groups() == ("", "") or request.headers.get("if-range", etag) != etag:
        return Response(body, media_type=kind, headers=headers)
    first, last = asked.groups()
    start = int(first) if first else max(len(body) - int(last), 0)
    stop = min(int(last) + 1, len(body)) if first and last else len(body)
    if start >= len(body) or stop <= start:
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{len(body)}"})
    headers["content-range"] = f"bytes {start}-{stop - 1}/{len(body)}"
    return Response(body[start:stop], 206, media_type=kind, headers=headers)
