"""From series to figures: one number per version and measure, the mean over clips, and what was asked of the default.

Figures of this measurement beside those of a report that another release wrote: what became better, what worse.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from iconface_video.errors import InputError
from iconface_video.lab.evaluate.picture_metrics import identity_spread, jitter
from iconface_video.lab.evaluate.video_measure import CLEAN, DEGRADED, PER_FRAME, FaceSeries, Measurement
from iconface_video.lab.evaluate.video_variants import INDEPENDENT, RAW, slug
from iconface_video.lab.evaluate.video_variants import PER_FRAME as PER_FRAME_VARIANT
from iconface_video.pages.tables import JSON, Cell, Note, Report, Table, Value
from iconface_video.types import Float64


@dataclass(frozen=True)
class Measure:
    """A figure as a report shows it."""

    name: str
    heading: str
    digits: int
    meaning: str
    compared: Literal["ratio", "difference"] = "ratio"
    """How it is set beside another report's."""


STEADINESS = (
    Measure("warp", "E_warp", 3, "1000 x mean squared change along the clean video's motion; what blurs wins"),
    Measure("warp_excess", "over clean", 3, "E_warp less the clean video's own"),
    Measure("flicker", "flicker", 2, "rms change of the error along the motion, grey levels; blur does not win it"),
    Measure("difference", "difference", 2, "mean |(x_t - x_t-1) - (g_t - g_t-1)|, grey levels"),
    Measure("motion", "tOF", 3, "distance of its motion from the clean video's, px"),
    Measure("tlpips", "tLPIPS", 4, "|LPIPS(x_t, x_t-1) - LPIPS(g_t, g_t-1)|"),
    Measure("jitter", "jitter", 3, "second difference of detected landmarks less the clean video's, px; holds the detector's own noise"),
    Measure("shift_jitter", "by flow", 3, "the same of landmarks found by optical flow from the clean frame, px"),
    Measure("window_jitter", "of window", 3, "the same of the crop window itself, px"),
    Measure("drift", "VIDD", 4, "1 - cos of neighbouring frames' identity embeddings"),
    Measure("spread", "spread", 4, "mean 1 - cos to the track's mean identity"),
    Measure("light", "light", 2, "standard deviation over time of the face's mean grey level less the input's"),
)  # fmt: skip
QUALITY = (
    Measure("sharpness", "sharpness", 3, "Laplacian deviation as a share of the clean video's"),
    Measure("detail", "true detail", 3, "share of the clean video's detail that is there at its place; noise does not win it"),
    Measure("psnr", "PSNR", 2, "dB, inside the face", "difference"),
    Measure("ssim", "SSIM", 3, "inside the face"),
    Measure("identity", "identity", 3, "cosine to the clean frame's embedding"),
    Measure("identity_deviation", "its deviation", 4, "standard deviation of that over the frames: faces that flip"),
    Measure("seam", "seam", 3, "steepness of the change at the mask's edge above that beside it, grey levels per px"),
    Measure("color", "color", 2, "CIEDE2000 between low-passed face and input"),
    Measure("sound_begin", "sound, start", 1, "ms by which the sound begins later against the picture than in the input", "difference"),
    Measure("sound_end", "sound, end", 1, "the same of their ends", "difference"),
    Measure("late", "frame times", 2, "largest distance of a frame's time from the clean video's, ms", "difference"),
    Measure("seconds", "restore s/face", 2, "time of the model's part per face"),
)  # fmt: skip

Figures = dict[str, float]


def figures_of(measurement: Measurement, version: str) -> Figures:
    """One version's figures: frames of all faces weigh the same."""
    faces = measurement.faces
    result = {name: _mean(np.concatenate([f.versions[version].array(name) for f in faces])) for name in PER_FRAME}
    own = _mean(np.concatenate([f.versions[CLEAN].array("warp") for f in faces]))
    result["warp_excess"] = result["warp"] - own
    for name, kind in (("jitter", "landmarks"), ("shift_jitter", "shifts"), ("window_jitter", "windows")):
        result[name] = _mean(np.concatenate([_jitter(face, version, kind) for face in faces]))
    result["spread"] = _mean([identity_spread(face.versions[version].embeddings) for face in faces])
    result["identity_deviation"] = _mean([float(np.nanstd(face.versions[version].array("identity"))) for face in faces])
    result["light"] = _mean([float(np.nanstd(face.versions[version].array("luma"))) for face in faces])
    result["late"] = measurement.late_ms[version]
    return result


def _jitter(face: FaceSeries, version: str, kind: str) -> Float64:
    own = np.array(getattr(face.versions[version], kind))
    if len(own) < 3:
        return np.zeros(0)
    return jitter(own, np.array(face.versions[CLEAN].landmarks) if kind == "landmarks" else None)


def _mean(values: Any) -> float:
    """Of what is finite; nan without any."""
    kept = np.asarray(values, np.float64)
    kept = kept[np.isfinite(kept)]
    return float(kept.mean()) if len(kept) else float("nan")


