"""Damage with physical parameters: what is asked in MHz, ns, um and dB is there; old names keep their bytes."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from iconface_video.degrade.clip_effects import ClipFormat, degrade_frames
from iconface_video.degrade.codec import Codec
from iconface_video.degrade.digital_media import LostBlocks, Sensor
from iconface_video.degrade.film_gauge import FilmReel
from iconface_video.degrade.film_media import FILM_16, SUPER_8, FilmMedium
from iconface_video.degrade.interlacing import Interlaced, halfway, weave_fields
from iconface_video.degrade.presets import PRESETS
from iconface_video.degrade.tape_media import VHS_SP, TapeMedium
from iconface_video.degrade.tape_signal import Tape
from iconface_video.errors import UsageError

FORMAT = ClipFormat(720, 288, 25.0)
QUIET = replace(
    VHS_SP,
    luma_snr_db=90,
    chroma_snr_db=90,
    line_noise=0,
    peaking=0,
    jitter_ns=0,
    bend_ns=0,
    flag_ns=0,
    head_switch_lines=0,
    dropouts_per_second=0,
    cross_color=0,
    agc=0,
    saturation=1,
    black_lift=0,
    chroma_delay_ns=0,
    chroma_delay_lines=0,
)
STEADY = FilmMedium(
    frame_mm=4.0,
    frames_per_second=25,
    rms_granularity=0,
    weave_um=0,
    jump_um=0,
    flicker=0,
    scratches=0,
    dust_per_frame=0,
    vignette=0,
    sharp_lines_mm=1000,
)


def run(frames, effect, seed=1, clip=FORMAT):
    return list(degrade_frames(iter(frames), (effect,), clip, seed))


def played(frame, medium: TapeMedium, count=1, clip=FORMAT):
    return run([frame] * count, Tape(medium, "progressive"), clip=clip)


def ycc(frame):
    return cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb).astype(np.float64)


# Bytes of 6 frames 144x96 behind the effects without the codecs, whose bytes are their libraries'. Grain has two: OpenCV's
# cubic enlargement rounds differently on processors with AVX2 and without.
BYTES = {
    "light": {"278209a5aba92eef"},
    "medium": {"847601c27094a640"},
    "heavy": {"927d7550dc949b2f"},
    "vhs": {"616fe5d809ae5990"},
    "film": {"8e116934e52b4fed", "7bb3721de64161b9"},
}


@pytest.mark.parametrize("name", BYTES)
def test_the_old_names_keep_their_bytes_for_a_seed(name):
    photo = cv2.resize(data.astronaut()[:300, :450], (200, 96), interpolation=cv2.INTER_AREA)
    frames = [np.ascontiguousarray(photo[:, 40 - 2 * i : 184 - 2 * i]) for i in range(6)]
    effects = [effect for effect in PRESETS[name] if not isinstance(effect, Codec)]
    out = degrade_frames(iter(frames), effects, ClipFormat(144, 96, 25.0), 1)
    assert hashlib.sha256(b"".join(frame.tobytes() for frame in out)).hexdigest()[:16] in BYTES[name]


def sweep(mhz: float, channel: int = 0) -> tuple[np.ndarray, float]:
    """A picture that swings `mhz` million times a second along the lines, in light or in Cr; and its amplitude."""
    x = np.arange(720)
    swing = 50 * np.sin(2 * np.pi * mhz * x * 52 / 720)
    codes = np.full((288, 720, 3), 128.0)
    codes[:, :, channel] += swing
    frame = cv2.cvtColor(np.uint8(np.round(codes)), cv2.COLOR_YCrCb2RGB)
    return frame, float(ycc(frame)[:, 100:-100, channel].std())


@pytest.mark.parametrize(("channel", "mhz"), [(0, 3.0), (0, 1.5), (1, 0.5)])
def test_bandwidth_halves_what_swings_at_its_frequency(channel, mhz):
    frame, before = sweep(mhz, channel)
    medium = replace(QUIET, luma_mhz=mhz if channel == 0 else 5, chroma_mhz=mhz if channel else 2)
    (out,) = played(frame, medium)
    assert ycc(out)[:, 100:-100, channel].std() == pytest.approx(before / 2, rel=0.12)
    slow, before = sweep(mhz / 8, channel)
    (out,) = played(slow, medium)
    assert ycc(out)[:, 100:-100, channel].std() == pytest.approx(before, rel=0.06)


def edges(frame, channel):
    """Column at which each row passes the middle of its step."""
    plane = ycc(frame)[:, :, channel]
    half = (plane[:, :50].mean() + plane[:, -50:].mean()) / 2
    return (plane > half).argmax(axis=1) if plane[0, -1] > half else (plane < half).argmax(axis=1)


def test_color_comes_late_by_its_delay_and_later_in_copies():
    frame = np.zeros((288, 720, 3), np.uint8)
    frame[:, :360], frame[:, 360:] = (180, 40, 40), (40, 60, 200)
    for count in (1, 2):
        (out,) = played(frame, replace(QUIET, chroma_delay_ns=500, generations=count))
        assert edges(out, 1).mean() - 360 == pytest.approx(count * 0.5 * 720 / 52, abs=1.6)
        assert edges(out, 0).mean() == pytest.approx(360, abs=2)


def test_noise_is_as_loud_as_its_db_and_louder_in_copies():
    grey = np.full((288, 720, 3), 128, np.uint8)
    for count in (1, 4):
        (out,) = played(grey, replace(QUIET, luma_snr_db=38, chroma_snr_db=34, generations=count))
        grown = np.sqrt(count)
        assert ycc(out)[:, :, 0].std() == pytest.approx(255 * 10 ** (-38 / 20) * grown, rel=0.15)
        assert ycc(out)[:, :, 1].std() == pytest.approx(255 * 10 ** (-34 / 20) * grown, rel=0.25)


def test_lines_jitter_by_their_time_and_the_lowest_are_torn():
    step = np.zeros((288, 720, 3), np.uint8)
    step[:, 360:] = 255
    (out,) = played(step, replace(QUIET, luma_mhz=8, jitter_ns=200))
    assert edges(out, 0).std() == pytest.approx(0.2 * 720 / 52, rel=0.2)
    outs = played(step, replace(QUIET, luma_mhz=8, head_switch_lines=8, head_switch_ns=3000), count=5)
    for out in outs:
        places = edges(out, 0)
        assert abs(places[:270] - 360).max() <= 1
        assert abs(places[-8:] - 360).mean() > 5


def test_dropouts_are_counted_by_the_second_and_compensated():
    grey = np.full((288, 720, 3), 110, np.uint8)
    lost = played(grey, replace(QUIET, dropouts_per_second=50, compensated=0), count=25)
    rows = [np.abs(ycc(out)[:, :, 0] - 110).max(axis=1) > 60 for out in lost]
    assert 25 < sum(int(row.sum()) for row in rows) < 90
    mended = played(grey, replace(QUIET, dropouts_per_second=50, compensated=1), count=25)
    assert np.mean([np.abs(ycc(out)[:, :, 0] - 110).mean() for out in mended]) < 0.2 * np.mean(
        [np.abs(ycc(out)[:, :, 0] - 110).mean() for out in lost]
    )


def test_fine_stripes_around_the_carrier_become_color():
    frame, _ = sweep(4.0)
    (plain,) = played(frame, QUIET)
    (crossed,) = played(frame, replace(QUIET, cross_color=0.6))
    assert ycc(plain)[:, :, 1].std() < 1
    assert ycc(crossed)[:, :, 1].std() > 4


def test_gain_follows_the_light_late():
    dark, light = np.full((288, 720, 3), 30, np.uint8), np.full((288, 720, 3), 200, np.uint8)
    outs = run([light] * 40 + [dark] * 40, Tape(replace(QUIET, agc=0.3), "progressive"))
    means = [float(out.mean()) for out in outs]
    assert means[0] > means[30] + 10
    assert means[41] < means[75] - 2


def test_each_field_is_of_its_own_moment():
    """A bar that moves 8 px a frame: the second field shows it 4 px further."""
    frames = []
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (144, 400)).astype(np.float32), (0, 0), 3)
    texture = np.uint8(cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX))
    for i in range(4):
        frames.append(np.repeat(texture[:, 100 - 8 * i : 300 - 8 * i, None], 3, axis=2))
    woven = run(frames, Interlaced(), clip=ClipFormat(200, 144))
    assert np.array_equal(woven[1][0::2], frames[1][0::2])
    second = woven[1][1::2, 20:-20].astype(float)
    truth = [texture[1::2, 120 - 8 - shift : 280 - 8 - shift, None].astype(float) for shift in (0, 4, 8)]
    errors = [np.abs(second - picture).mean() for picture in truth]
    assert errors[1] < 0.35 * min(errors[0], errors[2])
    assert np.array_equal(halfway(frames[0], frames[0]), frames[0])


def test_fields_are_woven_from_a_clip_of_twice_the_rate():
    frames = [np.full((6, 4, 3), i, np.uint8) for i in range(5)]
    woven = list(weave_fields(iter(frames), top_first=False))
    assert [frame[:, 0, 0].tolist() for frame in woven] == [[1, 0] * 3, [3, 2] * 3]


def test_a_crop_loses_what_its_picture_lost():
    """256 px cut out of a line of 720 px lose as much as the whole line, in px."""
    frame, _ = sweep(3.0)
    crop = np.ascontiguousarray(frame[:, 200:456])
    (whole,) = played(frame, QUIET)
    (part,) = run([crop], Tape(QUIET, "progressive", line_px=720), clip=ClipFormat(256, 288))
    assert np.abs(whole[:, 220:436].astype(int) - part[:, 20:-20]).mean() < 1.5


def test_grain_follows_density_and_selwyn():
    """In a reversal's densities, not in its lights; half as strong where a px sees four times the area."""
    film = replace(STEADY, rms_granularity=10, grain_um=0.5, grain_color=0.0)

    def deviation(code: int, height: int) -> float:
        (out,) = run([np.full((height, 300, 3), code, np.uint8)], FilmReel(film), clip=ClipFormat(300, height))
        return float((np.log(np.maximum(out[20:-20, 20:-20, 0], 1) / 255.0) * 2.2 / np.log(10)).std())

    density = -2.2 * np.log10(128 / 255)
    expected = 0.010 * 42.5 / (4000 / 300) * np.sqrt(density + 0.05)
    assert deviation(128, 300) == pytest.approx(expected, rel=0.15)
    assert deviation(128, 600) == pytest.approx(2 * expected, rel=0.2)
    assert deviation(230, 300) < 0.6 * deviation(60, 300)
    negative = replace(film, is_negative=True)
    (out,) = run([np.full((300, 300, 3), 200, np.uint8)], FilmReel(negative), clip=ClipFormat(300, 300))
    (reversal,) = run([np.full((300, 300, 3), 200, np.uint8)], FilmReel(film), clip=ClipFormat(300, 300))
    assert out.std() > 1.5 * reversal.std()


