"""The networks beside the restorer: how well an identity encoder tells people apart (and its norm clean faces from damaged ones), and
how far two face detectors agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from iconface_video.errors import CheckpointError, InputError
from iconface_video.faces.detector import Detector, overlap
from iconface_video.faces.identity_encoder import IdentityEncoder
from iconface_video.faces.pixels import to_tensor
from iconface_video.lab.train.encoder_data import ValidationFaces
from iconface_video.pages.plots import Line, Plot
from iconface_video.pages.tables import Section, Table, Value
from iconface_video.types import Detection, Float32, Float64, UInt8

MATCH_OVERLAP = 0.3
"""IoU from which two boxes are one face: detectors draw the forehead and the ears differently."""
MIN_SCORE = 0.5
"""Findings below count for neither."""


class YuNet:
    """YuNet (Wu et al. 2023) through OpenCV: the detector to compare with. Its file is not part of the package."""

    name = "yunet"

    def __init__(self, path: Path, min_score: float = MIN_SCORE, detection_size: int = 640) -> None:
        """detection_size: px of the longer side at which it looks at larger pictures.

        Raises InputError for a missing file, CheckpointError for one that OpenCV cannot use.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such file; --yunet needs YuNet's ONNX file (face_detection_yunet_*.onnx)")
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), min_score)
        except cv2.error as error:
            raise CheckpointError(f"{path}: OpenCV cannot use it as YuNet ({str(error).strip().splitlines()[-1]})") from error
        self._size = detection_size

    def detect(self, rgb: UInt8) -> list[Detection]:
        """Faces in (h, w, 3) RGB, best first."""
        height, width = rgb.shape[:2]
        factor = min(1.0, self._size / max(height, width))
        small = max(1, round(width * factor)), max(1, round(height * factor))
        picture = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        if factor < 1:
            picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        self._network.setInputSize(small)
        _, rows = self._network.detect(picture)
        back = np.array([width / small[0], height / small[1]])
        found = [] if rows is None else [_detection(row, back, (width, height)) for row in rows]
        return sorted(found, key=lambda item: -item.score)


def _detection(row: Float32, back: np.ndarray, extent: tuple[int, int]) -> Detection:
    """x, y, width, height, then five points (the viewer's left eye first), then the score."""
    corners = np.array([row[:2], row[:2] + row[2:4]]) * back
    box = np.clip(corners, 0, extent).reshape(4).astype(np.float32)
    return Detection(box, float(row[14]), (row[4:14].reshape(5, 2) * back).astype(np.float32))


@dataclass
class Agreement:
    """Counts over pictures, and figures of each face that both found."""

    pictures: int = 0
    first_found: int = 0
    """Faces that the first detector found."""
    second_found: int = 0
    overlaps: list[float] = field(default_factory=list)
    """IoU of each face that both found."""
    distances: list[float] = field(default_factory=list)
    """Mean landmark distance of each such face, % of the eye distance."""

    def add(self, first: Sequence[Detection], second: Sequence[Detection]) -> None:
        """The findings of both in one picture."""
        self.pictures += 1
        self.first_found += len(first)
        self.second_found += len(second)
        for a, b in match(first, second):
            self.overlaps.append(float(overlap(a.box, b.box)))
            eyes = float(np.linalg.norm(b.landmarks[0] - b.landmarks[1]))
            self.distances.append(100 * float(np.linalg.norm(a.landmarks - b.landmarks, axis=1).mean()) / max(eyes, 1e-6))

    @property
    def both(self) -> int:
        """Faces that both found."""
        return len(self.overlaps)

    @property
    def share_of_second(self) -> float:
        """How many of the second one's faces the first found as well; NaN where there are none."""
        return self.both / self.second_found if self.second_found else float("nan")

    @property
    def share_of_first(self) -> float:
        return self.both / self.first_found if self.first_found else float("nan")


