"""Motion-compensated temporal filter over restored crops: takes out flicker, keeps lips and blinks.

What is filtered is the restored crop's *detail*: restored minus the source's low frequencies, those that colour matching gives
back to the input (`match.low_frequencies`). So light and colour follow the input at once, and everything finer is
steadied, what the model made up as well as what it left of the input's own noise. (Restored minus source would hold the
source's grain with its sign turned; averaging that over time brings the grain back into the picture.)

Each neighbour's detail is carried to the frame along the optical flow (DIS) between the means of source and restored crop: the
source does not flicker with the model, the restored crop shows where things are when the source is badly damaged. It counts
the less the more its *source* differs from the frame's after compensation, or where flow there and back do not meet
(occlusion): a mouth that opens or an eye that closes has no neighbours to be mixed with.

Last, where the average would change more than the restoration itself or noise does around there, less of it is taken. Neighbours
never fall on each other quite exactly: without this a clean moving face, which needs no filter, lost a sixth of its fine detail.
docs/steadiness.md has the figures behind these choices.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

import cv2
import numpy as np

from iconface_video.render.match import low_frequencies
from iconface_video.tracking.dense_flow import enlarged, flow_estimator, mean_difference, sampled
from iconface_video.types import Float32, UInt8

RADIUS_FRAMES = 4
"""Look-ahead and look-back."""
FLOW_SIZE = 128
"""px at which the flow is estimated: faces move smoothly, and grain disturbs less."""
DESCENT_STEPS = 8
"""Half of what DIS takes by itself: real faces fall on each other as well (the rest follows noise), for three quarters of the time; fewer,
or patches further apart, are too few for a face that turns (docs/speed.md)."""
DIFFERENCE_NOISE, DIFFERENCE_LIMITS = 3.0, (0.7, 10.0)
"""A neighbour's weight falls to exp(-1/2) where the compensated source differs by so many times its median difference, held
within these grey levels: what the input's own noise makes is forgiven, in a clean input little is."""
OCCLUSION_PX = 1.0
"""Distance, at `FLOW_SIZE`, between a point and its way there and back at which the weight falls to exp(-1/2)."""
DISTANCE_FRAMES = 3.0
"""Sigma of the weight over frame distance."""
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
ALLOWANCE_SHARE = 1 / 16
"""Side, as a share of the crop, of the neighbourhood in which changes are weighed against each other."""


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
    """(F, F, 3) the source without grain and without its low frequencies, at the flow's size: for comparing frames."""
    grey: UInt8 = field(init=False)
    """(F, F) mean of source and restored, in grey: for the flow."""

    def __post_init__(self) -> None:
        source = self.source.astype(np.float32)
        self.base = low_frequencies(source)
        self.detail = self.restored - self.base
        self.small = _reduced(source - self.base, COMPARE_SIGMA_SHARE)
        both = _reduced(np.float32(0.5) * (source + self.restored), MOTION_SIGMA_SHARE)
        seen = cv2.cvtColor(np.clip(both, 0, 255), cv2.COLOR_RGB2GRAY)
        self.grey = np.rint(seen).astype(np.uint8)


def _reduced(picture: Float32, sigma_share: float) -> Float32:
    """Without grain, at the flow's size."""
    side = min(picture.shape[0], FLOW_SIZE)
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), side * sigma_share), np.float32)


