"""Routes of the people whom the user keeps; on this machine's own page alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from iconface_video.errors import UsageError
from iconface_video.web.answers import ProjectAct, project_route, refusal, route, serve_settings
from iconface_video.web.project import Project
from iconface_video.web.projects import Projects
from iconface_video.web.values import json_object, number_in_address, text


def _refused(request: Request) -> Response | None:
    if serve_settings(request).is_loopback:
        return None
    return refusal("the people who are kept are shown on this computer alone", 403)


def _here(act: Callable[[Request, Projects], Awaitable[Response]]) -> Callable[[Request, Projects], Awaitable[Response]]:
    async def on_loopback(request: Request, projects: Projects) -> Response:
        return _refused(request) or await act(request, projects)

    return on_loopback


def _here_of_project(act: ProjectAct) -> ProjectAct:
    async def on_loopback(request: Request, project: Project) -> Response:
        return _refused(request) or await act(request, project)

    return on_loopback


async def _list(request: Request, projects: Projects) -> Response:
    return JSONResponse(await run_in_threadpool(projects.engine.known.listed))


async def _forget(request: Request, projects: Projects) -> Response:
    name = text(await json_object(request), "name")
    if not name:
        raise UsageError("say who is to be forgotten")
    copies = await run_in_threadpool(projects.engine.known.forget, name)
    return JSONResponse({**await run_in_threadpool(projects.engine.known.listed), "copies": [str(path) for path in copies]})


async def _keep(request: Request, project: Project) -> Response:
    """The photos of a person of a project, as `people add` does it; learning comes with the first run that needs it."""
    await json_object(request)
    notes = await run_in_threadpool(project.keep_person, number_in_address(request, "person"))
    return JSONResponse({**await run_in_threadpool(project.snapshot), "notes": notes}, 201)


ROUTES = [
    route("/api/known", _here(_list)),
    route("/api/known/forget", _here(_forget), "POST"),
    project_route("/people/{person}/keep", _here_of_project(_keep), "POST"),
]
