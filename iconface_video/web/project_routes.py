"""Routes of one project."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from iconface_video.errors import UsageError
from iconface_video.web.answers import file, project_route, refusal, serve_settings
from iconface_video.web.desktop import show_folder
from iconface_video.web.people import PersonChange
from iconface_video.web.photos import thumbnail
from iconface_video.web.project import Project
from iconface_video.web.projects import Projects
from iconface_video.web.requests import receive, safe_name
from iconface_video.web.results import FILM, SIDES
from iconface_video.web.values import declared_bytes, flag, json_object, number, number_in_address, text, whole_numbers
from iconface_video.web.versions import film_of
from iconface_video.web.work import AFTER, BEFORE


async def _told(project: Project, status: int = 200) -> Response:
    return JSONResponse(await run_in_threadpool(project.snapshot), status)


async def _state(request: Request, project: Project) -> Response:
    return await _told(project)


async def _change(request: Request, project: Project) -> Response:
    """Its name, or where its clip has gone; all else are settings, single ones or (`own`) those that the user has kept."""
    wanted = await json_object(request)
    name, path, own = text(wanted, "name"), text(wanted, "path"), text(wanted, "own")
    if path is not None and not serve_settings(request).is_loopback:
        return refusal("files of this computer can be named by their path on this computer alone", 403)
    if name is not None:
        await run_in_threadpool(project.rename, name)
    if path is not None:
        await run_in_threadpool(project.found_at, Path(path.strip()).expanduser())
    projects: Projects = request.app.state.projects
    options = {key: value for key, value in wanted.items() if key not in ("name", "path", "own")}
    options = {**(projects.presets.values(own) if own else {}), **options}
    if "folder" in options and not serve_settings(request).is_loopback:
        return refusal("a folder of this computer can be chosen on this computer alone", 403)
    if options:
        await run_in_threadpool(project.choose, options)
    return await _told(project)


async def _delete(request: Request, project: Project) -> Response:
    projects: Projects = request.app.state.projects
    await run_in_threadpool(projects.remove, project.id)
    return JSONResponse({})


async def _poster(request: Request, project: Project) -> Response:
    return Response(await run_in_threadpool(project.poster), media_type="image/jpeg")


async def _frame(request: Request, project: Project) -> Response:
    seconds = number(request.query_params.get("seconds"), "seconds")
    return Response(await run_in_threadpool(project.frame, seconds), media_type="image/jpeg")


async def _look_again(request: Request, project: Project) -> Response:
    await run_in_threadpool(project.look_again)
    return await _told(project, 202)


async def _log(request: Request, project: Project) -> Response:
    return PlainTextResponse(await run_in_threadpool(project.log))


async def _show_folder(request: Request, project: Project) -> Response:
    """Its own folder, or that of a result's video; no request can name another one."""
    number = text(await json_object(request), "result")
    if not serve_settings(request).is_loopback:
        return refusal("folders of this computer are shown on this computer alone", 403)
    await run_in_threadpool(show_folder, project.folder if number is None else project.result(number).report.output.parent)
    return JSONResponse({})


# People ------------------------------------------------------------------------------------------------------------------


async def _change_person(request: Request, project: Project) -> Response:
    wanted = await json_object(request)
    strength = None if wanted.get("strength") is None else number(wanted["strength"], "strength")
    change = PersonChange(
        text(wanted, "name"), flag(wanted, "skip"), strength, flag(wanted, "recognise"), text(wanted, "learn")
    )
    await run_in_threadpool(project.change_person, number_in_address(request, "person"), change)
    return await _told(project)


async def _move_tracks(request: Request, project: Project) -> Response:
    wanted = await json_object(request)
    tracks = None if wanted.get("tracks") is None else whole_numbers(wanted["tracks"], "tracks")
    to = wanted.get("to")
    if to is not None and (type(to) is not int or not 0 <= to < 10**9):
        raise UsageError("to must be the number of a person")
    await run_in_threadpool(project.move_tracks, number_in_address(request, "person"), tracks, to)
    return await _told(project)


async def _restore_only(request: Request, project: Project) -> Response:
    wanted = whole_numbers((await json_object(request)).get("people"), "people")
    await run_in_threadpool(project.restore_only, wanted)
    return await _told(project)


async def _faces(request: Request, project: Project) -> Response:
    """Of the frame at a time."""
    seconds = number(request.query_params.get("seconds"), "seconds")
    return JSONResponse({"faces": await run_in_threadpool(project.faces_at, seconds)})


async def _face(request: Request, project: Project) -> Response:
    return file(project.face(number_in_address(request, "track")))


async def _put_photo(request: Request, project: Project) -> Response:
    person = number_in_address(request, "person")
    project.person(person)
    path = project.photo_path(safe_name(request.query_params.get("name", ""), "photo.jpg"))
    async with _removed_when_refused(path.parent):
        await receive(request.stream(), declared_bytes(request), path, serve_settings(request).max_photo_bytes)
        await run_in_threadpool(project.add_photo, person, path)
    return await _told(project)


