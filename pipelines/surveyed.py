"""Restoring from a survey that was made before: the whole video, or a stretch of it to look at first.

For interfaces in which a person sees who was found and chooses (photos for one, another left as he is) before the long
work begins. A stretch is restored with the same identities, crop sizes and noise as the whole, so it shows what will come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from iconface_video.identity.evidence import build_anchors, describe_matches, group_tracks
from iconface_video.identity.people import match_chosen
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.identity.references import Embed, ReferencePhoto
from iconface_video.lock import writing
from iconface_video.pipelines.record import shown_settings
from iconface_video.pipelines.render import DECODE_AHEAD_FRAMES, render_clip
from iconface_video.render.render import Renderer
from iconface_video.restore.crop_store import CropStore, check_disk, estimate_bytes
from iconface_video.restore.model import FaceModel
from iconface_video.restore.plan import RestorePlan, make_plan
from iconface_video.restore.timeline import RestoreContext, TimelineCounts, restore_timeline
from iconface_video.session.clip import Clip, DisplayPictures, OnProgress, ShouldStop, Watch
from iconface_video.session.report import RunReport
from iconface_video.settings import RenderSettings, RunSettings
from iconface_video.types import Frame, IdentityAnchor, Progress, Segment, Survey
from iconface_video.video.decode import prefetch
from iconface_video.video.output_plan import plan_output
from iconface_video.video.reader import VideoReader

Photos = Mapping[int, Sequence[ReferencePhoto]]
"""Person -> photos of that person, on the user's word."""


def restored_part(chosen: ChosenPeople) -> Survey:
    """The survey without the tracks of those who are skipped."""
    return replace(chosen.survey, tracks=tuple(track for track in chosen.survey.tracks if track.person not in chosen.skipped))


