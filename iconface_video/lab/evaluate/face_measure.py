"""Runs every row at every strength over all faces, a batch at a time; keeps figures of each face and a few pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from iconface_video.faces.quality import pose
from iconface_video.lab.evaluate.face_metrics import METRICS, FaceMetrics
from iconface_video.lab.evaluate.face_protocol import EvaluationBatch, FaceProtocol
from iconface_video.lab.evaluate.face_rows import CLEAN, FaceModelRows, TableRow, sheet_columns
from iconface_video.lab.evaluate.face_settings import FaceEvaluation, LearntKind, Level, ReferenceKind
from iconface_video.types import Float64, Progress, UInt8

OnProgress = Callable[[Progress], None]
ANY_LEVEL = ""
"""Level of the clean faces' own row."""
WORST_KEPT = 4


@dataclass(frozen=True, eq=False)
class Example:
    """One face at one strength, as every row shows it."""

    label: str
    pictures: dict[str, UInt8]
    """Key of the row -> (S, S, 3); also "clean", "right photo", "wrong photo" (a reference each, where there is one)."""
    loss: float = 0.0
    """How much worse than the input it became."""


@dataclass
class FaceFigures:
    """What was measured."""

    levels: tuple[Level, ...]
    rows: list[TableRow]
    samples: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    """(level's name, row's key, metric's key) -> one figure for each face, NaN where it has none."""
    labels: list[str] = field(default_factory=list)
    """Of the faces: file names."""
    yaw: list[float] = field(default_factory=list)
    """Of the faces: how far they are turned aside, degrees; NaN where it was not measured."""
    examples: dict[str, list[Example]] = field(default_factory=dict)
    """Level's name -> the first faces."""
    worst: dict[str, list[Example]] = field(default_factory=dict)
    """Level's name -> the faces that the model made worst, worst first."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Row's key -> time for all its faces."""

    def metrics(self) -> list[str]:
        """Keys that were measured, in the order of the tables."""
        return list(dict.fromkeys(metric for _, _, metric in self.samples))

    def of(self, level: str, row: str, metric: str) -> Float64:
        """(n,) figures; NaN where not measured."""
        return np.array(self.samples.get((level, row, metric), [np.nan] * len(self.labels)))

    def pooled(self, bucket: tuple[float, float], row: str, metric: str) -> Float64:
        """(n,) each face's mean over the bucket's levels, so that the standard error is over faces."""
        names = [level.name for level in self.levels if level.is_in(bucket)]
        return np.mean([self.of(name, row, metric) for name in names], axis=0)

    def add(self, level: str, row: str, figures: dict[str, Float64]) -> None:
        for metric, values in figures.items():
            self.samples.setdefault((level, row, metric), []).extend(values.tolist())


def measure_faces(
    protocol: FaceProtocol,
    rows: list[TableRow],
    model: FaceModelRows | None,
    metrics: FaceMetrics,
    on_progress: OnProgress | None = None,
) -> FaceFigures:
    """Everything that the settings of `protocol` ask for."""
    settings = protocol.settings
    figures = FaceFigures(settings.levels, rows)
    total = len(protocol.choices) * len(settings.levels)
    for batch in protocol.batches():
        figures.labels += [protocol.faces.files[choice.truth].rsplit("/", 1)[-1] for choice in batch.choices]
        facts = metrics.facts(batch)
        figures.yaw += (
            [float("nan")] * len(batch.truth) if facts.landmarks is None else np.abs(pose(facts.landmarks).yaw).tolist()
        )
        figures.add(ANY_LEVEL, CLEAN, metrics.measure(batch.truth, facts))
        prepared = model.prepare(batch) if model else None
        for number, level in enumerate(settings.levels):
            sources = protocol.degraded(level, batch)
            shown: dict[str, UInt8] = {}
            for row in rows:
                begun = time.perf_counter()
                if isinstance(row.way, (ReferenceKind, LearntKind)):
                    assert model is not None
                    assert prepared is not None
                    shown[row.key] = model.restore(sources, prepared, row.way)
                else:
                    shown[row.key] = row.way.restore(sources)
                figures.seconds[row.key] = figures.seconds.get(row.key, 0.0) + time.perf_counter() - begun
                figures.add(level.name, row.key, metrics.measure(shown[row.key], facts))
            _keep_examples(figures, settings, level, batch, shown)
            if on_progress:
                done = batch.first * len(settings.levels) + (number + 1) * len(batch.truth)
                on_progress(Progress("evaluate", done, total, "faces"))
    return figures


def _keep_examples(
    figures: FaceFigures, settings: FaceEvaluation, level: Level, batch: EvaluationBatch, shown: dict[str, UInt8]
) -> None:
    """The first faces, and those whose likeness (or, without it, PSNR) fell most below the input's."""
    if "sheets" in settings.skip or level not in sheet_levels(settings.levels):
        return
    metric = "gt_id" if "gt_id" in figures.metrics() else "psnr"
    judged = _judged_row(figures.rows)
    first = figures.examples.setdefault(level.name, [])
    worst = figures.worst.setdefault(level.name, [])
    kept = {key for key, _ in sheet_columns(figures.rows)}
    for k in range(len(batch.truth)):
        number = batch.first + k
        loss = 0.0
        if judged:
            before, after = (figures.samples[level.name, row, metric][number] for row in ("input", judged))
            loss = before - after
        pictures = {key: pictures[k] for key, pictures in shown.items() if key in kept} | {CLEAN: batch.truth[k]}
        pictures |= {f"{kind} photo": batch.references[kind][k][0] for kind in ("right", "wrong") if batch.references[kind][k]}
        label = f"{figures.labels[number]}, {METRICS[metric].title} {-loss:+.3f} against the input"
        example = Example(label, pictures, loss)
        if len(first) < settings.sheet_rows:
            first.append(example)
        if loss > 0:
            worst.append(example)
    worst.sort(key=lambda item: -item.loss)
    del worst[WORST_KEPT:]


def sheet_levels(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """Which levels have sheets of pictures: all of up to three, else the weakest, the middle one and the strongest."""
    ordered = sorted(levels, key=lambda level: level.middle)
    return tuple(ordered) if len(ordered) <= 3 else (ordered[0], ordered[len(ordered) // 2], ordered[-1])


def _judged_row(rows: list[TableRow]) -> str | None:
    """The model's row with the most photos of the right person."""
    kinds = [row.way for row in rows if isinstance(row.way, ReferenceKind) and row.way.kind == "right"]
    return max(kinds, key=lambda item: item.count).key if kinds else None
