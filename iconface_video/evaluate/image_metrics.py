"""How close a restored face is to its truth, picture by picture: PSNR, SSIM, LPIPS where it is at hand, sharpness.

PSNR and SSIM look at the face alone: the ellipse that training's validation uses (`train.validation.face_mask`).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from iconface_video.errors import UsageError
from iconface_video.train.validation import face_mask, sharpness, to_tensor
from iconface_video.types import Float64, UInt8

__all__ = ["Lpips", "face_psnr", "face_ssim", "find_lpips", "sharpness_share"]


def face_psnr(pictures: UInt8, truth: UInt8) -> Float64:
    """(n,) PSNR in dB inside the face ellipse, 8 bit RGB; pictures and truth (n, S, S, 3). Identical ones give 78 dB."""
    mask = face_mask(truth.shape[1])
    squared = (pictures.astype(np.float32) - truth.astype(np.float32))[:, mask] ** 2
    return np.asarray(10 * np.log10(255**2 / np.maximum(squared.mean(axis=(1, 2)), 1e-3)), np.float64)


def face_ssim(pictures: UInt8, truth: UInt8) -> Float64:
    """(n,) structural similarity (Wang et al. 2004: Gaussian window of deviation 1.5, 11 px; mean over R, G, B) inside the face ellipse.

    Raises UsageError without scikit-image (the extra 'evaluate').
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise UsageError("SSIM needs scikit-image: pip install 'iconface-video[evaluate]'") from error
    mask = face_mask(truth.shape[1])
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    found = []
    for a, b in zip(pictures, truth):
        _, similar = structural_similarity(a, b, channel_axis=2, data_range=255, full=True, **settings)
        found.append(float(similar[mask].mean()))
    return np.array(found)


def sharpness_share(pictures: UInt8, truth: UInt8) -> Float64:
    """(n,) Laplacian deviation of the central half of the grey face, as a share of the truth's."""
    return sharpness(pictures) / np.maximum(sharpness(truth), 1e-6)


# ---- LPIPS

_ALEXNET = "alexnet-owt-7be5be79.pth"
"""File that torchvision keeps in torch's hub folder; the package 'lpips' would download it otherwise."""


class Lpips:
    """LPIPS (Zhang et al. 2018), AlexNet backbone, over the whole crop."""

    def __init__(self) -> None:
        import lpips

        self._network: Any = lpips.LPIPS(net="alex", verbose=False).eval().requires_grad_(False)

    def __call__(self, pictures: UInt8, truth: UInt8) -> Float64:
        """(n,) distances; lower is closer. AlexNet needs at least 64 px: smaller crops are enlarged."""
        import torch

        with torch.no_grad():
            distances = self._network(to_tensor(_at_least(pictures, 64)), to_tensor(_at_least(truth, 64)))
        return np.asarray(distances.flatten().numpy(), dtype=np.float64)


def _at_least(pictures: UInt8, size: int) -> UInt8:
    if pictures.shape[1] >= size:
        return pictures
    return np.stack([np.asarray(cv2.resize(p, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8) for p in pictures])


def find_lpips() -> tuple[Lpips | None, str]:
    """The metric where everything it needs is on this machine already, and a sentence for the report. Nothing is downloaded."""
    missing = [name for name in ("lpips", "torchvision") if find_spec(name) is None]
    if missing:
        return None, f"LPIPS was left out: {' and '.join(missing)} not installed."
    import torch

    weights = Path(torch.hub.get_dir()) / "checkpoints" / _ALEXNET
    if not weights.is_file():
        return None, f"LPIPS was left out: its AlexNet weights are not at {weights}, and nothing is downloaded while measuring."
    return Lpips(), "LPIPS: AlexNet backbone, whole crop."
