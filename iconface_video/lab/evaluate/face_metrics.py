"""NIQE: how natural a picture looks without its truth (Mittal, Soundararajan, Bovik 2013), fitted on clean faces of the same kind and size.

Natural pictures, divided by their local mean and contrast, have Gaussian statistics. Each patch gives 36 numbers (the shape of
these values and of the products of neighbours, at two scales); clean patches are a multivariate Gaussian, a picture's patches
another; the distance between both is the figure, lower is more natural. Values compare within one fit only.

All metrics of restored faces together: what is needed of the truth is looked at once, then each restored picture is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from scipy.special import gamma

from iconface_video.errors import InputError
from iconface_video.faces.detector import Detector
from iconface_video.lab.evaluate.face_protocol import EvaluationBatch
from iconface_video.lab.evaluate.face_settings import FaceEvaluation
from iconface_video.lab.evaluate.identity_metrics import (
    DlibJudge,
    Gallery,
    IdentityJudge,
    cosine,
    cosine_to_each,
    detected_landmarks,
    eyes_of_68,
    landmark_error,
    make_discriminator,
)
from iconface_video.lab.evaluate.picture_metrics import face_psnr, face_ssim, find_lpips, sharpness_share
from iconface_video.types import Float32, Float64, UInt8

_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Neighbours whose products are looked at: right, below, both diagonals."""
_SHARP_SHARE = 0.75
"""Clean patches that are less sharp than this share of their picture's sharpest say nothing about what sharp faces look like."""
_MIN_PATCHES = 100
"""Fewer cannot tell 36 numbers' covariance."""


@dataclass(frozen=True, eq=False)
class NiqeModel:
    """The clean faces' statistics."""

    mean: Float64
    """(36,)."""
    covariance: Float64
    """(36, 36)."""
    size: int
    """px of the pictures that it was fitted on; others are refused."""

    def score(self, picture: UInt8) -> float:
        """Of one picture (S, S, 3): square root of d' ((C1 + C2) / 2)^+ d between its patches and the clean ones."""
        if picture.shape[:2] != (self.size, self.size):
            raise ValueError(f"NIQE was fitted on {self.size} px, got {picture.shape[1]}x{picture.shape[0]}")
        features, _ = patch_features(picture)
        difference = features.mean(0) - self.mean
        pooled = (np.cov(features, rowvar=False) + self.covariance) / 2
        return float(np.sqrt(difference @ np.linalg.pinv(pooled) @ difference))


def fit_niqe(pictures: list[UInt8]) -> NiqeModel:
    """From clean pictures (S, S, 3) of one size. InputError when they are too few."""
    kept = []
    for picture in pictures:
        features, sharp = patch_features(picture)
        kept.append(features[sharp > _SHARP_SHARE * sharp.max()])
    patches = np.concatenate(kept) if kept else np.zeros((0, 36))
    if len(patches) < _MIN_PATCHES:
        raise InputError(
            f"{len(pictures)} clean faces give {len(patches)} patches, NIQE needs {_MIN_PATCHES}: give more pictures or --skip niqe"
        )
    return NiqeModel(patches.mean(0), np.cov(patches, rowvar=False), pictures[0].shape[0])


