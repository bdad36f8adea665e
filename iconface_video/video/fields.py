"""Fields as pictures at their own times, and back into the frames of a film that stays interlaced.

A field is shown as a picture of the frame's full height: its own lines stand where they stand in the frame, sample for sample,
and bwdif fills in the others. So a field's half line of shift needs no care anywhere: the picture's geometry is the frame's, also
of chroma, whose lines belong to fields as well. What is changed in such a picture goes back by its own lines alone.

A field's time may fall between two ticks of the film's clock: fields are timed by half ticks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import av

from iconface_video.types import Frame, VideoInfo
from iconface_video.video.deinterlace import Bwdif, is_too_small
from iconface_video.video.planes import Plane

INTERLACED_ORDERS = ("tt", "bb", "tb", "bt")


def field_clock(info: VideoInfo) -> VideoInfo:
    """What `probe` found, in half ticks, and for pictures that are fields: twice the rate, none of them interlaced."""
    resets = tuple(replace(reset, pts=2 * reset.pts, offset=2 * reset.offset) for reset in info.clock_resets)
    return replace(
        info,
        time_base=info.time_base / 2,
        first_pts=2 * info.first_pts,
        average_rate=None if info.average_rate is None else 2 * info.average_rate,
        frame_count_declared=None if info.frame_count_declared is None else 2 * info.frame_count_declared,
        field_order="progressive",
        clock_resets=resets,
        counts_fields=True,
    )


def film_clock(info: VideoInfo) -> VideoInfo:
    """In the ticks of the file, whether or not `info` counts fields; the field order is not known any more then."""
    if not info.counts_fields:
        return info
    resets = tuple(replace(reset, pts=reset.pts // 2, offset=reset.offset // 2) for reset in info.clock_resets)
    return replace(
        info,
        time_base=2 * info.time_base,
        first_pts=info.first_pts // 2,
        average_rate=None if info.average_rate is None else info.average_rate / 2,
        frame_count_declared=None if info.frame_count_declared is None else info.frame_count_declared // 2,
        clock_resets=resets,
        counts_fields=False,
    )


@dataclass(frozen=True, eq=False)
class PartOfFilm:
    """Where a picture belongs in its film (in ``Frame.side_data``)."""

    film: Frame
    """The frame as it was decoded, at its own time, in the film's ticks."""
    parity: int | None
    """Its own lines: 0, the top field's; 1, the bottom field's; None: all, the picture is the whole frame."""
    is_last: bool
    """Nothing of the same frame comes after it."""
    planes: tuple[Plane, ...]
    """Of the picture as it was read: others are changed ones."""


def part_of_film(frame: Frame) -> PartOfFilm | None:
    """None for a frame of a film that is read frame by frame."""
    return next((item for item in frame.side_data if isinstance(item, PartOfFilm)), None)


@dataclass(frozen=True, eq=False)
class SplitPicture:
    """One decoded picture, and what is shown of it."""

    film: av.VideoFrame
    fields: tuple[tuple[av.VideoFrame, int], ...]
    """(picture, parity) of both fields in order of time; empty for a picture that stays whole."""
    middle: int
    """When the second field is shown, half ticks."""
    end: int
    """When the second field is over, half ticks."""


class FieldSplitter:
    """Pictures in, pictures with their two fields out, one step later."""

    def __init__(self, is_top_first: bool) -> None:
        self._parities = (0, 1) if is_top_first else (1, 0)
        self._filter = Bwdif("send_field", "tff" if is_top_first else "bff")
        self._waiting: deque[av.VideoFrame] = deque()
        self._ready: list[av.VideoFrame] = []
        self._step = 1
        """Ticks from picture to picture."""

    def push(self, picture: av.VideoFrame, is_interlaced: bool) -> Iterator[SplitPicture]:
        """is_interlaced: else it stays whole. The fields of a stretch look at nothing outside of it."""
        if not is_interlaced or is_too_small(picture.width, picture.height):
            yield from self.finish()
            assert picture.pts is not None
            yield SplitPicture(picture, (), 0, 0)
            return
        if self._waiting:
            self._step = _pts(picture) - _pts(self._waiting[-1])
        self._waiting.append(picture)
        self._ready += self._filter.push(picture)
        while len(self._waiting) > 1:
            yield self._next(_pts(self._waiting[1]))

    def finish(self) -> Iterator[SplitPicture]:
        """The pictures still inside."""
        self._ready += self._filter.finish()
        while self._waiting:
            last = self._waiting[0]
            yield self._next(_pts(last) + (last.duration or self._step))

    def _next(self, after: int) -> SplitPicture:
        """after: time of the picture behind it."""
        film = self._waiting.popleft()
        both, self._ready = self._ready[:2], self._ready[2:]
        fields = tuple(zip(both, self._parities))
        return SplitPicture(film, fields, _pts(film) + after, 2 * after)


def _pts(picture: av.VideoFrame) -> int:
    assert picture.pts is not None
    return picture.pts


def with_own_lines(picture: Sequence[Plane], film: Sequence[Plane], parity: int) -> tuple[Plane, ...]:
    """The picture of a field with its own lines as the film has them, where FFmpeg had to convert them for the filter."""
    return tuple(_lines_from(film_plane, plane, parity) for plane, film_plane in zip(picture, film))


def woven(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The film's frames, at their own times, of the pictures that were read as parts of them, in order.

    Of a picture that is a field only its own lines count; a field that does not come stays as it was. Frames that are parts of
    nothing pass.
    """
    begun: Frame | None = None
    """A frame whose second field is still to come."""
    for frame in frames:
        part = part_of_film(frame)
        if part is None:
            yield frame
            continue
        if begun is not None and begun.pts != part.film.pts:
            yield begun
            begun = None
        whole = _put_back(begun or part.film, frame, part)
        begun = None if part.is_last else whole
        if part.is_last:
            yield whole
    if begun is not None:
        yield begun


def _put_back(whole: Frame, frame: Frame, part: PartOfFilm) -> Frame:
    """A film's frame with what is new in one of its parts."""
    changed = [new is not old for new, old in zip(frame.planes, part.planes)]
    if not any(changed):
        return whole
    planes = tuple(
        plane if not is_changed else (new if part.parity is None else _lines_from(new, plane, part.parity))
        for plane, new, is_changed in zip(whole.planes, frame.planes, changed)
    )
    return replace(whole, planes=planes)


def _lines_from(field: Plane, plane: Plane, parity: int) -> Plane:
    """A copy of the plane with every second line from another."""
    mixed = plane.copy()
    mixed[parity::2] = field[parity::2]
    return mixed
