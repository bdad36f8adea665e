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
    """Serve until interrupted (Ctrl-C or a polite kill); then all work is stopped, and the next start goes on with it.

    say: takes the lines for whoever started it. Raises UsageError: the extra is missing, or the address cannot be used;
    OutputError: projects cannot be kept in their folder.
    """
    try:
        import uvicorn

        from iconface_video.web.app import create_app
        from iconface_video.web.door import Door
        from iconface_video.web.engine import Engine
        from iconface_video.web.projects import Projects, default_folder
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
    door = None if settings.is_loopback else Door()
    try:
        projects = Projects(settings.projects or default_folder(), engine)
    except BaseException:
        listening.close()
        raise
    config = uvicorn.Config(
        create_app(settings, projects, door),
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=30,
    )
    engine.warm_up(RunSettings())
    say(f"iconface-video is at {url}   (Ctrl-C stops it)")
    if door is not None:
        say(
            f"warning: it listens on {settings.host}, so everybody who reaches this computer over the network and knows the pass "
            "phrase can use it, unencrypted. Do this in a network that you trust only."
        )
        say(f"pass phrase: {door.phrase}")
    if open_browser and not webbrowser.open(url):
        say("no browser could be opened; open the address above yourself")
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        projects.close()
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
