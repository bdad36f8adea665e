"""How a film was scanned: fields or whole frames, told for each stretch by the picture; what flags say only breaks a tie.

Where something moves, two lines from different moments do not fit together. So the two fields of a frame are compared with two
other pairs, those that each makes with the frame before: a frame's own fields fit best where it was scanned as a whole; fields
that follow each other at equal distances fit the better the nearer they are in time, which also tells which one comes first.

Frames vote; stretches are those that cost the least (Viterbi): each vote against costs, and so does each change of stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from iconface_video.types import Float32, VideoInfo
from iconface_video.video.deinterlace import parity_of
from iconface_video.video.planes import layout_of, planes_of

_BLOCK = (8, 8)
"""Lines of a field and columns (of those that are looked at) over which motion is judged."""
_COLUMN_STEP = 4
_STILL_SHARE, _STILL_FACTOR, _STILL_LEVELS = 0.1, 1.6, 3.0
"""A block moves where its difference is so many times that of the stillest tenth of the picture, and so many grey levels more."""
_LEAST_BLOCKS = 4
_CLEAR = 0.06
"""Difference in fit, as a share of the frame's own misfit, from which a frame votes."""
_FIELDS_VOTE, _WHOLE_VOTE, _CHANGE = 3.0, 1.0, 30.0
"""Costs. Combs weigh more: two frames of five have them in telecined film, the others are whole."""
_FLAG_VOTE = 0.02
_TELECINE_SHARE = (0.35, 0.8)
"""Share of whole frames among those that vote in a stretch of telecined film."""
_TELECINE_RATES = (29.5, 30.5)
_NAMED = 6
"""Stretches that are told of one by one."""

WHOLE_SCAN_FRAMES = 1500
"""Longer films are looked at in runs spread over them, and whole only where these disagree."""
_RUNS, _RUN_SECONDS, _RUN_FRAMES = (40, 200), 10.0, 12
"""Fewest and most runs, of so many frames each; one every so many seconds."""

Pictures = Callable[[int | None], Iterator[av.VideoFrame]]
"""Decoded pictures from a time (film ticks; None: the beginning) on."""


@dataclass(frozen=True)
class Stretch:
    """Neighbouring frames that were scanned alike; up to the next stretch."""

    first_pts: int
    """Film ticks."""
    is_interlaced: bool
    is_telecine: bool = False
    """Film of 24 frames a second in fields."""


@dataclass(frozen=True)
class Scan:
    """What was found."""

    stretches: tuple[Stretch, ...]
    """In order; the first one holds for whatever comes before it, too."""
    is_top_first: bool
    is_order_doubted: bool = False
    """The pictures show the other order than the film's flags."""

    @property
    def any_interlaced(self) -> bool:
        return any(stretch.is_interlaced for stretch in self.stretches)

    def is_interlaced_at(self, pts: int) -> bool:
        """Of the frame with this PTS, film ticks."""
        found = self.stretches[0]
        for stretch in self.stretches:
            if stretch.first_pts > pts:
                break
            found = stretch
        return found.is_interlaced

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scan:
        """From what `to_dict` gave."""
        stretches = tuple(Stretch(**item) for item in values["stretches"])
        return cls(**{**values, "stretches": stretches})


@dataclass(frozen=True)
class _Vote:
    """One frame's."""

    pts: int
    kind: int
    """1: fields; -1: a whole; 0: nothing moves."""
    order: int
    """1: the top field comes first; -1: the bottom field; 0: not to be seen."""
    is_flagged: bool


TAPE_LINES = (480, 486, 576)
_TAPE_RATES = (24.5, 30.5)
_UNMARKED_RUNS, _UNMARKED_VOTES = 12, 12


def holds_unmarked_fields(info: VideoInfo, pictures: Pictures) -> bool:
    """Whether a film that is not marked as interlaced shows fields all the same, by a few runs of frames.

    Only a tape's size and rate are looked at: in captures the mark is often missing, elsewhere hardly ever.
    """
    if info.height not in TAPE_LINES or not _TAPE_RATES[0] < float(info.average_rate or 0) < _TAPE_RATES[1]:
        return False
    starts: list[int | None] = [None, *_starts(info, _UNMARKED_RUNS)] if info.duration_seconds else [None]
    # In a short film the runs show the same frames again and again: each has one vote, or a few doubtful ones would do.
    votes = (vote for start in starts for vote in _votes(info, islice(pictures(start), _RUN_FRAMES), lambda done: None))
    kinds = list({vote.pts: vote.kind for vote in votes if vote.kind}.values())
    fields, whole = kinds.count(1), kinds.count(-1)
    return fields >= _UNMARKED_VOTES and fields * _FIELDS_VOTE > whole * _WHOLE_VOTE


