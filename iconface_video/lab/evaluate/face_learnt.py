"""Rows of `evaluate faces` whose people were learnt: each measured person from a few photos, and the control: those weights and
somebody else's faces."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iconface_video.errors import UsageError
from iconface_video.faces.identity_encoder import IdentityEncoder, embed_crops
from iconface_video.identity.anchors import best_first, make_anchor
from iconface_video.lab.evaluate.face_protocol import EvaluationBatch, FaceProtocol
from iconface_video.lab.evaluate.face_settings import LearntKind
from iconface_video.models.model import IConFaceModel
from iconface_video.personalize.person import personalize
from iconface_video.personalize.person_weights import PersonWeights
from iconface_video.personalize.photos import PhotoFace
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.restore.iconface import IConFaceRestorer
from iconface_video.restore.noise import NoiseKey, fixed_noise
from iconface_video.restore.people import PersonalRestorer, anchor_key
from iconface_video.settings import AnchorSettings, RestoreSettings
from iconface_video.types import Float32, IdentityAnchor, Progress, TrackKey, UInt8

if TYPE_CHECKING:
    from iconface_video.lab.evaluate.face_settings import FaceEvaluation


@dataclass(eq=False)
class LearntRows:
    """What was learnt of each measured person, from each number of photos."""

    settings: FaceEvaluation
    model: IConFaceModel
    encoder: IdentityEncoder
    recipe: PersonalizeSettings = field(default_factory=lambda: PersonalizeSettings())
    anchors: dict[tuple[str, int], IdentityAnchor] = field(default_factory=dict)
    weights: dict[tuple[str, int], PersonWeights] = field(default_factory=dict)
    seconds: dict[int, list[float]] = field(default_factory=dict)
    """Number of photos -> time for each person."""

    def learn(self, protocol: FaceProtocol, on_progress: Callable[[Progress], None] | None) -> None:
        """Everybody, from photos that are not measured. Raises UsageError where somebody has too few."""
        counts = sorted({kind.photos for kind in self.settings.personalize})
        photos = _photos(protocol, max(counts))
        total, done = len(counts) * len(photos), 0
        for name, rows in photos.items():
            pictures = [protocol.faces.images[row] for row in rows]
            raw = embed_crops(self.encoder, pictures)
            faces = [PhotoFace(Path(protocol.faces.files[row]), *seen, 256.0) for row, seen in zip(rows, zip(pictures, raw))]
            for count in counts:
                chosen = [faces[row] for row in best_first(raw[:count])]
                embeddings, crops = [face.embedding for face in chosen], [face.crop for face in chosen]
                self.anchors[name, count] = make_anchor(embeddings, crops, AnchorSettings(), "user")
                begun = time.perf_counter()
                self.weights[name, count] = personalize(self.model, chosen, self.recipe, encoder=self.encoder)
                self.seconds.setdefault(count, []).append(time.perf_counter() - begun)
                done += 1
                if on_progress:
                    on_progress(Progress("learn", done, total, "people"))

    def restore(self, sources: UInt8, batch: EvaluationBatch, kind: LearntKind) -> UInt8:
        """(B, S, S, 3) -> the same shape; each face with its own person's photos shown."""
        settings = self.settings
        restorer = IConFaceRestorer(self.model, RestoreSettings(str(settings.model), steps=settings.steps))
        anchors = [self.anchors[name, kind.photos] for name in batch.people]
        donors = [self._donor(name) if kind.is_control else name for name in batch.people]
        people = {anchor_key(anchor): self.weights[donor, kind.photos] for anchor, donor in zip(anchors, donors)}
        personal = PersonalRestorer(restorer, self.model, people)
        contexts = {key: personal.prepare(anchor, settings.size) for key, anchor in {anchor_key(a): a for a in anchors}.items()}
        shape = self.model.noise_shape(settings.size)
        keys = [NoiseKey(settings.seed, TrackKey(0, 0, batch.first + k), 0) for k in range(len(sources))]
        noise: Float32 = np.stack([fixed_noise(key, shape) for key in keys])
        return personal.restore(sources, [contexts[anchor_key(anchor)] for anchor in anchors], noise)

    def _donor(self, name: str) -> str:
        """Whose weights are tried on somebody: the next person's."""
        names = sorted({name for name, _ in self.weights})
        return names[(names.index(name) + 1) % len(names)]

    @property
    def notes(self) -> list[str]:
        """Time, memory, and how many were kept."""
        said = []
        for count, seconds in self.seconds.items():
            kept = [person.facts.strength for (_, photos), person in self.weights.items() if photos == count]
            said.append(
                f"learnt from {count} photo{'s' if count > 1 else ''}: {np.median(seconds):.0f} s a person (median; {min(seconds):.0f} to "
                f"{max(seconds):.0f}), used for {sum(strength > 0 for strength in kept)} of {len(kept)} people, strength "
                f"{np.mean(kept):.2f} on average; most memory of the whole measurement so far {_peak_gib():.1f} GiB"
            )
        return said


def _photos(protocol: FaceProtocol, most: int) -> dict[str, list[int]]:
    """Person -> rows of photos that are not measured, drawn from the seed."""
    measured = {choice.truth for choice in protocol.choices}
    rng = np.random.default_rng((protocol.settings.seed, 4))
    found = {}
    for name in dict.fromkeys(protocol.faces.identities[choice.truth] for choice in protocol.choices):
        rows = [row for row in protocol.faces.people.get(name, []) if row not in measured]
        if len(rows) < most:
            raise UsageError(
                f"'{name or 'a face without a name'}' has {len(rows)} photos that are not measured, --personalize needs {most}: "
                "ask for fewer of them, or for a smaller --count"
            )
        found[name] = [int(row) for row in rng.permutation(rows)[:most]]
    if len(found) < 2:
        raise UsageError("--personalize needs two people at least: one person's weights are tried on another's faces")
    return found


def _peak_gib() -> float:
    """Most memory that this process ever had; NaN where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak / (2**30 if sys.platform == "darwin" else 2**20))
