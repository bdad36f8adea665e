"""Which people a picture of the clip shows, and where: so that a face can be pointed at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iconface_video.types import Survey, Track
from iconface_video.web.people import Person

_SLACK_SECONDS = 1e-6
"""Times come as decimals, and may fall a hair before the frame that they name."""


def faces_on_view(people: Sequence[Person], survey: Survey, seconds: float) -> list[dict[str, Any]]:
    """Faces of the frame that is shown at a time (seconds after the first frame), from left to right.

    Each as the number of its person and its box: left, top, width and height in shares of the picture.
    """
    owner = {number: person.index for person in people for number in person.tracks}
    width, height = survey.info.display_size
    pts = survey.first_pts + (seconds + _SLACK_SECONDS) / float(survey.info.time_base)
    found = []
    for track in survey.tracks:
        row = _row_at(track, pts)
        if row is None or track.track_id not in owner:
            continue
        x0, y0, x1, y1 = np.clip(track.boxes[row] / [width, height, width, height], 0, 1)
        if x1 > x0 and y1 > y0:
            box = [round(float(value), 5) for value in (x0, y0, x1 - x0, y1 - y0)]
            found.append({"person": owner[track.track_id], "box": box})
    return sorted(found, key=lambda face: face["box"][0])


def _row_at(track: Track, pts: float) -> int | None:
    """Of the frame that is shown then; the last one counts as long as the others. None: the face is not there."""
    row = int(np.searchsorted(track.pts, pts, side="right")) - 1
    if row < 0:
        return None
    frame = float(np.median(np.diff(track.pts))) if len(track) > 1 else 1.0
    return row if row + 1 < len(track) or pts < track.pts[-1] + frame else None
