"""Named media: rows of effects with physical parameters, in the order in which the damage happened, a capture at the end."""

from __future__ import annotations

from iconface_video.degrade import film_media, tape_media
from iconface_video.degrade.clip_effects import ClipEffect
from iconface_video.degrade.codec import Codec
from iconface_video.degrade.digital_media import LostBlocks, Sensor
from iconface_video.degrade.film_gauge import FilmReel
from iconface_video.degrade.interlacing import Interlaced
from iconface_video.degrade.tape_signal import Tape

_CAPTURE = Codec("mpeg2", 0.5, keyframe_seconds=0.5)
"""A DVD recorder at 5 Mbit/s, or a capture card."""
_SCAN = Codec("h264", 0.6)
_DV = Codec("mpeg2", 2.4, keyframe_seconds=0.01)
"""DV's rate, in single frames, at the clip's own size: DV itself has one size, to which fields cannot be scaled."""

MEDIA: dict[str, tuple[ClipEffect, ...]] = {
    "vhs-sp": (Tape(tape_media.VHS_SP), _CAPTURE),
    "vhs-lp": (Tape(tape_media.VHS_LP), _CAPTURE),
    "vhs-ep": (Tape(tape_media.VHS_EP), _CAPTURE),
    "vhs-copy": (Tape(tape_media.VHS_COPY), _CAPTURE),
    "video8": (Tape(tape_media.VIDEO8), _CAPTURE),
    "hi8": (Tape(tape_media.HI8), _CAPTURE),
    "dv": (Interlaced(), Sensor(0.9, 2.5, 0.6, 0.4, 0.01), _DV, LostBlocks(0.3)),
    "phone": (Sensor(), Codec("h264", 0.06)),
    "broadcast": (Tape(tape_media.STUDIO_PAL), Codec("mpeg2", 0.35, keyframe_seconds=0.5)),
    "8mm": (FilmReel(film_media.REGULAR_8), _SCAN),
    "super8": (FilmReel(film_media.SUPER_8), _SCAN),
    "super8-faded": (FilmReel(film_media.FADED_8), _SCAN),
    "16mm": (FilmReel(film_media.FILM_16), _SCAN),
    "16mm-bw": (FilmReel(film_media.FILM_16_MONOCHROME), _SCAN),
}
"""Name -> effects."""
