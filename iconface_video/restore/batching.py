"""One batch through the model: always the planned shape, split only when memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iconface_video.restore.model import FaceModel
from iconface_video.types import Float32, UInt8


def run_batch(model: FaceModel, crops: UInt8, contexts: Sequence[Any], noise: Float32, batch: int) -> tuple[UInt8, str | None]:
    """Restore up to `batch` crops. A short batch is padded with its last crop: one shape, one set of kernels, one result.

    crops: (n, S, S, 3), 1 <= n <= batch.  Returns (n, S, S, 3) and, where memory ran out, a note for the report.
    """
    count = len(crops)
    if count < batch:
        fill = [count - 1] * (batch - count)
        crops = np.concatenate([crops, crops[fill]])
        noise = np.concatenate([noise, noise[fill]])
        contexts = [*contexts, *(contexts[-1] for _ in fill)]
    try:
        return model.restore(crops, contexts, noise)[:count], None
    except (MemoryError, RuntimeError) as error:
        if batch == 1 or not _is_out_of_memory(error):
            raise
    half = batch // 2
    parts = [slice(start, start + half) for start in range(0, count, half)]
    results = [run_batch(model, crops[:count][part], contexts[:count][part], noise[:count][part], half) for part in parts]
    note = results[0][1] or f"memory ran out at {batch} faces per model call; went on with {half} (`batch` sets the number)"
    return np.concatenate([result for result, _ in results]), note


def _is_out_of_memory(error: BaseException) -> bool:
    """torch.OutOfMemoryError is a RuntimeError; torch itself need not be imported to know it."""
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower() or type(error).__name__ == "OutOfMemoryError"
