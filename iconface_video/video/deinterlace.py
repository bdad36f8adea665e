"""Deinterlacing with bwdif, one frame out per frame in, so that frame count and PTS stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import av.filter
from av.error import FFmpegError

_MIN_SIZE = 4
"""bwdif refuses pictures narrower or lower than three samples in any plane."""


class Deinterlacer:
    """Feeds pictures through bwdif. It looks at the neighbours, so each picture comes out one step late."""

    def __init__(self, every_frame: bool, field_order: str) -> None:
        """`every_frame`: also those that are not flagged as interlaced; their field order is then `field_order`."""
        self._options = (
            f"mode=send_frame:parity={_parity(every_frame, field_order)}:deint={'all' if every_frame else 'interlaced'}"
        )
        self._graph: av.filter.Graph | None = None
        self._time_base = Fraction(1)

    def push(self, picture: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """The pictures that are ready now. Each picture must carry its final PTS and time base."""
        if min(picture.width, picture.height) < _MIN_SIZE * 2:
            yield picture
            return
        if self._graph is None:
            self._graph = self._make_graph(picture)
        self._graph.vpush(picture)
        yield from self._ready(self._graph)

    def finish(self) -> Iterator[av.VideoFrame]:
        """The pictures still inside."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready(self._graph)
            self._graph = None

    def _make_graph(self, picture: av.VideoFrame) -> av.filter.Graph:
        assert picture.time_base is not None
        self._time_base = picture.time_base
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

    def _ready(self, graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
        while True:
            try:
                picture = graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            except FFmpegError:
                raise
            # bwdif counts in half ticks, to have room for a second field.
            assert picture.pts is not None
            assert picture.time_base is not None
            picture.pts = int(picture.pts * picture.time_base / self._time_base)
            picture.duration = int(picture.duration * picture.time_base / self._time_base)
            picture.time_base = self._time_base
            yield picture


def _parity(every_frame: bool, field_order: str) -> str:
    """A field order of the stream counts only where the pictures' own flags say nothing."""
    if not every_frame:
        return "auto"
    return {"tt": "tff", "tb": "tff", "bb": "bff", "bt": "bff"}.get(field_order, "auto")
