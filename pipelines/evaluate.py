"""Measurement recipes: data -> rows -> figures -> report. Each returns a report that `write_report` puts into a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from iconface_video.evaluate.face_measure import measure_faces
from iconface_video.evaluate.face_metrics import FaceMetrics
from iconface_video.evaluate.face_protocol import FaceProtocol, load_held_out
from iconface_video.evaluate.face_rows import FaceModelRows, table_rows
from iconface_video.evaluate.face_settings import FaceEvaluation
from iconface_video.evaluate.faces_report import add_face_sections
from iconface_video.evaluate.report import Report
from iconface_video.pipelines.evaluate_parts import add_detector_section, add_encoder_sections
from iconface_video.types import Progress

OnProgress = Callable[[Progress], None]
CLEAN_FACES = 160
"""Unmeasured faces for NIQE's statistics and the identity's centre."""


def evaluate_faces(
    settings: FaceEvaluation, yunet: Path | None = None, command: str = "", on_progress: OnProgress | None = None
) -> Report:
    """Measure the restorer and its baselines on held-out aligned faces.

    With `yunet` (the detector's file) also how far the own detector agrees with it; the identity encoder too, where the index
    names people and `settings.skip` does not say otherwise.
    """
    rows = table_rows(settings)
    model = FaceModelRows(settings) if settings.model is not None else None
    protocol = FaceProtocol(load_held_out(settings), settings)
    metrics = FaceMetrics(settings, protocol.unused(CLEAN_FACES), protocol.gallery() if "identity" not in settings.skip else {})
    figures = measure_faces(protocol, rows, model, metrics, on_progress)
    facts = {**_plain(settings), **(model.facts if model else {}), "faces": len(protocol.choices), "people": protocol.people}
    report = Report(f"Restored faces at {settings.size} px", command, settings.seed, facts)
    report.summary = (
        f"{len(protocol.choices)} faces of {protocol.people} people of the '{settings.split}' split, "
        f"at strengths {', '.join(level.name for level in settings.levels)}."
    )
    if len(protocol.choices) < settings.count:
        report.summary += f" {settings.count} were asked for: no more of them have enough photos."
    add_face_sections(report, figures, metrics.notes)
    if "encoder" not in settings.skip and protocol.faces.people:
        add_encoder_sections(report, [Path(folder) for folder in settings.folders], seed=settings.seed, may_be_unnamed=True)
    if yunet is not None:
        add_detector_section(report, settings, yunet)
    return report


def _plain(settings: FaceEvaluation) -> dict[str, object]:
    """For the report: names instead of objects."""
    return {
        **asdict(settings),
        "levels": [level.name for level in settings.levels],
        "references": [item.name for item in settings.references],
        "skip": sorted(settings.skip),
    }
