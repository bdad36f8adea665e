"""Synthetic damage: `degrade` for single pictures (the trainers' online mix), effects and presets for whole clips (`clip`, `film`, `codec`,
`presets`), and both applied to files (`files`).

Touch freely: new effects and presets. With care: what a strength means, since measurements at one strength are compared between releases.
"""

from __future__ import annotations

from iconface_video.degrade.picture import BUCKET_WEIGHTS, damaged_in_part, degrade, sample_strength

__all__ = ["BUCKET_WEIGHTS", "damaged_in_part", "degrade", "sample_strength"]
