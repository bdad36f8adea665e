"""Upright pictures of single frames, for what looks at a few moments of a clip."""

from __future__ import annotations

from types import TracebackType

import cv2
import numpy as np

from iconface_video.run.clip import Clip
from iconface_video.types import UInt8
from iconface_video.video.random_access import RandomAccess


class DisplayPictures:
    """Random access in display space: upright, square pixels. A context manager, which ends in InputError where the clip's
    file has changed meanwhile.
    """

    def __init__(self, clip: Clip) -> None:
        self._info, self._file = clip.info, clip.reader.file
        # decord's old FFmpeg is not let near a file that is known to be damaged.
        self._access = RandomAccess(clip.info.path, clip.reader.settings, allow_decord=not clip.reader.damage, file=self._file)

    def __enter__(self) -> DisplayPictures:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._access.close()
        if error is None:
            self._file.check()

    def at(self, pts: int) -> UInt8:
        """(h, w, 3) RGB of the frame with this PTS."""
        return to_display(self._access.frame_at(pts).rgb, self._info.display_size, self._info.rotation, self._info.is_mirrored)


def to_display(rgb: UInt8, display_size: tuple[int, int], rotation: int, is_mirrored: bool) -> UInt8:
    """Frame space -> display space. display_size: (width, height).  rotation: degrees clockwise, then left and right swapped."""
    turned = np.rot90(rgb, -rotation // 90)
    upright = np.ascontiguousarray(turned[:, ::-1] if is_mirrored else turned)
    if (upright.shape[1], upright.shape[0]) == display_size:
        return upright
    return np.asarray(cv2.resize(upright, display_size, interpolation=cv2.INTER_LINEAR), np.uint8)
