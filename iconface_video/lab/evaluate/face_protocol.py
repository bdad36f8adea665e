"""Which faces `evaluate faces` measures, what damages them, and which references stand beside them: drawn from the seed, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from iconface_video.degrade import degrade
from iconface_video.errors import InputError, UsageError
from iconface_video.lab.evaluate.face_settings import FaceEvaluation, Level
from iconface_video.lab.train.data import FaceSet, FaceSettings
from iconface_video.lab.train.face_views import jittered, relit
from iconface_video.types import UInt8


@dataclass(frozen=True)
class Choice:
    """One face of the measurement; numbers are rows of the FaceSet."""

    truth: int
    right: tuple[int, ...]
    """Other photos of the same person."""
    wrong: tuple[int, ...]
    """Photos of one other person."""


@dataclass(frozen=True, eq=False)
class EvaluationBatch:
    """Some of the faces. Pictures are uint8 RGB."""

    first: int
    """Number of the first face within the measurement."""
    choices: tuple[Choice, ...]
    people: tuple[str, ...]
    """Names of the faces; empty where not known."""
    truth: UInt8
    """(B, S, S, 3)."""
    references: dict[str, list[list[UInt8]]]
    """"right", "wrong", "truth" -> B lists of R pictures."""


def load_held_out(settings: FaceEvaluation) -> FaceSet:
    """Clean, sharp, large enough faces. InputError where there are none."""
    cv2.setNumThreads(1)
    wanted = FaceSettings(folders=settings.folders, max_side=max(256, settings.size), min_side=settings.size)
    try:
        return FaceSet.load(wanted, settings.split)
    except InputError as error:
        if "no usable" not in str(error):
            raise
        raise InputError(
            f"{error} with at least {settings.size} px and sharp enough: give a smaller --size or other --data"
        ) from None


class FaceProtocol:
    """Faces of people who have enough photos, spread over the people."""

    def __init__(self, faces: FaceSet, settings: FaceEvaluation) -> None:
        """Raises UsageError where there are not enough photos of anybody."""
        self.faces, self.settings = faces, settings
        self.choices = _choose(faces, settings)

    @property
    def people(self) -> int:
        """Different people among the measured faces; faces without a name count one each."""
        names = [self.faces.identities[c.truth] for c in self.choices]
        return len({name for name in names if name}) + names.count("")

    def batches(self) -> Iterator[EvaluationBatch]:
        size = self.settings.batch
        for first in range(0, len(self.choices), size):
            chosen = self.choices[first : first + size]
            truth = np.stack([self._plain(c.truth) for c in chosen])
            shown = {
                "right": [[self._plain(i) for i in c.right] for c in chosen],
                "wrong": [[self._plain(i) for i in c.wrong] for c in chosen],
                "truth": [self._jittered_truth(first + k, c.truth) for k, c in enumerate(chosen)],
            }
            names = tuple(self.faces.identities[c.truth] for c in chosen)
            yield EvaluationBatch(first, tuple(chosen), names, truth, shown)

    def degraded(self, level: Level, batch: EvaluationBatch) -> UInt8:
        """(B, S, S, 3) the batch's faces, damaged; each face by its own draw, whatever the batch."""
        strengths = self.strengths(level)[batch.first : batch.first + len(batch.truth)]
        seeds = [(self.settings.seed, round(strength * 10), batch.first + k) for k, strength in enumerate(strengths)]
        damaged = [degrade(t, float(s), np.random.default_rng(seed)) for t, s, seed in zip(batch.truth, strengths, seeds)]
        return np.stack(damaged)

    def strengths(self, level: Level) -> np.ndarray:
        """(n,) one for each face: evenly over the level's range, in random order."""
        rng = np.random.default_rng((self.settings.seed, round(level.low * 10), round(level.high * 10)))
        return rng.permutation(np.linspace(level.low, level.high, len(self.choices)))

    def unused(self, most: int) -> list[UInt8]:
        """At most `most` clean faces that are not measured, for statistics; measured ones too where there are few others."""
        measured = {choice.truth for choice in self.choices}
        others = [i for i in range(len(self.faces)) if i not in measured]
        pool = others if len(others) >= most // 4 else list(range(len(self.faces)))
        order = np.random.default_rng((self.settings.seed, 1)).permutation(pool)[:most]
        return [self._plain(int(i)) for i in order]

    def gallery(self, most: int = 12) -> dict[str, list[UInt8]]:
        """At most `most` clean photos of each measured person that are not measured themselves; nobody without such photos."""
        measured = {choice.truth for choice in self.choices}
        names = dict.fromkeys(self.faces.identities[choice.truth] for choice in self.choices)
        others = {name: [i for i in self.faces.people.get(name, []) if i not in measured] for name in names}
        rng = np.random.default_rng((self.settings.seed, 3))
        return {name: [self._plain(int(i)) for i in rng.permutation(rows)[:most]] for name, rows in others.items() if rows}

    def _plain(self, index: int) -> UInt8:
        rng = np.random.default_rng(0)  # draws nothing: every spread is 0
        return jittered(self.faces.images[index], self.settings.size, rng, shift=0, turn=0, scale=0)

    def _jittered_truth(self, number: int, index: int) -> list[UInt8]:
        rng = np.random.default_rng((self.settings.seed, 2, number))
        count = max((item.count for item in self.settings.references if item.kind == "truth"), default=0)
        size = self.settings.size
        moved = [jittered(self.faces.images[index], size, rng, shift=0.04, turn=4.0, scale=0.04) for _ in range(count)]
        return [relit(picture, rng, 0.1) for picture in moved]


def _choose(faces: FaceSet, settings: FaceEvaluation) -> list[Choice]:
    wanted = {
        kind: max((item.photos for item in settings.references if item.kind == kind), default=0) for kind in ("right", "wrong")
    }
    able = [i for i in range(len(faces)) if len(faces.others(i)) >= wanted["right"]]
    donors = {name: rows for name, rows in faces.people.items() if len(rows) >= wanted["wrong"]}
    if not able:
        raise UsageError(
            f"nobody in the '{settings.split}' split has {wanted['right'] + 1} photos (index.csv's column 'identity'): "
            "ask for fewer --references, 0 at the least"
        )
    if wanted["wrong"] and len(donors) < 2:
        raise UsageError(
            "references of another person need two people with names in the index: leave 'wrong' out of --references"
        )
    rng = np.random.default_rng(settings.seed)
    chosen = []
    for index in _spread(faces, able, rng)[: settings.count]:
        right = rng.choice(faces.others(index), wanted["right"], replace=False) if wanted["right"] else ()
        wrong: np.ndarray | tuple[()] = ()
        if wanted["wrong"]:
            stranger = rng.choice([name for name in donors if name != faces.identities[index]])
            wrong = rng.choice(donors[str(stranger)], wanted["wrong"], replace=False)
        chosen.append(Choice(index, tuple(int(i) for i in right), tuple(int(i) for i in wrong)))
    return chosen


def _spread(faces: FaceSet, able: list[int], rng: np.random.Generator) -> list[int]:
    """First one photo of everybody, then a second one ...; a face without a name is somebody of its own."""
    people: dict[str, list[int]] = {}
    for i in rng.permutation(able):
        people.setdefault(faces.identities[i] or f"#{i}", []).append(int(i))
    rounds = max(map(len, people.values()))
    return [group[r] for r in range(rounds) for group in people.values() if r < len(group)]
