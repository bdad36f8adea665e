"""Motion-compensated temporal filter over restored crops: takes out flicker, keeps lips and blinks.

What is filtered is the restored crop's *detail*: restored minus the source's low frequencies, those that colour matching gives
back to the input (`match.low_frequencies`). So light and colour follow the input at once, and everything finer is
steadied, what the model made up as well as what it left of the input's own noise. (Restored minus source would hold the
source's grain with its sign turned; averaging that over time brings the grain back into the picture.)

Each neighbour's detail is carried to the frame along the optical flow (DIS) between the means of source and restored crop: the
source does not flicker with the model, the restored crop shows where things are when the source is badly damaged. Flow and trust
are smooth and are worked out at a quarter of the usual crop's size; detail is carried where the mask lets it be seen. It counts
the less the more its *source* differs from the frame's after compensation, or where flow there and back do not meet
(occlusion): a mouth that opens or an eye that closes has no neighbours to be mixed with.

Last, where the average would change more than the restoration itself or noise does around there, less of it is taken. Neighbours
never fall on each other quite exactly: without this a clean moving face, which needs no filter, lost a sixth of its fine detail.
docs/steadiness.md has the figures behind these choices.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from iconface_video.render.match import at_light_size, light_of
from iconface_video.tracking.dense_flow import enlarged, flow_estimator, mean_difference, quantile, sampled
from iconface_video.types import Float32, UInt8

DESCENT_STEPS, PATCH_STRIDE = 8, 5
"""DIS itself descends twice as long, with patches 4 px apart: real faces fall on each other as well (the rest follows noise), for
two thirds of the time (docs/speed.md)."""
DIFFERENCE_NOISE, DIFFERENCE_LIMITS = 3.0, (0.7, 10.0)
"""A neighbour's weight falls to exp(-1/2) where the compensated source differs by so many times its median difference, held
within these grey levels: what the input's own noise makes is forgiven, in a clean input little is."""
OCCLUSION_SHARE = 1 / 128
"""Distance, as a share of the crop, between a point and its way there and back at which the weight falls to exp(-1/2)."""
MOTION_SIGMA_SHARE, COMPARE_SIGMA_SHARE = 1 / 128, 1 / 64
"""Sigma, as a share of the crop, of the low pass before motion is estimated (DIS bears grain, and is more exact with detail), and
before pictures are compared (there grain would count as change)."""
FINE_SIGMA_SHARE = 1 / 128
"""Sigma, as a share of the crop, over which detail is fine: where averaging lowers the contrast."""
MOST_CONTRAST = 1.1
"""The fine detail's contrast is given back up to this factor: what is missing beyond was noise and grain."""

RESTORATION_ALLOWANCE, NOISE_ALLOWANCE, NOISE_QUANTILE = 0.6, 1.0, 1 / 3
"""How many times what the restoration changed (squared), and the change (squared) in the calmer third of the face, averaging may
make anywhere: noise is alike all over, what comes of neighbours that do not fall on each other is where edges are."""
FAST_SHARE = 1 / 210
"""Motion from frame to frame (rms over the crop), as a share of the crop, from which on a face is fast."""
ALLOWANCE_SHARE = 1 / 16
"""Side, as a share of the crop, of the neighbourhood in which changes are weighed against each other."""


@dataclass(frozen=True)
class Reach:
    """How far the filter looks, and how much it may do."""

    radius: int
    """Frames of look-ahead and look-back."""
    distance: float
    """Sigma of a neighbour's weight over frame distance."""
    allowance: float
    """Times what averaging may change at most (`RESTORATION_ALLOWANCE`, `NOISE_ALLOWANCE`)."""
    restoration: float = 0.0
    """Grey levels (rms over the face): a face that moves fast and was changed by less is filtered less, by the fourth power of what it
    was changed by. It came out about as steady as it went in, and what flow misses would cost more than flicker that motion hides."""


