"""A picture as the lines of an analogue signal: filters, noise, time-base errors, dropouts; all along the lines.

`Tape` is the effect. Pictures are (h, w, 3) uint8 RGB; within, float32 (h, w) light and (h, w, 2) color differences in grey
levels. Rows of both fields lie interleaved: the line before a row, in its field, is two rows above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from iconface_video.degrade.clip_effects import ClipFormat, Frames, Wander
from iconface_video.degrade.interlacing import interlaced
from iconface_video.degrade.tape_media import TapeMedium
from iconface_video.errors import UsageError
from iconface_video.types import Float32, UInt8

ACTIVE_LINE_US = 52.0
"""How long a line's picture lasts (BT.470)."""
FIELD_LINES = 288.0
_COARSE_SIGMA_PX = 2.0
"""A low pass wider than this is done on a picture with fewer columns; nothing is lost, and time is."""

Scan = Literal["interlaced", "deinterlaced", "progressive"]


@dataclass(frozen=True)
class Tape:
    """Recorded on `medium`, played and captured.

    `scan`: two moments in a frame's lines; or the first field alone, its missing lines interpolated, as capture programs did
    ("deinterlaced"); or as it comes. `line_px`: px of a whole line at the clip's scale, where the clip is a crop: a face of
    256 px out of a picture of 720 lost as much as the picture did. None: the clip's width.
    """

    medium: TapeMedium
    scan: Scan = "interlaced"
    line_px: float | None = None

    def __post_init__(self) -> None:
        if self.scan not in ("interlaced", "deinterlaced", "progressive"):
            raise UsageError(f"scan is {self.scan!r}, must be interlaced, deinterlaced or progressive")
        if self.line_px is not None and self.line_px <= 0:
            raise UsageError(f"line_px is {self.line_px}, must be more than 0")

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        recorder = _Recorder(self.medium, clip, self.line_px or float(clip.width), rng)
        for frame in interlaced(frames) if self.scan == "interlaced" else frames:
            played = recorder.play(frame)
            yield _first_field(played) if self.scan == "deinterlaced" else played


