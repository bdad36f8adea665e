"""All metrics of restored faces together: what is needed of the truth is looked at once, then each restored picture is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from iconface_video.errors import InputError
from iconface_video.faces.detector import Detector
from iconface_video.faces.landmark_network import LandmarkNetwork, eye_distance, find_landmarks, load_landmark_network
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
from iconface_video.lab.evaluate.niqe import fit_niqe
from iconface_video.lab.evaluate.picture_metrics import face_psnr, face_ssim, find_lpips, sharpness_share
from iconface_video.types import Float32, Float64, UInt8

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
        Metric(
            "landmarks468",
            "468 points, %",
            2,
            "lower",
            "468 points of our own network (the face's outline, lids, lips), mean distance to the truth's, % of the eye distance",
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
    landmarks468: Float32 | None


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
            landmarks468=None if "landmarks" in self.settings.skip else find_landmarks(self._points, list(truth)),
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
        if facts.landmarks468 is not None:
            distances = np.linalg.norm(find_landmarks(self._points, list(pictures)) - facts.landmarks468, axis=2)
            found["landmarks468"] = 100 * distances.mean(1).astype(np.float64) / eye_distance(facts.landmarks468)
        return found

    @cached_property
    def _points(self) -> LandmarkNetwork:
        return load_landmark_network()

    def _landmarks68(self, pictures: UInt8) -> Float64 | None:
        if "landmarks" in self.settings.skip or not isinstance(self.judge, DlibJudge):
            return None
        return self.judge.landmarks(list(pictures))
