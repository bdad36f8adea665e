"""Validation of a restorer: no, right, wrong-person and same-picture references side by side, and sheets to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iconface_video.degrade import degrade
from iconface_video.faces.pixels import to_tensor, to_uint8
from iconface_video.faces.quality import laplacian_deviation
from iconface_video.lab.train.data import FaceSet, UInt8
from iconface_video.lab.train.face_views import jittered, relit

COLUMNS = ("none", "right", "wrong", "truth")
"""Kinds of references that every validation reports."""

RestoreBatch = Callable[[Tensor, Tensor | None], Tensor]
"""(source (B, 3, S, S) in [-1, 1], references (B, R, 3, S, S) or None) -> restored (B, 3, S, S)."""


@dataclass(frozen=True)
class ValidationSet:
    """Fixed faces of people who are not in training; pictures uint8."""

    truth: UInt8
    """(n, S, S, 3)."""
    sources: dict[float, UInt8]
    """Strength -> (n, S, S, 3)."""
    references: dict[str, UInt8]
    """"right", "wrong", "truth" -> (n, R, S, S, 3)."""

    @classmethod
    def build(
        cls, faces: FaceSet, size: int, count: int, strengths: tuple[float, ...], references: int = 3, seed: int = 7
    ) -> ValidationSet:
        """Pick `count` faces of people with at least `references` + 1 photos, spread over the people."""
        rng = np.random.default_rng(seed)
        able = [i for i in range(len(faces)) if len(faces.others(i)) >= references]
        people: dict[str, list[int]] = {}
        for i in rng.permutation(able):
            people.setdefault(faces.identities[i], []).append(int(i))
        rounds = max(map(len, people.values()))
        chosen = [group[r] for r in range(rounds) for group in people.values() if r < len(group)][:count]
        truth = np.stack([jittered(faces.images[i], size, rng, shift=0, turn=0, scale=0) for i in chosen])
        sources = {
            s: np.stack([degrade(t, s, np.random.default_rng((seed, int(s * 10), k))) for k, t in enumerate(truth)])
            for s in strengths
        }
        kinds: dict[str, list[UInt8]] = {"right": [], "wrong": [], "truth": []}
        for i in chosen:
            strangers = [j for j in able if faces.identities[j] != faces.identities[i]]
            picks = {
                "right": rng.choice(faces.others(i), references, replace=False),
                "wrong": rng.choice(strangers, references, replace=False),
                "truth": np.full(references, i),
            }
            for kind, indices in picks.items():
                spread = 0.04 if kind == "truth" else 0.0
                shown = [jittered(faces.images[j], size, rng, shift=spread, turn=100 * spread, scale=spread) for j in indices]
                kinds[kind].append(np.stack([relit(p, rng, 0.1) if kind == "truth" else p for p in shown]))
        return cls(truth, sources, {k: np.stack(v) for k, v in kinds.items()})


def face_mask(size: int) -> NDArray[np.bool_]:
    """(S, S) the ellipse that a face fills in the FFHQ frame."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    return np.asarray(((x - 0.5) / 0.3) ** 2 + ((y - 0.55) / 0.38) ** 2 <= 1)


def psnr(restored: UInt8, truth: UInt8) -> float:
    """Mean over the pictures of the PSNR (dB) inside the face ellipse; (n, S, S, 3) uint8."""
    mask = face_mask(truth.shape[1])
    error = (restored.astype(np.float32) - truth.astype(np.float32))[:, mask] ** 2
    return float(np.mean(10 * np.log10(255**2 / np.maximum(error.mean(axis=(1, 2)), 1e-3))))


def middle_sharpness(pictures: UInt8) -> NDArray[np.float64]:
    """(n,) Laplacian deviation of the central half of each face, grey levels; only a share of the truth's is comparable."""
    size = pictures.shape[1]
    low, high = size // 4, size - size // 4
    return np.array([laplacian_deviation(picture[low:high, low:high]) for picture in pictures])


def restore_all(restore: RestoreBatch, source: UInt8, references: UInt8 | None, device: torch.device, batch: int = 16) -> UInt8:
    """Run a restorer over (n, S, S, 3) pictures in batches."""
    done = []
    for start in range(0, len(source), batch):
        part = slice(start, start + batch)
        shown = None if references is None else to_tensor(references[part], device)
        done.append(to_uint8(restore(to_tensor(source[part], device), shown)))
    return np.concatenate(done)


def validate_columns(
    restore: RestoreBatch,
    data: ValidationSet,
    device: torch.device,
    sheet: Path | None,
    identity: Callable[[UInt8], NDArray[np.floating]] | None = None,
) -> dict[str, float]:
    """PSNR gain, sharpness share and (with `identity`: pictures -> unit embeddings) similarity to the truth, by strength and column."""
    figures: dict[str, float] = {}
    truth_sharpness = middle_sharpness(data.truth).mean()
    target = identity(data.truth) if identity else None
    sheets = []
    for strength, source in data.sources.items():
        before = psnr(source, data.truth)
        figures[f"input_psnr@{strength:g}"] = before
        if identity and target is not None:
            figures[f"input_id@{strength:g}"] = float((identity(source) * target).sum(1).mean())
        shown = [source]
        for kind in COLUMNS:
            restored = restore_all(restore, source, data.references.get(kind), device)
            figures[f"gain_{kind}@{strength:g}"] = psnr(restored, data.truth) - before
            if identity and target is not None:
                figures[f"id_{kind}@{strength:g}"] = float((identity(restored) * target).sum(1).mean())
            if kind == "none":
                figures[f"sharp@{strength:g}"] = float(middle_sharpness(restored).mean() / truth_sharpness)
            if kind in ("none", "right"):
                shown.append(restored)
        sheets.append([*shown, data.truth, data.references["right"][:, 0]])
    figures["score"] = float(
        np.mean([v for k, v in figures.items() if k.startswith("gain_none") or k.startswith("gain_right")])
    )
    if sheet is not None:
        write_sheet(sheet, sheets)
    return figures


def write_sheet(path: Path, blocks: list[list[UInt8]], rows: int = 8) -> None:
    """A picture: one block per strength; each row one face: input, restored, ..., truth, a reference."""
    panels = [
        np.vstack([np.hstack([column[r] for column in block]) for r in range(min(rows, len(block[0])))]) for block in blocks
    ]
    gap = np.full((panels[0].shape[0], 8, 3), 255, np.uint8)
    wide = np.hstack([part for panel in panels for part in (panel, gap)][:-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(wide, cv2.COLOR_RGB2BGR))
