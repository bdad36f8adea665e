"""Whether HDR is restored as ordinary video is: one clip as SDR, PQ and HLG, and what a run changed in each, as a screen shows it.

    python benchmarks/hdr_changes.py --clips FILE ... [--frames 8] [--blur 2.6] [--noise 8 | --preset NAME]
                                    [--kinds sdr sdr-10 pq hlg] [--references sdr sdr-10] [--same-windows]

The pictures of a clip, shrunk, blurred and given noise, are written without loss in each code by the package's own formulas (the
tests hold these against the standards'), restored by the embedded model, and written without loss. Figures are correlations, inside the
masks, with what the run over a file of SDR changed: of luma, of R'G'B'; and by how much the files differ before anything was
restored (levels of 255, RMS). `sdr-10` against `sdr` is the ceiling: the same pictures, rounded otherwise. Runs find the faces by themselves, and
windows that lie a px apart are most of what is left; `--same-windows` takes those of one run for all.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from iconface_video.degrade.clip_effects import ClipFormat, degrade_frames
from iconface_video.degrade.presets import PRESETS
from iconface_video.faces.align import cut_codes, cut_from_frame
from iconface_video.identity.anchors import load_anchors
from iconface_video.pipelines.restore import restore_video
from iconface_video.render.match import match_color
from iconface_video.render.paste import FacePatch, crop_mask, paste
from iconface_video.restore.crop_store import CropStore, StoredCrop, read_header
from iconface_video.restore.face_model import FaceModel
from iconface_video.session.engines.job import load_restorer
from iconface_video.session.work import ANCHORS, CROPS
from iconface_video.settings import EncodeSettings, RenderSettings, RunSettings
from iconface_video.types import ColorTags, Float32, Frame, IdentityAnchor
from iconface_video.video.color import to_rgb_float
from iconface_video.video.display_light import LUMA_709, display_light
from iconface_video.video.reader import VideoReader

LONGER_SIDE, SEED = 640, 1
SDR, HDR = ("bt709", "bt709", "bt709"), "bt2020"
KINDS: dict[str, tuple[tuple[str, str, str], str]] = {
    "sdr": (SDR, "yuv420p"),
    "sdr-10": (SDR, "yuv420p10le"),
    "sdr-444": (SDR, "yuv444p12le"),
    "pq": ((HDR, "smpte2084", "bt2020nc"), "yuv420p10le"),
    "pq-444": ((HDR, "smpte2084", "bt2020nc"), "yuv444p12le"),
    "hlg": ((HDR, "arib-std-b67", "bt2020nc"), "yuv420p10le"),
    "hlg-444": ((HDR, "arib-std-b67", "bt2020nc"), "yuv444p12le"),
}
"""Primaries, transfer and matrix by FFmpeg's names; the pixel format."""
LEAST_CHANGE = 1e-6
"""Of full scale: less is the arithmetic's."""
HEADER = """| clip | kind | against | change, levels | luma | R'G'B' | files differ: luma | R'G'B' |
| --- | --- | --- | --- | --- | --- | --- | --- |"""
TRANSFERS = {"bt709": 1, "smpte2084": 16, "arib-std-b67": 18}


@dataclass(frozen=True)
class Damage:
    preset: str
    """Of `degrade`; empty: blur and noise."""
    blur: float
    """Sigma, px."""
    noise: float
    """Sigma, levels of 255."""


@dataclass(frozen=True, eq=False)
class Restored:
    """One file before and after, (n, h, w, 3) BT.709 R'G'B', white at 1."""

    before: Float32
    after: Float32

    @property
    def change(self) -> Float32:
        return self.after - self.before


def pictures_of(clip: Path, frames: int, damage: Damage) -> list[Float32]:
    """R'G'B' 0..1, damaged."""
    with av.open(str(clip)) as film:
        whole = [frame.to_ndarray(format="rgb24") for frame, _ in zip(film.decode(video=0), range(frames))]
    factor = min(1.0, LONGER_SIDE / max(whole[0].shape[:2]))
    width, height = (4 * round(side * factor / 4) for side in whole[0].shape[1::-1])
    small = [np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)) for picture in whole]
    if damage.preset:
        worn = degrade_frames(iter(small), PRESETS[damage.preset], ClipFormat(width, height, 25), SEED)
        return [(picture / np.float32(255)).astype(np.float32) for picture in worn]
    rng, found = np.random.default_rng(SEED), []
    for picture in small:
        soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), damage.blur)
        found.append(((soft + rng.normal(0, damage.noise, soft.shape)) / 255).clip(0, 1).astype(np.float32))
    return found


def write(path: Path, pictures: list[Float32], kind: str) -> Path:
    """The same light in the code of the kind, by ffv1."""
    (primaries, transfer, matrix), pix_fmt = KINDS[kind]
    light = display_light(ColorTags(primaries=9 if primaries == HDR else 1, transfer=TRANSFERS[transfer], space=0, range=1))
    coded = [picture if light is None else light.own(picture) for picture in pictures]
    data = b"".join(np.rint(picture * 65535).astype("<u2").tobytes() for picture in coded)
    height, width = pictures[0].shape[:2]
    form = ["-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", f"{width}x{height}", "-r", "25", "-i", "-"]
    scale = f"scale=out_color_matrix={matrix.removesuffix('nc')}:out_range=tv:flags=accurate_rnd+full_chroma_int"
    tags = ["-color_primaries", primaries, "-color_trc", transfer, "-colorspace", matrix, "-color_range", "tv"]
    command = ["ffmpeg", "-v", "error", "-y", *form, "-vf", f"{scale},format={pix_fmt}", "-c:v", "ffv1", *tags, str(path)]
    subprocess.run(command, input=data, check=True)
    return path


