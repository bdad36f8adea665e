"""Several versions of one video, measured side by side: frame by frame, face by face, through the clean video's crop windows.

All versions are decoded in step and at most two frames of each are held, so that memory does not grow with the clip (but for
a few numbers and one column of px a frame).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from iconface_video.errors import InputError
from iconface_video.faces.align import TEMPLATE_512, TEMPLATE_SIZE, compose, crop_from_frame, invert, scaling, transform_points
from iconface_video.faces.detector import Detector
from iconface_video.faces.quality import laplacian_deviation
from iconface_video.lab.evaluate import video_picture
from iconface_video.lab.evaluate.picture_metrics import (
    MotionEstimator,
    difference_error,
    face_psnr,
    face_ssim,
    flicker,
    flow_difference,
    identity_drift,
    warp_error,
)
from iconface_video.lab.train.validation import face_mask
from iconface_video.restore.crop_store import CropStore
from iconface_video.restore.framing import cut_from_frame
from iconface_video.settings import ReadSettings
from iconface_video.types import Float32, Float64, Frame, Survey, Track, UInt8
from iconface_video.video.output_size import frame_from_enlarged
from iconface_video.video.reader import VideoReader

CLEAN, DEGRADED = "clean", "degraded"
SLICE_X = 0.385
"""Where the upright slice through time is taken, as a share of the crop: an eye and a corner of the mouth lie on it."""
_LONGEST_SLICE = 600

Embed = Callable[[Sequence[UInt8]], Float32]
"""Crops in the FFHQ frame, uint8 (S, S, 3) RGB -> (n, d) identity embeddings."""
Similarity = Callable[[UInt8, UInt8], Float64]
"""(n, S, S, 3) crops, twice -> (n,) distances."""


@dataclass(frozen=True)
class Instruments:
    """What the measuring needs beside the pictures."""

    embed: Embed
    detector: Detector
    lpips: Similarity | None = None
    """None: not installed, tLPIPS is left out."""


PER_FRAME = (
    "warp", "flicker", "difference", "motion", "tlpips", "drift",
    "psnr", "ssim", "identity", "sharpness", "detail", "seam", "color", "luma",
)  # fmt: skip
"""Names of the figures that every frame has (nan where there is none, as in a track's first frame)."""


@dataclass(eq=False)
class Series:
    """One face in one version of the video, over time."""

    figures: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PER_FRAME})
    landmarks: list[Float64] = field(default_factory=list)
    """(5, 2) each, px of the measured crop, as the detector finds them; nan where it finds none."""
    shifts: list[Float64] = field(default_factory=list)
    """(5, 2) each, px: how far what stands at the clean frame's landmarks is displaced against the clean frame, by optical flow."""
    windows: list[Float64] = field(default_factory=list)
    """(5, 2) each, px: the template's points by the version's own crop window, less those by the clean video's; nan: no crop."""
    embeddings: list[Float32] = field(default_factory=list)
    slices: list[UInt8] = field(default_factory=list)
    """(S, 3) each: one column of the crop."""

    def array(self, name: str) -> Float64:
        return np.asarray(self.figures[name], np.float64)


@dataclass(eq=False)
class FaceSeries:
    """One track of the clean video, in all versions."""

    track_id: int
    size: int
    seconds: list[float] = field(default_factory=list)
    """Of each frame, from the clip's start."""
    versions: dict[str, Series] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """One version of the video."""

    path: Path
    store: CropStore | None = None
    """Its restored crops, where they were kept: their windows are measured."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """All faces of a clip, and whether the versions have the clean video's frames."""

    faces: tuple[FaceSeries, ...]
    frames: int
    late_ms: dict[str, float]
    """Version -> largest distance of a frame's time from that of the clean video's, ms."""


OnCrops = Callable[[int, float, Mapping[str, UInt8]], None]
"""(track id, seconds, version -> crop): for whoever wants to show them."""


