"""Deciding, before any work, where the output goes, in which container and in which pixel format, and about how large it gets."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from av.stream import Discard, Stream
from av.video.stream import VideoStream

from iconface_video.errors import OutputError
from iconface_video.files import PARTIAL, aside, new_token
from iconface_video.settings import EncodeSettings
from iconface_video.types import ColorTags, VideoInfo
from iconface_video.video.carrying import CONTAINER_NAMES, film_losses, is_limited_only, muxer_flags, stream_notes, tag_notes
from iconface_video.video.conform import color_for
from iconface_video.video.container import open_input
from iconface_video.video.encoders import EncoderChoice, choose_encoder
from iconface_video.video.holding import is_picture_beside, refusals, video_stream_of
from iconface_video.video.inventory import SideFacts, side_facts
from iconface_video.video.seal_mp4 import described_tracks

_SUFFIX = {"mp4": ".mp4", "mov": ".mov", "matroska": ".mkv", "mpegts": ".ts"}
_CONTAINER = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".qt": "mov",
    ".mkv": "matroska",
    ".ts": "mpegts",
    ".m2ts": "mpegts",
    ".mts": "mpegts",
}
_LONGEST_NAME = 255 - len(".iconface-work") - 1
"""Bytes: file systems take 255, and the output grows under a longer name."""


@dataclass(frozen=True)
class OutputPlan:
    """What will be written where. `notes` are sentences for the user, to be shown before the work starts."""

    path: Path
    container: str
    """FFmpeg's muxer: mp4, mov, matroska or mpegts."""
    notes: tuple[str, ...]
    encoder: EncoderChoice
    dropped_streams: tuple[int, ...] = ()
    """Indices of streams that no container can hold; each has a note."""
    rewritten_streams: tuple[int, ...] = ()
    """Indices of streams that the muxer makes anew from what it is told: chapter titles, time code."""
    side: SideFacts = field(default_factory=SideFacts)
    """What the film carries beside its samples."""
    color: ColorTags = field(default_factory=ColorTags)
    """Of what is written."""
    lost: frozenset[str] = frozenset()
    """Facts (fields of `SideFacts` and `VideoInfo`) that do not arrive; each has a note."""

    may_replace: bool = True
    """Whether a file that stands under the name at the end is replaced; where none stood there at first, it is not ours."""
    token: str = field(default_factory=new_token, compare=False, repr=False)

    @property
    def partial_path(self) -> Path:
        """Where the output grows until it is whole: a name that no other writer of the same output has."""
        return aside(self.path, PARTIAL, self.token)


def plan_output(
    info: VideoInfo, out: Path | str | None, settings: EncodeSettings, *, force: bool, folder_to_come: bool = False
) -> OutputPlan:
    """Choose path, container and format; check that the path can be written.

    `out`: a file, a folder, or None for ``<stem>.restored.<ext>`` beside the input. The container follows the suffix
    (else the input); it changes where it cannot hold every stream, and the notes say so.
    folder_to_come: the folder will be made before anything is written.
    Raises OutputError: exists (without `force`), is the input itself, unknown suffix, missing or unwritable folder.
    """
    out = None if out is None else Path(out)
    if out is not None:
        _refuse_device(out)
    encoder = choose_encoder(settings, info.pix_fmt, (info.width, info.height))
    wanted = _wanted_container(info, out)
    notes = []
    if encoder.changes(info.pix_fmt):
        notes.append(
            f"The picture is stored as {encoder.planar}: {_what_is_not_held(info, settings)}. "
            "Every sample is converted; `codec` ffv1 keeps them."
        )
    if info.first_pts < 0:
        notes.append("The film begins before time 0; picture and sound are moved together so that it begins at 0.")
    with open_input(info.path) as source:
        video_stream = video_stream_of(info, source)
        others = [stream for stream in source.streams if stream.index != info.stream_index]
        rewritten = _rewritten(info, others)
        carried = [stream for stream in others if stream.index not in rewritten]
        container, dropped = _choose_container(
            info, encoder, wanted, video_stream, carried, out is not None and out.suffix != "", notes
        )
        if container == "mov":
            covers = tuple(stream.index for stream in carried if is_picture_beside(stream))
            notes += [
                f"The cover picture (stream {index}) is left out: MOV has no place for it, .mp4 and .mkv have."
                for index in covers
            ]
            dropped = (*dropped, *covers)
        notes += stream_notes([stream for stream in carried if stream.index not in dropped], container)
    notes += tag_notes(info.metadata, container, muxer_flags(info.metadata))
    side = side_facts(info.path, info.stream_index)
    color = color_for(info.color, info.height, info.pix_fmt, encoder.planar, limited_only=is_limited_only(encoder.name))
    losses = film_losses(info, side, encoder, container, color)
    notes += [loss.sentence for loss in losses]
    path = _path(info, out, container)
    if out is not None and not out.is_dir() and out.suffix and path != out:
        notes.append(f"The output is named {path.name} instead of {out.name}.")
    if not folder_to_come:
        _check_path(info, path, force)
    lost = frozenset(loss.fact for loss in losses)
    return OutputPlan(path, container, tuple(notes), encoder, dropped, rewritten, side, color, lost, may_replace=force)


