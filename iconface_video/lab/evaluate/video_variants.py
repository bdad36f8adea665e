"""Variants of a restoration that a report compares: words for what differs from the settings of the run.

A variant is written as words joined by "+": a noise model, ``raw`` (crop windows from raw landmarks), ``no-filter`` (no
temporal filter), ``alone`` (no neighbouring frames are looked at), ``per-frame`` (independent noise, raw, no filter, alone),
or NAME=VALUE for any setting of a run.

Crops of several versions side by side, as a small H.264 clip to look at.

Whether sound and picture of a file still begin and end together, by the packets of its container.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import av
import cv2
import numpy as np
import yaml

from iconface_video.errors import EncodeError, UsageError
from iconface_video.restore.noise import NoiseKind
from iconface_video.settings import RunSettings, from_mapping, nearest
from iconface_video.types import UInt8
from iconface_video.video.container import open_input

_SECTIONS = ("survey", "restore", "render")
NOISES: tuple[str, ...] = get_args(NoiseKind)
_WORDS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {},
    "raw": {"survey": {"smoothing": 0.0}},
    "no-filter": {"render": {"temporal_filter": False}},
    "alone": {"restore": {"neighbours": 0}},
    "per-frame": {
        "restore": {"noise": "independent", "neighbours": 0},
        "survey": {"smoothing": 0.0},
        "render": {"temporal_filter": False},
    },
    **{noise: {"restore": {"noise": noise}} for noise in NOISES},
}
PER_FRAME, INDEPENDENT, RAW = "per-frame", "independent", "raw"
"""What the aims are compared with."""
USUAL = ("default", *NOISES, "no-filter", RAW, PER_FRAME)
"""Compared when nothing else is asked for."""
GRID = (
    "default",
    *(f"{noise}{window}{blend}" for noise in NOISES for window in ("", "+raw") for blend in ("", "+no-filter")),
    RAW,
    PER_FRAME,
)
"""All noise models, with and without smoothing and filter."""


@dataclass(frozen=True)
class Variant:
    """One way to restore."""

    name: str
    """As it was written, for people."""
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Section -> setting -> value."""

    def settings(self, base: RunSettings) -> RunSettings:
        """The base settings with the variant's changes. Raises UsageError for a value out of range."""
        changed = {}
        for section, values in self.changes.items():
            old = getattr(base, section)
            whole = {item.name: getattr(old, item.name) for item in fields(old)}
            changed[section] = from_mapping(type(old), {**whole, **values}, f"variant '{self.name}'")
        return replace(base, **changed)


def parse_variant(text: str) -> Variant:
    """From its words. Raises UsageError for a word or setting that is not known."""
    changes: dict[str, dict[str, Any]] = {}
    for word in text.split("+"):
        name, equals, value = word.strip().partition("=")
        found = {_section_of(name, text): {name: yaml.safe_load(value)}} if equals else _WORDS.get(name)
        if found is None:
            raise UsageError(
                f"variant '{text}': '{name}' is not known.{nearest(name, _WORDS)} Words: {', '.join(_WORDS)}; or SETTING=VALUE"
            )
        for section, values in found.items():
            changes.setdefault(section, {}).update(values)
    variant = Variant(text, changes)
    variant.settings(RunSettings())
    return variant


def _section_of(name: str, text: str) -> str:
    known = {item.name: section for section in _SECTIONS for item in fields(getattr(RunSettings(), section))}
    if name not in known:
        raise UsageError(f"variant '{text}': there is no setting '{name}'.{nearest(name, known)}")
    return known[name]


def parse_variants(texts: Sequence[str]) -> tuple[Variant, ...]:
    """Each once, in the order given. Raises UsageError for two of one name in a report's files."""
    variants = tuple(parse_variant(text) for text in dict.fromkeys(texts))
    slugs = [slug(variant.name) for variant in variants]
    for name in slugs:
        if slugs.count(name) > 1:
            raise UsageError(f"two variants would be called '{name}'; leave one out")
    return variants


def slug(text: str) -> str:
    """A file name of it: lower-case words joined by "-"."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


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


@dataclass(frozen=True)
class StreamTimes:
    """When a file's first picture and sound begin and its last ones end, seconds; None where it has no sound."""

    video: tuple[float, float]
    audio: tuple[float, float] | None


def stream_times(path: Path) -> StreamTimes:
    """Reads all packets, decodes none. Raises VideoOpenError."""
    with open_input(path) as source:
        chosen = [*source.streams.video[:1], *source.streams.audio[:1]]
        edges: dict[int, tuple[float, float]] = {}
        for packet in source.demux(chosen):
            if packet.pts is None:
                continue
            begin = float(packet.pts * packet.time_base)
            end = begin + float((packet.duration or 0) * packet.time_base)
            first, last = edges.get(packet.stream_index, (begin, end))
            edges[packet.stream_index] = min(first, begin), max(last, end)
        audio = edges.get(chosen[1].index) if len(chosen) > 1 else None
        return StreamTimes(edges.get(chosen[0].index, (0.0, 0.0)), audio)


def sound_offsets_ms(input: Path, output: Path) -> tuple[float, float] | None:
    """By how much the sound begins and ends later against the picture than in the input, ms; None without sound.

    A sound that was lost on the way is infinitely late.
    """
    before, after = stream_times(input), stream_times(output)
    if before.audio is None:
        return None
    if after.audio is None:
        return float("inf"), float("inf")
    lags = [[1000 * (times.audio[i] - times.video[i]) for i in range(2)] for times in (before, after) if times.audio]
    return lags[1][0] - lags[0][0], lags[1][1] - lags[0][1]
