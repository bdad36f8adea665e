"""Deinterlacing with bwdif: one frame out per frame in, so that frame count and PTS stay as they are, or one for each field."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

import av
import av.filter
from av.error import FFmpegError

_MIN_SIZE = 4
"""bwdif refuses pictures narrower or lower than three samples in any plane."""


def is_too_small(width: int, height: int) -> bool:
    """Whether bwdif refuses pictures of this size (px)."""
    return min(width, height) < _MIN_SIZE * 2


class Bwdif:
    """The filter alone. It looks at the pictures before and after, so each comes out one step late. Times are its own."""

    def __init__(self, mode: Literal["send_frame", "send_field"], parity: str, only_flagged: bool = False) -> None:
        """parity: tff, bff or auto (as each picture says).  only_flagged: pictures that do not say they are interlaced pass."""
        self._options = f"mode={mode}:parity={parity}:deint={'interlaced' if only_flagged else 'all'}"
        self._graph: av.filter.Graph | None = None

    def push(self, picture: av.VideoFrame) -> list[av.VideoFrame]:
        """The pictures that are ready now. Each picture must carry its final PTS and time base."""
        if self._graph is None:
            self._graph = self._make_graph(picture)
        self._graph.vpush(picture)
        return self._ready(self._graph)

    def finish(self) -> list[av.VideoFrame]:
        """The pictures still inside; afterwards the filter is as new."""
        if self._graph is None:
            return []
        self._graph.vpush(None)
        ready = self._ready(self._graph)
        self._graph = None
        return ready

    def _make_graph(self, picture: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        # The colour tags are part of the link's format: left out, FFmpeg rebuilds the graph or refuses the picture.
        source = graph.add(
            "buffer",
            video_size=f"{picture.width}x{picture.height}",
            pix_fmt=picture.format.name,
            time_base=str(picture.time_base),
            pixel_aspect="1/1",
            colorspace=str(int(picture.colorspace)),
            range=str(int(picture.color_range)),
        )
        graph.link_nodes(source, graph.add("bwdif", self._options), graph.add("buffersink")).configure()
        return graph

    def _ready(self, graph: av.filter.Graph) -> list[av.VideoFrame]:
        found = []
        while True:
            try:
                found.append(graph.vpull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return found
            except FFmpegError:
                raise


class Deinterlacer:
    """Feeds pictures through bwdif, at the film's own rate."""

    def __init__(self, field_order: str) -> None:
        """field_order: of the film, as `VideoInfo` has it."""
        self._filter = Bwdif("send_frame", parity_of(field_order) or "auto")
        self._time_base = Fraction(1)

    def push(self, picture: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """The pictures that are ready now. Each picture must carry its final PTS and time base."""
        if is_too_small(picture.width, picture.height):
            yield picture
            return
        assert picture.time_base is not None
        self._time_base = picture.time_base
        yield from map(self._timed, self._filter.push(picture))

    def finish(self) -> Iterator[av.VideoFrame]:
        """The pictures still inside."""
        yield from map(self._timed, self._filter.finish())

    def _timed(self, picture: av.VideoFrame) -> av.VideoFrame:
        # bwdif counts in half ticks, to have room for a second field.
        assert picture.pts is not None
        assert picture.time_base is not None
        picture.pts = int(picture.pts * picture.time_base / self._time_base)
        picture.duration = int(picture.duration * picture.time_base / self._time_base)
        picture.time_base = self._time_base
        return picture


def parity_of(field_order: str) -> Literal["tff", "bff"] | None:
    """bwdif's word for the order in which fields are shown; None where there are none."""
    orders: dict[str, Literal["tff", "bff"]] = {"tt": "tff", "tb": "tff", "bb": "bff", "bt": "bff"}
    return orders.get(field_order)
