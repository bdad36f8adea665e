"""The first pass alone: which faces are in a video, where, and who belongs together."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from iconface_video.identity.people import group_people
from iconface_video.identity.references import Embed
from iconface_video.session.clip import Clip, OnProgress, ShouldStop, Watch
from iconface_video.settings import RunSettings
from iconface_video.tracking.survey import run_survey
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
    settings = settings or RunSettings()
    watch = Watch(on_progress, should_stop)
    with VideoReader(Path(input), settings.read) as reader:
        clip = Clip(reader, start, end)
        embed = embed or load_embedder()
        found = run_survey(reader, settings.survey, embed, watch.report, watch.should_stop, start=clip.start, end=clip.end)
        return group_people(found, settings.anchors)


def load_embedder() -> Embed:
    """The identity encoder that comes with the package."""
    from iconface_video.faces.identity_encoder import embed_crops, load_identity_encoder

    encoder = load_identity_encoder()
    return lambda crops: embed_crops(encoder, crops)
