"""The engine of several processes on one machine: a process for each GPU, or several on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from iconface_video.restore.timeline import OnSegment, TimelineCounts
from iconface_video.session.engines.devices import slot_names
from iconface_video.session.engines.dispatch import dispatch
from iconface_video.session.engines.engine import Check, Report, RestoreWork
from iconface_video.session.engines.job import LoadModel, ModelFacts, WorkerSetup, expected_libraries, load_restorer
from iconface_video.session.engines.processes import ProcessCrew
from iconface_video.session.engines.roster import Roster
from iconface_video.settings import RestoreSettings


class WorkersEngine:
    """Processes that keep the model, over several clips if need be."""

    name = "workers"

    def __init__(
        self,
        settings: RestoreSettings,
        devices: Sequence[str],
        threads: int = 0,
        load: LoadModel = load_restorer,
        check: Check = lambda: None,
    ) -> None:
        """devices: one for each worker (`worker_devices`).  threads: of each, on a CPU; 0: as many as the local engine has, on
        which the last bits depend.  check: asked while waiting for the first worker."""
        setup = WorkerSetup(settings, threads, load)
        slots = slot_names(devices)
        self._check = check
        libraries = expected_libraries(setup)
        crew = ProcessCrew({slot: setup.on(device) for slot, device in zip(slots, devices)})
        self._roster = Roster(crew, slots, libraries)

    @property
    def model(self) -> ModelFacts:
        return self._roster.model(self._check)

    def restore(self, work: RestoreWork, on_segment: OnSegment, report: Report, check: Check) -> TimelineCounts:
        return dispatch(self._roster, work, on_segment, report, check)

    def close(self) -> None:
        self._roster.crew.close()
