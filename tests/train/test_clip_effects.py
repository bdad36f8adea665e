"""Effects on whole clips: as many frames out as in, seeded, coherent in time, and each does what its name says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from iconface_video.degrade import filmed
from iconface_video.degrade.clip_effects import (
    Banding,
    Bandwidth,
    BlackAndWhite,
    ChromaShift,
    ClipFormat,
    Dropouts,
    Fading,
    Interlace,
    LineJitter,
    TapeNoise,
    degrade_frames,
)
from iconface_video.degrade.codec import Codec
from iconface_video.degrade.damaged_files import degrade_clip, degrade_pictures
from iconface_video.degrade.film import FilmGrain, GateWeave, Scratches
from iconface_video.degrade.filmed import degraded_clip_pair
from iconface_video.degrade.presets import EFFECTS, PRESETS, effects_named
from iconface_video.errors import InputError, OutputError, UsageError

FORMAT = ClipFormat(144, 96, 25.0)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """18 frames (96, 144, 3): a photo that moves 2 px to the right each frame."""
    photo = cv2.resize(data.astronaut()[:300, :450], (200, 96), interpolation=cv2.INTER_AREA)
    return [np.ascontiguousarray(photo[:, 40 - 2 * i : 184 - 2 * i]) for i in range(18)]


def run(frames, *effects, seed=1, clip=FORMAT):
    return list(degrade_frames(iter(frames), effects, clip, seed))


def still(frames):
    return [frames[0]] * len(frames)


@pytest.mark.parametrize("name", sorted(EFFECTS))
def test_every_effect_keeps_count_and_size_and_is_seeded(frames, name):
    first, again = run(frames, EFFECTS[name]()), run(frames, EFFECTS[name]())
    assert [frame.shape for frame in first] == [(96, 144, 3)] * len(frames)
    assert all(frame.dtype == np.uint8 for frame in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert any(not np.array_equal(a, b) for a, b in zip(first, frames))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_damage_but_leave_the_picture_recognisable(frames, name):
    damaged = run(frames, *PRESETS[name])
    assert len(damaged) == len(frames)
    assert 14 < np.mean([cv2.PSNR(a, b) for a, b in zip(frames, damaged)]) < 40


def test_presets_get_worse_from_light_to_heavy(frames):
    figures = [
        np.mean([cv2.PSNR(a, b) for a, b in zip(frames, run(frames, *PRESETS[name]))]) for name in ("light", "medium", "heavy")
    ]
    assert figures == sorted(figures, reverse=True)


def test_effects_hold_few_frames(frames):
    """A clip may be long: no effect may wait for its end."""
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield frames[taken % len(frames)]

    for name, effects in PRESETS.items():
        taken = 0
        stream = degrade_frames(endless(), effects, FORMAT, 1)
        for _ in range(5):
            next(stream)
        assert taken < 60, name


def test_taking_an_effect_out_leaves_the_others_draws(frames):
    both = run(still(frames), Dropouts(5.0), FilmGrain())
    alone = run(still(frames), FilmGrain())
    untouched = np.stack(both) == np.stack(alone)
    assert untouched.mean() > 0.9


def test_interlace_weaves_two_moments(frames):
    woven = run(frames, Interlace())
    assert np.array_equal(woven[3][0::2], frames[3][0::2])
    assert np.array_equal(woven[3][1::2], frames[4][1::2])
    assert np.array_equal(woven[-1], frames[-1])


def test_bandwidth_takes_fine_detail_across_only():
    stripes = np.zeros((96, 144, 3), np.uint8)
    stripes[:, ::2] = 255
    lines = np.ascontiguousarray(np.zeros((96, 144, 3), np.uint8))
    lines[::2] = 255
    (across,) = run([stripes], Bandwidth(200, 576, 100))
    (down,) = run([lines], Bandwidth(200, 576, 100))
    assert across[20:-20, 20:-20].std() < 15
    assert down[20:-20, 20:-20].std() > 100


def test_chroma_shift_moves_color_and_keeps_light(frames):
    (damaged, *_) = run(frames, ChromaShift(24, 24, 0))
    light = [cv2.cvtColor(f, cv2.COLOR_RGB2YCrCb)[..., 0].astype(float) for f in (frames[0], damaged)]
    color = [cv2.cvtColor(f, cv2.COLOR_RGB2YCrCb)[..., 1].astype(float) for f in (frames[0], damaged)]
    assert np.abs(light[0] - light[1]).mean() < np.abs(color[0] - color[1]).mean()


def test_gate_weave_is_slow(frames):
    """Neighbouring frames move less against each other than distant ones, and the mean place stays."""
    clip = ClipFormat(144, 96)
    moved = run([frames[0]] * 120, GateWeave(20.0, 0.0), clip=clip)
    grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY).astype(np.float32) for f in (frames[0], *moved)]
    places = np.array([cv2.phaseCorrelate(grey[0], g)[0] for g in grey[1:]])
    near, far = np.abs(np.diff(places, axis=0)).mean(), np.abs(places[40:] - places[:-40]).mean()
    assert 0.2 < places.std() < 10
    assert near < 0.75 * far


def test_scratches_stay_at_their_place_for_a_while(frames):
    damaged = run([np.full((96, 144, 3), 120, np.uint8)] * 30, Scratches(3.0, 2.0), seed=1)
    profiles = np.stack([np.abs(f.astype(float) - 120).mean(axis=(0, 2)) for f in damaged])
    assert profiles.max() > 10
    frame, strongest = np.unravel_index(profiles[:-1].argmax(), profiles[:-1].shape)
    assert profiles[frame + 1][max(0, strongest - 2) : strongest + 3].max() > 0.4 * profiles[frame][strongest]
    assert (profiles.max(axis=1) > 5).sum() >= 10


def test_jitter_moves_lines_sideways_and_tears_the_lowest():
    clip = ClipFormat(320, 288)
    picture = np.zeros((288, 320, 3), np.uint8)
    picture[:, 160:] = 255
    (damaged,) = run([picture], LineJitter(0.8, 2.0, 12.0), clip=clip)
    edges = (damaged[..., 0] < 128).sum(axis=1)
    assert edges[:270].std() > 0.3
    assert abs(edges[:270].mean() - 160) < 6
    assert abs(edges[-1] - 160) > 3


def test_noise_is_drawn_out_along_lines():
    clip = ClipFormat(360, 288)
    (noisy,) = run([np.full((288, 360, 3), 128, np.uint8)], TapeNoise(6.0, 10.0), clip=clip)
    color = cv2.cvtColor(noisy, cv2.COLOR_RGB2YCrCb)[..., 1].astype(float) - 128
    along, across = (color[:, 1:] * color[:, :-1]).mean(), (color[1:] * color[:-1]).mean()
    assert along > 0.6 * color.var()
    assert abs(across) < 0.2 * color.var()


def test_fading_compresses_the_range_and_flickers(frames):
    damaged = run([frames[0]] * 40, Fading(0.6, 30, 0.0, 0.1))
    assert min(f.min() for f in damaged) >= 28
    means = np.array([f.mean() for f in damaged])
    assert means.std() > 1


def test_black_and_white_has_no_color(frames):
    (grey, *_) = run(frames, BlackAndWhite())
    assert np.array_equal(grey[..., 0], grey[..., 1])
    assert np.array_equal(grey[..., 0], grey[..., 2])


def test_banding_leaves_few_levels():
    ramp = np.repeat(np.linspace(0, 255, 144).astype(np.uint8)[None, :, None], 96, 0).repeat(3, 2)
    (banded,) = run([ramp], Banding(8))
    assert len(np.unique(banded[..., 1])) <= 10


@pytest.mark.parametrize("name", ["h264", "mpeg2", "dv"])
def test_codec_gives_every_frame_back_in_order(frames, name):
    damaged = run(frames, Codec(name, 0.5))
    assert len(damaged) == len(frames)
    for index, frame in enumerate(damaged):
        errors = [np.abs(frame.astype(int) - other).mean() for other in frames[max(0, index - 1) : index + 2]]
        assert int(np.argmin(errors)) == (0 if index == 0 else 1)


def test_codec_takes_odd_sizes(frames):
    odd = [np.ascontiguousarray(f[:95, :143]) for f in frames]
    assert run(odd, Codec("h264"), clip=ClipFormat(143, 95))[0].shape == (95, 143, 3)


def test_fewer_bits_more_damage(frames):
    good, poor = run(frames, Codec("h264", 1.0)), run(frames, Codec("h264", 0.05))
    assert cv2.PSNR(frames[9], good[9]) > cv2.PSNR(frames[9], poor[9]) + 2


_HASH = """
import hashlib, numpy as np
from iconface_video.degrade.clip_effects import ClipFormat
from iconface_video.degrade.codec import Codec
rng = np.random.default_rng(0)
noise = [np.clip(128 + 30 * rng.standard_normal((96, 144, 3)), 0, 255).astype(np.uint8) for _ in range(16)]
out = Codec("h264", 0.1).apply(iter(noise), ClipFormat(144, 96), rng)
print(hashlib.sha256(b"".join(f.tobytes() for f in out)).hexdigest())
"""


def test_h264_does_not_depend_on_what_memory_held():
    """x264's default rate control reads memory that it never wrote; glibc can fill fresh memory with what we like."""
    results = set()
    for fill in ("0", "170"):
        done = subprocess.run(
            [sys.executable, "-c", _HASH], env={"MALLOC_PERTURB_": fill, "PATH": ""}, capture_output=True, text=True, check=True
        )
        results.add(done.stdout)
    assert len(results) == 1


