"""Whether faces of interlaced video gain by being restored field by field: `--fields keep` against `weave`.

    python benchmarks/fields.py --clips FILE ... [--frames 40] [--lines 576] [--blur 0] [--noise 0]

Each frame of a sharp clip gives one field of a 50-field MPEG-2 film, top field first. Both outputs are written without loss, in turn, with
one model that is loaded before. PSNR: luma of each field's own lines where either output changed them, against the frame that the field was
made of. E_warp: of the fields as pictures of full height, along the sharp clip's motion, around the faces. Time: of the processor, for each
second of film.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from iconface_video.degrade.interlacing import weave_fields
from iconface_video.lab.evaluate.picture_metrics import MotionEstimator, warp_error
from iconface_video.pipelines.restore import restore_video
from iconface_video.session.engines.job import load_restorer
from iconface_video.session.networks import load_embedder
from iconface_video.settings import EncodeSettings, ReadSettings, RunSettings
from iconface_video.types import UInt8
from iconface_video.video.color import to_rgb
from iconface_video.video.reader import VideoReader

RATE = 25
MODES = ("weave", "keep")


@dataclass(frozen=True, eq=False)
class Read:
    """A film as fields, one after another."""

    luma: UInt8
    """(n, h/2, w) each field's own lines, codes."""
    pictures: UInt8
    """(n, h, w, 3) RGB, the missing lines filled in."""


def sharp_frames(clip: Path, count: int, lines: int) -> list[UInt8]:
    """RGB, as many lines high, and as wide as that asks for."""
    with av.open(str(clip)) as film:
        found = [frame.to_ndarray(format="rgb24") for frame, _ in zip(film.decode(video=0), range(count))]
    width = 4 * round(found[0].shape[1] * lines / found[0].shape[0] / 4)
    return [np.asarray(cv2.resize(picture, (width, lines), interpolation=cv2.INTER_AREA)) for picture in found]


def damaged(frames: list[UInt8], blur: float, noise: float) -> list[UInt8]:
    """Blurred along the lines (sigma, px), and with noise (sigma, levels)."""
    rng, found = np.random.default_rng(1), []
    for frame in frames:
        soft = cv2.GaussianBlur(frame, (0, 1), sigmaX=blur, sigmaY=1e-3) if blur else frame
        found.append(np.clip(np.rint(soft + rng.normal(0, noise, soft.shape)), 0, 255).astype(np.uint8) if noise else soft)
    return found


def write(path: Path, frames: list[UInt8]) -> Path:
    height, width = frames[0].shape[:2]
    form = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(RATE), "-i", "-"]
    scale = "scale=interl=1:out_color_matrix=bt601:flags=accurate_rnd+full_chroma_int"
    mpeg2 = ["-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-top", "1", "-q:v", "2", "-g", "12", "-pix_fmt", "yuv420p"]
    command = ["ffmpeg", "-v", "error", "-y", *form, "-vf", f"{scale},setfield=tff", *mpeg2, str(path)]
    subprocess.run(command, input=b"".join(frame.tobytes() for frame in weave_fields(iter(frames))), check=True)
    return path


def read(path: Path) -> Read:
    with VideoReader(path, ReadSettings("weave")) as film:
        luma = [frame.planes[0][parity::2] for frame in film.frames() for parity in (0, 1)]
    with VideoReader(path, ReadSettings("keep")) as film:
        pictures = [to_rgb(frame) for frame in film.frames()]
    return Read(np.stack(luma), np.stack(pictures))


def luma_of(frames: list[UInt8]) -> np.ndarray:
    """(n, h/2, w) of the frames' own fields, BT.601 codes as the films have them, not rounded."""
    shares = np.array([0.299, 0.587, 0.114]) * 219 / 255
    return np.stack([frame[number % 2 :: 2].astype(np.float64) @ shares + 16 for number, frame in enumerate(frames)])


def psnr(luma: UInt8, truth: np.ndarray, where: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / ((luma.astype(np.float64) - truth)[where] ** 2).mean()))


def mean_warp_error(pictures: UInt8, sharp: list[UInt8], where: np.ndarray) -> float:
    """Of the box around the changed places."""
    rows, columns = np.flatnonzero(where.any(axis=(0, 2))), np.flatnonzero(where.any(axis=(0, 1)))
    box = slice(2 * rows[0], 2 * rows[-1] + 2), slice(columns[0], columns[-1] + 1)
    motions, found = MotionEstimator(), []
    for number in range(1, len(sharp)):
        motion = motions.motion(*(np.ascontiguousarray(sharp[at][box]) for at in (number, number - 1)))
        region = np.ones(motion.visible.shape, bool)
        found.append(warp_error(pictures[number][box], pictures[number - 1][box], motion, region))
    return float(np.nanmean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--frames", type=int, default=40, help="of the sharp clip, each a field")
    parser.add_argument("--lines", type=int, default=576)
    parser.add_argument("--blur", type=float, default=0.0, help="along the lines, sigma, px")
    parser.add_argument("--noise", type=float, default=0.0, help="sigma, levels of 255")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    base = RunSettings(encode=EncodeSettings(codec="ffv1", encoder_threads=1))
    model, embed = load_restorer(base.restore), load_embedder()
    print("| clip | film | PSNR, dB | E_warp | of the sharp clip's | CPU s a second |\n" + "| --- " * 6 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for clip in arguments.clips:
            sharp = sharp_frames(clip, arguments.frames // 2 * 2, arguments.lines)
            tape = write(Path(folder) / "tape.mpg", damaged(sharp, arguments.blur, arguments.noise))
            films, spent = {"input": read(tape)}, {"input": 0.0}
            for mode in MODES:
                begun = time.process_time()
                settings = RunSettings(read=ReadSettings(mode), encode=base.encode)
                output = restore_video(
                    tape, Path(folder) / f"{mode}.mkv", settings=settings, model=model, embed=embed, force=True
                )
                spent[mode] = (time.process_time() - begun) / (len(sharp) / 2 / RATE)
                films[mode] = read(output.output)
            where = np.any([films[mode].luma != films["input"].luma for mode in MODES], axis=0)
            clean = mean_warp_error(np.stack(sharp), sharp, where)
            for name, film in films.items():
                steady = mean_warp_error(film.pictures, sharp, where)
                print(
                    f"| {clip.stem} | {name} | {psnr(film.luma, luma_of(sharp), where):.2f} | {steady:.3f} | {steady / clean:.2f} | "
                    f"{spent[name]:.1f} |", flush=True,
                )  # fmt: skip


if __name__ == "__main__":
    main()
