"""What a report shows beside its tables: plots, and sheets of pictures side by side. Both become PNG files.

Plots need matplotlib (the extra 'evaluate').
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from iconface_video.errors import UsageError
from iconface_video.types import UInt8

PICTURE_ENDS = (".png", "-dark.png")
"""Of a plot's light and dark version; a sheet has the first alone."""


@dataclass(frozen=True)
class Line:
    """One line of a plot."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float | None] | None = None
    """Standard errors, drawn as bars."""
    dashed: bool = False


@dataclass(frozen=True)
class Plot:
    """Lines over a common axis."""

    kind: ClassVar[str] = "plot"
    name: str
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    caption: str = ""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    markers: bool = True


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a sheet."""

    label: str
    pictures: tuple[UInt8 | None, ...]
    """(h, w, 3) RGB, all of one size within a sheet; None leaves the place empty."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """Pictures to look at, side by side under headings; becomes one PNG with the headings in it."""

    kind: ClassVar[str] = "sheet"
    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str = ""


def picture_files(plot: Plot) -> tuple[str, str]:
    """File names of a plot's light and dark version."""
    light, dark = PICTURE_ENDS
    return f"{plot.name}{light}", f"{plot.name}{dark}"


def sheet_file(sheet: Sheet) -> str:
    """File name of a sheet."""
    return f"{sheet.name}.png"


def draw_plot(plot: Plot, folder: Path) -> None:
    """Two PNGs, for a light and a dark page."""
    try:
        from matplotlib import rc_context, style
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("plots need matplotlib: pip install 'iconface-video[evaluate]'") from error
    for file, theme in zip(picture_files(plot), ("default", "dark_background")):
        with rc_context(), style.context(theme):
            figure = Figure(figsize=(6.4, 3.8), layout="constrained")
            axes = figure.add_subplot()
            for line in plot.lines:
                errors = None if line.error is None else [0.0 if e is None else e for e in line.error]
                mark, dash = "o" if plot.markers else "", "--" if line.dashed else "-"
                axes.errorbar(
                    line.x, line.y, yerr=errors, label=line.label, marker=mark, linestyle=dash, markersize=4, capsize=2
                )
            axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
            axes.set_xlim(plot.x_range)
            axes.set_ylim(plot.y_range)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)
            figure.savefig(folder / file, dpi=110)


_HEADING_PX, _LABEL_PX, _GAP_PX = 22, 18, 4


def sheet_picture(sheet: Sheet) -> UInt8:
    """The sheet as one picture: headings on top, each row's label above it."""
    shapes = {picture.shape for row in sheet.rows for picture in row.pictures if picture is not None}
    if len(shapes) != 1 or any(len(row.pictures) != len(sheet.columns) for row in sheet.rows):
        raise ValueError(f"sheet '{sheet.name}': pictures of one size, as many in each row as headings; got sizes {shapes}")
    height, width, _ = shapes.pop()
    step_x, step_y = width + _GAP_PX, height + _LABEL_PX
    out = np.full((_HEADING_PX + step_y * len(sheet.rows), step_x * len(sheet.columns) - _GAP_PX, 3), 255, np.uint8)
    for column, text in enumerate(sheet.columns):
        _write(out, text, column * step_x, 15, width)
    for index, row in enumerate(sheet.rows):
        top = _HEADING_PX + index * step_y + _LABEL_PX
        _write(out, row.label, 0, top - 5, out.shape[1])
        for column, picture in enumerate(row.pictures):
            if picture is not None:
                out[top : top + height, column * step_x : column * step_x + width] = picture
    return out


def _write(picture: UInt8, text: str, x: int, baseline: int, most_px: int) -> None:
    text = text.encode("ascii", "replace").decode()
    scale = 0.45
    (needed, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    scale *= min(1.0, most_px / max(1, needed))
    cv2.putText(picture, text, (x, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, (40, 40, 40), 1, cv2.LINE_AA)
