"""HDR and wide gamuts as screens show them, and back: by the standards' own numbers, in order, and without loss."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from iconface_video.render.renderer import Renderer
from iconface_video.restore.crop_store import StoredCrop
from iconface_video.restore.framing import cut_from_frame
from iconface_video.settings import RenderSettings
from iconface_video.types import ColorTags, Frame
from iconface_video.video.color import to_rgb, to_rgb_float
from iconface_video.video.display_light import KNEE, as_shown, display_light, kneed, shown_rgb

PQ, HLG = ColorTags(space=9, primaries=9, transfer=16), ColorTags(space=9, primaries=9, transfer=18)
WIDE, P3 = ColorTags(space=9, primaries=9, transfer=14), ColorTags(primaries=12, transfer=13)
SDR = [ColorTags(), ColorTags(space=1, primaries=1, transfer=1), ColorTags(space=6, primaries=5, transfer=6)]


@pytest.mark.parametrize("color", SDR)
def test_ordinary_pictures_are_taken_as_they_are(color):
    assert display_light(color) is None
    codes = np.random.default_rng(0).random((5, 7, 3), np.float32)
    assert np.array_equal(as_shown(codes, color), np.rint(codes * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("color", "code", "light"),
    [
        # BT.2408, table 1: reference white and 18 % grey, in cd/m2 of the display.
        (PQ, 0.58, 203.0),
        (PQ, 0.38, 26.0),
        (HLG, 0.75, 203.0),
        (HLG, 0.38, 26.0),
        (HLG, 1.0, 1000.0),
        (PQ, 1.0, 10000.0),
    ],
)
def test_codes_have_the_light_that_the_standards_give_them(color, code, light):
    extended = display_light(color).extended(np.full((1, 1, 3), code, np.float32))
    assert 203 * extended[0, 0] ** 2.4 == pytest.approx(np.full(3, light), rel=0.04)


def test_colors_of_the_ordinary_gamut_keep_their_coordinates():
    """BT.2087: BT.709's red in BT.2020."""
    red = np.array([[[1.0, 0, 0]]], np.float32)
    assert display_light(WIDE).own(red)[0, 0] ** 2.4 == pytest.approx([0.6274, 0.0691, 0.0164], abs=2e-4)
    assert display_light(P3).own(red)[0, 0] ** 2.4 == pytest.approx([0.8225, 0.0332, 0.0171], abs=3e-4)


@pytest.mark.parametrize("color", [PQ, HLG, WIDE, P3])
def test_there_and_back_is_where_it_was(color):
    light = display_light(color)
    codes = np.random.default_rng(1).random((64, 64, 3)).astype(np.float32)
    assert np.abs(light.own(light.extended(codes)) - codes).max() < 0.006  # one value in 12,288, where the curve is steepest
    assert (light.change(codes, np.zeros_like(codes)) == 0).all()


@pytest.mark.parametrize("color", [PQ, HLG])
def test_a_wedge_stays_in_order_whatever_is_changed(color):
    light = display_light(color)
    wedge = np.repeat(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], 3, axis=2)
    shown = kneed(light.extended(wedge))
    assert (np.diff(shown[0, :, 0]) > 0).all()
    assert shown.max() < 1
    for change in (-0.1, -0.02, 0.02, 0.1):
        after = wedge + light.change(wedge, np.full_like(wedge, change))
        steps = np.diff(after[0, :, 0])
        assert (steps > -5e-5).all()  # a twentieth of a code of ten bits
        inside = (after[0, :, 0] > 0.02) & (after[0, :, 0] < 0.98)
        assert (steps[inside[1:] & inside[:-1]] > 0).all()


def test_only_what_is_brighter_than_most_of_a_face_bends():
    values = np.linspace(-0.1, 3, 400, dtype=np.float32)
    seen = kneed(values)
    low = (values >= 0) & (values <= KNEE)
    assert np.array_equal(seen[low], values[low])
    assert kneed(np.float32([1.0]))[0] == pytest.approx(0.95)
    assert (np.diff(seen[values > 0]) > 0).all()
    white = np.ones((1, 1, 3), np.float32)
    assert (as_shown(white, WIDE) == 255).all()  # no highlights there, so no knee


