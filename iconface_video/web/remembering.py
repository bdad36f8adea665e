"""Faces of previews and of runs that were broken off, for the run that restores the whole."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from iconface_video.restore.face_model import FaceModel, ModelFacts
from iconface_video.restore.timeline import OnSegment, TimelineCounts, restore_timeline
from iconface_video.session.engines.engine import Engine
from iconface_video.session.engines.job import Check, Report, RestoreWork
from iconface_video.session.face_memory import FaceMemory, RememberingModel
from iconface_video.session.fingerprint import fingerprint
from iconface_video.session.networks import Networks
from iconface_video.session.provenance import restorer_record
from iconface_video.settings import RestoreSettings

PREVIEWED, PIECES = "previewed", "work/pieces"
"""In a project's folder: faces of previews; faces of the piece that a run was in when it was stopped."""
_MOST_BYTES = 300 << 20
"""Of each: 1,500 faces of 256 px."""


def memory_of_previews(project: Path) -> FaceMemory:
    return FaceMemory(project / PREVIEWED, _MOST_BYTES)


def memory_of_run(project: Path) -> FaceMemory:
    """Takes previews' faces, too. A run writes its whole pieces itself, so no more than one of them need be kept here."""
    return FaceMemory(project / PIECES, _MOST_BYTES, [project / PREVIEWED])


def forget(project: Path) -> None:
    """After a run: all that it could take stands in its own store, where another strength finds it."""
    for name in (PREVIEWED, PIECES):
        shutil.rmtree(project / name, ignore_errors=True)


def remembering(model: FaceModel, memory: FaceMemory, settings: RestoreSettings) -> RememberingModel:
    return RememberingModel(model, memory, fingerprint(**restorer_record(Networks(), settings, model)))


class RememberingEngine:
    """An `Engine` of this process that looks into a memory first; whoever was learnt from photos is restored all the same."""

    def __init__(self, engine: Engine, model: FaceModel, memory: FaceMemory) -> None:
        """engine: of this process, with this model."""
        self._engine, self._model, self._memory = engine, model, memory
        self.name = engine.name

    @property
    def model(self) -> FaceModel | ModelFacts:
        return self._model

    def restore(self, work: RestoreWork, on_segment: OnSegment, report: Report, check: Check) -> TimelineCounts:
        if work.people:
            return self._engine.restore(work, on_segment, report, check)
        context = work.context(self._model)
        context = replace(context, model=remembering(self._model, self._memory, work.restore))
        return restore_timeline(context, work.clip.frames, report, check, segments=work.segments, on_segment=on_segment)

    def close(self) -> None:
        self._engine.close()
