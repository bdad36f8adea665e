"""Who may talk to the server: an ASGI layer before all routes.

A page on the internet can make the user's browser send requests to this machine. Two ways are closed here. *DNS rebinding*:
the foreign page's name suddenly points to 127.0.0.1, so the browser takes us for that page's own server; then the Host
header holds the foreign name, and only names that are ours (or plain addresses, which no name service can redirect) are
served. *Cross-site posts*: the browser says in Origin (or Sec-Fetch-Site) where a request comes from, and what changes
anything is accepted from our own page alone.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app = app
        self._settings = settings

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

        refusal = self.refusal(Headers(scope=scope), scope["method"])
        if refusal is None:
            await self._app(scope, receive, send_guarded)
        else:
            await JSONResponse({"error": refusal}, 403)(scope, receive, send_guarded)

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
        if site not in ("same-origin", "none") or (origin is not None and urlsplit(origin).netloc != host):
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


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback_address(name: str) -> bool:
    return _is_address(name) and ipaddress.ip_address(name).is_loopback