def test_wrong_codec_and_rate_are_refused():
    with pytest.raises(UsageError, match="must be one of h264, mpeg2, dv"):
        Codec("vp9")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"bits_per_pixel is 0"):
        Codec("h264", 0)


def test_frames_of_another_size_are_refused(frames):
    with pytest.raises(UsageError, match=r"must be uint8 \(50, 144, 3\)"):
        run(frames, FilmGrain(), clip=ClipFormat(144, 50))


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UsageError, match="Did you mean 'vhs'"):
        effects_named("vsh", [])
    with pytest.raises(UsageError, match="Did you mean 'dropouts'"):
        effects_named(None, ["dropout"])
    with pytest.raises(UsageError, match="nothing to do"):
        effects_named(None, [])


@pytest.fixture
def clip_file(tmp_path) -> Path:
    """25 frames of FFmpeg's test picture, 160x120, with a tone."""
    path = tmp_path / "in.mp4"
    command = (
        "ffmpeg -v error -f lavfi -i testsrc=s=160x120:r=25:d=1 -f lavfi -i sine=d=1 -c:v libx264 -pix_fmt yuv420p -c:a aac"
    )
    subprocess.run([*command.split(), str(path)], check=True)
    return path


def probe(path: Path, stream: str, entries: str) -> list[dict[str, str]]:
    command = f"ffprobe -v error -select_streams {stream} -show_entries packet={entries} -of json"
    found = subprocess.run([*command.split(), str(path)], check=True, capture_output=True, text=True)
    return json.loads(found.stdout)["packets"]


