"""`IConFaceTransformer`: diffusers' FLUX.2 blocks under our own forward, with IConFace's conditioning pathways.

The backbone is a plain ``Flux2Transformer2DModel`` in ``.base`` (its checkpoints load as they are), what IConFace adds is in
``.adapters``. Sequence (IConFace eq. 2): text, scene, degraded, references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers import Flux2Transformer2DModel
from torch import Tensor, nn

from iconface_video.models.attention import (
    CachedReferences,
    JointAttention,
    KeysValues,
    ParallelAttention,
    ReferenceCache,
    ReferenceTokens,
    Rotary,
    reference_bias,
    reference_slots,
    rotate,
)
from iconface_video.models.conditioning import (
    DEGRADED_TIME,
    FIRST_REFERENCE_TIME,
    SCENE_TIME,
    ConditioningAdapters,
    ConditioningSettings,
    Grid,
    grid_positions,
    slot_positions,
    text_positions,
)


@dataclass(frozen=True, eq=False)
class _Modulation:
    """Shift, scale and gate of one forward: (B, sets * hidden) for all tokens of a stream, or (B, tokens, sets * hidden)."""

    double_image: Tensor
    double_text: Tensor
    single: Tensor


@dataclass(frozen=True, eq=False)
class _Outside:
    """What the sequence looks at beside itself."""

    layers: tuple[KeysValues, ...] | None
    """Per block, keys and values of causal references."""
    mask: Tensor | None
    """(B, 1, 1, keys), bool or bias, over the sequence's own keys and those from outside; None: all are seen alike."""


