"""The encoder's teacher, data, losses and recipe, on a handful of made-up people."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data

from iconface_video.errors import InputError, UsageError
from iconface_video.faces.identity_encoder import arcface_from_ffhq, load_identity_encoder, window_from_arcface112
from iconface_video.faces.pixels import to_tensor
from iconface_video.lab.train import teacher
from iconface_video.lab.train.config import EncoderConfig, read_config
from iconface_video.lab.train.encoder import (
    AdaFaceHead,
    EncoderTask,
    EncoderTaskSettings,
    hint_loss,
    norm_loss,
    teacher_similarity,
)
from iconface_video.lab.train.encoder_and_full_size import export_encoder, train_encoder
from iconface_video.lab.train.encoder_data import EncoderMixer, load_faces, pair_accuracy
from iconface_video.lab.train.teacher import DlibFaceNetwork
from iconface_video.lab.train.trainer import TrainSettings


@pytest.fixture(scope="module")
def face_set(tmp_path_factory) -> Path:
    """6 training and 3 held-out "people": each a noise texture blended into one photo, 4 pictures with shifts, 96 px."""
    folder = tmp_path_factory.mktemp("people")
    photo = cv2.resize(data.astronaut()[10:250, 105:345], (96, 96), interpolation=cv2.INTER_AREA)
    rows = []
    for person in range(9):
        rng = np.random.default_rng(person)
        texture = cv2.GaussianBlur(rng.integers(0, 256, (96, 96, 3)).astype(np.uint8), (0, 0), 6)
        for shot in range(4):
            picture = cv2.addWeighted(
                photo, 0.5, cv2.normalize(np.roll(texture, shot, 1), None, 0, 255, cv2.NORM_MINMAX), 0.5, 0
            )
            cv2.imwrite(str(folder / f"{person}_{shot}.png"), picture)
            rows.append([f"{person}_{shot}.png", "val" if person > 5 else "train", f"p{person}"])
    with (folder / "index.csv").open("w", newline="") as out:
        csv.writer(out).writerows([["file", "split", "identity"], *rows])
    return folder


def store_vectors(face_set: Path, teacher: Path) -> None:
    """A made-up teacher: one direction for each person, a little noise."""
    rng = np.random.default_rng(0)
    directions = F.normalize(torch.from_numpy(rng.standard_normal((9, 128)).astype(np.float32))).numpy() * 0.6
    files = [path.name for path in sorted(face_set.glob("*.png"))]
    vectors = np.stack([directions[int(f[0])] + 0.01 * rng.standard_normal(128) for f in files]).astype(np.float32)
    teacher.mkdir(exist_ok=True)
    np.savez(teacher / f"{face_set.name}.npz", files=np.array(files), embeddings=vectors)


def small_config(face_set: Path, teacher: Path | None, steps: int) -> EncoderConfig:
    task = EncoderTaskSettings(clean=8, degraded=4, workers=0, hint_weight=0.0)
    trainer = TrainSettings(
        max_steps=steps, warmup_steps=1, log_every=2, validate_every=steps, learning_rate=1e-3, precision="no", cpu=True
    )
    return EncoderConfig((str(face_set),), (), str(teacher) if teacher else None, task=task, trainer=trainer)


def test_recipe_learns_goes_on_and_exports(face_set, tmp_path):
    store_vectors(face_set, tmp_path / "teacher")
    logs: list[dict[str, float]] = []
    config = small_config(face_set, tmp_path / "teacher", 10)
    train_encoder(config, tmp_path / "run", lambda step, row: logs.append(row))
    losses = [row["direct"] for row in logs if "direct" in row]
    assert losses[-1] < 0.95 * losses[0]
    assert 0.4 <= logs[-1]["score"] <= 1
    longer = replace(config, trainer=replace(config.trainer, max_steps=12))
    steps: list[int] = []
    train_encoder(longer, tmp_path / "run", lambda step, row: steps.append(step))
    assert min(steps) > 10  # not from the start
    export_encoder(tmp_path / "run", tmp_path / "out")
    exported = load_identity_encoder(tmp_path / "out")
    assert exported(torch.zeros(1, 3, 112, 112)).shape == (1, 512)


def test_names_alone_are_enough_to_train(face_set, tmp_path):
    figures = train_encoder(small_config(face_set, None, 2), tmp_path / "run")
    assert np.isfinite(figures["score"])


def test_batches_depend_on_seed_and_step_only(face_set):
    mixer = EncoderMixer(load_faces([face_set], None, "train"), 8, 4, windows=True)
    one, same, other = mixer.batch(1, 5, 3), mixer.batch(1, 5, 3), mixer.batch(1, 6, 3)
    assert np.array_equal(one.images, same.images)
    assert not np.array_equal(one.images, other.images)
    assert one.images.shape == (12, 68, 68, 3)
    assert one.chips.shape == (3, 150, 150, 3)
    assert mixer.batch(1, 5, 0, degraded=False).images.shape == (8, 68, 68, 3)
    assert np.array_equal(one.index[8:], one.index[:4])  # degraded views of the first pictures
    assert (one.strength[:8] == 0).all()
    assert (one.strength[8:] > 0).all()


def test_splits_do_not_mix(face_set):
    train, val = (load_faces([face_set], None, split) for split in ("train", "val"))
    assert (len(train.images), train.people, len(val.images), val.people) == (24, 6, 12, 3)


def test_teacher_similarity_falls_from_one_to_about_nothing():
    vectors = torch.zeros(3, 128)
    vectors[1, 0], vectors[2, 0] = 0.6, 1.2  # dlib's threshold, and a clear stranger
    similarity = teacher_similarity(vectors)[0]
    assert similarity[0] == 1
    assert 0.3 < similarity[1] < 0.4
    assert similarity[2] < 0.03


def test_norm_loss_is_least_where_the_norm_falls_with_the_damage():
    strength = torch.tensor([0.0, 0.0, 4.0, 16.0])
    direction = F.normalize(torch.randn(4, 512), dim=1)
    right = direction * (20 * torch.exp(-0.14 * strength))[:, None]
    assert norm_loss(right, strength, 2, 2) < 1e-3
    assert norm_loss(direction * 20, strength, 2, 2) > 0.5
    assert norm_loss(right.flip(0), strength, 2, 2) > norm_loss(direction * 20, strength, 2, 2)


def adaface_logits(raw, kernel, label, mean, deviation, margin=0.4, spread=0.333, scale=48.0):
    """AdaFace eq. 9-12, one sample, plain."""
    norm = np.linalg.norm(raw)
    cosine = raw @ kernel / norm / np.linalg.norm(kernel, axis=0)
    hat = np.clip((norm - mean) / (deviation + 1e-3) * spread, -1, 1)
    g_angle, g_add = -margin * hat, margin * hat + margin
    out = scale * cosine
    out[label] = scale * (np.cos(np.arccos(cosine[label]) + g_angle) - g_add)
    return out


@pytest.mark.parametrize("norm", [5.0, 20.0, 40.0])
def test_adaface_head_follows_the_paper(norm):
    torch.manual_seed(0)
    head = AdaFaceHead(7).eval()
    raw = F.normalize(torch.randn(1, 512), dim=1) * norm
    expected = adaface_logits(raw[0].numpy().astype(float), head.kernel.detach().numpy().astype(float), 3, 20.0, 5.0)
    assert np.allclose(head(raw, torch.tensor([3]))[0].detach().numpy(), expected, atol=2e-3)


def test_pair_accuracy_is_balanced():
    similarity = np.array([0.9, 0.8, 0.3, 0.2, 0.1, 0.0], dtype=np.float32)
    same = np.array([True, False, True, False, False, False])
    accuracy, threshold = pair_accuracy(similarity, same)
    assert accuracy == pytest.approx((1 + 0.75) / 2)
    assert threshold == pytest.approx(0.3)


def test_missing_data_is_named(tmp_path):
    with pytest.raises(UsageError, match="no training pictures"):
        train_encoder(EncoderConfig(), tmp_path)
    with pytest.raises(InputError, match=r"index\.csv: not found"):
        load_faces([tmp_path], None, "train")
    with pytest.raises(InputError, match="no checkpoint in this folder"):
        export_encoder(tmp_path, tmp_path / "out")


def test_shipped_config_is_read():
    path = Path(__file__).parents[2] / "configs" / "training" / "identity-encoder.yaml"
    config = read_config(EncoderConfig, path)
    assert config.task_settings().total_steps == config.trainer.max_steps


def test_teacher_network_equals_dlib():
    dlib = pytest.importorskip("dlib")
    if not _has_dlib():
        pytest.skip("dlib's weights are not installed")
    folder = teacher.models_folder()
    ours = teacher.Teacher()
    crop = np.ascontiguousarray(cv2.resize(data.astronaut()[10:250, 105:345], (256, 256)))
    chip = ours.chip(crop)
    theirs = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))
    expected = np.array(theirs.compute_face_descriptor(chip))
    found = ours.network(torch.from_numpy(chip).permute(2, 0, 1)[None].float())[0].numpy()
    assert np.abs(found - expected).max() < 1e-5
    mirrored = np.array(theirs.compute_face_descriptor(np.ascontiguousarray(chip[:, ::-1])))
    assert np.abs(ours.embed([crop])[0] - (expected + mirrored) / 2).max() < 1e-5


def test_hints_are_nothing_for_the_teachers_own_maps():
    torch.manual_seed(0)
    maps = [torch.randn(4, 8, 5, 5), torch.randn(4, 16, 3, 3)]
    assert hint_loss(maps, maps) < 1e-6
    assert hint_loss([torch.zeros_like(level) for level in maps], maps).item() == pytest.approx(
        1, abs=0.1
    )  # nothing learned yet


def test_students_places_are_the_teachers():
    """A spot in the picture changes the same place of the student's window and of the teacher's map: (8 i + 9) px of the chip."""
    for place in (3, 8, 13):
        chip = np.array([8 * place + 9, 8 * place + 9, 1.0])
        arcface = np.linalg.inv(np.vstack([teacher.chip_from_arcface112(), [0, 0, 1]])) @ chip
        window = window_from_arcface112() @ arcface
        # The stem puts place j at px 2 j of the window, the first stage keeps every second one: 4 i + 2.
        assert np.abs(window - (4 * place + 2)).max() < 0.1


def test_stages_learn_apart_then_together(face_set):
    """In the forced part the first stage gets no gradient from the embedding; afterwards it does."""
    faces = load_faces([face_set], None, "train")
    settings = EncoderTaskSettings(clean=4, degraded=2, hinted=2, workers=0, total_steps=10, forced_share=0.5, hint_weight=0.0)
    task = EncoderTask(faces, {}, settings)
    task.hinter = DlibFaceNetwork().eval().requires_grad_(False)
    for step, reaches in ((0, False), (9, True)):
        batch = next(task.batches(1, step))
        assert len(batch.chips) == (4 if step == 0 else 2)
        assert len(batch.images) == (4 if step == 0 else 6)
        raw, _, _ = task._embed(batch, step)
        (gradient,) = torch.autograd.grad(raw.sum(), task.encoder.network.stem[0].weight, allow_unused=True)
        assert (gradient is not None) == reaches


def test_map_places_follow_the_picture():
    """A chip moved by one step of the second stage's grid gives the same map, one place on."""
    torch.manual_seed(0)
    network = DlibFaceNetwork().eval()
    wide = F.interpolate(torch.randn(1, 3, 24, 24), (180, 180), mode="bicubic") * 30 + 128
    left, moved = wide[..., :150, :150], wide[..., :150, 8:158]
    a, b = network.middle_maps(left)[0], network.middle_maps(moved)[0]
    assert torch.allclose(a[..., 6:12, 7:12], b[..., 6:12, 6:11], atol=1e-3 * a.abs().max().item())


def test_chip_framing_puts_the_middle_of_the_face_where_dlib_does():
    """Between the eyes in the ArcFace frame -> about the same place in dlib's chip of the same photo."""
    if not _has_dlib():
        pytest.skip("dlib or its weights are not installed")
    crop = np.ascontiguousarray(cv2.resize(data.astronaut()[10:250, 105:345], (256, 256)))
    framed = ((arcface_from_ffhq(to_tensor([crop]))[0].permute(1, 2, 0).numpy() + 1) * 127.5).astype(np.uint8)
    ours = cv2.warpAffine(framed, teacher.chip_from_arcface112(), (150, 150), borderMode=cv2.BORDER_REPLICATE)
    theirs = teacher.Teacher().chip(crop)
    (dx, dy), _ = cv2.phaseCorrelate(*(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (ours, theirs)))
    assert abs(dx) < 12
    assert abs(dy) < 12


def _has_dlib() -> bool:
    try:
        import dlib  # noqa: F401

        return teacher.models_folder().is_dir()
    except (ImportError, InputError):
        return False
