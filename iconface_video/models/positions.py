"""Position ids: (t, row, column, layer) of every token (IConFace supplement eq. 2), for FLUX.2's four-axis RoPE.

Scene (0, h, w, 0); text (0, 0, 0, l); degraded t = 2; reference r (0-based) t = 10 + r. Rows and columns are in cells of the
scene's grid and may be fractional: a coarser grid is laid over the same area, centre on centre.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCENE_TIME = 0
DEGRADED_TIME = 2
FIRST_REFERENCE_TIME = 10

Grid = tuple[int, int]
"""(rows, columns) of tokens."""


def text_positions(length: int, device: torch.device | None = None) -> Tensor:
    """(length, 4): (0, 0, 0, l)."""
    positions = torch.zeros(length, 4, device=device)
    positions[:, 3] = torch.arange(length, device=device)
    return positions


def grid_positions(time: int, grid: Grid, over: Grid | None = None, device: torch.device | None = None) -> Tensor:
    """(rows * columns, 4): (time, h, w, 0), row by row.

    over: the scene's grid, where `grid` covers the same area with another number of cells; None: `grid` itself.
    """
    axes = []
    for cells, scene_cells in zip(grid, over or grid):
        step = scene_cells / cells
        axes.append(torch.arange(cells, device=device) * step + (step - 1) / 2)
    rows, columns = torch.meshgrid(axes[0], axes[1], indexing="ij")
    flat = torch.stack([rows.flatten(), columns.flatten()], 1).float()
    time_column = torch.full((len(flat), 1), float(time), device=device)
    return torch.cat([time_column, flat, torch.zeros(len(flat), 1, device=device)], 1)


def slot_positions(slots: Tensor, tokens_each: int) -> Tensor:
    """slots (R,) -> (R * tokens_each, 4): (10 + slot, 0, 0, 0), what turns keys made at t = 0 into those of their slot."""
    positions = torch.zeros(len(slots) * tokens_each, 4, device=slots.device)
    positions[:, 0] = FIRST_REFERENCE_TIME + slots.repeat_interleave(tokens_each)
    return positions