class IConFaceTransformer(nn.Module):
    """FLUX.2 backbone + adapters. `base.in_channels` may differ from `base.out_channels`."""

    def __init__(self, base: Flux2Transformer2DModel, settings: ConditioningSettings) -> None:
        super().__init__()
        self.base = cast(Any, base)  # diffusers' classes carry no types
        self.settings = settings
        config = self.base.config
        blocks = config.num_layers + config.num_single_layers
        self.adapters = ConditioningAdapters(
            settings, config.in_channels, self.base.inner_dim, config.num_attention_heads, blocks
        )
        for block in self.base.transformer_blocks:
            block.attn.set_processor(JointAttention())
        for block in self.base.single_transformer_blocks:
            block.attn.set_processor(ParallelAttention())

    @classmethod
    def from_config(cls, base_config: Mapping[str, Any], settings: ConditioningSettings) -> IConFaceTransformer:
        """Freshly initialised. base_config: arguments of `Flux2Transformer2DModel`."""
        return cls(Flux2Transformer2DModel(**base_config), settings)

    @property
    def in_channels(self) -> int:
        return int(self.base.config.in_channels)

    @property
    def out_channels(self) -> int:
        return int(self.base.out_channels)

    def forward(
        self,
        scene: Tensor,
        sigma: Tensor,
        prompt: Tensor,
        grid: Grid,
        degraded: Tensor | None = None,
        references: ReferenceTokens | CachedReferences | None = None,
        identity: Tensor | None = None,
        degraded_grid: Grid | None = None,
    ) -> Tensor:
        """One evaluation of the network.

        Args:
            scene: (B, N, in_channels) noisy tokens, N = rows * columns of `grid`, row by row.
            sigma: (B,) share of noise, 0..1 (what diffusers calls timestep / 1000).
            prompt: (1 or B, L, joint_attention_dim) stored embedding.
            degraded: (B, Nd, in_channels) tokens of the degraded picture; None: none of the degraded pathways.
            references: tokens, or with causal references also cached ones; None removes the segment.
            identity: (B, 512) unit identity direction; None, or no such pathway: the backbone's own modulation.
            degraded_grid: where it differs from `grid`; both cover the same area.

        Returns:
            (B, N, out_channels).
        """
        degraded_grid = degraded_grid or grid
        if isinstance(references, ReferenceTokens):
            references = self._present_references(references, grid)
        joint = references if isinstance(references, ReferenceTokens) else None
        outside_references = self._keys_of(references, grid) if isinstance(references, CachedReferences) else None
        if degraded is not None:
            has_residual = self.settings.degraded_residual
            noisy_tokens = self.adapters.input_residual(scene, grid, degraded, degraded_grid) if has_residual else scene
            image = torch.cat([noisy_tokens, degraded], 1)
        else:
            image = scene
        looked_at = image.shape[1]  # tokens that the pathways act on; joint references follow them
        if joint is not None:
            image = torch.cat([image, joint.tokens.flatten(1, 2)], 1)
        base = self.base
        temb = base.time_guidance_embed(sigma.to(scene.dtype) * 1000, None)
        text = base.context_embedder(prompt.expand(len(scene), -1, -1))  # as diffusers does: another shape rounds differently
        modulation = self._modulation(temb, identity, text.shape[1], looked_at, image.shape[1])
        rotary = self._rotary(text.shape[1], grid, degraded_grid if degraded is not None else None, joint, scene.device)
        mask = self._mask(references, text.shape[1] + looked_at)
        outside = _Outside(outside_references, mask)
        memory = None
        if degraded is not None and self.settings.degraded_memory:
            memory = self.adapters.degraded_memory(degraded, degraded_grid)
        hidden = self._blocks(base.x_embedder(image), text, modulation, rotary, outside, memory, looked_at)
        hidden = hidden[:, text.shape[1] : text.shape[1] + scene.shape[1]]
        out: Tensor = base.proj_out(base.norm_out(hidden, temb))
        return out

    def encode_references(self, tokens: Tensor, grid: Grid, scene_grid: Grid) -> ReferenceCache:
        """Keys and values of references that attend only to themselves: once per track, for all steps and frames.

        tokens: (R, M, in_channels), M = rows * columns of `grid`, laid over `scene_grid`.
        They see the modulation of sigma 0, no identity delta and no text. ValueError without `causal_references`.
        """
        if not self.settings.causal_references:
            raise ValueError("this model's references take part in joint attention: they cannot be cached")
        base = self.base
        temb = base.time_guidance_embed(tokens.new_zeros(1), None)
        rotary = base.pos_embed(grid_positions(0, grid, scene_grid, tokens.device))
        hidden = base.x_embedder(tokens)
        no_text = hidden.new_zeros(len(hidden), 0, hidden.shape[-1])
        record: list[KeysValues] = []
        extra = {"record": record}
        double_image, double_text = base.double_stream_modulation_img(temb), base.double_stream_modulation_txt(temb)
        for block in base.transformer_blocks:
            _, hidden = block(hidden, no_text, double_image, double_text, rotary, extra)
        single = base.single_stream_modulation(temb)
        for block in base.single_transformer_blocks:
            hidden = block(hidden, None, single, rotary, extra)
        return ReferenceCache(tuple(record), scene_grid)

    def _present_references(self, references: ReferenceTokens, grid: Grid) -> ReferenceTokens | CachedReferences | None:
        """None where all are absent; with causal references those that are there, encoded."""
        present = references.present
        if not bool(present.any()):
            return None
        if not self.settings.causal_references:
            return references
        cache = self.encode_references(references.tokens[present], references.grid, grid)
        index = (present.flatten().cumsum(0) - 1).clamp(min=0).reshape(present.shape)
        return CachedReferences(cache, index, references.mask)

    def _keys_of(self, references: CachedReferences, grid: Grid) -> tuple[KeysValues, ...]:
        """Keys and values, (B, R * M, heads, head_dim) per block, the keys rotated for their slots (t = 10 + r)."""
        if references.cache.scene_grid != grid:
            raise ValueError(f"references were cached for a scene grid of {references.cache.scene_grid}, this one is {grid}")
        tokens_each = references.tokens_each
        slots = reference_slots(references.index.shape[1], self.settings.max_references, references.index.device)
        rotary = self.base.pos_embed(slot_positions(slots, tokens_each))
        layers = []
        for key, value in references.cache.layers:
            key, value = (x[references.index].flatten(1, 2) for x in (key, value))
            layers.append((rotate(key, rotary), value))
        return tuple(layers)

    def _mask(self, references: ReferenceTokens | CachedReferences | None, tokens_before: int) -> Tensor | None:
        """(B, 1, 1, keys), bool or float32 bias: absent references are not seen; None where all are there and fit."""
        if references is None:
            return None
        present, most = references.present, self.settings.max_references
        crowded = present.shape[1] > most
        if references.mask is None and not crowded:
            return None
        shown = reference_bias(present, most) if crowded else present
        shown = shown.repeat_interleave(references.tokens_each, 1)
        before = shown.new_full((len(shown), tokens_before), 0 if crowded else 1)
        return torch.cat([before, shown], 1)[:, None, None, :]

    def _rotary(self, text: int, grid: Grid, degraded: Grid | None, joint: ReferenceTokens | None, device: Any) -> Rotary:
        positions = [text_positions(text, device), grid_positions(SCENE_TIME, grid, device=device)]
        if degraded is not None:
            positions.append(grid_positions(DEGRADED_TIME, degraded, grid, device))
        if joint is not None:
            slots = reference_slots(joint.tokens.shape[1], self.settings.max_references).tolist()
            positions += [grid_positions(FIRST_REFERENCE_TIME + slot, joint.grid, grid, device) for slot in slots]
        rotary: Rotary = self.base.pos_embed(torch.cat(positions))
        return rotary

    def _modulation(self, temb: Tensor, identity: Tensor | None, text: int, looked_at: int, image: int) -> _Modulation:
        """The backbone's modulation, with the identity's deltas on the first `looked_at` image tokens (IConFace eq. 5)."""
        base = self.base
        double_text = base.double_stream_modulation_txt(temb)
        double_image, single = base.double_stream_modulation_img(temb), base.single_stream_modulation(temb)
        if identity is None or not self.settings.identity_pathway:
            return _Modulation(double_image, double_text, single)
        delta_double, delta_single = self.adapters.identity(identity)
        with_identity = (double_image + delta_double)[:, None], (single + delta_single)[:, None]
        rest = image - looked_at
        if rest:
            parts = [with_identity[0].expand(-1, looked_at, -1), double_image[:, None].expand(-1, rest, -1)]
            double_image = torch.cat(parts, 1)
        else:
            double_image = with_identity[0]
        plain = single[:, None]
        parts = [plain.expand(-1, text, -1), with_identity[1].expand(-1, looked_at, -1), plain.expand(-1, rest, -1)]
        return _Modulation(double_image, double_text, torch.cat(parts, 1))

    def _blocks(
        self,
        image: Tensor,
        text: Tensor,
        modulation: _Modulation,
        rotary: Rotary,
        outside: _Outside,
        memory: Tensor | None,
        looked_at: int,
    ) -> Tensor:
        """(B, L + image tokens, hidden) after all blocks; after each, image tokens look at the memory (IConFace eq. 7)."""
        base, first_single = self.base, len(self.base.transformer_blocks)
        for index, block in enumerate(base.transformer_blocks):
            extra = self._attention_arguments(outside, index)
            text, image = self._run(block, image, text, modulation.double_image, modulation.double_text, rotary, extra)
            image = self._look_at_memory(index, image, memory, 0, looked_at)
        hidden = torch.cat([text, image], 1)
        start = text.shape[1]
        for index, block in enumerate(base.single_transformer_blocks, first_single):
            extra = self._attention_arguments(outside, index)
            hidden = self._run(block, hidden, None, modulation.single, rotary, extra)
            hidden = self._look_at_memory(index, hidden, memory, start, looked_at)
        return hidden

    def _run(self, block: Callable[..., Any], *arguments: Any) -> Any:
        if torch.is_grad_enabled() and self.base.gradient_checkpointing:
            return self.base._gradient_checkpointing_func(block, *arguments)
        return block(*arguments)

    @staticmethod
    def _attention_arguments(outside: _Outside, index: int) -> dict[str, Any]:
        extra: dict[str, Any] = {}
        if outside.layers is not None:
            extra["outside"] = outside.layers[index]
        if outside.mask is not None:
            extra["attention_mask"] = outside.mask
        return extra

    def _look_at_memory(self, index: int, hidden: Tensor, memory: Tensor | None, start: int, count: int) -> Tensor:
        if memory is None:
            return hidden
        layer: Any = self.adapters.memory_attention[index]
        image = hidden[:, start : start + count]
        image = image + self._run(lambda seen, known: layer(seen, layer.keys_values(known)), image, memory)
        if image.shape[1] == hidden.shape[1]:
            return image
        return torch.cat([hidden[:, :start], image, hidden[:, start + count :]], 1)
