"""The page of one run: a single HTML file with what was found, what became of it, pictures, and how to do it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from iconface_video.errors import OutputError
from iconface_video.files import write_whole
from iconface_video.pages.html import clock
from iconface_video.pages.plots import Row, Sheet
from iconface_video.pages.tables import Cell, Note, Report, Table, Value, one_file_page
from iconface_video.session.fingerprint import library_versions
from iconface_video.session.run_report import STILL_PX, FaceObserver, Pairs, RunReport, Still, TrackFigures
from iconface_video.settings import RunSettings
from iconface_video.types import Float32, UInt8, VideoInfo

STILLS_A_PERSON = 4
MOST_TRACKS = 300
"""Rows in the table of tracks; report.json inside the page has no more either."""
MOST_DAMAGE = 24
"""Grey levels of error that are shown as the brightest."""
SeenDamage = Callable[[UInt8], Float32 | None]
"""(B, S, S, 3) RGB -> grey levels of error that the model sees at each place, (B, h, w); None where it does not tell."""
_ANCHORS = {"user": "your photos", "track": "own clearest frames", "self": "the face itself", "": "none"}


def write_run_page(
    path: Path,
    info: VideoInfo,
    report: RunReport,
    observer: FaceObserver,
    settings: RunSettings,
    facts: Mapping[str, Any],
    command: str,
    seen_damage: SeenDamage,
) -> None:
    """Write the page, aside first. Raises OutputError.

    info: of the input.  facts: what restored the faces (of the output's own mark).  command: the line that does it again.
    """
    page = Report(
        f"{report.input.name}: faces restored" if report.faces_restored else f"{report.input.name}: no face restored",
        command,
        settings.restore.seed,
        _settings(settings),
        summary=_summary(report),
        figures=_figures(report),
        settings_title="Settings and versions",
    )
    page.section("The run").add(_run_table(info, report, facts))
    _add_people(page, observer, seen_damage)
    _add_skipped(page, report)
    if report.notes:
        page.section("Notes").add(*(Note(note) for note in report.notes))
    try:
        text = one_file_page(page)
        write_whole(path, lambda file: file.write(text.encode("utf-8")))
    except OSError as error:
        raise OutputError(f"{path}: the report cannot be written ({error.strerror or error})") from error


def _summary(report: RunReport) -> str:
    if not report.tracks:
        return "No face was found: the picture is as it was."
    skipped = sum(report.left_alone.values())
    return (
        f"{report.faces_restored} of {report.faces} faces ({_counted(report.tracks, 'track', 'tracks')}, {_counted(report.people, 'person', 'people')}) were restored, in "
        f"{report.frames_restored} of {report.frames} frames; {skipped} were left alone. A generative model made them: details "
        "may be invented."
    )


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _figures(report: RunReport) -> dict[str, Any]:
    values = report.to_dict()
    names = ("frames", "faces", "tracks", "people", "frames_restored", "faces_restored", "faces_repeated")
    return {**{name: values[name] for name in names}, **{f"seconds_{name}": value for name, value in report.seconds.items()}}


def _settings(settings: RunSettings) -> dict[str, Any]:
    """Flat, by section; the seed is the report's own."""
    flat = {f"{section}.{name}": value for section, values in asdict(settings).items() for name, value in values.items()}
    flat.pop("restore.seed", None)
    return {**flat, "libraries": ", ".join(f"{name} {version}" for name, version in library_versions().items())}


def _run_table(info: VideoInfo, report: RunReport, facts: Mapping[str, Any]) -> Table:
    width, height = info.display_size
    rate = f", {float(info.average_rate):.3f} frames a second" if info.average_rate else ""
    rows: list[tuple[Cell, ...]] = [
        ("input", str(report.input)),
        ("picture", f"{width}x{height}, {info.codec} {info.pix_fmt}{rate}{' (variable)' if info.is_vfr else ''}"),
        ("output", str(report.output)),
        ("model", str(facts.get("model", "none was needed"))),
        ("time", f"{sum(report.seconds.values()):.1f} s"),
        *((f"time: {name}", f"{seconds:.1f} s") for name, seconds in report.seconds.items()),
    ]
    if report.faces_repeated:
        rows.append(("repeated", f"{report.faces_repeated} faces in repeated frames share the result of the frame before"))
    return Table("run", ("what", ""), tuple(rows))


def _add_people(page: Report, observer: FaceObserver, seen_damage: SeenDamage) -> None:
    if not observer.tracks:
        return
    explained = (
        "Measured about once a second in the frames that were read and written. Sharpness: Laplacian deviation of the aligned "
        "face; a sharper face is not always a truer one. Likeness: cosine between the face and the person's anchor, as the "
        "program's own encoder sees it (the model was guided by that same encoder, so this is no proof of identity)."
    )
    section = page.section("People", explained)
    columns = ("person", "first", "last", "tracks", "frames", "known by", "sharpness", "likeness")
    section.add(Table("people", columns, tuple(_person_row(observer, person) for person in observer.people())))
    for number, person in enumerate(observer.people(), 1):
        stills = observer.stills(person, STILLS_A_PERSON)
        if stills:
            section.add(_stills_sheet(f"faces-{number}", observer.title(person), stills, seen_damage))
    tracks = sorted(observer.tracks.values(), key=lambda track: (track.first_seconds, track.track_id))
    section = page.section("Tracks", "One row for each face through one shot.")
    track_columns = (
        "track",
        "person",
        "from",
        "to",
        "frames",
        "face px",
        "sharpness before",
        "after",
        "likeness before",
        "after",
        "looks",
    )
    section.add(Table("tracks", track_columns, tuple(_track_row(observer, track) for track in tracks[:MOST_TRACKS])))
    if len(tracks) > MOST_TRACKS:
        section.add(Note(f"{len(tracks) - MOST_TRACKS} more tracks are not shown."))


def _stills_sheet(name: str, title: str, stills: Sequence[Still], seen_damage: SeenDamage) -> Sheet:
    rows = [
        Row("before", tuple(still.before for still in stills)),
        Row("after", tuple(still.after for still in stills)),
    ]
    caption = f"{title}: above before, below after"
    damage = seen_damage(np.stack([still.before for still in stills]))
    if damage is not None:
        rows.append(Row("seen as wrong", tuple(_as_heat(item) for item in damage)))
        caption += (
            f"; last what the model takes for wrong before it begins: black nothing, yellow {MOST_DAMAGE} grey levels or more. "
            "Where it sees little, little is changed"
        )
    return Sheet(name, tuple(clock(still.seconds) for still in stills), tuple(rows), caption=caption)


def _as_heat(damage: Float32) -> UInt8:
    """Grey levels of error (h, w) -> (`STILL_PX`, `STILL_PX`, 3) RGB."""
    levels = np.clip(damage * (255 / MOST_DAMAGE), 0, 255).astype(np.uint8)
    large = cv2.resize(levels, (STILL_PX, STILL_PX), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB), np.uint8)


