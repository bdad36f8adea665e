"""Rendering again and again from a kept work folder, without running the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iconface_video.errors import InputError, StoreError
from iconface_video.lock import writing
from iconface_video.session.clip import Clip, OnProgress, ShouldStop, Watch
from iconface_video.session.fingerprint import missing_mark
from iconface_video.session.rendering import Rendering, RenderWork
from iconface_video.session.restoring import KeptFaces
from iconface_video.settings import EncodeSettings, RenderSettings
from iconface_video.video.output_size import line_scale, plan_enlarged
from iconface_video.video.probe import probe
from iconface_video.video.reader import VideoReader


@dataclass(frozen=True)
class RenderReport:
    """Result of rendering from a kept store."""

    input: Path
    output: Path
    frames: int
    seconds: dict[str, float]
    notes: tuple[str, ...]


def render_store(
    work: Path,
    output: Path | None = None,
    *,
    render: RenderSettings | None = None,
    encode: EncodeSettings | None = None,
    input: Path | None = None,
    force: bool = False,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> RenderReport:
    """Make another output from a kept work folder, without running the model.

    input: the video, where it was moved since. Raises StoreError (no or damaged store), InputError, OutputError, Cancelled.
    """
    kept = KeptFaces.read(work)
    path = input or kept.input
    if not path.exists():
        raise InputError(f"{path}: the video that {work} was made from is not there any more; say where it is with `input`")
    render, encode, watch = render or RenderSettings(), encode or EncodeSettings(), Watch(on_progress, should_stop)

    def whole(unfinished: Path, frames: int) -> None:
        if KeptFaces.read(work) != kept:
            raise StoreError(f"{work}: a run put other faces there while they were being written. Render again after it.")

    with VideoReader(path, kept.read_settings(probe(path)), scan=kept.scan) as reader:
        if kept.content is not None and reader.file.identity() != kept.content:
            raise InputError(
                f"{path}: is not the video that {work} was made from: its content differs, so the faces would land in another "
                "picture. Name the right one with `input`."
            )
        kept.check_light(reader.info.color)
        clip = Clip.between(reader, *kept.part)
        beyond = _beyond(kept, line_scale(reader.info, render))
        with writing(plan_enlarged(reader.written, output, encode, render, force=force).path):
            target = plan_enlarged(reader.written, output, encode, render, force=force)
            rendering = Rendering(RenderWork(clip, target, render, encode, kept.crops, kept.frames), watch)
            kept.restored.begin(rendering)
            frames = rendering.finish(whole)
    unmarked = missing_mark(target.container) if kept.restored.restored_with and render.strength > 0 else ()
    return RenderReport(path, target.path, frames, watch.seconds, (*target.notes, *beyond, *unmarked, *clip.damage))


def _beyond(kept: KeptFaces, scale: float) -> tuple[str, ...]:
    """A sentence where the output asks for more than was restored."""
    if scale <= kept.scale:
        return ()
    coarse, whole = kept.coarse_crops(scale)
    if not coarse:
        return ()
    return (
        f"{coarse} of {whole} restored faces were made for a smaller picture and are enlarged with it; a run with `scale` restores "
        "them as fine as the model can.",
    )
