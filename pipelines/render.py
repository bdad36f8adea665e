"""Rendering: the stored crops pasted into the frames, through one encoder; again and again from a kept store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iconface_video.errors import InputError, StoreError
from iconface_video.lock import writing
from iconface_video.render.render import OnPasted, Renderer
from iconface_video.restore.crop_store import STORE_FILE, CropStore, read_header
from iconface_video.session.clip import Clip, OnProgress, ShouldStop, Watch
from iconface_video.session.fingerprint import missing_mark, output_mark, restoration_mark
from iconface_video.session.work import CROPS
from iconface_video.settings import EncodeSettings, ReadSettings, RenderSettings
from iconface_video.types import Progress
from iconface_video.video.decode import prefetch
from iconface_video.video.output_plan import OutputPlan, plan_output
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import VideoWriter

DECODE_AHEAD_FRAMES = 4
"""Frames decoded ahead of paste and encoder."""


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
    folder = work / CROPS if (work / CROPS).is_dir() else work
    header = read_header(folder)
    missing = [name for name in ("deinterlace", "start_pts", "end_pts", "frames") if name not in header.facts]
    places = [header.facts.get(name) for name in ("start_pts", "end_pts", "frames")]
    if missing or any(place is not None and type(place) is not int for place in places):
        raise StoreError(f"{folder / STORE_FILE}: damaged: what it says of the clip is incomplete")
    path = input or Path(header.input)
    if not path.exists():
        raise InputError(f"{path}: the video that {work} was made from is not there any more; say where it is with `input`")
    encode = encode or EncodeSettings()
    watch = Watch(on_progress, should_stop)
    with VideoReader(path, ReadSettings(deinterlace=header.facts["deinterlace"])) as reader:
        content = header.facts.get("content")  # not there in a store of the first releases
        if content is not None and reader.file.identity() != content:
            raise InputError(
                f"{path}: is not the video that {work} was made from: its content differs, so the faces would land in another "
                "picture. Name the right one with `input`."
            )
        clip = Clip.between(reader, header.facts["start_pts"], header.facts["end_pts"])
        store = CropStore(folder, header.segments)

        def whole(unfinished: Path, frames: int) -> None:
            if read_header(folder) != header:
                raise StoreError(f"{work}: a run put other faces there while they were being written. Render again after it.")

        with writing(plan_output(reader.info, output, encode, force=force).path):
            target = plan_output(reader.info, output, encode, force=force)
            frames = render_clip(
                clip,
                store,
                target,
                render or RenderSettings(),
                encode,
                watch,
                header.facts["frames"],
                header.facts.get("restored_with"),
                whole,
            )
    marked = header.facts.get("restored_with") and (render or RenderSettings()).strength > 0
    unmarked = missing_mark(target.container) if marked else ()
    return RenderReport(path, target.path, frames, watch.seconds, (*target.notes, *unmarked, *clip.damage))


def render_clip(
    clip: Clip,
    store: CropStore,
    target: OutputPlan,
    render: RenderSettings,
    encode: EncodeSettings,
    watch: Watch,
    total: int | None,
    restored_with: Mapping[str, Any] | None,
    on_whole: Callable[[Path, int], None] | None = None,
    on_pasted: OnPasted | None = None,
    decode_ahead: int = DECODE_AHEAD_FRAMES,
) -> int:
    """Decode, paste, encode; everything but the picture is copied. Returns the number of frames.

    restored_with: what restored the faces, for the mark in the output's metadata; None or empty where none was restored.
    on_whole: called with the finished file, before it gets its name, and the number of frames.
    on_pasted: shown every frame that got a face, before and after.  decode_ahead: frames decoded ahead of paste and encoder.
    """

    def whole(path: Path, frames: int) -> None:
        clip.reader.file.check()
        if on_whole is not None:
            on_whole(path, frames)

    done = 0
    metadata = {}
    if restored_with and render.strength > 0:
        metadata = restoration_mark(clip.info.metadata, {**restored_with, **output_mark(render, encode)})
    first = clip.start and clip.first_frame()
    with (
        watch.stage("render"),
        VideoWriter(target, clip.info, encode, metadata, first=first, end=clip.end, on_whole=whole) as writer,
        prefetch(clip.frames(), decode_ahead) as frames,
    ):
        clip.copying = writer.copying
        for frame in Renderer(store.at, render, on_pasted).render(frames):
            watch.check()
            writer.write(frame)
            done += 1
            watch.report(Progress("render", done, total or None))
    return done
