"""Which faces of a track the model touches, and why the others are left alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening, median_filter

from iconface_video.faces.quality import pose
from iconface_video.settings import RestoreSettings
from iconface_video.types import Float32, Track

FADE_FRAMES = 5
"""Frames over which the mask comes and goes where a face begins or stops being restored in mid-track."""
MIN_RUN_FRAMES = 5
"""Shorter runs of frames, touched or left alone, follow their neighbours: a face must not switch to and fro."""
MIN_DETECTED_SHARE = 0.3
MIN_MEAN_SCORE = 0.35
"""A track whose face was hardly ever seen, or never clearly, is no face to be trusted."""


@dataclass(frozen=True, eq=False)
class Selection:
    """Rows of one track to restore."""

    keep: NDArray[np.bool_]
    """(n,)"""
    fade: Float32
    """(n,) mask weight, 0 where left alone."""
    left_alone: dict[str, int]
    """Frames left alone, by reason."""


def select(track: Track, settings: RestoreSettings) -> Selection:
    """Decide for every frame of a track; the decision on sharpness and certainty is one for the whole track."""
    whole = _whole_track_reason(track, settings)
    if whole is not None:
        return Selection(np.zeros(len(track), bool), np.zeros(len(track), np.float32), {whole: len(track)})
    yaw = median_filter(np.abs(np.asarray(pose(track.landmarks).yaw)), size=MIN_RUN_FRAMES, mode="nearest")
    keep = _steady(yaw <= settings.max_yaw)
    turned = int((~keep).sum())
    return Selection(keep, track.fade * _ramps(keep), {"turned too far": turned} if turned else {})


def _whole_track_reason(track: Track, settings: RestoreSettings) -> str | None:
    seen = track.scores > 0
    if seen.mean() < MIN_DETECTED_SHARE or track.scores[seen].mean() < MIN_MEAN_SCORE:
        return "uncertain"
    sharp = track.sharpness[track.sharpness > 0]
    if settings.max_sharpness > 0 and len(sharp) and np.median(sharp) > settings.max_sharpness:
        return "already sharp"
    return None


def _steady(keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without runs shorter than `MIN_RUN_FRAMES` inside the track."""
    padded = np.pad(keep, MIN_RUN_FRAMES, mode="edge")
    window = np.ones(MIN_RUN_FRAMES, bool)
    padded = binary_opening(binary_closing(padded, window), window)
    # The padding stands for itself: morphology must not invent an end of the run at the track's ends.
    return np.asarray(padded[MIN_RUN_FRAMES:-MIN_RUN_FRAMES], dtype=bool)


def _ramps(keep: NDArray[np.bool_]) -> Float32:
    """(n,) rises over `FADE_FRAMES` after frames left alone and falls before them; the track's own ends have their own fade."""
    rows = np.flatnonzero(~keep)
    if not len(rows):
        return np.ones(len(keep), np.float32)
    distance = np.abs(np.arange(len(keep))[:, None] - rows[None, :]).min(axis=1)
    return np.clip(distance / (FADE_FRAMES + 1), 0.0, 1.0).astype(np.float32)
