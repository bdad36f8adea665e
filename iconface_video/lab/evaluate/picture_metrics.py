"""How close a restored face is to its truth, picture by picture: PSNR, SSIM, LPIPS where it is at hand, sharpness.

PSNR and SSIM look at the face alone: the ellipse that training's validation uses (`lab.train.validation.face_mask`).

Measures of steadiness, on face crops of one window: how much a video changes that the clean one does not.

Every video of a comparison (clean, degraded, restored) is cut through the SAME crop windows, those of the clean video's
smoothed track, so that a px means the same place in all of them. Blur wins every one of these measures except `flicker`,
which only sees what changes in the *error*: so each is shown beside sharpness and beside the clean video's own value.

Pictures are uint8 (S, S, 3) RGB; a region is a bool (S, S) mask. Sources: E_warp and its occlusion test, Lai et al. 2018
("Learning Blind Video Temporal Consistency"); tOF, Chu et al. 2020 (TecoGAN); identity drift (VIDD), Wang et al. 2025 (SVFR).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from iconface_video.errors import UsageError
from iconface_video.faces.pixels import to_tensor
from iconface_video.lab.train.validation import face_mask, middle_sharpness
from iconface_video.types import Float32, Float64, UInt8

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
    return middle_sharpness(pictures) / np.maximum(middle_sharpness(truth), 1e-6)


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


Region = NDArray[np.bool_]

_OCCLUSION_SHARE, _OCCLUSION_PX2 = 0.01, 0.5
"""|w + w'|^2 < 0.01 (|w|^2 + |w'|^2) + 0.5: the way there and back ends where it began."""
_NO_MAP = np.zeros(0, np.float32)
"""Second map of cv2.remap where the first holds x and y."""


@dataclass(frozen=True, eq=False)
class Motion:
    """How the clean picture moved from the frame before to this one."""

    flow: Float32
    """(S, S, 2) px: where each px of this frame was in the frame before, relative to its own place."""
    visible: Region
    """(S, S) what was seen in both frames."""


class MotionEstimator:
    """DIS optical flow (Kroeger et al. 2016), there and back."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def flow(self, now: UInt8, before: UInt8) -> Float32:
        """(S, S, 2) where each px of `now` is found in `before`, relative, px."""
        if np.array_equal(now, before):
            return np.zeros((*now.shape[:2], 2), np.float32)
        new, old = (np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8) for picture in (now, before))
        return np.asarray(self._flow.calc(new, old, np.zeros((*now.shape[:2], 2), np.float32)), np.float32)

    def motion(self, now: UInt8, before: UInt8) -> Motion:
        there, back = self.flow(now, before), self.flow(before, now)
        returned = warped(back, there)
        miss = ((there + returned) ** 2).sum(axis=2)
        limit = _OCCLUSION_SHARE * ((there**2).sum(axis=2) + (returned**2).sum(axis=2)) + _OCCLUSION_PX2
        return Motion(there, np.asarray((miss < limit) & _stays_inside(there)))


def _grid(size: tuple[int, ...]) -> Float32:
    rows, columns = (np.arange(side, dtype=np.float32) for side in size)
    return np.stack(np.meshgrid(columns, rows), axis=-1)


def _stays_inside(flow: Float32) -> Region:
    where = _grid(flow.shape[:2]) + flow
    return np.asarray(((where >= 0) & (where <= np.array(flow.shape[1::-1]) - 1)).all(axis=2))


def warped(picture: ArrayLike, flow: Float32) -> Float32:
    """The picture seen through a flow: at each px what stands at px + flow; bicubic. (S, S[, C]) -> float32 of that shape."""
    values = np.asarray(picture, np.float32)
    where = _grid(flow.shape[:2]) + flow
    return np.asarray(cv2.remap(values, where, _NO_MAP, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.float32)


def warp_error(now: UInt8, before: UInt8, motion: Motion, region: Region) -> float:
    """1000 E_warp: mean over visible px of the region of ``|x_t - W(x_(t-1))|^2``, summed over RGB within 0..1.

    nan where nothing of the region is visible in both frames.
    """
    seen = motion.visible & region
    change = (now.astype(np.float32) - warped(before, motion.flow))[seen] / 255
    return 1000 * float((change**2).sum(axis=-1).mean()) if seen.any() else float("nan")


def flicker(now: UInt8, before: UInt8, clean_now: UInt8, clean_before: UInt8, motion: Motion, region: Region) -> float:
    """Grey levels: rms change of the error (video minus clean) along the motion. 0 for the clean video, and for one that is
    wrong in the same way in every frame, blurred for instance; noise of deviation d that is drawn anew gives sqrt(2) d."""
    seen = motion.visible & region
    error = now.astype(np.float32) - clean_now
    earlier = before.astype(np.float32) - clean_before
    change = (error - warped(earlier, motion.flow))[seen]
    return float(np.sqrt((change**2).mean())) if seen.any() else float("nan")


def difference_error(now: UInt8, before: UInt8, clean_now: UInt8, clean_before: UInt8, region: Region) -> float:
    """Grey levels: mean ``|(x_t - x_(t-1)) - (g_t - g_(t-1))|``; no motion is compensated, no flow can be wrong."""
    own = now.astype(np.float32) - before
    clean = clean_now.astype(np.float32) - clean_before
    return float(np.abs(own - clean)[region].mean())


def flow_difference(flow: Float32, clean: Float32, region: Region) -> float:
    """tOF, px: mean distance between the motion of the video and that of the clean one."""
    return float(np.linalg.norm(flow - clean, axis=2)[region].mean())


def second_differences(points: ArrayLike) -> Float64:
    """(n, k, 2) places over time -> (n - 2, k, 2) ``p_t - 2 p_(t-1) + p_(t-2)``: zero for what moves evenly."""
    return np.asarray(np.diff(np.asarray(points, dtype=np.float64), n=2, axis=0))


def jitter(points: ArrayLike, clean: ArrayLike | None = None) -> Float64:
    """(n - 2,) mean length of the landmarks' second differences, less the clean video's own (as vectors), in their px.

    points, clean: (n, k, 2), nan rows where a face was not found (its neighbours are nan then, too). clean None: as it is.
    """
    trembling = second_differences(points)
    if clean is not None:
        trembling = trembling - second_differences(clean)
    return np.asarray(np.linalg.norm(trembling, axis=-1).mean(axis=-1))


def identity_drift(embeddings: ArrayLike) -> Float64:
    """VIDD: (n - 1,) ``1 - cos`` of neighbouring frames' embeddings (n, d). The L2 distance of the units is sqrt(2 VIDD)."""
    units = _units(embeddings)
    return np.asarray(1 - (units[1:] * units[:-1]).sum(axis=1))


def identity_spread(embeddings: ArrayLike) -> float:
    """Mean ``1 - cos`` between each frame's embedding (n, d) and the track's mean direction: slow drift counts, too."""
    units = _units(embeddings)
    units = units[np.isfinite(units).all(axis=1)]
    if not len(units):
        return float("nan")
    middle = units.mean(axis=0)
    return float(1 - (units @ (middle / max(float(np.linalg.norm(middle)), 1e-12))).mean())


def _units(embeddings: ArrayLike) -> Float64:
    vectors = np.asarray(embeddings, dtype=np.float64)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
