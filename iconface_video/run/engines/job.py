"""What a worker needs to restore segments of a clip, as values that travel between processes and machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from iconface_video.content import SteadyFile
from iconface_video.errors import StoreError
from iconface_video.identity.anchor_store import load_anchors
from iconface_video.restore.model import FaceModel
from iconface_video.restore.noise import Shape
from iconface_video.restore.plan import make_plan
from iconface_video.restore.timeline import RestoreContext, SegmentDone, restore_timeline
from iconface_video.run.clip import Clip
from iconface_video.run.fingerprint import fingerprint, hash_anchors, hash_survey, library_versions
from iconface_video.run.weights import hash_weights
from iconface_video.settings import ReadSettings, RestoreSettings
from iconface_video.tracking.store import load_survey
from iconface_video.types import IdentityAnchor, Progress, Survey
from iconface_video.video.reader import VideoReader

LoadModel = Callable[[RestoreSettings], FaceModel]
"""A function of some module (or a `functools.partial` of one), so that it can be named to another process."""


_LIBRARIES = ("iconface-video", "torch", "diffusers", "numpy", "opencv-python", "av", "scipy")
"""Those that take part in restoring."""


def restoring_libraries() -> dict[str, str]:
    """Versions of the libraries that restored crops depend on; the same for all workers of a run."""
    found = library_versions()
    return {name: found[name] for name in _LIBRARIES}


def expected_libraries(setup: WorkerSetup) -> dict[str, str]:
    """These versions, and a hash of the model's files where it is known which they are. Raises CheckpointError."""
    found = restoring_libraries()
    if setup.load is load_restorer:
        found["weights"] = hash_weights(setup.restore)[:16]
    return found


def load_restorer(settings: RestoreSettings) -> FaceModel:
    """The model that the settings name."""
    from iconface_video.restore.iconface import load_face_model

    return load_face_model(settings)


@dataclass(frozen=True)
class WorkerSetup:
    """How a worker gets its model, which it keeps for all clips."""

    restore: RestoreSettings
    threads: int = 0
    """For the model on a CPU; 0: as many as torch takes by itself."""
    load: LoadModel = load_restorer

    def on(self, device: str) -> WorkerSetup:
        return replace(self, restore=replace(self.restore, device=device))


@dataclass(frozen=True)
class RestoreJob:
    """One clip to restore: paths and settings alone."""

    input: Path
    read: ReadSettings
    start_pts: int | None
    end_pts: int | None
    survey: Path
    """Folder of the survey (`tracking.store`)."""
    anchors: Path
    """Folder of the anchors (`identity.anchor_store`)."""
    crops: Path
    """The crop store's."""
    restore: RestoreSettings
    identity: str
    """`job_identity` of what the paths lead to."""
    people: Path | None = None
    """Folder of what was learnt of people (`personalize.in_run`)."""


def job_identity(input: SteadyFile, survey: Survey, anchors: Mapping[int, IdentityAnchor]) -> str:
    """A hash by which a worker sees that it reads the same video, survey and anchors. Raises InputError."""
    return fingerprint(input=input.identity(), survey=hash_survey(survey), anchors=hash_anchors(anchors))


@dataclass(frozen=True)
class ModelFacts:
    """About a model that is loaded elsewhere."""

    name: str
    crop_sizes: tuple[int, ...]
    shapes: Mapping[int, Shape]
    """Crop size -> noise shape."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """As `FaceModel.identity`: device, processor, threads, number format."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """Of `expected_libraries`."""
    notes: tuple[str, ...] = ()
    """For the report, as the model gives them."""

    def noise_shape(self, size: int) -> Shape:
        """As `FaceModel.noise_shape`, which the worker asked at its start."""
        return self.shapes[size]


def model_facts(model: FaceModel, setup: WorkerSetup) -> ModelFacts:
    """Raises UsageError where the model does not take the crop size that the settings ask for."""
    sizes = {*model.crop_sizes, *([setup.restore.crop_size] if setup.restore.crop_size else [])}
    shapes = {size: model.noise_shape(size) for size in sorted(sizes)}
    identity = dict(getattr(model, "identity", {}))
    notes = tuple(getattr(model, "notes", ()))
    return ModelFacts(model.name, tuple(model.crop_sizes), shapes, identity, expected_libraries(setup), notes)


def knowing_people(model: FaceModel, people: Path) -> FaceModel:
    """The model with what was learnt of people; the models' libraries are loaded only where there is something."""
    from iconface_video.personalize.in_run import with_people

    return with_people(model, people)


class JobSession:
    """A job that is open in a worker: restores any of its segments, one at a time."""

    def __init__(self, job: RestoreJob, model: FaceModel) -> None:
        """Raises InputError, or StoreError where this worker reads something else than its employer."""
        survey, anchors = load_survey(job.survey), load_anchors(job.anchors)
        reader = VideoReader(job.input, job.read)
        if job_identity(reader.file, survey, anchors) != job.identity:
            raise StoreError(
                f"{job.input}: the worker reads another video, survey or anchors than the run that it works for. "
                "Did the file change meanwhile?"
            )
        self._clip = Clip.between(reader, job.start_pts, job.end_pts)
        self._plan = make_plan(survey, job.restore, model.crop_sizes)
        model = model if job.people is None else knowing_people(model, job.people)
        self._context = RestoreContext(self._plan, reader.info, model, anchors, job.restore, job.crops)

    def restore(self, index: int, on_faces: Callable[[int], None]) -> SegmentDone:
        """The segment into the crop store. on_faces: told how many of its faces are done."""
        found: list[SegmentDone] = []

        def report(event: Progress) -> None:
            on_faces(event.done)

        segments = [self._plan.segments[index]]
        restore_timeline(self._context, self._clip.frames, report, segments=segments, on_segment=found.append)
        return found[0]
