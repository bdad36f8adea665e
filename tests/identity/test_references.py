"""Reference photos: found, turned upright, aligned, matched, refused."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from iconface_video.errors import ReferencePhotoError
from iconface_video.faces.align import TEMPLATE_512
from iconface_video.faces.detector import make_detector
from iconface_video.identity.references import ReferencePhoto, find_faces, load_folder, load_photo, match_references, read_photo
from iconface_video.settings import AnchorSettings, SurveySettings
from tests.pipelines.conftest import grey_embed


@pytest.fixture(scope="module")
def detector():
    return make_detector(SurveySettings(detection_size=512), threads=1)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    from skimage.data import astronaut

    return astronaut()


def save(path, rgb) -> None:
    cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]))


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Insert a minimal APP1 segment (TIFF header, one IFD entry: tag 0x0112, SHORT) after the start of the image."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_the_crop_is_in_the_ffhq_frame(tmp_path, detector, portrait):
    save(tmp_path / "a.png", portrait)
    photo = load_photo(tmp_path / "a.png", detector, grey_embed)
    again = detector.detect(photo.crop)[0]
    size = photo.crop.shape[0]
    assert np.abs(again.landmarks - TEMPLATE_512 * size / 512).mean() < 0.03 * size
    assert photo.embedding.shape == (512,)
    assert photo.notes == ()


def test_exif_orientation_is_honoured(tmp_path, detector, portrait):
    """Stored lying on its side, flagged 6: turn clockwise by 90 degrees to show it."""
    lying = np.ascontiguousarray(np.rot90(portrait, 1))
    jpeg = cv2.imencode(".jpg", lying[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    (tmp_path / "upright.jpg").write_bytes(with_exif_orientation(jpeg, 6))
    upright = read_photo(tmp_path / "upright.jpg")
    assert np.abs(upright.astype(int) - portrait).mean() < 3
    assert load_photo(tmp_path / "upright.jpg", detector, grey_embed).notes == ()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_any_image_file_and_any_name(tmp_path, detector, portrait, suffix):
    path = tmp_path / f"grand-père 奶奶{suffix}"
    path.write_bytes(cv2.imencode(suffix, portrait[..., ::-1])[1].tobytes())
    assert load_photo(path, detector, grey_embed).crop.dtype == np.uint8


def test_grey_and_16_bit_photos(tmp_path, portrait):
    grey = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "deep.png"), grey.astype(np.uint16) * 257)
    for name in ("grey.png", "deep.png"):
        picture = read_photo(tmp_path / name)
        assert picture.shape == (512, 512, 3)
        assert np.abs(picture[..., 0].astype(int) - grey).max() <= 1


def test_of_several_faces_the_largest_is_taken_and_it_is_said(tmp_path, detector, portrait):
    small = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    group = np.full((512, 800, 3), 90, np.uint8)
    group[:, :512] = portrait
    group[200:456, 530:786] = small
    save(tmp_path / "group.png", group)
    photo = load_photo(tmp_path / "group.png", detector, grey_embed)
    assert photo.notes[0] == "2 faces, took the largest"
    save(tmp_path / "one.png", portrait)
    alone = load_photo(tmp_path / "one.png", detector, grey_embed)
    assert np.corrcoef(photo.embedding, alone.embedding)[0, 1] > 0.9


def test_a_face_that_fills_the_photo_and_one_that_is_small_in_it(detector, portrait):
    tight = np.ascontiguousarray(portrait[60:185, 165:290])
    assert len(find_faces(tight, detector)) == 1
    wide = np.full((3000, 4000, 3), 90, np.uint8)
    wide[2300:2812, 3300:3812] = portrait
    (found,) = find_faces(wide, detector)
    assert 3300 < found.landmarks[:, 0].mean() < 3812
    assert 2300 < found.landmarks[:, 1].mean() < 2812


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no such reference photo"),
        (b"", "not a photo that can be read"),
        (b"just some text", "not a photo that can be read"),
        ("grey", "no face was found in this reference photo"),
        ("folder", "give it as `person` NAME=FOLDER"),
    ],
)
def test_unusable_photos_are_named(tmp_path, detector, content, sentence):
    path = tmp_path / "holiday.png"
    if content == "grey":
        save(path, np.full((200, 200, 3), 128, np.uint8))
    elif content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ReferencePhotoError, match=rf"holiday\.png: .*{sentence}") as caught:
        load_photo(path, detector, grey_embed)
    assert caught.value.exit_code == 2


def test_folder_keeps_the_usable_photos_and_names_the_others(tmp_path, detector, portrait):
    save(tmp_path / "a.png", portrait)
    save(tmp_path / "wall.jpg", np.full((200, 200, 3), 128, np.uint8))
    (tmp_path / "notes.txt").write_text("not a photo")
    photos, notes = load_folder("Ada", tmp_path, detector, grey_embed)
    assert [(photo.path.name, photo.name) for photo in photos] == [("a.png", "Ada")]
    assert len(notes) == 1
    assert "wall.jpg" in notes[0]


def test_folders_without_any_face_are_refused(tmp_path, detector):
    with pytest.raises(ReferencePhotoError, match="no usable reference photo of 'Ada': it holds no photos"):
        load_folder("Ada", tmp_path, detector, grey_embed)
    save(tmp_path / "wall.png", np.full((200, 200, 3), 128, np.uint8))
    with pytest.raises(ReferencePhotoError, match="none of its 1 photos shows a face"):
        load_folder("Ada", tmp_path, detector, grey_embed)
    with pytest.raises(ReferencePhotoError, match="there is no such folder"):
        load_folder("Ada", tmp_path / "missing", detector, grey_embed)


def direction(person: int) -> np.ndarray:
    value = np.random.default_rng(person).normal(size=512)
    return (value / np.linalg.norm(value)).astype(np.float32)


def photo_of(person: int, name: str | None = None, noise: float = 0.5, number: int = 0) -> ReferencePhoto:
    from pathlib import Path

    raw = direction(person) + noise * np.random.default_rng([person, number, 9]).normal(size=512) / 512**0.5
    return ReferencePhoto(
        Path(f"p{person}-{number}.jpg"), np.zeros((64, 64, 3), np.uint8), (9 * raw).astype(np.float32), (), name
    )


def test_photos_without_a_name_find_their_person():
    people = {0: direction(10), 1: direction(11), 2: direction(12)}
    matches = match_references([photo_of(11), photo_of(10), photo_of(11, number=1)], people, AnchorSettings())
    assert {match.person: len(match.photos) for match in matches} == {1: 2, 0: 1}
    assert all(0.8 < match.score < 1 for match in matches)


def test_a_stranger_is_refused_with_the_score():
    with pytest.raises(
        ReferencePhotoError, match=r"p99-0\.jpg: nobody in the clip looks like this\. The nearest is person \d .*similarity of"
    ):
        match_references([photo_of(99)], {0: direction(10), 1: direction(11)}, AnchorSettings())


def test_names_are_different_people():
    """Both folders are most like person 0, Bob's even more: Ada still gets the other person, if she is like him at all."""
    alike = direction(10) + 0.8 * direction(11)
    people = {0: direction(10), 1: (alike / np.linalg.norm(alike)).astype(np.float32)}
    matches = match_references([photo_of(10, "Ada", 0.4), photo_of(10, "Bob", 0.1)], people, AnchorSettings())
    assert {match.name: match.person for match in matches} == {"Bob": 0, "Ada": 1}


def test_more_names_than_people_is_refused():
    with pytest.raises(ReferencePhotoError, match=r"photos of 2 people were given \(Ada, Bob\), but 1 were found"):
        match_references([photo_of(1, "Ada"), photo_of(2, "Bob")], {0: direction(1)}, AnchorSettings())


def test_a_clip_without_faces_takes_no_photos():
    assert match_references([photo_of(1)], {}, AnchorSettings()) == []
