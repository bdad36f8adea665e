"""The pixel-space autoencoder: what it is at its start, and its reference attention against a plain loop."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from iconface_video.models.local_attention import ReferenceAttention
from iconface_video.models.pixel_autoencoder import PixelAutoencoder, enlarged


def plain_attention(
    layer: ReferenceAttention, asked: Tensor, stored: Tensor, shown: list[bool], row: int, column: int
) -> tuple[Tensor, Tensor]:
    """One cell, key by key: asked (C, h, w), stored (R, 2 C + detail, h, w) -> (width,) and (finer_width, 2, 2)."""
    heads, channels = layer.heads, layer.channels
    height, width = asked.shape[1:]
    asked = F.normalize(asked[:, row, column].view(heads, -1), dim=1)
    seen = []
    for head in range(heads):
        logits, values = [layer.null_logit[head].squeeze()], [torch.zeros((channels + layer.detail) // heads)]
        for reference, present in zip(stored, shown):
            for dy in range(-layer.radius, layer.radius + 1):
                for dx in range(-layer.radius, layer.radius + 1):
                    y, x = row + dy, column + dx
                    if not present or not (0 <= y < height and 0 <= x < width):
                        continue
                    parts = reference[:, y, x].split([channels, channels, layer.detail])
                    key, value, detail = (part.view(heads, -1)[head] for part in parts)
                    bias = layer.position_bias[head, dy + layer.radius, dx + layer.radius]
                    logits.append(asked[head] @ F.normalize(key, dim=0) * layer.scale[head].exp().squeeze() + bias)
                    values.append(torch.cat([value, detail]))
        seen.append(torch.stack(logits).softmax(0) @ torch.stack(values))
    own, detail = (torch.cat(part).view(1, -1, 1, 1) for part in zip(*[s.split(channels // heads) for s in seen]))
    finer = layer.to_finer(detail)
    return layer.to_out(own).flatten(), finer.view(-1, 2, 2)


@pytest.mark.parametrize(("row", "column"), [(4, 4), (6, 5), (5, 2)])
def test_reference_attention_is_the_plain_sum_over_windows(row: int, column: int) -> None:
    torch.manual_seed(0)
    layer = ReferenceAttention(width=12, channels=8, heads=2, window=5, queries_from_state=True, detail=8, finer_width=6)
    assert layer.to_query_from_state is not None
    for weight in (layer.to_out.weight, layer.to_finer.weight, layer.to_query_from_state.weight, layer.position_bias):
        torch.nn.init.normal_(weight)
    query, state, references = torch.randn(1, 12, 12, 8), torch.randn(1, 12, 12, 8), torch.randn(3, 12, 12, 8)
    stored = layer.keys_values(references, torch.randn(3, 6, 24, 16))
    out, finer = layer(query, stored[None], torch.tensor([[True, False, True]]), state)
    # Cells whose window lies inside: at the border absent keys count as empty ones.
    asked = (layer.to_query(query) + layer.to_query_from_state(state))[0]
    wanted, wanted_finer = plain_attention(layer, asked, stored, [True, False, True], row, column)
    torch.testing.assert_close(out[0, :, row, column], wanted, atol=1e-5, rtol=1e-4)
    found = finer[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
    torch.testing.assert_close(found, wanted_finer, atol=1e-5, rtol=1e-4)


def test_a_masked_reference_is_never_seen() -> None:
    torch.manual_seed(0)
    layer = ReferenceAttention(width=12, channels=8, heads=2, window=5)
    torch.nn.init.normal_(layer.to_out.weight)
    query, stored = torch.randn(2, 12, 8, 8), layer.keys_values(torch.randn(2, 12, 8, 8))
    alone, _ = layer(query, stored[None, :1].expand(2, -1, -1, -1, -1))
    both, _ = layer(query, stored[None].expand(2, -1, -1, -1, -1), torch.tensor([[True, False]] * 2))
    torch.testing.assert_close(alone, both, atol=1e-5, rtol=1e-4)


def test_untrained_it_gives_the_picture_back() -> None:
    model = PixelAutoencoder()
    picture = torch.rand(2, 3, 64, 48) * 2 - 1
    with torch.no_grad():
        source = model.encode_source(picture)
        features = torch.randn(2, source.tokens.shape[1], model.settings.feature_channels)
        assert torch.equal(model.decode(features, source), picture)
    assert source.grid == (4, 3)
    assert source.tokens.shape == (2, 12, 768)


def test_patches_and_back() -> None:
    model, picture = PixelAutoencoder(), torch.rand(1, 3, 48, 32)
    tokens = model.patchify(picture)
    assert tokens.shape == (1, 6, 768)
    assert torch.equal(tokens[0, 1].view(3, 16, 16), picture[0, :, :16, 16:32])
    assert torch.equal(F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (3, 2)), 16), picture)


def test_sides_that_are_no_multiple_of_16_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        PixelAutoencoder().encode_source(torch.zeros(1, 3, 100, 96))


def test_enlarged_is_the_convolution_of_the_nearest_values() -> None:
    torch.manual_seed(0)
    conv, x = torch.nn.Conv2d(6, 4, 3, padding=1), torch.randn(2, 6, 5, 3)
    torch.testing.assert_close(enlarged(x, conv), conv(F.interpolate(x, scale_factor=2, mode="nearest")), atol=1e-5, rtol=1e-5)
