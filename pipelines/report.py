"""The page of a run: made from what an observer saw while the video was written."""

from __future__ import annotations

from pathlib import Path

from iconface_video.pages.html import check_page
from iconface_video.pages.report_page import write_run_page
from iconface_video.session.fingerprint import read_restoration_marks
from iconface_video.session.run_report import FaceObserver, RunReport
from iconface_video.settings import RunSettings
from iconface_video.video.probe import probe

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
    write_run_page(path, probe(report.input), report, observer, settings, marks[-1] if marks else {}, command)
