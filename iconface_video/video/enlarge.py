"""Pictures enlarged by Lanczos, plane by plane, in their own codes.

Every plane is resampled where its samples really lie: chroma keeps its siting, odd sizes their edges, and two fields in a frame
stay apart. Faces are pasted afterwards, so the crops that a restoration kept fit any scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import av
import av.filter
import numpy as np
import scipy
from av.error import FFmpegError

from iconface_video.types import Frame, UInt8, VideoInfo
from iconface_video.video.color import coding_of
from iconface_video.video.conform import decoded_of
from iconface_video.video.fields import PartOfFilm, part_of_film
from iconface_video.video.output_size import frame_from_enlarged
from iconface_video.video.planes import DecodedPicture, Plane, fill_picture, layout_of

_LOBES = 3
_STRIP_ROWS = 128
"""Rows made at a time: floats of a whole picture would take many times its room."""


@dataclass(frozen=True)
class _Axis:
    """Where the samples of one axis come from: sample k of the enlarged plane lies at ``first + k * step`` of the old one."""

    first: float
    step: float
    before: int
    after: int

    def field(self, parity: int) -> _Axis:
        """The same from lines of one field to lines of one field."""
        first = (self.first + parity * self.step - parity) / 2
        return _Axis(first, self.step, len(range(parity, self.before, 2)), len(range(parity, self.after, 2)))


@lru_cache(maxsize=64)
def _weights(axis: _Axis) -> scipy.sparse.csr_matrix:
    """(after, before) Lanczos weights; beyond the edge the outermost sample goes on."""
    places = axis.first + axis.step * np.arange(axis.after)
    taps = np.floor(places).astype(int)[:, None] + np.arange(1 - _LOBES, 1 + _LOBES)
    distance = places[:, None] - taps
    weights = np.where(np.abs(distance) < _LOBES, np.sinc(distance) * np.sinc(distance / _LOBES), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(axis.after), 2 * _LOBES)
    columns = np.clip(taps, 0, axis.before - 1).ravel()
    return scipy.sparse.csr_matrix((weights.ravel().astype(np.float32), (rows, columns)), shape=(axis.after, axis.before))


def enlarged_picture(rgb: UInt8, scale: float) -> UInt8:
    """(h, w, 3) -> the same picture, its sides times `scale` in whole px; itself where nothing changes."""
    before, after = rgb.shape[:2], [round(side * scale) for side in rgb.shape[:2]]
    if scale == 1:
        return rgb
    steps = [old / new for old, new in zip(before, after)]
    down, across = (_Axis(0.5 * step - 0.5, step, old, new) for step, old, new in zip(steps, before, after))
    return np.stack([_resampled(rgb[..., channel], across, down, 255) for channel in range(3)], axis=-1)


class Enlarger:
    """Frames of one film -> the same, larger."""

    def __init__(self, info: VideoInfo, large: VideoInfo) -> None:
        """large: of `enlarged`."""
        self.info, self.large = info, large
        self.frame_from_enlarged = frame_from_enlarged(info, large.width, large.height)
        self._film: tuple[Frame, Frame] | None = None
        """The latest frame of whose fields pictures were made, and the same enlarged."""

    def __call__(self, frame: Frame) -> Frame:
        """What hangs on FFmpeg's picture (captions, which field comes first) goes along."""
        decoded = decoded_of(frame)
        is_interlaced = decoded is not None and bool(decoded.picture.interlaced_frame)
        planes = tuple(self._plane(frame, index, is_interlaced) for index in range(len(frame.planes)))
        carried = None if decoded is None else self._carried(decoded, planes)
        part = part_of_film(frame)
        return replace(
            frame,
            planes=planes,
            width=self.large.width,
            height=self.large.height,
            color=self.large.color,
            side_data=tuple(item for item in (carried, None if part is None else self._part(part)) if item is not None),
        )

    def _part(self, part: PartOfFilm) -> PartOfFilm:
        """Of a field as a picture: its lines are always taken from that picture, so that a face that comes changes nothing around it."""
        if self._film is None or self._film[0] is not part.film:
            self._film = part.film, self(part.film)
        film = self._film[1]
        return replace(part, film=film, planes=film.planes)

    def _plane(self, frame: Frame, index: int, is_interlaced: bool) -> Plane:
        plane, layout = frame.planes[index], layout_of(frame.pix_fmt)
        across, down = self._axes(frame, index, plane.shape)
        top = 2**layout.depth - 1
        if not is_interlaced:
            return _resampled(plane, across, down, top)
        whole = np.empty((down.after, across.after), plane.dtype)
        for parity in (0, 1):
            whole[parity::2] = _resampled(plane[parity::2], across, down.field(parity), top)
        return whole

    def _axes(self, frame: Frame, index: int, shape: tuple[int, ...]) -> tuple[_Axis, _Axis]:
        """Of one plane, across and down. A sample's place in the picture is the same before and after, in shares of its size."""
        layout, large = layout_of(frame.pix_fmt), self.large
        is_chroma = index in (1, 2) and not layout.is_rgb
        rows, columns = layout.plane_shape(index, large.width, large.height)
        sites = coding_of(frame).siting if is_chroma else (0.0, 0.0)
        shifts = layout.chroma_shift if is_chroma else (0, 0)
        axes = []
        for axis, (site, shift, before, after) in enumerate(zip(sites, shifts, shape[::-1], (columns, rows))):
            scale, offset = self.frame_from_enlarged[axis, axis], self.frame_from_enlarged[axis, 2]
            first = (scale * site + offset - site) / (1 << shift)
            axes.append(_Axis(float(first), float(scale), int(before), int(after)))
        return axes[0], axes[1]

    def _carried(self, decoded: DecodedPicture, planes: tuple[Plane, ...]) -> DecodedPicture | None:
        """A picture in the new size with all that hung on the old one; FFmpeg's `pad` makes it. None: nothing hangs on it."""
        old = decoded.picture
        if not (len(old.side_data) or old.interlaced_frame):
            return None
        pts, time_base = old.pts, old.time_base or Fraction(1, 25)
        try:
            picture = _padded(old, self.large.width, self.large.height, time_base)
            fill_picture(picture, planes)
        except (FFmpegError, ValueError):
            return None
        finally:
            old.pts = pts
        picture.pts = pts
        return DecodedPicture(picture, planes)


