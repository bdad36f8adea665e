"""What speaks for which kind of recording: one sign a measure, with the range in which it grows from nothing to its full weight.

Ranges were set by hand, weights too and then drawn a little towards what told the kinds of 139 damaged clips best: damage of this
project's own making (`benchmarks/kind_of_recording.py`). They are no statistics of real tapes and reels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from iconface_video.video.kind_measures import Measures

Kind = Literal["tape", "film", "camera", "broadcast", "unknown"]

_TELEVISION_RATES = (25.0, 29.97, 50.0, 59.94)
_FILM_RATES = (16.0, 16.67, 18.0)
_FIELDS = 0.2
"""Frames between odd and even rows from which on they are fields."""


@dataclass(frozen=True)
class Sign:
    """One reason, as strong as it was found."""

    kind: Kind
    strength: float
    """0 to its weight; below 0 where it speaks against the kind."""
    words: str


@dataclass(frozen=True)
class _Rule:
    kind: Kind
    value: Callable[[Measures], float]
    low: float
    high: float
    """Nothing at `low`, all of `weight` at `high`; `high` may be the smaller one."""
    weight: float
    words: str
    """Of the value `v`; empty: it counts, and is not told."""

    def sign(self, measures: Measures) -> Sign:
        value = self.value(measures)
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return Sign(self.kind, share * self.weight, self.words.format(v=value))


def _streaky_color(m: Measures) -> float:
    """Color noise, where it is drawn out along the lines and not over them."""
    return m.color_noise if m.color_noise_across > max(0.5, m.color_noise_down + 0.35) else 0.0


def _lag(m: Measures) -> float:
    return abs(m.color_lag) if m.color_agreement > 0.15 and abs(m.color_lag) < 15 else 0.0


def _grain(m: Measures) -> float:
    """Noise that is fine, and alike in both directions."""
    alike = abs(m.noise_across - m.noise_down) < 0.15 and m.noise_across < 0.5
    return m.noise if alike else 0.0


def _soft_noise(m: Measures) -> float:
    """What a camera's own denoising leaves: alike in both directions, over several px."""
    alike = abs(m.noise_across - m.noise_down) < 0.2
    return min(m.noise_across, m.noise_down) if alike and m.noise > 0.5 else 0.0


def _interlaced(m: Measures) -> float:
    return abs(m.fields) if abs(m.fields) < 0.8 else 0.0


def _unsteady(m: Measures) -> float:
    """Jumps that the next frame takes back; a hand, or a head that fills the picture, moves on."""
    return m.jump if m.rebound > 0.15 else 0.0


def _sharpened(m: Measures) -> float:
    return m.overshoot if _interlaced(m) > _FIELDS else 0.0


def _quiet(m: Measures) -> float:
    """Grey levels by which the noise stays below what cameras have; said of fields only: whole frames of a codec are quiet, too."""
    return 1.2 - m.noise if _interlaced(m) > _FIELDS else 0.0


def _whole_frames(m: Measures) -> float:
    """1 where something moves, and odd and even rows show it at one moment."""
    return float(m.fields != 0 and abs(m.fields) < 0.12)


def _near(rate: float, rates: tuple[float, ...]) -> float:
    return float(any(abs(rate - known) < 0.06 for known in rates))


