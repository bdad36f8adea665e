"""IConFace's equations, each against a slow reference written from the paper's formula."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from iconface_video.models.attention import ReferenceTokens
from iconface_video.models.conditioning import InputResidual, MemoryAttention, MemoryPooler, smooth_tokens
from iconface_video.models.traits import Parametrisation, add_noise
from tests.models.tiny_models import tiny_transformer

Draw = Callable[..., Tensor]


def test_eq_1_and_8_flow_matching(draw: Draw) -> None:
    clean, noise, sigma = draw(3, 2, 2), draw(3, 2, 2), torch.tensor([0.1, 0.5, 1.0])
    x = add_noise(clean, noise, sigma)
    for i, s in enumerate(sigma.tolist()):
        torch.testing.assert_close(x[i], (1 - s) * clean[i] + s * noise[i])
    velocity = noise - clean
    by_velocity, by_image = Parametrisation("velocity"), Parametrisation("image")
    torch.testing.assert_close(by_velocity.clean(velocity, x, sigma), clean)
    torch.testing.assert_close(by_image.velocity(clean, x, sigma), velocity)
    assert by_velocity.velocity(velocity, x, sigma) is velocity
    assert by_image.clean(clean, x, sigma) is clean
    at_zero = by_image.velocity(clean, clean + 1e-3, torch.zeros(3))
    assert at_zero.isfinite().all()


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(1 + scale) LayerNorm(x) + shift, token by token."""
    out = torch.empty_like(x)
    for token in range(x.shape[0]):
        centred = x[token] - x[token].mean()
        normed = centred / (centred.square().mean() + 1e-6).sqrt()
        out[token] = (1 + scale[token]) * normed + shift[token]
    return out


def test_eq_2_and_5_sequence_and_identity_deltas(draw: Draw) -> None:
    """What enters the attention of the first double-stream and of a single-stream block, token by token."""
    model = tiny_transformer(causal=False)
    base, adapters = model.base, model.adapters
    scene, degraded, references = draw(1, 4, 12), draw(1, 4, 12), draw(1, 2, 4, 12)
    prompt, identity, sigma = draw(1, 5, 24), F.normalize(draw(1, 512)), torch.tensor([0.7])
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: torch.nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            for key in ("hidden_states", "encoder_hidden_states"):
                if key in kwargs:
                    seen[f"{name} {key}"] = kwargs[key][0]
            if args:
                seen[f"{name} input"] = args[0][0]

        return hook

    base.transformer_blocks[0].attn.register_forward_pre_hook(keep("double"), with_kwargs=True)
    single = base.single_transformer_blocks[1]
    single.register_forward_pre_hook(keep("single block"), with_kwargs=True)
    single.attn.register_forward_pre_hook(keep("single"), with_kwargs=True)
    tokens = ReferenceTokens(references, (2, 2))
    model(scene, sigma, prompt, (2, 2), degraded=degraded, references=tokens, identity=identity)

    temb = base.time_guidance_embed(sigma * 1000, None)[0]
    h_id = adapters.identity.phi(identity * math.sqrt(512))
    delta_double, delta_single = adapters.identity.psi_double(h_id)[0], adapters.identity.psi_single(h_id)[0]
    assert delta_double.abs().max() > 1e-2
    activated = F.silu(temb)
    image_mod = base.double_stream_modulation_img.linear(activated)
    text_mod = base.double_stream_modulation_txt.linear(activated)
    single_mod = base.single_stream_modulation.linear(activated)
    # eq. 2: [scene ; degraded ; references], eq. 6 applied to the scene
    residual = adapters.input_residual.project
    scene_in = scene[0] + 1.0 * degraded[0] @ residual.down.weight.T @ residual.up.weight.T
    sequence = torch.cat([scene_in, degraded[0], references[0, 0], references[0, 1]]) @ base.x_embedder.weight.T
    per_token = [image_mod + delta_double] * 8 + [image_mod] * 8  # references keep the backbone's own modulation
    shift, scale = (torch.stack([m.chunk(6)[part] for m in per_token]) for part in (0, 1))
    expected = modulated(sequence, shift, scale)
    torch.testing.assert_close(seen["double hidden_states"], expected, rtol=1e-4, atol=1e-5)
    text = prompt[0] @ base.context_embedder.weight.T
    shift, scale = (text_mod.chunk(6)[part].expand(5, -1) for part in (0, 1))
    torch.testing.assert_close(seen["double encoder_hidden_states"], modulated(text, shift, scale), rtol=1e-4, atol=1e-5)
    per_token = [single_mod] * 5 + [single_mod + delta_single] * 8 + [single_mod] * 8
    shift, scale = (torch.stack([m.chunk(3)[part] for m in per_token]) for part in (0, 1))
    expected = modulated(seen["single block input"], shift, scale)
    torch.testing.assert_close(seen["single hidden_states"], expected, rtol=1e-4, atol=1e-5)


def test_eq_5_leaves_the_text_modulation_alone_to_the_bit(draw: Draw) -> None:
    model = tiny_transformer(causal=False)
    temb, identity = draw(2, 32), F.normalize(draw(2, 512))
    without = model._modulation(temb, None, 5, 8, 12)
    given = model._modulation(temb, identity, 5, 8, 12)
    assert torch.equal(given.double_text, without.double_text)
    assert torch.equal(given.single[:, :5], without.single[:, None].expand(-1, 5, -1))
    assert torch.equal(given.single[:, 13:], without.single[:, None].expand(-1, 4, -1))
    assert not torch.isclose(given.single[:, 5:13], without.single[:, None]).all(-1).any()


