"""From a frame to the picture that the encoder is given: the decoder's own where possible, with what hangs on it."""

from __future__ import annotations

import av

from iconface_video.types import ColorTags, Frame
from iconface_video.video.conform import Conformer
from iconface_video.video.encoders import EncoderChoice
from iconface_video.video.planes import DecodedPicture, fill_picture, packed_picture_of, picture_of, planar_name


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
