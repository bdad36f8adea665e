"""One folder with everything a measurement found: report.html to read, report.json to compute with, pictures/ beside them.

Used by every `evaluate` command. A report is built from sections, written once, and needs no network to be read::

    report = Report("Restorer on held-out faces", command="iconface-video evaluate ...", seed=7, settings={"size": 256})
    report.figures["gain@6"] = 0.8                                   # flat, for scripts; report.json's "figures"
    section = report.section("Strength 6", "Mean and standard error over 32 faces.")
    section.add(Table("strength-6", ("", "PSNR (dB)"), (("input", Value(27.8, 0.2)), ("restored", Value(28.6, 0.2)))))
    section.add(Plot("psnr", "PSNR", "strength", "dB", (Line("input", (6, 12), (27.8, 24.2), error=(0.2, 0.3)),)))
    section.add(Sheet("faces", ("input", "restored", "truth"), (Row("anna_1", (a, b, c)),)))
    report.attachments["faces.csv"] = "face,psnr\n..."               # written beside the page, which links to it
    section.add(Note("LPIPS was left out: the package 'lpips' is not installed."))
    write_report(report, Path("OUT"))                                # -> OUT/report.html, report.json, pictures/*

Cells of a table are text, whole numbers, `Value` (mean with an optional standard error and number of digits), or None (a dash).
Names (of tables, plots, sheets) are file names and JSON keys: lower-case words joined by "-", each used once in a report.
`check_folder` refuses a folder that must not be written to; call it before hours of work, `write_report` calls it again.
Plots need matplotlib (the extra 'evaluate').
"""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from iconface_video import __version__
from iconface_video.errors import OutputError, UsageError
from iconface_video.types import UInt8

HTML, JSON, PICTURES = "report.html", "report.json", "pictures"
_FILE_NAME = re.compile(r"[a-z0-9]+([-.][a-z0-9]+)*")
_PICTURE_ENDS = (".png", "-dark.png")
_LIBRARIES = ("torch", "numpy", "opencv-python", "scikit-image", "onnxruntime", "dlib-bin", "lpips", "av")


@dataclass(frozen=True)
class Value:
    """A measured number."""

    mean: float
    error: float | None = None
    """Standard error of the mean; None: not known (one sample, or no mean)."""
    digits: int = 3
    """Shown behind the point; report.json has them all."""

    @classmethod
    def of(cls, samples: Sequence[float] | np.ndarray, digits: int = 3) -> Value | None:
        """Mean and standard error of the samples that are finite; None without any."""
        kept = np.asarray(samples, dtype=np.float64)
        kept = kept[np.isfinite(kept)]
        if not len(kept):
            return None
        error = float(kept.std(ddof=1) / math.sqrt(len(kept))) if len(kept) > 1 else None
        return cls(float(kept.mean()), error, digits)

    def __str__(self) -> str:
        text = f"{self.mean:.{self.digits}f}"
        return text if self.error is None else f"{text} ± {self.error:.{self.digits}f}"


Cell = str | int | Value | None


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings; the first column names the row."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(
                f"table '{self.name}' has {len(self.columns)} columns, a row has {len(wrong[0])} cells: {wrong[0]}"
            )


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

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str = ""


@dataclass(frozen=True)
class Note:
    """A paragraph; `warning` puts a mark beside it."""

    text: str
    warning: bool = False


Item = Table | Plot | Sheet | Note


@dataclass
class Section:
    """A heading and what belongs under it."""

    title: str
    text: str = ""
    items: list[Item] = field(default_factory=list)

    def add(self, *items: Item) -> None:
        self.items.extend(items)


@dataclass
class Report:
    """What was measured, with what, and how to do it again."""

    title: str
    command: str
    """The command line that made it."""
    seed: int
    settings: dict[str, Any]
    """Plain values; paths become text."""
    summary: str = ""
    """A few sentences at the top."""
    figures: dict[str, Any] = field(default_factory=dict)
    """Flat name -> number, for scripts that compare reports."""
    sections: list[Section] = field(default_factory=list)
    attachments: dict[str, str] = field(default_factory=dict)
    """File name -> text of further files, such as a CSV with a line for each sample; the page links to them."""
    settings_title: str = "How it was measured"
    """Heading over the settings."""

    def section(self, title: str, text: str = "") -> Section:
        """A new section at the end."""
        self.sections.append(Section(title, text))
        return self.sections[-1]


