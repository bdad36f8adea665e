"""From a finished tracklet to a `Track`: one row per frame, smoothed window, gaps filled in, faded at its ends."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iconface_video.faces.align import matrix_from_parameters
from iconface_video.settings import SurveySettings
from iconface_video.tracking.smoothing import smooth_parameters
from iconface_video.tracking.tracklet import Tracklet, box_from_measurement, measurement_from_box
from iconface_video.types import EMBEDDING_SIZE, Float32, Float64, Shot, Track

FADE_FRAMES = 5
SHOT_EDGE_SECONDS = 0.1
"""A track that begins this soon after a cut (or ends this shortly before one) is taken to be there from (until) the cut:
codecs blur the first frames of a shot. Well inside the 0.3 s for which a motion may be carried on."""
_NEARLY_PRESENT = 0.9


def reason_to_skip(tracklet: Tracklet, shot_seconds: float, settings: SurveySettings, frame_seconds: float) -> str | None:
    """Why a face is left alone: "too small", "too short"; None: it is not.

    A track's size is that of its larger moments, so that a face which comes near is one track. A track is not too short
    where it lasts nearly as long as its shot.
    """
    table = tracklet.rows.table
    heights = table["box"][:, 3] - table["box"][:, 1]
    if float(np.percentile(heights, 90)) < settings.min_face_px:
        return "too small"
    lasted = float(table["seconds"][-1] - table["seconds"][0]) + frame_seconds
    if lasted < min(settings.min_track_seconds, _NEARLY_PRESENT * shot_seconds) - 1e-9:
        return "too short"
    return None


def build_tracks(
    tracklets: Sequence[Tracklet],
    shot: Shot,
    frame_pts: NDArray[np.int64],
    time_base: Fraction,
    settings: SurveySettings,
    first_id: int,
) -> list[Track]:
    """Tracks of one shot. tracklets: in birth order, left to right.  frame_pts: (n,) of all frames of the shot."""
    tracks: list[Track] = []
    order: dict[int, int] = {}
    for tracklet in tracklets:
        birth = int(tracklet.first["pts"])
        order[birth] = order.get(birth, -1) + 1
        tracks.append(_build(tracklet, shot, frame_pts, time_base, settings, first_id + len(tracks), order[birth]))
    return tracks


def _build(
    tracklet: Tracklet,
    shot: Shot,
    frame_pts: NDArray[np.int64],
    time_base: Fraction,
    settings: SurveySettings,
    track_id: int,
    birth_order: int,
) -> Track:
    table = tracklet.rows.table
    pts = _rows_of(table["pts"], shot, frame_pts, time_base)
    seconds: Float64 = ((pts - shot.first_pts) * float(time_base)).astype(np.float64)
    position = np.searchsorted(pts, table["pts"])
    detected = np.zeros(len(pts), bool)
    detected[position] = True
    landmarks = np.zeros((len(pts), 5, 2))
    landmarks[position] = table["landmarks"]
    repeated = np.zeros(len(pts), bool)
    repeated[position] = table["repeated"]
    motion = np.full((len(pts), 4), np.nan)
    motion[position] = table["motion"]
    columns = {name: _spread(table[name], position, len(pts)) for name in ("score", "quality", "sharpness")}
    parameters = smooth_parameters(seconds, landmarks, columns["score"], detected, settings.smoothing, repeated, motion)
    return Track(
        track_id=track_id,
        shot=shot.index,
        birth_pts=int(table["pts"][0]),
        birth_order=birth_order,
        pts=pts,
        boxes=_filled_boxes(seconds, table["box"], position),
        landmarks=_filled_landmarks(seconds, landmarks, detected, parameters),
        scores=columns["score"],
        parameters=parameters,
        quality=columns["quality"],
        fade=fade_weights(len(pts), bool(pts[0] > shot.first_pts), bool(pts[-1] < shot.last_pts)),
        embeddings=np.array(tracklet.embeddings, dtype=np.float32).reshape(-1, EMBEDDING_SIZE),
        embedding_pts=np.array(tracklet.embedding_pts, dtype=np.int64),
        sharpness=columns["sharpness"],
    )


def _rows_of(found: NDArray[np.int64], shot: Shot, frame_pts: NDArray[np.int64], time_base: Fraction) -> NDArray[np.int64]:
    """PTS of all frames from the first detection to the last, on to the shot's edges where these are near."""
    reach = int(SHOT_EDGE_SECONDS / time_base)
    first = shot.first_pts if found[0] - shot.first_pts <= reach else found[0]
    last = shot.last_pts if shot.last_pts - found[-1] <= reach else found[-1]
    low, high = np.searchsorted(frame_pts, first), np.searchsorted(frame_pts, last, side="right")
    return np.array(frame_pts[low:high], dtype=np.int64)


def fade_weights(count: int, fades_in: bool, fades_out: bool) -> Float32:
    """(count,) mask weights: 1, but rising over the first five frames and falling over the last five where asked for."""
    ramp = np.arange(1, count + 1) / (FADE_FRAMES + 1)
    weights = np.ones(count)
    if fades_in:
        weights = np.minimum(weights, ramp)
    if fades_out:
        weights = np.minimum(weights, ramp[::-1])
    return weights.astype(np.float32)


def _spread(values: NDArray[Any], position: NDArray[np.intp], count: int) -> Float32:
    """Values of the detected frames in their rows, 0 in the others."""
    result = np.zeros(count, np.float32)
    result[position] = values
    return result


def _filled_boxes(seconds: Float64, boxes: Float32, position: NDArray[np.intp]) -> Float32:
    """(n, 4): detected boxes, between them centre, area and aspect ratio interpolated in time."""
    if len(position) == len(seconds):
        return np.array(boxes)
    known = np.array([measurement_from_box(box) for box in boxes])
    known[:, 2:] = np.log(known[:, 2:])
    filled = np.stack([np.interp(seconds, seconds[position], column) for column in known.T], axis=-1)
    filled[:, 2:] = np.exp(filled[:, 2:])
    result = np.array([box_from_measurement(item) for item in filled])
    result[position] = boxes
    return result


def _filled_landmarks(seconds: Float64, landmarks: Float64, detected: NDArray[np.bool_], parameters: Float64) -> Float32:
    """(n, 5, 2): detected landmarks; in the other rows the face's shape is interpolated inside the smoothed window."""
    if detected.all():
        return landmarks.astype(np.float32)
    matrices = matrix_from_parameters(parameters)
    turns, shifts = matrices[:, :, :2], matrices[:, :, 2]
    aligned = landmarks @ np.swapaxes(turns, 1, 2) + shifts[:, None]
    flat = aligned.reshape(len(seconds), 10)
    filled = np.stack([np.interp(seconds, seconds[detected], column[detected]) for column in flat.T], axis=-1)
    back = (filled.reshape(-1, 5, 2) - shifts[:, None]) @ np.swapaxes(np.linalg.inv(turns), 1, 2)
    return np.where(detected[:, None, None], landmarks, back).astype(np.float32)