def picture_of(frame: Frame) -> Float32:
    """(h, w, 3) BT.709 R'G'B' as a screen shows it, white at 1."""
    codes = to_rgb_float(frame, (0, 0, frame.width, frame.height), clip=False)
    light = display_light(frame.color)
    return codes if light is None else light.extended(codes)


def shown(path: Path) -> Float32:
    with VideoReader(path) as reader:
        return np.stack([picture_of(frame) for frame in reader.frames()])


def restored(path: Path, settings: RunSettings) -> Restored:
    output = path.with_name(f"{path.stem}-out.mkv")
    restore_video(path, output, settings=settings, force=True)
    return Restored(shown(path), shown(output))


@dataclass(frozen=True, eq=False)
class Windows:
    """Where the first face of each frame was cut, who it is taken for, and what restores it: the same for several files."""

    model: FaceModel
    anchor: IdentityAnchor
    crops: tuple[StoredCrop, ...]
    """One a frame."""

    @classmethod
    def found(cls, path: Path, settings: RunSettings) -> Windows:
        """By a run over this file."""
        report = restore_video(path, path.with_name("windows.mkv"), settings=settings, force=True, keep_work=True)
        assert report.work is not None
        store = CropStore(report.work / CROPS, read_header(report.work / CROPS).segments)
        with VideoReader(path) as reader:
            crops = tuple(store.at(frame.pts)[0] for frame in reader.frames())
        anchors = load_anchors(report.work / ANCHORS)
        return cls(load_restorer(settings.restore), next(iter(anchors.values())), crops)

    def restored(self, path: Path) -> Restored:
        """Each frame by itself: restored, led back into the file's codes, pasted and rounded there."""
        size = self.crops[0].size
        context = self.model.prepare(self.anchor, size)
        noise = np.random.default_rng(SEED).normal(0, 1, self.model.noise_shape(size)).astype(np.float32)
        before, after = [], []
        with VideoReader(path) as reader:
            for frame, crop in zip(reader.frames(), self.crops):
                source = cut_from_frame(frame, crop.crop_from_frame, size)
                face = self.model.restore(source[None], [context], noise[None])[0]
                change = match_color((face.astype(np.float32) - source) / np.float32(255))
                light = display_light(frame.color)
                if light is not None:
                    change = light.change(cut_codes(frame, crop.crop_from_frame, size), change)
                patch = FacePatch(change, crop_mask(size, "ellipse", RenderSettings().feather), crop.crop_from_frame)
                before.append(picture_of(frame))
                after.append(picture_of(paste(frame, [patch])))
        return Restored(np.stack(before), np.stack(after))


def correlation(one: Float32, other: Float32, where: np.ndarray) -> float:
    return float(np.corrcoef(one[where].ravel(), other[where].ravel())[0, 1])


def row(clip: str, names: tuple[str, str], reference: Restored, other: Restored) -> str:
    """Of the table: how alike the changes are where either file was changed."""
    where = (np.abs(reference.change) > LEAST_CHANGE).any(axis=-1) | (np.abs(other.change) > LEAST_CHANGE).any(axis=-1)
    rms = 255 * float(np.sqrt((other.change[where] ** 2).mean()))
    luma = correlation(reference.change @ LUMA_709, other.change @ LUMA_709, where)
    rgb = correlation(reference.change, other.change, where)
    apart = 255 * (other.before - reference.before)[where]
    differ = f"{float((apart @ LUMA_709).std()):.2f} | {float(apart.std()):.2f}"
    return f"| {clip} | {names[1]} | {names[0]} | {rms:.2f} | {luma:.3f} | {rgb:.3f} | {differ} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--blur", type=float, default=2.6, help="sigma, px")
    parser.add_argument("--noise", type=float, default=8.0, help="sigma, levels of 255")
    parser.add_argument("--preset", default="", choices=["", *PRESETS], help="of degrade, instead of blur and noise")
    parser.add_argument("--kinds", nargs="+", default=["sdr", "sdr-10", "pq", "hlg"], choices=list(KINDS))
    parser.add_argument("--references", nargs="+", default=["sdr", "sdr-10"], choices=list(KINDS), help="also of the kinds")
    parser.add_argument("--same-windows", action="store_true", help="those of a run over the first kind, each frame by itself")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    damage = Damage(arguments.preset, arguments.blur, arguments.noise)
    settings = RunSettings(encode=EncodeSettings(codec="ffv1", encoder_threads=1))
    print(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        for clip in arguments.clips:
            pictures = pictures_of(clip, arguments.frames, damage)
            found: dict[str, Restored] = {}
            windows: Windows | None = None
            for kind in arguments.kinds:
                path = write(Path(folder) / f"{kind}.mkv", pictures, kind)
                if arguments.same_windows and windows is None:
                    windows = Windows.found(path, settings)
                found[kind] = restored(path, settings) if windows is None else windows.restored(path)
                for reference in arguments.references:
                    if reference in found and reference != kind:
                        print(row(clip.stem, (reference, kind), found[reference], found[kind]), flush=True)


if __name__ == "__main__":
    main()
