"""What the page's jobs do: look for people, make a preview, restore the whole and a film to compare."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from iconface_video.identity.people import DecidedPeople, ReferenceChoice
from iconface_video.pipelines.survey import survey
from iconface_video.session.clip import Clip, DisplayPictures, Watch
from iconface_video.session.clip_faces import ClipFaces
from iconface_video.session.clip_session import ClipRequest, ClipSession
from iconface_video.session.preview import restored_stretch
from iconface_video.session.report import RunReport
from iconface_video.settings import RunSettings
from iconface_video.types import Survey, VideoInfo
from iconface_video.video.pictures import jpeg
from iconface_video.video.random_access import RandomAccess
from iconface_video.video.reader import VideoReader
from iconface_video.web.engine import Engine
from iconface_video.web.jobs import Job
from iconface_video.web.people import Person, find_people
from iconface_video.web.viewing import close_ups, shown, write_comparison

PreviewKind = Literal["frame", "stretch"]
STRETCH_SECONDS = 2.0
BEFORE, AFTER, FILM = "before.jpg", "after.jpg", "film.mp4"
"""Files in a preview's or a result's folder."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is to be restored, as it was decided when the job was asked for."""

    people: DecidedPeople
    settings: RunSettings

    @property
    def survey(self) -> Survey:
        return self.people.chosen.survey

    def request(self, output: Path | None = None, work: Path | None = None) -> ClipRequest:
        """Of the whole clip. What is restored stays in `work`: another strength of the same faces takes no model."""
        references = ReferenceChoice(decided=self.people)
        return ClipRequest(
            self.survey.info.path, output, self.settings, references, work=work, keep_work=True, places_are_fixed=True
        )


@dataclass(frozen=True, eq=False)
class Preview:
    """A frame or a stretch, before and after at full strength."""

    id: str
    kind: PreviewKind
    seconds: float
    """After the clip's first frame."""
    length: float
    """Seconds; 0 for a frame."""
    folder: Path
    close_ups: list[list[float]]


@dataclass(frozen=True, eq=False)
class Result:
    """A finished run."""

    id: str
    report: RunReport
    strength: float
    preset: str
    folder: Path
    size: int
    """Of the output, bytes."""
    close_ups: list[list[float]]


def look_for_people(info: VideoInfo, settings: RunSettings, engine: Engine, job: Job) -> tuple[Survey, list[Person]]:
    """Raises DecodeError; Cancelled when the job is told to stop."""
    found = survey(info.path, settings=settings, embed=engine.embed, on_progress=job.report, should_stop=job.should_stop)
    with VideoReader(info.path, settings.read) as reader, DisplayPictures(Clip(reader)) as pictures:
        return found, find_people(found, pictures.at, settings.anchors)


def make_preview(wanted: Wanted, kind: PreviewKind, pts: int, folder: Path, engine: Engine, job: Job) -> Preview:
    """Pictures or a film in `folder`.  pts: ticks, of the frame or where the stretch begins."""
    found, settings = wanted.survey, wanted.settings
    first, last = _stretch(wanted, pts) if kind == "stretch" else _frame(wanted, pts)
    job.step("load", 0, None)
    networks, model = engine.networks(settings), engine.restorer(settings)
    watch = Watch(job.report, job.should_stop)
    with (
        VideoReader(found.info.path, settings.read) as reader,
        TemporaryDirectory(dir=folder, prefix="crops-") as crops,
        restored_stretch(
            ClipFaces(Clip(reader), wanted.request(), networks, watch, networks.prepared(settings)),
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
    return Preview(job.id, kind, seconds, length, folder, close_ups(wanted.people.chosen.restored, first, last))


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


def make_result(wanted: Wanted, preset: str, folder: Path, work: Path, engine: Engine, job: Job) -> Result:
    """The restored video in ``folder/out`` and a film to compare beside it.

    work: folder in which restored faces stay; what a cancelled or failed job left there is gone on from.
    """
    found = wanted.survey
    out = folder / "out"
    out.mkdir()
    job.step("load", 0, None)
    networks, watch = engine.networks(wanted.settings), Watch(job.report, job.should_stop)
    with ClipSession.open(wanted.request(out, work), networks, watch) as session:
        report = session.render()

    def on_frame(done: int) -> None:
        job.check()
        job.step("compare", done, report.frames)

    with VideoReader(found.info.path, wanted.settings.read) as before, VideoReader(report.output) as after:
        pairs = zip(before.frames(), after.frames())
        write_comparison(folder / FILM, pairs, found.info, with_sound=True, on_frame=on_frame)
    places = close_ups(wanted.people.chosen.restored, found.first_pts, found.last_pts)
    return Result(job.id, report, wanted.settings.render.strength, preset, folder, report.output.stat().st_size, places)
