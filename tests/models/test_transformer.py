from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from iconface_video.models.attention import CachedReferences, ReferenceCache, ReferenceTokens, share_and_index
from iconface_video.models.conditioning import grid_positions, text_positions
from iconface_video.models.transformer import IConFaceTransformer
from tests.models.tiny_models import tiny_transformer

GRID = (4, 4)
Draw = Callable[..., Tensor]


def inputs(draw: Draw, batch: int = 2) -> dict[str, object]:
    return {
        "scene": draw(batch, 16, 12),
        "sigma": torch.linspace(0.3, 0.9, batch),
        "prompt": draw(1, 5, 24),
        "grid": GRID,
        "degraded": draw(batch, 16, 12),
        "identity": F.normalize(draw(batch, 512)),
    }


@pytest.mark.parametrize("references", [0, 1, 3])
def test_untrained_adapters_leave_the_backbone_unchanged_to_the_bit(draw: Draw, references: int) -> None:
    model = tiny_transformer(causal=False, started=False)
    given = inputs(draw)
    tokens = draw(2, references, 16, 12) if references else None
    ours = model(**given, references=None if tokens is None else ReferenceTokens(tokens, GRID))
    sequence = [given["scene"], given["degraded"]] + ([] if tokens is None else [tokens.flatten(1, 2)])
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    times = [0, 2, *range(10, 10 + references)]
    ids = [torch.stack([torch.full((16,), t), rows.flatten(), columns.flatten(), torch.zeros(16)], 1) for t in times]
    text_ids = torch.tensor([[0, 0, 0, layer] for layer in range(5)])
    plain = type(model.base)(**model.base.config)  # with diffusers' own attention processors
    plain.load_state_dict(model.base.state_dict())
    theirs = plain(
        hidden_states=torch.cat(sequence, 1),
        encoder_hidden_states=given["prompt"].expand(2, -1, -1),
        timestep=given["sigma"],
        img_ids=torch.cat(ids),
        txt_ids=text_ids,
        return_dict=False,
    )[0][:, :16]
    assert torch.equal(ours, theirs)


def test_position_ids_follow_the_paper() -> None:
    assert text_positions(3).tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 2]]
    assert grid_positions(2, (2, 3)).tolist() == [[2, h, w, 0] for h in range(2) for w in range(3)]
    over = grid_positions(11, (2, 2), over=(4, 4))  # a cell of the coarse grid stands on the centre of four fine ones
    assert over.tolist() == [[11, h, w, 0] for h in (0.5, 2.5) for w in (0.5, 2.5)]


@pytest.mark.parametrize("causal", [False, True])
def test_every_reference_has_its_own_effect_and_none_removes_the_segment(draw: Draw, causal: bool) -> None:
    model = tiny_transformer(causal=causal)
    given = inputs(draw)
    tokens = draw(2, 3, 4, 12)
    none = model(**given)
    absent = ReferenceTokens(tokens, (2, 2), torch.zeros(2, 3, dtype=torch.bool))
    assert torch.equal(none, model(**given, references=absent))
    before = model(**given, references=ReferenceTokens(tokens, (2, 2)))
    for slot in range(3):
        changed = tokens.clone()
        changed[:, slot] += 1
        after = model(**given, references=ReferenceTokens(changed, (2, 2)))
        assert (after - before).abs().max() > 1e-5


@pytest.mark.parametrize("causal", [False, True])
def test_a_batch_with_mixed_reference_counts_gives_what_one_by_one_gives(draw: Draw, causal: bool) -> None:
    model = tiny_transformer(causal=causal)
    given = inputs(draw, 3)
    tokens, counts = draw(3, 3, 4, 12), [0, 1, 3]
    mask = torch.tensor([[slot < count for slot in range(3)] for count in counts])
    together = model(**given, references=ReferenceTokens(tokens, (2, 2), mask))
    for sample, count in enumerate(counts):
        one = {key: x[sample : sample + 1] if isinstance(x, Tensor) and len(x) == 3 else x for key, x in given.items()}
        references = ReferenceTokens(tokens[sample : sample + 1, :count], (2, 2)) if count else None
        torch.testing.assert_close(model(**one, references=references), together[sample : sample + 1], rtol=1e-3, atol=1e-4)


