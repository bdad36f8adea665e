"""The rows of the tables: every way of restoring a batch of faces, baselines and the model with each kind of references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from iconface_video.evaluate.baselines import Baseline, InputAsItIs, Unsharp, parse_onnx
from iconface_video.evaluate.face_protocol import EvaluationBatch
from iconface_video.evaluate.face_settings import SHOWN_TO_COMPARE, FaceEvaluation, ReferenceKind
from iconface_video.faces.identity_encoder import IdentityEncoder, embed_crops, load_identity_encoder
from iconface_video.identity.anchors import aggregate, best_first
from iconface_video.models.checkpoints import load_model
from iconface_video.models.context import ReferenceContext
from iconface_video.models.load_options import pick_device
from iconface_video.models.model import IConFaceModel
from iconface_video.restore.noise import NoiseKey, fixed_noise
from iconface_video.types import Float32, TrackKey, UInt8

CLEAN = "clean"
"""Key of the truth's own row."""


@dataclass(frozen=True)
class TableRow:
    """One way of restoring."""

    key: str
    """Short, for figures: "input", "unsharp", "onnx-1", "0", "3", "wrong", "truth"."""
    name: str
    way: Baseline | ReferenceKind


def table_rows(settings: FaceEvaluation) -> list[TableRow]:
    """In the order of the tables. Opens the ONNX files, so that a wrong one is refused at once."""
    rows = [TableRow("input", InputAsItIs.name, InputAsItIs())]
    if "unsharp" not in settings.skip:
        rows.append(TableRow("unsharp", Unsharp.name, Unsharp()))
    for number, text in enumerate(settings.onnx, 1):
        restorer = parse_onnx(text, settings.onnx_weight)
        rows.append(TableRow(f"onnx-{number}", restorer.name, restorer))
    if settings.model is not None:
        rows += [TableRow(item.key, f"restored, {item.name}", item) for item in settings.references]
    return rows


def main_row(rows: list[TableRow]) -> str | None:
    """The row that stands for "with references": three, else the most."""
    ways = [row.way for row in rows if isinstance(row.way, ReferenceKind) and row.way.kind == "right" and row.way.count]
    if not ways:
        return None
    drawn = [way for way in ways if not way.pool] or ways
    return max(drawn, key=lambda way: (way.count == SHOWN_TO_COMPARE, way.count)).key


def sheet_columns(rows: list[TableRow]) -> list[tuple[str, str]]:
    """(key, heading) of what the sheets show: baselines, without references, with them, with wrong ones, the truth, two of the photos."""
    wanted = [row for row in rows if not isinstance(row.way, ReferenceKind) or row.key in ("0", main_row(rows), "wrong")]
    photos = [("right photo", "a reference"), ("wrong photo", "another person")]
    return [*((row.key, row.name.removeprefix("restored, ")) for row in wanted), (CLEAN, "truth"), *photos]


class FaceModelRows:
    """The restorer, as the program itself uses it: anchor of the references (or the face's own), fixed noise for each face."""

    def __init__(self, settings: FaceEvaluation) -> None:
        assert settings.model is not None
        self._settings = settings
        self.model: IConFaceModel = load_model(settings.model, pick_device(settings.device), settings.dtype)
        self.model.eval()
        self._encoder: IdentityEncoder = load_identity_encoder("embedded", self.model.device)
        self._shape = self.model.noise_shape(settings.size)

    @property
    def facts(self) -> dict[str, Any]:
        """For the report's settings."""
        return {
            "model's name": self.model.traits.name,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "steps": self._settings.steps or self.model.traits.default_steps,
            "device": str(self.model.device),
            "number format": str(self.model.compute_dtype or self.model.dtype).removeprefix("torch."),
        }

    def prepare(self, batch: EvaluationBatch) -> PreparedBatch:
        """Look at all references of a batch once."""
        contexts: dict[str, list[ReferenceContext | None]] = {}
        raw: dict[str, list[Float32]] = {}
        for kind in {item.kind for item in self._settings.references if item.count}:
            shown = batch.references[kind]
            contexts[kind] = [self.model.prepare_references(pictures, self._settings.size) for pictures in shown]
            raw[kind] = [embed_crops(self._encoder, pictures) for pictures in shown]
        return PreparedBatch(batch, contexts, raw)

    def restore(self, sources: UInt8, prepared: PreparedBatch, references: ReferenceKind) -> UInt8:
        """(B, S, S, 3) -> the same shape."""
        count, first = references.count, prepared.batch.first
        seen: list[ReferenceContext | None] = [None] * len(sources)
        if count:
            raw = [item[: references.photos] for item in prepared.raw[references.kind]]
            orders = [best_first(item)[:count] if references.pool else list(range(count)) for item in raw]
            whole = prepared.contexts[references.kind]
            seen = [None if item is None else item[order] for item, order in zip(whole, orders)]
        else:
            raw = list(embed_crops(self._encoder, list(sources))[:, None])
        anchors = np.stack([aggregate(item).direction for item in raw])
        keys = [NoiseKey(self._settings.seed, TrackKey(0, 0, first + k), 0) for k in range(len(sources))]
        noise = np.stack([fixed_noise(key, self._shape) for key in keys])
        return self.model.restore_crops(sources, anchors, seen, noise, self._settings.steps)


@dataclass(frozen=True, eq=False)
class PreparedBatch:
    """References of a batch as the model keeps them."""

    batch: EvaluationBatch
    contexts: dict[str, list[ReferenceContext | None]]
    raw: dict[str, list[Float32]]
    """Raw embeddings (R, 512) of each face's references."""