def _padded(picture: av.VideoFrame, width: int, height: int, time_base: Fraction) -> av.VideoFrame:
    graph = av.filter.Graph()
    source = graph.add(
        "buffer",
        video_size=f"{picture.width}x{picture.height}",
        pix_fmt=picture.format.name,
        time_base=str(time_base),
        pixel_aspect="1/1",
        colorspace=str(int(picture.colorspace)),
        range=str(int(picture.color_range)),
    )
    graph.link_nodes(source, graph.add("pad", f"{width}:{height}"), graph.add("buffersink")).configure()
    picture.pts = None
    graph.vpush(picture)
    done = graph.vpull()
    if (done.width, done.height, done.format.name) != (width, height, picture.format.name):
        raise ValueError(f"pad gave {done}")
    done.make_writable()
    return done


def _resampled(plane: Plane, across: _Axis, down: _Axis, top: int) -> Plane:
    columns, rows = _weights(across), _weights(down)
    done = np.empty((down.after, across.after), plane.dtype)
    for start in range(0, down.after, _STRIP_ROWS):
        part = rows[start : start + _STRIP_ROWS]
        first, end = int(part.indices.min()), int(part.indices.max()) + 1
        strip = part[:, first:end] @ plane[first:end].astype(np.float32)
        values = (columns @ np.ascontiguousarray(strip.T)).T
        done[start : start + _STRIP_ROWS] = np.clip(np.rint(values), 0, top)
    return done
