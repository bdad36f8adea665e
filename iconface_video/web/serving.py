"""`iconface-video serve`, and what the server is told once, when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
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
    projects: Path | None = None
    """Where projects are kept; None: in the user's own data folder."""

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
    projects: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where projects are kept; in your own data folder when not given."),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Restore videos in the browser, on this machine: add a clip, see who is in it, look before you wait, restore, compare.

    Nothing is sent anywhere: the page comes from this program and works without the internet. Each clip is a project, kept with all
    that belongs to it until you delete it: stopping the program loses nothing, and the next start goes on with unfinished work.
    Needs the extra "web": pip install 'iconface-video\\[web]'.

    Examples:

      iconface-video serve --open

      iconface-video serve --port 9000 --max-upload 20000

      iconface-video serve --projects /mnt/large/projects
    """
    from iconface_video.web.server import serve as start

    settings = ServeSettings(host, port, max_upload * 10**6, projects=projects)
    try:
        start(settings, lambda line: print(line, flush=True), open_browser=open_browser)
    except KeyboardInterrupt:
        print("stopped; your projects are kept, and the next start goes on with what was not done", flush=True)
