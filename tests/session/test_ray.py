"""A real Ray cluster of two nodes on this machine: the same faces as one process makes, also when a worker or a node is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from glob import glob
from pathlib import Path

import pytest
import torch

from iconface_video.errors import Cancelled, UsageError
from tests.pipelines.conftest import face_clip, portrait  # noqa: F401 - fixtures
from tests.session.engine_parts import SEGMENTS, SETTINGS, crops_of, files_of, person_of, slow, stand_in, without

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_log_monitor": False}

ray = pytest.importorskip("ray", reason="needs the extra 'ray'")

from iconface_video.session.engines import ray_engine  # noqa: E402
from iconface_video.session.engines.engine import LocalEngine  # noqa: E402
from iconface_video.session.engines.job import WorkerSetup, load_restorer  # noqa: E402
from iconface_video.session.engines.ray_actor import SegmentActor  # noqa: E402
from iconface_video.session.engines.ray_engine import RayEngine, connect, placement  # noqa: E402
from tests.session.blind_actor import BlindActor  # noqa: E402


def patient(get_node, seconds=180):
    """Ray gives a node 30 s to come up, whatever else the machine is busy with."""

    def call(*arguments):
        until = time.monotonic() + seconds
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    return call


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes of one CPU each; a test that kills one adds another."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray._private.services, "get_node", patient(ray._private.services.get_node))
        made = Cluster()
        try:
            made.add_node(**NODE, include_dashboard=False)
            made.add_node(**NODE)
            made.wait_for_nodes(180)
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def folders_of_runs():
    return {Path(path) for path in glob(f"{tempfile.gettempdir()}/iconface-video-ray-*")}


def restore(engine, work, check=lambda: None):
    segments, events = [], []
    try:
        counts = engine.restore(work, lambda done: segments.append(done.index), events.append, check)
    finally:
        engine.close()
    return counts, segments, events


def test_two_nodes_make_what_one_process_makes_and_need_no_shared_files(cluster, found, made_locally, crops, monkeypatch):
    monkeypatch.setattr(ray_engine, "CHUNK_BYTES", 10_000)  # the clip goes over in several
    _, expected, locally = made_locally
    work, before = found.work(crops), folders_of_runs()
    engine = RayEngine(WorkerSetup(SETTINGS, load=slow(0.05)), cluster.address, kind=BlindActor)
    assert engine.model.crop_sizes == (64,)
    left = folders_of_runs() - before
    counts, segments, events = restore(engine, work)
    assert crops_of(work) == locally
    assert sorted(segments) == list(range(SEGMENTS))
    assert (counts.frames, counts.restored, counts.notes) == (expected.frames, expected.restored, set())
    done = [event.done for event in events]
    assert done == sorted(done)
    assert done[-1] == len(locally)
    assert left
    assert not any(folder.exists() for folder in left)
    assert not ray.is_initialized()


def test_a_worker_that_is_killed_while_it_loads_has_left_nothing(tmp_path, monkeypatch):
    """It cannot tidy up, and no other worker comes after it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    actor = SegmentActor(WorkerSetup(SETTINGS, load=stand_in), "made-up")
    assert folders_of_runs() == set()
    actor.load()
    assert folders_of_runs() == {tmp_path / "iconface-video-ray-made-up"}
    actor.leave()
    assert folders_of_runs() == set()


