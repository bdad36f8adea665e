"""Measuring recipes: each stage alone, whole passes beside FFmpeg's own transcode of the same clip, and where the processor time of a
training step goes.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from iconface_video.faces.align import crop_from_frame
from iconface_video.faces.detector import make_detector
from iconface_video.lab.bench.stages import Job, Machine, Rate, ffmpeg_transcode, measure
from iconface_video.lab.bench.training_step import StepTimes, measure_steps
from iconface_video.lab.train.config import RestorerConfig, ValidationSettings
from iconface_video.lab.train.data import FaceSet
from iconface_video.lab.train.training import make_trainer
from iconface_video.pipelines.restore import restore_video
from iconface_video.pipelines.survey import survey
from iconface_video.render.paste import FacePatch, paste
from iconface_video.restore.framing import cut_from_frame
from iconface_video.session.engines.job import load_restorer
from iconface_video.session.networks import load_embedder
from iconface_video.settings import RunSettings
from iconface_video.tracking.surveyor import detection_picture
from iconface_video.types import Float64, Frame, Survey, UInt8, VideoInfo
from iconface_video.video.output_plan import plan_output
from iconface_video.video.reader import VideoReader
from iconface_video.video.shots import ContentShotDetector
from iconface_video.video.writer import VideoWriter


@dataclass(frozen=True)
class ClipBench:
    """Figures of one clip on one machine."""

    clip: str
    picture: str
    """Size and rate, for people."""
    frames: int
    machine: Machine
    rates: tuple[Rate, ...]

    @property
    def ratios(self) -> dict[str, float]:
        """How many times the ffmpeg program's time each whole pass takes; empty where it was not measured."""
        limit = next((rate for rate in self.rates if rate.what == FFMPEG), None)
        return {} if limit is None else {r.what: r.seconds / limit.seconds for r in self.rates if r is not limit}


FFMPEG = "ffmpeg transcode"
WITHOUT_MODEL = "run, strength 0"
SURVEY = "survey"
RUN = "run"
AGAIN = "re-render, other strength"
"""From the faces that a run has kept, without the model, as the page does it."""


def bench_pipeline(clip: Path, settings: RunSettings | None = None, seconds: float | None = None, rounds: int = 3) -> ClipBench:
    """Whole passes over the first `seconds` of a clip: ffmpeg's transcode, a run without the model, the survey, a run, another
    strength from what a run has kept.

    The model is loaded before the clock starts. Raises what `restore_video` raises.
    """
    settings = settings or RunSettings()
    embed, model = load_embedder(), load_restorer(settings.restore)
    end = None if seconds is None else Fraction(seconds).limit_denominator(1000)
    info, frames = _count(clip, settings, end)
    untouched = replace(settings, render=replace(settings.render, strength=0.0))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"out{clip.suffix}"

        def whole(chosen: RunSettings) -> Callable[[], int]:
            return lambda: restore_video(clip, out, settings=chosen, end=end, force=True, model=model, embed=embed).frames

        jobs: dict[str, tuple[str, Job]] = {}
        limit = ffmpeg_transcode(clip, out, settings.encode.crf, settings.encode.preset, seconds, frames)
        if limit is not None:
            jobs[FFMPEG] = ("frames", limit)
        jobs[WITHOUT_MODEL] = ("frames", whole(untouched))
        jobs[SURVEY] = ("frames", lambda: survey(clip, settings=settings, end=end, embed=embed).frame_count)
        jobs[RUN] = ("frames", whole(settings))
        work, strengths = Path(folder) / "work", cycle((0.5, 0.6))  # the same again would find its output whole

        def again() -> int:
            render = replace(settings.render, strength=next(strengths))
            return restore_video(
                clip, out, settings=replace(settings, render=render), end=end, force=True, work=work, keep_work=True,
                model=model, embed=embed,
            ).frames  # fmt: skip

        again()
        jobs[AGAIN] = ("frames", again)
        rates = measure(jobs, rounds, warm_up=0)
    return ClipBench(str(clip), _picture(info), frames, Machine.here(), tuple(rates))


def bench_stages(clip: Path, settings: RunSettings | None = None, frames: int = 60, rounds: int = 3) -> ClipBench:
    """Each stage alone over the first `frames` frames, which are held in memory."""
    settings = settings or RunSettings()
    with VideoReader(clip, settings.read) as reader:
        held = list(islice(reader.frames(), frames))
        info = reader.info
    end = Fraction(held[-1].pts - held[0].pts) * info.time_base
    embed, detector, model = load_embedder(), make_detector(settings.survey), load_restorer(settings.restore)
    found = survey(clip, settings=settings, end=end, embed=embed)
    size = model.crop_sizes[0]
    cut = _cutter(found, held, size)
    crops = cut()
    with tempfile.TemporaryDirectory() as folder:
        jobs: dict[str, tuple[str, Job]] = {
            "decode": ("frames", lambda: _decode(clip, settings, len(held))),
            "shots": ("frames", lambda: _each(held, ContentShotDetector(settings.survey.cut_threshold).push)),
            "detect": (
                "frames",
                lambda: _each(held, lambda f: detector.detect(detection_picture(f, info, settings.survey.detection_size)[0])),
            ),
            "embed": ("faces", lambda: len(embed(crops)) if crops else 0),
            "cut": ("faces", lambda: len(cut())),
            "paste": ("faces", lambda: _paste_all(found, held, size)),
            "encode": ("frames", lambda: _encode(clip, held, settings, Path(folder) / "out.mp4")),
        }
        rates = measure(jobs, rounds)
    return ClipBench(str(clip), _picture(info), len(held), Machine.here(), tuple(rates))


