"""Pasting: what changes, what must not, and where it lands; on frames of every layout that the reader delivers."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from iconface_video.render.paste import FacePatch, crop_mask, paste, warp_back
from iconface_video.render.renderer import Renderer
from iconface_video.render.temporal import FRAME_BY_FRAME, FROM_SEVERAL_FRAMES
from iconface_video.restore.crop_store import StoredCrop
from iconface_video.restore.framing import cut_from_frame
from iconface_video.settings import RenderSettings
from iconface_video.types import ColorTags, Frame
from iconface_video.video.color import blend_rgb, to_rgb_float

WIDTH, HEIGHT = 160, 120
FORMATS = {
    "yuv420p": (8, 1, 1, 1), "yuv422p": (8, 1, 0, 1), "yuv444p": (8, 0, 0, 1), "full range": (8, 1, 1, 2),
    "yuv420p10le": (10, 1, 1, 1), "yuv422p10le": (10, 1, 0, 1), "gbrp": (8, 0, 0, 2),
}  # fmt: skip
"""Layout (full range: of yuv420p) -> bits, chroma shifts, range tag."""


def make_frame(pix_fmt: str = "yuv420p", pts: int = 0, width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> Frame:
    """A smooth picture with texture, moderate chroma, in limits of its range."""
    depth, across, down, color_range = FORMATS[pix_fmt]
    rng = np.random.default_rng(seed)
    top = 2 ** (depth - 8)

    def plane(w: int, h: int, middle: float, spread: float) -> np.ndarray:
        field = cv2.GaussianBlur(rng.normal(size=(h, w)).astype(np.float32), (0, 0), 3)
        fine = rng.normal(size=(h, w)) * 2
        return np.rint((middle + spread * field / field.std() + fine) * top).astype(np.uint8 if depth == 8 else np.uint16)

    chroma = -(-width >> across), -(-height >> down)
    if pix_fmt == "gbrp":
        planes = tuple(plane(width, height, 120, 25) for _ in range(3))
    else:
        planes = (plane(width, height, 120, 25), plane(*chroma, 128, 8), plane(*chroma, 128, 8))
    pix_fmt = "yuv420p" if pix_fmt == "full range" else pix_fmt
    return Frame(pts, Fraction(1, 25), 1, planes, pix_fmt, width, height, ColorTags(range=color_range, space=1), pts)


def placed(size: int, scale: float, angle: float = 0.2, center: tuple[float, float] = (80, 60)) -> np.ndarray:
    """crop_from_frame of a crop whose middle lies at `center`; scale: crop px per frame px."""
    c, s, middle = scale * np.cos(angle), scale * np.sin(angle), (size - 1) / 2
    return np.array([[c, -s, middle - c * center[0] + s * center[1]], [s, c, middle - s * center[0] - c * center[1]]])


def full_patch(size: int, matrix: np.ndarray, amount: float) -> FacePatch:
    return FacePatch(np.full((size, size, 3), amount, np.float32), crop_mask(size, "ellipse", 0.25), matrix)


def assert_same_planes(a: Frame, b: Frame) -> None:
    for one, other in zip(a.planes, b.planes, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_samples_outside_the_mask_stay_bit_for_bit(pix_fmt):
    frame = make_frame(pix_fmt)
    matrix = placed(64, 1.0)
    pasted = paste(frame, [full_patch(64, matrix, 0.2)])
    # Which samples may change, by geometry alone: inside the crop's square, two px of interpolation added.
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH]
    crop = np.einsum("ij,jyx->iyx", matrix[:, :2], np.stack([xs, ys])) + matrix[:, 2][:, None, None]
    reach = ((crop > -2) & (crop < 65)).all(axis=0)
    for before, after in zip(frame.planes, pasted.planes, strict=True):
        shape = before.shape
        small = cv2.resize(reach.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST)
        allowed = cv2.dilate(small, np.ones((5, 5), np.uint8)) > 0
        np.testing.assert_array_equal(before[~allowed], after[~allowed])
    assert not np.array_equal(frame.planes[0], pasted.planes[0])
    assert pasted.planes[0].dtype == frame.planes[0].dtype


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_no_change_changes_no_luma(pix_fmt):
    """A residual of zero: luma is the input's to the bit though it went through RGB; chroma within its resampling."""
    frame = make_frame(pix_fmt)
    pasted = paste(frame, [full_patch(64, placed(64, 0.8), 0.0)])
    np.testing.assert_array_equal(frame.planes[0], pasted.planes[0])


