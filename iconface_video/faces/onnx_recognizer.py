"""insightface's ONNX recognition models as a second opinion for metrics: never a training loss, never needed to restore."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iconface_video.errors import CheckpointError
from iconface_video.faces.identity_encoder import ENCODER_SIZE, arcface_from_ffhq, to_tensor
from iconface_video.types import Float32, UInt8


class OnnxRecognizer:
    """A recogniser of an insightface pack ("w600k_r50.onnx" and the like): ArcFace frame, RGB, (value - 127.5) / 127.5.

    `path`: the file, or a pack's folder, in which the one that gives an embedding of a 112-px face is found.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _find(Path(path))
        self._session = _open(self.path)
        self._input = self._session.get_inputs()[0].name

    def embed_crops(self, crops: Sequence[UInt8]) -> Float32:
        """Raw embeddings (n, d) float32 of FFHQ-framed crops, each uint8 (S, S, 3) RGB."""
        rows = [self._session.run(None, {self._input: arcface_from_ffhq(to_tensor([crop])).numpy()})[0] for crop in crops]
        return np.concatenate(rows).astype(np.float32) if rows else np.zeros((0, 512), dtype=np.float32)


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    for candidate in sorted(path.glob("*.onnx")):
        session = _open(candidate)
        shape, outputs = session.get_inputs()[0].shape, session.get_outputs()
        if list(shape[1:]) == [3, ENCODER_SIZE, ENCODER_SIZE] and len(outputs) == 1:
            return candidate
    raise CheckpointError(
        f"{path}: neither a recognition model nor a folder with one (ONNX, input 3x{ENCODER_SIZE}x{ENCODER_SIZE}, one output)"
    )


def _open(path: Path) -> Any:
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exception types are not public
        raise CheckpointError(f"{path}: not a readable ONNX model ({error})") from error
