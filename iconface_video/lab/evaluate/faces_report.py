"""Figures of restored faces as a report: the glance first, then tables by strength, plots, sheets, what each figure means."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from iconface_video.lab.evaluate.face_measure import ANY_LEVEL, Example, FaceFigures
from iconface_video.lab.evaluate.face_metrics import METRICS
from iconface_video.lab.evaluate.face_rows import CLEAN, Baseline, main_row, sheet_columns
from iconface_video.lab.evaluate.face_settings import BUCKETS, LearntKind, ReferenceKind
from iconface_video.pages.plots import Line, Plot, Row, Sheet
from iconface_video.pages.tables import Cell, Note, Report, Section, Table, Value
from iconface_video.types import Float64

Pick = Callable[[str, str], Float64]
"""(row's key, metric's key) -> (n,) figures."""

TURNED = 20.0
"""Degrees of yaw."""
_PLOTTED = ("psnr", "ssim", "lpips", "sharpness", "niqe", "gt_id", "ref_id", "landmarks68", "landmarks")


def add_face_sections(report: Report, figures: FaceFigures, notes: list[str]) -> None:
    """Tables, plots and sheets; flat figures go into `report.figures`."""
    _add_glance(report, figures)
    for low, high in BUCKETS:
        levels = [level.name for level in figures.levels if level.is_in((low, high))]
        if levels:
            title = f"Strengths {low:g} to {high:g}"
            text = f"Each face's mean over strength {', '.join(levels)}; ± is the standard error over the faces."
            section = report.section(title, text)
            section.add(_table(figures, f"bucket-{low:g}-{high:g}", partial(figures.pooled, (low, high))))
    section = report.section("By strength", "Mean over the faces and its standard error.")
    for level in figures.levels:
        section.add(_table(figures, f"strength-{level.name}", partial(figures.of, level.name), level.name))
    _add_plots(section, figures)
    _add_turned(report, figures)
    _add_sheets(report, figures)
    _add_meaning(report, figures, notes)
    report.figures.update(_flat(figures))
    report.attachments["faces.csv"] = _each_face(figures)


def _samples(figures: FaceFigures, pick: Pick, row: str, metric: str) -> Float64:
    return figures.of(ANY_LEVEL, CLEAN, metric) if row == CLEAN else pick(row, metric)


def _table(figures: FaceFigures, name: str, pick: Pick, level: str = "", chosen: NDArray[np.bool_] | None = None) -> Table:
    """Rows are ways of restoring, columns metrics. chosen: the faces that count; all when None."""
    metrics = figures.metrics()
    rows: list[tuple[Cell, ...]] = []
    for key, title in [*((row.key, row.name) for row in figures.rows), (CLEAN, "the truth itself")]:
        samples = {metric: _samples(figures, pick, key, metric) for metric in metrics}
        if key == CLEAN and chosen is not None:
            samples = {metric: values[chosen] for metric, values in samples.items()}
        cells = [Value.of(samples[metric], METRICS[metric].digits) for metric in metrics]
        if key == CLEAN and "psnr" in metrics:
            cells[metrics.index("psnr")] = None
        rows.append((title, *cells))
    count = len(figures.labels) if chosen is None else int(chosen.sum())
    caption = f"Strength {level}, {count} faces." if level else ""
    return Table(name, ("", *(METRICS[metric].title for metric in metrics)), tuple(rows), caption)


# ---- at a glance


def _glance_lines(figures: FaceFigures) -> list[tuple[str, str, str, str, str | None]]:
    """(flat name, text, metric, row, row that is subtracted or None)."""
    keys = {row.key for row in figures.rows}
    main = main_row(figures.rows)
    best = main or "0"
    lines = [
        ("gain_psnr_0", "PSNR over the input, no reference (dB)", "psnr", "0", "input"),
        (f"gain_psnr_{main}", f"PSNR over the input, {main} references (dB)", "psnr", main or "", "input"),
        ("gain_ssim", "SSIM over the input, no reference", "ssim", "0", "input"),
        ("sharpness_0", "sharpness, no reference (share of the truth's)", "sharpness", "0", None),
        (f"sharpness_{best}", f"sharpness, {best} references (share of the truth's)", "sharpness", best, None),
        ("gt_id_over_input", "GT-ID over the input, no reference", "gt_id", "0", "input"),
        ("gt_id_by_references", f"GT-ID: what {main} references add", "gt_id", main or "", "0"),
        ("gt_id_by_wrong", "GT-ID: what photos of another person add", "gt_id", "wrong", "0"),
        ("wrong_id_by_wrong", "Wrong-ID: how far photos of another person pull towards him", "wrong_id", "wrong", "0"),
        *(
            (
                f"gt_id_by_{row.key}",
                f"GT-ID: what choosing {row.key.replace('of', ' of ')} adds to {row.way.count} at random",
                "gt_id",
                row.key,
                str(row.way.count),
            )
            for row in figures.rows
            if isinstance(row.way, ReferenceKind) and row.way.pool
        ),
        *_learnt_lines(figures),
        ("mistaken_input", "taken for another person, the input (%)", "mistaken", "input", None),
        ("mistaken_0", "taken for another person, no reference (%)", "mistaken", "0", None),
        (f"mistaken_{best}", f"taken for another person, {best} references (%)", "mistaken", best, None),
        ("gt_id_by_truth", "GT-ID: what the truth itself as reference adds", "gt_id", "truth", "0"),
        (
            "landmarks_by_references",
            f"landmark error: what {main} references add (% of the eye distance)",
            "landmarks",
            main or "",
            "0",
        ),
        ("landmarks68_by_references", f"68 landmarks: what {main} references add (%)", "landmarks68", main or "", "0"),
    ]
    shown = set(figures.metrics())
    unique = {line[0]: line for line in lines if line[2] in shown and line[3] in keys and (line[4] is None or line[4] in keys)}
    return list(unique.values())


def _learnt_lines(figures: FaceFigures) -> list[tuple[str, str, str, str, str | None]]:
    """What learning adds to showing the same number of photos; the control against that, too."""
    keys = {row.key for row in figures.rows}
    lines: list[tuple[str, str, str, str, str | None]] = []
    for way in [row.way for row in figures.rows if isinstance(row.way, LearntKind)]:
        beside = str(way.photos) if str(way.photos) in keys else main_row(figures.rows) or "0"
        who = f"another person's weights, {way.photos} photos shown" if way.is_control else f"learning from {way.photos}"
        for metric, text in (("gt_id", "GT-ID"), ("psnr", "PSNR (dB)"), ("landmarks68", "68 landmarks (%)")):
            lines.append((f"{metric}_by_{way.key}", f"{text}: what {who} adds to row '{beside}'", metric, way.key, beside))
        if not way.is_control:
            lines.append((f"gain_gt_id_{way.key}", f"GT-ID over the input, {way.name}", "gt_id", way.key, "input"))
            lines.append((f"mistaken_{way.key}", f"taken for another person, {way.name} (%)", "mistaken", way.key, None))
    return lines


def _add_turned(report: Report, figures: FaceFigures) -> None:
    """Faces that are turned aside, and the others, each by itself, where people were learnt: photos are mostly frontal."""
    if not any(isinstance(row.way, LearntKind) for row in figures.rows):
        return
    yaw = np.array(figures.yaw)
    for name, title, chosen in (
        ("turned", f"turned by more than {TURNED:g} degrees", yaw > TURNED),
        ("frontal", "all others", ~(yaw > TURNED)),
    ):
        if not chosen.any():
            continue
        section = report.section(f"Faces {title}", f"{int(chosen.sum())} of {len(yaw)} faces.")
        for level in figures.levels:
            pick = partial(_chosen, figures, level.name, chosen)
            section.add(_table(figures, f"{name}-{level.name}", pick, level.name, chosen))


def _chosen(figures: FaceFigures, level: str, chosen: NDArray[np.bool_], row: str, metric: str) -> Float64:
    return figures.of(level, row, metric)[chosen]


def _add_glance(report: Report, figures: FaceFigures) -> None:
    lines = _glance_lines(figures)
    buckets = [bucket for bucket in BUCKETS if any(level.is_in(bucket) for level in figures.levels)]
    if not lines or not buckets:
        return
    rows: list[tuple[Cell, ...]] = []
    for name, text, metric, row, minus in lines:
        cells: list[Cell] = []
        for bucket in buckets:
            samples = figures.pooled(bucket, row, metric)
            samples = samples if minus is None else samples - figures.pooled(bucket, minus, metric)
            value = Value.of(samples, METRICS[metric].digits)
            report.figures[f"{name}@{bucket[0]:g}-{bucket[1]:g}"] = None if value is None else value.mean
            cells.append(value)
        rows.append((text, *cells))
    text = "Differences are taken face by face, then averaged; ± is the standard error over the faces."
    columns = ("", *(f"strengths {low:g} to {high:g}" for low, high in buckets))
    report.section("At a glance", text).add(Table("glance", columns, tuple(rows)))


def _flat(figures: FaceFigures) -> dict[str, float]:
    """ "psnr/3@6" -> mean; the clean faces' own as "niqe/clean"."""
    found = {}
    for (level, row, metric), samples in figures.samples.items():
        kept = np.asarray(samples)[np.isfinite(samples)]
        if len(kept) and (row, metric) != (CLEAN, "psnr"):
            found[f"{metric}/{row}" + (f"@{level}" if level else "")] = float(kept.mean())
    return found