# ---- writing


def check_folder(folder: Path, force: bool = False) -> None:
    """OutputError where `folder` is a file, or holds something and `force` is not given."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; a report is a folder. Give another name.")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise OutputError(f"{folder}: is not empty. Give another folder, or --force to replace the report in it.")


def write_report(report: Report, folder: Path, force: bool = False) -> Path:
    """Write the report; gives back the path of report.html, which is written last.

    With `force` an earlier report's files are replaced; other files of the folder stay.
    """
    from iconface_video.pages.html import page

    check_folder(folder, force)
    _check_names(report)
    try:
        (folder / HTML).unlink(missing_ok=True)
        for name in _earlier_pictures(folder / JSON):
            (folder / PICTURES / name).unlink(missing_ok=True)
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        _write_pictures(report, folder / PICTURES)
        for name, content in report.attachments.items():
            (folder / name).write_text(content, encoding="utf-8")
        text = json.dumps(to_json(report), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / JSON).write_text(text + "\n", encoding="utf-8")
        (folder / HTML).write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: the report cannot be written ({error.strerror or error})") from error
    return folder / HTML


def _earlier_pictures(summary: Path) -> list[str]:
    """File names of the plots and sheets of the report that stands there, by its own word."""
    try:
        sections = json.loads(summary.read_text(encoding="utf-8"))["sections"]
        items = [item for section in sections for item in section["items"] if item["kind"] in ("plot", "sheet")]
        names = [str(item["name"]) for item in items]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [f"{name}{end}" for name in names if _FILE_NAME.fullmatch(name) for end in _PICTURE_ENDS]


def _check_names(report: Report) -> None:
    names = [item.name for section in report.sections for item in section.items if not isinstance(item, Note)]
    for name in names:
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"'{name}' is no name for a file: lower-case letters and digits, joined by '-'")
        if names.count(name) > 1:
            raise ValueError(f"the name '{name}' is used twice in the report")


def _write_pictures(report: Report, folder: Path) -> None:
    for section in report.sections:
        for item in section.items:
            if isinstance(item, Plot):
                draw_plot(item, folder)
            elif isinstance(item, Sheet):
                # Lossless: people look for artefacts here.
                cv2.imwrite(str(folder / sheet_file(item)), sheet_picture(item)[..., ::-1])


def to_json(report: Report) -> dict[str, Any]:
    """Plain values; numbers that are not finite become null."""
    return {
        "title": report.title,
        "summary": report.summary,
        "command": report.command,
        "seed": report.seed,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "libraries": library_versions(),
        "settings": _plain(report.settings),
        "figures": _plain(report.figures),
        "sections": [_section_json(section) for section in report.sections],
    }


def library_versions() -> dict[str, str]:
    """Of those libraries that are installed and may alter a figure."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _section_json(section: Section) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    for item in section.items:
        if isinstance(item, Note):
            items.append({"kind": "note", "text": item.text, "warning": item.warning})
        elif isinstance(item, Table):
            rows = _plain(item.rows)
            items.append({"kind": "table", "name": item.name, "columns": list(item.columns), "rows": rows})
        elif isinstance(item, Plot):
            lines = [{"label": line.label, "x": line.x, "y": line.y, "error": line.error} for line in item.lines]
            items.append({"kind": "plot", "name": item.name, "title": item.title, "lines": _plain(lines)})
        else:
            picture = f"{PICTURES}/{sheet_file(item)}"
            rows = [row.label for row in item.rows]
            items.append({"kind": "sheet", "name": item.name, "file": picture, "columns": list(item.columns), "rows": rows})
    return {"title": section.title, "text": section.text, "items": items}


def _plain(value: Any) -> Any:
    if isinstance(value, Value):
        return {"mean": _plain(value.mean), "error": _plain(value.error)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value if value is None else str(value)


# ---- pictures


def picture_files(plot: Plot) -> tuple[str, str]:
    """File names of a plot's light and dark version."""
    light, dark = _PICTURE_ENDS
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