def test_strength_zero_is_the_frame_itself():
    frame = make_frame()
    assert paste(frame, [full_patch(64, placed(64, 1.0), 0.3)], strength=0.0) is frame
    assert paste(frame, [], strength=1.0) is frame


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_strength_scales_the_change(strength):
    frame = make_frame("yuv444p")
    pasted = paste(frame, [full_patch(64, placed(64, 1.0), 0.1)], strength)
    change = pasted.planes[0][60, 80].astype(int) - frame.planes[0][60, 80]
    assert change == pytest.approx(0.1 * 219 * strength, abs=1)


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.7, 3.0])
def test_the_change_lands_where_the_crop_was(scale):
    """Cut a crop, brighten a dot in it: the dot comes back at the same place in the frame, at any scale."""
    frame = make_frame("yuv444p")
    size, place = 96, np.array([91.3, 52.8])
    matrix = placed(size, scale, center=(85, 57))
    dot = matrix[:, :2] @ place + matrix[:, 2]
    ys, xs = np.mgrid[0:size, 0:size]
    sigma = 2.5 * scale
    bump = 0.3 * np.exp(-((xs - dot[0]) ** 2 + (ys - dot[1]) ** 2) / (2 * sigma**2))
    residual = np.repeat(bump[..., None], 3, axis=2).astype(np.float32)
    pasted = paste(frame, [FacePatch(residual, np.ones((size, size), np.float32), matrix)])
    change = pasted.planes[0].astype(float) - frame.planes[0]
    total = change.sum()
    found = np.array([(change * np.arange(WIDTH)).sum(), (change * np.arange(HEIGHT)[:, None]).sum()]) / total
    np.testing.assert_allclose(found, place, atol=0.15)
    assert total == pytest.approx(0.3 * 219 * 2 * np.pi * 2.5**2, rel=0.1)


def test_ten_bit_samples_keep_their_low_bits():
    frame = make_frame("yuv420p10le")
    pasted = paste(frame, [full_patch(64, placed(64, 1.0), 0.05)])
    middle = (slice(54, 66), slice(74, 86))
    shift = pasted.planes[0][middle].astype(int) - frame.planes[0][middle]
    assert len(np.unique(pasted.planes[0][middle] % 4)) == 4
    assert np.abs(shift - 0.05 * 876).max() <= 1.5


def test_a_crop_beyond_the_frame_is_no_error():
    frame = make_frame()
    for center in [(0, 0), (WIDTH - 1, HEIGHT - 1), (-20, 60)]:
        assert not np.array_equal(
            paste(frame, [full_patch(64, placed(64, 1.0, center=center), 0.3)]).planes[0], frame.planes[0]
        )
    far = paste(frame, [full_patch(64, placed(64, 1.0, center=(-500, 60)), 0.3)])
    assert_same_planes(far, frame)


def test_white_and_black_do_not_wrap_around():
    frame = make_frame()
    brighter = paste(frame, [full_patch(64, placed(64, 1.0), 1.0)])
    darker = paste(frame, [full_patch(64, placed(64, 1.0), -1.0)])
    assert 225 <= brighter.planes[0][60, 80] <= 236
    assert 15 <= darker.planes[0][60, 80] <= 26


def test_shrinking_does_not_alias():
    """A one-pixel checkerboard in a crop three times finer than the frame averages out instead of making a pattern."""
    size = 192
    board = ((np.indices((size, size)).sum(axis=0) % 2) * 2.0 - 1)[..., None].repeat(3, axis=2).astype(np.float32)
    back = warp_back(board, np.array([[3.0, 0, 1], [0, 3.0, 1]]), (60, 60))
    assert np.abs(back[5:-5, 5:-5]).max() < 0.05


