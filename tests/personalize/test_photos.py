"""Which photos a person is learnt from; what is left out is named, with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from iconface_video.errors import ReferencePhotoError
from iconface_video.personalize import photos as module
from iconface_video.personalize.photos import (
    CROP_SIZE,
    MOST_PHOTOS,
    PhotoFace,
    choose_photos,
    faces_in,
    frames_of_clip,
    is_same_picture,
    look_at,
)

MIN_SIMILARITY = 0.4


def photo_face(name: str, person: int, seed: int, px: float = 200.0, sure: float = 20.0, spread: float = 0.6) -> PhotoFace:
    """Somebody's face as the encoder would see it: photos of one person have a cosine of about .7, strangers about 0."""
    rng = np.random.default_rng(seed)
    own = np.random.default_rng(1000 + person).standard_normal(512)
    raw = own / np.linalg.norm(own) + spread * rng.standard_normal(512) / 512**0.5
    picture = cv2.resize(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)
    return PhotoFace(Path(name), picture, (sure * raw / np.linalg.norm(raw)).astype(np.float32), px)


def names(faces) -> list[str]:
    return [item.path.name for item in faces]


def test_somebody_elses_photo_is_left_out_and_named():
    mine = [[photo_face(f"{n}.jpg", 1, n)] for n in range(3)]
    chosen = choose_photos([*mine, [photo_face("stranger.jpg", 2, 9)]], MIN_SIMILARITY)
    assert sorted(names(chosen.faces)) == ["0.jpg", "1.jpg", "2.jpg"]
    assert [str(item) for item in chosen.left_out] == ["stranger.jpg: it does not show the person of the other photos"]


def test_two_photos_of_different_people_are_refused():
    with pytest.raises(ReferencePhotoError, match=r"a\.jpg and b\.jpg.*one person's photos"):
        choose_photos([[photo_face("a.jpg", 1, 1)], [photo_face("b.jpg", 2, 2)]], MIN_SIMILARITY)


def test_in_a_group_photo_the_one_of_the_other_photos_is_taken():
    group = [photo_face("group.jpg", person, 20 + person, px=300 - person) for person in (5, 6, 1)]
    chosen = choose_photos([group, [photo_face("a.jpg", 1, 1)], [photo_face("b.jpg", 1, 2)]], MIN_SIMILARITY)
    assert len(chosen.faces) == 3
    assert any(face is group[2] for face in chosen.faces)
    assert chosen.notes == ("group.jpg: 3 faces, took the one that is in the other photos",)


def test_a_group_photo_alone_gives_its_largest_face():
    chosen = choose_photos([[photo_face("group.jpg", 1, 1, px=300), photo_face("group.jpg", 2, 2, px=200)]], MIN_SIMILARITY)
    assert [face.face_px for face in chosen.faces] == [300]
    assert chosen.notes == ("group.jpg: 2 faces, took the largest",)


def test_twins_in_one_photo_stay_two_people_and_are_told():
    twins = [photo_face("both.jpg", 1, 3, px=300), photo_face("both.jpg", 1, 4, px=290)]
    chosen = choose_photos([twins, [photo_face("a.jpg", 1, 5)], [photo_face("b.jpg", 1, 6)]], MIN_SIMILARITY)
    assert names(chosen.faces).count("both.jpg") == 1
    assert "two of them look alike" in chosen.notes[0]
    assert "cut the photo" in chosen.notes[0]


def test_one_photo_of_40_px_teaches_nothing():
    chosen = choose_photos([[photo_face("tiny.jpg", 1, 1, px=40)]], MIN_SIMILARITY)
    assert chosen.faces == ()
    assert str(chosen.left_out[0]) == "tiny.jpg: the face is only 40 px high, and 64 are needed to learn from it"


def test_of_500_photos_the_surest_are_taken():
    many = [[photo_face(f"{n}.jpg", 1, n, sure=10 + n / 100)] for n in range(500)]
    chosen = choose_photos(many, MIN_SIMILARITY)
    assert names(chosen.faces) == [f"{n}.jpg" for n in range(499, 499 - MOST_PHOTOS, -1)]
    assert chosen.notes == (f"of 500 photos the {MOST_PHOTOS} surest are learnt from",)


def test_the_same_picture_counts_once(face):
    smaller = cv2.resize(face.crop, (160, 160), interpolation=cv2.INTER_AREA)
    copy = PhotoFace(Path("copy.jpg"), smaller, face.embedding, face.face_px / 2)
    chosen = choose_photos([[copy], [face]], MIN_SIMILARITY)
    assert chosen.faces == (face,)
    assert str(chosen.left_out[0]) == f"copy.jpg: it is the same picture as {face.path.name}"


def test_a_frame_of_the_clip_is_not_learnt_from(face, faces):
    """Its damage would be learnt as if it were the person's."""
    small = cv2.resize(face.crop, (48, 48), interpolation=cv2.INTER_AREA)
    damaged = cv2.resize(small, (128, 128), interpolation=cv2.INTER_CUBIC)
    frame = replace(face, crop=cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC))
    (left_out,) = frames_of_clip([frame, *faces], [faces[1].crop[::-1], damaged])
    assert str(left_out) == f"{frame.path}: it is a frame of the clip itself: shown as a reference, but not learnt from"
    assert frames_of_clip([face], [damaged]) == []  # the same moment, before the damage
    assert frames_of_clip(faces, []) == []
    assert not is_same_picture(faces[0].crop, faces[1].crop)


def test_real_photos(tmp_path, astronaut_png, portrait, detector, embed):
    """Two people side by side (one is the other's mirror image), no face, no photo."""
    both = np.concatenate([portrait, portrait[:, ::-1]], axis=1)
    cv2.imwrite(str(tmp_path / "both.png"), both[..., ::-1])
    cv2.imwrite(str(tmp_path / "none.png"), np.full((200, 200, 3), 90, np.uint8))
    (tmp_path / "text.jpg").write_text("not a photo")
    done = []
    paths = [astronaut_png, tmp_path / "both.png", tmp_path / "none.png", tmp_path / "text.jpg"]
    found, left_out = look_at(paths, detector, embed, lambda *numbers: done.append(numbers))
    assert [len(item) for item in found] == [1, 2]
    assert found[0][0].crop.shape == (CROP_SIZE, CROP_SIZE, 3)
    assert 80 < found[0][0].face_px < 200
    assert [item.path.name for item in left_out] == ["none.png", "text.jpg"]
    assert "no face" in left_out[0].reason
    assert done[-1] == (4, 4)
    with pytest.raises(ReferencePhotoError, match=r"none\.png: no face"):
        faces_in(tmp_path / "none.png", detector, embed)


def test_a_crowd_gives_its_largest_faces(monkeypatch, astronaut_png, detector, embed):
    one = module.find_faces(module.read_photo(astronaut_png), detector)[0]
    monkeypatch.setattr(module, "find_faces", lambda picture, detector: [one] * 40)
    assert len(faces_in(astronaut_png, detector, embed)) == module.MOST_FACES