def test_the_gate_is_unsteady_by_its_micrometres():
    photo = cv2.cvtColor(cv2.resize(data.astronaut(), (300, 300)), cv2.COLOR_RGB2GRAY)
    frames = [np.repeat(photo[:, :, None], 3, axis=2)] * 120
    outs = run(frames, FilmReel(replace(STEADY, jump_um=40)), clip=ClipFormat(300, 300))
    window = cv2.createHanningWindow((300, 300), cv2.CV_32F)
    places = [cv2.phaseCorrelate(np.float32(photo), np.float32(out[..., 1]), window)[0] for out in outs]
    assert np.std([y for _, y in places]) == pytest.approx(40 / (4000 / 300), rel=0.2)
    assert np.std([x for x, _ in places]) < 0.1


def test_dirt_has_both_signs_and_dust_is_in_one_frame_alone():
    film = replace(STEADY, dust_per_frame=12, light_share=0.5)
    base = run([np.full((300, 400, 3), 128, np.uint8)], FilmReel(STEADY), clip=ClipFormat(400, 300))[0].astype(int)
    outs = run([np.full((300, 400, 3), 128, np.uint8)] * 20, FilmReel(film), clip=ClipFormat(400, 300))
    off = [out[..., 1].astype(int) - base[..., 1] for out in outs]
    assert sum((o > 40).sum() for o in off) > 30
    assert sum((o < -40).sum() for o in off) > 30
    both = sum(((abs(a) > 40) & (abs(b) > 40)).sum() for a, b in itertools.pairwise(off))
    assert both < 0.05 * sum((abs(o) > 40).sum() for o in off)


