"""What the page's jobs do: look for people, make a preview, restore the whole and a film to compare."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from iconface_video.identity.grouping import DecidedPeople, ReferenceChoice
from iconface_video.pipelines.compare import CompareRequest, compare_videos
from iconface_video.pipelines.estimate import PASTE_SECONDS, seconds_to_write
from iconface_video.pipelines.survey import survey
from iconface_video.restore.crop_store import estimate_bytes
from iconface_video.restore.face_model import FaceModel
from iconface_video.restore.plan import make_plan
from iconface_video.session.chosen_preset import ChosenPreset
from iconface_video.session.clip import Clip, DisplayPictures, Watch
from iconface_video.session.clip_faces import ClipFaces
from iconface_video.session.clip_session import GOING_ON, ClipRequest, ClipSession
from iconface_video.session.face_memory import FaceMemory
from iconface_video.session.preview import restored_stretch
from iconface_video.settings import RunSettings
from iconface_video.tracking.store import part_of_survey
from iconface_video.types import Survey, VideoInfo
from iconface_video.video.fields import INTERLACED_ORDERS
from iconface_video.video.output_plan import estimate_output_bytes, plan_output
from iconface_video.video.output_size import enlarged, line_scale
from iconface_video.video.pictures import jpeg
from iconface_video.video.random_access import RandomAccess
from iconface_video.video.reader import VideoReader
from iconface_video.web.engine import Engine
from iconface_video.web.jobs import Job
from iconface_video.web.people import Person, found_people, look_at, take_pictures
from iconface_video.web.remembering import remembering
from iconface_video.web.results import FILM, OUT, SIDES, Preview, Recipe, Result, finish
from iconface_video.web.saving import saved_by
from iconface_video.web.viewing import close_ups, shown, write_comparison

PreviewKind = Literal["frame", "stretch"]
STRETCH_SECONDS = 2.0
BEFORE, AFTER = "before.jpg", "after.jpg"
"""Files in a preview's folder."""
_LOAD_SECONDS, _ANCHOR_SECONDS = 4.0, 2.0
_LONGEST_STEM = 80


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is to be restored, as it was decided when the job was asked for."""

    people: DecidedPeople
    settings: RunSettings
    part: tuple[Fraction | None, Fraction | None] = (None, None)
    """Seconds after the first frame, [start, end)."""
    container: str = ""
    """Suffix of the output; empty: as the clip's."""
    recipe: Recipe = field(default_factory=dict)
    chosen: ChosenPreset | None = None
    """What the settings started from, and why."""
    folder: str = ""
    """Into which the finished video is saved as well; empty: none."""
    owner: str = ""
    """Of the copy there, as `save_into` takes it."""

    @property
    def survey(self) -> Survey:
        return self.people.chosen.survey

    def request(self, output: Path | None = None, work: Path | None = None, *, whole: bool = False) -> ClipRequest:
        """What is restored stays in `work`: another strength of the same faces takes no model. whole: whatever part is wanted."""
        references = ReferenceChoice(decided=self.people)
        start, end = (None, None) if whole else self.part
        return ClipRequest(
            self.survey.info.path, output, self.settings, references, start, end,
            force=True, work=work, keep_work=True, chosen=self.chosen, places_are_fixed=True,
        )  # fmt: skip

    def output_in(self, folder: Path) -> Path:
        """The folder, or a file in it where another container is wanted."""
        stem = self.survey.info.path.stem[:_LONGEST_STEM]
        return folder / f"{stem}.restored{self.container}" if self.container else folder

    def ends(self, info: VideoInfo) -> tuple[int, int]:
        """First and last PTS of the part."""
        found = self.survey
        start, end = (None if t is None else info.first_pts + round(t / info.time_base) for t in self.part)
        return (
            found.first_pts if start is None else max(found.first_pts, start),
            found.last_pts if end is None else min(found.last_pts, end - 1),
        )


