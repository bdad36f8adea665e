"""Photos and folders of photos that say nothing of anybody: refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from iconface_video.errors import ReferencePhotoError
from iconface_video.identity.references import load_folder, load_photo, photos_of, read_photo


class Blind:
    """A detector that finds nothing."""

    name = "blind"

    def detect(self, rgb: np.ndarray) -> list:
        return []


def embed(crops: object) -> np.ndarray:
    raise AssertionError("nothing is embedded where there is no face")


def write_grey(path: Path) -> Path:
    import cv2

    cv2.imwrite(str(path), np.full((64, 64, 3), 128, np.uint8))
    return path


def test_a_folder_in_place_of_a_photo(tmp_path: Path) -> None:
    with pytest.raises(ReferencePhotoError, match=r"it is a folder; give it as `person` NAME=FOLDER"):
        read_photo(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such|missing|there is no", id="missing"),
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"not a picture at all", "not a photo|no photo|cannot be read", id="text"),
        pytest.param(b"\0\0\0\x18ftypheic" + bytes(64), "HEIC", id="heic"),
        pytest.param(b"\xff\xd8\xff\xe0" + bytes(40), "photo", id="torn jpeg"),
    ],
)
def test_a_file_that_is_no_photo(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "anna.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReferencePhotoError, match=rf"anna\.jpg: .*({message})"):
        read_photo(path)


def test_a_photo_without_a_face(tmp_path: Path) -> None:
    path = write_grey(tmp_path / "wall.png")
    with pytest.raises(ReferencePhotoError, match=r"wall\.png: no face was found in this reference photo"):
        load_photo(path, Blind(), embed)


def test_a_folder_whose_photos_show_no_face(tmp_path: Path) -> None:
    write_grey(tmp_path / "wall.png")
    write_grey(tmp_path / "sky.png")
    with pytest.raises(ReferencePhotoError, match="no usable reference photo of 'anna': none of its 2 photos shows a face"):
        load_folder("anna", tmp_path, Blind(), embed)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param([], "it holds no photos", id="empty"),
        pytest.param(["notes.txt", "clip.mp4"], "it holds no photos", id="other files"),
        pytest.param(["a.heic", "b.HEIF"], r"it holds only photos \(2 of HEIC kind", id="heic"),
    ],
)
def test_a_folder_without_a_readable_photo(names: list[str], message: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ReferencePhotoError, match=rf"no usable reference photo of 'anna': {message}"):
        photos_of("anna", tmp_path)


@pytest.mark.parametrize("is_file", [False, True], ids=["missing", "a file"])
def test_what_is_no_folder_of_photos(is_file: bool, tmp_path: Path) -> None:
    folder = tmp_path / "anna"
    if is_file:
        folder.touch()
    with pytest.raises(ReferencePhotoError, match=r"anna: there is no such folder of reference photos \(person 'anna'\)"):
        photos_of("anna", folder)
