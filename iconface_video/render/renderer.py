"""The render pass: frames in, frames with pasted faces out, in the same order and number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from iconface_video.faces.align import compose, cut_codes
from iconface_video.render.match import ColorJudge, kept_grain, match_color
from iconface_video.render.paste import FacePatch, crop_mask, paste
from iconface_video.render.temporal import FRAME_BY_FRAME, FROM_SEVERAL_FRAMES, TemporalFilter, thrice
from iconface_video.restore.crop_store import StoredCrop
from iconface_video.restore.framing import cut_from_frame
from iconface_video.settings import RenderSettings
from iconface_video.types import Float32, Frame, UInt8
from iconface_video.video.color import luma_weights
from iconface_video.video.display_light import LUMA_709, display_light
from iconface_video.video.enlarge import Enlarger

STEADY_FEATHER = 0.1
"""Width of the rim, as a share of the crop, over which steadied picture becomes input. Narrower than the usual blend of restored face
and input: that hides another sharpness and another texture, this no more than where flicker ends."""

CropLookup = Callable[[int], list[StoredCrop]]
"""PTS -> the frame's stored crops."""
OnPasted = Callable[[Frame, Frame, list[StoredCrop]], None]
"""(the frame as it was, as it is, both at the output's size; the crops that were pasted into it, of the input's)."""


def with_shares(crops_at: CropLookup, shares: Mapping[int, float]) -> CropLookup:
    """Some faces blended in by less than the others. shares: track id -> share of the whole strength, 0..1."""
    if not shares:
        return crops_at
    return lambda pts: [replace(crop, fade=crop.fade * shares.get(crop.track_id, 1.0)) for crop in crops_at(pts)]


@dataclass(eq=False)
class _PendingFrame:
    """A frame that waits until the temporal filter has given all of its faces."""

    frame: Frame
    crops: list[StoredCrop]
    sources: dict[int, UInt8]
    """Track id -> source crop."""
    restored: dict[int, Float32] = field(default_factory=dict)
    """Track id -> what is to be pasted, (S, S, 3) 0..255."""

    @property
    def is_ready(self) -> bool:
        return len(self.restored) == len(self.crops)


