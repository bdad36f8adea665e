"""Routes of the settings that the user keeps under names of their own."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from iconface_video.errors import UsageError
from iconface_video.web.answers import GONE, refusal, route
from iconface_video.web.projects import Projects
from iconface_video.web.values import json_object, text


async def _list(request: Request, projects: Projects) -> Response:
    return JSONResponse(projects.presets.listed())


async def _save(request: Request, projects: Projects) -> Response:
    """The present settings of a project."""
    wanted = await json_object(request)
    project = projects.get(text(wanted, "project") or "")
    if project is None:
        return refusal(GONE, 404)
    name = await run_in_threadpool(projects.presets.save, text(wanted, "name") or "", project.options)
    return JSONResponse({**projects.presets.listed(), "name": name}, 201)


async def _delete(request: Request, projects: Projects) -> Response:
    name = text(await json_object(request), "name")
    if not name:
        raise UsageError("say which settings are to be deleted")
    await run_in_threadpool(projects.presets.delete, name)
    return JSONResponse(projects.presets.listed())


ROUTES = [
    route("/api/presets", _list),
    route("/api/presets", _save, "POST"),
    route("/api/presets/delete", _delete, "POST"),
]
