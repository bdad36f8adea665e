"""A film at another size: what its pictures become, and the plan of an output that holds them.

Only the film's own facts are looked at here; `video.enlarge` makes the pictures.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from iconface_video.errors import UsageError
from iconface_video.settings import EncodeSettings, RenderSettings
from iconface_video.types import ColorTags, Float64, VideoInfo
from iconface_video.video.color import matrix_code
from iconface_video.video.output_plan import OutputPlan, plan_output
from iconface_video.video.planes import layout_of

_SAME_SHAPE = 1 / 500
"""Rounding to whole px may change a pixel's shape by this share without being worth an odd ratio."""
_SD_PRIMARIES = {480: 6, 486: 6, 576: 5}
"""Lines -> H.273 code of the primaries that players take where nothing is said."""


def enlarged(info: VideoInfo, settings: RenderSettings) -> VideoInfo:
    """The film as it is written: `info` itself where nothing changes.

    For square pixels it is stretched along the axis that has too few of them, never shrunk. What players conclude from the
    number of lines (matrix, primaries) is said outright, as there are more of them now.
    """
    across, down = _factors(info, settings)
    if (across, down) == (1, 1):
        return info
    layout = layout_of(info.pix_fmt)
    # Encoders of subsampled chroma want whole samples; where two fields are coded apart, in each of them.
    fields = 2 if info.field_order in ("tt", "bb", "tb", "bt") else 1
    steps = [max(2, 1 << shift) for shift in layout.chroma_shift]
    width, height = _rounded(info.width, across, steps[0]), _rounded(info.height, down, steps[1] * fields)
    aspect = Fraction(1) if settings.square_pixels else info.sample_aspect_ratio
    exact = info.sample_aspect_ratio * Fraction(info.width, info.height) / Fraction(width, height)
    if abs(exact / aspect - 1) > _SAME_SHAPE:
        aspect = exact.limit_denominator(4096)
    return replace(
        info,
        width=width,
        height=height,
        sample_aspect_ratio=aspect,
        color=_resolved(info),
        display_matrix=_moved(info, width / info.width, height / info.height),
    )


def _factors(info: VideoInfo, settings: RenderSettings) -> tuple[Fraction, Fraction]:
    scale = Fraction(settings.scale).limit_denominator(1000)
    shape = info.sample_aspect_ratio if settings.square_pixels else Fraction(1)
    return scale * max(shape, Fraction(1)), scale / min(shape, Fraction(1))


def _rounded(side: int, factor: Fraction, step: int) -> int:
    """The nearest multiple of `step` that is no smaller than the side was."""
    nearest = round(side * factor / step) * step
    return nearest if nearest >= side else -(-side // step) * step


def _resolved(info: VideoInfo) -> ColorTags:
    color = info.color
    if layout_of(info.pix_fmt).is_rgb:
        return color
    matrix = matrix_code(color, info.height)
    is_guessed = color.space != matrix and color.primaries == 2
    return replace(
        color, space=matrix, primaries=_SD_PRIMARIES.get(info.height, 2) if is_guessed and matrix == 6 else color.primaries
    )


def _moved(info: VideoInfo, across: float, down: float) -> tuple[int, ...] | None:
    """The display matrix, whose last row moves the turned picture by px."""
    matrix = info.display_matrix
    if matrix is None:
        return None
    x, y = (down, across) if info.rotation in (90, 270) else (across, down)
    return (*matrix[:6], round(matrix[6] * x), round(matrix[7] * y), *matrix[8:])


def frame_from_enlarged(info: VideoInfo, width: int, height: int) -> Float64:
    """(2, 3) from px of the picture in a larger size to px of the frame: edges fall on edges."""
    x, y = info.width / width, info.height / height
    return np.array([[x, 0.0, 0.5 * x - 0.5], [0.0, y, 0.5 * y - 0.5]])


def line_scale(info: VideoInfo, settings: RenderSettings) -> float:
    """Px of the output for each px of the upright picture in which faces are found, at least 1."""
    return max(1.0, enlarged(info, settings).height / info.height)


def plan_enlarged(
    info: VideoInfo,
    out: Path | str | None,
    encode: EncodeSettings,
    render: RenderSettings,
    *,
    force: bool,
    folder_to_come: bool = False,
) -> OutputPlan:
    """`plan_output` of the film as it is written; raises the same."""
    large = enlarged(info, render)
    try:
        plan = plan_output(large, out, encode, force=force, folder_to_come=folder_to_come)
    except UsageError as error:
        raise error if large is info else UsageError(f"{error} Or a smaller `scale`: it makes the picture so large.") from None
    if large is info:
        return plan
    width, height = large.display_size
    shown = "" if (width, height) == (large.width, large.height) else f", shown as {width}x{height}"
    before = f"{info.width}x{info.height}"
    note = f"The picture is enlarged from {before} to {large.width}x{large.height} px{shown}; no sample outside the faces stays as it was."
    return replace(plan, notes=(note, *plan.notes))
