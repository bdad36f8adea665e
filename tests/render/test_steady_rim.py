"""Steadied faces in their frame: flicker ends with the mask, not halfway through its soft rim, and a clean face stays sharp."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from iconface_video.degrade.operations import jitter_lines
from iconface_video.render.paste import ELLIPSE_CENTER, ELLIPSE_RADII
from iconface_video.render.renderer import Renderer
from iconface_video.restore.crop_store import StoredCrop
from iconface_video.restore.framing import cut_from_frame
from iconface_video.settings import RenderSettings
from iconface_video.types import ColorTags, Frame

SIZE = 128
PLACE = np.array([[1.0, 0, 0], [0, 1.0, 0]])


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    from skimage.data import astronaut

    return cv2.resize(astronaut()[10:234, 112:336, 1], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def grey_frame(pts: int, luma: np.ndarray) -> Frame:
    planes = (np.clip(np.rint(luma), 16, 235).astype(np.uint8), *(np.full((SIZE // 2, SIZE // 2), 128, np.uint8),) * 2)
    return Frame(pts, Fraction(1, 25), 1, planes, "yuv420p", SIZE, SIZE, ColorTags(range=1, space=1), pts)


def rendered(inputs: list[Frame], restored: list[np.ndarray] | None, **settings: object) -> np.ndarray:
    """(n, SIZE, SIZE) luma. restored: crops; None: the model changes nothing."""
    crops = {
        frame.pts: StoredCrop(
            frame.pts, 0, PLACE, 1.0, 1.0, cut_from_frame(frame, PLACE, SIZE) if restored is None else restored[frame.pts]
        )
        for frame in inputs
    }
    out = Renderer(lambda pts: [crops[pts]], RenderSettings(**settings)).render(inputs)  # type: ignore[arg-type]
    return np.stack([frame.planes[0].astype(np.float32) for frame in out])


def distance_from_edge() -> np.ndarray:
    """0 in the ellipse's middle, 1 on its edge."""
    centers = (np.arange(SIZE) + 0.5) / SIZE
    return np.hypot(
        (centers[None] - ELLIPSE_CENTER[0]) / ELLIPSE_RADII[0], (centers[:, None] - ELLIPSE_CENTER[1]) / ELLIPSE_RADII[1]
    )


def test_noise_is_steadied_in_the_rim_too_and_nowhere_beyond(face):
    rng = np.random.default_rng(0)
    inputs = [grey_frame(t, face * 0.8 + 20 + rng.normal(0, 6, face.shape)) for t in range(13)]
    clean = cut_from_frame(grey_frame(0, face * 0.8 + 20), PLACE, SIZE)
    luma = rendered(inputs, [clean] * 13)
    noisy = np.stack([frame.planes[0].astype(np.float32) for frame in inputs])
    where = distance_from_edge()
    halfway, outside = (where > 0.68) & (where < 0.75), where > 1.01  # the usual blend is a half there
    assert luma[4:9].std(axis=0)[halfway].mean() < 0.35 * noisy[4:9].std(axis=0)[halfway].mean()
    np.testing.assert_array_equal(luma[:, outside], noisy[:, outside])


def test_a_clean_moving_face_that_the_model_left_alone_stays_sharp(face):
    large = cv2.resize(face, (SIZE + 32, SIZE + 32), interpolation=cv2.INTER_CUBIC)
    inputs = []
    for t in range(11):
        shift = np.float32([[1, 0, -16 + 3 * np.sin(0.9 * t)], [0, 1, -16 + 0.7 * t]])
        inputs.append(grey_frame(t, cv2.warpAffine(large, shift, (SIZE, SIZE), flags=cv2.INTER_CUBIC) * 0.8 + 20))
    luma = rendered(inputs, None)
    middle = np.s_[20:-20, 20:-20]
    sharp = [
        cv2.Laplacian(after, cv2.CV_32F)[middle].std()
        / cv2.Laplacian(before.planes[0].astype(np.float32), cv2.CV_32F)[middle].std()
        for before, after in zip(inputs, luma)
    ]
    assert min(sharp) > 0.95
    assert np.mean(sharp) > 0.97


def test_light_that_is_switched_on_arrives_in_its_frame(face):
    """All of the picture brightens from one frame to the next, and another time fades slowly: no lag, on either side of it."""
    gains = [0.6] * 5 + [1.0] * 5 + list(np.linspace(1.0, 0.7, 8))
    inputs = [grey_frame(t, face * 0.8 * gain + 20) for t, gain in enumerate(gains)]
    luma = rendered(inputs, None)
    middle = np.s_[40:-40, 40:-40]
    for before, after in zip(inputs, luma):
        assert after[middle].mean() == pytest.approx(before.planes[0][middle].mean(), abs=1.0)


def test_damage_along_edges_is_steadied_in_the_rim_as_in_the_middle(face):
    """Lines that jump flicker where edges are, not evenly as noise does: it is what the restoration changed, all over the face,
    that tells how much the filter may change, and not the part of it that the mask lets through."""
    rng = np.random.default_rng(3)
    clean = face * 0.8 + 20
    torn = [jitter_lines(np.repeat(np.uint8(clean)[..., None], 3, axis=2), rng.normal(0, 0.7, SIZE)) for _ in range(13)]
    inputs = [grey_frame(t, picture[..., 0].astype(np.float32)) for t, picture in enumerate(torn)]
    sharp = cut_from_frame(grey_frame(0, clean), PLACE, SIZE)
    restored = [np.uint8((sharp.astype(int) + cut_from_frame(frame, PLACE, SIZE)) // 2) for frame in inputs]
    where = distance_from_edge()
    rim = (where > 0.72) & (where < 0.98)

    def flicker(**settings: object) -> float:
        return float(rendered(inputs, restored, **settings)[4:9].std(axis=0)[rim].mean())

    assert flicker() < 0.82 * flicker(temporal_filter=False)
