"""The inventory: what travels with a film beside its samples, taken in the same way of the input and of the finished output.

Shape, turn, color and field order stand in `VideoInfo`; the rest is here.

SMPTE time code (ST 12-1): what stands on a later frame, with and without dropped numbers.
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av.container
from av.error import FFmpegError
from av.video.stream import VideoStream

from iconface_video.video.container import demuxed, open_input
from iconface_video.video.stream_header import DolbyVision, dolby_vision, side_data_of, stream_header

_LOOKED_AT = 12
"""Pictures. Captions come with every picture or every second one, also where nobody speaks."""
_MOST_PACKETS = 300

_OTHERS = {
    "STEREO3D": "the note on its two eyes' views (3D)",
    "SPHERICAL": "the projection of a 360-degree film",
    "AMBIENT_VIEWING_ENVIRONMENT": "the viewing environment it was graded for",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    "ICC_PROFILE": "the ICC color profile",
    "AFD": "the active format description",
    "FILM_GRAIN_PARAMS": "the film grain that players add",
    "S12M_TIMECODE": "a time code on every picture",
}
"""Side data of pictures that none of the encoders writes. What only concerns the old coding (motion vectors ...) is no fact."""


@dataclass(frozen=True)
class MasteringDisplay:
    """SMPTE ST 2086."""

    primaries: tuple[Fraction, ...]
    """x and y of red, green, blue and white (CIE 1931)."""
    least: Fraction
    """cd/m2."""
    most: Fraction


@dataclass(frozen=True)
class SideFacts:
    """What the film's stream carries; None, False or empty where it does not."""

    mastering: MasteringDisplay | None = None
    light: tuple[int, int] | None = None
    """Content light level (CTA-861.3): the brightest pixel's and the brightest picture's, cd/m2."""
    captions: bool = False
    """CEA-608/708 inside the pictures (ATSC A/53)."""
    dolby_vision: DolbyVision | None = None
    hdr10_plus: bool = False
    hidden_alpha: bool = False
    """VP8 or VP9 with its transparency in blocks of the container, which FFmpeg's own decoders do not show."""
    others: tuple[str, ...] = ()
    """In words."""
    time_code: str | None = None
    reel: str | None = None


def side_facts(path: Path, stream_index: int) -> SideFacts:
    """Of one film; opens the file and decodes its first pictures. InputError or VideoOpenError as for `open_input`."""
    with open_input(path) as container:
        stream = container.streams[stream_index]
        assert isinstance(stream, VideoStream)
        record = dolby_vision(stream_header(stream))
        tags = _time_code_tags(container, stream)
        hidden = stream.codec_context.codec.canonical_name in ("vp8", "vp9") and "alpha_mode" in _lower(stream.metadata)
        found: dict[str, bytes] = {}
        for side in _side_data(container, stream):
            found = {**side, **found}
    has_rpu = "DOVI_RPU_BUFFER" in found or "DOVI_METADATA" in found
    return SideFacts(
        mastering=mastering_display(found.get("MASTERING_DISPLAY_METADATA", b"")),
        light=light_level(found.get("CONTENT_LIGHT_LEVEL", b"")),
        captions="A53_CC" in found,
        dolby_vision=record or (DolbyVision(None, None) if has_rpu else None),
        hdr10_plus="DYNAMIC_HDR_PLUS" in found,
        hidden_alpha=hidden,
        others=tuple(words for kind, words in _OTHERS.items() if kind in found),
        time_code=tags.get("timecode"),
        reel=tags.get("reel_name"),
    )


def _side_data(container: av.container.InputContainer, stream: VideoStream) -> list[dict[str, bytes]]:
    """Of the first pictures that can be decoded."""
    found: list[dict[str, bytes]] = []
    with contextlib.suppress(FFmpegError, EOFError):
        for number, packet in enumerate(demuxed(container, stream)):
            with contextlib.suppress(FFmpegError):
                found += [side_data_of(picture) for picture in stream.decode(packet)]
            if len(found) >= _LOOKED_AT or number >= _MOST_PACKETS:
                break
    return found


def _lower(metadata: dict[str, str]) -> dict[str, str]:
    """Matroska gives keys back in capitals."""
    return {key.lower(): value for key, value in metadata.items()}


