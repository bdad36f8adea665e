"""Routes of the start page: the list of projects, new ones, and the line of their jobs."""

from __future__ import annotations

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from iconface_video.errors import UsageError
from iconface_video.web.answers import refusal, route, serve_settings
from iconface_video.web.projects import Projects
from iconface_video.web.requests import receive, safe_name
from iconface_video.web.values import declared_bytes, flag, json_object, text, texts


async def _list(request: Request, projects: Projects) -> Response:
    return JSONResponse(await run_in_threadpool(projects.snapshot))


async def _put_clip(request: Request, projects: Projects) -> Response:
    """A video that comes through the browser becomes a project."""
    name = safe_name(request.query_params.get("name", ""), "clip.mp4")
    with projects.incoming() as folder:
        path = folder / name
        await receive(request.stream(), declared_bytes(request), path, serve_settings(request).max_upload_bytes)
        project = await run_in_threadpool(projects.take_upload, path)
    return JSONResponse({"id": project.id}, 201)


async def _take_path(request: Request, projects: Projects) -> Response:
    """A video that lies on this machine, used where it lies."""
    if not serve_settings(request).is_loopback:
        return refusal("files of this computer can be named by their path on this computer alone; add the video itself", 403)
    path = Path((text(await json_object(request), "path") or "").strip()).expanduser()
    taken = await run_in_threadpool(projects.take_path, path)
    return JSONResponse({"ids": [project.id for project in taken]}, 201)


async def _change_line(request: Request, projects: Projects) -> Response:
    wanted = await json_object(request)
    paused = flag(wanted, "paused")
    if paused is not None:
        await run_in_threadpool(projects.queue.pause, paused)
    if "order" in wanted:
        await run_in_threadpool(projects.reorder, texts(wanted["order"], "order"))
    return JSONResponse(await run_in_threadpool(projects.snapshot))


async def _start_all(request: Request, projects: Projects) -> Response:
    asked = await json_object(request)
    wanted = texts(asked.get("projects"), "projects")
    refused = await run_in_threadpool(projects.start_all, wanted, text(asked, "own") or "")
    if refused and len(refused) == len(wanted):
        raise UsageError("; ".join(refused))
    return JSONResponse({**await run_in_threadpool(projects.snapshot), "refused": refused}, 202)


ROUTES = [
    route("/api/projects", _list),
    route("/api/projects", _put_clip, "PUT"),
    route("/api/projects", _take_path, "POST"),
    route("/api/line", _change_line, "PATCH"),
    route("/api/line", _start_all, "POST"),
]
