"""Synthetic damage: single pictures for the trainers' online mix."""

from __future__ import annotations

from iconface_video.train.degradations.picture import BUCKET_WEIGHTS, degrade, sample_strength

__all__ = ["BUCKET_WEIGHTS", "degrade", "sample_strength"]
