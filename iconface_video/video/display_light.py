"""HDR and wide gamuts as the networks know faces, and the way back.

Detector, encoder and model have seen ordinary pictures: BT.709, as a screen shows them. So PQ, HLG and wide gamuts are brought there by
the light of a display (BT.2100; reference white 203 cd/m2, BT.2408), with a soft knee for what is brighter. *Extended* values
have no knee yet: white is 1, highlights lie above, colors beyond BT.709 have a component below 0. What a network changed is added
to those and leads back into the video's own codes, so highlights keep their light and order, and no change is no change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from iconface_video.types import ColorTags, Float32, Float64, Frame, UInt8
from iconface_video.video.color import Box, to_rgb, to_rgb_float

REFERENCE_WHITE = 203.0
"""cd/m2 of BT.2408; the white of ordinary pictures."""
KNEE = 0.9
"""Extended value from which on the networks see less than there is; white becomes 0.95, the brightest less than 1."""
_GAMMA = 2.4
"""Of BT.1886, by which screens show ordinary pictures."""
_PQ, _HLG = 16, 18
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2
_BT_709, _UNSPECIFIED = 1, 2
_PRIMARIES = {
    _BT_709: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""x, y of red, green and blue (H.273): BT.709, BT.2020 and BT.2100, P3. The white is D65."""
_D65 = (0.3127, 0.3290)
_STEPS = 65535
_LUMA_2100 = np.array([0.2627, 0.6780, 0.0593], np.float32)
_STRIP_ROWS = 256

SHOWN_LIGHT = "BT.709"
"""What records call it that networks see pictures as screens show them."""
LUMA_709 = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Shares of R, G and B in the luma of what is shown."""


@dataclass(frozen=True, eq=False)
class DisplayLight:
    """How the codes of one kind of video become light, and light codes. Pictures are float32 (..., 3) R'G'B'."""

    light_of_code: Float32
    """(65536,) of codes 0..1: light of the display for PQ and gamma (1 is reference white), light of the scene (0..1) for HLG."""
    code_of_light: Callable[[Float32], Float32]
    """The inverse."""
    is_hlg: bool
    is_hdr: bool
    """There may be more light than reference white."""
    bt709_from_own: Float32
    """(3, 3) of linear light."""
    own_from_bt709: Float32

    def extended(self, rgb: Float32) -> Float32:
        """The video's R'G'B', 0..1 (clipped to that) -> BT.709, extended."""
        light = self.light_of_code[np.rint(np.clip(rgb, 0, 1) * np.float32(_STEPS)).astype(np.int32)]
        if self.is_hlg:
            scene = np.maximum(light @ _LUMA_2100, np.float32(1e-9))[..., None]
            light = light * scene ** np.float32(_HLG_GAMMA - 1) * np.float32(_HLG_PEAK / REFERENCE_WHITE)
        return _signed_power(light @ self.bt709_from_own.T, 1 / _GAMMA)

    def shown(self, rgb: Float32) -> Float32:
        """The video's R'G'B', 0..1 -> what the networks get, 0..1."""
        extended = self.extended(rgb)
        return kneed(extended) if self.is_hdr else np.clip(extended, 0, 1)

    def own(self, extended: Float32) -> Float32:
        """The way back, 0..1."""
        light = np.maximum(_signed_power(extended, _GAMMA) @ self.own_from_bt709.T, 0)
        if self.is_hlg:
            light = light * np.float32(REFERENCE_WHITE / _HLG_PEAK)
            shown = np.maximum(light @ _LUMA_2100, np.float32(1e-9))[..., None]
            light = light * shown ** np.float32(1 / _HLG_GAMMA - 1)
        return np.clip(self.code_of_light(light), 0, 1).astype(np.float32)

    def change(self, rgb: Float32, change: Float32) -> Float32:
        """What a change of the extended picture is in the video's own R'G'B'; 0 where it is 0.

        rgb: (h, w, 3) the video's, 0..1.  change: (h, w, 3), full scale 1.
        """
        before = self.extended(rgb)
        return self.own(before + change) - self.own(before)


