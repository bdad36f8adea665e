"""The main recipe: a video in, the same video with its faces restored out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from iconface_video.identity.grouping import ReferenceChoice
from iconface_video.identity.references import Embed
from iconface_video.pipelines.choosing import Choice, choose_settings
from iconface_video.restore.face_model import FaceModel
from iconface_video.session.clip import OnProgress, ShouldStop, Watch
from iconface_video.session.clip_session import ClipRequest, ClipSession
from iconface_video.session.engines.engine import Engine
from iconface_video.session.networks import Networks
from iconface_video.session.run_report import FaceObserver, RunReport

__all__ = ["ReferenceChoice", "restore_video"]


def restore_video(
    input: Path,
    output: Path | None = None,
    *,
    settings: Choice = None,
    references: ReferenceChoice | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    force: bool = False,
    work: Path | None = None,
    keep_work: bool = False,
    fresh: bool = False,
    model: FaceModel | None = None,
    engine: Engine | None = None,
    embed: Embed | None = None,
    observer: FaceObserver | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> RunReport:
    """Restore the faces of a video.

    settings: `RunSettings`, or a `SettingsChoice`. Where neither they nor that name a preset, the recording is looked at, and the
    preset that suits it is taken: the report says which, and why.
    output: file or folder; None: ``<stem>.restored.<ext>`` beside the input. start, end: seconds after the first frame.
    work: folder for what is found and restored on the way; beside the output when not given, deleted after success unless
    `keep_work`. What an earlier, unfinished run left there is used as far as it was made from the same; not with `fresh`.
    model, embed: loaded as the settings say when not given.  engine: one that is open already, with these restore settings,
    for several videos one after another (`make_engine`); the settings choose one when not given.  observer: looks at the faces
    while they are written (see `pipelines.report`).

    Raises InputError, OutputError, ReferencePhotoError or UsageError for what is refused; Cancelled when `should_stop` says
    so. Whatever it raises, nothing stands under the output's name.
    """
    input = Path(input)
    output, work = (None if place is None else Path(place) for place in (output, work))
    chosen = choose_settings(input, settings, output, work, fresh=fresh)
    references = references or ReferenceChoice()
    request = ClipRequest(input, output, chosen.settings, references, start, end, force, work, keep_work, fresh, chosen.preset)
    with ClipSession.open(request, Networks(model, engine, embed), Watch(on_progress, should_stop)) as session:
        return session.render(observer)