def test_a_clip_keeps_its_times_and_sound(clip_file, tmp_path):
    out = degrade_clip(clip_file, tmp_path / "out.mp4", PRESETS["vhs"], 3)
    times = [sorted(float(p["pts_time"]) for p in probe(path, "v", "pts_time")) for path in (clip_file, out)]
    assert times[0] == pytest.approx(times[1])
    hashes = [[p["data_hash"] for p in _with_hashes(path)] for path in (clip_file, out)]
    assert hashes[0] == hashes[1]


def _with_hashes(path: Path) -> list[dict[str, str]]:
    command = "ffprobe -v error -select_streams a -show_packets -show_data_hash md5 -of json"
    return json.loads(subprocess.run([*command.split(), str(path)], check=True, capture_output=True, text=True).stdout)[
        "packets"
    ]


def test_a_folder_is_damaged_by_name_not_by_order(tmp_path):
    photo = cv2.resize(data.astronaut(), (96, 96), interpolation=cv2.INTER_AREA)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), photo)
    assert degrade_pictures(folder, tmp_path / "both", 1, strength=9.0, effects=PRESETS["film"]) == 2
    (folder / "a.png").unlink()
    assert degrade_pictures(folder, tmp_path / "one", 1, strength=9.0, effects=PRESETS["film"]) == 1
    a, b = (cv2.imread(str(tmp_path / "both" / name)) for name in ("a.png", "b.png"))
    assert not np.array_equal(a, b)
    assert np.array_equal(b, cv2.imread(str(tmp_path / "one" / "b.png")))