def test_a_batch_on_a_cluster_writes_what_one_process_writes(cluster, face_clip, tmp_path):  # noqa: F811
    """The commands as a user gives them, with the real model; slow for that reason."""
    options = ["--threads", "1", "--crop-size", "128", "--segment-seconds", "0.5", "--encoder-preset", "superfast", "-q"]
    files = {}
    for name, words in (
        ("here", ["run", face_clip, "-o", tmp_path / "here.mp4"]),
        ("batch", ["batch", face_clip, "-o", tmp_path, "--engine", "ray"]),
    ):
        command = [sys.executable, "-m", "iconface_video", *map(str, words), *options]
        environment = {**os.environ, "RAY_ADDRESS": cluster.address, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        files[name] = (tmp_path / f"{'face.restored' if name == 'batch' else name}.mp4").read_bytes()
    assert files["batch"] == files["here"]


def test_what_was_learnt_of_people_travels_with_the_segments(cluster, found, tmp_path):
    """The real model, on nodes that see no file of this one."""
    model = load_restorer(SETTINGS)
    works = []
    for name in ("here", "there"):
        made = without(found.work(tmp_path / name, crop_sizes=model.crop_sizes), *range(1, SEGMENTS))
        works.append(replace(made, people=person_of(model.network, found.anchors[0], tmp_path)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        LocalEngine(model).restore(works[0], lambda done: None, lambda event: None, lambda: None)
    finally:
        torch.set_num_threads(threads)
    restore(RayEngine(WorkerSetup(SETTINGS, threads=1), cluster.address, workers=1, kind=BlindActor), works[1])
    assert crops_of(works[1]) == crops_of(works[0])


def test_a_node_is_killed(cluster, found, made_locally, crops):
    """Its segment is made again by the other one, which has all of the work from then on."""
    work = found.work(crops)
    engine = RayEngine(WorkerSetup(SETTINGS, load=slow(0.2)), cluster.address)
    second = cluster.list_all_nodes()[1]

    def check() -> None:
        if second in cluster.list_all_nodes() and len(list(crops.glob("*.npz"))) >= 2:
            cluster.remove_node(second, allow_graceful=False)

    counts, segments, _ = restore(engine, work, check)
    assert second not in cluster.list_all_nodes()
    assert crops_of(work) == made_locally[2]
    assert sorted(segments) == list(range(SEGMENTS))
    assert all("retry 1" in note for note in counts.notes)


def test_a_worker_is_killed(cluster, found, made_locally, crops, tmp_path):
    work = found.work(crops)
    counts, segments, _ = restore(
        RayEngine(WorkerSetup(SETTINGS, load=partial(stand_in, marker=tmp_path / "killed")), cluster.address, workers=1), work
    )
    assert crops_of(work) == made_locally[2]
    assert sorted(segments) == list(range(SEGMENTS))
    (note,) = counts.notes
    assert "segment 0 " in note
    assert "retry 1" in note


def test_stopping_leaves_nothing_half_written(cluster, found, crops):
    work = found.work(crops)
    engine = RayEngine(WorkerSetup(SETTINGS, load=slow(0.2)), cluster.address, workers=1)

    def check() -> None:
        if list(crops.glob("*.npz")):
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        restore(engine, work, check)
    assert not [name for name in files_of(work) if name.endswith(".part")]
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("address", "words"),
    [("127.0.0.1:1", "refused"), ("somewhere", "an address is host:port"), ("ray://127.0.0.1:1", "refused")],
)
def test_an_address_where_nobody_answers(address, words):
    with pytest.raises(UsageError, match=rf"no Ray cluster answers at {address} \(.*{words}.*RAY_ADDRESS"):
        connect(address)


def node(**resources):
    return {"Alive": True, "Resources": resources}


def placed(nodes, device="auto", workers=None, threads=0):
    """(device, workers, threads, resources of each)"""
    setup, count, resources = placement(nodes, WorkerSetup(replace(SETTINGS, device=device), threads), workers)
    return setup.restore.device, count, setup.threads, resources


def test_workers_are_placed_by_what_the_cluster_has():
    gpus = [node(CPU=8.0, GPU=2.0), node(CPU=8.0, GPU=1.0), {**node(GPU=4.0), "Alive": False}]
    assert placed(gpus) == ("cuda", 3, 0, {"num_cpus": 1, "num_gpus": 1})
    assert placed([node(CPU=8.0), node(CPU=5.0), node(memory=1.0)], threads=4) == ("cpu", 3, 4, {"num_cpus": 4})
    # More threads than the small one has cores.
    assert placed([node(CPU=8.0), node(CPU=2.0)], threads=4) == ("cpu", 5, 4, {"num_cpus": 2})
    assert placed([node(CPU=64.0)])[2] == torch.get_num_threads()  # as the local engine
    assert placed([node(CPU=8.0, GPU=2.0)], "cpu", 5, 1) == ("cpu", 5, 1, {"num_cpus": 1})


@pytest.mark.parametrize(
    ("nodes", "device", "words"),
    [
        ([node(CPU=8.0)], "cuda", "has no GPU"),
        ([node(CPU=8.0)], "cuda:1", "which GPU is Ray's choice"),
        ([node(memory=1.0)], "auto", "neither CPUs nor GPUs"),
    ],
)
def test_what_a_cluster_lacks_is_said(nodes, device, words):
    with pytest.raises(UsageError, match=words):
        placed(nodes, device)
