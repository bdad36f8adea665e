"""What a run did, for the summary, and what became of each face, measured while the video is written: sharpness and likeness before
and after, and a few stills.

Faces are looked at about once a second and in the very frames that were read and are written, so the figures are those of
the picture, not of the model. Memory does not grow with the clip's length: sums for each track, a few small stills a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from iconface_video.faces.align import compose, crop_from_frame
from iconface_video.faces.quality import sharpness
from iconface_video.identity.references import Embed
from iconface_video.restore.crop_store import StoredCrop
from iconface_video.restore.framing import cut_from_frame
from iconface_video.types import Float64, Frame, IdentityAnchor, Survey, Track, UInt8
from iconface_video.video.output_size import frame_from_enlarged
from iconface_video.video.pictures import jpeg


@dataclass(frozen=True)
class RunReport:
    """Result of one run; numbers a person wants at the end."""

    input: Path
    output: Path
    frames: int
    """Frames written."""
    faces: int
    """Faces found: one per face and frame, interpolated ones included."""
    tracks: int
    people: int
    frames_restored: int
    """Frames in which at least one face was restored."""
    faces_restored: int
    """Faces pasted, one per face and frame."""
    faces_repeated: int
    """Of these, faces in repeated frames, which share the result of the frame before."""
    left_alone: dict[str, int] = field(default_factory=dict)
    """Tracked faces that the model did not touch, by reason; one per face and frame."""
    not_tracked: dict[str, int] = field(default_factory=dict)
    """Faces seen but not followed (too small, seen for a moment), by reason; each counts once however long it was seen."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time per stage."""
    work: Path | None = None
    """The kept work folder; None when it was deleted."""
    preset: str | None = None
    """What the settings started from; None: the caller gave settings of its own."""
    kind: str | None = None
    """Of recording, by which the preset was chosen; None: the user named it."""
    looks_like: str = ""
    """The same with its reasons, in words."""
    notes: tuple[str, ...] = ()
    """What a person should know: container changed, damaged frames, photos with several faces ..."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        values.update(input=str(self.input), output=str(self.output), work=None if self.work is None else str(self.work))
        return {**values, "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunReport:
        """From what `to_dict` gave."""
        work = values["work"]
        paths = {"input": Path(values["input"]), "output": Path(values["output"]), "work": None if work is None else Path(work)}
        return cls(**{**values, **paths, "notes": tuple(values["notes"])})


LOOK_EVERY_SECONDS = 1.0
STILL_PX = 256
MOST_STILLS = 6
"""Kept for each person while the clip runs; when there are more, every other one goes and the rest stand further apart."""
MOST_PEOPLE = 60
"""People with stills; those who come later have figures only."""
_FULLY_SHOWN = 0.99
"""Fade from which a face is looked at: not while it is being blended in."""


@dataclass
class Pairs:
    """Sums of something measured before and after."""

    count: int = 0
    before: float = 0.0
    after: float = 0.0

    def add(self, before: float, after: float) -> None:
        self.count, self.before, self.after = self.count + 1, self.before + before, self.after + after

    @property
    def means(self) -> tuple[float, float] | None:
        """None where nothing was measured."""
        return (self.before / self.count, self.after / self.count) if self.count else None

    def __iadd__(self, other: Pairs) -> Pairs:
        self.count, self.before, self.after = self.count + other.count, self.before + other.before, self.after + other.after
        return self


@dataclass
class TrackFigures:
    """One face through one shot."""

    track_id: int
    person: int | None
    first_seconds: float
    last_seconds: float
    frames: int
    height_px: float
    """Median height of the face in the video as it is shown."""
    anchor: str
    """"user", "track", "self", or "" where it has none."""
    sharpness: Pairs = field(default_factory=Pairs)
    """Laplacian deviation of the aligned face at 256 px, grey levels."""
    likeness: Pairs = field(default_factory=Pairs)
    """Cosine of the face's embedding and the anchor's direction."""


@dataclass(frozen=True, eq=False)
class Still:
    """One face, before and after."""

    seconds: float
    before: UInt8
    """(`STILL_PX`, `STILL_PX`, 3) RGB."""
    after: UInt8


class _Stills:
    """Evenly spread over the time that has passed, however long that is."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, bytes, bytes]] = []
        self._apart = 0.0

    def wants(self, seconds: float) -> bool:
        return not self._kept or seconds - self._kept[-1][0] >= self._apart

    def add(self, seconds: float, before: UInt8, after: UInt8) -> None:
        self._kept.append((seconds, _packed(before), _packed(after)))
        if len(self._kept) > MOST_STILLS:
            self._kept = self._kept[::2]
            self._apart = max(2 * self._apart, self._kept[-1][0] - self._kept[-2][0])

    def chosen(self, count: int) -> list[Still]:
        places = np.unique(np.linspace(0, len(self._kept) - 1, min(count, len(self._kept))).round().astype(int))
        return [Still(self._kept[place][0], *map(_unpacked, self._kept[place][1:])) for place in places]


