"""What `evaluate faces` measures, as the user asks for it. Light: the command line makes its options of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from iconface_video.errors import UsageError
from iconface_video.settings import MAX_STRENGTH, OptionForm, nearest, setting

SKIPPABLE: tuple[str, ...] = ("ssim", "lpips", "niqe", "identity", "landmarks", "unsharp", "sheets", "encoder")

BUCKETS = ((4.0, 8.0), (9.0, 16.0))
"""Strengths that are also reported together (IConFace's medium and severe bucket)."""

MOST_IN_POOL = 64
MOST_LEARNT_FROM = 24
SHOWN_TO_COMPARE = 3
"""Pictures of the "wrong" and "truth" rows, where so many right ones are not asked for either: the largest number asked for."""


@dataclass(frozen=True)
class Level:
    """One strength of the degradation, or a range over which the faces are spread evenly."""

    low: float
    high: float

    @property
    def name(self) -> str:
        """ "6" or "4-8"."""
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g}-{self.high:g}"

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    def is_in(self, bucket: tuple[float, float]) -> bool:
        """Whether every strength of the level belongs to the bucket."""
        return bucket[0] <= self.low and self.high <= bucket[1]


@dataclass(frozen=True)
class ReferenceKind:
    """One row of the tables: how many references, of whom."""

    kind: Literal["right", "wrong", "truth"]
    count: int
    pool: int = 0
    """Photos that the program chooses them from; all of them make the anchor. 0: those that are shown."""

    @property
    def name(self) -> str:
        if self.kind == "right":
            named = {0: "no reference", 1: "1 reference"}.get(self.count, f"{self.count} references")
            return f"{named}, the best of {self.pool}" if self.pool else named
        return f"{self.count} of another person" if self.kind == "wrong" else f"the truth, {self.count} times jittered"

    @property
    def key(self) -> str:
        """Short: "0", "3", "3of10", "wrong", "truth"."""
        if self.kind != "right":
            return self.kind
        return f"{self.count}of{self.pool}" if self.pool else str(self.count)

    @property
    def photos(self) -> int:
        """How many photos are needed."""
        return self.pool or self.count


@dataclass(frozen=True)
class LearntKind:
    """A row of the tables whose people were learnt."""

    photos: int
    """From so many of the person, which are shown, too."""
    is_control: bool = False
    """With the weights of another person."""

    @property
    def name(self) -> str:
        """ "learnt from 3 photos"."""
        photos = f"{self.photos} photo{'s' if self.photos > 1 else ''}"
        return f"{photos} shown, another person's weights" if self.is_control else f"learnt from {photos}"

    @property
    def key(self) -> str:
        """Short: "learnt-3", "control-3"."""
        return f"{'control' if self.is_control else 'learnt'}-{self.photos}"

    @property
    def description(self) -> str:
        """For the report."""
        if self.is_control:
            return "another person's learnt weights, the face's own photos shown: what it would cost to take one for the other."
        return "the person's own photos, none of which is measured, were learnt from and are shown; kept only where the check on a held-out photo says so."


def parse_personalize(text: str) -> tuple[LearntKind, ...]:
    """ "1,3,10" -> a row and its control for each. Raises UsageError."""
    words = list(dict.fromkeys(_words(text)))
    for word in words:
        if not word.isdigit() or not 1 <= int(word) <= MOST_LEARNT_FROM:
            raise UsageError(f"personalize is '{word}', must be numbers of photos, 1 to {MOST_LEARNT_FROM}, for example 1,3,10")
    counts = sorted(int(word) for word in words)
    return tuple(LearntKind(count, control) for count in counts for control in (False, True))


def parse_levels(text: str) -> tuple[Level, ...]:
    """ "4,6,9-16" -> three levels. Raises UsageError."""
    found = []
    for word in _words(text):
        low, dash, high = word.partition("-")
        try:
            level = Level(float(low), float(high if dash else low))
        except ValueError:
            raise UsageError(f"strength is '{word}', must be a number or a range like 4-8") from None
        if not 0 <= level.low <= level.high <= MAX_STRENGTH:
            raise UsageError(f"strength is '{word}', must be within 0 and {MAX_STRENGTH:g}, the smaller one first")
        if level not in found:
            found.append(level)
    return tuple(found)


def parse_references(text: str) -> tuple[ReferenceKind, ...]:
    """ "0,1,3,3of10,wrong,truth" -> rows. "3of10": the best three of ten.

    "wrong" and "truth" show 3 pictures, or the largest number asked for where 3 is not among them.
    """
    words = list(dict.fromkeys(_words(text)))
    right = []
    for word in words:
        if found := re.fullmatch(r"(\d+)(?:of(\d+))?", word):
            right.append(ReferenceKind("right", int(found[1]), int(found[2] or 0)))
        elif word not in ("wrong", "truth"):
            raise UsageError(f"references are '{word}', must be numbers, 3of10, wrong or truth, for example 0,1,3,5,wrong")
    counts = [row.count for row in right]
    if any(count > 16 for count in counts):
        raise UsageError(f"references are {max(counts)}, must be at most 16")
    for row in right:
        if row.pool and not 0 < row.count < row.pool <= MOST_IN_POOL:
            raise UsageError(f"references are '{row.key}', must be some of more, at most {MOST_IN_POOL}, as in 3of10")
    shown = SHOWN_TO_COMPARE if SHOWN_TO_COMPARE in counts or not any(counts) else max(counts)
    rows = sorted(right, key=lambda row: (row.count, row.pool))
    rows += [ReferenceKind(kind, shown) for kind in ("wrong", "truth") if kind in words]
    return tuple(rows)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