def _what_is_not_held(info: VideoInfo, settings: EncodeSettings) -> str:
    usual, own = (choose_encoder(settings, info.pix_fmt, *size) for size in ((), ((info.width, info.height),)))
    size = "" if usual.planar == own.planar else f" of {info.width}x{info.height} px"
    return f"{own.name} cannot hold {info.pix_fmt}{size}"


def _wanted_container(info: VideoInfo, out: Path | None) -> str:
    if out is not None and not out.is_dir() and out.suffix:
        if out.suffix.lower() not in _CONTAINER:
            known = ", ".join(sorted(_CONTAINER))
            raise OutputError(f"{out}: cannot write '{out.suffix}' files. Name an output that ends in one of {known}.")
        return _CONTAINER[out.suffix.lower()]
    names = info.container.split(",")
    if "matroska" in names:
        return "matroska"
    if "mpegts" in names:
        return "mpegts"
    return "mov" if info.path.suffix.lower() in (".mov", ".qt") else "mp4"


def _choose_container(
    info: VideoInfo,
    encoder: EncoderChoice,
    wanted: str,
    video_stream: VideoStream,
    streams: list[Stream],
    is_users: bool,
    notes: list[str],
) -> tuple[str, tuple[int, ...]]:
    """The first container that holds everything with exact times; else everything; else the most."""
    candidates = list(dict.fromkeys([wanted, "mov", "mp4", "matroska"]))
    described = {}
    if "mov" in info.container.split(","):
        described = {id: track.entry.kind.decode("latin-1") for id, track in described_tracks(info.path).items()}
    refused = {name: list(refusals(name, info, encoder, video_stream, streams, described)) for name in candidates}
    complete = [name for name in candidates if not refused[name]]
    exact = [name for name in complete if _keeps_times(name, info)]
    if is_users and wanted in complete:
        exact = [wanted]
    chosen = (exact or complete or [min(candidates, key=lambda name: _severity(refused[name]))])[0]
    if any(index < 0 for index, _ in refused[chosen]):
        raise OutputError(f"{info.path}: the film cannot be written: {refused[chosen][0][1]}. Choose another `codec`.")
    if chosen != wanted:
        reasons = "; ".join(reason for _, reason in refused[wanted]) or "it rounds times to milliseconds"
        notes.append(f"The output becomes a {CONTAINER_NAMES[chosen]} file, not {CONTAINER_NAMES[wanted]}: {reasons}.")
    for index, reason in refused[chosen]:
        elsewhere = any(index not in dict(refused[name]) for name in candidates)
        which = "no container that holds this codec" if elsewhere else "no container"
        notes.append(f"Left out, as {which} can hold it: {reason}.")
    if not _keeps_times(chosen, info):
        notes.append(
            f"{CONTAINER_NAMES[chosen]} stores times by its own clock: frames may move by up to half a tick of it, "
            "and where one stream begins below 0, all move together."
        )
    return chosen, tuple(index for index, _ in refused[chosen] if index >= 0)


