"""The last stage, beside the model's: what is restored is pasted and encoded while the rest is still being restored.

The writing thread has a reader of its own and waits at each segment until that stands in the crop store, so the file that comes
out is the same to the bit as one written afterwards. Progress, errors and the wish to stop pass through the thread that
restores; nothing of the caller's is called from the other one but `observer.see`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from iconface_video.pipelines.render import render_clip
from iconface_video.render.render import OnPasted
from iconface_video.restore.crop_store import CropStore
from iconface_video.restore.plan import RestorePlan, SegmentGate
from iconface_video.session.clip import Clip, Watch
from iconface_video.settings import RunSettings
from iconface_video.types import Progress
from iconface_video.video.output_plan import OutputPlan
from iconface_video.video.reader import VideoReader

_LOOK_EVERY_SECONDS = 0.05


@dataclass(frozen=True, eq=False)
class RenderWork:
    """What is to be written, all that is known before the first face is restored."""

    clip: Clip
    target: OutputPlan
    settings: RunSettings
    crops: Path
    """The crop store's folder."""
    total: int
    """Frames of the clip."""
    decode_ahead: int
    on_pasted: OnPasted | None = None


class Rendering:
    """Begun as soon as the plan stands, finished after the last segment. Leaving it early stops the thread; nothing is written then."""

    def __init__(self, work: RenderWork, watch: Watch, beside: bool) -> None:
        """beside: write while segments are still being restored; else all of it happens in `finish`."""
        self._work, self._watch, self._beside = work, watch, beside
        self._stop = threading.Event()
        self._whole_allowed = threading.Event()
        self._on_whole: Callable[[Path, int], None] | None = None
        self._gate: SegmentGate | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._latest: Progress | None = None
        self._plan: RestorePlan | None = None
        self._with_what: Mapping[str, Any] = {}
        self._frames = 0
        self.clip = work.clip
        """The one that was read for writing: what it says of damage counts."""

    def begin(self, plan: RestorePlan, there: Collection[int], with_what: Mapping[str, Any]) -> None:
        """there: segments that stand in the store already.  with_what: as for `render_clip`."""
        self._plan, self._with_what = plan, with_what
        if self._beside and len(there) < len(plan.segments):
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

    def finish(self, on_whole: Callable[[Path, int], None]) -> int:
        """Wait for (or do) the writing; returns the number of frames. on_whole: as for `render_clip`, called in either thread."""
        assert self._plan is not None, "finish before begin"
        self._on_whole = on_whole
        if self._thread is None:
            return self._render(self.clip, self._watch, None)
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
        work = self._work
        watch = Watch(self._keep_latest, self._stop.is_set)
        try:
            with VideoReader(work.clip.info.path, work.settings.read, work.clip.reader.file) as reader:
                clip = work.clip.again(reader)
                self._frames = self._render(clip, watch, self._gate)
                self.clip = clip
        except BaseException as error:  # raised again by `check`, in the thread that restores
            self._error = error

    def _render(self, clip: Clip, watch: Watch, gate: SegmentGate | None) -> int:
        work, settings = self._work, self._work.settings
        assert self._plan is not None
        store = CropStore(work.crops, self._plan.segments, *([] if gate is None else [gate.wait]))
        return render_clip(
            clip,
            store,
            work.target,
            settings.render,
            settings.encode,
            watch,
            work.total,
            self._with_what,
            self._when_whole,
            work.on_pasted,
            work.decode_ahead,
        )

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
