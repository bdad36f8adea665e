"""Damaged work folders: a sentence that names the file, whatever was done to it."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iconface_video.cli.main import main
from iconface_video.errors import StoreError
from iconface_video.files import read_arrays
from iconface_video.restore.crop_store import SegmentCrops, SegmentWriter, StoredCrop, StoreHeader, read_header, write_header
from iconface_video.tracking.store import load_survey, save_survey
from iconface_video.types import ClockReset, ColorTags, Segment, Shot, Survey, Track, VideoInfo
from tests.fuzz.test_pictures import png_claiming

Rng = np.random.Generator
SIZE = 32


def bend(data: bytes, rng: Rng) -> bytes:
    """Bits flipped, cut short, or a run of noise."""
    kind = int(rng.integers(4))
    if kind == 0:
        return data[: int(rng.integers(len(data)))]
    bent = bytearray(data)
    if kind == 1:
        first = int(rng.integers(len(bent)))
        bent[first : first + 16] = rng.bytes(16)
    else:
        for place in rng.integers(len(bent), size=int(rng.choice([1, 20]))):
            bent[place] ^= 1 << int(rng.integers(8))
    return bytes(bent)


# ---- crops


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "crops"
    rng = np.random.default_rng(0)
    with SegmentWriter(folder, 0) as writer:
        for pts in range(6):
            picture = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            writer.add(StoredCrop(pts * 100, 0, np.eye(2, 3), 1.0, 0.5, picture))
        writer.finish()
    facts = {"deinterlace": "auto", "start_pts": None, "end_pts": None, "frames": 6}
    write_header(folder, StoreHeader("fingerprint", "clip.mp4", (Segment(0, 0, 500),), facts))
    return folder


@pytest.mark.parametrize("name", ["segment-00000.crops", "segment-00000.npz", "store.json"])
def test_mutated_stores_are_read_as_they_were_or_refused(name: str, store: Path) -> None:
    whole = [crop.image for crop in SegmentCrops(store, 0)]
    data = (store / name).read_bytes()
    refused = 0
    for number in range(60):
        (store / name).write_bytes(bend(data, np.random.default_rng([number, 5])))
        try:
            read_header(store)
            found = [crop.image for crop in SegmentCrops(store, 0)]
        except StoreError as error:
            refused += 1
            said = str(error)
            if str(store) not in said or "\n" in said:
                raise AssertionError(f"mutant {number} says {said}") from error
        else:
            assert all(np.array_equal(one, other) for one, other in zip(whole, found)), number
    assert refused > 30 or name == "store.json"


def rows_of(store: Path) -> np.ndarray:
    with np.load(store / "segment-00000.npz") as content:
        return content["rows"].copy()


@pytest.mark.parametrize(
    ("field", "value"),
    [("offset", -5), ("offset", 2**62), ("length", 2**62), ("length", -1), ("length", 0), ("size", 0), ("size", -3),
     ("size", 2**30), ("fade", np.nan), ("fade", 7.0), ("crop_from_frame", np.nan), ("pts", 2**62)],
)  # fmt: skip
def test_an_index_that_lies(field: str, value: float, store: Path) -> None:
    """Before anything of the claimed size is read."""
    rows = rows_of(store)
    rows[field][2] = value
    np.savez(store / "segment-00000.npz", rows=rows, version=np.int64(1))
    with pytest.raises(StoreError, match="the index of segment 0 is damaged"):
        SegmentCrops(store, 0)


def test_a_crop_that_claims_to_be_huge(store: Path) -> None:
    """A PNG of 20000x20000 px that takes a few hundred bytes, with the right checksum."""
    bomb = png_claiming(20000, 20000)
    (store / "segment-00000.crops").write_bytes(bomb)
    rows = rows_of(store)[:1]
    rows["offset"], rows["length"], rows["crc"] = 0, len(bomb), zlib.crc32(bomb)
    np.savez(store / "segment-00000.npz", rows=rows, version=np.int64(1))
    with pytest.raises(StoreError, match=f"does not decode to {SIZE} px"):
        list(SegmentCrops(store, 0))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "null", "{", '{"version": 1}', '{"a":' * 100_000 + "1" + "}" * 100_000,
     '{"version": 1, "fingerprint": "", "input": "", "segments": [[0, 5, 1]], "facts": {}}',
     '{"version": 1, "fingerprint": "", "input": "", "segments": [[0, 0, 9], [1, 5, 20]], "facts": {}}',
     '{"version": 1, "fingerprint": "", "input": "", "segments": [["0", 0, 9]], "facts": {}}',
     '{"version": 1, "fingerprint": "", "input": "", "segments": [], "facts": {}}',
     '{"version": 1, "fingerprint": "", "input": "", "segments": [], "facts": []}'],
)  # fmt: skip
def test_render_refuses_a_broken_header(content: str, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store / "store.json").write_text(content)
    assert main(["render", str(store), "--input", str(store / "store.json")]) in (1, 2)
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert str(store) in message
    assert "unexpected" not in message


# ---- surveys


def some_survey(tmp_path: Path) -> Survey:
    info = VideoInfo(
        path=tmp_path / "clip.mp4", container="mp4", codec="h264", width=64, height=48, pix_fmt="yuv420p",
        time_base=Fraction(1, 1000), average_rate=Fraction(25), is_vfr=False, first_pts=0, duration_seconds=1.0,
        frame_count_declared=25, sample_aspect_ratio=Fraction(1), rotation=0, color=ColorTags(), bit_depth=8,
        field_order="progressive", clock_resets=(ClockReset(500, -40, 7000, ((0, 7000), (1, 7188))),),
    )  # fmt: skip
    rows, rng = 9, np.random.default_rng(0)
    track = Track(
        track_id=0, shot=0, birth_pts=0, birth_order=0, pts=np.arange(rows) * 40,
        boxes=rng.random((rows, 4), np.float32), landmarks=rng.random((rows, 5, 2), np.float32),
        scores=np.ones(rows, np.float32), parameters=rng.random((rows, 4)), quality=np.ones(rows, np.float32),
        fade=np.ones(rows, np.float32), embeddings=rng.random((2, 512), np.float32), embedding_pts=np.array([0, 200]),
        sharpness=np.ones(rows, np.float32),
    )  # fmt: skip
    return Survey(info, (Shot(0, 0, 960),), (track,), 25, 0, 960)


@pytest.fixture
def survey_folder(tmp_path: Path) -> Path:
    save_survey(some_survey(tmp_path), tmp_path / "survey")
    return tmp_path / "survey"


@pytest.mark.parametrize("name", ["survey.json", "shots.yaml", "tracks-0000.npz"])
def test_mutated_surveys_are_read_or_refused(name: str, survey_folder: Path) -> None:
    data = (survey_folder / name).read_bytes()
    for number in range(60):
        (survey_folder / name).write_bytes(bend(data, np.random.default_rng([number, 6])))
        try:
            load_survey(survey_folder)
        except StoreError as error:
            if str(survey_folder) not in str(error) or "\n" in str(error):
                raise AssertionError(f"mutant {number} says {error}") from error


@pytest.mark.parametrize("name", ["survey.json", "shots.yaml"])
def test_texts_nested_too_deep(name: str, survey_folder: Path) -> None:
    (survey_folder / name).write_text('{"a":' * 5000 + "1" + "}" * 5000)
    with pytest.raises(StoreError, match="damaged"):
        load_survey(survey_folder)


@pytest.mark.parametrize(
    ("column", "values"),
    [("boxes", np.zeros((9, 5), np.float32)), ("pts", np.zeros(9, np.int64)), ("scores", np.full(9, np.nan, np.float32)),
     ("pts", np.array([], np.int64)), ("fade", np.array(["x"] * 9)), ("embeddings", np.zeros((5, 512), np.float32))],
)  # fmt: skip
def test_columns_that_do_not_belong_together(column: str, values: np.ndarray, survey_folder: Path) -> None:
    path = survey_folder / "tracks-0000.npz"
    arrays = {**read_arrays(path), f"0.{column}": values}
    np.savez(path, **arrays)
    with pytest.raises(StoreError, match=r"damaged"):
        load_survey(survey_folder)


def test_a_track_of_a_shot_that_is_not_there(survey_folder: Path) -> None:
    path = survey_folder / "survey.json"
    content = json.loads(path.read_text())
    content["tracks"][0]["shot"] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match="shot 7"):
        load_survey(survey_folder)


# ---- arrays


def npz(path: Path, *members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def npy(shape: tuple[int, ...], body: bytes = b"", descr: str = "<f8") -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
    return header.getvalue() + body


def test_arrays_that_claim_more_than_they_hold(tmp_path: Path) -> None:
    for shape in ((2**40,), (2**31, 2**31), (10,)):
        with pytest.raises(ValueError, match=r"claims \d+ bytes and has"):
            read_arrays(npz(tmp_path / "lies.npz", ("a.npy", npy(shape, bytes(8)))))


def test_arrays_that_unpack_to_gigabytes(tmp_path: Path) -> None:
    path = npz(tmp_path / "bomb.npz", ("a.npy", npy((2**24,), bytes(2**27))))
    assert path.stat().st_size < 200_000
    with pytest.raises(ValueError, match="far more than such a file holds"):
        read_arrays(path)


def test_pickles_in_arrays_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_arrays(npz(tmp_path / "pickle.npz", ("a.npy", npy((1,), b"cos\nsystem\n", "|O"))))
    with pytest.raises(ValueError, match=r"\w"):
        read_arrays(npz(tmp_path / "pickle.npz", ("a.npy", b"\x80\x04N.")))


def test_arrays_come_back_to_the_bit(tmp_path: Path) -> None:
    arrays = {"a": np.arange(5), "b": np.zeros((0, 3), np.float32), "c": np.int64(7)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = read_arrays(tmp_path / "a.npz")
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_the_survey_itself_is_sound(survey_folder: Path, tmp_path: Path) -> None:
    """The damage above is what is refused, not the file it was made from."""
    loaded = load_survey(survey_folder)
    assert len(loaded.tracks) == 1
    assert (loaded.info, loaded.shots) == (some_survey(tmp_path).info, some_survey(tmp_path).shots)
