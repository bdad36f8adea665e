"""The temporal filter takes out flicker, and neither smears what moves nor brings grain back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from iconface_video.render.paste import crop_mask
from iconface_video.render.temporal import FRAME_BY_FRAME, FROM_SEVERAL_FRAMES, Reach, TemporalFilter
from tests.moved_face import SIZE, moved, still_face

INNER = slice(20, -20)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return still_face()


def flicker(rng: np.random.Generator, sigma: float = 8.0) -> np.ndarray:
    """What a restorer invents anew in each frame: blobs of texture."""
    blobs = cv2.GaussianBlur(rng.normal(size=(SIZE, SIZE, 3)).astype(np.float32), (0, 0), 1.5)
    return blobs / blobs.std() * sigma


def as_bytes(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def rms_of(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((np.float32(a) - np.float32(b)) ** 2).mean()))


def rms(a: np.ndarray, b: np.ndarray) -> float:
    return rms_of(a[INNER, INNER], b[INNER, INNER])


def filter_track(frames, reach: Reach = FRAME_BY_FRAME, mask: np.ndarray | None = None):
    """The whole filter at once: (pts, source, restored) -> (pts, filtered)."""
    track_filter = TemporalFilter(reach, mask)
    for frame in frames:
        yield from track_filter.push(*frame)
    yield from track_filter.finish()


def sharpness(picture: np.ndarray) -> float:
    return float(cv2.Laplacian(np.float32(picture), cv2.CV_32F)[INNER, INNER].std())


def test_flicker_falls_and_sharpness_stays_on_a_moving_face(face):
    rng = np.random.default_rng(0)
    clean = [moved(face, 0.9 * t, 0.3 * t) for t in range(12)]
    sources = [as_bytes(cv2.GaussianBlur(c, (0, 0), 1.5) + rng.normal(0, 4, c.shape)) for c in clean]
    restored = [as_bytes(c + flicker(rng)) for c in clean]
    filtered = [picture for _, picture in filter_track(zip(range(12), sources, restored))]
    before = np.mean([rms(r, c) for r, c in zip(restored[3:9], clean[3:9])])
    after = np.mean([rms(f, c) for f, c in zip(filtered[3:9], clean[3:9])])
    assert after < 0.65 * before
    still = [picture for _, picture in filter_track(zip(range(12), sources, clean))]
    assert sharpness(still[6]) > 0.95 * sharpness(clean[6])


def test_grain_of_the_source_does_not_come_back(face):
    """The restorer gives a clean picture from grainy ones: averaging (restored - source) would put grain into the result."""
    rng = np.random.default_rng(1)
    sources = [as_bytes(face + rng.normal(0, 15, face.shape)) for _ in range(9)]
    filtered = [picture for _, picture in filter_track(zip(range(9), sources, [face] * 9))]
    assert rms(filtered[4], face) < 0.2 * 15


def test_a_blink_is_not_mixed_with_its_neighbours(face):
    """One frame in which the eyes are closed: source and restored agree on it, so must the output."""
    shut = face.copy()
    lids = (slice(50, 66), slice(30, 98))
    shut[lids] = face[70:86, 30:98].mean(axis=(0, 1)).astype(np.uint8)
    pictures = [face] * 4 + [shut] + [face] * 4
    filtered = [picture for _, picture in filter_track(zip(range(9), pictures, pictures))]
    opened = np.abs(np.float32(face[lids]) - np.float32(shut[lids])).mean()
    assert np.abs(filtered[4][lids] - shut[lids]).mean() < 0.1 * opened
    for neighbour in (3, 5):
        assert np.abs(filtered[neighbour][lids] - face[lids]).mean() < 0.1 * opened


def test_a_blink_in_noise_stays_in_its_frames(face):
    """Two frames with shut eyes in a noisy input: the noise may cost tolerance, but not so much that lids are mixed with eyes."""
    rng = np.random.default_rng(6)
    shut = face.copy()
    lids = (slice(50, 66), slice(30, 98))
    shut[lids] = face[70:86, 30:98].mean(axis=(0, 1)).astype(np.uint8)
    clean = [face] * 5 + [shut] * 2 + [face] * 5
    noisy = [as_bytes(picture + rng.normal(0, 6, face.shape)) for picture in clean]
    filtered = [picture for _, picture in filter_track(zip(range(12), noisy, noisy))]
    opened = rms_of(face[lids], shut[lids])
    for t in range(3, 9):
        left = cv2.GaussianBlur(filtered[t] - np.float32(clean[t]), (0, 0), 2)[lids]  # without the noise itself
        assert np.sqrt((left**2).mean()) < 0.05 * opened
    assert rms(filtered[2], clean[2]) < 0.6 * rms(noisy[2], clean[2])


def test_identical_frames_pass_unchanged(face):
    filtered = list(filter_track((t, face, face) for t in range(6)))
    for _, picture in filtered:
        assert np.abs(picture - face).max() < 0.01


def test_what_the_mask_shows_is_filtered_as_if_there_were_no_mask(face):
    rng = np.random.default_rng(5)
    mask = crop_mask(SIZE, "ellipse", 0.25)
    frames = [(t, as_bytes(moved(face, t, 0)), as_bytes(moved(face, t, 0) + flicker(rng))) for t in range(9)]
    whole, seen = (dict(filter_track(frames, mask=chosen))[4] for chosen in (None, mask))
    assert np.abs(whole - frames[4][2])[mask > 0].mean() > 2
    assert np.abs(whole - seen)[mask > 0.2].mean() < 0.1


def test_flow_goes_step_by_step_to_frames_further_away(face):
    """Six px a frame: four frames away it is twenty-four, and each frame still finds the same face."""
    rng = np.random.default_rng(7)
    clean = [moved(face, 6.0 * t, 0) for t in range(9)]
    filtered = dict(filter_track((t, as_bytes(c), as_bytes(c + flicker(rng))) for t, c in enumerate(clean)))
    assert rms(filtered[4], clean[4]) < 0.6 * rms(clean[4] + flicker(rng), clean[4])


@pytest.mark.parametrize("reach", [FRAME_BY_FRAME, FROM_SEVERAL_FRAMES])
def test_delay_order_and_flush(face, reach):
    track_filter = TemporalFilter(reach)
    out = [track_filter.push(t, face, face) for t in range(10)]
    assert [len(ready) for ready in out] == [0] * reach.radius + [1] * (10 - reach.radius)
    rest = track_filter.finish()
    assert [pts for ready in [*out, rest] for pts, _ in ready] == list(range(10))
    assert track_filter.finish() == []


def test_memory_does_not_grow_with_the_track(face):
    track_filter, kept = TemporalFilter(), 2 * FRAME_BY_FRAME.radius + 1
    for t in range(60):
        track_filter.push(t, moved(face, 0.01 * t, 0), face)
        assert len(track_filter._frames) <= kept
        assert len(track_filter._flows) <= kept**2


@pytest.mark.parametrize("reach", [FRAME_BY_FRAME, FROM_SEVERAL_FRAMES])
def test_result_does_not_depend_on_where_the_stream_began(face, reach):
    """A stream that begins `reach.radius` frames earlier gives the same frames as the whole."""
    rng = np.random.default_rng(3)
    frames = [(t, as_bytes(moved(face, t, 0)), as_bytes(moved(face, t, 0) + flicker(rng))) for t in range(12)]
    whole = dict(filter_track(frames, reach))
    part = dict(filter_track(frames[5 - reach.radius :], reach))
    for t in range(5, 12):
        np.testing.assert_array_equal(whole[t], part[t])


def test_blotches_that_the_model_left_are_steadied(face):
    """Compression pumps coarse blotches, another set in each frame; the restored crop still has them."""
    rng = np.random.default_rng(4)
    blotches = [cv2.GaussianBlur(rng.normal(size=(SIZE, SIZE, 3)).astype(np.float32), (0, 0), 4) for _ in range(9)]
    sources = [as_bytes(face + 5 * blotch / blotch.std()) for blotch in blotches]
    filtered = [picture for _, picture in filter_track(zip(range(9), sources, sources))]
    assert rms(filtered[4], face) < 0.75 * rms(sources[4], face)


def test_light_follows_the_source_at_once(face):
    """The whole picture flickers by 10 %: the face must flicker with it, or it would stand out of its surroundings."""
    gains = [1.0, 0.9, 1.0, 0.92, 1.05, 0.9, 1.0]
    pictures = [as_bytes(face * gain) for gain in gains]
    filtered = [picture for _, picture in filter_track(zip(range(7), pictures, pictures))]
    for picture, gain in zip(filtered, gains):
        assert picture[INNER, INNER].mean() == pytest.approx(gain * face[INNER, INNER].mean(), rel=0.01)


def test_a_clean_moving_mouth_is_left_as_it_is(face):
    """Nothing flickers, the lips part a little more in each frame: filtering must not lag or smear them."""
    pictures = []
    for t in range(7):
        opened = face.copy()
        opened[92 : 94 + 2 * t, 48:80] = (60, 20, 20)
        pictures.append(opened)
    filtered = [picture for _, picture in filter_track(zip(range(7), pictures, pictures))]
    mouth = np.s_[86:112, 44:84]
    for t in range(7):
        wrong = np.abs(filtered[t][mouth] - pictures[t][mouth]).mean()
        step = np.abs(np.float32(pictures[min(t + 1, 6)][mouth]) - pictures[max(t - 1, 0)][mouth]).mean()
        assert wrong < 0.25 * step


def test_a_clean_turning_face_stays_as_it_is(face):
    """No damage, nothing to steady, a motion that differs from place to place: a coarse flow would soften the face."""
    large = cv2.resize(face, (256, 256), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[0:256, 0:256].astype(np.float32)
    near = np.exp(-((x - 128) ** 2 + (y - 128) ** 2) / (2 * 51**2))
    pictures = []
    for t in range(12):
        push = 6 * np.sin(0.7 * t) * near
        turned = (x + push).astype(np.float32), (y + 0.4 * push * np.sin(x / 20)).astype(np.float32)
        pictures.append(cv2.remap(large, *turned, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101))
    filtered = [picture for _, picture in filter_track(zip(range(12), pictures, pictures))]
    assert np.mean([rms(f, p) for f, p in zip(filtered, pictures)]) < 1.6
    assert np.mean([sharpness(f) / sharpness(p) for f, p in zip(filtered, pictures)]) > 0.96


def test_a_clean_moving_face_is_left_as_it_is(face):
    """Nothing was restored and nothing is noisy: what would change is only what comes of neighbours that do not quite fall on it."""
    middle, pictures = (SIZE - 1) / 2, []
    for t in range(9):
        turn = cv2.getRotationMatrix2D((middle, middle), 2.5 * t, 1 + 0.015 * t)
        turn[:, 2] += (1.7 * t, 0.15 * t * t)
        pictures.append(cv2.warpAffine(face, turn, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101))
    filtered = [picture for _, picture in filter_track(zip(range(9), pictures, pictures))]
    for t in (3, 4, 5):
        assert rms(filtered[t], pictures[t]) < 1.35
        assert sharpness(filtered[t]) > 0.96 * sharpness(pictures[t])


def test_less_is_averaged_where_the_model_saw_neighbours(face):
    """The same flickering crops: a face that is steady already is changed by less."""
    rng = np.random.default_rng(3)
    flickering = [as_bytes(face + rng.normal(0, 6, face.shape)) for _ in range(9)]
    changed = []
    for reach in (FRAME_BY_FRAME, FROM_SEVERAL_FRAMES):
        track_filter = TemporalFilter(reach)
        ready = [item for pts, crop in enumerate(flickering) for item in track_filter.push(pts, as_bytes(face), crop)]
        pictures = [picture for _, picture in [*ready, *track_filter.finish()]]
        changed.append(rms(pictures[4], flickering[4]))
    assert 0.2 < changed[1] < 0.9 * changed[0]


def test_a_fast_face_that_was_hardly_changed_is_left_alone_where_it_was_made_from_several_frames(face):
    """What flow misses would cost more than flicker that motion hides; a face that keeps still is steadied all the same."""
    kept = {}
    for step, levels in ((1.3, 1.5), (1.3, 6.0), (0.0, 1.5)):
        rng = np.random.default_rng(4)
        source = [as_bytes(moved(face, step * t, 0.3 * step * t)) for t in range(7)]
        restored = [np.float32(s) + flicker(rng, levels) for s in source]
        track_filter = TemporalFilter(FROM_SEVERAL_FRAMES)
        ready = [item for t, s in enumerate(source) for item in track_filter.push(t, s, restored[t])]
        pictures = [picture for _, picture in [*ready, *track_filter.finish()]]
        kept[step, levels] = rms(pictures[3], restored[3]) / levels
    assert kept[1.3, 1.5] < 0.5 * kept[1.3, 6.0]
    assert kept[0.0, 1.5] > 2 * kept[1.3, 1.5]
