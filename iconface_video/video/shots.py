"""Where one shot ends and the next begins, found while the frames stream by."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from iconface_video.types import Float32, Frame
from iconface_video.video.color import small_frame
from iconface_video.video.display_light import shown_rgb

_PICTURE_SIDE = 192
"""px, longer side of the picture that is judged."""
_SIGNATURE_SIZE = (16, 12)
_NOISE_BLUR = 4.0
"""px of that picture by which it is blurred: the noise of a worn tape changes more from frame to frame than many a cut does."""
_WINDOW = 2
"""Frames on each side against which a change is compared: in a pan all change alike."""
_FLASH_FRAMES = 4
"""A disturbance up to this long, after which the old picture is back, is no cut."""
_SAME_PICTURE = 0.45
"""Two pictures are one scene when they differ by less than this share of the change at the cut."""
_LEAST_CHANGE = 3.0
"""Grey levels by which the tiny pictures on both sides of a cut differ at least. A key frame after still, noisy, nearly grey
pictures changes their hue a lot (where there is hardly any color, hue is noise) but the scene hardly at all."""
_CUT_SHARE = 0.55
"""The floor under the adaptive rule, as a share of PySceneDetect's fixed threshold (15 of 27 in its own defaults)."""


@dataclass(frozen=True)
class Cut:
    """First frame of a new shot."""

    pts: int
    index: int
    """``Frame.index`` of that frame."""


class ShotDetector(Protocol):
    """Takes frames one by one and may answer late."""

    delay: int
    """A cut may be reported up to this many frames after its own."""

    def push(self, frame: Frame) -> list[Cut]:
        """Cuts that have become certain with this frame."""
        ...

    def finish(self) -> list[Cut]:
        """Cuts still held back when the video ends."""
        ...


@dataclass(frozen=True)
class _Seen:
    pts: int
    index: int
    signature: Float32
    """Tiny blurred RGB picture."""


class ContentShotDetector:
    """PySceneDetect's adaptive content detector, with a check that rejects flashes.

    It compares each frame's change in hue, saturation and lightness with that of its neighbours, so that pans and fast
    movement are no cuts. A candidate is dropped when some picture shortly before it and some picture shortly after it
    show the same scene: a photographer's flash, a dropout of the tape, a single wrong frame.
    """

    delay = _FLASH_FRAMES

    def __init__(self, threshold: float = 27.0) -> None:
        """`threshold`: content change that counts as a cut, on the scale of PySceneDetect's ContentDetector."""
        self._detector = AdaptiveDetector(
            window_width=_WINDOW, min_content_val=_CUT_SHARE * threshold, min_scene_len=_FLASH_FRAMES
        )
        self._seen: deque[_Seen] = deque(maxlen=2 * _FLASH_FRAMES + 1)
        self._candidates: deque[int] = deque()
        self._count = 0

    def push(self, frame: Frame) -> list[Cut]:
        """Cuts that have become certain with this frame."""
        picture = shown_rgb(small_frame(frame, _PICTURE_SIDE))
        small = cv2.resize(picture, _SIGNATURE_SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
        self._seen.append(_Seen(frame.pts, frame.index, small))
        # Positions are counted in frames; the rate only turns them into seconds for people.
        calm = cv2.GaussianBlur(picture, (0, 0), _NOISE_BLUR)
        found = self._detector.process_frame(FrameTimecode(self._count, fps=25.0), calm[:, :, ::-1])
        self._candidates.extend(time.frame_num for time in found)
        self._count += 1
        return self._decided(self._count - 1 - _FLASH_FRAMES)

    def finish(self) -> list[Cut]:
        """Cuts still held back when the video ends."""
        return self._decided(self._count - 1)

    def _decided(self, newest: int) -> list[Cut]:
        """Candidates up to position `newest` that stand the flash test and really change the picture."""
        cuts = []
        while self._candidates and self._candidates[0] <= newest:
            position = self._candidates.popleft()
            first = self._count - len(self._seen)
            at = position - first
            if 0 < at < len(self._seen) and not self._is_flash(at) and self._change(at) >= _LEAST_CHANGE:
                cuts.append(Cut(self._seen[at].pts, self._seen[at].index))
        return cuts

    def _change(self, at: int) -> float:
        """Grey levels between the tiny pictures before and at a place."""
        return _distance(self._seen[at - 1].signature, self._seen[at].signature)

    def _is_flash(self, at: int) -> bool:
        pictures = [seen.signature for seen in self._seen]
        before, after = pictures[max(0, at - _FLASH_FRAMES) : at], pictures[at : at + _FLASH_FRAMES + 1]
        change = self._change(at)
        # The two frames at the seam are the change itself; any other pair may show that the scene went on.
        pairs = ((b, a) for i, b in enumerate(reversed(before)) for j, a in enumerate(after) if i or j)
        return any(_distance(b, a) < _SAME_PICTURE * change for b, a in pairs)


def _distance(one: Float32, other: Float32) -> float:
    return float(np.abs(one - other).mean())
