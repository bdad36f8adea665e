"""Crops of several versions side by side, as a small H.264 clip to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np

from iconface_video.errors import EncodeError
from iconface_video.types import UInt8

_TIME_BASE = Fraction(1, 90000)
_LABEL_PX = 24


class SideBySide:
    """Writes one row of labelled panels for each frame. A context manager; the file is whole when the block ends."""

    def __init__(self, path: Path, versions: Sequence[str], panel_px: int = 256) -> None:
        self._path, self._versions, self._side = path, tuple(versions), panel_px
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> SideBySide:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._path), "w", format="mp4")
            self._stream = self._container.add_stream("libx264", rate=25, options={"crf": "14", "preset": "veryfast"})
        except (OSError, av.error.FFmpegError) as error:
            raise EncodeError(f"{self._path}: the side-by-side clip cannot be written ({error})") from error
        self._stream.width, self._stream.height = self._side * len(self._versions), self._side + _LABEL_PX
        self._stream.pix_fmt, self._stream.time_base = "yuv420p", _TIME_BASE
        self._stream.codec_context.time_base = _TIME_BASE
        self._stream.codec_context.thread_count = 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if error is not None:
            self._path.unlink(missing_ok=True)

    def write(self, seconds: float, crops: Mapping[str, UInt8]) -> None:
        """crops: version -> (S, S, 3) RGB."""
        picture = np.hstack([self._panel(name, crops[name]) for name in self._versions])
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = round(seconds / _TIME_BASE), _TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def _panel(self, name: str, crop: UInt8) -> UInt8:
        panel = np.zeros((self._side + _LABEL_PX, self._side, 3), np.uint8)
        shrinks = crop.shape[0] > self._side
        panel[_LABEL_PX:] = (
            crop
            if crop.shape[0] == self._side
            else cv2.resize(crop, (self._side, self._side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        )
        cv2.putText(panel, name, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        return panel
