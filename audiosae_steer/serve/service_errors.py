"""Refusals in OpenAI's error format."""

from __future__ import annotations

import math
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from ..errors import AudioSAESteerError, printable

KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def quoted(text: str) -> str:
    """Text of a client, as a message gives it back: 40 characters of it at most, and none that acts."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


class ApiError(AudioSAESteerError):
    """A request that is refused.

    Args:
        status: of HTTP.
        message: words that say what is wrong and what to do.
        code: short name, for programs.
        param: field that it is about.
        retry_after: seconds after which to try again.
    """

    def __init__(
        self, status: int, message: str, code: str, *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after

    @property
    def content(self) -> dict[str, Any]:
        """As JSON."""
        kind = KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """As an answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(math.ceil(self.retry_after))}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.content, self.status, headers)


def as_response(request: Request, error: Exception) -> JSONResponse:
    """The answer to a refused request, to an unknown path or method, or to one on which the server failed."""
    if isinstance(error, ApiError):
        return error.response()
    status = int(getattr(error, "status_code", 500))
    known = "POST /v1/audio/transcriptions, POST /v1/audio/translations and GET /v1/models"
    if status == 404:
        return ApiError(
            404, f"there is nothing at {printable(request.scope['path'], 80)}; there are {known}", "not_found"
        ).response()
    if status == 405:
        message = f"{request.method} is not for {printable(request.scope['path'], 80)}; there are {known}"
        return ApiError(405, message, "method_not_allowed").response()
    return ApiError(500, "the server failed on this request; its log tells why", "internal_error").response()