def restore_surveyed(
    chosen: ChosenPeople,
    output: Path,
    *,
    photos: Photos,
    settings: RunSettings,
    model: FaceModel,
    embed: Embed,
    work: Path,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> RunReport:
    """Restore the whole video of a survey.

    output: a file that does not exist yet, or a folder.  work: folder in which the restored crops lie meanwhile.
    Raises OutputError, StoreError, DecodeError; Cancelled when `should_stop` says so, and nothing is left then.
    """
    watch = Watch(on_progress, should_stop)
    survey = chosen.survey
    with VideoReader(survey.info.path, settings.read) as reader, TemporaryDirectory(dir=work, prefix="crops-") as folder:
        clip = Clip(reader)
        target = plan_output(reader.info, output, settings.encode, force=False)
        anchors, notes = _anchors(clip, chosen, photos, settings, embed, watch)
        plan = make_plan(restored_part(chosen), settings.restore, model.crop_sizes)
        counts = _fill_store(clip, plan, anchors, settings, model, Path(folder), watch)
        store = CropStore(Path(folder), plan.segments)
        with_what = _with_what(plan, anchors, settings, model)
        with writing(target.path):
            frames = render_clip(clip, store, target, settings.render, settings.encode, watch, survey.frame_count, with_what)
    return RunReport(
        input=survey.info.path,
        output=target.path,
        frames=frames,
        faces=sum(len(track) for track in survey.tracks),
        tracks=len(survey.tracks),
        people=len(group_tracks(survey)),
        frames_restored=counts.frames,
        faces_restored=counts.restored + counts.repeated,
        faces_repeated=counts.repeated,
        left_alone={**plan.left_alone, **_skipped(chosen)},
        not_tracked=dict(survey.skipped),
        seconds=watch.seconds,
        notes=(*target.notes, *notes, *sorted(counts.notes), *clip.damage),
    )


@contextmanager
def restored_stretch(
    chosen: ChosenPeople,
    first_pts: int,
    last_pts: int,
    *,
    photos: Photos,
    settings: RunSettings,
    model: FaceModel,
    embed: Embed,
    work: Path,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Iterator[Iterator[tuple[Frame, Frame]]]:
    """Frames of a stretch before and after, at full strength: blending with the input is left to whoever shows them.

    first_pts, last_pts: both inclusive.  work: folder in which the restored crops lie until the block is left.
    Raises DecodeError, OutputError; Cancelled when `should_stop` says so.
    """
    watch = Watch(on_progress, should_stop)
    path = chosen.survey.info.path
    with VideoReader(path, settings.read) as reader, TemporaryDirectory(dir=work, prefix="crops-") as folder:
        clip = Clip.between(reader, first_pts, last_pts + 1)
        anchors, _ = _anchors(clip, chosen, photos, settings, embed, watch)
        whole = make_plan(restored_part(chosen), settings.restore, model.crop_sizes)
        plan = replace(whole, segments=(Segment(0, first_pts, last_pts),))
        _fill_store(clip, plan, anchors, settings, model, Path(folder), watch)
        full = replace(settings.render, strength=1.0)
        with prefetch(clip.frames(), DECODE_AHEAD_FRAMES) as frames:
            yield _pairs(frames, CropStore(Path(folder), plan.segments), full, watch)


def _anchors(
    clip: Clip, chosen: ChosenPeople, photos: Photos, settings: RunSettings, embed: Embed, watch: Watch
) -> tuple[dict[int, IdentityAnchor], list[str]]:
    """Track id -> anchor, from the whole survey whatever stretch is restored; and notes."""

    def on_done(done: int, total: int) -> None:
        watch.check()
        watch.report(Progress("anchors", done, total, unit="people"))

    with watch.stage("anchors"), DisplayPictures(clip) as pictures:
        own = {person: list(found) for person, found in photos.items() if found}
        matches, notes = match_chosen(chosen, own, [], settings.anchors)
        survey = restored_part(chosen)
        anchors = build_anchors(survey, matches, pictures.at, embed, settings.anchors, on_done)
        return anchors, [*describe_matches(matches, chosen.names), *notes]


def _fill_store(
    clip: Clip,
    plan: RestorePlan,
    anchors: Mapping[int, IdentityAnchor],
    settings: RunSettings,
    model: FaceModel,
    folder: Path,
    watch: Watch,
) -> TimelineCounts:
    """The model's work, with progress counted over the plan's segments alone."""
    sizes = [
        item.crop_size
        for segment in plan.segments
        for faces in plan.rows_in(segment.first_pts, segment.last_pts).values()
        for item, _ in faces
    ]
    total = len(sizes)

    def report(event: Progress) -> None:
        watch.report(replace(event, done=min(event.done, total), total=total) if event.stage == "restore" else event)

    with watch.stage("restore"):
        for size in plan.crops_by_size():
            model.noise_shape(size)  # refuses a size that the model does not take
        check_disk(folder, estimate_bytes(Counter(sizes)))
        context = RestoreContext(plan, clip.info, model, anchors, settings.restore, folder)
        return restore_timeline(context, clip.frames, report, watch.check)


def _pairs(frames: Iterator[Frame], store: CropStore, render: RenderSettings, watch: Watch) -> Iterator[tuple[Frame, Frame]]:
    """Each frame with what became of it. The renderer holds back a few frames, so the inputs wait for it."""
    waiting: dict[int, Frame] = {}

    def seen() -> Iterator[Frame]:
        for frame in frames:
            watch.check()
            waiting[frame.pts] = frame
            yield frame

    for after in Renderer(store.at, render).render(seen()):
        yield waiting.pop(after.pts), after


def _skipped(chosen: ChosenPeople) -> dict[str, int]:
    """Faces (track frames) of the people who are skipped, by reason."""
    why, counts = chosen.left_alone, Counter[str]()
    for track in chosen.survey.tracks:
        if track.track_id in why:
            counts[why[track.track_id]] += len(track)
    return dict(counts)


def _with_what(
    plan: RestorePlan, anchors: Mapping[int, IdentityAnchor], settings: RunSettings, model: FaceModel
) -> dict[str, Any]:
    """For the mark in the output's metadata; empty where no face is restored."""
    if not plan.tracks:
        return {}
    return {
        "model": model.name,
        **shown_settings(settings.restore),
        "people_with_photos": len({id(anchor) for anchor in anchors.values() if anchor.origin == "user"}),
    }
