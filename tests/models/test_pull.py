"""`models pull flux-faceir` against a local server that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import pytest

from iconface_video.cli.main import main
from iconface_video.errors import CheckpointError
from iconface_video.models import download
from iconface_video.models.checkpoint_index import find_checkpoint
from iconface_video.models.download import FLUX_FACEIR, OFFLINE, HubPart, Listing, RemoteFile, check_room
from iconface_video.models.registry import describe
from tests.models.hub_server import COMMIT, Hub, serving
from tests.models.published_form import lora_state, write_klein, write_lora
from tests.models.tiny_models import TINY

BIG = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hub")
    klein = write_klein(root / "klein")
    (klein / "text_encoder" / "pytorch_model.bin").write_bytes(b"a pickle")
    lora = root / "lora"
    write_lora(lora / FLUX_FACEIR.lora_file, lora_state(TINY, alpha=4))
    return {FLUX_FACEIR.base.repository: klein, FLUX_FACEIR.lora.repository: lora}


@pytest.fixture
def hub(repositories: dict[str, Path]) -> Iterator[Hub]:
    with serving(Hub(repositories)) as found:
        yield found


@dataclass
class Result:
    returncode: int
    stdout: str
    stderr: str


class Machine:
    """A user's machine: caches of its own, the hub at the server's address."""

    def __init__(self, folder: Path, hub: Hub, patch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.prepared = folder / "ours" / "models" / "flux-faceir"
        self._patch, self._capfd = patch, capfd
        patch.setenv("ICONFACE_HOME", str(folder / "ours"))
        patch.delenv(OFFLINE, raising=False)
        for name, value in {  # what the library makes of HF_ENDPOINT and HF_HOME when it is loaded
            "ENDPOINT": hub.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(folder / "hf" / "hub"),
        }.items():
            patch.setattr(huggingface_hub.constants, name, value)

    def run(self, *arguments: str) -> Result:
        self._capfd.readouterr()
        code = main(arguments)
        self._patch.delenv(OFFLINE, raising=False)
        out, err = self._capfd.readouterr()
        return Result(code, out, err)


@pytest.fixture
def machine(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Machine:
    return Machine(tmp_path, hub, monkeypatch, capfd)


def plant_partial(cache: Path, path: Path) -> int:
    """What a killed download of a file leaves: its first bytes."""
    data = path.read_bytes()
    partial = (
        cache / "hub" / "models--black-forest-labs--FLUX.2-klein-base-4B" / "blobs" / f"{hashlib.sha256(data).hexdigest()}.part"
    )
    partial.parent.mkdir(parents=True)
    partial.write_bytes(data[: len(data) // 3])
    return len(data) // 3


def test_pulled_cut_pulled_again_and_used_offline(
    machine: Machine, hub: Hub, tmp_path: Path, repositories: dict[str, Path]
) -> None:
    refused = machine.run("models", "verify", "flux-faceir")
    assert refused.returncode == 2
    assert "not on this machine yet. `iconface-video models pull flux-faceir` brings it (about 16 GB)" in refused.stderr

    there = plant_partial(tmp_path / "hf", repositories[FLUX_FACEIR.base.repository] / "transformer" / BIG)
    hub.cut_after = 30_000  # once: the library asks again by itself
    done = machine.run("models", "pull", "flux-faceir", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "to download" in done.stdout
    assert "no identity pathway" in done.stdout
    assert f"bytes={there}-" in [range for _, _, range in hub.requests]
    assert not list((tmp_path / "hf").rglob("*.part"))
    assert not any("pytorch_model.bin" in path or path.endswith("base-tiny.safetensors") for path in hub.gets())
    assert "%" in done.stderr  # progress

    hub.requests.clear()
    again = machine.run("models", "pull", "flux-faceir")
    assert again.returncode == 0
    assert all(path.startswith("/api/") for path in hub.gets())  # nothing but the question whether there is anything new

    hub.requests.clear()
    for arguments in (
        ["models", "pull", "flux-faceir"],
        ["models", "verify", "flux-faceir"],
        ["models", "info", "flux-faceir"],
    ):
        result = machine.run(*arguments, "--offline")
        assert result.returncode == 0, result.stderr
        assert hub.requests == []
    assert "can: restores faces at 512 px" in result.stdout


def test_a_damaged_file_is_thrown_away(machine: Machine, hub: Hub, tmp_path: Path) -> None:
    hub.damaged = "lora_weights.safetensors"
    result = machine.run("models", "pull", "flux-faceir", "--device", "cpu")
    assert result.returncode == 2
    assert "lora_weights.safetensors: what came has another SHA-256 than the hub says" in result.stderr
    assert not machine.prepared.exists()
    assert not list((tmp_path / "hf").rglob("*.part"))


def test_offline_and_unknown_revisions_are_one_sentence(machine: Machine, hub: Hub, tmp_path: Path) -> None:
    offline = machine.run("--offline", "models", "pull", "flux-faceir")
    assert (offline.returncode, hub.requests) == (2, [])
    assert "not on this machine, and --offline forbids to fetch it" in offline.stderr
    unknown = machine.run("models", "pull", "flux-faceir", "--lora-revision", "v9")
    assert unknown.returncode == 2
    assert f"{FLUX_FACEIR.lora.repository}: cannot be downloaded" in unknown.stderr
    assert len(unknown.stderr.strip().splitlines()) == 1


def test_a_full_disk_is_told_before_anything_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_cache", lambda: tmp_path / "hub")
    listing = Listing("someone/large", COMMIT, (RemoteFile("model.safetensors", 10**18, "0" * 64),))
    with pytest.raises(CheckpointError, match=r"1000000000\.0 GB are to be downloaded, and only .* GB are free there.*HF_HOME"):
        check_room([(listing, listing.files[0])])


def test_the_registry_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICONFACE_HOME", str(tmp_path))
    found = describe("flux-faceir")
    assert (found.folder, found.bytes) == (None, FLUX_FACEIR.download_bytes)
    published = found.details["published"]
    assert published["base_repository"] == "black-forest-labs/FLUX.2-klein-base-4B"
    assert (published["lora_repository"], published["lora_revision"]) == ("zhangjinyang/flux-restoration", "main")
    assert "no identity pathway" in published["cannot"]
    with pytest.raises(CheckpointError, match="models pull flux-faceir"):
        find_checkpoint("flux-faceir")
    assert isinstance(FLUX_FACEIR.base, HubPart)
