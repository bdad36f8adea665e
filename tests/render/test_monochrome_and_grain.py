"""Black and white stays black and white, sepia stays sepia, and grain stays: with a model that would do otherwise."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from iconface_video.configs import load_preset
from iconface_video.render.match import ColorJudge, grain_of, grain_sigma
from iconface_video.render.renderer import Renderer
from iconface_video.restore.crop_store import StoredCrop
from iconface_video.settings import RenderSettings
from iconface_video.types import ColorTags, Frame

SIDE, SIZE = 160, 128
PLACE = np.array([[1.0, 0.0, -16.0], [0.0, 1.0, -16.0]])
FACE = slice(50, 110)
LUMA = np.array([0.2126, 0.7152, 0.0722])
WEIGHTS = LUMA.astype(np.float32)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    from skimage.data import astronaut

    return cv2.resize(astronaut()[0:240, 105:345], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def grey(picture: np.ndarray) -> np.ndarray:
    return (picture @ LUMA)[..., None].repeat(3, axis=2)


def toned(picture: np.ndarray, kind: str) -> np.ndarray:
    """RGB float: the picture as a film of that kind shows it."""
    luma = grey(picture) * 0.7 + 10  # away from the limits, as prints are
    return {"color": picture, "grey": luma, "tint": luma + [18, 0, -22], "sepia": luma * [1.25, 1.0, 0.75]}[kind]


def frame_of(rgb: np.ndarray, pts: int = 0, pix_fmt: str = "yuv444p") -> Frame:
    """BT.709, limited range, by the standard's own formula."""
    rgb = np.asarray(rgb, np.float64)
    if pix_fmt == "gbrp":
        planes = tuple(np.clip(np.rint(rgb[..., k]), 0, 255).astype(np.uint8) for k in (1, 2, 0))
    else:
        luma = rgb @ LUMA
        codes = (
            16 + luma * 219 / 255,
            128 + (rgb[..., 2] - luma) / 1.8556 * 224 / 255,
            128 + (rgb[..., 0] - luma) / 1.5748 * 224 / 255,
        )
        planes = tuple(np.clip(np.rint(code), 0, 255).astype(np.uint8) for code in codes)
        if pix_fmt == "yuv420p":
            planes = (planes[0], *(np.rint(plane.reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3))).astype(np.uint8) for plane in planes[1:]))  # fmt: skip
    return Frame(pts, Fraction(1, 25), 1, planes, pix_fmt, SIDE, SIDE, ColorTags(range=1, space=1), pts)


def render(frames: list[Frame], image: np.ndarray, settings: RenderSettings) -> list[Frame]:
    """Every frame's face becomes `image`."""
    crops = {frame.pts: [StoredCrop(frame.pts, 0, PLACE, 1.0, 1.0, image)] for frame in frames}
    return list(Renderer(lambda pts: crops[pts], settings).render(iter(frames)))


@pytest.fixture(scope="module")
def colorful(face) -> np.ndarray:
    """What a model that knows colors only makes of any face: sharp, and with rosy cheeks at that."""
    crop = face[16 : 16 + SIZE, 16 : 16 + SIZE].astype(np.float32)
    sharp = crop + 1.5 * (crop - cv2.GaussianBlur(crop, (0, 0), 2))
    return np.clip(sharp * [1.1, 0.95, 0.9], 0, 255).astype(np.uint8)


@pytest.mark.parametrize("color_match", [True, False])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("kind", ["grey", "tint", "sepia"])
def test_monochrome_chroma_is_the_inputs_to_the_bit(kind, pix_fmt, color_match, face, colorful):
    before = frame_of(toned(face, kind), pix_fmt=pix_fmt)
    (after,) = render([before], colorful, RenderSettings(color_match=color_match, temporal_filter=False))
    for plane in (1, 2):
        np.testing.assert_array_equal(before.planes[plane], after.planes[plane])
    assert np.abs(before.planes[0].astype(int) - after.planes[0])[FACE, FACE].mean() > 2


def test_grey_rgb_stays_grey(face, colorful):
    before = frame_of(toned(face, "grey"), pix_fmt="gbrp")
    (after,) = render([before], colorful, RenderSettings(color_match=False, temporal_filter=False))
    assert np.abs(before.planes[0].astype(int) - after.planes[0])[FACE, FACE].mean() > 2
    np.testing.assert_array_equal(after.planes[0], after.planes[1])
    np.testing.assert_array_equal(after.planes[0], after.planes[2])


def test_a_color_face_keeps_the_models_color(face, colorful):
    before = frame_of(toned(face, "color"))
    results = {
        keep: render([before], colorful, RenderSettings(color_match=False, temporal_filter=False, keep_monochrome=keep))[0]
        for keep in ("auto", "off", "on")
    }
    for plane in (1, 2):
        np.testing.assert_array_equal(results["auto"].planes[plane], results["off"].planes[plane])
        np.testing.assert_array_equal(results["on"].planes[plane], before.planes[plane])
    assert np.abs(before.planes[2].astype(int) - results["auto"].planes[2])[FACE, FACE].mean() > 2


