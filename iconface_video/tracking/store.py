"""A survey in a folder: small text for people, array files per shot for programs. Nothing in it is pickled.

shots.yaml         shots with PTS and, for people, seconds
survey.json        the video's facts, counts, and the tracks' small fields
tracks-0007.npz    the arrays of shot 7's tracks, named "<track id>.<field>"; only for shots that have tracks

A stretch of a survey, for a run over a part of the clip.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml

from iconface_video.errors import StoreError
from iconface_video.files import read_arrays, write_whole
from iconface_video.types import ClockReset, ColorTags, Shot, StreamInfo, Survey, Track, VideoInfo

FORMAT = 1
_SUMMARY, _SHOTS = "survey.json", "shots.yaml"
SURVEY_FILES = (_SUMMARY, _SHOTS, "tracks-[0-9]*.npz")
"""Names of what `save_survey` writes, as patterns."""
_ARRAYS = (
    "pts", "boxes", "landmarks", "scores", "parameters", "quality", "fade", "embeddings", "embedding_pts", "sharpness",
)  # fmt: skip
_NUMBERS = ("track_id", "shot", "birth_pts", "birth_order", "person")


def save_survey(survey: Survey, folder: Path) -> None:
    """Write a survey; an older one in the same folder is replaced file by file, its summary last.

    Raises StoreError when the folder cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {_tracks_file(track.shot) for track in survey.tracks}
        for old in folder.glob("tracks-*.npz"):
            if old.name not in kept:
                old.unlink()
        for name in sorted(kept):
            tracks = [track for track in survey.tracks if _tracks_file(track.shot) == name]
            arrays = {f"{track.track_id}.{key}": getattr(track, key) for track in tracks for key in _ARRAYS}
            write_whole(folder / name, partial(_save_arrays, arrays))
        write_whole(folder / _SHOTS, lambda file: file.write(_shots_text(survey).encode()))
        write_whole(folder / _SUMMARY, lambda file: file.write(json.dumps(_summary(survey), indent=1).encode()))
    except OSError as error:
        raise StoreError(f"{folder}: the survey cannot be written there ({error}). Choose another work folder.") from error


def load_survey(folder: Path) -> Survey:
    """Read what `save_survey` wrote. Raises StoreError when there is none, or it is damaged or of another version."""
    folder = Path(folder)
    try:
        summary = json.loads((folder / _SUMMARY).read_text())
        if summary.get("format") != FORMAT:
            raise StoreError(
                f"{folder}: its survey has format {summary.get('format')!r}, this program reads format {FORMAT}. Survey the video again."
            )
        shots = yaml.safe_load((folder / _SHOTS).read_text())["shots"]
        return Survey(
            info=_info_from(summary["video"]),
            shots=tuple(Shot(item["index"], item["first_pts"], item["last_pts"]) for item in shots),
            tracks=_load_tracks(folder, summary["tracks"], len(shots)),
            frame_count=summary["frame_count"],
            first_pts=summary["first_pts"],
            last_pts=summary["last_pts"],
            skipped=summary["skipped"],
        )
    except FileNotFoundError as error:
        raise StoreError(f"{folder}: no complete survey there, {error.filename} is missing. Survey the video first.") from error
    except StoreError:
        raise
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError,
            yaml.YAMLError) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        raise StoreError(
            f"{folder}: its survey is damaged ({type(error).__name__}: {reason}). Delete the folder and survey the video again."
        ) from error


def _tracks_file(shot: int) -> str:
    return f"tracks-{shot:04d}.npz"


def _save_arrays(arrays: dict[str, Any], file: IO[bytes]) -> None:
    np.savez_compressed(file, allow_pickle=False, **arrays)


def _shots_text(survey: Survey) -> str:
    base = survey.info.time_base
    shots = [
        asdict(shot)
        | {"from_seconds": round(float(shot.first_pts * base), 3), "to_seconds": round(float(shot.last_pts * base), 3)}
        for shot in survey.shots
    ]
    return yaml.safe_dump({"shots": shots}, sort_keys=False)


def _summary(survey: Survey) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "frame_count": survey.frame_count,
        "first_pts": survey.first_pts,
        "last_pts": survey.last_pts,
        "skipped": survey.skipped,
        "tracks": [{name: getattr(track, name) for name in _NUMBERS} for track in survey.tracks],
        "video": {item.name: _plain(getattr(survey.info, item.name)) for item in fields(VideoInfo)},
    }


