"""Hostile photos, for `image` and as references: bombs, stumps, odd kinds. What cannot be read is refused in a sentence."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from iconface_video.cli.main import main
from iconface_video.errors import InputError, ReferencePhotoError
from iconface_video.identity.references import read_photo
from iconface_video.video.pictures import MAX_PICTURE_PIXELS, read_picture


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """Something with all hues, (60, 80, 3) RGB, smooth enough for JPEG."""
    y, x = np.mgrid[0:60, 0:80]
    return np.stack([3 * x, 4 * y, 255 - 2 * x - y], axis=-1).clip(0, 255).astype(np.uint8)


def packed(suffix: str, rgb: np.ndarray) -> bytes:
    return cv2.imencode(suffix, np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width: int, height: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(100_000))) + png_chunk(b"IEND", b"")


def jpeg_claiming(width: int, height: int, data: bytes) -> bytes:
    start = data.index(b"\xff\xc0")
    return data[: start + 5] + struct.pack(">HH", height, width) + data[start + 9 :]


def bmp_claiming(width: int, height: int, data: bytes) -> bytes:
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


SIZES = [(65500, 65500), (20000, 20000), (MAX_PICTURE_PIXELS + 1, 1)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("kind", ["png", "jpg", "bmp"])
def test_pictures_that_claim_to_be_huge_are_refused_unread(kind, width, height, scene, tmp_path, monkeypatch):
    if kind == "jpg" and max(width, height) > 65535:
        return
    data = packed("." + kind, scene)
    make = {"png": lambda: png_claiming(width, height), "jpg": lambda: jpeg_claiming(width, height, data)}
    path = tmp_path / f"bomb.{kind}"
    path.write_bytes(make[kind]() if kind in make else bmp_claiming(width, height, data))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(InputError, match=r"bomb\.\w+: this picture claims .*megapixels"):
        read_picture(path)


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 10), (10, 0)])
def test_pictures_of_no_size(width: int, height: int, tmp_path: Path) -> None:
    (tmp_path / "nothing.png").write_bytes(png_claiming(width, height))
    with pytest.raises(InputError, match=r"nothing\.png"):
        read_picture(tmp_path / "nothing.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_cut_short_is_no_picture(suffix: str, scene: np.ndarray, tmp_path: Path) -> None:
    """Decoders fill the rest with grey, and a face restored from grey would be anyone's."""
    whole = packed(suffix, scene)
    for share in (0.3, 0.6, 0.95):
        (tmp_path / f"half{suffix}").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match=r"half\.\w+: .*(cut short|not a photo)"):
            read_picture(tmp_path / f"half{suffix}")
    (tmp_path / f"more{suffix}").write_bytes(whole + b"what a phone adds behind the picture")
    assert read_picture(tmp_path / f"more{suffix}").shape == scene.shape


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".gif", ".jp2", ".ppm", ".avif"])
def test_mutated_pictures_are_read_or_refused(suffix: str, scene: np.ndarray, tmp_path: Path) -> None:
    whole = packed(suffix, scene)
    path = tmp_path / f"bent{suffix}"
    path.write_bytes(whole)
    assert np.abs(read_picture(path).astype(int) - scene).mean() < 20  # GIF has few colors
    for number in range(40):
        rng = np.random.default_rng([number, 7])
        bent = bytearray(whole)
        for place in rng.integers(min(len(bent), 400 if number % 2 else len(bent)), size=int(rng.choice([1, 5, 50]))):
            bent[place] = int(rng.integers(256))
        path.write_bytes(bytes(bent) if number % 4 else whole[: int(rng.integers(len(whole)))])
        try:
            picture = read_picture(path)
        except InputError as error:
            if str(path) not in str(error) or "\n" in str(error):
                raise AssertionError(f"mutant {number} says {error}") from error
        else:
            assert picture.dtype == np.uint8
            assert picture.ndim == 3


def test_cmyk_grey_deep_and_animated_pictures_are_read_as_rgb(scene: np.ndarray, tmp_path: Path) -> None:
    from PIL import Image

    plain = Image.fromarray(scene)
    plain.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    plain.convert("L").save(tmp_path / "grey.jpg")
    plain.convert("P").save(tmp_path / "palette.png")
    plain.convert("RGBA").save(tmp_path / "alpha.png")
    other = Image.fromarray(255 - scene)
    plain.save(tmp_path / "moves.gif", save_all=True, append_images=[other])
    plain.save(tmp_path / "moves.png", save_all=True, append_images=[other])
    plain.save(tmp_path / "moves.webp", save_all=True, append_images=[other], lossless=True)
    cv2.imwrite(str(tmp_path / "deep.png"), scene[..., ::-1].astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "deep.tif"), scene[..., ::-1].astype(np.uint16) * 257)
    for path in sorted(tmp_path.iterdir()):
        picture = read_picture(path)
        assert picture.shape == scene.shape, path.name
        limit = {"grey.jpg": 90, "palette.png": 30, "moves.gif": 30}.get(path.name, 12)
        assert np.abs(picture.astype(int) - scene).mean() < limit, path.name


def test_what_is_no_photo_at_all(tmp_path: Path, face_clip: Path) -> None:
    (tmp_path / "text.jpg").write_text("a letter\n" * 50)
    (tmp_path / "empty.png").touch()
    for path in (tmp_path / "text.jpg", tmp_path / "empty.png", face_clip, tmp_path, tmp_path / "missing.jpg"):
        with pytest.raises(ReferencePhotoError) as caught:
            read_photo(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("command", ["image", "degrade", "run"])
def test_a_bomb_is_refused_by_every_command(command: str, tmp_path: Path, face_clip: Path, capsys) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    bomb = folder / "bomb.png"
    bomb.write_bytes(png_claiming(30000, 30000))
    arguments = {
        "image": [str(bomb), "-o", str(tmp_path / "out.png")],
        "degrade": [str(folder), "-o", str(tmp_path / "out"), "--strength", "2"],
        "run": [str(face_clip), "-o", str(tmp_path / "out.mp4"), "-q", "--reference", str(bomb)],
    }
    assert main([command, *arguments[command]]) == 2
    message = capsys.readouterr().err
    assert "bomb.png" in message
    assert "claims" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out.png").exists()
    assert not (tmp_path / "out.mp4").exists()