def test_chroma_noise_of_a_tape_does_not_pass_for_color(face):
    """After a few frames a grey face with blobs of chroma noise is known to be grey; a color face is not taken for one."""
    rng = np.random.default_rng(0)
    weights: dict[str, list[float]] = {"grey": [], "color": []}
    for kind, found in weights.items():
        judge = ColorJudge()
        for _ in range(8):
            noise = cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE, 3)), (0, 0), 2)
            noise = 6 * (noise - grey(noise)) / noise.std()
            found.append(judge.push(np.clip(toned(face, kind) + noise, 0, 255).astype(np.uint8), WEIGHTS))
    assert weights["grey"][-4:] == [0.0] * 4
    assert weights["color"] == [1.0] * 8


def grainy(picture: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Grain as scans show it: a little wider than a pixel, the same in all channels."""
    field = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), (0, 0), 0.6)
    return picture + sigma * (field / field.std())[..., None]


def grain_level(frames: list[Frame], where: tuple[slice, slice]) -> float:
    """Standard deviation over time: the picture stands still, so all that moves is grain."""
    return float(np.std([frame.planes[0][where].astype(float) for frame in frames], axis=0).mean())


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.8])
def test_the_film_preset_keeps_the_grain_of_faces(scale, face):
    """The model gives a clean face. With the film preset the face is as grainy as before; without, it is smooth."""
    still = cv2.GaussianBlur(toned(face, "grey"), (0, 0), 2)
    frames = [frame_of(grainy(still, 6, seed), pts=seed) for seed in range(8)]
    size = round(SIZE * scale / 2) * 2
    place = np.array([[scale, 0, -16 * scale + (scale - 1) / 2], [0, scale, -16 * scale + (scale - 1) / 2]])
    sharp = toned(face, "grey")[16 : 16 + SIZE, 16 : 16 + SIZE]
    image = np.clip(cv2.resize(sharp, (size, size), interpolation=cv2.INTER_AREA), 0, 255).astype(np.uint8)
    film = load_preset("film").settings().render

    def rendered(settings: RenderSettings) -> list[Frame]:
        crops = {frame.pts: [StoredCrop(frame.pts, 0, place, 1.0, 1.0, image)] for frame in frames}
        return list(Renderer(lambda pts: crops[pts], settings).render(iter(frames)))

    inside, outside = (FACE, FACE), (slice(0, 12), slice(0, 160))
    kept, lost = rendered(film), rendered(RenderSettings())
    before = grain_level(frames, inside)
    assert grain_level(kept, inside) > 0.82 * before
    assert grain_level(kept, inside) < 1.1 * before
    assert grain_level(lost, inside) < (0.6 if scale >= 1 else 0.8) * before
    for a, b in zip(frames, kept):
        np.testing.assert_array_equal(a.planes[0][outside], b.planes[0][outside])
    # The face itself is restored all the same: the mean over time comes closer to the sharp picture.
    truth = 16 + sharp[34:94, 34:94, 0] * 219 / 255
    errors = [np.abs(np.mean([f.planes[0][FACE, FACE] for f in each], axis=0) - truth).mean() for each in (frames, kept)]
    assert errors[1] < 0.75 * errors[0]


def test_grain_that_the_model_left_is_not_doubled(face):
    still = toned(face, "grey")
    frames = [frame_of(grainy(still, 6, seed), pts=seed) for seed in range(6)]
    crops = {
        frame.pts: [StoredCrop(frame.pts, 0, PLACE, 1.0, 1.0, np.clip(grainy(still, 6, seed), 0, 255).astype(np.uint8)[16:144, 16:144])]
        for seed, frame in enumerate(frames)
    }  # fmt: skip
    film = RenderSettings(grain=1.0, temporal_filter=False)
    rendered = list(Renderer(lambda pts: crops[pts], film).render(iter(frames)))
    assert grain_level(rendered, (FACE, FACE)) < 1.1 * grain_level(frames, (FACE, FACE))


def test_a_clean_face_has_no_grain(face):
    """Neither edges nor hair count: what little is found leaves the picture as it is."""
    clean = cv2.GaussianBlur(face, (0, 0), 1.2)
    assert grain_sigma(cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY).astype(np.float32)) < 1
    assert np.abs(grain_of(clean, 1.0)).mean() < 1
    assert not grain_of(cv2.GaussianBlur(face, (0, 0), 2), 1.0).any()
    noisy = np.clip(grainy(clean.astype(float), 8, 0), 0, 255).astype(np.uint8)
    assert grain_sigma(cv2.cvtColor(noisy, cv2.COLOR_RGB2GRAY).astype(np.float32)) > 3
