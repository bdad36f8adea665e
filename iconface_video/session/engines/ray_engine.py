"""The engine of a Ray cluster: actors that keep the model, on the GPUs (or CPUs) of any number of machines."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import ray

from iconface_video.errors import UsageError
from iconface_video.restore.timeline import OnSegment, TimelineCounts
from iconface_video.session.engines.dispatch import dispatch
from iconface_video.session.engines.engine import Check, Report, RestoreWork
from iconface_video.session.engines.job import LoadModel, ModelFacts, WorkerSetup, expected_libraries, load_restorer
from iconface_video.session.engines.ray_actor import SegmentActor
from iconface_video.session.engines.ray_crew import RayCrew
from iconface_video.session.engines.roster import Roster
from iconface_video.settings import RestoreSettings

PATIENCE_SECONDS = 300.0
"""For a first worker: a cluster that grows on demand needs minutes for a new machine."""
_KNOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Placement:
    """How many workers a cluster gets, and what each needs."""

    device: str
    workers: int
    threads: int
    resources: Mapping[str, float]


class RayEngine:
    """Connects to a cluster that exists; never starts one."""

    name = "ray"

    def __init__(
        self,
        settings: RestoreSettings,
        address: str | None = None,
        workers: int | None = None,
        threads: int = 0,
        load: LoadModel = load_restorer,
        check: Check = lambda: None,
        patience_seconds: float = PATIENCE_SECONDS,
        kind: type[SegmentActor] = SegmentActor,
    ) -> None:
        """address: None: that of RAY_ADDRESS, or the cluster that runs on this machine.  workers: None: as many as there
        are GPUs, or as the CPUs carry.  Raises UsageError."""
        self._connected = connect(address)
        self._check = check
        try:
            place = placement(ray.nodes(), settings.device, workers, threads)
            setup = WorkerSetup(replace(settings, device=place.device), place.threads, load)
            slots = [f"worker {number}" for number in range(1, place.workers + 1)]
            libraries = expected_libraries(setup)
            self._roster = Roster(RayCrew(setup, place.resources, patience_seconds, kind), slots, libraries)
        except BaseException:
            self._disconnect()
            raise

    @property
    def model(self) -> ModelFacts:
        return self._roster.model(self._check)

    def restore(self, work: RestoreWork, on_segment: OnSegment, report: Report, check: Check) -> TimelineCounts:
        return dispatch(self._roster, work, on_segment, report, check)

    def close(self) -> None:
        self._roster.crew.close()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connected:
            ray.shutdown()


def connect(address: str | None) -> bool:
    """Whether a connection was made; False where this process has one already. Raises UsageError.

    address: "host:port" of the head node, "ray://host:port" of its client server, or "auto".
    """
    if ray.is_initialized():
        return False
    wanted = address or os.environ.get("RAY_ADDRESS") or "auto"
    try:
        if wanted != "auto":
            _knock(wanted)
        ray.init(address=wanted, log_to_driver=False, logging_level="error", configure_logging=False)
    except Exception as error:  # OSError, ConnectionError, RuntimeError (versions), ValueError, ImportError (ray://) ...
        where = "on this machine" if wanted == "auto" else f"at {wanted}"
        raise UsageError(
            f"no Ray cluster answers {where} ({' '.join(str(error).split())[:200]}). Start one with `ray start --head`, "
            "or give its address with --ray-address or in RAY_ADDRESS."
        ) from error
    return True


def _knock(address: str) -> None:
    """Ray tries a dead address for minutes. Raises OSError, ValueError."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError("an address is host:port, as `ray start --head` shows it")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


def placement(nodes: list[dict[str, Any]], device: str, workers: int | None, threads: int) -> Placement:
    """nodes: as `ray.nodes()` gives them.  threads: of each worker's model on a CPU; 0: as many as the local engine has here,
    on which the last bits depend.  Raises UsageError where the cluster lacks what the device asks for."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in alive))
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device is '{device}': on a Ray cluster it is auto, cpu or cuda; which GPU is Ray's choice")
    if device == "cuda" and not gpus:
        raise UsageError("device is 'cuda', but the Ray cluster has no GPU: its nodes are started with --num-gpus")
    if gpus and device != "cpu":
        return Placement("cuda", workers or gpus, threads, {"num_cpus": 1, "num_gpus": 1})
    cpus = [int(node.get("CPU", 0)) for node in alive if node.get("CPU", 0) >= 1]
    if not cpus:
        raise UsageError("the Ray cluster has neither CPUs nor GPUs to work with: its nodes are started with --num-cpus")
    threads = threads or _own_threads()
    each = min(threads, *cpus)
    return Placement("cpu", workers or sum(count // each for count in cpus), threads, {"num_cpus": each})


def _own_threads() -> int:
    import torch

    return torch.get_num_threads()
