"""What a request says, as typed values. Everything else is refused with a sentence."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from iconface_video.errors import UsageError
from iconface_video.web.requests import UploadTooLarge

_MOST_JSON_BYTES = 64 << 10
_MOST_DIGITS = 20
"""Of a number in a header or an address: Python refuses to read those of thousands of digits."""


async def json_object(request: Request) -> dict[str, Any]:
    """The request's JSON object. Raises UsageError for anything else."""
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > _MOST_JSON_BYTES:
            raise UploadTooLarge("the request is too long")
    try:
        values = json.loads(body or b"{}")
    except (ValueError, RecursionError):  # the second one: lists in lists in lists
        values = None
    if request.headers.get("content-type", "").split(";")[0] != "application/json" or not isinstance(values, dict):
        raise UsageError("the request must be a JSON object")
    return values


def text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name} must be a text")
    return value


def flag(values: dict[str, Any], name: str) -> bool | None:
    value = values.get(name)
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"{name} must be true or false")
    return value


def number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UsageError(f"{name} must be a number")
    try:
        return float(value)
    except (ValueError, OverflowError):  # the second one: whole numbers of hundreds of digits
        raise UsageError(f"{name} must be a number, not '{str(value)[:40]}'") from None


def whole_numbers(value: Any, name: str) -> list[int]:
    if not isinstance(value, list) or not all(type(item) is int and abs(item) < 10**9 for item in value):
        raise UsageError(f"{name} must be a list of whole numbers")
    return value


def texts(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{name} must be a list of texts")
    return value


def number_in_address(request: Request, name: str) -> int:
    """Raises UsageError for anything but a whole number."""
    given = request.path_params[name]
    if not (given.isascii() and given.isdigit() and len(given) < _MOST_DIGITS):
        raise UsageError("people are known by their number" if name == "person" else f"{name} must be a number")
    return int(given)


def declared_bytes(request: Request) -> int | None:
    given = request.headers.get("content-length", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < _MOST_DIGITS else None
