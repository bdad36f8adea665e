"""The encoder's framing, checkpoints and conversions."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from iconface_video.errors import CheckpointError
from iconface_video.faces.align import TEMPLATE_512
from iconface_video.faces.encoder_networks import ARCHITECTURES
from iconface_video.faces.identity_encoder import (
    ARCFACE_TEMPLATE_112,
    EncoderSettings,
    IdentityEncoder,
    arcface_from_ffhq,
    convert_adaface,
    embed_crops,
    load_identity_encoder,
    save_identity_encoder,
    window_from_arcface112,
)
from iconface_video.faces.pixels import to_tensor


@pytest.fixture(scope="module")
def encoder() -> IdentityEncoder:
    torch.manual_seed(0)
    return IdentityEncoder().eval()


@pytest.fixture
def saved(encoder, tmp_path):
    save_identity_encoder(encoder, tmp_path / "encoder", {"note": "test"})
    return tmp_path / "encoder"


@pytest.mark.parametrize("architecture", ["mobile", "ir18"])
def test_raw_embeddings_keep_their_norm(architecture):
    torch.manual_seed(0)
    encoder = IdentityEncoder(EncoderSettings(architecture)).eval()
    raw = encoder(torch.randn(3, 3, 112, 112))
    assert raw.shape == (3, 512)
    assert (raw.norm(dim=1) - 1).abs().min() > 0.05  # not normalised away


def test_ir_parameter_counts_are_the_published_ones():
    """24.0 M, 43.6 M and 65.1 M parameters: AdaFace's IR-18, IR-50 and IR-101."""
    counts = {}
    with torch.device("meta"):
        for architecture in ARCHITECTURES:
            counts[architecture] = sum(p.numel() for p in IdentityEncoder(EncoderSettings(architecture)).parameters())
    assert [round(counts[name] / 1e6, 1) for name in ("ir18", "ir50", "ir101")] == [24.0, 43.6, 65.2]
    assert counts["mobile"] < 5e6


def test_bgr_weights_see_swapped_channels():
    torch.manual_seed(0)
    rgb, bgr = (
        IdentityEncoder(EncoderSettings("mobile", "rgb")).eval(),
        IdentityEncoder(EncoderSettings("mobile", "bgr")).eval(),
    )
    bgr.load_state_dict(rgb.state_dict())
    images = torch.randn(1, 3, 112, 112)
    assert torch.allclose(rgb(images), bgr(images.flip(1)))
    assert not torch.allclose(rgb(images), bgr(images))


@pytest.mark.parametrize("size", [128, 256, 512])
def test_framing_puts_landmarks_where_arcface_wants_them(size):
    """A dot at each FFHQ landmark comes out within 2.3 px of its place in the ArcFace template (the two templates differ by that much)."""
    for place, wanted in zip(TEMPLATE_512, ARCFACE_TEMPLATE_112):
        crop = np.zeros((size, size, 3), np.uint8)
        center = (place + 0.5) * size / 512 - 0.5
        cv2.circle(crop, tuple(np.round(center * 16).astype(int)), round(size / 64 * 16), (255, 255, 255), -1, cv2.LINE_AA, 4)
        framed = (arcface_from_ffhq(to_tensor([crop]))[0, 0].numpy() + 1) / 2
        rows, columns = np.mgrid[:112, :112]
        found = np.array([(framed * columns).sum(), (framed * rows).sum()]) / framed.sum()
        assert np.abs(found - wanted).max() < 2.3


def test_framing_is_the_same_at_every_size():
    rng = np.random.default_rng(0)
    small = cv2.GaussianBlur(rng.integers(0, 256, (128, 128, 3)).astype(np.uint8), (0, 0), 3)
    large = cv2.resize(small, (512, 512), interpolation=cv2.INTER_CUBIC)
    a, b = (arcface_from_ffhq(to_tensor([crop])).numpy() for crop in (small, large))
    assert np.abs(a - b).mean() < 0.02


def test_framing_does_not_alias():
    """Stripes of 2 px in a 512-px crop are far beyond what 112 px can show: grey must come out."""
    crop = np.zeros((512, 512, 3), np.uint8)
    crop[:, ::2] = 255
    framed = arcface_from_ffhq(to_tensor([crop]))
    assert framed.std() < 0.05


def test_gradients_reach_the_picture(encoder):
    crop = torch.rand(1, 3, 256, 256, requires_grad=True)
    encoder(arcface_from_ffhq(crop)).square().sum().backward()
    assert crop.grad is not None
    assert (crop.grad[0, 0, 90:200, 80:180].abs() > 0).float().mean() > 0.9


def test_crops_of_any_size_are_embedded_one_by_one_alike(encoder):
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (size, size, 3)).astype(np.uint8) for size in (96, 128, 256)]
    together = embed_crops(encoder, crops)
    assert together.dtype == np.float32
    for row, crop in zip(together, crops):
        assert np.allclose(row, embed_crops(encoder, [crop])[0], atol=1e-4)
    assert embed_crops(encoder, []).shape == (0, 512)