def hdr_frame(codes: np.ndarray, color: ColorTags) -> Frame:
    """Ten bits, 4:4:4; codes: (h, w, 3) R'G'B' 0..1."""
    kr, kb = 0.2627, 0.0593
    y = codes @ np.array([kr, 1 - kr - kb, kb])
    cb, cr = (codes[..., 2] - y) / (2 * (1 - kb)), (codes[..., 0] - y) / (2 * (1 - kr))
    planes = tuple(np.rint(part).astype(np.uint16) for part in (64 + 876 * y, 512 + 896 * cb, 512 + 896 * cr))
    height, width = y.shape
    return Frame(0, Fraction(1, 25), 1, planes, "yuv444p10le", width, height, color, 0)


def picture() -> np.ndarray:
    """(96, 96, 3) extended BT.709: a colored ramp with a highlight five times white's light in it."""
    y, x = np.mgrid[:96, :96] / 95
    ramp = np.stack([0.15 + 0.6 * x, 0.12 + 0.5 * y, 0.1 + 0.4 * x * y], axis=-1)
    spot = np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.01)[..., None]
    return (ramp * (1 - spot) + 1.9 * spot).astype(np.float32)


@pytest.mark.parametrize("color", [PQ, HLG])
def test_whole_pictures_are_shown_as_an_ordinary_one(color):
    extended = picture()
    frame = hdr_frame(display_light(color).own(extended), color)
    assert np.abs(shown_rgb(frame) / 255 - kneed(extended)).max() < 0.02
    raw = np.abs(to_rgb(frame) / 255 - kneed(extended)).mean()
    assert raw > 0.05  # which is what the networks would see otherwise


@pytest.mark.parametrize("color", [PQ, HLG])
@pytest.mark.parametrize("filtered", [False, True])
def test_a_face_keeps_its_highlight_and_the_rest_its_bits(color, filtered):
    """A model that darkens a little: it saw a highlight of 0.99, and must not make paper white of it."""
    extended = picture()
    frame = hdr_frame(display_light(color).own(extended), color)
    matrix = np.array([[1.0, 0, -16], [0, 1.0, -16]])
    source = cut_from_frame(frame, matrix, 64)
    rough = np.random.default_rng(2).integers(-6, 3, source.shape)
    restored = np.clip(source.astype(int) + rough, 0, 255).astype(np.uint8)
    crop = StoredCrop(0, 0, matrix, 1.0, 1.0, restored)
    settings = RenderSettings(mask="square", color_match=False, temporal_filter=filtered, keep_monochrome="off")
    (after,) = Renderer(lambda pts: [crop], settings).render([frame])
    whole = (0, 0, 96, 96)
    before, shown = (display_light(color).extended(to_rgb_float(item, whole)) for item in (frame, after))
    middle = slice(46, 50)
    assert before[middle, middle].mean() > 1.8
    assert shown[middle, middle].mean() > 0.95 * before[middle, middle].mean()
    inner = slice(30, 40)  # below the knee the change arrives as the model made it
    wanted = (restored.astype(float) - source)[14:24, 14:24] / 255
    assert np.abs((shown - before)[inner, inner] - wanted).mean() < 0.004
    for old, new in zip(frame.planes, after.planes):
        outside = np.ones(old.shape, bool)
        outside[16:80, 16:80] = False
        assert np.array_equal(old[outside], new[outside])
        assert (old != new).any()


def test_no_change_is_no_change():
    frame = hdr_frame(display_light(HLG).own(picture()), HLG)
    matrix = np.array([[1.0, 0, -16], [0, 1.0, -16]])
    crop = StoredCrop(0, 0, matrix, 1.0, 1.0, cut_from_frame(frame, matrix, 64))
    (after,) = Renderer(lambda pts: [crop], RenderSettings(temporal_filter=False)).render([frame])
    assert all(np.array_equal(old, new) for old, new in zip(frame.planes, after.planes))
