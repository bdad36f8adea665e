"""The report on steadiness: tables over all variants, plots over time, slices through time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from iconface_video.lab.evaluate.video_measure import CLEAN, DEGRADED, FaceSeries, Measurement, longest
from iconface_video.lab.evaluate.video_summary import QUALITY, STEADINESS, Aim, Figures, Measure, aims, mean_figures
from iconface_video.lab.evaluate.video_variants import PER_FRAME, slug
from iconface_video.pages.plots import Line, Plot, Row, Sheet
from iconface_video.pages.tables import Cell, Note, Report, Section, Table, Value
from iconface_video.types import UInt8

_SLICE_PX_PER_FRAME = 4
_LONGEST_SLICE_FRAMES = 150
_MOST_LINES = 6
"""In a plot; more cannot be told apart."""
_PLOTTED = (
    ("flicker", "Flicker", "grey levels"),
    ("warp", "E_warp", "1000 x squared change"),
    ("drift", "Identity drift", "1 - cos to the frame before"),
    ("identity", "Identity", "cosine to the clean frame"),
)


@dataclass(frozen=True, eq=False)
class Case:
    """One clip with one damage."""

    clip: str
    damage: str
    figures: Mapping[str, Figures]
    """Version -> figures."""
    measurement: Measurement
    side_by_side: str | None = None
    """File, relative to the report."""
    notes: tuple[str, ...] = field(default=())

    @property
    def title(self) -> str:
        return f"{self.clip}, {self.damage}"


def fill(report: Report, cases: Sequence[Case], chosen: str, shown: Sequence[str]) -> None:
    """Add everything that was found. chosen: the variant that the aims are for.  shown: versions in plots and slices."""
    means = mean_figures([case.figures for case in cases])
    for version, figures in means.items():
        report.figures.update({f"{slug(version)}.{name}": value for name, value in figures.items()})
    wanted = aims(means, chosen)
    report.figures.update({f"aim.{slug(aim.text)}": aim.value for aim in wanted})
    section = report.section(f"What is asked of '{chosen}'", "Means over all clips and kinds of damage.")
    section.add(_aims_table("aims", wanted))
    section = report.section(
        "All variants",
        "Means over all clips and kinds of damage. All versions are cut through the clean video's crop windows. Blur wins E_warp, "
        "tOF, VIDD and jitter: read them beside the clean video's own value and beside sharpness.",
    )
    section.add(*_tables("all", means))
    for case in cases:
        _add_case(report.section(case.title), case, shown)


def _aims_table(name: str, wanted: Sequence[Aim]) -> Table:
    says = {True: "holds", False: "does not hold", None: "cannot be told"}
    rows: list[tuple[Cell, ...]] = []
    for aim in wanted:
        limit = f"{'at least' if aim.at_least else 'at most'} {aim.limit:g}"
        known = Value(aim.value, digits=3) if aim.holds is not None else None
        rows.append((aim.text, known, limit, says[aim.holds], aim.note))
    return Table(name, ("", "found", "asked", "", "note"), tuple(rows))


def _tables(name: str, figures: Mapping[str, Figures]) -> list[Table]:
    return [
        _table(f"{name}-{part}", figures, measures) for part, measures in (("steadiness", STEADINESS), ("quality", QUALITY))
    ]


def _table(name: str, figures: Mapping[str, Figures], measures: Sequence[Measure]) -> Table:
    """Rows: versions. Measures that nobody has (tLPIPS without LPIPS) are left out."""
    kept = [m for m in measures if any(np.isfinite(row.get(m.name, np.nan)) for row in figures.values())]
    rows = []
    for version, row in figures.items():
        cells: list[Cell] = [version]
        for measure in kept:
            value = row.get(measure.name, np.nan)
            cells.append(Value(value, digits=measure.digits) if np.isfinite(value) else None)
        rows.append(tuple(cells))
    caption = "; ".join(f"{m.heading}: {m.meaning}" for m in kept) + "."
    return Table(name, ("", *(m.heading for m in kept)), tuple(rows), caption)


def _add_case(section: Section, case: Case, shown: Sequence[str]) -> None:
    name = slug(case.title)
    section.add(*(Note(text) for text in case.notes))
    section.add(*_tables(name, case.figures))
    face = longest(case.measurement.faces)
    if face is None or len(face.seconds) < 2:
        return
    for figure, title, unit in _PLOTTED:
        section.add(_plot(f"{name}-{figure}", figure, f"{title}: {case.title}", unit, face, shown))
    section.add(_slices(f"{name}-slices", face, shown))
    if case.side_by_side:
        section.add(Note(f"Side by side, as a clip: {case.side_by_side}"))


def _plot(name: str, figure: str, title: str, unit: str, face: FaceSeries, shown: Sequence[str]) -> Plot:
    order = [version for version in shown if not (figure in ("flicker", "identity") and version == CLEAN)][:_MOST_LINES]
    lines = tuple(
        Line(version, face.seconds, list(face.versions[version].array(figure)), dashed=version in (CLEAN, DEGRADED))
        for version in order
    )
    return Plot(name, title, "seconds", unit, lines, markers=False)


def _slices(name: str, face: FaceSeries, shown: Sequence[str]) -> Sheet:
    """One upright line of px (an eye and a corner of the mouth lie on it) from frame to frame: time runs to the right."""
    row = Row("time runs to the right", tuple(slice_picture(face.versions[version].slices) for version in shown))
    caption = (
        "One upright line through an eye and a corner of the mouth, frame after frame to the right: flicker shows as stripes."
    )
    return Sheet(name, tuple(shown), (row,), caption)


def slice_picture(slices: Sequence[UInt8]) -> UInt8:
    """(n) lines (S, 3) -> (S, 4 n, 3)."""
    picture = np.stack(slices[:_LONGEST_SLICE_FRAMES], axis=1)
    wide = picture.shape[1] * _SLICE_PX_PER_FRAME
    return np.asarray(cv2.resize(picture, (wide, picture.shape[0]), interpolation=cv2.INTER_NEAREST), np.uint8)


def versions_to_show(versions: Sequence[str], chosen: str) -> list[str]:
    """Those for plots and slices, at most `_MOST_LINES` + 1: clean, input, the chosen one, per frame, then the others."""
    first = [name for name in (CLEAN, DEGRADED, chosen, PER_FRAME) if name in versions]
    return [*first, *(name for name in versions if name not in first)][: _MOST_LINES + 1]