def _plain(value: Any) -> Any:
    """One field of VideoInfo as JSON holds it."""
    if isinstance(value, (Fraction, Path)):
        return str(value)
    if isinstance(value, ColorTags):
        return asdict(value)
    if isinstance(value, tuple):
        return [asdict(item) if isinstance(item, (StreamInfo, ClockReset)) else item for item in value]
    return value


def _info_from(values: dict[str, Any]) -> VideoInfo:
    known = dict(values)
    known["path"] = Path(known["path"])
    for name in ("time_base", "average_rate", "sample_aspect_ratio"):
        known[name] = None if known[name] is None else Fraction(known[name])
    known["color"] = ColorTags(**known["color"])
    known["streams"] = tuple(StreamInfo(**item) for item in known["streams"])
    known["clock_resets"] = tuple(_reset_from(item) for item in known.get("clock_resets", ()))
    if known.get("display_matrix") is not None:
        known["display_matrix"] = tuple(known["display_matrix"])
    return VideoInfo(**known)


def _reset_from(values: dict[str, Any]) -> ClockReset:
    starts = tuple((int(stream), int(position)) for stream, position in values["starts"])
    return ClockReset(int(values["pts"]), int(values["offset"]), int(values["position"]), starts)


def _load_tracks(folder: Path, entries: list[dict[str, Any]], shots: int) -> tuple[Track, ...]:
    tracks: dict[int, Track] = {}
    for shot in sorted({entry["shot"] for entry in entries}):
        if not 0 <= shot < shots:
            raise ValueError(f"a track belongs to shot {shot}, there are {shots}")
        arrays = read_arrays(folder / _tracks_file(shot))
        for entry in entries:
            if entry["shot"] == shot:
                columns: dict[str, Any] = {key: arrays[f"{entry['track_id']}.{key}"] for key in _ARRAYS}
                track = Track(**{name: entry[name] for name in _NUMBERS}, **columns)
                _check_track(track)
                tracks[entry["track_id"]] = track
    return tuple(tracks[entry["track_id"]] for entry in entries)


def _check_track(track: Track) -> None:
    """ValueError unless the columns belong together."""
    rows, sampled = len(track.pts), len(track.embedding_pts)
    shapes = {
        "pts": (rows,), "boxes": (rows, 4), "landmarks": (rows, 5, 2), "scores": (rows,), "parameters": (rows, 4),
        "quality": (rows,), "fade": (rows,), "sharpness": (rows,), "embedding_pts": (sampled,),
    }  # fmt: skip
    for name, shape in shapes.items():
        values = getattr(track, name)
        if values.shape != shape or values.dtype.kind not in "if":
            raise ValueError(f"{name} of track {track.track_id} is {values.dtype} {values.shape}, must be numbers {shape}")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} of track {track.track_id} holds values that are not finite")
    if not rows or (np.diff(track.pts) <= 0).any():
        raise ValueError(f"the times of track {track.track_id} do not rise")
    if track.embeddings.ndim != 2 or len(track.embeddings) != sampled:
        raise ValueError(f"track {track.track_id} has {track.embeddings.shape} embeddings for {sampled} times")


_ROWS = ("pts", "boxes", "landmarks", "scores", "parameters", "quality", "fade", "sharpness")


def part_of_survey(survey: Survey, first_pts: int, last_pts: int) -> Survey:
    """What stands between two PTS, both inclusive. Tracks keep their ids, keys, people and embeddings; shots before the
    stretch stay, so that the others keep their places.

    The number of frames is worked out from the mean interval between frames; it is for progress alone.
    """
    first, last = max(first_pts, survey.first_pts), min(last_pts, survey.last_pts)
    interval = max(1.0, (survey.last_pts - survey.first_pts) / max(1, survey.frame_count - 1))
    tracks = [part for track in survey.tracks if (part := _part_of_track(track, first, last)) is not None]
    return replace(
        survey,
        tracks=tuple(tracks),
        shots=tuple(replace(shot, last_pts=min(shot.last_pts, last)) for shot in survey.shots if shot.first_pts <= last),
        frame_count=max(1, round((last - first) / interval) + 1),
        first_pts=first,
        last_pts=last,
    )


def _part_of_track(track: Track, first: int, last: int) -> Track | None:
    begin, end = (int(row) for row in np.searchsorted(track.pts, [first, last + 1]))
    if begin == end:
        return None
    return replace(track, **{name: getattr(track, name)[begin:end] for name in _ROWS})