@dataclass(frozen=True)
class Pace:
    """How fast this machine works on this clip."""

    face_seconds: dict[int, float]
    """Crop size in px -> seconds for one face."""
    frame_seconds: float
    """To decode and encode one frame."""

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Pace:
        """From what `to_dict` gave."""
        return cls({int(size): seconds for size, seconds in kept["face_seconds"].items()}, kept["frame_seconds"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which takes no numbers as names."""
        return {"face_seconds": {str(k): v for k, v in self.face_seconds.items()}, "frame_seconds": self.frame_seconds}

    def seconds_of(self, size: int) -> float:
        """One face; of a size that was not measured (another scale asks for it) by its number of pixels."""
        if not self.face_seconds:
            return 0.0
        nearest = min(self.face_seconds, key=lambda known: abs(known - size))
        return self.face_seconds[nearest] * (size / nearest) ** 2


def holds_fields(info: VideoInfo) -> bool:
    """Whether the clip is marked as interlaced, or shows fields without a mark."""
    if info.field_order in INTERLACED_ORDERS:
        return True
    with VideoReader(info.path) as reader:
        return reader.splits


def look_for_people(
    info: VideoInfo, settings: RunSettings, engine: Engine, job: Job
) -> tuple[Survey, list[Person], dict[int, bytes]]:
    """With pictures of their tracks. Raises DecodeError; Cancelled when the job is told to stop."""
    found = survey(info.path, settings=settings, embed=engine.embed, on_progress=job.report, should_stop=job.should_stop)
    people = found_people(found)
    look_at(people, found, settings.anchors)
    with VideoReader(info.path, settings.read) as reader, DisplayPictures(Clip(reader)) as pictures:
        return found, people, take_pictures(people, found, pictures.at)


def measure_pace(info: VideoInfo, found: Survey, settings: RunSettings, engine: Engine) -> Pace:
    """A moment's work; the model's speed is remembered from one look to the next."""
    sizes = make_plan(found, settings.restore, engine.crop_sizes(settings)).crops_by_size()
    with VideoReader(info.path, settings.read) as reader, TemporaryDirectory() as folder:
        clip = Clip(reader)
        target = plan_output(info, Path(folder), settings.encode, force=True)
        return Pace(engine.face_seconds(settings, sizes), seconds_to_write(clip, target, settings))


@dataclass(frozen=True)
class Estimate:
    """Of the whole run, about."""

    frames: int
    faces: int
    stages: dict[str, float]
    """Seconds of each stage, in order."""
    output_bytes: int
    work_bytes: int
    is_kept: bool = False
    """All of the faces are there already."""

    def to_dict(self) -> dict[str, Any]:
        """For the page."""
        seconds = sum(self.stages.values())
        return {
            "frames": self.frames,
            "faces": self.faces,
            "seconds": seconds,
            "bytes": self.output_bytes,
            "work_bytes": self.work_bytes,
            "is_kept": self.is_kept,
        }


def estimated(wanted: Wanted, pace: Pace, crop_sizes: Sequence[int], is_kept: bool = False) -> Estimate:
    """From the faces that the survey found. crop_sizes: px that the model takes.  is_kept: an earlier run has restored them."""
    found, settings = wanted.survey, wanted.settings
    first, last = wanted.ends(found.info)
    part = part_of_survey(wanted.people.chosen.restored, first, last)
    large = enlarged(found.info, settings.render)
    sizes = make_plan(part, settings.restore, crop_sizes, line_scale(found.info, settings.render)).crops_by_size()
    faces, whole = sum(sizes.values()), found.last_pts - found.first_pts
    frames = max(1, round(found.frame_count * (last - first) / whole)) if whole > 0 else found.frame_count
    writing = frames * pace.frame_seconds
    area = large.width * large.height / (found.info.width * found.info.height)
    stages = {
        "load": 0.0 if is_kept else _LOAD_SECONDS,
        "anchors": 0.0 if is_kept else _ANCHOR_SECONDS,
        "restore": 0.0 if is_kept else sum(count * pace.seconds_of(size) for size, count in sizes.items()),
        "render": writing * area + faces * PASTE_SECONDS,
        "compare": 1.5 * writing,
    }
    size = estimate_output_bytes(large, frames, settings.encode)
    return Estimate(frames, faces, stages, size, estimate_bytes(sizes), is_kept)


def learnt_pace(pace: Pace, result: Result, expected: Mapping[str, float]) -> Pace | None:
    """What the whole clip took says more than a moment's measurement; None where faces were there already."""
    report, guess = result.report, expected.get("restore")
    spent = report.seconds.get("restore")
    if not (spent and guess) or any(note.startswith(GOING_ON) for note in report.notes):
        return None
    return replace(pace, face_seconds={size: seconds * spent / guess for size, seconds in pace.face_seconds.items()})


def make_preview(
    wanted: Wanted, kind: PreviewKind, pts: int, folder: Path, engine: Engine, job: Job, memory: FaceMemory | None = None
) -> Preview:
    """Pictures or a film in `folder`, which is made anew.  pts: ticks, of the frame or where the stretch begins.  memory: where
    faces that are restored are looked for, and kept for the whole run.
    """
    found, settings = wanted.survey, wanted.settings
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    first, last = _stretch(wanted, pts) if kind == "stretch" else _frame(wanted, pts)
    job.step("load", 0, None)
    networks = engine.networks(settings)
    model: FaceModel = engine.restorer(settings)
    watch = Watch(job.report, job.should_stop)
    used = networks.prepared(settings)
    if memory is not None:
        model = remembering(model, memory, used.restore)
    with (
        VideoReader(found.info.path, settings.read) as reader,
        TemporaryDirectory(dir=folder, prefix="crops-") as crops,
        restored_stretch(
            ClipFaces(Clip(reader), wanted.request(whole=True), networks, watch, used),
            model,
            first,
            last,
            Path(crops),
        ) as pairs,
    ):
        if kind == "frame":
            before, after = next(pairs)
            (folder / BEFORE).write_bytes(jpeg(shown(before, found.info), 95))
            (folder / AFTER).write_bytes(jpeg(shown(after, found.info), 95))
        else:
            write_comparison(folder / FILM, pairs, found.info, on_frame=lambda done: job.step("compare", done, None))
    seconds, length = (float(ticks * found.info.time_base) for ticks in (first - found.first_pts, last - first))
    places = close_ups(wanted.people.chosen.restored, first, last)
    preview = Preview(job.id, kind, seconds, length, places, wanted.recipe, folder)
    preview.save()
    return preview


def _frame(wanted: Wanted, pts: int) -> tuple[int, int]:
    """PTS of the one frame that is shown then."""
    with RandomAccess(wanted.survey.info.path, wanted.settings.read, allow_decord=False) as access:
        exact = access.frame_at(pts).pts
    return exact, exact


def _stretch(wanted: Wanted, pts: int) -> tuple[int, int]:
    """First and last PTS; near the clip's end it begins earlier."""
    found = wanted.survey
    length = round(STRETCH_SECONDS / found.info.time_base)
    first = max(found.first_pts, min(pts, found.last_pts - length + 1))
    return first, min(first + length - 1, found.last_pts)


def make_result(wanted: Wanted, folder: Path, work: Path, engine: Engine, job: Job, memory: FaceMemory | None = None) -> Result:
    """The restored video and a film to compare, in a folder of its own beside `folder`, which it replaces.

    work: folder in which restored faces stay; what a killed, cancelled or failed job left there is gone on from.  memory: of
    single faces that were restored before.
    """
    found = wanted.survey
    out = folder / OUT
    out.mkdir(parents=True, exist_ok=True)
    job.step("load", 0, None)
    networks, watch = engine.networks(wanted.settings, memory), Watch(job.report, job.should_stop)
    with ClipSession.open(wanted.request(wanted.output_in(out), work), networks, watch) as session:
        report = session.render()

    def on_frame(done: int) -> None:
        job.check()
        job.step("compare", done, report.frames)

    with (
        VideoReader(found.info.path, wanted.settings.read) as before,
        VideoReader(report.output, wanted.settings.read) as after,
    ):
        pairs = zip(Clip(before, *wanted.part).frames(), after.frames())
        write_comparison(folder / FILM, pairs, found.info, with_sound=True, on_frame=on_frame)
    places = close_ups(wanted.people.chosen.restored, *wanted.ends(found.info))
    job.check()
    saved = saved_by(job, wanted.folder, report.output, wanted.owner)
    return finish(folder, job.id, report, wanted.recipe, places, time.time(), saved)


def make_sides(info: VideoInfo, result: Result, part: tuple[Fraction | None, Fraction | None], job: Job) -> None:
    """Before and after beside each other at full size, with sound, as a film of the result."""
    start, end = part
    job.step("render", 0, result.report.frames)
    compare_videos(
        CompareRequest(info.path, result.report.output, ("before", "after"), start, start, end),
        result.folder / SIDES,
        force=True,
        on_progress=job.report,
        should_stop=job.should_stop,
    )
