from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from iconface_video.errors import InputError
from iconface_video.video.pictures import read_picture

_ORIENTATION = 0x0112


@pytest.fixture
def slope() -> Image.Image:
    """No two of its eight turns and mirrors look alike."""
    across, down = np.meshgrid(np.linspace(0, 255, 64), np.linspace(0, 100, 48))
    return Image.fromarray(np.dstack([across, down, (across + down) / 2]).astype(np.uint8))


@pytest.mark.parametrize("suffix", ["avif", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_read_upright(slope, tmp_path: Path, suffix: str, orientation: int):
    """AVIF has no EXIF orientation that counts: it is turned and mirrored by boxes of its own."""
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    slope.save(tmp_path / f"photo.{suffix}", exif=exif, quality=95)
    slope.getexif()[_ORIENTATION] = orientation
    upright = np.asarray(ImageOps.exif_transpose(slope)).astype(int)
    found = read_picture(tmp_path / f"photo.{suffix}")
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 4


def test_a_damaged_avif_is_refused(slope, tmp_path: Path):
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / "photo.avif"
    slope.save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 40] + bytes(20))
    with pytest.raises(InputError, match=r"photo\.avif: not a photo that can be read"):
        read_picture(path)