def _person_row(observer: FaceObserver, person: int | None) -> tuple[Cell, ...]:
    tracks = [track for track in observer.tracks.values() if track.person == person]
    sharp, like = Pairs(), Pairs()
    for track in tracks:
        sharp += track.sharpness
        like += track.likeness
    known = sorted({_ANCHORS[track.anchor] for track in tracks})
    first, last = min(track.first_seconds for track in tracks), max(track.last_seconds for track in tracks)
    frames = sum(track.frames for track in tracks)
    facts = clock(first), clock(last), len(tracks), frames, ", ".join(known)
    return (observer.title(person), *facts, _change(sharp, 1), _change(like, 2))


def _track_row(observer: FaceObserver, track: TrackFigures) -> tuple[Cell, ...]:
    size = Value(track.height_px, digits=0)
    where = clock(track.first_seconds), clock(track.last_seconds), track.frames, size
    looks = track.sharpness.count
    return (
        str(track.track_id),
        observer.title(track.person),
        *where,
        *_cells(track.sharpness, 1),
        *_cells(track.likeness, 2),
        looks,
    )


def _change(pairs: Pairs, digits: int) -> Cell:
    """ "6.3 → 9.1"."""
    means = pairs.means
    return None if means is None else f"{means[0]:.{digits}f} → {means[1]:.{digits}f}"


def _cells(pairs: Pairs, digits: int) -> tuple[Cell, Cell]:
    means = pairs.means
    return (None, None) if means is None else (Value(means[0], digits=digits), Value(means[1], digits=digits))


def _add_skipped(page: Report, report: RunReport) -> None:
    if not report.left_alone and not report.not_tracked:
        return
    section = page.section("Left alone", "Faces that the model did not touch, and why.")
    rows = [(reason, count, "each frame counts") for reason, count in sorted(report.left_alone.items())]
    rows += [(reason, count, "each face counts once") for reason, count in sorted(report.not_tracked.items())]
    section.add(Table("left-alone", ("reason", "faces", ""), tuple(rows)))
