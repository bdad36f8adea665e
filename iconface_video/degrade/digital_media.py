"""Recordings that were digital from the beginning: a camera's sensor, DV's lost blocks.

Where the figures come from: DV (IEC 61834) has 25 Mbit/s for 720x576 at 25 frames, 2.4 bits a px, each frame by itself, in
blocks of 8 x 8; what cannot be corrected is played from the frame before, in macroblocks (in 4:2:0 of 16 x 16 px). Standard
definition television had 3 to 5 Mbit/s of MPEG-2 (0.3 to 0.5 bits a px, groups of half a second); telephones of the 2000s
recorded 0.05 to 0.1. A sensor's noise is Poisson's: its deviation goes with the root of the light, and behind the camera's
own denoising it hangs together over a few px. How dark and how noisy a room was is chosen by eye.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from iconface_video.degrade.clip_effects import ClipFormat, Frames, Wander
from iconface_video.types import UInt8


@dataclass(frozen=True)
class Sensor:
    """A small sensor in a dim room: less light, noise that grows with its root, soft denoising, an exposure that hunts."""

    exposure: float = 0.75
    """Share of the light that is left, of codes."""
    noise: float = 7.0
    """rms in grey levels at code 128."""
    noise_px: float = 0.9
    """Deviation of the blur that the camera's denoising leaves in it, in px of the clip."""
    color_noise: float = 0.5
    """Share of it that differs between the colors."""
    hunting: float = 0.03
    """rms of slow changes of the exposure, share."""

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        hunt = Wander(rng, memory=20)
        root = np.sqrt(np.arange(256, dtype=np.float32) / 128 + 0.05)
        table = np.repeat(root[None, :, None], 3, axis=2)
        # What the blur takes off is given back.
        gain = self.noise * np.sqrt(4 * np.pi * max(self.noise_px, 0.28) ** 2)
        own, common = np.sqrt(self.color_noise), np.sqrt(1 - self.color_noise)
        mixing = np.float32(gain * np.hstack([own * np.eye(3), np.full((3, 1), common)]))
        for frame in frames:
            dim = cv2.convertScaleAbs(frame, alpha=self.exposure * (1 + self.hunting * float(hunt.step()[0])))
            noise = rng.standard_normal((clip.height, clip.width, 4), dtype=np.float32)
            noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), self.noise_px))
            noise = np.asarray(cv2.transform(noise, mixing), np.float32)
            noise *= np.asarray(cv2.LUT(dim, table))
            noise += dim
            noise += np.float32(0.5)
            yield np.clip(noise, 0, 255, out=noise).astype(np.uint8)


@dataclass(frozen=True)
class LostBlocks:
    """Digital dropouts: macroblocks of `block_px` that are shown from the frame before, in runs along a row of them."""

    rate: float = 1.0
    """Runs a frame, on average."""
    block_px: int = 16
    run: float = 4.0
    """Blocks in a run, on average."""

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        before: UInt8 | None = None
        side = self.block_px
        for frame in frames:
            shown = frame
            for _ in range(int(rng.poisson(self.rate))):
                count = 1 + int(rng.exponential(self.run))
                row, start = int(rng.integers(-(-clip.height // side))) * side, int(rng.integers(-(-clip.width // side))) * side
                if before is None:
                    continue
                shown = frame.copy() if shown is frame else shown
                box = np.s_[row : row + side, start : start + side * count]
                shown[box] = before[box]
            yield shown
            before = shown