class TemporalFilter:
    """The filter of one track: push frames in presentation order; each comes out `radius` frames later.

    All of its frames have one crop size. `finish` gives what is still held back. Memory: 2 * radius + 1 crops.
    """

    def __init__(self, radius: int = RADIUS_FRAMES) -> None:
        self.delay = radius
        self._frames: deque[TrackFrame] = deque()
        self._waiting = 0
        self._flow = flow_estimator(DESCENT_STEPS)
        self._flows: OrderedDict[tuple[int, int], Float32] = OrderedDict()

    def push(
        self, pts: int, source: UInt8, restored: UInt8 | Float32, restoration: Float32 | None = None
    ) -> list[tuple[int, Float32]]:
        """Returns what became ready: (pts, filtered restored crop (S, S, 3) float32 0..255).

        restoration: what the model changed, where `restored` has already been blended with the source; None: restored - source.
        """
        given = restored.astype(np.float32)
        self._frames.append(TrackFrame(pts, source, given, given - source if restoration is None else restoration))
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
        here = self._frames[position]
        total, weights = here.detail.copy(), np.ones(here.source.shape[:2], np.float32)
        for offset in range(-self.delay, self.delay + 1):
            if offset == 0 or not 0 <= position + offset < len(self._frames):
                continue
            near = np.float32(np.exp(-0.5 * (offset / DISTANCE_FRAMES) ** 2))
            detail, weight = self._compensated(here, self._frames[position + offset])
            weight *= near
            weights += weight
            detail *= _thrice(weight)
            total += detail
        total /= _thrice(weights)
        allowed = _allowed_share(total - here.detail, here.restoration)
        change = _with_contrast_of(here.detail, total)
        change -= here.detail
        change *= _thrice(allowed)
        change += here.restored
        return np.clip(change, 0.0, 255.0, out=change)

    def _compensated(self, here: TrackFrame, other: TrackFrame) -> tuple[Float32, Float32]:
        """The other frame's detail where it would stand in this frame, and how far it can be trusted, (S, S) 0..1."""
        size = here.source.shape[0]
        there, back = self._flow_between(here, other), self._flow_between(other, here)
        miss = there + sampled(back, there, cv2.INTER_LINEAR)  # flow is smooth
        difference = mean_difference(sampled(other.small, there), here.small)
        scale = np.float32(np.clip(DIFFERENCE_NOISE * np.median(difference[::2, ::2]), *DIFFERENCE_LIMITS))
        doubt = _squares(miss) / OCCLUSION_PX**2 + (difference / scale) ** 2
        weight = enlarged(np.exp(np.float32(-0.5) * doubt), size)
        return sampled(other.detail, enlarged(there, size)), weight

    def _flow_between(self, here: TrackFrame, other: TrackFrame) -> Float32:
        """(F, F, 2): where each point of `here` is found in `other`, relative, px at the flow's size."""
        pair = (here.pts, other.pts)
        if pair not in self._flows:
            flow = np.zeros((*here.grey.shape, 2), np.float32)
            if not np.array_equal(here.grey, other.grey):
                flow = np.asarray(self._flow.calc(here.grey, other.grey, flow), np.float32)
            self._flows[pair] = flow
        return self._flows[pair]


def _thrice(weight: Float32) -> Float32:
    """(h, w) -> (h, w, 3): numpy takes several times as long over a plane that it has to stretch over channels."""
    return np.asarray(cv2.merge((weight, weight, weight)), np.float32)


def _squares(vectors: Float32) -> Float32:
    """(h, w, C) -> (h, w): squared lengths."""
    return np.asarray(cv2.transform(vectors * vectors, np.ones((1, vectors.shape[2]), np.float32)), np.float32)


def _with_contrast_of(detail: Float32, averaged: Float32) -> Float32:
    """Frames never fall on each other quite exactly, so their average has less contrast than each of them where detail is
    fine. What is missing is given back, all over the crop alike: true detail and PSNR rise with it."""
    fine = _fine(averaged)
    gain = float(_middle(_fine(detail)).std()) / max(float(_middle(fine).std()), 1e-3)
    return averaged + np.float32(np.clip(gain, 1.0, MOST_CONTRAST) - 1.0) * fine


def _allowed_share(change: Float32, restoration: Float32) -> Float32:
    """(S, S) 0..1: how much of the filter's change is within what the restoration changed, or noise explains, around each place."""
    side = change.shape[0]
    window = (max(1, round(side * ALLOWANCE_SHARE)),) * 2
    wanted, restored = (np.asarray(cv2.blur(_squares(picture), window), np.float32) for picture in (change, restoration))
    noise = np.quantile(_middle(wanted), NOISE_QUANTILE)
    share = np.clip((NOISE_ALLOWANCE * noise + RESTORATION_ALLOWANCE * restored) / (wanted + 1e-3), 0, 1)
    return np.asarray(cv2.GaussianBlur(share, (0, 0), side / 128), np.float32)


def _middle(picture: Float32) -> Float32:
    """Without the outer eighths, every second px: enough for statistics of the face."""
    edge = picture.shape[0] // 8
    return picture[edge:-edge:2, edge:-edge:2]


def _fine(picture: Float32) -> Float32:
    smooth = cv2.GaussianBlur(picture, (0, 0), picture.shape[0] * FINE_SIGMA_SHARE)
    return np.asarray(picture - smooth, np.float32)