FRAME_BY_FRAME = Reach(radius=4, distance=3.0, allowance=1.0)
"""For faces that were restored each by itself."""
FROM_SEVERAL_FRAMES = Reach(radius=2, distance=2.0, allowance=1 / 3, restoration=3.3)
"""For faces that were made from several frames: they flicker less, and neighbours averaged once more cost a fast face, hardly
damaged, a decibel. Frames further away than two steadied them no more (docs/steadiness.md)."""


_ROW = 256
"""Places in a row of those that are seen: OpenCV is quick with pictures that are not too narrow."""


@dataclass(frozen=True, eq=False)
class _Places:
    """The px of a crop that are seen, one after another, as a picture of their own: a third of a crop lies outside the mask."""

    index: NDArray[np.intp]
    """(n, _ROW) into the crop's px; the last one is repeated to fill the row."""
    grid: Float32
    """(n, _ROW, 2) x, y."""
    inner: NDArray[np.intp]
    """(m,) every second px, across and down, without the outer eighths: enough for statistics of the face."""

    @classmethod
    def of(cls, mask: Float32) -> _Places:
        """mask: (S, S), above 0 where the crop is seen."""
        side = mask.shape[0]
        places = np.flatnonzero(mask > 0)
        index = np.pad(places, (0, -len(places) % _ROW), mode="edge").reshape(-1, _ROW)
        edge, inner = side // 8, np.zeros(mask.shape, bool)
        inner[edge:-edge:2, edge:-edge:2] = True
        grid = np.stack((index % side, index // side), axis=-1).astype(np.float32)
        return cls(index, grid, np.flatnonzero(inner & (mask > 0)))

    def taken(self, picture: Float32) -> Float32:
        """(S, S[, C]) -> (n, _ROW[, C])."""
        return np.take(_whole_px(picture), self.index).view(np.float32).reshape(*self.index.shape, *picture.shape[2:])

    def inner_of(self, picture: Float32) -> Float32:
        """(S, S[, C]) -> (m * C,)."""
        return np.take(_whole_px(picture), self.inner).view(np.float32)

    def put(self, values: Float32, picture: Float32) -> Float32:
        """A copy of the picture (S, S, C) with the values (n, _ROW, C) where they were taken."""
        filled = picture.copy()
        _whole_px(filled).put(self.index, _whole_px(values))
        return filled


def _whole_px(picture: Float32) -> NDArray[Any]:
    """(h, w[, C]) -> (h * w,), the same memory, each px one value: numpy moves these several times as fast as channels."""
    return picture.reshape(-1).view(np.dtype((np.void, 4 * picture[0, 0].size)))


@dataclass(eq=False)
class TrackFrame:
    """One face in one frame, on its way through the filter."""

    pts: int
    source: UInt8
    """(S, S, 3) RGB, cut from the input."""
    restored: Float32
    """(S, S, 3) 0..255."""
    restoration: Float32
    """(S, S, 3) what the restoration changed in the source, whether or not a mask lets all of it through."""
    base: Float32 = field(init=False)
    """(S, S, 3) the source's low frequencies: they follow the source at once."""
    detail: Float32 = field(init=False)
    """(S, S, 3) restored minus base: what is filtered."""
    small: Float32 = field(init=False)
    """(s, s, 3) the source without grain and without its low frequencies, at `match.LIGHT_SIZE`: for comparing frames."""
    grey: UInt8 = field(init=False)
    """(s, s) mean of source and restored, in grey: for the flow. Faces move smoothly, and grain disturbs less at that size."""

    def __post_init__(self) -> None:
        source, restored = at_light_size(self.source.astype(np.float32)), at_light_size(self.restored)
        self.base = light_of(source, self.restored.shape[0])
        self.detail = self.restored - self.base
        self.small = _smooth(source - light_of(source), COMPARE_SIGMA_SHARE)
        both = _smooth(np.float32(0.5) * (source + restored), MOTION_SIGMA_SHARE)
        seen = cv2.cvtColor(np.clip(both, 0, 255), cv2.COLOR_RGB2GRAY)
        self.grey = np.rint(seen).astype(np.uint8)


def _smooth(picture: Float32, sigma_share: float) -> Float32:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), picture.shape[0] * sigma_share), np.float32)