def test_folders_are_refused_where_work_would_be_lost(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="no pictures in it"):
        degrade_pictures(tmp_path / "in", tmp_path / "out", 1, strength=3)
    cv2.imwrite(str(tmp_path / "in" / "a.png"), np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(UsageError, match="nothing to do"):
        degrade_pictures(tmp_path / "in", tmp_path / "out", 1)
    with pytest.raises(OutputError, match="is the input folder"):
        degrade_pictures(tmp_path / "in", tmp_path / "in", 1, strength=3)
    degrade_pictures(tmp_path / "in", tmp_path / "out", 1, strength=3)
    with pytest.raises(OutputError, match="exists already"):
        degrade_pictures(tmp_path / "in", tmp_path / "out", 1, strength=3)


def test_a_filmed_pair_shows_the_face_where_it_is_and_what_the_codec_did_to_it():
    face = cv2.resize(data.astronaut()[10:250, 105:345], (128, 128), interpolation=cv2.INTER_AREA)
    move = np.array([[1, 0, 5], [0, 1, -3]], np.float32)
    truth = cv2.warpAffine(face, move, (128, 128), borderMode=cv2.BORDER_REFLECT_101)
    inner = np.s_[12:-12, 12:-12]

    def error(picture: np.ndarray, clean: np.ndarray) -> float:
        return float(np.abs(picture[inner].astype(float) - clean[inner]).mean())

    errors = {}
    for level in (0.0, 0.9):
        pairs = [degraded_clip_pair(face, move, level, np.random.default_rng(seed)) for seed in range(8)]
        for first, second in pairs:
            assert first.shape == second.shape == face.shape
            assert error(first, face) < error(first, truth)
            assert error(second, truth) < error(second, face)
        errors[level] = np.median([error(first, face) for first, _ in pairs])
    assert errors[0.9] > 1.5 * errors[0.0]
    again = degraded_clip_pair(face, move, 0.9, np.random.default_rng(7))
    assert all(np.array_equal(a, b) for a, b in zip(again, pairs[7]))


def test_a_filmed_pair_is_cut_out_exactly_where_the_face_is(monkeypatch):
    """Without damage nothing but resampling is left: neither crop may be off by a third of a px."""
    monkeypatch.setattr(filmed, "draw_effects", lambda level, rng: ())
    face = cv2.resize(data.astronaut()[10:250, 105:345], (128, 128), interpolation=cv2.INTER_AREA)
    move = np.array([[1, 0, 2], [0, 1, -1]], np.float32)
    truth = cv2.warpAffine(face, move, (128, 128), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    window = cv2.createHanningWindow((96, 96), cv2.CV_32F)

    def light(picture: np.ndarray) -> np.ndarray:
        return np.float32(picture[16:-16, 16:-16]).mean(axis=2)

    for seed in range(25):
        for seen, clean in zip(degraded_clip_pair(face, move, 0.5, np.random.default_rng(seed)), (face, truth)):
            (x, y), _ = cv2.phaseCorrelate(light(seen), light(clean), window)
            assert max(abs(x), abs(y)) < 0.33


def test_both_frames_of_a_filmed_pair_are_woven(monkeypatch):
    """A clip's last frame has no next one to weave with: it may not be one of the pair."""
    monkeypatch.setattr(filmed, "draw_effects", lambda level, rng: (Interlace(),))
    face = cv2.resize(data.astronaut()[10:250, 105:345], (128, 128), interpolation=cv2.INTER_AREA)
    errors = []
    for seed in range(30):
        pair = degraded_clip_pair(face, np.eye(2, 3, dtype=np.float32), 0.5, np.random.default_rng(seed))
        errors.append([np.abs(crop[12:-12, 12:-12].astype(float) - face[12:-12, 12:-12]).mean() for crop in pair])
    first, second = np.sort(np.array(errors), axis=0)[-8:].mean(axis=0)
    assert 0.7 < second / first < 1.4
