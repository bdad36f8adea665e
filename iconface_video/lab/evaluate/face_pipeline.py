"""Measurement recipes of single pictures: restored faces, the identity encoder, the detector. Data -> rows -> figures -> report.

Each returns a report that `write_report` puts into a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from iconface_video.errors import InputError, UsageError
from iconface_video.faces.detector import make_detector
from iconface_video.faces.identity_encoder import load_identity_encoder
from iconface_video.identity.references import read_photo
from iconface_video.lab.evaluate.face_measure import measure_faces
from iconface_video.lab.evaluate.face_metrics import FaceMetrics
from iconface_video.lab.evaluate.face_protocol import FaceProtocol, load_held_out
from iconface_video.lab.evaluate.face_rows import FaceModelRows, table_rows
from iconface_video.lab.evaluate.face_settings import FaceEvaluation, Level
from iconface_video.lab.evaluate.faces_report import add_face_sections
from iconface_video.lab.evaluate.networks import MATCH_OVERLAP, MIN_SCORE, YuNet, add_encoder_section, compare
from iconface_video.lab.train.encoder_data import ValidationFaces, load_faces
from iconface_video.pages.tables import Cell, Report, Table, Value
from iconface_video.settings import SurveySettings
from iconface_video.types import Progress, UInt8

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def evaluate_encoder(
    folders: Sequence[Path], source: str = "embedded", photos: int = 400, seed: int = 7, command: str = ""
) -> Report:
    """Verification, ROC and norms of an identity encoder on the 'val' people of each set."""
    settings = {"data": list(folders), "encoder": source, "photos": photos}
    report = Report("Identity encoder on held-out people", command, seed, settings)
    add_encoder_sections(report, folders, source, photos, seed)
    return report


def add_encoder_sections(
    report: Report,
    folders: Sequence[Path],
    source: str = "embedded",
    photos: int = 400,
    seed: int = 7,
    may_be_unnamed: bool = False,
) -> None:
    """One section for each set. A set without names of people is a UsageError, or left out where `may_be_unnamed`."""
    encoder = load_identity_encoder(source)
    for folder in folders:
        faces = load_faces([folder], None, "val")
        if faces.people < 2:
            if may_be_unnamed:
                continue
            raise UsageError(f"{folder}: the 'val' split names fewer than two people with two photos each (column 'identity')")
        section = report.section(f"Identity encoder, {folder.name}")
        held_out = ValidationFaces.prepare(faces, photos)
        rng = np.random.default_rng(seed)
        report.figures.update(add_encoder_section(section, _name(folder), held_out, encoder, rng))


def evaluate_detector(
    settings: FaceEvaluation, yunet: Path, pictures: Path | None = None, survey: SurveySettings | None = None, command: str = ""
) -> Report:
    """The settings' detector against YuNet: on clean and damaged faces (`settings`), or on whole pictures of a folder."""
    survey = survey or SurveySettings()
    facts = {"detector": survey.detector, "compared with": yunet.name, "pictures": pictures, "data": settings.folders}
    report = Report("Two detectors compared", command, settings.seed, {**facts, "size": settings.size, "count": settings.count})
    add_detector_section(report, settings, yunet, pictures, survey)
    return report


def add_detector_section(
    report: Report, settings: FaceEvaluation, yunet: Path, pictures: Path | None = None, survey: SurveySettings | None = None
) -> None:
    """One table: a row for the clean faces and for each strength, or for the folder of pictures."""
    survey = survey or SurveySettings()
    first, second = make_detector(survey), YuNet(yunet)
    rows: list[tuple[Cell, ...]] = []
    for name, group in _groups(settings, pictures):
        found = compare(first, second, group)
        shares = [
            Value(100 * share, None, 1) if share == share else None for share in (found.share_of_second, found.share_of_first)
        ]
        means = Value.of(found.overlaps), Value.of(found.distances, 2)
        rows.append((name, found.pictures, found.first_found, found.second_found, *shares, *means))
        keys = ("found of the other's", "found by the other", "iou", "landmarks")
        values = (found.share_of_second, found.share_of_first, *(None if mean is None else mean.mean for mean in means))
        report.figures.update({f"detector {key}/{name}": value for key, value in zip(keys, values)})
    a, b = survey.detector, "YuNet"
    columns = (
        "",
        "pictures",
        f"{a} found",
        f"{b} found",
        f"of {b}'s, {a} found, %",
        f"of {a}'s, {b} found, %",
        "IoU",
        "landmarks, %",
    )
    text = (
        f"A face is the same one where the boxes overlap by at least {MATCH_OVERLAP:g}; scores from {MIN_SCORE:g} count. "
        "Landmarks: mean distance, % of the eye distance."
    )
    report.section(f"Detectors: {a} and {b}", text).add(Table("detectors", columns, tuple(rows)))


def _groups(settings: FaceEvaluation, folder: Path | None) -> list[tuple[str, Iterator[UInt8]]]:
    if folder is not None:
        return [(folder.name, _photos(folder, settings.count))]
    protocol = FaceProtocol(load_held_out(settings), replace(settings, references=()))
    damaged = [(f"strength {level.name}", _damaged(protocol, level)) for level in settings.levels]
    return [("clean", (picture for batch in protocol.batches() for picture in batch.truth)), *damaged]


def _damaged(protocol: FaceProtocol, level: Level) -> Iterator[UInt8]:
    for batch in protocol.batches():
        yield from protocol.degraded(level, batch)


def _photos(folder: Path, most: int) -> Iterator[UInt8]:
    """The folder's pictures, in the order of their names."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of pictures")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    if not files:
        raise InputError(f"{folder}: holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
    return (read_photo(path) for path in files[:most])


def _name(folder: Path) -> str:
    """Of files in the report."""
    kept = "".join(c if c.isalnum() and c.isascii() else "-" for c in folder.name.lower()).strip("-")
    return "-".join(part for part in kept.split("-") if part) or "set"


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
    if model is not None:
        model.learn(protocol, on_progress)
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
    learnt = None if model is None else model.learnt
    add_face_sections(report, figures, [*metrics.notes, *([] if learnt is None else learnt.notes)])
    if learnt is not None:
        report.figures.update(
            {f"learn_seconds/{count}": float(np.median(seconds)) for count, seconds in learnt.seconds.items()}
        )
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
        "personalize": [item.name for item in settings.personalize],
        "skip": sorted(settings.skip),
    }