def test_eq_6_input_residual_on_another_grid(draw: Draw) -> None:
    layer = InputResidual(6, 2, scale=1.0)
    torch.nn.init.normal_(layer.project.up.weight)
    scene, degraded = draw(1, 16, 6), draw(1, 4, 6)
    # bilinear, 2x2 -> 4x4, centres aligned: weights 1/4 and 3/4, the rim repeated
    weights = torch.tensor([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    small = degraded[0].reshape(2, 2, 6)
    resized = torch.einsum("ia,jb,abc->ijc", weights, weights, small).reshape(16, 6)
    matrix = layer.project.up.weight @ layer.project.down.weight
    assert torch.linalg.matrix_rank(matrix) == 2
    expected = scene[0] + resized @ matrix.T
    torch.testing.assert_close(layer(scene, (4, 4), degraded, (2, 2))[0], expected, rtol=1e-4, atol=1e-5)


def plain_attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """softmax(q k / sqrt(d)) v, one query and head at a time; queries and keys RMS-normalised per head. (n, D) each."""
    size = query.shape[1] // heads
    out = np.zeros((len(query), query.shape[1]))
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        q, k, v = (x[:, part].double().numpy() for x in (query, key, value))
        q = q / np.sqrt((q**2).mean(1, keepdims=True) + 1e-6)
        k = k / np.sqrt((k**2).mean(1, keepdims=True) + 1e-6)
        for i in range(len(q)):
            logits = np.array([q[i] @ k[j] / math.sqrt(size) for j in range(len(k))])
            weights = np.exp(logits - logits.max())
            out[i, part] = (weights / weights.sum()) @ v
    return torch.from_numpy(out).float()


def test_smoothing_is_the_mean_of_the_neighbours(draw: Draw) -> None:
    tokens = draw(1, 12, 2)
    grid = tokens[0].reshape(3, 4, 2)
    for row in range(3):
        for column in range(4):
            near = grid[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].reshape(-1, 2)
            smoothed = smooth_tokens(tokens, (3, 4))[0, row * 4 + column]
            torch.testing.assert_close(smoothed, near.mean(0))


@torch.no_grad()
def test_two_route_memory_pools_the_picture_and_what_smoothing_removes(draw: Draw) -> None:
    adapters = tiny_transformer(causal=False).adapters
    degraded = draw(1, 16, 12)

    def pooled(pooler: MemoryPooler, tokens: Tensor) -> Tensor:
        places = []
        for row in range(4):
            for column in range(4):
                angles = [2 * math.pi * place * f for place in ((row + 0.5) / 4, (column + 0.5) / 4) for f in (0.5, 1, 2, 4, 8)]
                row_part, column_part = angles[:5], angles[5:]
                features = []
                for part in (row_part, column_part):
                    features += [math.sin(a) for a in part] + [math.cos(a) for a in part]
                places.append(features)
        seen = torch.cat([tokens, torch.tensor(places)], 1)
        return plain_attention(pooler.queries, seen @ pooler.to_key.weight.T, seen @ pooler.to_value.weight.T, 2)

    detail = degraded - smooth_tokens(degraded, (4, 4))
    expected = torch.cat([pooled(adapters.pool_base, degraded[0]), pooled(adapters.pool_detail, detail[0])])
    memory = adapters.degraded_memory(degraded, (4, 4))
    assert memory.shape == (1, 8, 32)
    torch.testing.assert_close(memory[0], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_eq_7_gated_low_rank_cross_attention(draw: Draw) -> None:
    layer = MemoryAttention(hidden=8, heads=2, rank=3)
    hidden, memory = draw(1, 5, 8), draw(1, 6, 8)
    assert torch.equal(hidden + layer(hidden, layer.keys_values(memory)), hidden)
    layer.gate.fill_(0.3)
    matrices = {
        name: getattr(layer, name).up.weight @ getattr(layer, name).down.weight for name in ("to_query", "to_key", "to_value")
    }
    assert all(torch.linalg.matrix_rank(m) == 3 for m in matrices.values())
    query = hidden[0] @ matrices["to_query"].T
    key, value = memory[0] @ matrices["to_key"].T, memory[0] @ matrices["to_value"].T
    expected = hidden[0] + 0.3 * plain_attention(query, key, value, 2)
    actual = hidden + layer(hidden, layer.keys_values(memory))
    torch.testing.assert_close(actual[0], expected, rtol=1e-4, atol=1e-5)


def test_eq_7_touches_image_tokens_only(draw: Draw) -> None:
    model = tiny_transformer(causal=False)
    hidden, memory = draw(2, 5 + 8 + 4, 32), draw(2, 8, 32)
    after = model._look_at_memory(3, hidden, memory, 5, 8)
    assert torch.equal(after[:, :5], hidden[:, :5])
    assert torch.equal(after[:, 13:], hidden[:, 13:])
    assert ((after - hidden)[:, 5:13].abs().amax(-1) > 0).all()