def _each_face(figures: FaceFigures) -> str:
    """CSV: a line for each face, strength and row, so that two runs can be compared face by face."""
    metrics = figures.metrics()
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["strength", "row", "face", *metrics])
    for level, row in dict.fromkeys((level, row) for level, row, _ in figures.samples):
        columns = [figures.of(level, row, metric) for metric in metrics]
        for number, label in enumerate(figures.labels):
            values = ["" if np.isnan(column[number]) else f"{column[number]:.6g}" for column in columns]
            writer.writerow([level, row, label, *values])
    return out.getvalue()


# ---- plots and sheets


def _add_plots(section: Section, figures: FaceFigures) -> None:
    if len(figures.levels) < 2:
        return
    levels = sorted(figures.levels, key=lambda level: level.middle)
    x = [level.middle for level in levels]
    for metric in (key for key in _PLOTTED if key in figures.metrics()):
        lines = []
        for row in figures.rows:
            values = [Value.of(figures.of(level.name, row.key, metric)) for level in levels]
            means = [np.nan if value is None else value.mean for value in values]
            errors = [None if value is None else value.error for value in values]
            lines.append(Line(row.name, x, means, errors, dashed=not isinstance(row.way, (ReferenceKind, LearntKind))))
        clean = Value.of(figures.of(ANY_LEVEL, CLEAN, metric))
        if clean and metric in ("niqe", "ref_id", "sharpness"):
            lines.append(Line("the truth itself", x, [clean.mean] * len(x), dashed=True))
        info = METRICS[metric]
        section.add(Plot(f"plot-{metric.replace('_', '-')}", info.title, "strength", info.title, tuple(lines)))


