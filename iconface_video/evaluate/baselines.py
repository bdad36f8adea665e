"""What the restorer is compared with: the input itself, unsharp masking, and any ONNX restorer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from iconface_video.errors import CheckpointError, InputError
from iconface_video.types import Float32, UInt8

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
        tensor = np.ascontiguousarray((pictures.astype(np.float32) / 127.5 - 1).transpose(0, 3, 1, 2))
        answer = self._session.run(None, {self._picture.name: tensor.astype(_dtype(self._picture)), **self._fill})[0]
        if answer.ndim != 4 or answer.shape[1] != 3:
            raise CheckpointError(f"{self._path}: answers with {answer.shape}, a restorer gives (B, 3, S, S)")
        restored = ((answer.astype(np.float32) + 1) * 127.5).round().clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
        return np.stack([_resized(np.ascontiguousarray(picture), sources.shape[1]) for picture in restored])

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