def test_film_of_18_frames_repeats_some_of_25():
    rng = np.random.default_rng(0)
    frames = [np.full((96, 144, 3), v, np.uint8) for v in rng.integers(40, 220, 50)]
    outs = run(frames, FilmReel(SUPER_8), clip=ClipFormat(144, 96, 25.0))
    repeats = sum(np.array_equal(a, b) for a, b in itertools.pairwise(outs))
    assert repeats == 14
    outs = run(frames, FilmReel(FILM_16), clip=ClipFormat(144, 96, 24.0))
    assert not any(np.array_equal(a, b) for a, b in itertools.pairwise(outs))


def test_cyan_that_faded_leaves_a_red_picture():
    ramp = np.repeat(np.linspace(0, 255, 400).astype(np.uint8)[None, :, None], 96, 0).repeat(3, 2)
    (out,) = run([ramp], FilmReel(replace(STEADY, dyes=(0.5, 1, 1))), clip=ClipFormat(400, 96))
    assert out[:, 50:350, 0].mean() > out[:, 50:350, 1].mean() + 30


def test_a_sensor_is_noisier_in_absolute_terms_where_it_is_light():
    def noise(code: int) -> float:
        (out,) = run([np.full((96, 144, 3), code, np.uint8)], Sensor(1.0, 6.0, hunting=0), clip=ClipFormat(144, 96))
        return float(out[..., 1].std())

    assert noise(128) == pytest.approx(6.0, rel=0.3)
    assert noise(20) < 0.6 * noise(128)


def test_lost_blocks_show_the_frame_before():
    frames = [np.full((96, 144, 3), 10 * i, np.uint8) for i in range(10)]
    outs = run(frames, LostBlocks(3.0), clip=ClipFormat(144, 96))
    for number, out in enumerate(outs[1:], 1):
        assert set(np.unique(out)) <= {10 * k for k in range(number + 1)}
    assert any((out != frame).any() for out, frame in zip(outs, frames))


def test_senseless_parameters_are_refused():
    with pytest.raises(UsageError, match="scan is 'weave'"):
        Tape(VHS_SP, "weave")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="line_px is 0"):
        Tape(VHS_SP, line_px=0)
    with pytest.raises(UsageError, match="frame_px is -1"):
        FilmReel(SUPER_8, -1)
