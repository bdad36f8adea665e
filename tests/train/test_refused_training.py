"""What cannot be trained, or trained on: each is refused by name before the first step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from iconface_video.cli.main import main
from iconface_video.degrade import degrade
from iconface_video.degrade.presets import effects_named
from iconface_video.errors import CheckpointError, InputError, UsageError
from iconface_video.lab.train import training
from iconface_video.lab.train.data import MixSettings
from iconface_video.lab.train.landmarks import LabelledFaces, MeshTeacher
from iconface_video.lab.train.loading import index_rows, read_indexed
from iconface_video.lab.train.run_export import FORMAT, import_run
from iconface_video.lab.train.teacher import DlibFaceNetwork
from iconface_video.learn.loss_settings import LossSettings

CONFIG = "stage: restorer\nfaces:\n  folders: [faces]\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"batches": (1,), "pair_share": 0.5}, "pairs, so its batches must be at least 2", id="pairs of one"),
        pytest.param({"batches": (1,), "filmed_share": 0.5}, "pairs, so its batches must be at least 2", id="filmed pairs"),
        pytest.param({"sizes": (), "batches": (), "size_shares": ()}, "names 0 sizes, 0 batches", id="no size"),
        pytest.param({"sizes": (100,), "batches": (2,)}, "multiples of 16 px", id="an odd size"),
        pytest.param({"pair_share": 0.6, "filmed_share": 0.6, "batches": (2,)}, "at most 1 together", id="more than all"),
    ],
)
def test_a_mix_that_cannot_be(change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MixSettings(**{"sizes": (64,), "size_shares": (1.0,), "batches": (4,), **change})


@pytest.mark.parametrize("scales", [(), (1.0, -0.5)], ids=["none", "below 0"])
def test_weights_of_scales_that_cannot_be(scales: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="pixel_scales are one weight or more, none below 0"):
        LossSettings(pixel_scales=scales)


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(np.zeros((8, 8, 3), np.float32), id="floats"),
        pytest.param(np.zeros((8, 8), np.uint8), id="grey"),
        pytest.param(np.zeros((8, 8, 4), np.uint8), id="with alpha"),
    ],
)
def test_what_is_no_rgb_picture_is_not_degraded(picture: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"a picture to degrade is uint8 \(H, W, 3\), got"):
        degrade(picture, 3.0, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("preset", "names", "message"),
    [
        pytest.param(None, ["scratch"], r"effect 'scratch' is not known; .*Did you mean 'scratches'\?", id="effect"),
        pytest.param("vhs-sq", [], r"preset is 'vhs-sq', must be one of .*Did you mean 'vhs-", id="preset"),
        pytest.param(None, [], "nothing to do", id="neither"),
    ],
)
def test_damage_that_nobody_knows(preset: str | None, names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        effects_named(preset, names)


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\nbroken"], ids=["missing", "empty", "torn"])
def test_a_picture_that_the_index_names_but_nobody_can_read(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: not a readable picture, although the index names it"):
        read_indexed(path)


def test_a_folder_without_an_index(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"index\.csv: not found\. A training folder needs an index\.csv"):
        index_rows(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"stage": "two"}', "[1]"], ids=["empty", "nothing", "a word", "a list"])
def test_a_marker_that_does_not_say_how_far_the_run_came(text: str, tmp_path: Path) -> None:
    (tmp_path / training.MARKER).write_text(text)
    with pytest.raises(InputError, match=r'not readable \(.*\); write the stage to go on with into it: \{"stage": 1\}'):
        training._stage_reached(tmp_path, 2)


def test_a_run_that_came_further_than_its_config(tmp_path: Path) -> None:
    (tmp_path / training.MARKER).write_text('{"stage": 3}')
    with pytest.raises(UsageError, match="its run has reached stage 3, the config has 2; name another run folder"):
        training._stage_reached(tmp_path, 2)


def test_weights_to_freeze_that_no_model_has() -> None:
    with pytest.raises(UsageError, match="frozen: no weight's name begins with 'decoder'"):
        training._freeze(nn.Linear(2, 2), ("weight", "decoder"))


@pytest.mark.parametrize(
    ("texts", "parts"),
    [
        pytest.param({}, [], id="no state"),
        pytest.param({"a/state.json": "{}", "b/state.json": "{}"}, [], id="two states"),
        pytest.param({"../state.json": "{}"}, [], id="leads out"),
        pytest.param({"checkpoint-0000001/state.json": "{}"}, ["../../x"], id="part leads out"),
    ],
)
def test_a_packed_run_whose_list_cannot_be(texts: dict[str, str], parts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    about = {"format": FORMAT, "texts": json.dumps(texts), "parts": json.dumps(parts)}
    save_file({"a": torch.zeros(1)}, path, metadata=about)
    with pytest.raises(CheckpointError, match=r"run\.safetensors: its list of files is damaged; export the run again"):
        import_run(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "0 convolutions and 0 affine layers", id="empty"),
        pytest.param(b"GIF89a" * 50, "0 convolutions and 0 affine layers", id="another kind"),
        pytest.param(b"\x01\x05con_4\x01\x07" + bytes(64), "format version 7, only 2 is known", id="another version"),
        pytest.param(b"\x01\x05con_4", "cut short or damaged", id="cut at a layer"),
        pytest.param(b"\x01\x05con_4\x01\x02\x01\x09\x01\x09\x01\x09\x01\x09\x00", "cut short or damaged", id="cut in a layer"),
    ],
)
def test_what_is_not_dlibs_network(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "dlib.dat"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"dlib\.dat: .*{message}"):
        DlibFaceNetwork.load(path)


@pytest.mark.parametrize("content", [None, b"", b"TFL3 but no network"], ids=["missing", "empty", "another kind"])
def test_what_is_no_face_mesh(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "mesh.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"mesh\.tflite: not a TFLite network that OpenCV"):
        MeshTeacher(path)


def test_sets_without_a_labelled_photo(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no labelled 'val' photos in no folder at all"):
        LabelledFaces.load([], tmp_path, "val")
    faces = tmp_path / "faces"
    faces.mkdir()
    (faces / "index.csv").write_text("file,split,identity\na.png,train,anna\n")
    np.savez(tmp_path / "faces.npz", files=np.array([], str), points=np.zeros((0, 468, 2)), mirrored=np.zeros((0, 468, 2)))
    with pytest.raises(InputError, match=rf"no labelled 'train' photos in {faces}"):
        LabelledFaces.load([faces], tmp_path, "train")


def test_a_stage_that_the_config_has_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(CONFIG)
    assert main(["bench", "training", str(path), "--stage", "2"]) == 2
    assert "train.yaml: has 1 stages, --stage is 2" in capsys.readouterr().err
