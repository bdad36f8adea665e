"""The same clip as SDR, PQ and HLG: found, restored and changed alike; every sample outside the masks as it was."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from iconface_video.pipelines.restore import restore_video
from iconface_video.restore.crop_store import CropStore, read_header
from iconface_video.session.work import CROPS
from iconface_video.settings import RenderSettings
from iconface_video.video.color import to_rgb_float
from iconface_video.video.display_light import display_light
from iconface_video.video.reader import VideoReader
from tests.pipelines.conftest import HEIGHT, WIDTH, Sharpener, grey_embed, reading_raw

FRAMES = 10
TAGS = {
    "sdr": ("bt709", "bt709", "bt709", "yuv420p"),
    "pq": ("bt2020", "smpte2084", "bt2020nc", "yuv420p10le"),
    "hlg": ("bt2020", "arib-std-b67", "bt2020nc", "yuv420p10le"),
}
BT2020_FROM_709 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
"""ITU-R BT.2087."""


def coded(picture: np.ndarray, kind: str) -> np.ndarray:
    """R'G'B' 0..1 of a screen at 203 cd/m2 -> the same light in another code, by the standards' formulas."""
    if kind == "sdr":
        return picture
    light = 203 * picture**2.4 @ BT2020_FROM_709.T
    if kind == "pq":
        power = (light / 10000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    scene = light / 1000 / np.maximum((light / 1000) @ [0.2627, 0.678, 0.0593], 1e-6)[..., None] ** (1 - 1 / 1.2)
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    )


def write(path: Path, pictures: list[np.ndarray], kind: str) -> Path:
    primaries, transfer, matrix, pix_fmt = TAGS[kind]
    data = b"".join(np.rint(coded(picture / 255, kind).clip(0, 1) * 65535).astype("<u2").tobytes() for picture in pictures)
    to_yuv = (
        f"scale=out_color_matrix={matrix.removesuffix('nc')}:out_range=tv:flags=accurate_rnd+full_chroma_int,format={pix_fmt}"
    )
    tags = ["-color_primaries", primaries, "-color_trc", transfer, "-colorspace", matrix, "-color_range", "tv"]
    command = reading_raw("rgb48le", WIDTH, HEIGHT)
    subprocess.run([*command, "-vf", to_yuv, "-c:v", "ffv1", *tags, str(path)], input=data, check=True)
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory, portrait) -> dict[str, Path]:
    """A soft portrait that drifts, in three codes."""
    folder, pictures = tmp_path_factory.mktemp("hdr"), []
    for index in range(FRAMES):
        shift = np.float32([[0.6, 0, -40 + 1.5 * index], [0, 0.6, 5 + 0.5 * index]])
        picture = cv2.warpAffine(portrait, shift, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderValue=(90, 100, 110))
        pictures.append(cv2.GaussianBlur(picture, (0, 0), 1.2))
    return {kind: write(folder / f"{kind}.mkv", pictures, kind) for kind in TAGS}


def shown(path: Path) -> np.ndarray:
    """(n, h, w, 3) BT.709, white at 1."""
    with VideoReader(path) as reader:
        light = display_light(reader.info.color)
        codes = [to_rgb_float(frame, (0, 0, WIDTH, HEIGHT)) for frame in reader.frames()]
    return np.stack([item if light is None else light.extended(item) for item in codes])


def test_hdr_is_restored_as_the_same_clip_in_sdr_is(films, settings, tmp_path):
    settings = replace(settings, render=RenderSettings(temporal_filter=False))
    changes, crops = {}, {}
    for kind, film in films.items():
        out = tmp_path / f"{kind}.mkv"
        report = restore_video(film, out, settings=settings, model=Sharpener(), embed=grey_embed, keep_work=True)
        assert report.faces_restored == FRAMES
        changes[kind] = shown(out) - shown(film)
        store = report.work / CROPS
        crops[kind] = CropStore(store, read_header(store).segments).at(0)[0].image.astype(int)
        with VideoReader(film) as before, VideoReader(out) as after:
            assert before.info.color == after.info.color
            for old, new in zip(before.frames(), after.frames(), strict=True):
                for a, b in zip(old.planes, new.planes, strict=True):
                    rim = max(1, a.shape[0] // 24)
                    assert np.array_equal(a[-rim:], b[-rim:])
                    assert 0.02 < (a != b).mean() < 0.7
    for kind in ("pq", "hlg"):
        correlation = float(np.corrcoef(changes[kind].ravel(), changes["sdr"].ravel())[0, 1])
        print(
            f"{kind}: changes correlate {correlation:.4f} with the SDR run's; crops differ by",
            np.abs(crops[kind] - crops["sdr"]).mean(),
        )
        assert correlation > 0.95
        assert np.abs(crops[kind] - crops["sdr"]).mean() < 6
