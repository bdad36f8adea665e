"""A stretch of a survey, for a run over a part of the clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from iconface_video.types import Survey, Track

_ROWS = ("pts", "boxes", "landmarks", "scores", "parameters", "quality", "fade", "sharpness")


def part_of_survey(survey: Survey, first_pts: int, last_pts: int) -> Survey:
    """What stands between two PTS, both inclusive. Tracks keep their ids, keys, people and embeddings; shots before the
    stretch stay, so that the others keep their places.

    The number of frames is worked out from the mean interval between frames; it is for progress alone.
    """
    first, last = max(first_pts, survey.first_pts), min(last_pts, survey.last_pts)
    interval = max(1.0, (survey.last_pts - survey.first_pts) / max(1, survey.frame_count - 1))
    tracks = [part for track in survey.tracks if (part := _part_of_track(track, first, last)) is not None]
    return replace(
        survey,
        tracks=tuple(tracks),
        shots=tuple(replace(shot, last_pts=min(shot.last_pts, last)) for shot in survey.shots if shot.first_pts <= last),
        frame_count=max(1, round((last - first) / interval) + 1),
        first_pts=first,
        last_pts=last,
    )


def _part_of_track(track: Track, first: int, last: int) -> Track | None:
    begin, end = (int(row) for row in np.searchsorted(track.pts, [first, last + 1]))
    if begin == end:
        return None
    return replace(track, **{name: getattr(track, name)[begin:end] for name in _ROWS})
