"""Bringing neighbouring frames together: what the shipped network makes of noise, motion, a cut and a missing frame."""

from __future__ import annotations

from tests.samples import portraits  # noqa: F401 - fixture