def measure_versions(
    versions: Mapping[str, Version],
    survey: Survey,
    instruments: Instruments,
    size: int = 256,
    read: ReadSettings | None = None,
    on_crops: OnCrops | None = None,
    check: Callable[[], None] = lambda: None,
) -> Measurement:
    """Measure every version of a clip. versions: with `CLEAN` and `DEGRADED` among them.  survey: of the clean one.

    size: px of the measured crops.  check: called for each frame; may raise to stop.
    Raises InputError where a version has other frames than the clean video.
    """
    meters = [_FaceMeter(track, survey, versions, instruments, size) for track in survey.tracks]
    late = dict.fromkeys(versions, 0.0)
    count = 0
    for frames in _in_step({name: version.path for name, version in versions.items()}, read or ReadSettings()):
        check()
        clean = frames[CLEAN]
        for name, frame in frames.items():
            late[name] = max(late[name], 1000 * abs(float(frame.timestamp.seconds - clean.timestamp.seconds)))
        for meter in meters:
            crops = meter.push(frames)
            if crops and on_crops:
                on_crops(meter.track.track_id, meter.result.seconds[-1], crops)
        count += 1
    return Measurement(tuple(meter.result for meter in meters), count, late)


def _in_step(paths: Mapping[str, Path], read: ReadSettings) -> Iterator[dict[str, Frame]]:
    """Version -> frame, frame after frame."""
    with ExitStack() as stack:
        readers = {name: stack.enter_context(VideoReader(path, read)) for name, path in paths.items()}
        streams = {name: reader.frames() for name, reader in readers.items()}
        while True:
            frames = {name: next(stream, None) for name, stream in streams.items()}
            present = {name: frame for name, frame in frames.items() if frame is not None}
            if not present:
                return
            missing = [str(paths[name]) for name in frames if name not in present]
            if missing:
                raise InputError(f"{missing[0]}: has fewer frames than the other versions; they cannot be compared")
            yield present


