"""Bytes and operations from the meta device, and what is made of them: fits, kept in main memory, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from iconface_video.errors import UsageError
from iconface_video.models.convert import TOKENS_ALONE, BaseChoice, LoraChoice, Prompts, convert_lora
from iconface_video.models.full_size import KLEIN_4B_BASE
from iconface_video.models.memory_plan import RESERVE, Architecture, architecture_of, cost_of, fit, restore_needs
from iconface_video.restore import iconface
from iconface_video.restore import iconface as expected
from iconface_video.restore.iconface import expected_time, load_face_model, measured_speed
from iconface_video.settings import LoadSettings, RestoreSettings
from tests.models.published_form import lora_state, write_klein, write_lora
from tests.models.tiny_models import TINY, tiny_vae

KLEIN = Architecture(KLEIN_4B_BASE, {}, TOKENS_ALONE)
TINY_VAE = {name: value for name, value in dict(tiny_vae().config).items() if not name.startswith("_")}
SMALL = Architecture(TINY, TINY_VAE, TOKENS_ALONE)


def test_bytes_alive_at_once_are_counted() -> None:
    with torch.device("meta"):
        x, weight = torch.empty(4, 1000), torch.empty(1000, 1000)

    def run() -> torch.Tensor:
        first = x @ weight  # 16 kB
        second = first.relu()  # 32 kB
        del first
        third = torch.cat([second, second])  # 48 kB
        return third.view(-1)[:10]  # a view takes nothing

    found = cost_of(run, iter((x, weight)))
    assert (found.peak_bytes, found.flops) == (48_000, 2 * 4 * 1000 * 1000)


def test_attention_stores_no_logits_and_is_counted() -> None:
    with torch.device("meta"):
        query = torch.empty(1, 2, 4096, 64)
    found = cost_of(lambda: torch.nn.functional.scaled_dot_product_attention(query, query, query), iter((query,)))
    assert (found.peak_bytes, found.flops) == (2 * 4096 * 64 * 4, 2 * 2 * 2 * 4096 * 4096 * 64)


def test_the_real_size_counts_to_its_published_bytes() -> None:
    needs = restore_needs(KLEIN, references=1)
    assert needs.backbone_bytes == pytest.approx(7.75e9, rel=1e-3)
    assert needs.other_bytes == pytest.approx(168e6 + 2 * 512 * 7680 * 2, rel=2e-2)
    assert 0.4e15 < needs.flops_per_face(12) < 0.8e15
    assert needs.bytes(offload=True) < 4e9 < needs.bytes(offload=False) < 12e9


def test_it_grows_with_batch_and_references_and_shrinks_when_quantised() -> None:
    def of(**changes: Any) -> Any:
        return restore_needs(SMALL, **{"size": 64, "dtype": torch.float32, **changes})

    one = of()
    assert of(batch=4).working_bytes == pytest.approx(4 * one.working_bytes, rel=0.1)
    assert of(references=3).working_bytes > one.working_bytes
    assert of(references=3).flops_per_step > 1.5 * one.flops_per_step
    assert of(guided=False).flops_per_step == pytest.approx(one.flops_per_step / 2, rel=0.01)
    assert one.backbone_bytes > 3 * of(quantize="int8").backbone_bytes > 4 * of(quantize="nf4").backbone_bytes


def test_what_is_done_with_the_memory_that_is_free() -> None:
    needs = restore_needs(SMALL, size=64, batch=2)
    plain, offloaded = needs.bytes(False), needs.bytes(True)
    assert offloaded < plain
    asked = LoadSettings()
    assert fit(needs, asked, plain, "cuda:0").options == asked
    chosen = fit(needs, asked, offloaded, "cuda:0")
    assert chosen.options.offload
    assert "its weights stay in main memory" in chosen.note
    with pytest.raises(UsageError, match=r"at 2 faces per call, cuda:0 has .* free\. With --offload and --batch 1"):
        fit(needs, LoadSettings(quantize="int8"), offloaded, "cuda:0")
    with pytest.raises(UsageError, match="Even --offload and --batch 1 take about"):
        fit(needs, asked, RESERVE, "cuda:0")


@pytest.fixture(scope="module")
def faceir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faceir")
    klein = write_klein(root / "klein")
    lora = write_lora(root / "lora.safetensors", lora_state(TINY))
    convert_lora(LoraChoice(lora, prompts=Prompts("a", "")), root / "model", BaseChoice(str(klein)), dtype=torch.float32)
    return root / "model"


def test_it_is_said_before_the_weights_are_read(faceir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RestoreSettings(str(faceir), device="cpu", dtype="float32", crop_size=64)
    assert not any("GB" in note for note in load_face_model(settings).notes)  # main memory is not planned
    monkeypatch.setattr(expected, "free_bytes", lambda device: 10**12)
    assert any("the model takes about" in note for note in load_face_model(settings).notes)
    monkeypatch.setattr(expected, "free_bytes", lambda device: 10**6)
    monkeypatch.setattr(iconface, "load_model", lambda *arguments, **options: pytest.fail("read before it was checked"))
    with pytest.raises(UsageError, match="use a larger GPU, or --device cpu"):
        load_face_model(settings)


def test_the_time_has_its_arithmetic(faceir: Path) -> None:
    architecture = architecture_of(faceir)
    assert architecture is not None
    assert architecture.conditioning == TOKENS_ALONE
    per_face = restore_needs(architecture, size=64, references=3).flops_per_face(12)
    said = expected_time(architecture, {64: 100}, steps=12, guided=True, references=3, speed=per_face)
    assert said.startswith("100 faces of ")
    assert "100 s at the least" in said or "2 min at the least" in said
    assert architecture_of("embedded") is None
    assert measured_speed(torch.device("cpu"), torch.float32) > 1e6