def test_checkpoint_gives_back_the_same_encoder(encoder, saved):
    loaded = load_identity_encoder(saved)
    images = torch.randn(4, 3, 112, 112)
    similarity = torch.nn.functional.cosine_similarity(encoder(images), loaded(images))
    assert similarity.min() > 0.9999  # stored as float16
    assert not any(p.requires_grad for p in loaded.parameters())
    assert not loaded.training
    assert load_identity_encoder(saved / "identity_encoder.safetensors").settings == encoder.settings


def test_compact_net_sees_its_window_only(encoder):
    """A bright spot moves nothing outside the window; inside it is where the matrix says."""
    images = torch.zeros(1, 3, 112, 112)
    place = window_from_arcface112() @ np.array([60.0, 70.0, 1.0])
    images[..., 69:72, 59:62] = 1
    window = encoder.prepared(images)[0, 0]
    assert window.shape == (68, 68)
    rows, columns = torch.meshgrid(torch.arange(68), torch.arange(68), indexing="ij")
    found = [float((window * grid).sum() / window.sum()) for grid in (columns, rows)]
    assert np.abs(np.array(found) - place).max() < 0.3
    outside = torch.zeros(1, 3, 112, 112)
    outside[..., :20, :] = 1
    assert torch.equal(encoder(outside), encoder(torch.zeros(1, 3, 112, 112)))


def test_one_flipped_byte_is_found(saved):
    path = saved / "identity_encoder.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="damaged, its SHA-256 is"):
        load_identity_encoder(saved)


def test_missing_weights_and_manifest_are_named(saved, tmp_path):
    (saved / "identity_encoder.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"identity_encoder\.safetensors: missing"):
        load_identity_encoder(saved)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no usable manifest"):
        load_identity_encoder(tmp_path / "empty")


def test_another_kind_of_file_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not an identity encoder"):
        load_identity_encoder(tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("nothing")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_identity_encoder(tmp_path / "text.safetensors")
    with pytest.raises(CheckpointError, match="convert_adaface"):
        load_identity_encoder(tmp_path / "model.ckpt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("network.project.weight"), "1 of .* tensors are missing, first 'network.project.weight'"),
        (lambda t: t.update(extra=torch.zeros(1)), "1 unknown tensors, first 'extra'"),
        (lambda t: t.update({"network.project.bias": torch.zeros(7)}), r"'network.project.bias' is \(7,\), must be \(512,\)"),
        (lambda t: t["network.project.bias"].fill_(float("nan")), "'network.project.bias' holds values that are not finite"),
    ],
)
def test_wrong_tensors_are_named(saved, change, message):
    path = saved / "identity_encoder.safetensors"
    tensors = load_file(path)
    change(tensors)
    metadata = {"kind": "identity_encoder", "format_version": "1", "architecture": "mobile", "color_order": "rgb"}
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=message):
        load_identity_encoder(path)


def test_newer_formats_are_refused(saved):
    path = saved / "identity_encoder.safetensors"
    save_file(load_file(path), path, metadata={"kind": "identity_encoder", "format_version": "9"})
    with pytest.raises(CheckpointError, match="format version 9, this program reads 1"):
        load_identity_encoder(path)


def foreign_weights(prefix: str) -> dict[str, torch.Tensor]:
    """IR-18 weights under a foreign prefix, without batch counters, as old checkpoints have them."""
    torch.manual_seed(1)
    network = IdentityEncoder(EncoderSettings("ir18")).network
    return {prefix + key: value for key, value in network.state_dict().items() if "num_batches" not in key}


@pytest.mark.parametrize(("prefix", "order"), [("model.", "bgr"), ("net.", "rgb"), ("model.net.", "rgb"), ("", "bgr")])
def test_public_checkpoints_convert(tmp_path, prefix, order):
    weights = foreign_weights(prefix)
    path = tmp_path / "adaface.ckpt"
    torch.save({"state_dict": {**weights, "head.kernel": torch.zeros(512, 10)}, "epoch": 3}, path)
    encoder = load_identity_encoder(convert_adaface(path, tmp_path / "out"))
    assert encoder.settings == EncoderSettings("ir18", order)
    assert torch.equal(encoder.network.output_layer[3].weight, weights[f"{prefix}output_layer.3.weight"])


def test_public_safetensors_convert_and_order_can_be_told(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(foreign_weights("model.net."), path)
    assert load_identity_encoder(convert_adaface(path, tmp_path / "out", "bgr")).settings.color_order == "bgr"


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_in_a_checkpoint_is_executed(tmp_path, capsys):
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": Evil()}, path)
    with pytest.raises(CheckpointError, match="nothing else is ever executed"):
        convert_adaface(path, tmp_path / "out")
    assert "executed" not in capsys.readouterr().out


def test_foreign_files_of_another_kind_are_named(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"layer.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not an AdaFace or CVLface IR checkpoint"):
        convert_adaface(path, tmp_path / "out")
    weights = {key: value for key, value in foreign_weights("model.").items() if "body.7." not in key}
    torch.save({"state_dict": weights}, path)
    with pytest.raises(CheckpointError, match="7 residual units; known are IR-18"):
        convert_adaface(path, tmp_path / "out")
    with pytest.raises(CheckpointError, match="no such file"):
        convert_adaface(tmp_path / "none.ckpt", tmp_path / "out")


def test_manifest_tells_what_the_weights_are(saved):
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["settings"] == {"architecture": "mobile", "color_order": "rgb"}
    assert manifest["note"] == "test"
