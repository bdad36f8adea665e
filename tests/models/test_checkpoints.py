from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2Transformer2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from iconface_video.errors import CheckpointError, UsageError
from iconface_video.models import checkpoint_index
from iconface_video.models.checkpoint_files import verify_manifest
from iconface_video.models.checkpoint_index import find_checkpoint
from iconface_video.models.checkpoints import load_base, load_model
from iconface_video.models.conditioning import ConditioningSettings
from iconface_video.models.full_size import KLEIN_4B_BASE, build_on_base, count_parameters
from iconface_video.models.lora import DEFAULT_RANK, add_lora
from iconface_video.models.model import IConFaceModel
from iconface_video.models.saving import save_model
from iconface_video.models.traits import RestorerTraits
from iconface_video.models.transformer import IConFaceTransformer
from tests.models.tiny_models import TINY, TINY_CONDITIONING, TINY_SCHEDULER, tiny_pixel_model, tiny_vae

Draw = Callable[..., Tensor]
TRAITS = RestorerTraits("tiny", "velocity", crop_sizes=(16,), size_multiple=4, default_steps=2)


@pytest.fixture(scope="module")
def klein(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random FLUX.2 checkpoint, saved by diffusers itself."""
    folder = tmp_path_factory.mktemp("klein")
    torch.manual_seed(5)
    Flux2Transformer2DModel(**TINY).save_pretrained(folder / "transformer", max_shard_size="60KB")
    tiny_vae().save_pretrained(folder / "vae")
    FlowMatchEulerDiscreteScheduler(**TINY_SCHEDULER).save_pretrained(folder / "scheduler")
    return folder


def on_klein(klein: Path, lora_rank: int | None = 4) -> IConFaceModel:
    generator = torch.Generator().manual_seed(3)
    prompt, negative = torch.randn(2, 1, 5, 24, generator=generator)
    torch.manual_seed(6)
    return build_on_base(klein, prompt, negative, TINY_CONDITIONING, TRAITS, lora_rank)


def restore(model: IConFaceModel, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(11)
    source, anchor = torch.rand(2, 3, 16, 16, generator=generator) * 2 - 1, torch.randn(2, 512, generator=generator)
    noise = torch.randn(2, *model.noise_shape(16), generator=generator)
    references = model.encode_references(torch.rand(3, 3, 16, 16, generator=generator), 16)
    return model.restore(source, anchor, [references[:count] if count else None] * 2, noise)


def train_step(model: IConFaceModel, draw: Draw) -> dict[str, bool]:
    """One step; which trainable parameters a gradient other than zero has reached."""
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(list(trainable.values()), lr=0.5)
    references = model.encode_references(draw(1, 3, 16, 16).tanh(), 16)
    conditioning = model.condition(draw(2, 3, 16, 16).tanh(), draw(2, 512), [references, None])
    velocity = model.velocity(draw(2, 12, 4, 4), torch.tensor([0.4, 0.8]), conditioning)
    (velocity - draw(2, 12, 4, 4)).square().mean().backward()
    reached = {name: p.grad is not None and bool(p.grad.any()) for name, p in trainable.items()}
    optimizer.step()
    optimizer.zero_grad()
    return reached


def test_a_diffusers_checkpoint_loads_trains_saves_and_reloads(klein: Path, draw: Draw, tmp_path: Path) -> None:
    model = on_klein(klein)
    for count in (0, 1, 3):
        assert restore(model, count).isfinite().all()
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    train_step(model, draw)
    train_step(model, draw)
    reached = train_step(model, draw)  # by now what starts at zero lets gradients through to what stands before it
    assert [name for name, is_reached in reached.items() if not is_reached] == []
    assert {name.split(".")[1] for name in reached} == {"adapters", "base"}
    assert all(".adapters." in name or ".lora_" in name for name in reached)
    for name, parameter in model.named_parameters():
        if name in frozen:
            assert parameter.grad is None
            assert torch.equal(parameter, frozen[name]), name
    model.eval()
    before = [restore(model, count) for count in (0, 1, 3)]
    assert not torch.allclose(before[0], before[1], atol=1e-4)
    save_model(model, tmp_path / "apart", base=str(klein))
    save_model(model, tmp_path / "merged")
    for folder, tolerance in (("apart", 0.0), ("merged", 1e-3)):
        again = load_model(tmp_path / folder, dtype="float32")
        for expected, count in zip(before, (0, 1, 3)):
            torch.testing.assert_close(restore(again, count), expected, rtol=tolerance, atol=tolerance)
    assert not (tmp_path / "apart" / "transformer").exists()
    assert (tmp_path / "apart" / "lora" / "lora.safetensors").is_file()


def test_klein_keys_match_exactly_in_shards(klein: Path) -> None:
    assert len(list((klein / "transformer").glob("*.safetensors"))) > 1
    loaded = load_base(klein / "transformer", torch.float32)
    plain = Flux2Transformer2DModel.from_pretrained(klein / "transformer")
    ours, theirs = loaded.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_untrained_lora_changes_nothing(klein: Path) -> None:
    assert torch.equal(restore(on_klein(klein, lora_rank=None).eval(), 1), restore(on_klein(klein).eval(), 1))


def test_the_pixel_model_survives_saving_in_half_the_size(tmp_path: Path, draw: Draw) -> None:
    model = tiny_pixel_model()
    source, noise, anchor = draw(1, 3, 32, 32).tanh(), draw(1, 3, 32, 32), draw(1, 512)
    save_model(model, tmp_path / "full")
    save_model(model, tmp_path / "half", storage_dtype=torch.bfloat16)
    expected = model.restore(source, anchor, [None], noise)
    exact = load_model(tmp_path / "full", dtype="float32")
    ours, saved = model.state_dict(), exact.state_dict()
    assert ours.keys() == saved.keys()
    assert all(torch.equal(ours[name], saved[name]) for name in ours)
    torch.testing.assert_close(exact.restore(source, anchor, [None], noise), expected, rtol=1e-4, atol=1e-5)
    half = load_model(tmp_path / "half", dtype="float32")
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.restore(source, anchor, [None], noise), expected, rtol=0.1, atol=0.1)
    assert verify_manifest(tmp_path / "half") == 8


@pytest.fixture(scope="module")
def pixel_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_model(tiny_pixel_model(), folder)
    return folder


@pytest.fixture
def damaged(pixel_folder: Path, tmp_path: Path) -> Path:
    """A copy to be damaged, without the checksums that would tell before all else."""
    folder = Path(shutil.copytree(pixel_folder, tmp_path / "model"))
    (folder / "manifest.json").unlink()
    return folder


def change_tensors(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


ADAPTERS = "adapters/adapters.safetensors"


@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors",
        ADAPTERS,
        "autoencoder/config.json",
        "autoencoder/autoencoder.safetensors",
        "scheduler/scheduler_config.json",
        "prompt_embedding.safetensors",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "cut short", "garbage"])
def test_a_damaged_file_is_named(damaged: Path, name: str, damage: str) -> None:
    path = damaged / name
    if damage == "missing":
        path.unlink()
    elif damage == "cut short":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        path.write_bytes(b"\x00garbage" * 9)
    with pytest.raises(CheckpointError) as caught:
        load_model(damaged)
    assert str(path) in str(caught.value)


def test_the_first_wrong_key_is_named(damaged: Path, pixel_folder: Path) -> None:
    path = damaged / ADAPTERS
    for change, message in (
        (lambda t: t.pop("pool_base.queries"), "incomplete, 'pool_base.queries' is missing"),
        (lambda t: t.update({"pool_base.other": torch.zeros(1)}), "unexpected key 'pool_base.other'"),
        (lambda t: t.update({"pool_base.queries": torch.zeros(3, 32)}), r"'pool_base.queries' is \(3, 32\), must be \(4, 32\)"),
    ):
        shutil.copy(pixel_folder / ADAPTERS, path)
        change_tensors(path, change)
        with pytest.raises(CheckpointError, match=message) as caught:
            load_model(damaged)
        assert str(path) in str(caught.value)


def test_a_base_of_another_size_is_refused(damaged: Path) -> None:
    config = damaged / "transformer" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "mlp_ratio": 3.0}))
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model.safetensors: '.*' is \(.*\), must be"):
        load_model(damaged)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format version 99, this release reads 1"),
        ({"_class_name": "Flux2KleinPipeline"}, "a checkpoint of Flux2KleinPipeline"),
        ({"traits": {"name": "x", "prediction": "image", "colour": 1}}, "unknown entry 'colour' of RestorerTraits"),
        ({"conditioning": {"memory_tokens": 7}}, "memory_tokens must be even"),
    ],
)
def test_an_index_of_another_kind_is_refused(damaged: Path, change: dict[str, object], message: str) -> None:
    path = damaged / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(damaged)
    assert str(path) in str(caught.value)


def test_pickles_are_not_read(damaged: Path) -> None:
    weights = damaged / "transformer" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_name("diffusion_pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        load_model(damaged)


def test_weights_are_checked_against_their_checksums(
    pixel_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    damaged = Path(shutil.copytree(pixel_folder, tmp_path / "model"))
    monkeypatch.setattr(checkpoint_index, "embedded_folder", lambda: damaged)
    assert load_model("embedded").traits.name == "embedded"
    path = damaged / ADAPTERS
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    for source in ("embedded", damaged):
        with pytest.raises(CheckpointError, match=f"{ADAPTERS}: its SHA-256 differs"):
            load_model(source)
    monkeypatch.setattr(checkpoint_index, "embedded_folder", lambda: tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="holds no embedded weights"):
        load_model("embedded")


def test_unknown_sources_say_what_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        find_checkpoint("/nowhere/at/all")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="somebody/iconface-nothing: cannot be downloaded"):
        find_checkpoint("hub:somebody/iconface-nothing")


def test_an_existing_folder_is_not_overwritten_unasked(tmp_path: Path) -> None:
    model, folder = tiny_pixel_model(), tmp_path / "model"
    save_model(model, folder)
    with pytest.raises(UsageError, match="is there already"):
        save_model(model, folder)
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("keep me")
    old = json.loads((folder / "manifest.json").read_text())
    old["files"]["shard-2.safetensors"] = {}
    (folder / "manifest.json").write_text(json.dumps(old))
    (folder / "shard-2.safetensors").write_text("of the model that stood there")
    save_model(model, folder, overwrite=True)
    assert (folder / "notes" / "mine.txt").read_text() == "keep me"
    assert not (folder / "shard-2.safetensors").exists()
    load_model(str(folder))
    assert list(folder.parent.glob(".*")) == []


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("keep me")
    (tmp_path / "model.partial").mkdir()
    with pytest.raises(UsageError, match="holds something else than a model"):
        save_model(tiny_pixel_model(), tmp_path / "photos", overwrite=True)
    save_model(tiny_pixel_model(), tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.partial", "photos"]
    assert (tmp_path / "photos" / "a.jpg").read_text() == "keep me"


def test_vae_from_diffusers_is_read_to_the_bit(klein: Path) -> None:
    ours = on_klein(klein).autoencoder.vae.state_dict()
    theirs = AutoencoderKLFlux2.from_pretrained(klein / "vae").state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_full_size_has_the_expected_parameters() -> None:
    with torch.device("meta"):  # nothing is allocated
        transformer = IConFaceTransformer.from_config(KLEIN_4B_BASE, ConditioningSettings())
        add_lora(transformer, DEFAULT_RANK)
    counts = count_parameters(transformer)
    hidden, mlp = 3072, 9216
    double = 2 * (4 * hidden**2 + 3 * hidden * mlp) + 4 * 128
    single = hidden * (3 * hidden + 2 * mlp) + (hidden + mlp) * hidden + 2 * 128
    modulation = (6 + 6 + 3 + 2) * hidden**2
    doors = 128 * hidden + 7680 * hidden + hidden * 128 + 256 * hidden + hidden**2
    assert counts.base == 5 * double + 20 * single + modulation + doors
    rank = 16
    lora_double = 8 * 2 * rank * hidden
    lora_single = rank * (hidden + 3 * hidden + 2 * mlp) + rank * (hidden + mlp + hidden)
    assert counts.lora == 5 * lora_double + 20 * lora_single
    assert counts.adapters < 0.01 * counts.base


def test_counts_of_a_model_without_lora_are_those_of_its_modules(klein: Path) -> None:
    model = on_klein(klein, lora_rank=None)
    counts = count_parameters(model.transformer)
    assert counts.lora == 0
    assert counts.base + counts.adapters == sum(p.numel() for p in model.transformer.parameters())