def _add_sheets(report: Report, figures: FaceFigures) -> None:
    if not figures.examples:
        return
    section = report.section("Pictures", "The first faces of the measurement, not chosen by their result.")
    for level in figures.levels:
        rows = figures.examples.get(level.name, [])
        if rows:
            section.add(_sheet(f"faces-{level.name}", rows, figures, f"Strength {level.name}."))
    worst = report.section("Failures", "Faces that became less like the truth than the input was, worst first.")
    for level in figures.levels:
        rows = figures.worst.get(level.name, [])
        if rows:
            worst.add(_sheet(f"worst-{level.name}", rows, figures, f"Strength {level.name}."))
    if not worst.items:
        worst.add(Note("None of the faces did."))


def _sheet(name: str, examples: list[Example], figures: FaceFigures, caption: str) -> Sheet:
    columns = sheet_columns(figures.rows)
    columns = [(key, title) for key, title in columns if any(key in example.pictures for example in examples)]
    rows = [Row(example.label, tuple(example.pictures.get(key) for key, _ in columns)) for example in examples]
    return Sheet(name, tuple(title for _, title in columns), tuple(rows), caption)


def _add_meaning(report: Report, figures: FaceFigures, notes: list[str]) -> None:
    section = report.section("What the figures mean")
    rows = tuple((METRICS[key].title, METRICS[key].text, METRICS[key].better) for key in figures.metrics())
    section.add(Table("metrics", ("", "what it is", "better"), rows))
    section.add(
        Note(
            "The face ellipse is centred at 50 % of the crop's width and 55 % of its height, with half axes of 30 % and 38 %. "
            "References of another person are photos of one other person, drawn at random for each face. "
            "The truth as reference is turned, moved, scaled and relit a little."
        )
    )
    for row in figures.rows:
        if not isinstance(row.way, ReferenceKind):
            way: Baseline | LearntKind = row.way
            section.add(Note(f"{way.name}: {way.description}"))
    section.add(*(Note(note, warning="left out" in note) for note in notes))
    times = tuple(
        (row.name, Value(figures.seconds[row.key] / (len(figures.labels) * len(figures.levels)))) for row in figures.rows
    )
    section.add(
        Table("seconds", ("", "seconds a face"), times, "On this machine, references already prepared, other work beside it.")
    )