def patch_features(picture: UInt8) -> tuple[Float64, Float64]:
    """Features (p, 36) and sharpness (p,) of a picture's patches: a quarter of its side each, overlapping by half."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64)
    side = 2 * max(8, round(grey.shape[0] / 8))
    half = np.asarray(cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA), np.float64)
    fine, contrast = _normalized(grey)
    coarse, _ = _normalized(half)
    starts = range(0, min(grey.shape) - side + 1, side // 2)
    rows, sharp = [], []
    for y in starts:
        for x in starts:
            rows.append(np.concatenate([_statistics(fine, y, x, side), _statistics(coarse, y // 2, x // 2, side // 2)]))
            sharp.append(contrast[y : y + side, x : x + side].mean())
    return np.array(rows), np.array(sharp)


def _normalized(grey: Float64) -> tuple[Float64, Float64]:
    """Mean-subtracted, contrast-normalised values, and the local contrast (Gaussian window of 7 px, deviation 7/6)."""
    mean = cv2.GaussianBlur(grey, (7, 7), 7 / 6, borderType=cv2.BORDER_REPLICATE)
    square = cv2.GaussianBlur(grey * grey, (7, 7), 7 / 6, borderType=cv2.BORDER_REPLICATE)
    contrast = np.sqrt(np.maximum(square - mean * mean, 0))
    return np.asarray((grey - mean) / (contrast + 1)), np.asarray(contrast)


def _statistics(values: Float64, y: int, x: int, side: int) -> Float64:
    """(18,) shape and spread of the patch's values, and shape, mean and both spreads of four neighbours' products."""
    patch = values[y : y + side, x : x + side]
    shape, left, right = _fit_asymmetric(patch)
    found = [shape, (left + right) / 2]
    for down, across in _SHIFTS:
        shape, left, right = _fit_asymmetric(patch * np.roll(patch, (down, across), axis=(0, 1)))
        mean = (right - left) * gamma(2 / shape) / np.sqrt(gamma(1 / shape) * gamma(3 / shape))
        found += [shape, mean, left, right]
    return np.array(found)


@lru_cache(maxsize=1)
def _shape_table() -> tuple[Float64, Float64]:
    """(ratio, shape) of the generalised Gaussian, the ratio gamma(2/a)^2 / (gamma(1/a) gamma(3/a)) rising."""
    shapes = np.arange(0.2, 10.0, 0.001)
    return gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes)), shapes


def _fit_asymmetric(values: Float64) -> tuple[float, float, float]:
    """Shape, left and right spread of an asymmetric generalised Gaussian, by moments (Lasmar et al. 2009)."""
    flat = values.ravel()
    below, above = flat[flat < 0], flat[flat > 0]
    left = np.sqrt((below**2).mean()) if len(below) else 1e-6
    right = np.sqrt((above**2).mean()) if len(above) else 1e-6
    ratio = max(left, 1e-6) / max(right, 1e-6)
    moment = np.abs(flat).mean() ** 2 / max(float((flat**2).mean()), 1e-12)
    corrected = moment * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    ratios, shapes = _shape_table()
    shape = float(np.interp(corrected, ratios, shapes))
    return shape, float(left), float(right)


DETECTOR_SIZE = 256
"""px at which the detector looks at a crop; the face fills it."""


@dataclass(frozen=True)
class Metric:
    """How a figure is called, and what is better."""

    key: str
    title: str
    digits: int
    better: str
    """ "higher", "lower", or what to hope for."""
    text: str


METRICS = {
    item.key: item
    for item in (
        Metric("psnr", "PSNR, dB", 2, "higher", "peak signal to noise ratio inside the face ellipse, 8-bit RGB"),
        Metric(
            "ssim", "SSIM", 3, "higher", "structural similarity (Gaussian window, mean over R, G, B) inside the face ellipse"
        ),
        Metric("lpips", "LPIPS", 3, "lower", "learned perceptual distance, AlexNet backbone, whole crop"),
        Metric(
            "sharpness", "sharpness", 2, "1", "Laplacian deviation of the central half of the grey face, share of the truth's"
        ),
        Metric(
            "niqe",
            "NIQE",
            2,
            "the clean faces'",
            "distance from the statistics of clean faces of the same set and size; no truth",
        ),
        Metric("gt_id", "GT-ID", 3, "higher", "cosine of identity embeddings to the truth"),
        Metric(
            "ref_id",
            "Ref-ID",
            3,
            "the clean faces'",
            "mean cosine to other photos of the person, whether shown to the model or not",
        ),
        Metric(
            "wrong_id",
            "Wrong-ID",
            3,
            "the clean faces'",
            "mean cosine to the photos of another person that the 'wrong' row shows",
        ),
        Metric(
            "mistaken",
            "mistaken, %",
            1,
            "lower",
            "share of the faces whose nearest person among those measured (mean embedding of up to 12 other photos) is somebody else",
        ),
        Metric(
            "landmarks",
            "landmarks, %",
            2,
            "lower",
            "five points of the detector, mean distance to the truth's, % of the eye distance",
        ),
        Metric(
            "landmarks68",
            "68 landmarks, %",
            2,
            "lower",
            "dlib's 68 points, mean distance to the truth's, % of the eye distance",
        ),
        Metric("found", "found", 3, "1", "share of the faces that the detector finds"),
    )
}


@dataclass(frozen=True, eq=False)
class TruthFacts:
    """What restored pictures of a batch are compared with; None where it is not measured."""

    truth: UInt8
    embeddings: Float32 | None
    right: list[Float32] | None
    """B groups of unit embeddings (r, d)."""
    wrong: list[Float32] | None
    people: tuple[str, ...]
    landmarks: Float64 | None
    landmarks68: Float64 | None


@dataclass
class FaceMetrics:
    """The metrics that were asked for and can be had; `notes` says what could not."""

    settings: FaceEvaluation
    clean: Sequence[UInt8]
    """Faces that are not measured, for NIQE's statistics and the identity's centre."""
    gallery: Mapping[str, Sequence[UInt8]] = field(default_factory=dict)
    """Other photos of the measured people, by name: whom a restored face is taken for."""
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        skip = self.settings.skip
        self.judge: IdentityJudge | None = (
            None if "identity" in skip else make_discriminator(self.settings.identity, self.clean[:128])
        )
        self._gallery = Gallery.of(self.gallery, self.judge) if self.judge else None
        self._detector: Detector | None = None
        if "landmarks" not in skip:
            from iconface_video.faces.detector import CenterFace

            self._detector = CenterFace(DETECTOR_SIZE)
        self._lpips, said = (None, "") if "lpips" in skip else find_lpips()
        self._niqe = None
        if "niqe" not in skip:
            try:
                self._niqe = fit_niqe(list(self.clean))
            except InputError as error:
                self.notes.append(f"NIQE was left out: {error}")
        self.notes += [said] if said else []
        self.notes += [f"Identity: {self.judge.description}"] if self.judge else []

    def facts(self, batch: EvaluationBatch) -> TruthFacts:
        judge, truth = self.judge, batch.truth
        groups: dict[str, list[Float32] | None] = {"right": None, "wrong": None}
        if judge:
            for kind in groups:
                shown = batch.references[kind]
                groups[kind] = [judge.embed(pictures) for pictures in shown] if any(shown) else None
        return TruthFacts(
            truth=truth,
            embeddings=judge.embed(list(truth)) if judge else None,
            right=groups["right"],
            wrong=groups["wrong"],
            people=batch.people,
            landmarks=detected_landmarks(self._detector, list(truth)) if self._detector else None,
            landmarks68=self._landmarks68(truth),
        )

    def measure(self, pictures: UInt8, facts: TruthFacts) -> dict[str, Float64]:
        """Key of the metric -> (B,) figures of pictures (B, S, S, 3); NaN where a face has none."""
        truth = facts.truth
        found = {"psnr": face_psnr(pictures, truth)}
        if "ssim" not in self.settings.skip:
            found["ssim"] = face_ssim(pictures, truth)
        if self._lpips:
            found["lpips"] = self._lpips(pictures, truth)
        found["sharpness"] = sharpness_share(pictures, truth)
        if self._niqe:
            found["niqe"] = np.array([self._niqe.score(picture) for picture in pictures])
        found |= self._identity(pictures, facts)
        found |= self._positions(pictures, facts)
        return found

    def _identity(self, pictures: UInt8, facts: TruthFacts) -> dict[str, Float64]:
        if self.judge is None or facts.embeddings is None:
            return {}
        embedded = self.judge.embed(list(pictures))
        found = {"gt_id": cosine(embedded, facts.embeddings)}
        for key, groups in (("ref_id", facts.right), ("wrong_id", facts.wrong)):
            if groups is not None:
                found[key] = cosine_to_each(embedded, groups)
        if self._gallery:
            found["mistaken"] = 100 * self._gallery.mistaken(embedded, facts.people)
        return found

    def _positions(self, pictures: UInt8, facts: TruthFacts) -> dict[str, Float64]:
        found = {}
        if self._detector and facts.landmarks is not None:
            points = detected_landmarks(self._detector, list(pictures))
            found["landmarks"] = 100 * landmark_error(points, facts.landmarks, facts.landmarks[:, :2])
            found["found"] = np.isfinite(points[:, 0, 0]).astype(np.float64)
        points68 = self._landmarks68(pictures)
        if points68 is not None and facts.landmarks68 is not None:
            found["landmarks68"] = 100 * landmark_error(points68, facts.landmarks68, eyes_of_68(facts.landmarks68))
        return found

    def _landmarks68(self, pictures: UInt8) -> Float64 | None:
        if "landmarks" in self.settings.skip or not isinstance(self.judge, DlibJudge):
            return None
        return self.judge.landmarks(list(pictures))
