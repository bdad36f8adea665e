"""The rows of the tables: every way of restoring a batch of faces. Baselines (the input itself, unsharp masking, any ONNX restorer)
and the model with each kind of references.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from iconface_video.errors import CheckpointError, InputError
from iconface_video.faces.detector import CenterFace
from iconface_video.faces.identity_encoder import IdentityEncoder, embed_crops, load_identity_encoder
from iconface_video.faces.pixels import to_tensor, to_uint8
from iconface_video.identity.anchors import aggregate, best_first
from iconface_video.identity.photo_choice import shape_distances
from iconface_video.lab.evaluate.face_learnt import LearntRows
from iconface_video.lab.evaluate.face_metrics import DETECTOR_SIZE
from iconface_video.lab.evaluate.face_protocol import EvaluationBatch, FaceProtocol
from iconface_video.lab.evaluate.face_settings import SHOWN_TO_COMPARE, FaceEvaluation, LearntKind, ReferenceKind
from iconface_video.lab.evaluate.identity_metrics import detected_landmarks
from iconface_video.models.checkpoints import load_model
from iconface_video.models.context import ReferenceContext
from iconface_video.models.load_options import pick_device
from iconface_video.models.model import IConFaceModel
from iconface_video.models.sampler import Sampling
from iconface_video.restore.noise import NoiseKey, fixed_noise
from iconface_video.types import Float32, Float64, Progress, TrackKey, UInt8

ONNX_SIZE = 512
"""px: what CodeFormer, GFPGAN, RestoreFormer and their like take, where the file does not say."""


class Baseline(Protocol):
    """Restores faces from the damaged picture alone."""

    name: str
    description: str

    def restore(self, sources: UInt8) -> UInt8:
        """(B, S, S, 3) RGB -> the same shape."""
        ...


class InputAsItIs:
    """The damaged picture, at the crop's size (whoever damaged it enlarged it, bicubic or bilinear)."""

    name = "input"
    description = "the damaged face as it is."

    def restore(self, sources: UInt8) -> UInt8:
        return sources


class Unsharp:
    """What a video editor does: calm the blocks with a little blur, then sharpen."""

    name = "bicubic + unsharp"
    description = (
        "the damaged face (already enlarged to the crop by bicubic or bilinear interpolation), a Gaussian blur of 0.3 % of the side, "
        "then unsharp masking with a radius of 1 % of the side and amount 1."
    )

    def restore(self, sources: UInt8) -> UInt8:
        return np.stack([self._one(picture) for picture in sources])

    @staticmethod
    def _one(picture: UInt8) -> UInt8:
        side = picture.shape[0]
        calm = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.003 * side)
        soft = cv2.GaussianBlur(calm, (0, 0), 0.01 * side)
        return np.asarray((2 * calm - soft).round().clip(0, 255), np.uint8)


class OnnxRestorer:
    """A restorer exported to ONNX: one picture input, (1 or B, 3, S, S) RGB in [-1, 1], the first output likewise.

    A second input (CodeFormer's fidelity weight `w`) gets `weight`. Crops are enlarged to the network's size (512 px where the
    file leaves it open) and brought back.
    """

    def __init__(self, path: Path, name: str | None = None, weight: float = 0.7) -> None:
        """Raises InputError for a missing file, CheckpointError for one that onnxruntime cannot use or with other inputs."""
        if not path.is_file():
            raise InputError(f"{path}: no such file; --onnx needs a restorer exported to ONNX")
        self.name = name or path.stem
        self._path, self._session = path, _open(path)
        self._fill, self._size, self._batch = self._read_inputs(weight)
        extra = "".join(f", {item}={weight:g}" for item in self._fill)
        self.description = f"ONNX graph {path.name} at {self._size} px{extra}; resized in and out."

    def restore(self, sources: UInt8) -> UInt8:
        step = self._batch or len(sources)
        parts = []
        for start in range(0, len(sources), step):
            part = sources[start : start + step]
            lacking = step - len(part)
            full = np.concatenate([part, np.repeat(part[-1:], lacking, axis=0)]) if lacking else part
            parts.append(self._run(full)[: len(part)])
        return np.concatenate(parts)

    def _run(self, sources: UInt8) -> UInt8:
        pictures = np.stack([_resized(picture, self._size) for picture in sources])
        tensor = to_tensor(pictures).contiguous().numpy()
        answer = self._session.run(None, {self._picture.name: tensor.astype(_dtype(self._picture)), **self._fill})[0]
        if answer.ndim != 4 or answer.shape[1] != 3:
            raise CheckpointError(f"{self._path}: answers with {answer.shape}, a restorer gives (B, 3, S, S)")
        restored = to_uint8(torch.from_numpy(answer.astype(np.float32)))
        return np.stack([_resized(picture, sources.shape[1]) for picture in restored])

    def _read_inputs(self, weight: float) -> tuple[dict[str, Float32], int, int | None]:
        """Values of the other inputs, px of the picture, its fixed batch (None: free)."""
        inputs = self._session.get_inputs()
        pictures = [item for item in inputs if _takes_pictures(item.shape)]
        others = [item for item in inputs if len(item.shape) < 4]
        if len(pictures) != 1 or len(others) > 1 or len(inputs) > len(pictures) + len(others):
            shapes = ", ".join(f"{item.name} {item.shape}" for item in inputs)
            raise CheckpointError(
                f"{self._path}: has the inputs {shapes}; a restorer has one picture (B, 3, S, S) and at most one number"
            )
        self._picture = pictures[0]
        batch, _, side, _ = self._picture.shape
        fill = {item.name: np.full(_filled(item.shape), weight, _dtype(item)) for item in others}
        return fill, side if isinstance(side, int) else ONNX_SIZE, batch if isinstance(batch, int) else None