class FaceObserver:
    """Looks on while faces are pasted. `begin` once, then `see` with each frame that has faces."""

    def __init__(self) -> None:
        self.tracks: dict[int, TrackFigures] = {}
        self.names: dict[int, str] = {}
        self._stills: dict[int | None, _Stills] = {}
        self._anchors: Mapping[int, IdentityAnchor] = {}
        self._embed: Embed | None = None
        self._origin = 0.0
        self._survey: Survey | None = None
        self._rows: dict[int, Track] = {}
        self._looked: dict[int, float] = {}

    def begin(
        self, survey: Survey, anchors: Mapping[int, IdentityAnchor], embed: Embed | None, names: Mapping[int, str] | None = None
    ) -> None:
        """embed: None leaves likeness out.  names: person -> name, of those that have one."""
        base = survey.info.time_base
        self._survey, self._rows = survey, {track.track_id: track for track in survey.tracks}
        self._origin = float(survey.info.first_pts * base)
        self._anchors, self._embed, self.names = anchors, embed, dict(names or {})
        self.tracks = {track.track_id: self._figures(track, float(base)) for track in survey.tracks}

    def _figures(self, track: Track, base: float) -> TrackFigures:
        anchor = self._anchors.get(track.track_id)
        return TrackFigures(
            track.track_id,
            track.person,
            float(track.pts[0]) * base - self._origin,
            float(track.pts[-1]) * base - self._origin,
            len(track),
            float(np.median(track.boxes[:, 3] - track.boxes[:, 1])),
            "" if anchor is None else anchor.origin,
        )

    def see(self, before: Frame, after: Frame, crops: Sequence[StoredCrop]) -> None:
        """before, after: the frame as read and as written.  crops: of the faces that were pasted into it."""
        seconds = float(before.timestamp.seconds) - self._origin
        for crop in crops:
            due = seconds - self._looked.get(crop.track_id, -np.inf) >= LOOK_EVERY_SECONDS
            if due and crop.fade >= _FULLY_SHOWN and crop.track_id in self.tracks:
                self._looked[crop.track_id] = seconds
                matrix = self._ffhq_from_written(crop, before)
                pair = [cut_from_frame(frame, matrix, crop.size) for frame in (before, after)]
                self._measure(self.tracks[crop.track_id], seconds, *pair)

    def _ffhq_from_written(self, crop: StoredCrop, frame: Frame) -> Float64:
        """As `_ffhq_from_frame`, of a frame that may be enlarged."""
        matrix, info = self._ffhq_from_frame(crop), None if self._survey is None else self._survey.info
        if info is None or (info.width, info.height) == (frame.width, frame.height):
            return matrix
        return compose(matrix, frame_from_enlarged(info, frame.width, frame.height))

    def _ffhq_from_frame(self, crop: StoredCrop) -> Float64:
        """(2, 3) of the FFHQ frame, which the identity encoder knows; a model may have been given a wider crop."""
        track, survey = self._rows[crop.track_id], self._survey
        row = int(np.searchsorted(track.pts, crop.pts))
        if survey is None or row >= len(track):
            return crop.crop_from_frame
        return crop_from_frame(track.parameters[row], crop.size, survey.info)

    def _measure(self, track: TrackFigures, seconds: float, before: UInt8, after: UInt8) -> None:
        track.sharpness.add(sharpness(before), sharpness(after))
        anchor = self._anchors.get(track.track_id)
        if self._embed is not None and anchor is not None:
            directions = self._embed([before, after])
            directions = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
            track.likeness.add(*(float(value) for value in directions @ anchor.direction))
        if track.person not in self._stills and len(self._stills) >= MOST_PEOPLE:
            return
        stills = self._stills.setdefault(track.person, _Stills())
        if stills.wants(seconds):
            stills.add(seconds, before, after)

    def people(self) -> list[int | None]:
        """In the order in which they are first seen."""
        first: dict[int | None, float] = {}
        for track in self.tracks.values():
            first[track.person] = min(track.first_seconds, first.get(track.person, np.inf))
        return sorted(first, key=lambda person: first[person])

    def title(self, person: int | None) -> str:
        """ "Ben", "person 2", "not grouped"."""
        return "not grouped" if person is None else self.names.get(person) or f"person {person + 1}"

    def stills(self, person: int | None, count: int) -> list[Still]:
        """At most `count`, spread over the person's time."""
        return self._stills[person].chosen(count) if person in self._stills else []


def _packed(crop: UInt8) -> bytes:
    shrinks = crop.shape[0] > STILL_PX
    small = cv2.resize(crop, (STILL_PX, STILL_PX), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return jpeg(np.asarray(small, np.uint8), 95)


def _unpacked(blob: bytes) -> UInt8:
    picture = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
