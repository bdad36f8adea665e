"""The first step alone: which faces are in a video, where, and who belongs together."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from iconface_video.identity.references import Embed
from iconface_video.session.clip import Clip, OnProgress, ShouldStop, Watch
from iconface_video.session.clip_faces import ClipFaces, ClipRequest
from iconface_video.session.networks import Networks
from iconface_video.settings import RunSettings
from iconface_video.types import Survey
from iconface_video.video.reader import VideoReader


def survey(
    input: Path | str,
    *,
    settings: RunSettings | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    embed: Embed | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Survey:
    """Find every face of a video, follow it through each shot, and group the tracks into people.

    start, end: seconds after the first frame.  embed: identity encoder; the embedded one when not given.
    Raises InputError for a file that is no video, DecodeError, and Cancelled when `should_stop` says so.
    """
    request = ClipRequest(Path(input), settings=settings or RunSettings(), start=start, end=end)
    with VideoReader(request.input, request.settings.read) as reader:
        clip = Clip(reader, start, end)
        return ClipFaces(clip, request, Networks(embed=embed), Watch(on_progress, should_stop)).find_faces(clip)