class _FaceMeter:
    """One track: cuts it out of every version and keeps the books."""

    def __init__(
        self, track: Track, survey: Survey, versions: Mapping[str, Version], instruments: Instruments, size: int
    ) -> None:
        self.track = track
        self.result = FaceSeries(track.track_id, size, versions={name: Series() for name in versions})
        self._info, self._start = survey.info, survey.first_pts
        self._versions, self._with, self._size = versions, instruments, size
        self._motion = MotionEstimator()
        self._region = face_mask(size)
        self._rows = {int(pts): row for row, pts in enumerate(track.pts)}
        self._before: tuple[int, dict[str, UInt8], Float32] | None = None

    def _in(self, frame: Frame, crop_from_clean: Float64) -> Float64:
        """The crop's transform in a version that may be larger than the clean video."""
        if (frame.width, frame.height) == (self._info.width, self._info.height):
            return crop_from_clean
        return compose(crop_from_clean, frame_from_enlarged(self._info, frame.width, frame.height))

    def push(self, frames: Mapping[str, Frame]) -> dict[str, UInt8]:
        """The crops of this frame; empty where the face is not in it."""
        clean = frames[CLEAN]
        row = self._rows.get(clean.pts)
        if row is None:
            return {}
        matrix = crop_from_frame(self.track.parameters[row], self._size, self._info)
        crops = {name: cut_from_frame(frame, self._in(frame, matrix), self._size) for name, frame in frames.items()}
        self.result.seconds.append(float((clean.pts - self._start) * clean.time_base))
        embeddings = self._with.embed(list(crops.values()))
        before = self._before if self._before is not None and self._before[0] == row - 1 else None
        landmarks = self._landmarks_by_track(row)
        for (name, crop), embedding in zip(crops.items(), embeddings):
            series = self.result.versions[name]
            series.embeddings.append(embedding)
            series.landmarks.append(self._detected(crop))
            series.shifts.append(self._shifts(crop, crops[CLEAN], landmarks))
            series.windows.append(self._window(name, frames[name].pts, matrix))
            if len(series.slices) < _LONGEST_SLICE:
                series.slices.append(crop[:, round(SLICE_X * self._size)].copy())
        self._single(crops, embeddings)
        self._pairs(crops, embeddings, before)
        self._before = row, crops, embeddings
        return crops

    def _single(self, crops: Mapping[str, UInt8], embeddings: Float32) -> None:
        """Figures of one frame alone."""
        clean, degraded = crops[CLEAN], crops[DEGRADED]
        sharp = max(laplacian_deviation(clean, self._region), 1e-6)
        units = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
        truth = units[list(crops).index(CLEAN)]
        for (name, crop), unit in zip(crops.items(), units):
            figures = self.result.versions[name].figures
            figures["psnr"].append(float(face_psnr(crop[None], clean[None])[0]))
            figures["ssim"].append(float(face_ssim(crop[None], clean[None])[0]) if name != CLEAN else 1.0)
            figures["identity"].append(float(unit @ truth))
            figures["sharpness"].append(laplacian_deviation(crop, self._region) / sharp)
            figures["detail"].append(video_picture.true_detail(crop, clean, self._region))
            figures["seam"].append(video_picture.seam_score(crop, degraded))
            figures["color"].append(video_picture.color_drift(crop, degraded, self._region))
            figures["luma"].append(video_picture.luma(crop, self._region) - video_picture.luma(degraded, self._region))

    def _pairs(
        self, crops: Mapping[str, UInt8], embeddings: Float32, before: tuple[int, dict[str, UInt8], Float32] | None
    ) -> None:
        """Figures of a frame and the one before it."""
        changing = ("warp", "flicker", "difference", "motion", "tlpips", "drift")
        if before is None:
            for series in self.result.versions.values():
                for name in changing:
                    series.figures[name].append(float("nan"))
            return
        _, earlier, vectors = before
        clean, clean_before = crops[CLEAN], earlier[CLEAN]
        motion = self._motion.motion(clean, clean_before)
        seen = motion.visible & self._region
        lpips = self._with.lpips
        usual = float(lpips(clean[None], clean_before[None])[0]) if lpips else float("nan")
        for index, (name, crop) in enumerate(crops.items()):
            last, figures = earlier[name], self.result.versions[name].figures
            figures["warp"].append(warp_error(crop, last, motion, self._region))
            figures["flicker"].append(flicker(crop, last, clean, clean_before, motion, self._region))
            figures["difference"].append(difference_error(crop, last, clean, clean_before, self._region))
            figures["motion"].append(flow_difference(self._motion.flow(crop, last), motion.flow, seen))
            figures["tlpips"].append(abs(float(lpips(crop[None], last[None])[0]) - usual) if lpips else float("nan"))
            figures["drift"].append(float(identity_drift([vectors[index], embeddings[index]])[0]))

    def _landmarks_by_track(self, row: int) -> Float64:
        """(5, 2) the clean frame's landmarks in the measured crop."""
        matrix = compose(
            crop_from_frame(self.track.parameters[row], self._size, self._info), invert(self._info.display_from_frame)
        )
        return transform_points(matrix, self.track.landmarks[row])

    def _shifts(self, crop: UInt8, clean: UInt8, landmarks: Float64) -> Float64:
        flow = cv2.GaussianBlur(self._motion.flow(clean, crop), (0, 0), self._size / 64)
        places = landmarks.astype(np.float32).reshape(1, -1, 2)
        found = cv2.remap(flow, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        return np.asarray(found.reshape(-1, 2), np.float64)

    def _detected(self, crop: UInt8) -> Float64:
        """(5, 2) landmarks of the face nearest to the crop's middle, nan where the detector finds none there."""
        template = TEMPLATE_512 * (self._size / TEMPLATE_SIZE)
        found = [item.landmarks for item in self._with.detector.detect(crop)]
        distances = [float(np.linalg.norm(points - template, axis=1).mean()) for points in found]
        if not found or min(distances) > 0.15 * self._size:
            return np.full((5, 2), np.nan)
        return np.asarray(found[int(np.argmin(distances))], np.float64)

    def _window(self, name: str, pts: int, crop_from_here: Float64) -> Float64:
        """(5, 2) distance of the template's points by the version's own window from those by the clean video's."""
        store = self._versions[name].store
        nearest = np.full((5, 2), np.nan)
        for stored in store.at(pts) if store else ():
            own = compose(scaling(stored.size / TEMPLATE_SIZE), np.eye(2, 3))
            points = transform_points(
                compose(crop_from_here, invert(stored.crop_from_frame)), transform_points(own, TEMPLATE_512)
            )
            off = points - transform_points(scaling(self._size / TEMPLATE_SIZE), TEMPLATE_512)
            if not np.abs(off).max() >= np.abs(nearest).max() and np.abs(off).max() < 0.25 * self._size:
                nearest = off
        return nearest


def longest(faces: Sequence[FaceSeries]) -> FaceSeries | None:
    """The face that is there for most frames: the one to show."""
    return max(faces, key=lambda face: len(face.seconds), default=None)
