"""The application: which addresses there are, who may ask, and what is told of the program itself. What takes time is done by threads
and the job queue, so every request is answered at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from iconface_video import __version__
from iconface_video.configs import DEFAULTS, load_preset, preset_names
from iconface_video.errors import IconFaceError
from iconface_video.web import known_routes, list_routes, preset_routes, project_routes
from iconface_video.web.answers import refusal
from iconface_video.web.desktop import opener
from iconface_video.web.door import COOKIE, ENTER, Door
from iconface_video.web.engine import devices_here
from iconface_video.web.projects import Projects
from iconface_video.web.record import CONTAINERS
from iconface_video.web.requests import Guard
from iconface_video.web.serving import ServeSettings
from iconface_video.web.values import json_object, text

STATIC = Path(__file__).parent / "static"
_CODECS = ("h264", "hevc", "prores", "ffv1")


def create_app(settings: ServeSettings, projects: Projects, door: Door | None = None) -> Starlette:
    """The server's application. door: asks for a pass phrase."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.projects, app.state.settings = projects, settings
        with projects:
            yield

    return Starlette(
        routes=[
            Route("/", _page),
            Route("/api/about", partial(_about, settings, door)),
            Route(ENTER, partial(_enter, door), methods=["POST"]),
            *list_routes.ROUTES,
            *project_routes.ROUTES,
            *known_routes.ROUTES,
            *preset_routes.ROUTES,
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        lifespan=lifespan,
        middleware=[Middleware(Guard, settings=settings, door=door)],
        exception_handlers={404: _not_found, 405: _not_found},
    )


async def _not_found(request: Request, error: Exception) -> Response:
    return refusal("there is no such thing here", getattr(error, "status_code", 404))


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "index.html", media_type="text/html")


async def _about(settings: ServeSettings, door: Door | None, request: Request) -> Response:
    presets = [DEFAULTS, *(load_preset(name) for name in preset_names())]
    devices = await run_in_threadpool(devices_here)
    return JSONResponse(
        {
            "version": __version__,
            "max_upload_bytes": settings.max_upload_bytes,
            "is_loopback": settings.is_loopback,
            "shows_folders": settings.is_loopback and opener() is not None,
            "is_locked": door is not None and not door.knows(request.headers.get("cookie", "")),
            "presets": [
                {"name": item.name, "description": item.description, "strength": item.settings().render.strength}
                for item in presets
            ],
            "codecs": list(_CODECS),
            "containers": list(CONTAINERS),
            "devices": devices,
        }
    )


async def _enter(door: Door | None, request: Request) -> Response:
    try:
        typed = text(await json_object(request), "phrase") or ""
    except IconFaceError as error:
        return refusal(str(error), 400)
    key = None if door is None else door.open(typed)
    if door is None or key is None:
        return refusal(
            "this is not the pass phrase; after several wrong ones it takes some seconds until the next is looked at", 401
        )
    answer = JSONResponse({})
    answer.set_cookie(COOKIE, key, httponly=True, samesite="strict")
    return answer
