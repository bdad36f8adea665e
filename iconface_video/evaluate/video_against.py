"""Figures of this measurement beside those of a report that another release wrote: what became better, what worse."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iconface_video.errors import InputError
from iconface_video.evaluate.report import JSON, Cell, Note, Report, Table, Value
from iconface_video.evaluate.video_summary import QUALITY, STEADINESS, Figures, Measure
from iconface_video.evaluate.video_variants import slug

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
