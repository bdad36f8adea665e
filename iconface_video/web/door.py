"""The pass phrase, where other machines are let in: printed at the start, typed once in each browser, remembered by a cookie."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from http.cookies import CookieError, SimpleCookie

COOKIE = "iconface"
ENTER = "/api/enter"
LOCKED = "type the pass phrase first; the program printed it when it was started"
_OPEN = (ENTER, "/api/about")
"""Besides the page itself, what is told to everybody."""
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""None that looks like another one."""
_GROUPS, _GROUP = 4, 4
_MOST_WRONG, _PAUSE_SECONDS = 5, 10.0
"""So many wrong ones in a row are followed by a pause, in which the right one is refused, too."""


class Door:
    """One phrase for everybody, as long as the server runs."""

    def __init__(self, phrase: str | None = None) -> None:
        self.phrase = phrase or "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
        self._key = secrets.token_urlsafe(32)
        self._lock = threading.Lock()
        self._wrong = 0
        self._closed_until = 0.0

    def open(self, typed: str) -> str | None:
        """The cookie's value for the right phrase, else None."""
        with self._lock:
            if time.monotonic() < self._closed_until:
                return None
            if hmac.compare_digest(_plain(typed), _plain(self.phrase)):
                self._wrong = 0
                return self._key
            self._wrong += 1
            if self._wrong >= _MOST_WRONG:
                self._wrong, self._closed_until = 0, time.monotonic() + _PAUSE_SECONDS
        return None

    def lets_in(self, path: str, cookies: str) -> bool:
        """Whether a request may go on."""
        if not path.startswith("/api/") or path in _OPEN:
            return True
        return self.knows(cookies)

    def knows(self, cookies: str) -> bool:
        """Whether the cookies hold ours."""
        try:
            found = SimpleCookie(cookies).get(COOKIE)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self._key.encode())


def _plain(phrase: str) -> bytes:
    """Spaces, dashes and capitals do not matter."""
    return "".join(phrase.split()).replace("-", "").lower().encode()
