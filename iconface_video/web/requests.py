"""Who may talk to the server: an ASGI layer before all routes.

A page on the internet can make the user's browser send requests to this machine. Two ways are closed here. *DNS rebinding*:
the foreign page's name suddenly points to 127.0.0.1, so the browser takes us for that page's own server; then the Host
header holds the foreign name, and only names that are ours (or plain addresses, which no name service can redirect) are
served. *Cross-site posts*: the browser says in Origin (or Sec-Fetch-Site) where a request comes from, and what changes
anything is accepted from our own page alone.

Files from the browser: stored under a harmless name inside their folder, and never more of them than is allowed.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import socket
import unicodedata
from collections.abc import AsyncIterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from iconface_video.errors import IconFaceError, OutputError, UsageError
from iconface_video.files import aside
from iconface_video.web.door import LOCKED, Door
from iconface_video.web.serving import LOOPBACK, ServeSettings

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """Refuses foreign hosts and origins; adds security headers to every answer."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, door: Door | None = None) -> None:
        """door: what a pass phrase opens; None: all is open to whoever may ask at all."""
        self._app = app
        self._settings = settings
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        refusal = self.refusal(headers, scope["method"])
        if refusal is not None:
            await JSONResponse({"error": refusal}, 403)(scope, receive, send_guarded)
        elif self._door is not None and not self._door.lets_in(scope["path"], headers.get("cookie", "")):
            await JSONResponse({"error": LOCKED}, 401)(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)

    def refusal(self, headers: Headers, method: str) -> str | None:
        """Why a request is refused, or None."""
        host = headers.get("host", "")
        if not self._is_ours(_name(f"//{host}")):
            return (
                f"this server does not answer to the name '{host[:80]}'; open it by its address, as it was printed at the start"
            )
        if method in _SAFE_METHODS:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none") or (origin is not None and _place(origin) != host):
            return "this request came from another web page and was refused"
        return None

    def _is_ours(self, name: str | None) -> bool:
        if name is None:
            return False
        if name in LOOPBACK:
            return True
        if self._settings.is_loopback:
            return _is_loopback_address(name)
        return name in (self._settings.host.lower(), socket.gethostname().lower()) or _is_address(name)


def _name(url: str) -> str | None:
    """The host without its port; None for nonsense."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
        return parts.hostname if parts.username is None and not parts.path else None
    except ValueError:
        return None


def _place(origin: str) -> str | None:
    """Host and port of an origin; None for nonsense."""
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as a bracket that is never closed
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback_address(name: str) -> bool:
    return _is_address(name) and ipaddress.ip_address(name).is_loopback


_MOST_NAME_BYTES = 120
_SPARE_BYTES = 200 << 20
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices."""


class UploadTooLarge(UsageError):
    """More bytes than are allowed."""


def safe_name(name: str, default: str) -> str:
    """A file name without folders, control characters, leading dots or dashes, of at most 120 bytes, which end with a word
    where there are words; the suffix stays."""
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(c for c in unicodedata.normalize("NFC", last) if unicodedata.category(c)[0] not in "CZ" or c == " ")
    kept = re.sub(r'[<>:"|?*\x00-\x1f]', "_", kept).strip(" .-~")
    if not kept or _RESERVED.match(kept):
        return default
    stem, dot, suffix = kept.rpartition(".")
    if not dot or len(suffix) > 8:
        stem, dot, suffix = kept, "", ""
    room = _MOST_NAME_BYTES - len((dot + suffix).encode())
    short = stem.encode()[:room].decode(errors="ignore")
    if short != stem and re.match(r"\w", stem[len(short) :]) and (words := re.match(r"(.{20,})[ _.,-]", short)):
        short = words.group(1)
    stem = short.strip(" .-~")
    return f"{stem}{dot}{suffix}" if stem else default


async def receive(stream: AsyncIterable[bytes], declared: int | None, path: Path, limit: int) -> int:
    """Write a request's body to `path`, aside first; returns the number of bytes.

    declared: Content-Length, if the browser gave it. Raises UploadTooLarge, UsageError for an empty body, OutputError where
    the disk is full; whatever it raises (also when the browser goes away), no file is left.
    """
    if declared is not None:
        _check_size(declared, path, limit)
        free = shutil.disk_usage(path.parent).free
        if declared + _SPARE_BYTES > free:
            raise OutputError(f"{path.name}: {_mb(declared)} do not fit on this computer's disk, which has {_mb(free)} left")
    unfinished = aside(path)
    size = 0
    try:
        with unfinished.open("wb") as file:
            async for block in stream:
                size += len(block)
                _check_size(size, path, limit)
                file.write(block)  # a block is small, and goes into the system's cache
        if size == 0:
            raise UsageError(f"{path.name}: the file is empty (0 bytes); copy or record it again")
        os.replace(unfinished, path)
    except OSError as error:
        if isinstance(error, IconFaceError):
            raise
        raise OutputError(f"{path.name}: cannot be stored on this computer ({error.strerror})") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return size


def sentence(error: BaseException, folder: Path) -> str:
    """An error for the page: the program's own sentence, without where this machine keeps its files."""
    if not isinstance(error, IconFaceError):
        return f"something unexpected went wrong ({type(error).__name__}: {error}); the program's window says more"
    step = re.escape(os.sep)
    return re.sub(rf"{re.escape(str(folder))}(?:{step}[\w-]+)*{step}", "", str(error))


def _check_size(size: int, path: Path, limit: int) -> None:
    if size > limit:
        raise UploadTooLarge(
            f"{path.name}: larger than the {_mb(limit)} that are allowed here; cut the clip, "
            "or start the program with a larger --max-upload"
        )


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