def _first_field(frame: UInt8) -> UInt8:
    """Upper lines of each pair, enlarged back; they lie a quarter of a field's line above the frame's middle."""
    height, width = frame.shape[:2]
    move = np.array([[1, 0, 0], [0, 2.0, 0]], dtype=np.float64)
    return np.asarray(
        cv2.warpAffine(frame[0::2], move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


class _Recorder:
    """Everything that one clip needs: kernels once, slow processes from frame to frame."""

    def __init__(self, medium: TapeMedium, clip: ClipFormat, line_px: float, rng: np.random.Generator) -> None:
        self.medium, self.clip, self.rng = medium, clip, rng
        self.px_per_us = line_px / ACTIVE_LINE_US
        self.count = max(1, medium.generations)
        self.rows_per_line = clip.height / (2 * FIELD_LINES)
        """Of a woven frame; a crop of few rows still counts as a picture, as with all effects."""
        self.luma_kernel = _luma_kernel(self._sigma(medium.luma_mhz), medium.peaking, self.count)
        sigma = self._sigma(medium.chroma_mhz)
        self.coarse = max(1, int(sigma / _COARSE_SIGMA_PX))
        self.chroma_sigma = sigma / self.coarse
        delay = medium.chroma_delay_ns / 1000 * self.px_per_us * self.count / self.coarse
        self.chroma_kernel = _gaussian(self.chroma_sigma, delay)
        self.color_rows = _shifted_average(2 * medium.chroma_delay_lines * self.count * min(1.0, 2 * self.rows_per_line))
        self.waves, self.top, self.tear = Wander(rng, 12, 6), Wander(rng, 6), Wander(rng, 3)
        self.gain, self.drift, self.number = 1.0, Wander(rng, 30), 0
        self.x = np.arange(clip.width, dtype=np.float32)[None, :]
        self.y = np.repeat(np.arange(clip.height, dtype=np.float32)[:, None], clip.width, axis=1)

    def _sigma(self, mhz: float) -> float:
        """px: the Gaussian that halves what swings `mhz` million times a second; copies widen it as variances add."""
        return float(np.sqrt(2 * np.log(2)) / (2 * np.pi) * self.px_per_us / mhz * np.sqrt(self.count))

    def play(self, frame: UInt8) -> UInt8:
        ycc = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)
        light = ycc[:, :, 0].astype(np.float32)
        color = ycc[:, :, 1:].astype(np.float32)
        color -= 128
        self._cross_color(light, color)
        light, color = self._recorded(light, color)
        played = np.empty(frame.shape, np.float32)
        played[:, :, 0], played[:, :, 1:] = light, color
        played = self._time_base(played)
        self._dropouts(played)
        self._gain(played)
        self.number += 1
        played[:, :, 1:] += 128
        played += np.float32(0.5)
        codes = np.clip(played, 0, 255, out=played).astype(np.uint8)
        return np.asarray(cv2.cvtColor(codes, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)

    def _cross_color(self, light: Float32, color: Float32) -> None:
        """Light around the color carrier is taken for color: demodulated with the carrier, whose phase goes on over the lines."""
        medium, fs = self.medium, self.px_per_us
        if not medium.cross_color or fs < 2 * medium.subcarrier_mhz:
            return  # so few px have no detail there
        fine = light - cv2.GaussianBlur(light, (0, 0), 0.19 * fs / (0.75 * medium.subcarrier_mhz), sigmaY=1e-3)
        rows = np.arange(light.shape[0], dtype=np.float32)[:, None]
        phase = 2 * np.pi * (medium.subcarrier_mhz / fs * self.x + 0.25 * (rows // 2) + 0.25 * self.number)
        wave = 2 * medium.cross_color * fine
        color[:, :, 1] += wave * np.sin(phase)
        color[:, :, 0] += wave * np.cos(phase) * np.where((rows // 2) % 2, -1, 1).astype(np.float32)

    def _recorded(self, light: Float32, color: Float32) -> tuple[Float32, Float32]:
        """Bandwidths, the late color, and noise, which lies within the same bands."""
        medium, rng = self.medium, self.rng
        height, width = light.shape
        grown = float(np.sqrt(self.count))
        light = _along(light, self.luma_kernel)
        sigma = self._sigma(medium.luma_mhz) / grown
        noise = _along(rng.standard_normal((height, width), dtype=np.float32), _gaussian(sigma, 0))
        light += noise * np.float32(_rms(medium.luma_snr_db) * grown / _root_power(_gaussian(sigma, 0)))
        light += rng.standard_normal((height, 1), dtype=np.float32) * np.float32(medium.line_noise * grown)
        columns = max(2, round(width / self.coarse))
        if columns != width:
            color = np.asarray(cv2.resize(color, (columns, height), interpolation=cv2.INTER_AREA), np.float32)
        blurred = cv2.sepFilter2D(color, -1, self.chroma_kernel, self.color_rows, borderType=cv2.BORDER_REPLICATE)
        plain = _gaussian(self.chroma_sigma / grown, 0)
        noise = _along(rng.standard_normal((height, columns, 2), dtype=np.float32), plain)
        color = np.asarray(blurred + noise * np.float32(_rms(medium.chroma_snr_db) * grown / _root_power(plain)), np.float32)
        if columns != width:
            color = np.asarray(cv2.resize(color, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        return light, np.asarray(color * np.float32(medium.saturation**self.count), np.float32)

    def _time_base(self, played: Float32) -> Float32:
        """Each line sideways by its own time: jitter, bends, the skew at the top, the other head at the bottom."""
        medium, height = self.medium, self.clip.height
        down = np.arange(height, dtype=np.float32) / height
        a, grown = self.waves.step(), float(np.sqrt(self.count))
        bend = a[0] * np.sin(2 * np.pi * (1.1 * down + 0.1 * a[1])) + a[2] * np.sin(2 * np.pi * (2.7 * down + 0.1 * a[3]))
        ns = medium.bend_ns * bend + medium.flag_ns * float(self.top.step()[0]) * np.exp(-down / 0.05)
        ns = grown * (ns + medium.jitter_ns * self.rng.standard_normal(height))
        torn = min(height, round(2 * medium.head_switch_lines * self.rows_per_line))
        if torn > 0:
            skew = medium.head_switch_ns * (1 + 0.3 * float(self.tear.step()[0]))
            ns[-torn:] += skew * np.exp(-np.arange(torn) / max(1.0, 1.2 * torn)) + 80 * self.rng.standard_normal(torn)
        offsets = (ns / 1000 * self.px_per_us).astype(np.float32)
        if np.abs(offsets).max() < 0.02:
            return played
        x = self.x + offsets[:, None]
        return np.asarray(cv2.remap(played, x, self.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)

    def _dropouts(self, played: Float32) -> None:
        """The signal is gone for some us: the line before stands in, or a streak is left."""
        medium, rng = self.medium, self.rng
        height, width = played.shape[:2]
        thick = max(1, round(self.rows_per_line))
        share = min(1.0, width / (self.px_per_us * ACTIVE_LINE_US))  # a crop gets its part of them
        for _ in range(int(rng.poisson(medium.dropouts_per_second * self.count / self.clip.frame_rate * share))):
            length = max(2, round(float(rng.exponential(medium.dropout_us)) * self.px_per_us))
            row, start = int(rng.integers(height)), int(rng.integers(-length // 2, width))
            rows, columns = slice(row, row + thick), slice(max(0, start), start + length)
            part = played[rows, columns]
            if part.size == 0:
                continue
            if rng.random() < medium.compensated:
                above = max(0, row - 2 * thick)
                played[rows, columns] = played[above : above + len(part), columns]
                played[rows, columns.start : columns.start + 2, 0] += 40  # the switch itself
                continue
            value = 235.0 if rng.random() < 0.7 else 16.0
            weight = np.linspace(1, 0, part.shape[1], dtype=np.float32)[None, :, None] ** 0.7
            played[rows, columns] = part + weight * (np.array([value, 0, 0], np.float32) - part)

    def _gain(self, played: Float32) -> None:
        """Automatic gain is late: it follows the picture's mean over a third of a second, and drifts a little."""
        medium = self.medium
        wanted = 1 + medium.agc * (1 - float(played[::8, ::8, 0].mean()) / 110)
        self.gain += (wanted - self.gain) * (1 - float(np.exp(-1 / (0.33 * self.clip.frame_rate))))
        gain = self.gain + 0.15 * medium.agc * float(self.drift.step()[0])
        lift = medium.black_lift * self.count
        played[:, :, 0] = played[:, :, 0] * np.float32(gain * (1 - lift / 255)) + np.float32(lift)


def _rms(snr_db: float) -> float:
    """Grey levels of noise under a signal of 255."""
    return float(255 * 10 ** (-snr_db / 20))


def _gaussian(sigma: float, shift: float) -> Float32:
    """(k,) taps, sum 1; `shift` px later (to the right: the filter takes what lies to the left)."""
    radius = max(1, int(np.ceil(3 * sigma + abs(shift))))
    taps = np.exp(-0.5 * ((np.arange(-radius, radius + 1) + shift) / max(sigma, 0.2)) ** 2)
    return np.asarray(taps / taps.sum(), np.float32)


def _luma_kernel(sigma: float, peaking: float, count: int) -> Float32:
    """A low pass whose edges overshoot by `peaking` a generation: what lies between it and one of twice the width is raised."""
    wide = _gaussian(2 * sigma + 0.5, 0)
    taps = np.zeros_like(wide)
    narrow = _gaussian(sigma, 0)
    middle = len(wide) // 2
    taps[middle - len(narrow) // 2 : middle + len(narrow) // 2 + 1] = narrow
    share = np.float32(1 - (1 - min(peaking, 0.9)) ** count) * np.float32(2)
    return np.asarray(taps + share * (taps - wide), np.float32)


def _shifted_average(rows: float) -> Float32:
    """Taps down: an average that lies `rows` rows low, over rows of the same field (every other one)."""
    reach = int(np.ceil(rows / 2)) * 2
    taps = np.zeros(2 * reach + 1, np.float32)
    taps[reach] = 1.0
    if reach:
        share = rows / reach
        taps[reach], taps[0] = 1 - share, share
    return taps


def _root_power(taps: Float32) -> float:
    """By how much a filter shrinks white noise."""
    return float(np.sqrt((taps.astype(np.float64) ** 2).sum()))


def _along(plane: Float32, taps: Float32) -> Float32:
    return np.asarray(cv2.sepFilter2D(plane, -1, taps, np.ones(1, np.float32), borderType=cv2.BORDER_REFLECT_101), np.float32)