def _open(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    wanted = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:  # onnxruntime has a class of its own for each way to fail
        raise CheckpointError(f"{path}: onnxruntime cannot use it ({str(error).splitlines()[0]})") from error


def _takes_pictures(shape: list[Any]) -> bool:
    """Whether it is (B, 3, S, S); names stand for sides that are free."""
    return len(shape) == 4 and (shape[1] == 3 or not isinstance(shape[1], int))


def _dtype(item: Any) -> type[np.generic]:
    kinds: dict[str, type[np.generic]] = {"tensor(float16)": np.float16, "tensor(double)": np.float64}
    return kinds.get(item.type, np.float32)


def _filled(shape: list[Any]) -> tuple[int, ...]:
    return tuple(side if isinstance(side, int) else 1 for side in shape)


def _resized(picture: UInt8, size: int) -> UInt8:
    if picture.shape[0] == size:
        return picture
    how = cv2.INTER_CUBIC if size > picture.shape[0] else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, (size, size), interpolation=how), np.uint8)


def parse_onnx(text: str, weight: float) -> OnnxRestorer:
    """ "FILE" or "NAME=FILE"."""
    name, equals, file = text.partition("=")
    return OnnxRestorer(Path(file), name, weight) if equals else OnnxRestorer(Path(text), None, weight)


CLEAN = "clean"
"""Key of the truth's own row."""


@dataclass(frozen=True)
class TableRow:
    """One way of restoring."""

    key: str
    """Short, for figures: "input", "unsharp", "onnx-1", "0", "3", "wrong", "truth"."""
    name: str
    way: Baseline | ReferenceKind | LearntKind


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
        rows += [TableRow(item.key, f"restored, {item.name}", item) for item in settings.personalize]
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
    shown = [row for row in rows if not (isinstance(row.way, LearntKind) and row.way.is_control)]
    wanted = [row for row in shown if not isinstance(row.way, ReferenceKind) or row.key in ("0", main_row(rows), "wrong")]
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
        self.learnt: LearntRows | None = None

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

    def learn(self, protocol: FaceProtocol, on_progress: Callable[[Progress], None] | None = None) -> None:
        """The measured people, where the settings want rows of that."""
        if self._settings.personalize:
            self.learnt = LearntRows(self._settings, self.model, self._encoder)
            self.learnt.learn(protocol, on_progress)

    def prepare(self, batch: EvaluationBatch) -> PreparedBatch:
        """Look at all references of a batch once."""
        contexts: dict[str, list[ReferenceContext | None]] = {}
        raw: dict[str, list[Float32]] = {}
        for kind in {item.kind for item in self._settings.references if item.count}:
            shown = batch.references[kind]
            contexts[kind] = [self.model.prepare_references(pictures, self._settings.size) for pictures in shown]
            raw[kind] = [embed_crops(self._encoder, pictures) for pictures in shown]
        is_chosen = any(item.pool for item in self._settings.references)
        landmarks = [detected_landmarks(self._detector, photos) for photos in batch.references["right"] if is_chosen]
        return PreparedBatch(batch, contexts, raw, landmarks)

    def restore(self, sources: UInt8, prepared: PreparedBatch, references: ReferenceKind | LearntKind) -> UInt8:
        """(B, S, S, 3) -> the same shape."""
        if isinstance(references, LearntKind):
            assert self.learnt is not None
            return self.learnt.restore(sources, prepared.batch, references)
        count, first = references.count, prepared.batch.first
        seen: list[ReferenceContext | None] = [None] * len(sources)
        if count:
            raw = [item[: references.photos] for item in prepared.raw[references.kind]]
            orders = [[*range(count)]] * len(raw)
            if references.pool:
                faces = detected_landmarks(self._detector, list(sources))
                orders = [_nearest(*each, count) for each in zip(faces, prepared.landmarks, raw)]
            whole = prepared.contexts[references.kind]
            seen = [None if item is None else item[order] for item, order in zip(whole, orders)]
        else:
            raw = list(embed_crops(self._encoder, list(sources))[:, None])
        anchors = np.stack([aggregate(item).direction for item in raw])
        keys = [NoiseKey(self._settings.seed, TrackKey(0, 0, first + k), 0) for k in range(len(sources))]
        noise = np.stack([fixed_noise(key, self._shape) for key in keys])
        return self.model.restore_crops(sources, anchors, seen, noise, Sampling(self._settings.steps))

    @cached_property
    def _detector(self) -> CenterFace:
        return CenterFace(DETECTOR_SIZE)


@dataclass(frozen=True, eq=False)
class PreparedBatch:
    """References of a batch as the model keeps them."""

    batch: EvaluationBatch
    contexts: dict[str, list[ReferenceContext | None]]
    raw: dict[str, list[Float32]]
    """Raw embeddings (R, 512) of each face's references."""
    landmarks: list[Float64]
    """(R, 5, 2) px in each photo of the person, NaN where no face was found; empty where no row chooses among photos."""


def _nearest(face: Float64, photos: Float64, raw: Float32, count: int) -> list[int]:
    """Which of a person's photos a face is shown, as in a run: the nearest by five landmarks, the surest where some are not known.

    face: (5, 2).  photos: (R, 5, 2), of which the first len(raw) count.  raw: their embeddings.
    """
    known = photos[: len(raw)]
    if not (np.isfinite(face).all() and np.isfinite(known).all()):
        return best_first(raw)[:count]
    return np.argsort(shape_distances(face[None], known)[0], kind="stable")[:count].tolist()
