"""Training curves as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

from matplotlib.figure import Figure


def _columns(path: Path) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {}
    if not path.exists():
        return columns
    with path.open(newline="", encoding="utf-8") as rows:
        reader = csv.reader(rows)
        names = next(reader, [])
        for row in reader:
            # A row of an older run may not fit its header: it is not drawn. A figure that a row has not is left out.
            if len(row) == len(names):
                for name, value in zip(names, row):
                    columns.setdefault(name, []).append(float(value or "nan"))
    return columns


def plot_curve(folder: Path) -> None:
    """Draw curve.csv and validation.csv of a run folder into curve.png, one small plot per figure."""
    panels = []
    for name in ("curve.csv", "validation.csv"):
        columns = _columns(folder / name)
        panels += [(f"{name[:-4]}: {k}", columns["step"], v) for k, v in columns.items() if k != "step"]
    if not panels:
        return
    across = 4
    down = -(-len(panels) // across)
    figure = Figure(figsize=(4 * across, 2.4 * down), layout="constrained")
    for position, (title, steps, values) in enumerate(panels, 1):
        axes = figure.add_subplot(down, across, position)
        axes.plot(steps, values, linewidth=1)
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=7)
    figure.savefig(folder / "curve.png", dpi=80)