@asynccontextmanager
async def _removed_when_refused(folder: Path) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


async def _photo(request: Request, project: Project) -> Response:
    photo = project.photo(number_in_address(request, "person"), request.path_params["photo"])
    return Response(thumbnail(photo.reference), media_type="image/jpeg")


async def _remove_photo(request: Request, project: Project) -> Response:
    await run_in_threadpool(project.remove_photo, number_in_address(request, "person"), request.path_params["photo"])
    return await _told(project)


# Work --------------------------------------------------------------------------------------------------------------------


async def _start_preview(request: Request, project: Project) -> Response:
    wanted = await json_object(request)
    kind = wanted.get("kind")
    if kind not in ("frame", "stretch"):
        raise UsageError("a preview is of kind 'frame' or 'stretch'")
    await run_in_threadpool(project.start_preview, kind, number(wanted.get("seconds"), "seconds"))
    return await _told(project, 202)


async def _start_run(request: Request, project: Project) -> Response:
    await json_object(request)
    await run_in_threadpool(project.start_run)
    return await _told(project, 202)


async def _again(request: Request, project: Project) -> Response:
    await run_in_threadpool(project.again)
    return await _told(project, 202)


async def _cancel(request: Request, project: Project) -> Response:
    await run_in_threadpool(project.cancel)
    return await _told(project)


async def _preview_file(request: Request, project: Project) -> Response:
    preview, name = project.preview, request.path_params["file"]
    if preview is None or preview.id != request.path_params["id"] or name not in (BEFORE, AFTER, FILM):
        return refusal("this preview is out of date", 404)
    return file(preview.folder / name)


async def _result_film(request: Request, project: Project) -> Response:
    return file(project.result(request.path_params["id"]).folder / FILM)


async def _download(request: Request, project: Project) -> Response:
    output = project.result(request.path_params["id"]).report.output
    return file(output, output.name)


async def _download_sides(request: Request, project: Project) -> Response:
    result = project.result(request.path_params["id"])
    return file(result.folder / SIDES, f"{result.report.output.stem}.beside{SIDES[-4:]}")


async def _start_sides(request: Request, project: Project) -> Response:
    await json_object(request)
    await run_in_threadpool(project.start_sides, request.path_params["id"])
    return await _told(project, 202)


async def _start_save(request: Request, project: Project) -> Response:
    """Into the folder that the settings name; no request can name another one."""
    await json_object(request)
    if not serve_settings(request).is_loopback:
        return refusal("results are saved in folders of this computer on this computer alone", 403)
    await run_in_threadpool(project.start_save, request.path_params["id"])
    return await _told(project, 202)


async def _start_versions(request: Request, project: Project) -> Response:
    other = text(await json_object(request), "other") or ""
    await run_in_threadpool(project.start_versions, request.path_params["id"], other)
    return await _told(project, 202)


async def _versions_film(request: Request, project: Project) -> Response:
    result, other = (project.result(request.path_params[name]) for name in ("id", "other"))
    return file(film_of(result, other))


async def _remove_result(request: Request, project: Project) -> Response:
    await run_in_threadpool(project.remove_result, request.path_params["id"])
    return await _told(project)


ROUTES = [
    project_route("", _state),
    project_route("", _change, "PATCH"),
    project_route("", _delete, "DELETE"),
    project_route("/poster", _poster),
    project_route("/frame", _frame),
    project_route("/log", _log),
    project_route("/folder", _show_folder, "POST"),
    project_route("/survey", _look_again, "POST"),
    project_route("/people", _restore_only, "POST"),
    project_route("/people/{person}", _change_person, "PATCH"),
    project_route("/people/{person}/move", _move_tracks, "POST"),
    project_route("/people/{person}/photos", _put_photo, "PUT"),
    project_route("/people/{person}/photos/{photo}", _photo),
    project_route("/people/{person}/photos/{photo}", _remove_photo, "DELETE"),
    project_route("/faces", _faces),
    project_route("/faces/{track}", _face),
    project_route("/preview", _start_preview, "POST"),
    project_route("/preview/{id}/{file}", _preview_file),
    project_route("/run", _start_run, "POST"),
    project_route("/again", _again, "POST"),
    project_route("/cancel", _cancel, "POST"),
    project_route("/results/{id}", _remove_result, "DELETE"),
    project_route("/results/{id}/film.mp4", _result_film),
    project_route("/results/{id}/download", _download),
    project_route("/results/{id}/sides", _start_sides, "POST"),
    project_route("/results/{id}/sides.mp4", _download_sides),
    project_route("/results/{id}/save", _start_save, "POST"),
    project_route("/results/{id}/against", _start_versions, "POST"),
    project_route("/results/{id}/against/{other}", _versions_film),
]