class TemporalFilter:
    """The filter of one track: push frames in presentation order; each comes out `reach.radius` frames later.

    All of its frames have one crop size. `finish` gives what is still held back. Memory: 2 * radius + 1 crops.
    """

    def __init__(self, reach: Reach = FRAME_BY_FRAME, mask: Float32 | None = None) -> None:
        """mask: (S, S), above 0 where the crop will be seen; elsewhere no neighbours are looked at. None: all of it is."""
        self.delay, self._reach = reach.radius, reach
        self._mask = mask
        self._seen: _Places | None = None
        self._frames: deque[TrackFrame] = deque()
        self._waiting = 0
        self._flow = flow_estimator(DESCENT_STEPS, PATCH_STRIDE, finest_scale=0)
        self._flows: OrderedDict[tuple[int, int], Float32] = OrderedDict()

    def push(
        self, pts: int, source: UInt8, restored: UInt8 | Float32, restoration: Float32 | None = None
    ) -> list[tuple[int, Float32]]:
        """Returns what became ready: (pts, filtered restored crop (S, S, 3) float32 0..255).

        restoration: what the model changed, where `restored` has already been blended with the source; None: restored - source.
        """
        given = restored.astype(np.float32)
        if self._seen is None:
            self._seen = _Places.of(np.ones(source.shape[:2], np.float32) if self._mask is None else self._mask)
        if restoration is None:
            restoration = given - source.astype(np.float32)
        self._frames.append(TrackFrame(pts, source, given, restoration))
        self._waiting += 1
        return [self._next()] if self._waiting > self.delay else []

    def finish(self) -> list[tuple[int, Float32]]:
        """Everything still held back; afterwards the filter is as new."""
        ready = [self._next() for _ in range(self._waiting)]
        self._frames.clear()
        self._flows.clear()
        return ready

    def _next(self) -> tuple[int, Float32]:
        """Filter the oldest frame that waits, forget what nobody needs any more."""
        position = len(self._frames) - self._waiting
        self._waiting -= 1
        frame = self._frames[position]
        result = self._filter(position)
        while len(self._frames) - self._waiting > self.delay:
            gone = self._frames.popleft().pts
            self._flows = OrderedDict((pair, flow) for pair, flow in self._flows.items() if gone not in pair)
        return frame.pts, result

    def _filter(self, position: int) -> Float32:
        here, seen = self._frames[position], self._seen
        assert seen is not None
        total = seen.taken(here.detail)
        weights = np.ones(total.shape[:2], np.float32)
        for offset in range(-self.delay, self.delay + 1):
            if offset == 0 or not 0 <= position + offset < len(self._frames):
                continue
            near = np.float32(np.exp(-0.5 * (offset / self._reach.distance) ** 2))
            detail, weight = self._compensated(position, position + offset, seen)
            weight *= near
            weights += weight
            cv2.accumulateProduct(detail, thrice(weight), total)
        total /= thrice(weights)
        averaged = seen.put(total, here.detail)
        allowed = _allowed_share(averaged - here.detail, here.restoration, seen, self._allowance(position, seen))
        change = _with_contrast_of(here.detail, averaged, seen)
        change -= here.detail
        change *= thrice(allowed)
        change += here.restored
        return np.clip(change, 0.0, 255.0, out=change)

    def _allowance(self, position: int, seen: _Places) -> float:
        """Of what averaging may change in this frame."""
        reach, here = self._reach, self._frames[position]
        beside = [k for k in (position - 1, position + 1) if 0 <= k < len(self._frames)]
        if not reach.restoration or not beside:
            return reach.allowance
        flows = [self._flow_between(position, k) for k in beside]
        motion = float(np.mean([_squares(flow).mean() for flow in flows])) / (here.grey.shape[0] * FAST_SHARE) ** 2
        changed = float(np.square(seen.inner_of(here.restoration)).mean()) / reach.restoration**2
        return reach.allowance * (1 - min(1.0, motion) * (1 - min(1.0, changed) ** 2))

    def _compensated(self, position: int, neighbour: int, seen: _Places) -> tuple[Float32, Float32]:
        """The other frame's detail where it would stand in this frame, and how far it can be trusted, 0..1; at the places seen."""
        here, other = self._frames[position], self._frames[neighbour]
        size = here.source.shape[0]
        there, back = self._flow_between(position, neighbour), self._flow_between(neighbour, position)
        miss = there + sampled(back, there, cv2.INTER_LINEAR)  # flow is smooth
        difference = mean_difference(sampled(other.small, there), here.small)
        scale = np.float32(np.clip(DIFFERENCE_NOISE * quantile(difference, 0.5), *DIFFERENCE_LIMITS))
        doubt = _squares(miss) / np.float32(len(miss) * OCCLUSION_SHARE) ** 2 + (difference / scale) ** 2
        weight = seen.taken(enlarged(np.exp(np.float32(-0.5) * doubt), size))
        return sampled(other.detail, seen.taken(enlarged(there, size)), grid=seen.grid), weight

    def _flow_between(self, position: int, neighbour: int) -> Float32:
        """(s, s, 2): where each point of the frame is found in its neighbour, relative, px at the flow's size.

        Estimated from one frame to the next alone; to those further away it goes step by step.
        """
        here, other = self._frames[position], self._frames[neighbour]
        pair = (here.pts, other.pts)
        if pair not in self._flows:
            self._flows[pair] = (
                self._found_flow(here, other) if abs(neighbour - position) == 1 else self._way(position, neighbour)
            )
        return self._flows[pair]

    def _way(self, position: int, neighbour: int) -> Float32:
        between = position + (1 if neighbour > position else -1)
        first = self._flow_between(position, between)
        return first + sampled(self._flow_between(between, neighbour), first, cv2.INTER_LINEAR)

    def _found_flow(self, here: TrackFrame, other: TrackFrame) -> Float32:
        flow = np.zeros((*here.grey.shape, 2), np.float32)
        if np.array_equal(here.grey, other.grey):
            return flow
        return np.asarray(self._flow.calc(here.grey, other.grey, flow), np.float32)


