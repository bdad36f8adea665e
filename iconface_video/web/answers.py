"""How requests are answered: errors with their sentence, files with their kind."""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from iconface_video.errors import IconFaceError
from iconface_video.web.project import Project
from iconface_video.web.projects import Projects
from iconface_video.web.requests import UploadTooLarge, sentence
from iconface_video.web.serving import ServeSettings

GONE = "there is no such project any more"
Act = Callable[[Request, Projects], Awaitable[Response]]
ProjectAct = Callable[[Request, Project], Awaitable[Response]]


def route(path: str, act: Act, method: str = "GET") -> Route:
    """A route that errors leave with their sentence."""

    async def endpoint(request: Request) -> Response:
        projects: Projects = request.app.state.projects
        try:
            return await act(request, projects)
        except ClientDisconnect:
            return refusal("the browser went away", 400)
        except UploadTooLarge as error:
            return refusal(sentence(error, projects.folder), 413)
        except IconFaceError as error:
            return refusal(sentence(error, projects.folder), 400)

    return Route(path, endpoint, methods=[method], name=f"{method} {path}")


def project_route(path: str, act: ProjectAct, method: str = "GET") -> Route:
    """A route of one project: finds it."""

    async def with_project(request: Request, projects: Projects) -> Response:
        project = projects.get(request.path_params["project"])
        if project is None:
            return refusal(GONE, 404)
        await run_in_threadpool(project.open)
        return await act(request, project)

    return route("/api/projects/{project}" + path, with_project, method)


def serve_settings(request: Request) -> ServeSettings:
    settings: ServeSettings = request.app.state.settings
    return settings


def refusal(message: str, status: int) -> JSONResponse:
    return JSONResponse({"error": message}, status, {"connection": "close"} if status == 413 else None)


def file(path: Path, name: str | None = None) -> Response:
    """name: for a download."""
    if not path.is_file():
        return refusal("there is no such file", 404)
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return FileResponse(path, media_type=kind, filename=name)
