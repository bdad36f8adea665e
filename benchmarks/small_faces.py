"""How many small faces of damaged recordings are found: clean clips shrunk into a moving scene, damaged, surveyed.

    python benchmarks/small_faces.py --clips FOLDER --scenes FOLDER [--heights 16 24 32 48 64] [--presets vhs film] [--frames 40]
                                     [--faceless SECONDS [--faceless-size 360 288]] [--set NAME=VALUE ...]

Six clips at a time share a 720x576 picture. The truth is the survey of the clip as it is, large and clean, shrunk with it: a face that
is missed even in the small clean picture counts as missed. Recall is the share of the truth's frames in which a track has a box
that overlaps (IoU of .4 or more); *missed beside a track* is the share in which there is none, but one within half a second: no more than
that could another look where tracks break find. `--faceless` pans over scenes without a face under the damage of the first preset and counts tracks.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from iconface_video.degrade.clip_effects import ClipFormat, degrade_frames
from iconface_video.degrade.presets import PRESETS
from iconface_video.faces.detector import overlap
from iconface_video.settings import SurveySettings
from iconface_video.tracking.surveyor import run_survey
from iconface_video.types import Survey, Timestamp, Track, UInt8
from iconface_video.video.reader import VideoReader

WIDTH, HEIGHT, RATE = 720, 576, 25
COLUMNS, ROWS = 3, 2
OVERLAP = 0.4
FALSE_SECONDS = 0.5
BESIDE_SECONDS = 0.5
SCENE_SECONDS = 2


def write(path: Path, frames: Iterator[UInt8], size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    with av.open(str(path), "w") as target:
        film = target.add_stream("libx264", RATE, options={"qp": "4", "preset": "ultrafast"})
        film.width, film.height, film.pix_fmt = *size, "yuv420p"
        for frame in frames:
            target.mux(film.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        target.mux(film.encode(None))
    return path


def pan(photo: UInt8, frames: int, rng: np.random.Generator, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Iterator[UInt8]:
    """A slow pan over an enlarged photo."""
    scale = 1.3 * max(size[0] / photo.shape[1], size[1] / photo.shape[0])
    large = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    room = np.array([large.shape[1] - size[0], large.shape[0] - size[1]])
    start, speed = rng.uniform(0.2, 0.8, 2) * room, rng.uniform(-1.2, 1.2, 2)
    for number in range(frames):
        x, y = np.abs((start + speed * number) % (2 * room) - room)
        move = np.array([[1, 0, -x], [0, 1, -y]])
        yield cv2.warpAffine(large, move, size, flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


class Source:
    """A clip with one face, as it is, and where the face is: (n, 4) boxes, NaN where there is none."""

    def __init__(self, path: Path, frames: int) -> None:
        with VideoReader(path) as reader:
            step = Fraction(reader.info.average_rate or RATE)
            survey = run_survey(reader, SurveySettings(detect_every=1), end=Timestamp(frames, 1 / step))
        with av.open(str(path)) as film:
            self.frames = [frame.to_ndarray(format="rgb24") for frame, _ in zip(film.decode(video=0), range(frames))]
        self.boxes = np.full((len(self.frames), 4), np.nan)
        if survey.tracks:
            longest = max(survey.tracks, key=len)
            moments = np.unique(np.concatenate([track.pts for track in survey.tracks]))
            every = max(1, int(np.min(np.diff(moments))) if len(moments) > 1 else 1)
            rows = ((longest.pts - survey.first_pts) / every).round().astype(int)
            inside = rows < len(self.frames)
            self.boxes[rows[inside]] = longest.boxes[inside]
        self.height = float(np.nanmedian(self.boxes[:, 3] - self.boxes[:, 1])) if survey.tracks else 0.0


def compose(
    sources: list[Source], scene: UInt8, height: float, count: int, rng: np.random.Generator
) -> tuple[list[UInt8], Any]:
    """Frames with each clip shrunk in a cell of its own, and (clips, frames, 4) boxes of the faces."""
    cell = np.array([WIDTH // COLUMNS, HEIGHT // ROWS])
    frames = list(pan(scene, count, rng))
    truth = np.full((len(sources), count, 4), np.nan)
    for index, source in enumerate(sources):
        factor = height / source.height
        size = [max(2, round(side * factor)) for side in source.frames[0].shape[1::-1]]
        middle = np.nanmean(source.boxes[:, :2] + source.boxes[:, 2:], axis=0) / 2 * factor
        corner = (cell * (index % COLUMNS, index // COLUMNS) + cell / 2 + rng.uniform(-0.1, 0.1, 2) * cell - middle).round()
        cell0 = cell * (index % COLUMNS, index // COLUMNS)
        low, high = np.maximum(corner, cell0).astype(int), np.minimum(corner + size, cell0 + cell).astype(int)
        for number in range(min(count, len(source.frames))):
            small = cv2.resize(source.frames[number], size, interpolation=cv2.INTER_AREA)
            part = small[int(low[1] - corner[1]) : int(high[1] - corner[1]), int(low[0] - corner[0]) : int(high[0] - corner[0])]
            frames[number][low[1] : high[1], low[0] : high[0]] = part
            truth[index, number] = source.boxes[number] * factor + np.tile(corner, 2)
    return frames, truth


def lasted(track: Track, survey: Survey) -> float:
    """Seconds from a track's first picture to its last."""
    return float((int(track.pts[-1]) - int(track.pts[0])) * survey.info.time_base)


