"""The models behind the page: loaded when first needed, then kept for all jobs."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from iconface_video.errors import ReferencePhotoError, UsageError
from iconface_video.faces.detector import Detector
from iconface_video.identity.references import Embed, ReferencePhoto, find_faces, load_photo, photo_detector, read_photo
from iconface_video.pipelines.estimate import SpeedMemory
from iconface_video.restore.face_model import FaceModel
from iconface_video.session.checks import check_settings
from iconface_video.session.engines.engine import Engine as SegmentEngine
from iconface_video.session.engines.engine import engine_kind, make_engine, split_devices
from iconface_video.session.engines.job import load_restorer
from iconface_video.session.face_memory import FaceMemory
from iconface_video.session.networks import EMBEDDED, Networks, load_embedder
from iconface_video.settings import AnchorSettings, RunSettings, SurveySettings
from iconface_video.web.known import KnownPeople
from iconface_video.web.remembering import RememberingEngine

_RIVAL = 0.5
"""A second face this much of the largest one's height leaves open who is meant."""


def check_machine(settings: RunSettings) -> None:
    """Raises UsageError for a device that is not there, and for several: their number is that of the workers."""
    if len(split_devices(settings.restore.device)) > 1:
        raise UsageError(f"device is '{settings.restore.device}': name one here, and let more workers share the work")
    check_settings(settings)


def devices_here() -> list[str]:
    """That the model can run on. Loads torch."""
    import torch

    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return ["auto", "cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


class Engine:
    """Thread-safe: one job and any number of photos may ask at once."""

    def __init__(self) -> None:
        # One for both: while diffusers puts a model together, parameters that any other thread makes are empty, too.
        self._loading = threading.Lock()
        self._photo_lock = threading.Lock()
        self._embed: Embed | None = None
        self._detector: Detector | None = None
        self._restorer: tuple[object, FaceModel] | None = None
        self.known = KnownPeople(lambda: self.embed)
        """Whom the user keeps."""

    @property
    def embed(self) -> Embed:
        """The identity encoder."""
        if self._embed is None:
            with self._loading:
                self._embed = self._embed or load_embedder()
        return self._embed

    def restorer(self, settings: RunSettings) -> FaceModel:
        """The model that the settings name; the last one is kept."""
        with self._loading:
            if self._restorer is None or self._restorer[0] != settings.restore:
                self._restorer = None  # two large models need not be held at once
                self._restorer = settings.restore, load_restorer(settings.restore)
            return self._restorer[1]

    def networks(self, settings: RunSettings, memory: FaceMemory | None = None) -> Networks:
        """For one job. Workers, where the settings want some, load a model of their own, and look into no memory."""
        engine: SegmentEngine | None = None
        if engine_kind(settings) == "local":
            model = self.restorer(settings)
            engine = make_engine(settings, model)
            engine = engine if memory is None else RememberingEngine(engine, model, memory)
        return Networks(engine=engine, embed=self.embed, encoder=EMBEDDED)

    def crop_sizes(self, settings: RunSettings) -> tuple[int, ...]:
        """px that the model takes."""
        return SpeedMemory(settings.restore).crop_sizes

    def face_seconds(self, settings: RunSettings, sizes: Iterable[int]) -> dict[int, float]:
        """Crop size -> seconds that one face takes on this machine; measured once and remembered."""
        speeds = SpeedMemory(settings.restore, lambda: self.restorer(settings))
        return {size: speeds.seconds_of(size) for size in sizes}

    def learn_pace(self, settings: RunSettings, seconds: Mapping[int, float]) -> None:
        """What a run took for one face, by crop size, for the next estimates."""
        SpeedMemory(settings.restore).learn(seconds)

    def warm_up(self, settings: RunSettings) -> None:
        """Load in the background, so that the first job need not wait. Faults show when a job needs the models."""

        def load() -> None:
            try:
                _ = self.embed
                self.restorer(settings)
            except Exception:
                pass

        threading.Thread(target=load, name="warm-up", daemon=True).start()

    def keep(self, name: str, photos: Sequence[Path]) -> list[str]:
        """Photos of one person into what the user keeps; what is to be known of it. Raises what `add_person` raises."""
        from iconface_video.faces.identity_encoder import (
            load_identity_encoder,  # with torch, which the page itself does not need
        )
        from iconface_video.personalize.adding import add_person

        settings = AnchorSettings()
        with self._photo_lock:
            self._detector = self._detector or photo_detector(SurveySettings())
            with self._loading:
                encoder = load_identity_encoder("embedded")
            added = add_person(self.known.library, name, photos, self._detector, encoder, settings.min_similarity)
        return [*(f"left out {item}" for item in added.left_out), *added.notes]

    def read_reference(self, path: Path) -> ReferencePhoto:
        """A photo of one person. Raises ReferencePhotoError: no photo, no face, or several faces of about the same size."""
        embed = self.embed
        with self._photo_lock:
            self._detector = self._detector or photo_detector(SurveySettings())
            heights = sorted(float(item.box[3] - item.box[1]) for item in find_faces(read_photo(path), self._detector))
            rivals = sum(height >= _RIVAL * heights[-1] for height in heights)
            if rivals > 1:
                raise ReferencePhotoError(
                    f"{path}: {rivals} faces were found in this photo; cut it so that only this person is in it"
                )
            return load_photo(path, self._detector, embed)