def thrice(weight: Float32) -> Float32:
    """(h, w) -> (h, w, 3): numpy takes several times as long over a plane that it has to stretch over channels."""
    return np.asarray(cv2.merge((weight, weight, weight)), np.float32)


def _squares(vectors: Float32) -> Float32:
    """(h, w, C) -> (h, w): squared lengths."""
    return np.asarray(cv2.transform(vectors * vectors, np.ones((1, vectors.shape[2]), np.float32)), np.float32)


def _with_contrast_of(detail: Float32, averaged: Float32, seen: _Places) -> Float32:
    """Frames never fall on each other quite exactly, so their average has less contrast than each of them where detail is
    fine. What is missing is given back, all over the crop alike: true detail and PSNR rise with it."""
    fine, wanted = _fine(averaged), _fine(detail)
    gain = float(seen.inner_of(wanted).std()) / max(float(seen.inner_of(fine).std()), 1e-3)
    fine *= np.float32(np.clip(gain, 1.0, MOST_CONTRAST) - 1.0)
    fine += averaged
    return fine


def _allowed_share(change: Float32, restoration: Float32, seen: _Places, allowance: float) -> Float32:
    """(S, S) 0..1: how much of the filter's change is within what the restoration changed, or noise explains, around each place."""
    side = change.shape[0]
    window = (max(1, round(side * ALLOWANCE_SHARE)),) * 2
    wanted, restored = (np.asarray(cv2.blur(_squares(picture), window), np.float32) for picture in (change, restoration))
    noise = quantile(seen.inner_of(wanted), NOISE_QUANTILE)
    most = np.float32(allowance) * (NOISE_ALLOWANCE * noise + RESTORATION_ALLOWANCE * restored)
    share = np.clip(most / (wanted + 1e-3), 0, 1)
    return np.asarray(cv2.GaussianBlur(share, (0, 0), side / 128), np.float32)


def _fine(picture: Float32) -> Float32:
    smooth = cv2.GaussianBlur(picture, (0, 0), picture.shape[0] * FINE_SIGMA_SHARE)
    return np.asarray(picture - smooth, np.float32)