def _time_code_tags(container: av.container.InputContainer, stream: VideoStream) -> dict[str, str]:
    """The film's own come before the file's and before those of a time code track (MOV, MP4)."""
    found: dict[str, str] = {}
    for other in container.streams:
        if other.type == "data" and "timecode" in other.metadata:
            found.update(_lower(other.metadata))
    return {**found, **_lower(container.metadata), **_lower(stream.metadata)}


def mastering_display(data: bytes) -> MasteringDisplay | None:
    """From FFmpeg's AVMasteringDisplayMetadata: ten rationals (R, G, B, white x y; least, most light) and two flags."""
    if len(data) < 88:
        return None
    numbers = struct.unpack("=22i", data[:88])
    if not (numbers[20] and numbers[21]):
        return None
    values = [Fraction(n, d) if d else Fraction(0) for n, d in zip(numbers[0:20:2], numbers[1:20:2])]
    sane = all(0 <= value <= 1 for value in values[:8]) and all(0 <= value < 2**32 / 10000 for value in values[8:])
    return MasteringDisplay(tuple(values[:8]), values[8], values[9]) if sane else None


def light_level(data: bytes) -> tuple[int, int] | None:
    """From FFmpeg's AVContentLightMetadata."""
    if len(data) < 8:
        return None
    brightest, average = struct.unpack("=II", data[:8])
    return (brightest, average) if max(brightest, average) < 2**16 else None


def same_display(a: MasteringDisplay | None, b: MasteringDisplay | None) -> bool:
    """Up to the rounding to units of 0.00002 and 0.0001 cd/m2 that the standards store."""
    if a is None or b is None:
        return a is b
    pairs = [*zip(a.primaries, b.primaries)]
    light = [(a.least, b.least), (a.most, b.most)]
    return all(math.isclose(p, q, abs_tol=2e-5) for p, q in pairs) and all(
        math.isclose(p, q, rel_tol=1e-6, abs_tol=1e-4) for p, q in light
    )


_FORM = re.compile(r"(\d{2}):(\d{2}):(\d{2})([:;.])(\d{2,3})")
_DROPPED = {30: 2, 60: 4, 120: 8}
"""Numbers left out at the beginning of every minute but each tenth, by frames counted in a second."""
_HOURS = 24


def doubled_time_code(code: str) -> str:
    """The same moment's, where each frame has become two."""
    found = _FORM.fullmatch(code.strip())
    if found is None:
        return code
    head, frames = code.strip()[: -len(found[5])], found[5]
    return f"{head}{2 * int(frames):0{len(frames)}}"


def later_time_code(code: str, seconds: Fraction, rate: Fraction | None) -> str | None:
    """The time code of the frame `seconds` after the one that bears `code`; None where that cannot be told.

    rate: frames per second. Drop-frame codes ("01:00:00;00", at 30000/1001 and its multiples) skip numbers as the standard
    says; the form stays as it was.
    """
    found = _FORM.fullmatch(code.strip())
    if found is None or not rate or rate <= 0:
        return None
    hours, minutes, whole, frames = (int(found[group]) for group in (1, 2, 3, 5))
    separator, width = found[4], len(found[5])
    base = -(-rate.numerator // rate.denominator)  # 29.97 counts to 30
    is_drop = separator != ":"
    dropped = _DROPPED.get(base, 0) if is_drop else 0
    if minutes > 59 or whole > 59 or frames >= base or (is_drop and not dropped):
        return None
    total_minutes = hours * 60 + minutes
    number = (total_minutes * 60 + whole) * base + frames - dropped * (total_minutes - total_minutes // 10)
    number += round(seconds * rate)
    per_ten = 600 * base - 9 * dropped
    number %= per_ten * 6 * _HOURS
    tens, rest = divmod(number, per_ten)
    per_minute = 60 * base - dropped
    skipped = dropped * max(0, (rest - dropped) // per_minute) if dropped else 0
    label = number + 9 * dropped * tens + skipped
    seconds_label, frames = divmod(label, base)
    minutes_label, whole = divmod(seconds_label, 60)
    hours, minutes = divmod(minutes_label, 60)
    return f"{hours:02}:{minutes:02}:{whole:02}{separator}{frames:0{width}}"