_LEVELS = "4,6,8,10,12,14,16"
_REFERENCES = "0,1,3,5,wrong,truth"
DATA = OptionForm(("--data",), "FOLDER", read=lambda text: str(Path(text)))
DATA_HELP = "Folder of aligned faces with an index.csv (file, split, identity); may be given more than once."


@dataclass(frozen=True)
class FaceEvaluation:
    """All choices of one measurement."""

    folders: tuple[str, ...] = setting(form=DATA, help=DATA_HELP)
    split: Literal["val", "train"] = setting("val", form=OptionForm(metavar="val|train"), help="Which rows of the index.")
    count: int = setting(32, low=1, form=OptionForm(metavar="N"), help="Faces, spread over the people.")
    size: int = setting(256, form=OptionForm(metavar="PX"), help="Size of the crops; smaller pictures are left out.")
    levels: tuple[Level, ...] = setting(
        parse_levels(_LEVELS),
        form=OptionForm(("--strengths",), "LIST", read=parse_levels, written=_LEVELS),
        help="Of the degradation, 0 to 20: numbers, or ranges over which the faces are spread.",
    )
    references: tuple[ReferenceKind, ...] = setting(
        parse_references(_REFERENCES),
        form=OptionForm(metavar="LIST", read=parse_references, written=_REFERENCES),
        help="Rows: numbers of photos of the person; 3of10: the three of ten that are nearest in pose and expression, as the program chooses them; "
        "wrong: another person's; truth: the truth's own.",
    )
    personalize: tuple[LearntKind, ...] = setting(
        (),
        form=OptionForm(metavar="LIST", read=parse_personalize, written=""),
        help="More rows: each measured person learnt from so many other photos (1,3,10), and as a control with another person's weights; "
        "a minute or two for each person and number.",
    )
    model: str | None = setting(
        "embedded",
        form=OptionForm(metavar="MODEL", read=lambda text: None if text == "none" else text),
        help="embedded, a model folder, hub:owner/name, or none.",
    )
    """None: baselines only."""
    steps: int | None = setting(
        None, low=1, high=100, form=OptionForm(metavar="N"), help="Sampler steps; the model's own number when not given."
    )
    device: str = setting("auto", form=OptionForm(metavar="TEXT"), help="auto, cpu, cuda, cuda:N or mps.")
    dtype: str = setting("auto", form=OptionForm(metavar="TEXT"), help="auto, float32, bfloat16 or float16.")
    onnx: tuple[str, ...] = setting(
        (),
        form=OptionForm(("--baseline-onnx",), "[NAME=]FILE"),
        help="A restorer exported to ONNX (CodeFormer, GFPGAN ...); may be given more than once.",
    )
    onnx_weight: float = setting(
        0.7, form=OptionForm(metavar="X"), help="Second input of CodeFormer exports: 0 quality, 1 fidelity."
    )
    identity: str = setting(
        "dlib",
        form=OptionForm(metavar="TEXT"),
        help="Who judges the likeness: dlib, embedded, or a folder of an identity encoder.",
    )
    skip: frozenset[str] = setting(
        frozenset(),
        form=OptionForm(metavar="TEXT"),
        help="Leave out: ssim, lpips, niqe, identity, landmarks, unsharp, sheets or encoder; may be repeated.",
    )
    sheet_rows: int = setting(12, low=1, form=OptionForm(metavar="N"), help="Faces on each sheet of pictures.")
    batch: int = setting(8, low=1, form=OptionForm(metavar="N"), help="Faces per model call.")
    seed: int = setting(7, low=0, form=OptionForm(metavar="N"), help="Same seed, same faces, damage and noise.")

    def __post_init__(self) -> None:
        if self.split not in ("val", "train"):
            raise UsageError(f"split is '{self.split}', must be val or train")
        for word in self.skip:
            if word not in SKIPPABLE:
                raise UsageError(f"--skip is '{word}', must be among {', '.join(SKIPPABLE)}.{nearest(word, SKIPPABLE)}")
        if not self.levels:
            raise UsageError("no strength to measure: give --strengths, for example 6,12")
        if self.size < 32 or self.size % 16:
            raise UsageError(f"size is {self.size} px, must be a multiple of 16, at least 32")
        if self.personalize and self.model is None:
            raise UsageError("--personalize needs a model that learns")
        if self.count < 1:
            raise UsageError(f"count is {self.count}, must be at least 1")

    @property
    def most_references(self) -> int:
        return max((item.count for item in self.references), default=0)
