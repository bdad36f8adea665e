"""From a frame to the picture that the encoder is given: the decoder's own where possible, with what hangs on it, brought into the
encoder's format, range, matrix, chroma siting and order of fields.

FFmpeg's filters do it, and all that hangs on the picture (captions, HDR metadata, time codes) stays on it.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import av.filter
from av.error import FFmpegError

from iconface_video.errors import EncodeError
from iconface_video.types import ColorTags, Frame
from iconface_video.video.encoders import EncoderChoice
from iconface_video.video.planes import (
    DecodedPicture,
    fill_picture,
    layout_of,
    packed_picture_of,
    picture_of,
    planar_name,
    tag_picture,
)

_FLAGS = "bicubic+accurate_rnd+full_chroma_int"
"""Without the last two swscale darkens by a level or two."""
_RANGES = {1: "limited", 2: "full"}
_LOCATIONS = {1: "left", 2: "center", 3: "topleft", 4: "top", 5: "bottomleft", 6: "bottom"}
_LEFT = 1
_FIELDS = {"tt": "tff", "tb": "tff", "bb": "bff", "bt": "bff"}


class Conformer:
    """Converts pictures of one film. Pictures must carry a time base; their PTS stay."""

    def __init__(self, source: ColorTags, target: ColorTags, pix_fmt: str, field_order: str | None) -> None:
        """source, target: what the codes mean before and after.  pix_fmt: FFmpeg's name of the wanted format.
        field_order: of pictures that stay interlaced (they are flagged so), else None.
        """
        self._source, self._target, self._pix_fmt = source, target, pix_fmt
        self._fields = None if field_order is None else _FIELDS.get(field_order, "tff")
        self._graph: av.filter.Graph | None = None
        self._made_for: tuple[str, int, int] | None = None

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        """Raises EncodeError where FFmpeg cannot convert it."""
        pts, duration, time_base = picture.pts, picture.duration, picture.time_base
        tag_picture(picture, self._source)
        kind = (picture.format.name, picture.width, picture.height)
        try:
            if self._graph is None or self._made_for != kind:
                self._graph, self._made_for = self._make_graph(picture), kind
            picture.pts = None
            self._graph.vpush(picture)
            done = self._graph.vpull()
        except (FFmpegError, ValueError) as error:
            raise EncodeError(f"a picture of {kind[0]} cannot be brought into {self._pix_fmt} (FFmpeg: {error})") from error
        tag_picture(done, self._target)
        done.pts, done.duration = pts, duration
        if time_base is not None:
            done.time_base = time_base
        return done

    def _make_graph(self, picture: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        chain = [
            graph.add(
                "buffer",
                video_size=f"{picture.width}x{picture.height}",
                pix_fmt=picture.format.name,
                time_base=str(picture.time_base or Fraction(1, 25)),
                pixel_aspect="1/1",
                colorspace=str(int(picture.colorspace)),
                range=str(int(picture.color_range)),
            )
        ]
        if picture.format.name != self._pix_fmt or self._source.range != self._target.range:
            chain += [graph.add("scale", self._scaling(picture.format.name)), graph.add("format", self._pix_fmt)]
        if self._fields is not None:
            chain.append(graph.add("setparams", f"field_mode={self._fields}"))
        graph.link_nodes(*chain, graph.add("buffersink")).configure()
        return graph

    def _scaling(self, source: str) -> str:
        options = [f"flags={_FLAGS}", "interl=-1"]
        before, after = layout_of(planar_name(source)), layout_of(planar_name(self._pix_fmt))
        if self._source.range in _RANGES and not before.is_rgb:
            options.append(f"in_range={_RANGES[self._source.range]}")
        if self._target.range in _RANGES and not after.is_rgb:
            options.append(f"out_range={_RANGES[self._target.range]}")
        if before.is_rgb and not after.is_rgb:
            options.append(f"out_color_matrix={'bt709' if self._target.space == 1 else 'bt601'}")
        if before.chroma_shift == (1, 1) and self._source.chroma_location in _LOCATIONS:
            options.append(f"in_chroma_loc={_LOCATIONS[self._source.chroma_location]}")
            stays = after.chroma_shift == (1, 1)
            options.append(f"out_chroma_loc={_LOCATIONS[self._source.chroma_location if stays else _LEFT]}")
        return ":".join(options)


def color_for(source: ColorTags, height: int, source_format: str, pix_fmt: str, *, limited_only: bool) -> ColorTags:
    """Tags of what is written, from those of the film and the planar formats before and after.

    limited_only: the codec's decoders take all codes for limited range, whatever a container says.
    """
    before, after = layout_of(source_format), layout_of(pix_fmt)
    if before.is_rgb and not after.is_rgb:  # the matrix that `Conformer` uses
        hd = source.space == 1 or (source.space not in (5, 6) and height > 576)
        return ColorTags(1, 1 if hd else 6, source.primaries, source.transfer, 0)
    location = source.chroma_location if after.chroma_shift == before.chroma_shift else 0
    color_range = 1 if limited_only and not after.is_rgb else source.range
    return replace(source, range=color_range, chroma_location=location)


class EncoderPictures:
    """Makes the pictures of one output."""

    def __init__(self, choice: EncoderChoice, first: Frame, target: ColorTags, field_order: str | None) -> None:
        """first: the first frame; tells in which form the decoder gives the pictures.  target: tags of what is written.
        field_order: of an output that is interlaced, else None.
        """
        self._choice, self._is_interlaced = choice, field_order is not None
        self.pix_fmt = _encoder_format(choice, decoded_of(first))
        """What the encoder is to be set up for."""
        self._changes_range = first.color.range != target.range
        self._conformer = Conformer(first.color, target, self.pix_fmt, field_order)

    def picture_of(self, frame: Frame) -> av.VideoFrame:
        """With the frame's samples; PTS and duration are still to be set."""
        picture, is_decoders = self._with_samples(frame)
        is_flagged = is_decoders or not self._is_interlaced
        if picture.format.name == self.pix_fmt and is_flagged and not self._changes_range:
            return picture
        picture.time_base = frame.time_base
        return self._conformer(picture)

    def _with_samples(self, frame: Frame) -> tuple[av.VideoFrame, bool]:
        """A picture, in the encoder's format or not, and whether it is the decoder's with all its side data."""
        decoded = decoded_of(frame)
        if decoded is not None:
            name = decoded.picture.format.name
            # FFmpeg has twins of some formats for full range; all others that are laid out anew are made below.
            is_planar = name.replace("yuvj", "yuv") == frame.pix_fmt
            if is_planar or (frame.planes is decoded.planes and name == self.pix_fmt):
                _bring_up_to_date(decoded, frame)
                return decoded.picture, True
        choice = self._choice
        if choice.planar == frame.pix_fmt and choice.pix_fmt != choice.planar:
            return packed_picture_of(frame.planes, choice.pix_fmt, frame.width, frame.height, frame.color), False
        name = self.pix_fmt if planar_name(self.pix_fmt) == frame.pix_fmt else frame.pix_fmt
        return picture_of(frame.planes, name, frame.width, frame.height, frame.color), False


def decoded_of(frame: Frame) -> DecodedPicture | None:
    """FFmpeg's own picture behind a frame, where it has one."""
    return next((item for item in frame.side_data if isinstance(item, DecodedPicture)), None)


def _encoder_format(choice: EncoderChoice, picture: DecodedPicture | None) -> str:
    """FFmpeg's deprecated full-range twins (yuvj420p) are used where the decoder does, so that pictures pass as they are."""
    if picture is None or picture.picture.format.name == choice.pix_fmt:
        return choice.pix_fmt
    own = picture.picture.format.name
    twin = own.startswith("yuvj") and planar_name(own) == choice.pix_fmt
    return own if twin and choice.name in ("libx264", "libx265") else choice.pix_fmt


def _bring_up_to_date(decoded: DecodedPicture, frame: Frame) -> None:
    """Write the frame's changed planes into the picture. Another frame over the same picture finds out by `planes`."""
    changed = [old is not new for old, new in zip(decoded.planes, frame.planes)]
    if any(changed):
        decoded.picture.make_writable()
        fill_picture(decoded.picture, frame.planes, changed)
    decoded.planes = frame.planes
