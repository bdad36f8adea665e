"""How often `probe --kind` is right: clips and moving crops of photos, each through every preset of `degrade`.

    python benchmarks/kind_of_recording.py --clips FOLDER --scenes FOLDER [--crops 24] [--seed 1] [-o kinds.csv]

The damage is this project's own: the figures say how well the measures read it, not how real tapes and reels fare.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import av
import cv2
import numpy as np

from iconface_video.degrade.clip_effects import ClipFormat, degrade_frames
from iconface_video.degrade.presets import PRESETS
from iconface_video.types import UInt8
from iconface_video.video.kind import KINDS, judge
from iconface_video.video.kind_measures import measures_of_runs

TRUTH = {
    "light": "camera", "medium": "camera", "heavy": "camera", "dv": "camera", "phone": "camera",
    "vhs": "tape", "vhs-sp": "tape", "vhs-lp": "tape", "vhs-ep": "tape", "vhs-copy": "tape", "video8": "tape", "hi8": "tape",
    "film": "film", "8mm": "film", "super8": "film", "super8-faded": "film", "16mm": "film", "16mm-bw": "film",
    "broadcast": "broadcast",
}  # fmt: skip
"""What each preset stands for; light, medium and heavy are what codecs and poor lenses leave of a camera's picture."""
SIZE, ENLARGED, MOST_LINES = (512, 384), 1.4, 432
FRAMES = 22
RUNS = (slice(3, 12), slice(12, 21))
"""Of the damaged frames: what is looked at."""

Clip = tuple[str, float, list[UInt8]]
"""Name, frames a second, frames."""


def moving_crop(photo: UInt8, rng: np.random.Generator) -> tuple[float, list[UInt8]]:
    """A pan or a hand that shakes slowly, over one photo."""
    rate = float(rng.choice([25, 30]))
    width, height = SIZE
    scale = max(ENLARGED, 1.15 * width / photo.shape[1], 1.15 * height / photo.shape[0])
    large = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    room = np.array([large.shape[1] - width, large.shape[0] - height]) / 2
    start, pan = rng.uniform(-0.4, 0.4, 2) * room, rng.uniform(-1.2, 1.2, 2) * float(rng.random() < 0.6)
    shake, place, speed = float(rng.choice([0.0, 0.3])), np.zeros(2), np.zeros(2)
    frames = []
    for number in range(FRAMES):
        speed = 0.9 * speed + shake * rng.normal(0, 1, 2)
        place = np.clip(place + speed, -0.4 * room, 0.4 * room)
        at = room + start + pan * number + place
        move = np.array([[1, 0, -at[0]], [0, 1, -at[1]]])
        frames.append(cv2.warpAffine(large, move, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101))
    return rate, frames


def stretch(path: Path, start: float) -> tuple[float, list[UInt8]]:
    """Frames of a clip from `start` seconds on, of at most MOST_LINES lines."""
    with av.open(str(path)) as source:
        film = source.streams.video[0]
        rate = float(film.average_rate or 25)
        frames: list[UInt8] = []
        for picture in source.decode(film):
            if float(picture.time or 0) < start:
                continue
            frame = picture.to_ndarray(format="rgb24")
            share = min(1.0, MOST_LINES / frame.shape[0])
            size = (2 * round(frame.shape[1] * share / 2), 2 * round(frame.shape[0] * share / 2))
            frames.append(np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA)))
            if len(frames) == FRAMES:
                break
    return rate, frames


def sources(arguments: argparse.Namespace) -> Iterator[Clip]:
    rng = np.random.default_rng(arguments.seed)
    photos = sorted(arguments.scenes.glob("*.jpg")) if arguments.scenes else []
    for index in rng.permutation(len(photos))[: arguments.crops]:
        photo = np.ascontiguousarray(cv2.imread(str(photos[index]))[:, :, ::-1])
        yield photos[index].stem, *moving_crop(photo, rng)
    for clip in sorted(arguments.clips.glob("*.mp4")) if arguments.clips else []:
        yield clip.stem, *stretch(clip, float(rng.uniform(0.3, 1.5)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--crops", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--presets", nargs="*", default=list(TRUTH))
    parser.add_argument("-o", "--output", type=Path, default=Path("kinds.csv"))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    table: Counter[tuple[str, str]] = Counter()
    spent: list[float] = []
    with arguments.output.open("w", newline="") as file:
        rows = None
        for number, (name, rate, frames) in enumerate(sources(arguments)):
            for place, preset in enumerate(("", *arguments.presets)):
                seed = arguments.seed * 100_000 + number * 100 + place
                clip = ClipFormat(frames[0].shape[1], frames[0].shape[0], rate)
                damaged = list(degrade_frames(iter(frames), PRESETS[preset] if preset else (), clip, seed))
                begun = time.process_time()
                found = measures_of_runs([damaged[run] for run in RUNS], rate)
                assert found is not None  # there are two runs
                verdict = judge(found)
                spent.append(time.process_time() - begun)
                row = {"clip": name, "preset": preset, "kind": verdict.kind, "why": verdict.sentence, **asdict(found)}
                if rows is None:
                    rows = csv.DictWriter(file, list(row))
                    rows.writeheader()
                rows.writerow(row)
                file.flush()
                table[preset, verdict.kind] += 1
    show(table, arguments.presets)
    print(f"CPU seconds a clip: median {np.median(spent):.2f}, most {max(spent):.2f}")


def show(table: Counter[tuple[str, str]], presets: list[str]) -> None:
    print("| damage | is | " + " | ".join(KINDS) + " |\n| --- | --- |" + " --- |" * len(KINDS))
    for preset in ("", *presets):
        counts = " | ".join(str(table[preset, kind] or "") for kind in KINDS)
        print(f"| {preset or 'none'} | {TRUTH.get(preset, '')} | {counts} |")
    right = sum(table[preset, TRUTH[preset]] for preset in presets)
    total = sum(count for (preset, _), count in table.items() if preset)
    print(f"right: {right} of {total}, {100 * right / max(1, total):.1f} %")


if __name__ == "__main__":
    main()
