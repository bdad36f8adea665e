"""A crew of processes on this machine, one for each device (or several for the CPU)."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from iconface_video.session.engines.job import RestoreJob, WorkerSetup
from iconface_video.session.engines.messages import Command, Died, Message, Open, Restore
from iconface_video.session.engines.worker import serve

_GRACE_SECONDS = 3.0
"""Between asking a process to end and killing it."""


@dataclass(frozen=True, eq=False)
class _Worker:
    process: BaseProcess
    line: Connection


class ProcessCrew:
    """Each worker has a pipe of its own, so that one that is killed in mid-sentence harms no other."""

    patience_seconds: float | None = None

    def __init__(self, setups: Mapping[str, WorkerSetup]) -> None:
        """setups: slot -> what its worker loads, with the device."""
        self._setups = setups
        # Spawned, not forked: CUDA does not survive a fork, nor would the work folder's lock be let go.
        self._spawn = multiprocessing.get_context("spawn")
        self._workers: dict[str, _Worker] = {}

    def start(self, slot: str) -> None:
        mine, theirs = self._spawn.Pipe()
        process = self._spawn.Process(target=_main, args=(self._setups[slot], theirs), name=f"restore {slot}", daemon=True)
        process.start()
        theirs.close()
        self._workers[slot] = _Worker(process, mine)

    def open(self, slot: str, job: RestoreJob) -> None:
        self._say(slot, Open(job))

    def restore(self, slot: str, index: int) -> None:
        self._say(slot, Restore(index))

    def _say(self, slot: str, command: Command) -> None:
        with contextlib.suppress(OSError):  # it is dead, as will be heard
            self._workers[slot].line.send(command)

    def hear(self, timeout: float) -> list[tuple[str, Message]]:
        lines = {worker.line: slot for slot, worker in self._workers.items()}
        heard: list[tuple[str, Message]] = []
        for line in wait(list(lines), timeout):
            assert isinstance(line, Connection)
            heard += [(lines[line], message) for message in self._read(lines[line], line)]
        return heard

    def _read(self, slot: str, line: Connection) -> list[Message]:
        """All that a worker has said so far; a pipe that is closed means its death."""
        said: list[Message] = []
        try:
            while line.poll():
                said.append(line.recv())
        except (EOFError, OSError):
            process = self._workers[slot].process
            process.join(_GRACE_SECONDS)
            self.dismiss(slot)
            said.append(Died(_cause(process.exitcode)))
        return said

    def describe(self, slot: str) -> str:
        return slot

    def dismiss(self, slot: str) -> None:
        worker = self._workers.pop(slot, None)
        if worker is None:
            return
        worker.process.terminate()
        worker.process.join(_GRACE_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.line.close()

    def close(self) -> None:
        for worker in self._workers.values():
            worker.process.terminate()  # all at once, then each is waited for
        for slot in list(self._workers):
            self.dismiss(slot)


def _cause(exit_code: int | None) -> str:
    """For people."""
    if exit_code is None:
        return "it hung up"
    if exit_code < 0:
        name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else str(-exit_code)
        return f"killed by {name}" + (", as the system does when memory runs out" if name == "SIGKILL" else "")
    return f"ended with exit code {exit_code}"


def _main(setup: WorkerSetup, line: Any) -> None:
    """In the new process. Ctrl-C reaches the whole group of processes: stopping is the employer's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the cores to the other workers
    serve(setup, line.recv, line.send)
