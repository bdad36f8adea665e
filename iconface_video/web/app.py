"""Routes of the page. Each answers at once: what takes time is done by threads and the job queue."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from iconface_video import __version__
from iconface_video.configs import DEFAULTS, load_preset, preset_names
from iconface_video.errors import IconFaceError, UsageError
from iconface_video.video.probe import probe
from iconface_video.web.engine import Engine
from iconface_video.web.people import thumbnail
from iconface_video.web.requests import Guard, UploadTooLarge, receive, safe_name, sentence
from iconface_video.web.serving import ServeSettings
from iconface_video.web.work import AFTER, BEFORE, FILM
from iconface_video.web.workspace import Workspace
from iconface_video.web.workspaces import Workspaces

STATIC = Path(__file__).parent / "static"
_MOST_JSON_BYTES = 64 << 10
_MOST_DIGITS = 20
"""Of a number in a header or an address: Python refuses to read those of thousands of digits."""

Act = Callable[[Request, Workspace], Awaitable[Response]]
T = TypeVar("T")


def create_app(settings: ServeSettings | None = None, engine: Engine | None = None) -> Starlette:
    """The server's application. Its files live from the server's start to its end."""
    settings = settings or ServeSettings()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with Workspaces(settings, engine or Engine()) as workspaces:
            app.state.workspaces = workspaces
            yield

    work = "/api/work/{token}"
    person = work + "/people/{person}"
    routes = [
        Route("/", _page),
        Route("/api/about", partial(_about, settings)),
        Route("/api/work", _open_work, methods=["POST"]),
        _route(work, _state),
        _route(work, _forget, "DELETE"),
        _route(work + "/clip", _put_clip, "PUT"),
        _route(work + "/frame", _frame),
        _route(work + "/survey", _look_again, "POST"),
        _route(work + "/preset", _choose_preset, "POST"),
        _route(person, _change_person, "PATCH"),
        _route(person + "/face", _face),
        _route(person + "/photos", _put_photo, "PUT"),
        _route(person + "/photos/{photo}", _photo),
        _route(person + "/photos/{photo}", _remove_photo, "DELETE"),
        _route(work + "/preview", _start_preview, "POST"),
        _route(work + "/run", _start_run, "POST"),
        _route(work + "/cancel", _cancel, "POST"),
        _route(work + "/preview/{id}/{file}", _preview_file),
        _route(work + "/result/{id}/film.mp4", _result_film),
        _route(work + "/result/{id}/download", _download),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Guard, settings=settings)],
        exception_handlers={404: _not_found, 405: _not_found},
    )


def _route(path: str, act: Act, method: str = "GET") -> Route:
    """A route of one page's work: finds it, and answers errors with their sentence."""

    async def endpoint(request: Request) -> Response:
        workspaces: Workspaces = request.app.state.workspaces
        workspace = workspaces.get(request.path_params["token"])
        if workspace is None:
            return _refusal(
                "this page's files are gone: it was closed for long, or the program was started anew; reload it", 404
            )
        try:
            return await act(request, workspace)
        except ClientDisconnect:
            return _refusal("the browser went away", 400)
        except UploadTooLarge as error:
            return _refusal(sentence(error, workspace.folder), 413)
        except IconFaceError as error:
            return _refusal(sentence(error, workspace.folder), 400)

    return Route(path, endpoint, methods=[method], name=f"{method} {path}")


def _refusal(message: str, status: int) -> JSONResponse:
    return JSONResponse({"error": message}, status, {"connection": "close"} if status == 413 else None)


async def _not_found(request: Request, error: Exception) -> Response:
    return _refusal("there is no such thing here", getattr(error, "status_code", 404))


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "index.html", media_type="text/html")


async def _about(settings: ServeSettings, request: Request) -> Response:
    presets = [DEFAULTS, *(load_preset(name) for name in preset_names())]
    return JSONResponse(
        {
            "version": __version__,
            "max_upload_bytes": settings.max_upload_bytes,
            "is_loopback": settings.is_loopback,
            "presets": [
                {"name": item.name, "description": item.description, "strength": item.settings().render.strength}
                for item in presets
            ],
        }
    )


async def _open_work(request: Request) -> Response:
    workspaces: Workspaces = request.app.state.workspaces
    try:
        workspace = await run_in_threadpool(workspaces.create)
    except IconFaceError as error:
        return _refusal(str(error), 503)
    return JSONResponse({"work": workspace.token}, 201)


async def _state(request: Request, workspace: Workspace) -> Response:
    return JSONResponse(workspace.snapshot())


async def _forget(request: Request, workspace: Workspace) -> Response:
    workspaces: Workspaces = request.app.state.workspaces
    await run_in_threadpool(workspaces.remove, workspace.token)
    return JSONResponse({})


async def _put_clip(request: Request, workspace: Workspace) -> Response:
    workspaces: Workspaces = request.app.state.workspaces
    workspace.must_be_idle("Another clip cannot be taken")
    path = workspace.upload_path(safe_name(request.query_params.get("name", ""), "clip.mp4"))
    async with workspace.receiving(), _removed_when_refused(path):
        await receive(request.stream(), _declared(request), path, workspaces.settings.max_upload_bytes)
        info = await run_in_threadpool(probe, path)
        await run_in_threadpool(workspace.take_clip, info)
    return JSONResponse(workspace.snapshot())