def stored(frame: Frame, matrix: np.ndarray, change: float, size: int = 64, track_id: int = 0, fade: float = 1.0) -> StoredCrop:
    source = cut_from_frame(frame, matrix, size)
    image = np.clip(source.astype(float) + change, 0, 255).astype(np.uint8)
    return StoredCrop(frame.pts, track_id, matrix, fade, 1.0, image)


@pytest.mark.parametrize("temporal_filter", [True, False])
def test_renderer_keeps_order_number_and_frames_without_faces(temporal_filter):
    frames = [make_frame(pts=pts, seed=1) for pts in range(20)]
    crops = {pts: [stored(frames[pts], placed(64, 1.0), 30)] for pts in [*range(3, 9), *range(12, 17)]}
    crops[4].append(stored(frames[4], placed(64, 1.0, center=(30, 30)), 30, track_id=1))
    settings = RenderSettings(temporal_filter=temporal_filter, color_match=False)
    rendered = list(Renderer(lambda pts: crops.get(pts, []), settings).render(iter(frames)))
    assert [frame.pts for frame in rendered] == list(range(20))
    for pts, frame in enumerate(rendered):
        if pts not in crops:
            assert frame is frames[pts]
        else:
            change = frame.planes[0][60, 80].astype(int) - frames[pts].planes[0][60, 80]
            assert change == pytest.approx(30 / 255 * 219, abs=2)


@pytest.mark.parametrize(("steadied", "reach"), [(False, FRAME_BY_FRAME), (True, FROM_SEVERAL_FRAMES)])
def test_renderer_holds_back_only_what_the_filter_needs(steadied, reach):
    frames = [make_frame(pts=pts, seed=1) for pts in range(12)]
    crops = {frame.pts: [stored(frame, placed(64, 1.0), 10)] for frame in frames}
    given: list[int] = []

    def feed():
        for frame in frames:
            given.append(frame.pts)
            yield frame

    for frame in Renderer(lambda pts: crops.get(pts, []), RenderSettings(), steadied=steadied).render(feed()):
        assert len(given) - frame.pts <= reach.radius + 1


def test_renderer_at_strength_zero_reads_no_store():
    def refuse(pts: int) -> list[StoredCrop]:
        raise AssertionError("the store was read")

    frames = [make_frame(pts=pts) for pts in range(3)]
    assert list(Renderer(refuse, RenderSettings(strength=0.0)).render(iter(frames))) == frames


def test_fade_scales_the_mask():
    frame = make_frame(seed=1)
    crop = stored(frame, placed(64, 1.0), 40, fade=0.25)
    settings = RenderSettings(temporal_filter=False, color_match=False)
    (rendered,) = Renderer(lambda pts: [crop], settings).render([frame])
    assert rendered.planes[0][60, 80].astype(int) - frame.planes[0][60, 80] == pytest.approx(40 / 255 * 219 / 4, abs=1)


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_the_same_as_through_rgb(pix_fmt):
    """Added plane by plane, the change is what it would be in the frame's RGB, blended there and brought back."""
    frame = make_frame(pix_fmt)
    matrix, size = placed(64, 0.7), 64
    rng = np.random.default_rng(5)
    residual = cv2.GaussianBlur(rng.normal(size=(size, size, 3)).astype(np.float32), (0, 0), 4)
    residual *= np.float32(0.08 / residual.std())
    mask = crop_mask(size, "ellipse", 0.25)
    whole = (0, 0, WIDTH, HEIGHT)
    change, weight = warp_back(residual, matrix, (WIDTH, HEIGHT)), warp_back(mask, matrix, (WIDTH, HEIGHT))
    plain = blend_rgb(frame, whole, np.clip(to_rgb_float(frame, whole) + change, 0, 1), weight)
    for fast, slow in zip(paste(frame, [FacePatch(residual, mask, matrix)]).planes, plain.planes, strict=True):
        difference = np.abs(fast.astype(float) - slow) / 2 ** (FORMATS[pix_fmt][0] - 8)
        assert difference.mean() < 0.35
        assert np.percentile(difference, 99) <= 3