class Renderer:
    """Pastes stored crops into frames. Holds back as many frames as the temporal filter looks ahead, no more."""

    def __init__(
        self,
        crops_at: CropLookup,
        settings: RenderSettings,
        on_pasted: OnPasted | None = None,
        enlarger: Enlarger | None = None,
        steadied: bool = False,
    ) -> None:
        """on_pasted: shown every frame that got a face.  enlarger: of an output that is larger; it is what frames become then.

        steadied: the model saw neighbouring frames, so that the temporal filter finds less to do.
        """
        self._reach = FROM_SEVERAL_FRAMES if steadied else FRAME_BY_FRAME
        self._enlarger = enlarger
        self._crops_at = crops_at
        self._on_pasted = on_pasted
        self._settings = settings
        self._pending: deque[_PendingFrame] = deque()
        self._filters: dict[int, TemporalFilter] = {}
        self._by_pts: dict[int, _PendingFrame] = {}
        self._judges: dict[int, ColorJudge] = {}

    def render(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """All frames, in order. At strength 0 the store is not even read."""
        if self._settings.strength <= 0:
            yield from map(self._written, frames)
            return
        for frame in frames:
            self._take(frame)
            yield from self._ready()
        for track_id in list(self._filters):
            self._close(track_id)
        yield from self._ready()

    def _written(self, frame: Frame) -> Frame:
        """At the output's size."""
        return frame if self._enlarger is None else self._enlarger(frame)

    def _take(self, frame: Frame) -> None:
        crops = self._crops_at(frame.pts)
        sources = {crop.track_id: cut_from_frame(frame, crop.crop_from_frame, crop.size) for crop in crops}
        pending = _PendingFrame(frame, crops, sources)
        self._pending.append(pending)
        self._by_pts[frame.pts] = pending
        for track_id in [known for known in self._filters if known not in sources]:
            self._close(track_id)  # nobody is mixed with himself from before a pause
        for crop in crops:
            self._filter(crop, pending)

    def _filter(self, crop: StoredCrop, pending: _PendingFrame) -> None:
        restored, source = crop.image.astype(np.float32), pending.sources[crop.track_id]
        if not self._settings.temporal_filter:
            pending.restored[crop.track_id] = restored
            return
        track_filter = self._filters.get(crop.track_id)
        if track_filter is None:
            mask = crop_mask(crop.size, self._settings.mask, self._settings.feather)
            track_filter = self._filters[crop.track_id] = TemporalFilter(self._reach, mask)
        residual = None
        if self._blends_first:
            residual = self._residual(restored, source)
            restored = self._blended(residual, source)
        self._deliver(crop.track_id, track_filter.push(crop.pts, source, restored, residual))

    @property
    def _blends_first(self) -> bool:
        """Whether restored face and input are blended before the temporal filter. Where grain is kept, the rim's is wanted."""
        return self._settings.temporal_filter and self._settings.grain == 0

    def _residual(self, restored: Float32, source: UInt8) -> Float32:
        residual = restored - source.astype(np.float32)  # numpy takes several times as long over two types
        return match_color(residual) if self._settings.color_match else residual

    def _blended(self, residual: Float32, source: UInt8) -> Float32:
        """The restored face fading into the input, before it is steadied: half of the face lies in the mask's rim, and the
        input's part there flickers as well."""
        mask = crop_mask(residual.shape[0], self._settings.mask, self._settings.feather)
        blended = thrice(mask) * residual
        blended += source.astype(np.float32)
        return np.asarray(blended, np.float32)

    def _close(self, track_id: int) -> None:
        self._deliver(track_id, self._filters.pop(track_id).finish())

    def _deliver(self, track_id: int, ready: list[tuple[int, Float32]]) -> None:
        for pts, restored in ready:
            self._by_pts[pts].restored[track_id] = restored

    def _ready(self) -> Iterator[Frame]:
        while self._pending and self._pending[0].is_ready:
            pending = self._pending.popleft()
            del self._by_pts[pending.frame.pts]
            for track_id in [known for known in self._judges if known not in pending.sources]:
                del self._judges[track_id]
            frame = self._written(pending.frame)
            pasted = paste(frame, [self._patch(crop, pending) for crop in pending.crops], self._settings.strength)
            if self._on_pasted is not None and pending.crops:
                self._on_pasted(frame, pasted, pending.crops)
            yield pasted

    def _patch(self, crop: StoredCrop, pending: _PendingFrame) -> FacePatch:
        source, restored = pending.sources[crop.track_id], pending.restored[crop.track_id]
        residual = restored - source.astype(np.float32)
        if self._settings.grain > 0:
            scale = float(np.linalg.norm(crop.crop_from_frame[0, :2]))
            residual += np.float32(self._settings.grain) * kept_grain(source, restored, scale)
        residual /= np.float32(255)
        if self._settings.color_match:
            residual = match_color(residual)
        light = display_light(pending.frame.color)
        weights = luma_weights(pending.frame.color, pending.frame.height) if light is None else LUMA_709
        color = self._color_share(crop.track_id, source, weights)
        if color < 1:
            luma = (residual @ weights)[..., None]
            residual = np.ascontiguousarray(luma + np.float32(color) * (residual - luma))
        if light is not None:
            residual = light.change(cut_codes(pending.frame, crop.crop_from_frame, crop.size), residual)
        feather = self._settings.feather
        if self._blends_first:
            feather = min(feather, STEADY_FEATHER)
        mask = crop_mask(crop.size, self._settings.mask, feather) * np.float32(crop.fade)
        matrix = crop.crop_from_frame
        if self._enlarger is not None:
            matrix = compose(matrix, self._enlarger.frame_from_enlarged)
        return FacePatch(residual, mask, matrix, luma_only=color == 0)

    def _color_share(self, track_id: int, source: UInt8, weights: Float32) -> float:
        """How much of the model's color is used, 0..1."""
        if self._settings.keep_monochrome != "auto":
            return 0.0 if self._settings.keep_monochrome == "on" else 1.0
        return self._judges.setdefault(track_id, ColorJudge()).push(source, weights)