def mean_figures(cases: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Version -> figure -> mean over the cases that have it. cases: version -> figures."""
    versions = dict.fromkeys(name for case in cases for name in case)
    names = dict.fromkeys(name for case in cases for figures in case.values() for name in figures)
    return {
        version: {name: _mean([case[version].get(name, math.nan) for case in cases if version in case]) for name in names}
        for version in versions
    }


@dataclass(frozen=True)
class Aim:
    """One thing asked of a variant, and whether it holds."""

    text: str
    value: float
    """nan: could not be told."""
    limit: float
    at_least: bool = False
    note: str = ""

    @property
    def holds(self) -> bool | None:
        if not math.isfinite(self.value):
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def aims(figures: Mapping[str, Figures], variant: str) -> list[Aim]:
    """What is asked of the default: against the clean video, the input, and the variants that it should beat."""
    own = figures[variant]

    def against(other: str, name: str) -> float:
        beside = figures.get(other, {}).get(name, math.nan)
        return own[name] / beside if math.isfinite(beside) and beside > 0 else math.nan

    excess = figures.get(INDEPENDENT, {}).get("warp_excess", math.nan)
    beaten = (
        "" if not excess <= 0 else "with independent noise it is steadier than the clean video already: nothing to share out"
    )
    return [
        Aim("E_warp against the clean video's own", against(CLEAN, "warp"), 1.15),
        Aim("excess of E_warp over the clean video against independent noise", against(INDEPENDENT, "warp_excess"), 0.6, note=beaten),
        Aim("excess of E_warp over the clean video against per-frame restoration", against(PER_FRAME_VARIANT, "warp_excess"), 0.6),
        Aim("flicker against independent noise", against(INDEPENDENT, "flicker"), 0.6),
        Aim("flicker against per-frame restoration", against(PER_FRAME_VARIANT, "flicker"), 0.6),
        Aim("jitter of the crop window against raw landmarks", against(RAW, "window_jitter"), 0.5),
        Aim("jitter of landmarks (by flow) against raw landmarks", against(RAW, "shift_jitter"), 0.5),
        Aim("jitter of landmarks (detected) against raw landmarks", against(RAW, "jitter"), 0.5),
        Aim("identity drift (VIDD) against the input", against(DEGRADED, "drift"), 1.0),
        Aim("sharpness against per-frame restoration", against(PER_FRAME_VARIANT, "sharpness"), 0.95, at_least=True),
        Aim("true detail against per-frame restoration", against(PER_FRAME_VARIANT, "detail"), 0.95, at_least=True),
    ]  # fmt: skip


_SAME = ("clips", "damage", "start", "seconds", "still", "identity", "size")
"""What must be alike, or the figures are of different things."""


@dataclass(frozen=True)
class Earlier:
    """A stored report of `evaluate video`."""

    path: Path
    version: str
    seed: int
    figures: Mapping[str, float]
    """"variant.measure" -> mean; what was not finite is left out."""
    settings: Mapping[str, Any]


def read_earlier(path: Path) -> Earlier:
    """From a report's folder or its report.json. Raises InputError where it cannot be read or is no report of videos."""
    file = path / JSON if path.is_dir() else path
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        figures = {name: float(value) for name, value in found["figures"].items() if isinstance(value, (int, float))}
        earlier = Earlier(path, str(found["version"]), int(found["seed"]), figures, dict(found["settings"]))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file}: cannot be read ({getattr(error, 'strerror', None) or error}); name a report's folder"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not a report of `evaluate video` ({error!r}); name the folder of one") from error
    if "clean.warp" not in earlier.figures:
        raise InputError(f"{file}: not a report of `evaluate video`, or one without a face; name the folder of another")
    return earlier


def add_against(report: Report, means: Mapping[str, Figures], earlier: Earlier, settings: Mapping[str, Any]) -> None:
    """A section with every version that both have: ratios (differences of dB and ms), flat as "against.variant.measure".

    means: version -> figures of this measurement.  settings: this report's.
    """
    section = report.section(
        f"Against {earlier.path.name}, version {earlier.version}",
        "Here over there: 1 is no change. PSNR in dB and times in ms are differences, here less there.",
    )
    both = [name for name in _SAME if name in settings and name in earlier.settings]  # older reports do not say all
    unlike = [name for name in both if settings[name] != earlier.settings[name]]
    unlike += ["seed"] if report.seed != earlier.seed else []
    if unlike:
        section.add(
            Note(f"The two reports differ in {', '.join(unlike)}: their figures are of different things.", warning=True)
        )
    for part, measures in (("steadiness", STEADINESS), ("quality", QUALITY)):
        rows: list[tuple[Cell, ...]] = []
        for version, figures in means.items():
            found = {m.name: _beside(m, figures, earlier.figures.get(f"{slug(version)}.{m.name}", math.nan)) for m in measures}
            if all(value is None for value in found.values()):
                continue
            rows.append((version, *(None if value is None else Value(value, digits=3) for value in found.values())))
            report.figures.update({f"against.{slug(version)}.{n}": value for n, value in found.items() if value is not None})
        section.add(Table(f"against-{part}", ("", *(m.heading for m in measures)), tuple(rows)))


def _beside(measure: Measure, figures: Figures, there: float) -> float | None:
    """The ratio or difference; None where it would say nothing."""
    here = figures.get(measure.name, math.nan)
    if not (math.isfinite(here) and math.isfinite(there)):
        return None
    if measure.compared == "difference":
        return here - there
    return here / there if there > 0 and here >= 0 else None
