"""The main recipe: a video in, the same video with its faces restored out.

survey -> anchors -> restore -> render, as in the figure of the architecture: each stage streams, what the model makes is
kept in a crop store, and nothing stands under the output's name until it is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from iconface_video.identity.evidence import build_anchors, describe_matches, group_tracks
from iconface_video.identity.people import group_people, person_direction
from iconface_video.identity.references import Embed, ReferencePhoto, load_folder, load_photo, match_references, photo_detector
from iconface_video.pipelines.render import render_clip
from iconface_video.pipelines.survey import load_embedder
from iconface_video.restore.crop_store import CropStore, StoreHeader, check_disk, estimate_bytes, write_header
from iconface_video.restore.model import FaceModel
from iconface_video.restore.plan import RestorePlan, make_plan
from iconface_video.restore.timeline import RestoreContext, restore_timeline
from iconface_video.run.clip import Clip
from iconface_video.run.display import DisplayPictures
from iconface_video.run.fingerprint import fingerprint, hash_anchors, hash_file, hash_survey, library_versions
from iconface_video.run.progress import OnProgress, ShouldStop, Watch
from iconface_video.run.report import RunReport
from iconface_video.run.work import WorkFolder, work_folder_of
from iconface_video.settings import AnchorSettings, RunSettings
from iconface_video.tracking.store import save_survey
from iconface_video.tracking.survey import run_survey
from iconface_video.types import Float32, IdentityAnchor, Progress, Survey
from iconface_video.video.output_plan import plan_output
from iconface_video.video.reader import VideoReader


@dataclass(frozen=True)
class ReferenceChoice:
    """The user's photos of the people in the clip."""

    photos: tuple[Path, ...] = ()
    """Of whoever they show; matched by likeness."""
    people: tuple[tuple[str, Path], ...] = ()
    """(name, folder of photos) for each person."""

    def __bool__(self) -> bool:
        return bool(self.photos or self.people)


