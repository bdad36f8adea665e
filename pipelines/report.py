"""The page of a run: made from what an observer saw while the video was written."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from iconface_video.pages.html import check_page
from iconface_video.pages.report_page import SeenDamage, write_run_page
from iconface_video.session.fingerprint import read_restoration_marks
from iconface_video.session.run_report import FaceObserver, RunReport
from iconface_video.settings import RestoreSettings, RunSettings
from iconface_video.types import Float32, UInt8
from iconface_video.video.probe import probe

if TYPE_CHECKING:
    from iconface_video.models.model import IConFaceModel

__all__ = ["FaceObserver", "check_page", "page_of", "write_page"]


def page_of(output: Path) -> Path:
    """Where an output's page stands when no other place is named: ``NAME.report.html`` beside it."""
    return output.with_name(f"{output.stem}.report.html")


def write_page(path: Path, report: RunReport, observer: FaceObserver, settings: RunSettings, command: str = "") -> None:
    """Write one HTML file with everything about a run.

        observer = FaceObserver()
        report = restore_video("tape.mp4", settings=settings, observer=observer)
        write_page(page_of(report.output), report, observer, settings)

    command: the line that does it again, where there is one. Raises OutputError.
    """
    marks = read_restoration_marks(probe(report.output).metadata) if report.faces_restored else []
    facts = marks[-1] if marks else {}
    write_run_page(path, probe(report.input), report, observer, settings, facts, command, _damage_as_seen(settings.restore))


def _damage_as_seen(settings: RestoreSettings) -> SeenDamage:
    """By the run's own model, loaded when the first face is shown; nothing by one whose loading would take minutes."""

    @cache
    def model() -> IConFaceModel | None:
        from iconface_video.models.checkpoint_index import checkpoint_traits
        from iconface_video.models.checkpoints import load_model

        is_small = checkpoint_traits(settings.model).prediction == "image"
        return load_model(settings.model, settings.device) if is_small else None

    def seen(crops: UInt8) -> Float32 | None:
        own = model()
        return None if own is None else own.seen_damage(crops)

    return seen
