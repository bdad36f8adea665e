"""`iconface-video serve`, and what the server is told once, when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

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


_DEFAULTS = ServeSettings()


def serve(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; anything but the default lets other machines in.")
    ] = _DEFAULTS.host,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0 takes any that is free.")] = _DEFAULTS.port,
    max_upload: Annotated[
        int, typer.Option(metavar="MB", min=1, help="Largest clip that may be added, in millions of bytes.")
    ] = _DEFAULTS.max_upload_bytes // 10**6,
    keep: Annotated[
        int, typer.Option(metavar="MINUTES", min=1, help="How long the files of a page that was closed are kept.")
    ] = round(_DEFAULTS.keep_seconds / 60),
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Restore videos in the browser, on this machine: add a clip, see who is in it, look before you wait, restore, compare.

    Nothing is sent anywhere: the page comes from this program and works without the internet. Files are kept in a temporary
    folder and removed when the program ends. Needs the extra "web": pip install 'iconface-video\\[web]'.

    Examples:

      iconface-video serve --open

      iconface-video serve --port 9000 --max-upload 20000
    """
    from iconface_video.web.server import serve as start

    settings = ServeSettings(host, port, max_upload * 10**6, keep_seconds=keep * 60.0)
    try:
        start(settings, lambda line: print(line, flush=True), open_browser=open_browser)
    except KeyboardInterrupt:
        print("stopped; all temporary files are removed", flush=True)
