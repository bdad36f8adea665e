"""Which engine, how many workers, on which devices."""

from __future__ import annotations

import pickle
import sys

import pytest

from iconface_video.errors import UsageError
from iconface_video.session.engines import job
from iconface_video.session.engines.engine import cores, engine_kind, make_engine, split_devices, worker_devices
from iconface_video.session.engines.processes import worker_names
from iconface_video.settings import EngineSettings, RestoreSettings, RunSettings
from tests.session.engine_parts import StandIn, stand_in


def settings(device: str = "auto", **engine) -> RunSettings:
    return RunSettings(restore=RestoreSettings(device=device), engine=EngineSettings(**engine))


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (settings(), "local"),
        (settings("cuda:1"), "local"),
        (settings("cuda:0,cuda:1"), "workers"),
        (settings(workers=2), "workers"),
        (settings(workers=1), "local"),
        (settings(engine="ray", workers=2), "ray"),
        (settings(engine="workers"), "workers"),
    ],
)
def test_workers_are_chosen_where_several_are_asked_for(given, kind):
    assert engine_kind(given) == kind


@pytest.mark.parametrize(
    ("device", "workers", "gpus", "expected"),
    [
        ("cuda:0,cuda:1", None, 4, ["cuda:0", "cuda:1"]),
        ("auto", None, 3, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda", 2, 2, ["cuda:0", "cuda:1"]),
        ("cuda:1", 2, 2, ["cuda:1", "cuda:1"]),
        ("cuda:0, cuda:1", 3, 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("auto", 2, 0, ["cpu", "cpu"]),
        ("cpu", 3, 2, ["cpu", "cpu", "cpu"]),
    ],
)
def test_each_worker_has_a_device(device, workers, gpus, expected):
    assert worker_devices(device, workers, gpus=lambda: gpus) == expected


def test_fewer_workers_than_gpus_leave_gpus_alone():
    assert worker_devices("cuda", 2, gpus=lambda: 8) == ["cuda:0", "cuda:1"]


def test_workers_that_share_a_device_are_numbered():
    assert worker_names(["cuda:0", "cuda:1", "cuda:0"]) == ["cuda:0 (1)", "cuda:1", "cuda:0 (2)"]


def test_a_cpu_has_as_many_workers_as_it_has_cores_for_their_threads():
    assert worker_devices("cpu", None) == ["cpu"]
    assert worker_devices("cpu", None, threads=1) == ["cpu"] * cores()


@pytest.mark.parametrize("device", ["cuda:0,", "", ",cpu"])
def test_an_empty_device_is_refused(device):
    with pytest.raises(UsageError, match="several of these with commas"):
        split_devices(device)


def test_devices_of_two_types_are_refused():
    with pytest.raises(UsageError, match=r"device is 'cuda:0,cpu': devices of different types give different faces"):
        engine_kind(settings("cuda:0,cpu"))


def test_one_process_has_one_device():
    with pytest.raises(UsageError, match="the local engine uses one device"):
        make_engine(settings("cuda:0,cuda:1", engine="local"))


def test_a_loaded_model_stays_where_it_is():
    assert make_engine(settings(workers=2), StandIn()).name == "local"
    with pytest.raises(UsageError, match="engine is 'ray', but the model is loaded in this process already"):
        make_engine(settings(engine="ray"), StandIn())


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "iconface_video.session.engines.ray_engine", raising=False)
    with pytest.raises(UsageError, match=r"pip install 'iconface-video\[ray\]'"):
        make_engine(settings(engine="ray"))


def test_workers_of_this_machine_do_not_read_the_models_files_again(monkeypatch):
    read = []
    monkeypatch.setattr(job, "hash_weights", lambda settings: read.append(settings) or "ab" * 32)
    setup = job.WorkerSetup(RestoreSettings()).hashed()
    there = pickle.loads(pickle.dumps(setup.on("cpu")))
    assert there.versions() == setup.versions()
    assert there.versions()["weights"] == "ab" * 8
    assert len(read) == 1
    assert job.WorkerSetup(RestoreSettings()).versions() == setup.versions()  # another machine's
    assert len(read) == 2
    assert "weights" not in job.WorkerSetup(RestoreSettings(), load=stand_in).hashed().versions()  # has no files
    assert len(read) == 2
