"""Answers that say what is wrong, and bodies of requests that have a largest size."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from opsicm.core.errors import BadInput, OpsicmError, Problem


def problem(status: int, title: str, error: OpsicmError | None = None) -> Response:
    """An answer that says what is wrong."""
    content: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if error is not None:
        content["detail"] = "; ".join(f"{one.thing}: {one.limit}; {one.remedy}" for one in error.problems)
        content["problems"] = [
            {"thing": one.thing, "value": one.value, "limit": one.limit, "remedy": one.remedy} for one in error.problems
        ]
    return JSONResponse(content, status, media_type="application/problem+json")


class TooLarge(Exception):
    """The body of a request is longer than it may be."""


def too_large(most: int) -> Response:
    """The answer to a body of more than `most` bytes."""
    limit = f"a request of this kind has at most {most} bytes"
    return problem(413, "Too large", BadInput(Problem("request", "", limit, "shorten the text")))


async def body_of(request: Request, most: int) -> bytes:
    """The body of a request; raises `TooLarge` as soon as it has more than `most` bytes."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise TooLarge
    return body