def find_scan(info: VideoInfo, pictures: Pictures, check: Callable[[int], None] = lambda done: None) -> Scan:
    """info: as `probe` found it.  check: called with the number of frames that were looked at; may raise to stop."""
    counted = info.frame_count_declared or round((info.duration_seconds or 0) * float(info.average_rate or 25))
    if counted > WHOLE_SCAN_FRAMES and info.duration_seconds:
        count = int(np.clip(info.duration_seconds / _RUN_SECONDS, *_RUNS))
        runs = [list(_votes(info, islice(pictures(start), _RUN_FRAMES), check)) for start in _starts(info, count)]
        kinds = {stretch.is_interlaced for run in runs if any(vote.kind for vote in run) for stretch in _stretches(run, info)}
        if len(kinds) < 2:
            together = [vote for run in runs for vote in run]
            whole = kinds.pop() if kinds else any(vote.is_flagged for vote in together)
            return _scan(info, (Stretch(info.first_pts, whole, whole and _is_telecine(together, info)),), together)
    votes = list(_votes(info, pictures(None), check))
    return _scan(info, _stretches(votes, info) or (Stretch(info.first_pts, True),), votes)


def _starts(info: VideoInfo, count: int) -> list[int]:
    seconds = info.duration_seconds or 0.0
    return [info.first_pts + int(seconds * (run + 0.5) / count / info.time_base) for run in range(count)]


def _scan(info: VideoInfo, stretches: tuple[Stretch, ...], votes: Sequence[_Vote]) -> Scan:
    seen = [vote.order for vote in votes if vote.kind == 1 and vote.order]
    parity = parity_of(info.field_order)
    if parity is None:
        return Scan(stretches, sum(seen) >= 0)
    is_top_first = parity == "tff"
    doubts = sum(order != (1 if is_top_first else -1) for order in seen)
    is_doubted = len(seen) >= 10 and doubts > 0.8 * len(seen)
    return Scan(stretches, is_top_first != is_doubted, is_doubted)


def _votes(info: VideoInfo, pictures: Iterable[av.VideoFrame], check: Callable[[int], None]) -> Iterator[_Vote]:
    before: Float32 | None = None
    for done, picture in enumerate(pictures):
        check(done)
        luma = _luma(picture, info)
        kind, order = (0, 0) if before is None else _judged(before, luma)
        before = luma
        assert picture.pts is not None
        yield _Vote(picture.pts, kind, order, bool(picture.interlaced_frame))


