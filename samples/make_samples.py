"""Make the sample files: a portrait that moves, played back from a worn tape, with a melody, and a reference photo.

Everything comes from one picture in the public domain, NASA's portrait of Eileen Collins, which scikit-image carries
(``skimage.data.astronaut``), and from numbers: the sound is synthesized, the motion and the wear are computed from a
fixed seed. Run it with ``python samples/make_samples.py [FOLDER]``; it needs the ``dev`` extra.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, RATE, SECONDS = 480, 360, 25, 10
SOUND_RATE = 44100
HEAD_CENTER, HEAD_RADII = (226.0, 112.0), (82.0, 92.0)
NECK = (236.0, 196.0)
SEED = 20

Picture = NDArray[np.uint8]


def portrait() -> Picture:
    """(512, 512, 3) RGB."""
    from skimage import data

    return np.asarray(data.astronaut(), dtype=np.uint8)


def wave(t: float, seconds: float, phase: float = 0.0) -> float:
    """A sine of the given period."""
    return float(np.sin(2 * np.pi * t / seconds + phase))


def camera(t: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel of the shown picture looks in the portrait at time t: slow zoom, drift and roll."""
    span = 318.0 - 26.0 * wave(t, 2 * SECONDS, -np.pi / 2)
    center = (232.0 + 11.0 * wave(t, 7.3), 130.0 + 5.0 * wave(t, 5.1, 1.0))
    roll = np.deg2rad(1.6 * wave(t, 8.7, 0.5))
    x, y = np.meshgrid(np.arange(WIDTH) - (WIDTH - 1) / 2, np.arange(HEIGHT) - (HEIGHT - 1) / 2)
    x, y = x * span / WIDTH, y * span / WIDTH
    look_x = center[0] + np.cos(roll) * x - np.sin(roll) * y
    look_y = center[1] + np.sin(roll) * x + np.cos(roll) * y
    return look_x.astype(np.float32), look_y.astype(np.float32)


