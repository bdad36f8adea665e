"""What the server is told once, when it starts."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_PORT = 8765
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class ServeSettings:
    """How and for whom the page is served."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback lets other machines in."""
    port: int = DEFAULT_PORT
    """0: any that is free."""
    max_upload_bytes: int = 8000 * 10**6
    """Of one clip."""
    max_photo_bytes: int = 50 * 10**6
    keep_seconds: float = 60 * 60
    """Files of a page that has not been heard of for so long are removed; not while it has a job."""
    max_workspaces: int = 32
    """Pages that can be at work at once; each may hold a clip on the disk."""

    @property
    def is_loopback(self) -> bool:
        return self.host in LOOPBACK
