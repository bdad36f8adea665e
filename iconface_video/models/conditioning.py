"""Position ids: (t, row, column, layer) of every token (IConFace supplement eq. 2), for FLUX.2's four-axis RoPE.

Scene (0, h, w, 0); text (0, 0, 0, l); degraded t = 2; reference r (0-based) t = 10 + r. Rows and columns are in cells of the
scene's grid and may be fractional: a coarser grid is laid over the same area, centre on centre.

IConFace's own parts beside the FLUX.2 blocks: identity modulation, degraded input residual, two-route degraded memory.

Every part starts as an identity (a zero-initialised output or gate), so that an untrained one leaves the backbone's output
unchanged to the bit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iconface_video.types import EMBEDDING_SIZE

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


PLACE_FREQUENCIES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Cycles over the picture's side with which the poolers are told where a token stands."""


@dataclass(frozen=True)
class ConditioningSettings:
    """Sizes of the parts that are added to the backbone."""

    memory_tokens: int = 256
    """Tokens of the degraded memory, both routes together (even)."""
    rank: int = 16
    """Of the input residual and the memory's projections."""
    identity_width: int = 512
    """Width of h_id in eq. 5."""
    input_residual_scale: float = 1.0
    """s_deg of eq. 6."""
    max_references: int = 3
    """Reference slots (t = 10 .. 10 + max_references - 1); more references share them, see `models.attention`."""
    causal_references: bool = False
    """References attend only to themselves, at a fixed modulation, so that their keys and values can be computed once."""
    identity_pathway: bool = True
    """IConFace eq. 3-5. A checkpoint that was trained without a part is run without it: what is off leaves no trace, to the bit."""
    degraded_residual: bool = True
    """IConFace eq. 6."""
    degraded_memory: bool = True
    """IConFace eq. 7."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing is added to the backbone but tokens of the degraded picture and of references (eq. 2)."""
        return not (self.identity_pathway or self.degraded_residual or self.degraded_memory)

    def __post_init__(self) -> None:
        if self.memory_tokens < 2 or self.memory_tokens % 2:
            raise ValueError(f"memory_tokens must be even and at least 2 (two routes), got {self.memory_tokens}")

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


class LowRank(nn.Module):
    """x -> up(down(x)), a linear map of rank `rank`."""

    def __init__(self, channels_in: int, channels_out: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels_in, rank, bias=False)
        self.up = nn.Linear(rank, channels_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.up(self.down(x))
        return out


class IdentityModulation(nn.Module):
    """Global identity pathway: deltas to the modulation of image tokens (IConFace eq. 5)."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(EMBEDDING_SIZE, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.psi_double = nn.Linear(width, 6 * hidden)
        self.psi_single = nn.Linear(width, 3 * hidden)
        for psi in (self.psi_double, self.psi_single):
            nn.init.zeros_(psi.weight)
            nn.init.zeros_(psi.bias)

    def forward(self, identity: Tensor) -> tuple[Tensor, Tensor]:
        """identity (B, 512) unit vectors -> deltas (B, 6 hidden) of double-stream, (B, 3 hidden) of single-stream blocks."""
        h_id = self.phi(identity * EMBEDDING_SIZE**0.5)  # entries of a unit vector are tiny: bring them to about 1
        return self.psi_double(h_id), self.psi_single(h_id)


def resize_tokens(tokens: Tensor, grid: Grid, new_grid: Grid) -> Tensor:
    """(B, rows * columns, C) from one grid to another, bilinear."""
    if grid == new_grid:
        return tokens
    maps = tokens.transpose(1, 2).unflatten(2, grid)
    return F.interpolate(maps, size=new_grid, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


def smooth_tokens(tokens: Tensor, grid: Grid) -> Tensor:
    """(B, N, C): each token's mean with its neighbours on the grid (3x3, fewer at the rim)."""
    maps = tokens.transpose(1, 2).unflatten(2, grid)
    return F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False).flatten(2).transpose(1, 2)


class InputResidual(nn.Module):
    """x_scene + s_deg W_in(x_deg resized to the scene's grid), W_in of low rank (IConFace eq. 6)."""

    def __init__(self, channels: int, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.project = LowRank(channels, channels, rank)
        nn.init.zeros_(self.project.up.weight)

    def forward(self, scene: Tensor, grid: Grid, degraded: Tensor, degraded_grid: Grid) -> Tensor:
        """scene (B, N, C), degraded (B, Nd, C) -> (B, N, C)."""
        return scene + self.scale * self.project(resize_tokens(degraded, degraded_grid, grid)).to(scene.dtype)


def place_features(grid: Grid, device: torch.device | None = None) -> Tensor:
    """(rows * columns, 4 * frequencies): sines and cosines of each token's place in the picture."""
    rows, columns = ((torch.arange(cells, device=device) + 0.5) / cells for cells in grid)
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)
    angles = 2 * torch.pi * places[:, :, None] * torch.tensor(PLACE_FREQUENCIES, device=device)
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(1)