def _severity(refusals: list[tuple[int, str]]) -> tuple[bool, int]:
    return any(index < 0 for index, _ in refusals), len(refusals)


def _keeps_times(container: str, info: VideoInfo) -> bool:
    """MP4 and MOV take any clock; Matroska (as FFmpeg writes it) counts milliseconds, MPEG-TS 1/90000 s."""
    rate = {"matroska": 1000, "mpegts": 90000}.get(container)
    if rate is not None and info.counts_fields and info.average_rate is not None and not info.is_vfr:
        return (rate / info.average_rate).denominator == 1  # half ticks are seldom needed
    return rate is None or (info.time_base * rate).denominator == 1


def _rewritten(info: VideoInfo, others: list[Stream]) -> tuple[int, ...]:
    """MOV and MP4 keep chapter titles and time code in tracks of their own, which their muxer makes anew.

    FFmpeg's demuxer has read the tracks that others name as their chapters by itself, and sets them to be discarded.
    """
    if "mov" not in info.container.split(","):
        return ()
    data = [stream for stream in others if stream.type == "data"]
    return tuple(stream.index for stream in data if "timecode" in stream.metadata or stream.discard is Discard.all)


def _path(info: VideoInfo, out: Path | None, container: str) -> Path:
    suffix = _SUFFIX[container]
    if out is None or out.is_dir():
        folder = info.path.parent if out is None else out
        return folder / f"{info.path.stem}.restored{suffix}"
    if out.suffix and _CONTAINER[out.suffix.lower()] == container:
        return out
    return out.with_suffix(suffix) if out.suffix else out.with_name(out.name + suffix)


def _refuse_device(path: Path) -> None:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OutputError(f"{path}: not a file but a device, pipe or socket. Name a file; a dry run writes nothing.")


def _check_path(info: VideoInfo, path: Path, force: bool) -> None:
    folder = path.parent
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise OutputError(
            f"{path}: this name is too long for what is written beside it while working. Name a shorter one with `output`."
        )
    if not folder.is_dir():
        raise OutputError(f"{path}: the folder {folder} does not exist. Create it or name another output.")
    if path.exists():
        if path.samefile(info.path):
            raise OutputError(f"{path}: this is the input itself. Name another output.")
        if path.is_dir():
            raise OutputError(f"{path}: this is a directory. Name a file.")
        _refuse_device(path)
        if not force:
            raise OutputError(f"{path}: exists already. Use `force` to replace it, or name another output.")
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".iconface-"):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: cannot write into this folder ({error.strerror}). Name another output.") from error


def usual_suffix(name: Path) -> str:
    """Of the output of a file of this name; what is in the file may still ask for another container."""
    usual = "matroska" if name.suffix.lower() == ".webm" else "mp4"
    return _SUFFIX[_CONTAINER.get(name.suffix.lower(), usual)]


_BYTES_PER_PIXEL = {"h264": 0.04, "hevc": 0.035, "prores": 0.8, "ffv1": 0.5}
"""Measured on clean and noisy tape at 8 bit and 4:2:0, h264 and hevc at CRF 16: half of what noise needs, so that nobody is
refused whose output would have fitted."""
_CRF = 16
_CRF_HALVES = 6
"""Steps of CRF that halve the size."""


def estimate_output_bytes(info: VideoInfo, frames: int, settings: EncodeSettings) -> int:
    """Picture alone; sound and the rest are small beside it."""
    per_pixel = _BYTES_PER_PIXEL[settings.codec]
    if settings.codec in ("h264", "hevc"):
        per_pixel *= 2 ** ((_CRF - settings.crf) / _CRF_HALVES)
    if settings.codec == "ffv1":
        per_pixel *= info.bit_depth / 8
    return round(per_pixel * info.width * info.height * frames)
