"""What kind of recording a video is, and so which preset: tape, film, camera or phone, broadcast; from its picture, with reasons.

Signs are weighed (`kind_signs`) of what was measured (`kind_measures`) in a few runs of frames (`kind_pictures`). Where no kind
is clearly ahead the answer is "unknown", and the settings stay the defaults.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from iconface_video.types import UInt8, VideoInfo
from iconface_video.video.kind_measures import Measures, measures_of_runs
from iconface_video.video.kind_pictures import runs_of
from iconface_video.video.kind_signs import Kind, signs_of

KINDS: tuple[Kind, ...] = get_args(Kind)
PRESETS: dict[Kind, str] = {
    "tape": "family",
    "film": "film",
    "camera": "family",
    "broadcast": "default",
    "unknown": "default",
}
"""Preset of `configs` for each kind."""
KIND_NAMES: dict[Kind, str] = {
    "tape": "a tape",
    "film": "film",
    "camera": "a camera or phone",
    "broadcast": "broadcast",
    "unknown": "not clear",
}
_LEAST: dict[Kind, float] = {"tape": 1.6, "film": 1.8, "camera": 1.1, "broadcast": 1.5}
"""The weight that a kind's signs need; a camera's are mostly what others do not have."""
_LEAD = 0.2
"""By how much it must be ahead of the next."""
_TOLD = 4
"""Reasons that a sentence names."""


@dataclass(frozen=True)
class Verdict:
    """What a recording looks like."""

    kind: Kind
    scores: dict[Kind, float]
    """Weight of each kind's signs."""
    reasons: tuple[str, ...]
    """In words, strongest first; of the kind that was chosen, or of the one that was nearest."""

    @property
    def preset(self) -> str:
        """Name of the preset that suits it."""
        return PRESETS[self.kind]

    @property
    def sentence(self) -> str:
        """ "film: black and white; an upright scratch"."""
        why = "; ".join(self.reasons[:_TOLD])
        if self.kind == "unknown":
            return "not clear" + (f" (though: {why})" if why else ", no kind's signs were found")
        return f"{KIND_NAMES[self.kind]}" + (f": {why}" if why else "")


def kind_of(info: VideoInfo) -> Verdict:
    """Look at a clip; seconds at most, whatever its length. The same file gives the same answer.

    Raises what the reader raises.
    """
    return kind_of_runs(runs_of(info), float(info.average_rate or 0))


def kind_of_runs(runs: Iterable[list[UInt8]], rate: float) -> Verdict:
    """The same of runs of neighbouring RGB pictures, at least three in each, `rate` a second (0: not known)."""
    measures = measures_of_runs(runs, rate)
    return Verdict("unknown", {}, ()) if measures is None else judge(measures)


def judge(measures: Measures) -> Verdict:
    """Weigh the signs."""
    signs = sorted(signs_of(measures), key=lambda sign: -sign.strength)
    scores: dict[Kind, float] = {
        kind: sum((sign.strength for sign in signs if sign.kind == kind), 0.0) for kind in KINDS if kind != "unknown"
    }
    first, second = sorted(scores, key=lambda kind: -scores[kind])[:2]
    is_clear = scores[first] >= _LEAST[first] and scores[first] >= scores[second] + _LEAD
    reasons = tuple(sign.words for sign in signs if sign.kind == first and sign.words and sign.strength > 0.2)
    return Verdict(first if is_clear else "unknown", scores, reasons)
