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
"""

from __future__ import annotations

import json
import math
import mimetypes
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import cv2
import numpy as np

from iconface_video import __version__
from iconface_video.errors import OutputError
from iconface_video.files import write_whole
from iconface_video.pages.html import data_url, fill
from iconface_video.pages.plots import PICTURE_ENDS, Plot, Sheet, draw_plot, picture_files, sheet_file, sheet_picture

HTML, JSON, PICTURES = "report.html", "report.json", "pictures"
_FILE_NAME = re.compile(r"[a-z0-9]+([-.][a-z0-9]+)*")
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

    @property
    def mean_text(self) -> str:
        return f"{self.mean:.{self.digits}f}"

    @property
    def error_text(self) -> str:
        """Empty where it is not known."""
        return "" if self.error is None else f"{self.error:.{self.digits}f}"

    def __str__(self) -> str:
        return self.mean_text if self.error is None else f"{self.mean_text} ± {self.error_text}"


Cell = str | int | Value | None


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings; the first column names the row."""

    kind: ClassVar[str] = "table"
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
class Note:
    """A paragraph; `warning` puts a mark beside it."""

    kind: ClassVar[str] = "note"
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
    check_folder(folder, force)
    try:
        (folder / HTML).unlink(missing_ok=True)
        for name in _earlier_pictures(folder / JSON):
            (folder / PICTURES / name).unlink(missing_ok=True)
        _write_files(report, folder)
        page = to_html(report)
        write_whole(folder / HTML, lambda file: file.write(page.encode("utf-8")))
    except OSError as error:
        raise OutputError(f"{folder}: the report cannot be written ({error.strerror or error})") from error
    return folder / HTML


def one_file_page(report: Report) -> str:
    """The page with all its files inside. Raises OSError where there is no room to draw them."""
    with TemporaryDirectory() as folder:
        _write_files(report, Path(folder))
        return to_html(report, Path(folder))


def _write_files(report: Report, folder: Path) -> None:
    """Everything that the page refers to."""
    _check_names(report)
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    _write_pictures(report, folder / PICTURES)
    for name, content in report.attachments.items():
        (folder / name).write_text(content, encoding="utf-8")
    text = json.dumps(to_json(report), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / JSON).write_text(text + "\n", encoding="utf-8")


def to_html(report: Report, inside: Path | None = None) -> str:
    """report.html: refers to the files beside it by relative names, or holds those of the folder `inside`."""

    def url(name: str) -> str:
        if inside is None:
            return name
        return data_url((inside / name).read_bytes(), mimetypes.guess_type(name)[0] or "application/octet-stream")

    settings = {**report.settings, "seed": report.seed}
    return fill(
        "report.html",
        {
            "title": report.title,
            "report": report,
            "settings": {name: _setting_text(value) for name, value in settings.items()},
            "libraries": ", ".join(f"{name} {version}" for name, version in library_versions().items()),
            "files": (JSON, *report.attachments),
            "url": url,
            "is_one_file": inside is not None,
            "pictures": PICTURES,
            "picture_files": picture_files,
            "sheet_file": sheet_file,
        },
    )


def _setting_text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_setting_text(item) for item in value) or "none"
    return "none" if value is None else str(value)


def _earlier_pictures(summary: Path) -> list[str]:
    """File names of the plots and sheets of the report that stands there, by its own word."""
    try:
        sections = json.loads(summary.read_text(encoding="utf-8"))["sections"]
        items = [item for section in sections for item in section["items"] if item["kind"] in ("plot", "sheet")]
        names = [str(item["name"]) for item in items]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [f"{name}{end}" for name in names if _FILE_NAME.fullmatch(name) for end in PICTURE_ENDS]


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
        told: dict[str, Any] = {"kind": item.kind}
        if isinstance(item, Note):
            told.update(text=item.text, warning=item.warning)
        elif isinstance(item, Table):
            told.update(name=item.name, columns=list(item.columns), rows=_plain(item.rows))
        elif isinstance(item, Plot):
            lines = [{"label": line.label, "x": line.x, "y": line.y, "error": line.error} for line in item.lines]
            told.update(name=item.name, title=item.title, lines=_plain(lines))
        else:
            rows = [row.label for row in item.rows]
            told.update(name=item.name, file=f"{PICTURES}/{sheet_file(item)}", columns=list(item.columns), rows=rows)
        items.append(told)
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