@dataclass(frozen=True)
class Score:
    """Of one or several surveys."""

    found: int = 0
    """Frames of faces that were found ..."""
    total: int = 0
    """... of so many."""
    beside: int = 0
    """Frames of faces that were missed, though a track of that face ends or begins within `BESIDE_SECONDS` of them."""
    strangers: int = 0
    """Tracks without a face that last for more than half a second."""

    def __add__(self, other: Score) -> Score:
        return Score(*(one + more for one, more in zip(astuple(self), astuple(other))))


def score(survey: Survey, truth: Any) -> Score:
    ticks = int(1 / RATE / survey.info.time_base)
    found = np.zeros(truth.shape[:2], bool)
    strangers = 0
    for track in survey.tracks:
        rows = (track.pts - survey.first_pts) // ticks  # both fields of a frame where the survey sees fields
        hits = overlap(truth[:, rows], track.boxes[None]) >= OVERLAP
        for row, hit in zip(rows, hits.T):
            found[:, row] |= hit
        near = overlap(truth[:, rows], track.boxes[None]) > 0.05
        strangers += bool(not near.any() and lasted(track, survey) > FALSE_SECONDS)
    there = ~np.isnan(truth[..., 0])
    reach = np.ones(2 * round(BESIDE_SECONDS * RATE) + 1)
    beside = np.array([np.convolve(row, reach, "full")[len(reach) // 2 :][: len(row)] > 0.5 for row in found])
    return Score(int((found & there).sum()), int(there.sum()), int((there & ~found & beside).sum()), strangers)


def surveyed(path: Path, settings: SurveySettings) -> tuple[Survey, float]:
    begun = time.process_time()
    with VideoReader(path) as reader:
        survey = run_survey(reader, settings)
    return survey, time.process_time() - begun


def scenes_without_faces(arguments: argparse.Namespace) -> list[str]:
    """Names of pictures in which the scenes' index has no face, shuffled."""
    with (arguments.scenes / "index.csv").open() as file:
        names = [row["file"] for row in csv.DictReader(file) if not row["score"]]
    return [names[index] for index in np.random.default_rng(arguments.seed).permutation(len(names))]


def picture(path: Path) -> UInt8:
    return np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])


def faceless(arguments: argparse.Namespace, settings: SurveySettings, folder: Path) -> None:
    """Piece after piece, each with a scene, a pan and a damage of its own; those that the log has are not done again."""
    names, size = scenes_without_faces(arguments), (arguments.faceless_size[0], arguments.faceless_size[1])
    preset, log = arguments.presets[0], arguments.faceless_log
    done = {int(line.split(",")[0]) for line in log.read_text().splitlines()} if log.exists() else set()
    for second in sorted(set(range(0, arguments.faceless, SCENE_SECONDS)) - done):
        name = names[second // SCENE_SECONDS % len(names)]
        rng = np.random.default_rng((arguments.seed, second))
        shown = pan(picture(arguments.scenes / name), SCENE_SECONDS * RATE, rng, size)
        damaged = degrade_frames(shown, PRESETS[preset], ClipFormat(*size, RATE), arguments.seed + second)
        survey, took = surveyed(write(folder / "faceless.mp4", damaged, size), settings)
        lengths = [f"{lasted(track, survey):.2f}" for track in survey.tracks]
        with log.open("a") as file:
            file.write(",".join([str(second), name, f"{took:.1f}", *lengths]) + "\n")
    pieces = [line.split(",") for line in log.read_text().splitlines()]
    lengths = [float(length) for piece in pieces for length in piece[3:]]
    long = sum(length > FALSE_SECONDS for length in lengths)
    spent = sum(float(piece[2]) for piece in pieces) / (SCENE_SECONDS * len(pieces))
    print(
        f"faceless, {preset}, {size[0]}x{size[1]}: {SCENE_SECONDS * len(pieces)} s of {len({piece[1] for piece in pieces})} scenes, "
        f"{len(lengths)} tracks, {long} longer than {FALSE_SECONDS} s; {spent:.2f} CPU s a second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="files or folders of clean clips with one face each")
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--heights", type=int, nargs="*", default=[16, 24, 32, 48, 64])
    parser.add_argument("--presets", nargs="*", default=["vhs", "film"])
    parser.add_argument("--without-clean", action="store_true", help="not the undamaged picture")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--faceless", type=int, default=0, metavar="SECONDS")
    parser.add_argument("--faceless-size", type=int, nargs=2, default=[WIDTH, HEIGHT], metavar=("WIDTH", "HEIGHT"))
    parser.add_argument(
        "--faceless-log", type=Path, default=Path("faceless.csv"), help="what was done already; goes on from there"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of the survey's settings")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    given = {name: type(getattr(SurveySettings(), name))(value) for name, value in (item.split("=") for item in arguments.set)}
    settings = replace(SurveySettings(min_face_px=16.0), **given)
    paths = [path for item in arguments.clips for path in (sorted(item.glob("*.mp4")) if item.is_dir() else [item])]
    sources = [source for source in (Source(path, arguments.frames) for path in paths) if source.height]
    names = scenes_without_faces(arguments)
    with tempfile.TemporaryDirectory() as name:
        print("| height | damage | recall | missed beside a track | false > .5 s | CPU s a second |\n" + "| --- " * 6 + "|")
        for height in arguments.heights if sources else []:
            for preset in (*([] if arguments.without_clean else [""]), *arguments.presets):
                total, spent = Score(), 0.0
                for first in range(0, len(sources), COLUMNS * ROWS):
                    rng = np.random.default_rng((arguments.seed, first))
                    scene = picture(arguments.scenes / names[first // (COLUMNS * ROWS)])
                    frames, truth = compose(sources[first : first + COLUMNS * ROWS], scene, height, arguments.frames, rng)
                    effects = PRESETS[preset] if preset else ()
                    damaged = degrade_frames(iter(frames), effects, ClipFormat(WIDTH, HEIGHT, RATE), arguments.seed)
                    survey, took = surveyed(write(Path(name) / "clip.mp4", damaged), settings)
                    total, spent = total + score(survey, truth), spent + took
                rate = spent / (arguments.frames / RATE * -(-len(sources) // (COLUMNS * ROWS)))
                recall, beside = total.found / total.total, total.beside / total.total
                print(
                    f"| {height} | {preset or 'none'} | {recall:.3f} | {beside:.3f} | {total.strangers} | {rate:.2f} |",
                    flush=True,
                )
        if arguments.faceless:
            faceless(arguments, settings, Path(name))


if __name__ == "__main__":
    main()
