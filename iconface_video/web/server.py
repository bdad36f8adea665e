"""Starting and stopping the server."""

from __future__ import annotations

import logging
import socket
import webbrowser
from collections.abc import Callable

from iconface_video.errors import UsageError
from iconface_video.web.serving import ServeSettings

_log = logging.getLogger(__name__)
_GRACE_SECONDS = 2


def serve(settings: ServeSettings, say: Callable[[str], None], *, open_browser: bool = False) -> None:
    """Serve until interrupted (Ctrl-C or a polite kill); then all work is stopped and all files are removed.

    say: takes the lines for whoever started it. Raises UsageError: the extra is missing, or the address cannot be used.
    """
    try:
        import uvicorn

        from iconface_video.web.app import create_app
        from iconface_video.web.engine import Engine
    except ModuleNotFoundError as error:
        if error.name not in ("uvicorn", "starlette"):
            raise
        raise UsageError(
            f"the browser interface needs {error.name}; install it with: pip install 'iconface-video[web]'"
        ) from error
    from iconface_video.settings import RunSettings

    listening = listen(settings)
    url = url_of(settings, listening.getsockname()[1])
    engine = Engine()
    engine.warm_up(RunSettings())
    config = uvicorn.Config(
        create_app(settings, engine),
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=30,
    )
    say(f"iconface-video is at {url}   (Ctrl-C stops it)")
    if not settings.is_loopback:
        say(
            f"warning: it listens on {settings.host}, so everybody who reaches this computer over the network can use it, "
            "without a password and unencrypted. Do this in a network that you trust only."
        )
    if open_browser and not webbrowser.open(url):
        say("no browser could be opened; open the address above yourself")
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


def listen(settings: ServeSettings) -> socket.socket:
    """A socket that listens on the address. Raises UsageError where that cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((settings.host, settings.port))
        bound.listen(128)  # from now on the address works: whoever comes early waits a moment
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot listen on {settings.host}, port {settings.port} ({reason}); choose another with --host or --port"
        ) from error
    return bound


def url_of(settings: ServeSettings, port: int) -> str:
    """What is typed into the browser; for an address that means "all of them", the loopback one."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{port}/"