def _count(clip: Path, settings: RunSettings, end: Fraction | None) -> tuple[VideoInfo, int]:
    with VideoReader(clip, settings.read) as reader:
        stop = None if end is None else reader.info.first_pts + round(end / reader.info.time_base)
        return reader.info, sum(1 for frame in reader.frames() if stop is None or frame.pts < stop)


def _picture(info: VideoInfo) -> str:
    rate = "" if info.average_rate is None else f", {float(info.average_rate):g} frames/s"
    return f"{info.width}x{info.height}{rate}"


def _decode(clip: Path, settings: RunSettings, frames: int) -> int:
    with VideoReader(clip, settings.read) as reader:
        return sum(1 for _ in islice(reader.frames(), frames))


def _each(frames: list[Frame], job: Callable[[Frame], object]) -> int:
    for frame in frames:
        job(frame)
    return len(frames)


def _places(found: Survey, frames: list[Frame], size: int) -> list[tuple[Frame, Float64]]:
    by_pts = {frame.pts: frame for frame in frames}
    return [
        (by_pts[int(pts)], crop_from_frame(track.parameters[row], size, found.info))
        for track in found.tracks
        for row, pts in enumerate(track.pts)
        if int(pts) in by_pts
    ]


def _cutter(found: Survey, frames: list[Frame], size: int) -> Callable[[], list[UInt8]]:
    places = _places(found, frames, size)
    return lambda: [cut_from_frame(frame, matrix, size) for frame, matrix in places]


def _paste_all(found: Survey, frames: list[Frame], size: int) -> int:
    residual = np.full((size, size, 3), 0.02, np.float32)
    mask = np.ones((size, size), np.float32)
    places = _places(found, frames, size)
    for frame, matrix in places:
        paste(frame, [FacePatch(residual, mask, matrix)])
    return len(places)


def _encode(clip: Path, frames: list[Frame], settings: RunSettings, out: Path) -> int:
    with VideoReader(clip, settings.read) as reader:
        target = plan_output(reader.info, out, settings.encode, force=True)
        with VideoWriter(target, reader.info, settings.encode, {}) as writer:
            for frame in frames:
                writer.write(frame)
    return len(frames)


_PEOPLE, _PHOTOS = 12, 4


@dataclass(frozen=True)
class TrainingBench:
    """Figures of one stage on one machine."""

    stage: str
    sizes: tuple[int, ...]
    """px."""
    precision: str
    machine: Machine
    times: StepTimes


def bench_training(
    config: RestorerConfig, folders: Sequence[Path] = (), steps: int = 5, warm_up: int = 2, profiled: int = 2
) -> TrainingBench:
    """Train some steps of a stage in a folder that is thrown away. folders: data sets; without any, made-up faces are used.

    Batches are made in this process, so that their time counts. Raises what `train_stages` raises.
    """
    quick = ValidationSettings(size=config.mix.sizes[0], count=1, strengths=())
    config = replace(config, workers=0, validation=quick)
    with tempfile.TemporaryDirectory(prefix="iconface-training-") as name:
        sets = folders or [made_up_faces(Path(name) / "faces", max(config.mix.sizes))]
        config = config.with_data(tuple(str(folder) for folder in sets))
        faces = FaceSet.load(config.faces, "train")
        trainer = make_trainer(config, Path(name) / "run", faces, faces)
        times = measure_steps(trainer, steps, warm_up, min(profiled, steps))
    return TrainingBench(config.stage, config.mix.sizes, config.trainer.mixed_precision(), Machine.here(), times)


def made_up_faces(folder: Path, side: int) -> Path:
    """Write a data set of smooth random pictures of `side` px, four of each "person": restoring them is as much work as real ones."""
    folder.mkdir(parents=True)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as index:
        rows = csv.writer(index)
        rows.writerow(["file", "split", "identity"])
        for person in range(_PEOPLE):
            for photo in range(_PHOTOS):
                coarse = np.random.default_rng((person, photo)).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
                name = f"{person}-{photo}.png"
                cv2.imwrite(str(folder / name), cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))
                rows.writerow([name, "train" if person % 2 else "val", f"person {person}"])
    return folder