class MemoryPooler(nn.Module):
    """Learned queries compress degraded tokens: P_b and P_d of the degraded memory (before IConFace eq. 7)."""

    def __init__(self, channels: int, hidden: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(torch.randn(tokens, hidden))
        wide = channels + 4 * len(PLACE_FREQUENCIES)
        self.to_key = nn.Linear(wide, hidden, bias=False)
        self.to_value = nn.Linear(wide, hidden, bias=False)

    def forward(self, degraded: Tensor, grid: Grid) -> Tensor:
        """(B, Nd, C) -> (B, tokens, hidden)."""
        places = place_features(grid, degraded.device).to(degraded.dtype).expand(len(degraded), -1, -1)
        seen = torch.cat([degraded, places], -1)
        key, value = self.to_key(seen), self.to_value(seen)
        query = self.queries.to(key.dtype).expand(len(degraded), -1, -1)
        return multi_head_attention(query, key, value, self.heads)


def multi_head_attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """softmax(q k / sqrt(d)) v with queries and keys RMS-normalised per head, as FLUX.2 does. (B, n, D) each -> (B, n, D)."""
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    size = (query.shape[-1],)
    query, key = F.rms_norm(query, size, eps=1e-6), F.rms_norm(key, size, eps=1e-6)
    return F.scaled_dot_product_attention(query, key.to(query.dtype), value.to(query.dtype)).transpose(1, 2).flatten(2)


class MemoryAttention(nn.Module):
    """One block's look at the degraded memory: h + mu_l Attn(Q_l h, K_l M, V_l M) (IConFace eq. 7).

    The paper gives K and V the rank 16; Q has it too, since keys of rank 16 could not answer to a fuller one.
    """

    def __init__(self, hidden: int, heads: int, rank: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_query = LowRank(hidden, hidden, rank)
        self.to_key = LowRank(hidden, hidden, rank)
        self.to_value = LowRank(hidden, hidden, rank)
        self.gate = nn.Parameter(torch.zeros(1))

    def keys_values(self, memory: Tensor) -> KeysValuesOfMemory:
        """(B, memory tokens, hidden) -> K_l M and V_l M, the same shape."""
        return self.to_key(memory), self.to_value(memory)

    def forward(self, hidden_states: Tensor, keys_values: KeysValuesOfMemory) -> Tensor:
        """What is added to the image tokens (B, n, hidden)."""
        seen = multi_head_attention(self.to_query(hidden_states), *keys_values, self.heads)
        return (self.gate * seen).to(hidden_states.dtype)


KeysValuesOfMemory = tuple[Tensor, Tensor]


class ConditioningAdapters(nn.Module):
    """All that IConFace adds to a FLUX.2 backbone; saved apart from it."""

    def __init__(self, settings: ConditioningSettings, channels: int, hidden: int, heads: int, blocks: int) -> None:
        """channels: of the tokens; hidden, heads, blocks (double- and single-stream together): of the backbone."""
        super().__init__()
        self.settings = settings
        half = settings.memory_tokens // 2
        if settings.identity_pathway:
            self.identity = IdentityModulation(hidden, settings.identity_width)
        if settings.degraded_residual:
            self.input_residual = InputResidual(channels, settings.rank, settings.input_residual_scale)
        if settings.degraded_memory:
            self.pool_base = MemoryPooler(channels, hidden, heads, half)
            self.pool_detail = MemoryPooler(channels, hidden, heads, half)
            self.memory_attention = nn.ModuleList([MemoryAttention(hidden, heads, settings.rank) for _ in range(blocks)])

    def degraded_memory(self, degraded: Tensor, grid: Grid) -> Tensor:
        """M_deg = [P_b(x_deg) ; P_d(x_deg - smooth(x_deg))]: (B, Nd, C) -> (B, memory_tokens, hidden)."""
        detail = degraded - smooth_tokens(degraded, grid)
        return torch.cat([self.pool_base(degraded, grid), self.pool_detail(detail, grid)], 1)