async def _put_photo(request: Request, workspace: Workspace) -> Response:
    workspaces: Workspaces = request.app.state.workspaces
    person = _person(request)
    workspace.person(person)
    path = workspace.upload_path(safe_name(request.query_params.get("name", ""), "photo.jpg"))
    async with workspace.receiving(), _removed_when_refused(path):
        await receive(request.stream(), _declared(request), path, workspaces.settings.max_photo_bytes)
        await run_in_threadpool(workspace.add_photo, person, path)
    return JSONResponse(workspace.snapshot())


@asynccontextmanager
async def _removed_when_refused(path: Path) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the page may have been closed meanwhile, and all its files with it
            path.unlink(missing_ok=True)
            path.parent.rmdir()
        raise


async def _frame(request: Request, workspace: Workspace) -> Response:
    seconds = _number(request.query_params.get("seconds"), "seconds")
    return Response(await run_in_threadpool(workspace.frame, seconds), media_type="image/jpeg")


async def _look_again(request: Request, workspace: Workspace) -> Response:
    await run_in_threadpool(workspace.look_again)
    return JSONResponse(workspace.snapshot(), 202)


async def _choose_preset(request: Request, workspace: Workspace) -> Response:
    wanted = await _json(request)
    await run_in_threadpool(workspace.choose_preset, _text(wanted, "preset") or "")
    return JSONResponse(workspace.snapshot())


async def _change_person(request: Request, workspace: Workspace) -> Response:
    wanted = await _json(request)
    skip = wanted.get("skip")
    if skip is not None and not isinstance(skip, bool):
        raise UsageError("skip must be true or false")
    workspace.change_person(_person(request), _text(wanted, "name"), skip)
    return JSONResponse(workspace.snapshot())


async def _face(request: Request, workspace: Workspace) -> Response:
    return Response(workspace.person(_person(request)).face, media_type="image/jpeg")


async def _photo(request: Request, workspace: Workspace) -> Response:
    photo = workspace.photo(_person(request), request.path_params["photo"])
    return Response(thumbnail(photo.reference), media_type="image/jpeg")


async def _remove_photo(request: Request, workspace: Workspace) -> Response:
    workspace.remove_photo(_person(request), request.path_params["photo"])
    return JSONResponse(workspace.snapshot())


async def _start_preview(request: Request, workspace: Workspace) -> Response:
    wanted = await _json(request)
    kind = wanted.get("kind")
    if kind not in ("frame", "stretch"):
        raise UsageError("a preview is of kind 'frame' or 'stretch'")
    await run_in_threadpool(workspace.start_preview, kind, _number(wanted.get("seconds"), "seconds"))
    return JSONResponse(workspace.snapshot(), 202)


async def _start_run(request: Request, workspace: Workspace) -> Response:
    wanted = await _json(request)
    await run_in_threadpool(workspace.start_run, _number(wanted.get("strength"), "strength"))
    return JSONResponse(workspace.snapshot(), 202)


async def _cancel(request: Request, workspace: Workspace) -> Response:
    workspace.cancel()
    return JSONResponse(workspace.snapshot())


async def _preview_file(request: Request, workspace: Workspace) -> Response:
    preview, file = workspace.preview, request.path_params["file"]
    if preview is None or preview.id != request.path_params["id"] or file not in (BEFORE, AFTER, FILM):
        return _refusal("this preview is out of date", 404)
    return _file(preview.folder / file)


async def _result_film(request: Request, workspace: Workspace) -> Response:
    result = workspace.result
    if result is None or result.id != request.path_params["id"]:
        return _refusal("this result was replaced", 404)
    return _file(result.folder / FILM)


async def _download(request: Request, workspace: Workspace) -> Response:
    result = workspace.result
    if result is None or result.id != request.path_params["id"]:
        return _refusal("this result was replaced", 404)
    path = result.report.output
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return FileResponse(path, media_type=kind, filename=path.name)


def _file(path: Path) -> Response:
    if not path.is_file():
        return _refusal("there is no such file", 404)
    return FileResponse(path, media_type=mimetypes.guess_type(path.name)[0])


def _person(request: Request) -> int:
    """The number in the address. Raises UsageError for anything else."""
    text = request.path_params["person"]
    if not (text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS):
        raise UsageError("people are known by their number")
    return int(text)


def _declared(request: Request) -> int | None:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS else None


async def _json(request: Request) -> dict[str, Any]:
    """The request's JSON object. Raises UsageError for anything else."""
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > _MOST_JSON_BYTES:
            raise UploadTooLarge("the request is too long")
    try:
        values = json.loads(body or b"{}")
    except (ValueError, RecursionError):  # the second one: lists in lists in lists
        values = None
    if request.headers.get("content-type", "").split(";")[0] != "application/json" or not isinstance(values, dict):
        raise UsageError("the request must be a JSON object")
    return values


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name} must be a text")
    return value


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UsageError(f"{name} must be a number")
    try:
        return float(value)
    except (ValueError, OverflowError):  # the second one: whole numbers of hundreds of digits
        raise UsageError(f"{name} must be a number, not '{str(value)[:40]}'") from None