def cached_references(per_sample: Sequence[ReferenceCache | None]) -> CachedReferences:
    caches, index, mask = share_and_index(per_sample)
    return CachedReferences(ReferenceCache.cat(caches), index, mask)


def test_references_cached_one_by_one_give_what_uncached_ones_give(draw: Draw) -> None:
    model = tiny_transformer(causal=True)
    given = inputs(draw)
    tokens = draw(2, 3, 4, 12)
    uncached = model(**given, references=ReferenceTokens(tokens, (2, 2)))
    caches = []
    for sample in tokens:
        one_by_one = [model.encode_references(reference[None], (2, 2), GRID) for reference in sample]
        caches.append(ReferenceCache.cat(one_by_one[::-1])[[2, 1, 0]])
    cached = model(**given, references=cached_references(caches))
    torch.testing.assert_close(cached, uncached, rtol=1e-3, atol=1e-4)


def test_a_batch_shares_a_cache_and_leaves_out_what_is_not_there(draw: Draw) -> None:
    model = tiny_transformer(causal=True)
    given = inputs(draw, 3)
    shared = model.encode_references(draw(2, 4, 12), (2, 2), GRID)
    references = cached_references([shared, None, shared])
    assert len(references.cache) == 2
    together = model(**given, references=references)
    without = {key: x[1:2] if isinstance(x, Tensor) and len(x) == 3 else x for key, x in given.items()}
    torch.testing.assert_close(model(**without), together[1:2], rtol=1e-3, atol=1e-4)


def test_causal_references_see_neither_scene_nor_noise_level_nor_each_other(draw: Draw) -> None:
    model = tiny_transformer(causal=True)
    tokens = draw(2, 4, 12)
    both = model.encode_references(tokens, (2, 2), GRID)
    alone = model.encode_references(tokens[1:], (2, 2), GRID)
    for (key, value), (key_alone, value_alone) in zip(both.layers, alone.layers):
        torch.testing.assert_close(key[1:], key_alone)
        torch.testing.assert_close(value[1:], value_alone)


def test_a_cache_for_another_scene_grid_is_refused(draw: Draw) -> None:
    model = tiny_transformer(causal=True)
    cache = model.encode_references(draw(1, 4, 12), (2, 2), (8, 8))
    with pytest.raises(ValueError, match=r"\(8, 8\), this one is \(4, 4\)"):
        model(**inputs(draw, 1), references=cached_references([cache]))


def test_caching_without_causal_references_is_refused(draw: Draw) -> None:
    with pytest.raises(ValueError, match="cannot be cached"):
        tiny_transformer(causal=False).encode_references(draw(1, 4, 12), (2, 2), GRID)


def gradients(model: IConFaceTransformer, draw: Draw) -> dict[str, float]:
    given = inputs(draw)
    tokens = draw(2, 2, 4, 12).requires_grad_()
    mask = torch.tensor([[True, False], [True, True]])
    model.zero_grad()
    out = model(**given, references=ReferenceTokens(tokens, (2, 2), mask))
    out.square().mean().backward()
    seen = tokens.grad.abs().amax((2, 3)) > 0
    assert torch.equal(seen, mask)
    return {name: 0.0 if p.grad is None else float(p.grad.abs().max()) for name, p in model.named_parameters()}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_parameter(draw: Draw, causal: bool, checkpointing: bool) -> None:
    model = tiny_transformer(causal=causal).train()
    if checkpointing:
        model.base.enable_gradient_checkpointing()
    assert [name for name, size in gradients(model, draw).items() if size == 0] == []


def test_bfloat16_autocast_stays_close(draw: Draw) -> None:
    model = tiny_transformer(causal=True)
    given = inputs(draw)
    references = ReferenceTokens(draw(2, 2, 4, 12), (2, 2), torch.tensor([[True, False], [True, True]]))
    exact = model(**given, references=references)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(**given, references=references)
    assert (rough.float() - exact).norm() < 0.05 * exact.norm()


def test_scene_and_output_channels_may_differ(draw: Draw) -> None:
    model = tiny_transformer(causal=True, out_channels=7)
    assert model(**inputs(draw)).shape == (2, 16, 7)