def restore_video(
    input: Path,
    output: Path | None = None,
    *,
    settings: RunSettings | None = None,
    references: ReferenceChoice | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    force: bool = False,
    work: Path | None = None,
    keep_work: bool = False,
    model: FaceModel | None = None,
    embed: Embed | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> RunReport:
    """Restore the faces of a video.

    output: file or folder; None: ``<stem>.restored.<ext>`` beside the input. start, end: seconds after the first frame.
    work: folder for what is found and restored on the way; beside the output when not given, deleted unless `keep_work`.
    model, embed: loaded as the settings say when not given.

    Raises InputError, OutputError, ReferencePhotoError or UsageError for what is refused; Cancelled when `should_stop` says
    so. Whatever it raises, nothing stands under the output's name.
    """
    settings = settings or RunSettings()
    watch = Watch(on_progress, should_stop)
    with VideoReader(input, settings.read) as reader:
        clip = Clip(reader, start, end)
        target = plan_output(reader.info, output, settings.encode, force=force)
        for note in target.notes:
            watch.report(Progress("survey", 0, None, message=note))
        with WorkFolder(work or work_folder_of(target.path), keep_work) as folder:
            found = _find_faces(clip, settings, references or ReferenceChoice(), embed, watch)
            if keep_work:
                save_survey(found.survey, folder.survey)
            restored = _restore(clip, found, settings, model, folder, watch)
            store = CropStore(folder.crops, restored.plan.segments)
            total = found.survey.frame_count
            frames = render_clip(clip, store, target, settings.render, settings.encode, watch, total, restored.with_what)
    return RunReport(
        input=Path(input),
        output=target.path,
        frames=frames,
        faces=sum(len(track) for track in found.survey.tracks),
        tracks=len(found.survey.tracks),
        people=len(group_tracks(found.survey)),
        frames_restored=restored.frames,
        faces_restored=restored.faces + restored.repeated,
        faces_repeated=restored.repeated,
        left_alone=restored.plan.left_alone,
        not_tracked=dict(found.survey.skipped),
        seconds=watch.seconds,
        work=folder.path if keep_work else None,
        notes=(*target.notes, *found.notes, *restored.notes, *_reading_notes(clip)),
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """Result of the first two stages."""

    survey: Survey
    anchors: dict[int, IdentityAnchor]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Restored:
    """Result of the third stage."""

    plan: RestorePlan
    frames: int
    faces: int
    repeated: int
    notes: tuple[str, ...]
    with_what: dict[str, Any] = field(default_factory=dict)
    """For the mark in the output's metadata; empty where no face was restored."""


def _find_faces(clip: Clip, settings: RunSettings, references: ReferenceChoice, embed: Embed | None, watch: Watch) -> _Found:
    """Survey and anchors. The user's photos are read first: a photo without a face is refused before any long work."""
    if settings.render.strength <= 0 and not references:
        return _Found(_empty_survey(clip), {}, ("strength 0: the faces are left as they are",))
    embed = embed or load_embedder()
    photos, notes = _read_references(references, settings, embed)
    with watch.stage("survey"):
        survey = run_survey(
            clip.reader, settings.survey, embed, watch.report, watch.should_stop, start=clip.start, end=clip.end
        )
        survey = group_people(survey, settings.anchors)
    if not survey.tracks:
        return _Found(survey, {}, (*notes, "no face was found: the picture is as it was"))
    with watch.stage("anchors"):
        matches = match_references(photos, _directions(survey, settings.anchors), settings.anchors)

        def on_done(done: int, total: int) -> None:
            watch.check()
            watch.report(Progress("anchors", done, total, unit="people"))

        with DisplayPictures(clip) as pictures:
            anchors = build_anchors(survey, matches, pictures.at, embed, settings.anchors, on_done)
    return _Found(survey, anchors, (*notes, *describe_matches(matches)))


def _restore(
    clip: Clip, found: _Found, settings: RunSettings, model: FaceModel | None, folder: WorkFolder, watch: Watch
) -> _Restored:
    """The plan, then the model's work into the crop store."""
    if not found.survey.tracks:
        plan = RestorePlan((), (), {})
        _write_store_header(clip, plan, found, settings, "none", {}, folder)
        return _Restored(plan, 0, 0, 0, ())
    with watch.stage("restore"):
        model = model or load_restorer(settings)
        plan = make_plan(found.survey, settings.restore, model.crop_sizes)
        for size in plan.crops_by_size():
            model.noise_shape(size)  # refuses a size that the model does not take
        check_disk(folder.crops, estimate_bytes(plan.crops_by_size()))
        with_what = _with_what(plan, found, settings, model)
        _write_store_header(clip, plan, found, settings, model.name, with_what, folder)
        context = RestoreContext(plan, clip.info, model, found.anchors, settings.restore, folder.crops)
        counts = restore_timeline(context, clip.frames, watch.report, watch.check)
    notes = tuple(sorted(counts.notes))
    return _Restored(plan, counts.frames, counts.restored, counts.repeated, notes, with_what)


def _with_what(plan: RestorePlan, found: _Found, settings: RunSettings, model: FaceModel) -> dict[str, Any]:
    """What restores the faces, in plain values; empty where none is restored."""
    if not plan.crops_by_size():
        return {}
    restore = settings.restore
    helped = len({anchor.direction.tobytes() for anchor in found.anchors.values() if anchor.origin == "user"})
    return {
        "model": model.name,
        "seed": restore.seed,
        "steps": restore.steps,
        "start_sigma": restore.start_sigma,
        "noise": restore.noise,
        "people_with_photos": helped,
    }


def _read_references(
    references: ReferenceChoice, settings: RunSettings, embed: Embed
) -> tuple[list[ReferencePhoto], list[str]]:
    """All photos, and what a person should know about them."""
    if not references:
        return [], []
    detector = photo_detector(settings.survey)
    photos = [load_photo(path, detector, embed) for path in references.photos]
    notes: list[str] = []
    for name, path in references.people:
        more, skipped = load_folder(name, path, detector, embed)
        photos += more
        notes += skipped
    notes += [f"{photo.path.name}: {note}" for photo in photos for note in photo.notes]
    return photos, notes


def _directions(survey: Survey, settings: AnchorSettings) -> dict[int, Float32]:
    """Person -> direction, of all people that have one."""
    people = {person: person_direction(tracks, settings) for person, tracks in group_tracks(survey) if person is not None}
    return {person: direction for person, direction in people.items() if direction is not None}


def _write_store_header(
    clip: Clip,
    plan: RestorePlan,
    found: _Found,
    settings: RunSettings,
    model: str,
    with_what: dict[str, Any],
    folder: WorkFolder,
) -> None:
    identity = fingerprint(
        input=hash_file(clip.info.path),
        survey=hash_survey(found.survey),
        anchors=hash_anchors(found.anchors),
        model=model,
        settings=settings.restore,
        read=settings.read,
        libraries=library_versions(),
    )
    facts = {
        "model": model,
        "seed": settings.restore.seed,
        "deinterlace": settings.read.deinterlace,
        "start_pts": None if clip.start is None else clip.start.pts,
        "end_pts": None if clip.end is None else clip.end.pts,
        "frames": found.survey.frame_count,
        "restored_with": with_what,
    }
    write_header(folder.crops, StoreHeader(identity, str(clip.info.path.absolute()), plan.segments, facts))


def _empty_survey(clip: Clip) -> Survey:
    first = clip.start.pts if clip.start is not None else clip.info.first_pts
    return Survey(clip.info, (), (), clip.frame_estimate or 0, first, first)


def _reading_notes(clip: Clip) -> Sequence[str]:
    damaged = clip.corrupt_frames
    return (f"{damaged} damaged frame{'s' if damaged > 1 else ''}, concealed by the decoder",) if damaged else ()


def load_restorer(settings: RunSettings) -> FaceModel:
    """The model that the settings name."""
    from iconface_video.restore.iconface import load_face_model

    return load_face_model(settings.restore)
