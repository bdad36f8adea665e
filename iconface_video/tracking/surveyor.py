"""The first pass: frames -> shots -> detections -> tracks, in one stream and constant memory (but for the tracks' rows).

Of a frame it makes two pictures: a small upright one for the detector, and aligned face crops.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np

from iconface_video.errors import Cancelled, DecodeError
from iconface_video.faces.align import (
    compose,
    crop_from_frame,
    cut_crop,
    cut_from_frame,
    estimate_parameters,
    invert,
    scaling,
    transform_points,
)
from iconface_video.faces.detector import Detector, make_detector
from iconface_video.faces.quality import QUALITY_CROP_SIZE, quality, sharpness
from iconface_video.settings import SurveySettings
from iconface_video.tracking.motion import face_motion
from iconface_video.tracking.small_faces import settings_for_small_faces, steadied, wants_small_faces
from iconface_video.tracking.tracker import Tracker
from iconface_video.tracking.tracklet import Tracklet
from iconface_video.tracking.tracks import build_tracks, reason_to_skip
from iconface_video.types import Detection, Float32, Float64, Frame, Progress, Shot, Survey, Timestamp, Track, UInt8, VideoInfo
from iconface_video.video.color import small_frame
from iconface_video.video.decode import prefetch
from iconface_video.video.display_light import shown_rgb
from iconface_video.video.reader import VideoReader
from iconface_video.video.shots import ContentShotDetector, ShotDetector

_SAME_PICTURE_LEVELS = 0.6
"""Mean difference, in grey levels, up to which two pictures of a face are one; grain alone makes more."""


def detection_picture(frame: Frame, info: VideoInfo, longer_side: int) -> tuple[UInt8, Float64]:
    """The whole frame, upright, with square pixels, and no larger than the detector wants it.

    Returns (h, w, 3) RGB and the (2, 3) affine that leads from its pixels to display space.
    """
    width, height = info.display_size
    factor = min(1.0, longer_side / max(width, height))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    picture_from_display = scaling(size[0] / width, size[1] / height)
    rgb = shown_rgb(small_frame(frame, max(1, round(max(frame.width, frame.height) * factor))))
    small_from_frame = scaling(rgb.shape[1] / frame.width, rgb.shape[0] / frame.height)
    picture_from_small = compose(compose(picture_from_display, info.display_from_frame), invert(small_from_frame))
    if size != (rgb.shape[1], rgb.shape[0]) or not np.allclose(picture_from_small, np.eye(2, 3), atol=1e-6):
        rgb = cut_crop(rgb, picture_from_small, size).astype(np.uint8, copy=False)
    return rgb, invert(picture_from_display)


def in_display(found: Detection, display_from_picture: Float64) -> Detection:
    """A detection of the small picture, in display space. (Boxes have edges, landmarks pixel centres.)"""
    corners = transform_points(display_from_picture, found.box.reshape(2, 2) - 0.5) + 0.5
    landmarks = transform_points(display_from_picture, found.landmarks)
    return Detection(corners.reshape(4).astype(np.float32), found.score, landmarks.astype(np.float32))


def is_repeated(box: Float32, before: UInt8 | None, picture: UInt8) -> bool:
    """Whether a face's part of the detector's picture is the same as in the frame before, but for the codec's breath.

    box: (4,) in the picture.  before: the previous frame's picture; None: there was none.
    """
    if before is None or before.shape != picture.shape:
        return False
    x0, y0, x1, y1 = (int(value) for value in (*np.floor(box[:2]), *np.ceil(box[2:])))
    part = slice(max(y0, 0), max(y1, 1)), slice(max(x0, 0), max(x1, 1))
    return float(cv2.absdiff(before[part], picture[part]).mean()) < _SAME_PICTURE_LEVELS


def aligned_crop(frame: Frame, info: VideoInfo, found: Detection, size: int) -> UInt8:
    """(size, size, 3) RGB of a face in the FFHQ frame, by its raw landmarks in display space."""
    return cut_from_frame(frame, crop_from_frame(estimate_parameters(found.landmarks), size, info), size)


Embed = Callable[[list[UInt8]], Float32]
"""Aligned crops in the FFHQ frame, each (S, S, 3) uint8 RGB -> (n, 512) raw identity embeddings."""

_CALM_REACH = 0.05
"""Share of its height that a face may move while it is not looked at."""
_REPEATS_MEMORY_FRAMES = 30
"""Where pictures are shown twice, they go on being shown twice, some more often than others (3:2 pulldown)."""
_AHEAD_FRAMES = 4
"""Frames decoded ahead of face detection."""
_PROGRESS_EVERY = 10
"""Frames between two progress events."""


def run_survey(
    reader: VideoReader,
    settings: SurveySettings,
    embed: Embed | None = None,
    progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    *,
    start: Timestamp | None = None,
    end: Timestamp | None = None,
    detector: Detector | None = None,
    shot_detector: ShotDetector | None = None,
) -> Survey:
    """Find every face of a clip and follow it through each shot.

    embed: gives faces an identity, which helps tracking and is kept for grouping; None: tracks by position alone.
    start, end: survey only frames of [start, end).  detector, shot_detector: instead of the default ones.
    A clip without a face gives a survey without tracks. Raises DecodeError where no frame could be decoded, and Cancelled
    when `should_stop` says so.
    """
    settings = settings_for_small_faces(settings, reader.info.display_size)
    shots = shot_detector or ContentShotDetector(settings.cut_threshold)
    surveyor = _Surveyor(reader.info, settings, embed, detector or make_detector(settings))
    waiting: deque[Frame] = deque()
    is_whole = start is None and end is None
    # Decoding and shot detection beside face detection, in a thread of their own.
    judged = ((frame, shots.push(frame)) for frame in reader.frames(start, end))
    with prefetch(judged, _AHEAD_FRAMES) as stream:
        for frame, cuts in stream:
            if should_stop is not None and should_stop():
                raise Cancelled("stopped while looking for faces")
            surveyor.cuts.update(cut.pts for cut in cuts)
            waiting.append(frame)
            # One frame more than the shot detector's delay: whether the next frame is a cut must be known, too.
            while len(waiting) > shots.delay + 1:
                surveyor.push(waiting.popleft(), waiting[0])
            if progress is not None and surveyor.frame_count % _PROGRESS_EVERY == 0:
                progress(Progress("survey", surveyor.frame_count, reader.info.frame_count_declared if is_whole else None))
    surveyor.cuts.update(cut.pts for cut in shots.finish())
    while waiting:
        frame = waiting.popleft()
        surveyor.push(frame, waiting[0] if waiting else None)
    if surveyor.frame_count == 0:
        raise DecodeError(f"{reader.info.path}: not one frame could be decoded in the chosen range. Is the file damaged?")
    if progress is not None:
        progress(Progress("survey", surveyor.frame_count, surveyor.frame_count))
    return surveyor.survey()


@dataclass
class _Surveyor:
    """Takes frames in order, each with what follows it, and closes shot after shot."""

    info: VideoInfo
    settings: SurveySettings
    embed: Embed | None
    detector: Detector
    cuts: set[int] = field(default_factory=set)
    """First PTS of shots, known at least one frame ahead."""
    frame_count: int = 0
    shots: list[Shot] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._tracker = Tracker(self.settings)
        self._shot_pts = array("q")
        self._origin: int | None = None
        self._unseen = self._patience = 0
        self._repeats_for = 0
        """Frames for which each one is looked at, because a frame showed a face as the frame before had shown it."""
        self._before: Frame | None = None
        """None where it belongs to another shot."""
        self._is_before_seen = False
        """Whether the detector looked at it."""
        self._ready: dict[int, tuple[UInt8, Float64]] = {}
        """PTS -> picture, of the frame before, this one and the next, as far as they were wanted."""

    def push(self, frame: Frame, following: Frame | None) -> None:
        """following: the next frame; None: this is the last one."""
        next_pts = None if following is None else following.pts
        if self._shot_pts and frame.pts in self.cuts:
            self._close_shot(frame.pts)
        if self._origin is None:
            self._origin = frame.pts
        is_last = next_pts is None or next_pts in self.cuts
        if self._unseen >= self._patience or is_last or not self._shot_pts:
            self._look(frame, None if is_last else following)
            self._unseen, self._patience = 0, self._frames_to_rest(frame)
        else:
            self._unseen += 1
            self._is_before_seen = False
        self._before = frame
        self._ready = {pts: made for pts, made in self._ready.items() if pts >= frame.pts}
        self._shot_pts.append(frame.pts)
        self.frame_count += 1
        if next_pts is None:
            self._close_shot(frame.pts + max(frame.duration, 1))

    def _frames_to_rest(self, frame: Frame) -> int:
        """How many frames need not be looked at: none while a face moves, comes or goes, or pictures are repeated."""
        rest = self.settings.detect_every - 1
        seconds = float(max(frame.duration, 1) * frame.time_base) * rest
        is_calm = rest > 0 and self._repeats_for == 0 and self._tracker.is_calm(seconds, _CALM_REACH)
        return rest if is_calm else 0

    def survey(self) -> Survey:
        return Survey(
            info=self.info,
            shots=tuple(self.shots),
            tracks=tuple(self.tracks),
            frame_count=self.frame_count,
            first_pts=self.shots[0].first_pts,
            last_pts=self.shots[-1].last_pts,
            skipped=dict(self.skipped),
        )

    def _picture(self, frame: Frame) -> tuple[UInt8, Float64]:
        """`detection_picture` of a frame, made once."""
        if frame.pts not in self._ready:
            self._ready[frame.pts] = detection_picture(frame, self.info, self.settings.detection_size)
        return self._ready[frame.pts]

    @property
    def _picture_before(self) -> UInt8 | None:
        return None if self._before is None else self._picture(self._before)[0]

    def _look(self, frame: Frame, following: Frame | None) -> None:
        """Detect, track, and measure the faces of one frame.  following: the next one of the shot."""
        picture, display_from_picture = self._picture(frame)
        seen = self.detector.detect(self._without_noise(picture, following))
        found = [in_display(item, display_from_picture) for item in seen]
        seconds = float((frame.pts - (self._origin or 0)) * frame.time_base)
        faces = _Faces(frame, self.info, found, self.embed)
        given = self._tracker.push(frame.pts, seconds, found, faces.describe if self.embed else None)
        due: list[tuple[int, Tracklet]] = []
        self._repeats_for = max(0, self._repeats_for - 1)
        for index, track in enumerate(given):
            if track is None:
                continue
            item = found[index]
            if is_repeated(seen[index].box, self._picture_before, picture):
                track.repeats()
                self._repeats_for = _REPEATS_MEMORY_FRAMES
            self._note_motion(track, picture, seen[index].box, display_from_picture)
            height = float(item.box[3] - item.box[1])
            if height < self.settings.min_face_px:
                continue
            sharp = sharpness(faces.crop(index))
            track.measured(sharp, float(quality(height, sharp, item.landmarks, item.score)))
            if self._is_due(track, item, seconds):
                due.append((index, track))
        self._is_before_seen = True
        if due:
            vectors = faces.describe([index for index, _ in due])
            for (_, track), vector in zip(due, vectors):
                track.embedded(frame.pts, seconds, vector)

    def _without_noise(self, picture: UInt8, following: Frame | None) -> UInt8:
        """What the detector looks at: small faces drown in the noise of a single picture, larger ones do not."""
        if not wants_small_faces(self.settings):
            return picture
        return steadied(picture, (self._picture_before, None if following is None else self._picture(following)[0]))

    def _note_motion(self, track: Tracklet, picture: UInt8, box: Float32, display_from_picture: Float64) -> None:
        """How the face moved since the frame before, if it was seen there."""
        before = self._before if self._is_before_seen else None
        if before is None or len(track.rows) < 2 or track.rows.table[-2]["pts"] != before.pts:
            return
        display_from_shift = display_from_picture[:, :2]
        earlier, now = (row["landmarks"].mean(axis=0) for row in track.rows.table[-2:])
        motion = face_motion(self._picture(before)[0], picture, box, np.linalg.solve(display_from_shift, now - earlier))
        if motion is not None:
            motion[2:] = display_from_shift @ motion[2:]
            track.moved(motion)

    def _is_due(self, track: Tracklet, found: Detection, seconds: float) -> bool:
        """Time for another embedding of this face? Only sure detections say who it is."""
        if self.embed is None or found.score < self.settings.min_score:
            return False
        # Half a millisecond of slack, or rounding would skip every other frame at matching intervals.
        return track.embedded_at is None or seconds - track.embedded_at >= self.settings.embed_every_seconds - 5e-4

    def _close_shot(self, next_pts: int) -> None:
        frame_pts = np.frombuffer(self._shot_pts, dtype=np.int64).copy()
        shot = Shot(len(self.shots), int(frame_pts[0]), int(frame_pts[-1]))
        base = self.info.time_base
        shot_seconds = float((next_pts - shot.first_pts) * base)
        kept = []
        for tracklet in self._tracker.finish():
            reason = reason_to_skip(tracklet, shot_seconds, self.settings, shot_seconds / len(frame_pts))
            if reason is None:
                kept.append(tracklet)
            else:
                self.skipped[reason] += 1
        self.tracks += build_tracks(kept, shot, frame_pts, Fraction(base), self.settings, len(self.tracks))
        self.shots.append(shot)
        self._shot_pts = array("q")
        self._before = None
        self.cuts = {pts for pts in self.cuts if pts > shot.last_pts}


class _Faces:
    """Aligned crops and embeddings of one frame's detections, each made at most once and only when wanted."""

    def __init__(self, frame: Frame, info: VideoInfo, found: Sequence[Detection], embed: Embed | None) -> None:
        self._frame, self._info, self._found, self._embed = frame, info, found, embed
        self._crops: dict[int, UInt8] = {}
        self._vectors: dict[int, Float32] = {}

    def crop(self, index: int) -> UInt8:
        if index not in self._crops:
            self._crops[index] = aligned_crop(self._frame, self._info, self._found[index], QUALITY_CROP_SIZE)
        return self._crops[index]

    def describe(self, indices: Sequence[int]) -> list[Float32]:
        missing = [index for index in indices if index not in self._vectors]
        if missing and self._embed is not None:
            vectors = np.asarray(self._embed([self.crop(index) for index in missing]), dtype=np.float32)
            self._vectors.update(zip(missing, vectors))
        return [self._vectors[index] for index in indices]
