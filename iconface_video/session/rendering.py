"""The last stage: stored crops pasted into the frames, through one encoder; beside the model's work, or after it.

Beside it, the writing thread has a reader of its own and waits at each segment until that stands in the crop store, so the file
that comes out is the same to the bit as one written afterwards. Progress, errors and the wish to stop pass through the thread
that restores; nothing of the caller's is called from the other one but `on_pasted`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from iconface_video.render.renderer import OnPasted, Renderer, with_shares
from iconface_video.restore.crop_store import CropStore
from iconface_video.restore.plan import SegmentGate
from iconface_video.restore.timeline import DECODE_AHEAD_FRAMES
from iconface_video.session.clip import Clip, Watch
from iconface_video.session.fingerprint import output_mark, restoration_mark
from iconface_video.settings import EncodeSettings, RenderSettings
from iconface_video.types import Frame, Progress, Segment
from iconface_video.video.decode import prefetch
from iconface_video.video.enlarge import Enlarger
from iconface_video.video.fields import woven
from iconface_video.video.output_plan import OutputPlan
from iconface_video.video.output_size import enlarged
from iconface_video.video.writer import VideoWriter

_LOOK_EVERY_SECONDS = 0.05

OnWhole = Callable[[Path, int], None]
"""Called with the finished file, before it gets its name, and the number of pictures that were rendered."""


@dataclass(frozen=True, eq=False)
class RenderWork:
    """What is to be written, all that is known before the first face is restored."""

    clip: Clip
    target: OutputPlan
    render: RenderSettings
    encode: EncodeSettings
    crops: Path
    """The crop store's folder."""
    total: int | None
    """Pictures of the clip."""
    decode_ahead: int = DECODE_AHEAD_FRAMES
    """Frames decoded ahead of paste and encoder."""
    on_pasted: OnPasted | None = None
    """Shown every frame that got a face, before and after."""
    shares: Mapping[int, float] = field(default_factory=dict)
    """Track id -> share of the strength, where that is less than all."""


class Rendering:
    """Begun as soon as the plan stands, finished after the last segment. Leaving it early stops the thread; nothing is written then."""

    def __init__(self, work: RenderWork, watch: Watch, beside: bool = False) -> None:
        """beside: write while segments are still being restored; else all of it happens in `finish`."""
        self._work, self._watch, self._beside = work, watch, beside
        self._stop = threading.Event()
        self._whole_allowed = threading.Event()
        self._on_whole: OnWhole | None = None
        self._gate: SegmentGate | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._latest: Progress | None = None
        self._segments: Sequence[Segment] | None = None
        self._restored_with: Mapping[str, Any] = {}
        self._frames = 0
        self.clip = work.clip
        """The one that was read for writing: what it says of damage counts."""

    def begin(self, segments: Sequence[Segment], there: Collection[int], restored_with: Mapping[str, Any]) -> None:
        """segments: of the whole clip.  there: indices of those that stand in the store already.

        restored_with: what restores the faces, for the mark in the output's metadata; empty where none is restored.
        """
        self._segments, self._restored_with = segments, restored_with
        if self._beside and len(there) < len(segments):
            self._gate = SegmentGate(there, self._stop.is_set)
            self._thread = threading.Thread(target=self._run, name="render", daemon=True)
            self._thread.start()

    def segment_done(self, index: int) -> None:
        """A segment stands in the store."""
        if self._gate is not None:
            self._gate.open(index)

    def check(self) -> None:
        """Raises what the caller's watch raises, and what went wrong in writing."""
        self._watch.check()
        if self._error is not None:
            raise self._error

    def finish(self, on_whole: OnWhole) -> int:
        """Wait for (or do) the writing; returns the number of pictures. on_whole: called in either thread."""
        self._on_whole = on_whole
        if self._thread is None:
            return self._write(self.clip, self._watch)
        self._whole_allowed.set()
        with self._watch.stage("render"):
            while self._thread.is_alive():
                self._thread.join(_LOOK_EVERY_SECONDS)
                self.check()
                if self._latest is not None:
                    self._watch.report(self._latest)
            self.check()
        return self._frames

    def _run(self) -> None:
        read = self._work.clip.reader
        watch = Watch(self._keep_latest, self._stop.is_set)
        try:
            with read.again() as reader:
                clip = self._work.clip.again(reader)
                self._frames = self._write(clip, watch)
                self.clip = clip
        except BaseException as error:  # raised again by `check`, in the thread that restores
            self._error = error

    def _write(self, clip: Clip, watch: Watch) -> int:
        """Decode, paste, encode; everything but the picture is copied. Returns the number of pictures: of fields that are kept,
        two for each frame that is written."""
        assert self._segments is not None, "finish before begin"
        work, done, metadata = self._work, 0, {}
        store = CropStore(work.crops, self._segments, *([] if self._gate is None else [self._gate.wait]))
        if self._restored_with and work.render.strength > 0:
            facts = {**self._restored_with, **output_mark(work.render, work.encode)}
            metadata = restoration_mark(clip.info.metadata, facts)

        def whole(path: Path, frames: int) -> None:
            clip.reader.file.check()
            self._when_whole(path, done)

        def counted(pictures: Iterable[Frame]) -> Iterator[Frame]:
            nonlocal done
            for picture in pictures:
                watch.check()
                yield picture
                done += 1
                watch.report(Progress("render", done, work.total or None))

        first, large = clip.start and clip.first_frame(), enlarged(clip.info, work.render)
        enlarger, written = (
            None if large is clip.info else Enlarger(clip.info, large),
            enlarged(clip.reader.written, work.render),
        )
        with (
            watch.stage("render"),
            VideoWriter(work.target, written, work.encode, metadata, first=first, end=clip.end, on_whole=whole) as writer,
            prefetch(clip.frames(), work.decode_ahead) as frames,
        ):
            clip.copying = writer.copying
            crops_at = with_shares(store.at, work.shares)
            steadied = bool(self._restored_with.get("neighbours"))
            rendered = counted(Renderer(crops_at, work.render, work.on_pasted, enlarger, steadied).render(frames))
            for frame in woven(rendered) if clip.reader.settings.fields == "keep" else rendered:
                writer.write(frame)
        return done

    def _when_whole(self, path: Path, frames: int) -> None:
        """Every frame is written: the file may get its name once everything is restored, too (at strength 0 nothing waits for that)."""
        if self._thread is not None:
            while not self._whole_allowed.wait(_LOOK_EVERY_SECONDS) and not self._stop.is_set():
                pass
            Watch(None, self._stop.is_set).check()
        assert self._on_whole is not None
        self._on_whole(path, frames)

    def _keep_latest(self, event: Progress) -> None:
        self._latest = event

    def __enter__(self) -> Rendering:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