def display_light(color: ColorTags) -> DisplayLight | None:
    """For frames so tagged; None for ordinary ones, whose codes are taken as they are."""
    is_hdr = color.transfer in (_PQ, _HLG)
    primaries = 9 if is_hdr and color.primaries == _UNSPECIFIED else color.primaries
    is_wide = primaries in _PRIMARIES and primaries != _BT_709
    if not is_hdr and not is_wide:
        return None
    return _make(color.transfer if is_hdr else 0, primaries if is_wide else _BT_709)


@cache
def _make(transfer: int, primaries: int) -> DisplayLight:
    codes = np.arange(_STEPS + 1) / _STEPS
    forth, back = {_PQ: (_pq_light, _pq_code), _HLG: (_hlg_light, _hlg_code)}.get(transfer, (_gamma_light, _gamma_code))
    matrix = np.linalg.inv(_xyz_from(_BT_709)) @ _xyz_from(primaries)
    own = np.linalg.inv(matrix)
    return DisplayLight(
        forth(codes).astype(np.float32),
        back,
        transfer == _HLG,
        transfer in (_PQ, _HLG),
        matrix.astype(np.float32),
        own.astype(np.float32),
    )


def _xyz_from(primaries: int) -> Float64:
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in _PRIMARIES[primaries]]).T
    x, y = _D65
    return columns * np.linalg.solve(columns, np.array([x / y, 1.0, (1 - x - y) / y]))


def _signed_power(values: Float32, exponent: float) -> Float32:
    return np.copysign(np.abs(values) ** np.float32(exponent), values)


def _gamma_light(code: Float64) -> Float64:
    return code**_GAMMA


def _gamma_code(light: Float32) -> Float32:
    return light ** np.float32(1 / _GAMMA)


_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
"""SMPTE ST 2084."""
_PQ_PEAK = 10000.0


def _pq_light(code: Float64) -> Float64:
    power = code ** (1 / _M2)
    return (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1) * (_PQ_PEAK / REFERENCE_WHITE)


def _pq_code(light: Float32) -> Float32:
    power = (light.astype(np.float64) * (REFERENCE_WHITE / _PQ_PEAK)) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2, np.float32)


_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
"""ARIB STD-B67."""


def _hlg_light(code: Float64) -> Float64:
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - _C) / _A) + _B) / 12)


def _hlg_code(light: Float32) -> Float32:
    wide = light.astype(np.float64)
    bright = _A * np.log(np.maximum(12 * wide - _B, 1e-9)) + _C
    return np.asarray(np.where(wide <= 1 / 12, np.sqrt(3 * wide), bright), np.float32)


def kneed(extended: Float32) -> Float32:
    """Extended values as the networks get them, 0..1: themselves up to the knee, then softly less; brighter stays brighter."""
    above = np.maximum(extended - np.float32(KNEE), 0) / np.float32(1 - KNEE)
    return np.where(above > 0, np.float32(KNEE) + np.float32(1 - KNEE) * above / (1 + above), np.maximum(extended, 0))


def as_shown(rgb: Float32, color: ColorTags) -> UInt8:
    """The video's R'G'B' (..., 3), 0..1 inside the gamut -> what a screen shows, uint8."""
    light = display_light(color)
    shown = np.clip(rgb, 0, 1) if light is None else light.shown(rgb)
    return np.rint(shown * np.float32(255)).astype(np.uint8)


def shown_rgb(frame: Frame, box: Box | None = None) -> UInt8:
    """`color.to_rgb` of the whole frame, or of a box inside it, as a screen shows it."""
    x0, y0, x1, y1 = box or (0, 0, frame.width, frame.height)
    if display_light(frame.color) is None:
        return to_rgb(frame)[y0:y1, x0:x1]
    strips = [(x0, top, x1, min(y1, top + _STRIP_ROWS)) for top in range(y0, y1, _STRIP_ROWS)]
    return np.concatenate([as_shown(to_rgb_float(frame, strip), frame.color) for strip in strips])
