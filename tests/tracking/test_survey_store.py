"""A survey on disk: the same when it comes back, readable by people, and never silently half."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import yaml

from iconface_video.errors import StoreError
from iconface_video.tracking.store import load_survey, save_survey
from iconface_video.types import ColorTags, Shot, StreamInfo, Survey, Track, VideoInfo


def track(track_id: int, shot: int, person: int | None = None) -> Track:
    rng = np.random.default_rng(track_id)
    count = 7 + track_id
    return Track(
        track_id=track_id, shot=shot, birth_pts=100 * shot, birth_order=track_id, person=person,
        pts=np.arange(count) + 100 * shot, boxes=rng.random((count, 4), np.float32),
        landmarks=rng.random((count, 5, 2), np.float32), scores=rng.random(count, np.float32),
        parameters=rng.random((count, 4)), quality=rng.random(count, np.float32), fade=rng.random(count, np.float32),
        embeddings=rng.random((track_id, 512), np.float32), embedding_pts=np.arange(track_id),
        sharpness=rng.random(count, np.float32),
    )  # fmt: skip


@pytest.fixture
def survey() -> Survey:
    info = VideoInfo(
        path=Path("/films/Tante Käthe.mkv"), container="matroska", codec="h264", width=720, height=576, pix_fmt="yuv420p",
        time_base=Fraction(1, 90000), average_rate=None, is_vfr=True, first_pts=-3600, duration_seconds=1.5,
        frame_count_declared=None, sample_aspect_ratio=Fraction(16, 15), rotation=90, color=ColorTags(1, 5, 5, 6, 1),
        bit_depth=8, field_order="tt", streams=(StreamInfo(1, "audio", "pcm_s16le", "deu", "48000 Hz"),), chapter_count=2,
        metadata={"title": "1987"},
    )  # fmt: skip
    shots = (Shot(0, -3600, 90), Shot(1, 100, 190), Shot(2, 200, 290))
    tracks = (track(0, 0), track(1, 2, person=3), track(2, 2))
    return Survey(info, shots, tracks, 42, -3600, 290, {"too small": 3})


def test_what_was_saved_comes_back_to_the_bit(survey, tmp_path):
    save_survey(survey, tmp_path / "work" / "survey")
    back = load_survey(tmp_path / "work" / "survey")
    for item in dataclasses.fields(Survey):
        if item.name != "tracks":
            assert getattr(back, item.name) == getattr(survey, item.name), item.name
    assert len(back.tracks) == 3
    for one, other in zip(survey.tracks, back.tracks):
        for item in dataclasses.fields(Track):
            before, after = getattr(one, item.name), getattr(other, item.name)
            np.testing.assert_array_equal(before, after, err_msg=item.name)
            assert getattr(before, "dtype", None) == getattr(after, "dtype", None)
    assert back.key_of(back.tracks[1]) == survey.key_of(survey.tracks[1])


def test_people_can_read_the_shots(survey, tmp_path):
    save_survey(survey, tmp_path)
    shots = yaml.safe_load((tmp_path / "shots.yaml").read_text())["shots"]
    assert shots[0] == {"index": 0, "first_pts": -3600, "last_pts": 90, "from_seconds": -0.04, "to_seconds": 0.001}


def test_only_shots_with_tracks_have_array_files_and_old_ones_go(survey, tmp_path):
    save_survey(survey, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == ["tracks-0000.npz", "tracks-0002.npz"]
    save_survey(dataclasses.replace(survey, tracks=survey.tracks[:1]), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shots.yaml", "survey.json", "tracks-0000.npz"]


def test_nothing_in_it_is_pickled(survey, tmp_path):
    save_survey(survey, tmp_path)
    with np.load(tmp_path / "tracks-0002.npz", allow_pickle=False) as arrays:
        assert all(array.dtype != object for array in arrays.values())


def test_a_survey_without_tracks_comes_back(survey, tmp_path):
    save_survey(dataclasses.replace(survey, tracks=()), tmp_path)
    assert load_survey(tmp_path).tracks == ()


def test_missing_survey_says_so(tmp_path):
    with pytest.raises(StoreError, match=r"no complete survey there.*survey\.json is missing"):
        load_survey(tmp_path)


def test_missing_array_file_says_which(survey, tmp_path):
    save_survey(survey, tmp_path)
    (tmp_path / "tracks-0002.npz").unlink()
    with pytest.raises(StoreError, match=r"tracks-0002\.npz is missing"):
        load_survey(tmp_path)


@pytest.mark.parametrize("name", ["survey.json", "shots.yaml", "tracks-0000.npz"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\x00\xff\x80 not this"], ids=["empty", "half", "list", "noise"])
def test_damage_is_reported_with_the_remedy(survey, tmp_path, name, content):
    save_survey(survey, tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=r"survey is damaged.*survey the video again"):
        load_survey(tmp_path)


def test_another_format_is_refused(survey, tmp_path):
    save_survey(survey, tmp_path)
    summary = json.loads((tmp_path / "survey.json").read_text()) | {"format": 99}
    (tmp_path / "survey.json").write_text(json.dumps(summary))
    with pytest.raises(StoreError, match=r"format 99, this program reads format 1"):
        load_survey(tmp_path)


def test_unwritable_folder_says_what_to_do(survey, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written there.*Choose another work folder"):
        save_survey(survey, tmp_path / "file" / "survey")