def _luma(picture: av.VideoFrame, info: VideoInfo) -> Float32:
    """(h, w) grey levels of 8 bits, an even number of lines; every fourth column."""
    plane = planes_of(picture, info.pix_fmt)[0][: picture.height // 2 * 2, ::_COLUMN_STEP]
    return np.asarray(plane, np.float32) / np.float32(2 ** (layout_of(info.pix_fmt).depth - 8))


def _judged(before: Float32, here: Float32) -> tuple[int, int]:
    """A frame's kind and order, see `_Vote`."""
    top_before, bottom_before, top, bottom = before[0::2], before[1::2], here[0::2], here[1::2]
    moves = _moving(top_before, top) | _moving(bottom_before, bottom)
    if moves.sum() < _LEAST_BLOCKS:
        return 0, 0
    own, top_later, bottom_later = (
        _misfit(*pair, moves) for pair in ((top, bottom), (top, bottom_before), (top_before, bottom))
    )
    near, far = min(top_later, bottom_later), max(top_later, bottom_later)
    is_whole, is_fields = near - own, far - near
    if max(is_whole, is_fields) < _CLEAR * own:
        return 0, 0
    if is_whole >= is_fields:
        return -1, 0
    # The field that fits the frame before the better is the one that comes first.
    return 1, 1 if top_later < bottom_later else -1


def _moving(before: Float32, here: Float32) -> NDArray[np.bool_]:
    """(rows, columns) of blocks."""
    change = _blocks(np.asarray(cv2.absdiff(before, here), np.float32))
    still = float(np.quantile(change, _STILL_SHARE))
    return np.asarray(change > _STILL_FACTOR * still + _STILL_LEVELS)


def _misfit(top: Float32, bottom: Float32, moves: NDArray[np.bool_]) -> float:
    """How far lines of one field lie beside the mean of their neighbours of the other, where something moves; grey levels."""
    lines = np.abs(0.5 * (top[:-1] + top[1:]) - bottom[:-1]) + np.abs(0.5 * (bottom[:-1] + bottom[1:]) - top[1:])
    return float(_blocks(np.concatenate([lines, lines[-1:]]))[moves].mean())


def _blocks(picture: Float32) -> Float32:
    """Means over blocks; what is left over at the right and below is not looked at."""
    rows, columns = max(1, picture.shape[0] // _BLOCK[0]), max(1, picture.shape[1] // _BLOCK[1])
    part = picture[: rows * _BLOCK[0], : columns * _BLOCK[1]]
    return np.asarray(cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def _stretches(votes: Sequence[_Vote], info: VideoInfo) -> tuple[Stretch, ...]:
    """The cheapest explanation of the votes."""
    if not votes:
        return ()
    costs = np.zeros(2)  # of all so far, when this frame is: whole, interlaced
    cheaper_to_change = np.zeros((len(votes), 2), bool)
    for place, vote in enumerate(votes):
        changed = costs[::-1] + _CHANGE
        cheaper_to_change[place] = changed < costs
        costs = np.minimum(costs, changed)
        costs[0] += _FIELDS_VOTE * (vote.kind == 1) + _FLAG_VOTE * vote.is_flagged
        costs[1] += _WHOLE_VOTE * (vote.kind == -1) + _FLAG_VOTE * (not vote.is_flagged)
    state, first = int(costs[1] < costs[0]), len(votes)
    found: list[Stretch] = []
    for place in range(len(votes) - 1, -1, -1):
        if place == 0 or cheaper_to_change[place, state]:
            part = votes[place:first]
            found.append(Stretch(part[0].pts, bool(state), bool(state) and _is_telecine(part, info)))
            first, state = place, 1 - state
    return tuple(reversed(found))


def _is_telecine(votes: Sequence[_Vote], info: VideoInfo) -> bool:
    if not _TELECINE_RATES[0] < float(info.average_rate or 0) < _TELECINE_RATES[1]:
        return False
    said = [vote.kind for vote in votes if vote.kind]
    low, high = _TELECINE_SHARE
    return len(said) >= 10 and low <= said.count(-1) / len(said) <= high


def told(scan: Scan, info: VideoInfo) -> Iterator[str]:
    """Sentences for a person."""
    first, is_marked = "top" if scan.is_top_first else "bottom", parity_of(info.field_order) is not None
    if not scan.any_interlaced:
        if is_marked:
            yield "The film is marked as interlaced, but its pictures are whole frames: they are restored as frames."
        return
    if scan.is_order_doubted:
        yield f"The film's fields are marked in the wrong order: the pictures show the {first} field first, and are taken so."
    if not is_marked:
        yield f"The film is not marked as interlaced, but its pictures show fields, the {first} one first, and are taken so."
    if len(scan.stretches) > 1:
        begins = [f"{float((stretch.first_pts - info.first_pts) * info.time_base):.1f} s" for stretch in scan.stretches]
        kinds = ["fields" if stretch.is_interlaced else "whole frames" for stretch in scan.stretches]
        places = ", ".join(f"{kind} from {begin}" for kind, begin in zip(kinds[:_NAMED], begins))
        more = " ..." if len(kinds) > _NAMED else ""
        yield f"The film changes its scan: {places}{more}; each part is restored as what it is."
    elif not scan.stretches[0].is_telecine:
        yield "The film is interlaced: each of its fields is restored as a picture of its own, and counted as a frame."
    if any(stretch.is_telecine for stretch in scan.stretches):
        yield "Film was telecined (its frames are spread over fields): its fields are restored one by one."