def match(first: Sequence[Detection], second: Sequence[Detection]) -> list[tuple[Detection, Detection]]:
    """Pairs of one face, best overlap first, each detection once."""
    pairs = [(float(overlap(a.box, b.box)), i, j) for i, a in enumerate(first) for j, b in enumerate(second)]
    taken_first: set[int] = set()
    taken_second: set[int] = set()
    found = []
    for value, i, j in sorted(pairs, key=lambda item: -item[0]):
        if value >= MATCH_OVERLAP and i not in taken_first and j not in taken_second:
            taken_first.add(i)
            taken_second.add(j)
            found.append((first[i], second[j]))
    return found


def compare(first: Detector, second: Detector, pictures: Iterable[UInt8], min_score: float = MIN_SCORE) -> Agreement:
    """Run both over pictures (h, w, 3); findings below `min_score` do not count."""
    agreement = Agreement()
    for picture in pictures:
        found = [[item for item in detector.detect(picture) if item.score >= min_score] for detector in (first, second)]
        agreement.add(found[0], found[1])
    return agreement


FOLDS = 10
_ROC_POINTS = 300
"""Drawn; figures are of all."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """As many pairs of one person as of two."""

    first: NDArray[np.int64]
    """(p,) rows."""
    second: NDArray[np.int64]
    same: NDArray[np.bool_]

    @classmethod
    def balanced(cls, labels: NDArray[np.int64], rng: np.random.Generator, most: int = 6000) -> Pairs:
        """All pairs of one person (at most `most` / 2, drawn), and as many of two people, drawn. InputError without either."""
        rows, columns = np.triu_indices(len(labels), 1)
        same = labels[rows] == labels[columns]
        count = int(min(same.sum(), (~same).sum(), most // 2))
        if not count:
            raise InputError(
                "verification needs held-out people with two photos each, and two people: the index's column 'identity'"
            )
        chosen = [rng.choice(np.flatnonzero(kind), count, replace=False) for kind in (same, ~same)]
        order = rng.permutation(np.concatenate(chosen))
        return cls(rows[order], columns[order], same[order])


def fold_accuracy(similarity: Float64, same: NDArray[np.bool_], folds: int = FOLDS) -> Float64:
    """(folds,) accuracy on each tenth of the pairs with the threshold that is best on the other nine (LFW's protocol)."""
    # Every fold has as many pairs of one person as of two, in whatever order the pairs come.
    parts = np.where(same, np.cumsum(same) - 1, np.cumsum(~same) - 1) % folds
    found = []
    for part in range(folds):
        here = parts == part
        if not here.any():
            continue
        threshold = best_threshold(similarity[~here], same[~here])
        found.append(float(((similarity[here] >= threshold) == same[here]).mean()))
    return np.array(found)


def best_threshold(similarity: Float64, same: NDArray[np.bool_]) -> float:
    """The similarity from which "one person" is right most often."""
    order = np.argsort(-similarity)
    gained = np.cumsum(np.where(same[order], 1, -1))
    best = int(gained.argmax())
    above = similarity[order[best]]
    below = similarity[order[best + 1]] if best + 1 < len(order) else above
    return float((above + below) / 2)


def roc(similarity: Float64, same: NDArray[np.bool_]) -> tuple[Float64, Float64]:
    """False and true positive rate, (p + 1,) each, as the threshold falls."""
    order = np.argsort(-similarity)
    true = np.concatenate([[0], np.cumsum(same[order]) / max(1, same.sum())])
    false = np.concatenate([[0], np.cumsum(~same[order]) / max(1, (~same).sum())])
    return false, true


def area(false: Float64, true: Float64) -> float:
    """Under the ROC curve."""
    return float(((true[1:] + true[:-1]) / 2 * np.diff(false)).sum())


def rate_at(false: Float64, true: Float64, false_rate: float) -> float:
    """True positive rate where at most `false_rate` of the strangers are taken for one person."""
    return float(true[false <= false_rate].max())


def embed_views(encoder: IdentityEncoder, images: UInt8, batch: int = 32) -> Float32:
    """Raw embeddings (n, 512) of faces in the ArcFace frame (n, 112, 112, 3)."""
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        parts = [encoder(to_tensor(list(images[i : i + batch]), device)).float().cpu() for i in range(0, len(images), batch)]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


def add_encoder_section(
    section: Section, name: str, faces: ValidationFaces, encoder: IdentityEncoder, rng: np.random.Generator
) -> dict[str, float]:
    """Table and plots of one set; returns the flat figures."""
    clean, damaged = embed_views(encoder, faces.clean), embed_views(encoder, faces.damaged)
    norms = np.linalg.norm(clean, axis=1), np.linalg.norm(damaged, axis=1)
    unit, worse = clean / norms[0][:, None], damaged / norms[1][:, None]
    pairs = Pairs.balanced(faces.labels, rng)
    similar = np.asarray((unit[pairs.first] * unit[pairs.second]).sum(1), np.float64)
    crossed = np.asarray((unit[pairs.first] * worse[pairs.second]).sum(1), np.float64)
    lines, rows, figures = [], [], {}
    for kind, values in (("clean", similar), ("clean against damaged", crossed)):
        accuracy = Value.of(100 * fold_accuracy(values, pairs.same), 1)
        false, true = roc(values, pairs.same)
        shown = np.unique(np.linspace(0, len(true) - 1, _ROC_POINTS).astype(int))
        lines.append(Line(kind, false[shown].tolist(), true[shown].tolist()))
        rows.append((kind, accuracy, Value(area(false, true)), Value(100 * rate_at(false, true, 0.01), None, 1)))
        figures[f"{name}/accuracy {kind}"] = accuracy.mean / 100 if accuracy else float("nan")
        figures[f"{name}/roc area {kind}"] = area(false, true)
    ranked = float((norms[0] > norms[1]).mean())
    ranked_any = float((norms[0][:, None] > norms[1][None]).mean())
    correlation = rank_correlation(norms[1], faces.strength)
    figures |= {f"{name}/norm ranked": ranked, f"{name}/norm ranked any": ranked_any, f"{name}/norm correlation": correlation}
    people = len(np.unique(faces.labels))
    section.add(
        Table(
            f"verification-{name}",
            ("pairs", "accuracy, %", "area under ROC", "found at 1 % false, %"),
            tuple(rows),
            f"{len(pairs.same)} pairs, half of one person, of {len(faces.labels)} photos of {people} people; "
            f"threshold from the other nine of {FOLDS} folds, ± over the folds. Damaged: strength 4 to 16.",
        ),
        Table(
            f"norm-{name}",
            ("norm of the embedding", "figure"),
            (
                ("share of faces whose clean norm is above their own damaged one's", Value(ranked)),
                ("the same for any clean face against any damaged one", Value(ranked_any)),
                ("rank correlation of norm and strength (damaged faces)", Value(correlation)),
            ),
        ),
        Plot(f"roc-{name}", f"ROC, {name}", "false positives", "true positives", tuple(lines), markers=False),
        _norm_plot(name, norms[1], faces.strength, float(np.median(norms[0]))),
    )
    return figures


def _norm_plot(name: str, norms: Float32, strength: Float32, clean: float) -> Plot:
    """Mean norm in steps of two of the strength."""
    edges = np.arange(np.floor(strength.min()), strength.max() + 2, 2.0)
    groups = [norms[(strength >= low) & (strength < low + 2)] for low in edges]
    kept = [(low + 1, Value.of(group)) for low, group in zip(edges, groups)]
    known = [(float(x), value) for x, value in kept if value is not None]
    x = [place for place, _ in known]
    damaged = Line("damaged", x, [value.mean for _, value in known], [value.error for _, value in known])
    lines = (damaged, Line("clean, median", x, [clean] * len(x), dashed=True))
    return Plot(f"norms-{name}", f"Norm of the embedding, {name}", "strength", "norm", lines)


def rank_correlation(a: Float32, b: Float32) -> float:
    """Spearman's, (n,) each."""
    ranks = [np.argsort(np.argsort(values)).astype(np.float64) for values in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