_RULES = (
    _Rule("tape", _streaky_color, 0.65, 1.35, 2.5, "color noise is drawn out along the lines"),
    _Rule("tape", _lag, 2.2, 3.6, 1.2, "color lies {v:.1f} px beside the light"),
    _Rule("tape", lambda m: m.line_jitter, 0.7, 1.5, 1.5, "lines tremble sideways"),
    _Rule("tape", lambda m: m.color_narrow, 1.2, 2.0, 1.0, "color is far blurrier along the lines than across them"),
    _Rule("tape", lambda m: m.line_noise, 0.8, 1.5, 0.7, "whole lines flicker"),
    _Rule("tape", lambda m: m.torn, 0.8, 2.0, 1.0, "the lowest lines are torn aside"),
    _Rule("tape", lambda m: m.streaks, 0.2, 1.0, 1.0, "{v:.1f} dropouts a frame"),
    _Rule("tape", _interlaced, 0.15, 0.35, 0.4, ""),
    _Rule("film", _unsteady, 0.4, 0.9, 1.5, "the picture jumps by {v:.1f} px from frame to frame"),
    _Rule("film", lambda m: m.repeats, 0.1, 0.25, 0.9, "frames come twice, as film of 16 or 18 a second is shown"),
    _Rule("film", lambda m: m.specks, 0.5, 2.0, 2.2, "{v:.1f} specks a frame that no other frame has"),
    _Rule("film", lambda m: m.scratch, 1.8, 3.5, 1.3, "an upright scratch"),
    _Rule("film", lambda m: m.tint, 2.0, 0.5, 1.2, "black and white"),
    _Rule("film", lambda m: m.flicker, 0.2, 0.6, 1.8, "the light flickers"),
    _Rule("film", _grain, 1.0, 2.0, 1.3, "grain that is alike in all directions"),
    _Rule("film", lambda m: m.cast, 12.0, 20.0, 0.7, "the shadows have a cast, as faded film has"),
    _Rule("film", lambda m: _near(m.rate, _FILM_RATES), 0.0, 1.0, 2.0, "16 or 18 frames a second"),
    _Rule("film", lambda m: abs(m.rate - 24) < 0.06, 0.0, 1.0, 0.5, "24 frames a second"),
    _Rule("film", _interlaced, 0.15, 0.35, -1.5, ""),
    _Rule("film", _streaky_color, 0.65, 1.35, -1.0, ""),
    _Rule("camera", lambda m: m.blocks, 0.15, 0.8, 0.5, "a codec's blocks show"),
    _Rule("camera", lambda m: m.frozen, 0.15, 0.4, 0.5, "a codec has frozen flat parts"),
    _Rule("camera", _soft_noise, 0.4, 0.6, 0.9, "soft noise, alike in all directions, as small sensors leave"),
    _Rule("camera", lambda m: m.level, 60.0, 30.0, 0.5, "little light"),
    _Rule("camera", _whole_frames, 0.0, 1.0, 1.1, "whole frames, without a tape's or a film's traces"),
    _Rule("camera", lambda m: m.color_narrow, 1.0, 0.5, 0.4, ""),
    _Rule("camera", _streaky_color, 0.65, 1.35, -1.0, ""),
    _Rule("camera", lambda m: m.specks, 0.5, 2.0, -0.7, ""),
    _Rule("camera", lambda m: m.flicker, 0.3, 0.7, -0.6, ""),
    _Rule("camera", _unsteady, 0.4, 0.9, -0.4, ""),
    _Rule("broadcast", _interlaced, 0.2, 0.4, 1.5, "fields of their own moments"),
    _Rule("broadcast", _sharpened, 0.04, 0.12, 1.4, "edges that were sharpened along the lines"),
    _Rule("broadcast", _quiet, 0.0, 0.5, 0.8, "hardly any noise"),
    _Rule("broadcast", lambda m: _lag(m) if _interlaced(m) else 9.0, 1.0, 0.4, 0.2, ""),
    _Rule("broadcast", lambda m: _near(m.rate, _TELEVISION_RATES), 0.0, 1.0, 0.2, ""),
    _Rule("broadcast", _streaky_color, 0.65, 1.35, -1.5, ""),
    _Rule("broadcast", _soft_noise, 0.4, 0.6, -0.7, ""),
)
REASONS = tuple(rule.words for rule in _RULES if rule.words)
"""All that can be told, each with the place of its figure where it has one."""


def signs_of(measures: Measures) -> list[Sign]:
    """All signs that were found."""
    return [sign for sign in (rule.sign(measures) for rule in _RULES) if sign.strength]
