"""Damage clips and folders of pictures on disk, to make paired data."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from iconface_video.degrade.clip_effects import ClipEffect, ClipFormat, degrade_frames
from iconface_video.degrade.picture import degrade
from iconface_video.errors import InputError, OutputError, UsageError
from iconface_video.files import write_whole
from iconface_video.lock import writing
from iconface_video.settings import EncodeSettings, ReadSettings
from iconface_video.types import Frame, UInt8
from iconface_video.video.color import blend_rgb, to_rgb
from iconface_video.video.output_plan import plan_output
from iconface_video.video.pictures import read_picture
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import VideoWriter

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

OnFrame = Callable[[int], None]


def degrade_clip(
    path: Path,
    out: Path,
    effects: Sequence[ClipEffect],
    seed: int,
    *,
    crf: int = 12,
    force: bool = False,
    on_frame: OnFrame | None = None,
) -> Path:
    """Write `path` with `effects` to `out`: frame for frame with the same times, sound and other streams copied.

    `crf`: quality at which the damaged picture is encoded (the codec effects come on top). `on_frame` gets the number of frames done.
    Returns the output's path. Raises `InputError`, `OutputError`, `EncodeError` as reader and writer do.
    """
    settings = EncodeSettings(crf=crf)
    with VideoReader(path, ReadSettings("weave")) as reader:
        info = reader.info
        plan = plan_output(info, out, settings, force=force)
        clip = ClipFormat(info.width, info.height, float(info.average_rate or 25))
        waiting: deque[Frame] = deque()
        damaged = degrade_frames(_pictures(reader.frames(), waiting), effects, clip, seed)
        with writing(plan.path), VideoWriter(plan, info, settings) as writer:
            for done, picture in enumerate(damaged, 1):
                writer.write(_replaced(waiting.popleft(), picture))
                if on_frame:
                    on_frame(done)
    return plan.path


def _pictures(frames: Iterator[Frame], waiting: deque[Frame]) -> Iterator[UInt8]:
    """The frames' pictures; the frames wait until their damaged pictures come out, which codecs delay."""
    for frame in frames:
        waiting.append(frame)
        yield to_rgb(frame)


def _replaced(frame: Frame, picture: UInt8) -> Frame:
    rgb = np.asarray(picture / 255, dtype=np.float32)
    return blend_rgb(frame, (0, 0, frame.width, frame.height), rgb, np.ones(rgb.shape[:2], np.float32))


def degrade_pictures(
    folder: Path,
    out: Path,
    seed: int,
    *,
    strength: float | None = None,
    effects: Sequence[ClipEffect] = (),
    force: bool = False,
    on_frame: OnFrame | None = None,
) -> int:
    """Damage every picture of `folder` into `out` under the same name, and return how many there were.

    With `strength` (0-20) by the trainers' online mix; then by `effects`, as on a clip of one frame. What a picture gets depends on the
    seed and its name, not on what else is in the folder. Written without loss where the name's format allows it. Raises `UsageError` when
    there is nothing to do, `InputError` for a folder without pictures, `OutputError` for one that would be written over.
    """
    if strength is None and not effects:
        raise UsageError("nothing to do: give a strength, a preset or at least one effect")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise InputError(f"{folder}: no pictures in it ({', '.join(PICTURE_SUFFIXES)})")
    if out.resolve() == folder.resolve():
        raise OutputError(f"{out}: is the input folder; name another one")
    taken = [path.name for path in paths if (out / path.name).exists()]
    if taken and not force:
        raise OutputError(
            f"{out / taken[0]}: exists already ({len(taken)} of {len(paths)} do); give --force to write over them"
        )
    out.mkdir(parents=True, exist_ok=True)
    for done, path in enumerate(paths, 1):
        _write(out / path.name, _damaged(read_picture(path), _seed_of(seed, path.name), strength, effects))
        if on_frame:
            on_frame(done)
    return len(paths)


def _seed_of(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "little")


def _damaged(picture: UInt8, seed: int, strength: float | None, effects: Sequence[ClipEffect]) -> UInt8:
    if strength is not None:
        # A picture of a folder is taken for a face crop at its own size: what is lost is a share of that.
        picture = degrade(picture, strength, np.random.default_rng(seed), seen_px=float(picture.shape[1]))
    clip = ClipFormat(picture.shape[1], picture.shape[0])
    return next(degrade_frames(iter([picture]), effects, clip, seed))


def _write(path: Path, picture: UInt8) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 98] if path.suffix.lower() in (".jpg", ".jpeg") else []
    done, encoded = cv2.imencode(path.suffix, np.ascontiguousarray(picture[:, :, ::-1]), quality)
    try:
        if not done:
            raise OSError(f"cannot be encoded as {path.suffix}")
        write_whole(path, lambda file: file.write(encoded.tobytes()))
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); check the folder's rights and the free space"
        ) from error