def move_head(x: NDArray[np.float32], y: NDArray[np.float32], t: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bend the lookup so that the head sways about the neck and turns a little; shoulders and background stay."""
    dx, dy = (x - HEAD_CENTER[0]) / HEAD_RADII[0], (y - HEAD_CENTER[1]) / HEAD_RADII[1]
    distance = np.sqrt(dx**2 + dy**2)
    moves = np.clip((1.9 - distance) / 1.1, 0, 1)
    moves = moves * moves * (3 - 2 * moves)
    angle = np.deg2rad(4.5 * wave(t, 3.7) + 2.0 * wave(t, 1.9, 0.7)) * moves
    swayed_x = NECK[0] + np.cos(angle) * (x - NECK[0]) - np.sin(angle) * (y - NECK[1])
    swayed_y = NECK[1] + np.sin(angle) * (x - NECK[0]) + np.cos(angle) * (y - NECK[1])
    # A turn of the head: the face slides over the skull, most in the middle, not at all at the outline.
    bulge = np.clip(1 - distance**2, 0, 1)
    swayed_x += bulge * 6.5 * wave(t, 4.6, 1.2)
    swayed_y += bulge * 3.0 * wave(t, 3.1, 0.3)
    return swayed_x.astype(np.float32), swayed_y.astype(np.float32)


def clean_frames() -> Iterator[Picture]:
    """(HEIGHT, WIDTH, 3) RGB, one by one."""
    source = portrait()
    for index in range(RATE * SECONDS):
        look = move_head(*camera(index / RATE), index / RATE)
        yield cv2.remap(source, *look, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def worn(frame: Picture, rng: np.random.Generator) -> Picture:
    """One frame as an old home tape shows it: soft luma, bleeding and late color, noise, trembling lines, lifted black."""
    luma, *chroma = cv2.split(cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb))
    luma = soften(luma, (WIDTH * 2 // 7, HEIGHT // 3))
    chroma = [np.roll(soften(plane, (WIDTH // 12, HEIGHT // 6)), 3, axis=1) for plane in chroma]
    noise = cv2.GaussianBlur(rng.normal(0, 16, luma.shape).astype(np.float32), (0, 0), sigmaX=1.3, sigmaY=0.5)
    color_noise = [
        cv2.GaussianBlur(rng.normal(0, 40, luma.shape).astype(np.float32), (0, 0), sigmaX=5, sigmaY=1.5) for _ in chroma
    ]
    planes = [20 + luma * 0.88 + noise, *(128 + (plane - 128) * 0.85 + extra for plane, extra in zip(chroma, color_noise))]
    shift = cv2.GaussianBlur(rng.normal(0, 1.2, (HEIGHT, 1)).astype(np.float32), (0, 0), sigmaX=0.1, sigmaY=1.2)
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    picture = np.clip(cv2.merge([plane.astype(np.float32) for plane in planes]), 0, 255).astype(np.uint8)
    picture = cv2.remap(picture, x + shift, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)


def soften(plane: Picture, size: tuple[int, int]) -> NDArray[np.float32]:
    """Lose what does not fit into `size` (width, height) samples."""
    small = cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def through_mpeg2(frames: Iterator[Picture], bit_rate: int) -> Iterator[Picture]:
    """What an early capture card left of the frames."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", bit_rate
        stream.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as container:
        for decoded in container.decode(video=0):
            yield decoded.to_ndarray(format="rgb24")


def melody() -> NDArray[np.float32]:
    """(samples,) in -1..1: ten seconds of plucked notes over a low hum."""
    semitones = [0, 4, 7, 12, 7, 4, 9, 5, 0, 5, 9, 12, 7, 4, 2, -1, 0, 4, 7, 4]
    time = np.arange(SOUND_RATE * SECONDS) / SOUND_RATE
    sound = 0.02 * np.sin(2 * np.pi * 98.0 * time)
    for index, semitone in enumerate(semitones):
        since = time - index * SECONDS / len(semitones)
        pluck = np.where(since >= 0, np.minimum(since * 120, 1) * np.exp(-3.2 * np.maximum(since, 0)), 0)
        pitch = 261.63 * 2 ** (semitone / 12)
        sound += 0.16 * pluck * (np.sin(2 * np.pi * pitch * since) + 0.3 * np.sin(4 * np.pi * pitch * since))
    return (sound * np.clip((SECONDS - time) * 2, 0, 1)).astype(np.float32)


def write_clip(path: Path, frames: Iterator[Picture], crf: int, *, sound: bool) -> None:
    """H.264 and AAC in MP4; one thread and no mbtree (it varied from run to run), so that the same libraries give the same file."""
    with av.open(str(path), "w", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        video = container.add_stream(
            "libx264", rate=RATE, options={"crf": str(crf), "preset": "slow", "x264-params": "mbtree=0"}
        )
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.thread_count = 1
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono") if sound else None
        if audio is not None:
            audio.bit_rate = 64000
            block = av.AudioFrame.from_ndarray(melody()[None], format="fltp", layout="mono")
            block.sample_rate, block.time_base, block.pts = SOUND_RATE, Fraction(1, SOUND_RATE), 0
            container.mux(audio.encode(block))
            container.mux(audio.encode())
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())


def write_reference(path: Path) -> None:
    """The head of the portrait, untouched: what a family would find as a photo print."""
    head = portrait()[8:264, 98:354]
    cv2.imwrite(str(path), cv2.cvtColor(head, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])


def make(folder: Path) -> None:
    """Write tape.mp4 (the input), clean.mp4 (the truth, silent) and photo.jpg (the reference)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    write_clip(folder / "tape.mp4", through_mpeg2((worn(frame, rng) for frame in clean_frames()), 1_500_000), 23, sound=True)
    write_clip(folder / "clean.mp4", clean_frames(), 22, sound=False)
    write_reference(folder / "photo.jpg")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(__file__).parent, help="where to write; beside this script"
    )
    make(parser.parse_args().folder)
