"""What a run would do and will take: all its checks without its work, then a few short pieces of the clip go through its own stages,
and what they cost is multiplied.

How fast the model is on this machine is measured once and remembered (`SpeedMemory`); the rest depends on the clip.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import platformdirs

from iconface_video.files import write_whole
from iconface_video.identity.references import photos_of, read_photo
from iconface_video.models.hub import model_index
from iconface_video.render.renderer import Renderer
from iconface_video.restore.crop_store import estimate_bytes
from iconface_video.restore.face_model import FaceModel, LooksAround, neighbours_of
from iconface_video.restore.plan import make_plan
from iconface_video.session.checks import check_settings
from iconface_video.session.clip import Clip
from iconface_video.session.clip_faces import ClipRequest
from iconface_video.session.engines.engine import cores
from iconface_video.session.fingerprint import fingerprint, library_versions
from iconface_video.session.memory import plan_memory, usual_memory
from iconface_video.session.networks import Networks, load_embedder
from iconface_video.session.people_folder import check_people
from iconface_video.session.provenance import Provenance
from iconface_video.session.work import WorkFolder, work_folder_of
from iconface_video.settings import RestoreSettings, RunSettings
from iconface_video.tracking.surveyor import run_survey
from iconface_video.types import EMBEDDING_SIZE, Frame, IdentityAnchor, Survey, Timestamp
from iconface_video.video.enlarge import Enlarger
from iconface_video.video.output_plan import OutputPlan, estimate_output_bytes
from iconface_video.video.output_size import enlarged, line_scale, plan_enlarged
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import VideoWriter

if TYPE_CHECKING:
    from iconface_video.personalize.recipe import PersonalizeSettings

_PIECES, _PIECE_FRAMES = 3, 12
_MOST_SECONDS = 2.0
"""No further piece is begun after that."""
_START_SECONDS = 4.0
"""Loading libraries and models."""
_USUAL_PHOTO = 18.6
"""Norm of a clear photo's embedding; mean of 60."""
_CHECKING = 1.15
"""Learning and the check on a photo that was held out, as a share of learning alone."""
PASTE_SECONDS = 0.06
"""Of one face, temporal filter included: beside a model in the same process it takes processors from it."""


@dataclass(frozen=True)
class Estimate:
    """About."""

    frames: int
    faces: int
    seconds: float
    disk_bytes: int
    """Of the output and, while working, of the restored faces."""
    memory_bytes: int
    learn_seconds: float = 0.0
    """Of `seconds`: learning people from their photos, before the first face is restored."""


@dataclass(frozen=True)
class DryRun:
    """What a run would do."""

    output: OutputPlan
    notes: tuple[str, ...]
    estimate: Estimate | None
    """None: the file does not say how long it is."""


def dry_run(request: ClipRequest) -> DryRun:
    """All that a run checks, without its work: settings, input, range, output, memory, work folder, photos and people.yaml.

    Raises what the run would raise. Nothing is written.
    """
    settings, references = request.settings, request.references
    check_settings(settings)
    with VideoReader(request.input, settings.read) as reader:
        clip = Clip(reader, request.start, request.end)
        target = plan_enlarged(reader.written, request.output, settings.encode, settings.render, force=request.force)
        memory = plan_memory(settings, enlarged(reader.info, settings.render))
        WorkFolder(request.work or work_folder_of(target.path), keep=False).check()
        for photo in references.photos:
            read_photo(photo)
        for name, folder in references.people:
            photos_of(name, folder)
        told: list[str] = []
        asked_for = 0
        if references.file is not None:
            made_from = Provenance(settings, settings, references, Networks()).people(clip)
            chosen = check_people(references.file, clip, made_from)
            told += chosen.notes
            asked_for = sum(is_wanted and person not in chosen.skipped for person, is_wanted in chosen.learn.items())
        given = len(references.people) + bool(references.photos)
        estimate = estimate_run(clip, target, memory.apply(settings), bool(references), given, asked_for)
    kind = () if request.chosen is None or request.chosen.kind is None else (request.chosen.sentence,)
    return DryRun(target, (*kind, *target.notes, *memory.notes, *told), estimate)


def estimate_run(
    clip: Clip,
    target: OutputPlan,
    settings: RunSettings,
    with_photos: bool = False,
    people_with_photos: int = 0,
    people_asked_for: int = 0,
) -> Estimate | None:
    """Of the whole run; None where the file does not say how long it is. with_photos: the user gives some, of so many people.
    people_asked_for: whom people.yaml wants learnt, whatever the settings say.

    Restores nothing of the clip.
    """
    frames = expected_frames(clip)
    if frames is None:
        return None
    idle = settings.render.strength <= 0 and not with_photos
    pieces = [] if idle else list(_pieces(clip, settings, frames))
    looked, survey_seconds = sum(piece.frames for piece in pieces), sum(piece.seconds for piece in pieces)
    share = frames / max(1, looked)
    crops: dict[int, float] = {}
    written, scale = enlarged(clip.info, settings.render), line_scale(clip.info, settings.render)
    speeds = SpeedMemory(settings.restore)
    for piece in pieces:
        for size, count in make_plan(piece.survey, settings.restore, speeds.crop_sizes, scale).crops_by_size().items():
            crops[size] = crops.get(size, 0.0) + count * share
    faces = {size: round(count) for size, count in crops.items()} if settings.render.strength > 0 else {}
    model_seconds = sum(count * speeds.seconds_of(size) for size, count in faces.items())
    writing = frames * seconds_to_write(clip, target, settings) + sum(faces.values()) * PASTE_SECONDS
    wanted = people_with_photos and _wants_learning(settings.restore, pieces)
    learnt = (people_with_photos if wanted else 0) + people_asked_for
    learning = learnt * speeds.seconds_to_learn() if learnt else 0.0
    return Estimate(
        frames,
        sum(faces.values()),
        _START_SECONDS + survey_seconds * share + learning + model_seconds + writing,
        estimate_output_bytes(written, clip.reader.frames_written(frames), settings.encode) + estimate_bytes(faces),
        usual_memory(settings, written),
        learning,
    )


def _wants_learning(settings: RestoreSettings, pieces: list[_Piece]) -> bool:
    """Whether people are learnt: with `auto` as far as can be seen without reading a photo."""
    if settings.personalize != "auto":
        return settings.personalize == "on"
    from iconface_video.restore.people import MOST_SURENESS

    norms = [
        np.linalg.norm(track.embeddings, axis=1) for piece in pieces for track in piece.survey.tracks if len(track.embeddings)
    ]
    return bool(norms) and float(np.concatenate(norms).mean()) <= MOST_SURENESS * _USUAL_PHOTO


def expected_frames(clip: Clip) -> int | None:
    """By the header's count, else by length and rate."""
    info = clip.info
    length = info.duration_seconds
    first, last = clip.pts_range(info.first_pts, info.first_pts + int(Fraction(length or 0) / info.time_base))
    if clip.is_whole and info.frame_count_declared:
        return info.frame_count_declared
    if length is None or info.average_rate is None:
        return info.frame_count_declared
    end = min(last, info.first_pts + int(Fraction(length) / info.time_base))
    return max(1, round(float((end - first) * info.time_base) * float(info.average_rate)))


@dataclass(frozen=True)
class _Piece:
    survey: Survey
    frames: int
    seconds: float


def _pieces(clip: Clip, settings: RunSettings, frames: int) -> Iterator[_Piece]:
    """Surveys of short pieces, spread over the clip, the middle first."""
    info, embed = clip.info, load_embedder()
    rate = info.average_rate or Fraction(25)
    first, _ = clip.pts_range(info.first_pts, 0)
    length = int(Fraction(frames) / rate / info.time_base)
    piece = int(Fraction(_PIECE_FRAMES) / rate / info.time_base)
    wanted = replace(settings.survey, min_track_seconds=0.0)
    begun = time.perf_counter()
    run_survey(
        clip.reader, wanted, embed, start=_at(clip, first), end=_at(clip, first + max(1, piece // 6))
    )  # libraries wake up
    for place in (0.5, 0.2, 0.8)[:_PIECES]:
        start = first + int(max(0, length - piece) * place)
        seeking = time.perf_counter()
        next(iter(clip.reader.frames(_at(clip, start))), None)
        sought = time.perf_counter() - seeking
        at = time.perf_counter()
        found = run_survey(clip.reader, wanted, embed, start=_at(clip, start), end=_at(clip, start + piece))
        yield _Piece(found, found.frame_count, max(0.0, time.perf_counter() - at - sought))
        if time.perf_counter() - begun > _MOST_SECONDS or length <= piece:
            return


def _at(clip: Clip, pts: int) -> Timestamp:
    return Timestamp(pts, clip.info.time_base)


def seconds_to_write(clip: Clip, target: OutputPlan, settings: RunSettings) -> float:
    """Of one frame: decoded and encoded."""
    with TemporaryDirectory(prefix="iconface-") as folder, clip.reader.again() as reader:
        place, large = Path(folder) / f"piece{target.path.suffix}", enlarged(reader.info, settings.render)
        plan = plan_enlarged(reader.written, place, settings.encode, settings.render, force=True)
        frames: list[Frame] = []
        for frame in clip.again(reader).frames():
            frames.append(frame)
            if len(frames) == 2 * _PIECE_FRAMES:
                break
        enlarger = None if large is reader.info else Enlarger(reader.info, large)
        begun = time.perf_counter()
        end = _at(clip, frames[-1].pts + 1)
        with VideoWriter(plan, large, settings.encode, first=frames[0].timestamp, end=end) as writer:
            for frame in Renderer(lambda pts: [], replace(settings.render, strength=0.0), None, enlarger).render(frames):
                writer.write(frame)
        return (time.perf_counter() - begun) / len(frames)


class SpeedMemory:
    """How long the model takes for a face, remembered from one look to the next."""

    def __init__(self, settings: RestoreSettings, load: Callable[[], FaceModel] | None = None) -> None:
        """load: gives the model, where that is loaded already."""
        self._settings = settings
        self._load = load
        self._model: FaceModel | None = None
        self._file = platformdirs.user_cache_path("iconface-video", appauthor=False) / "speed.json"
        wanted = {name: getattr(settings, name) for name in ("device", "dtype", "steps", "guidance_scale", "batch", "compile")}
        parts = {"settings": wanted, "index": model_index(settings.model), "cores": cores(), "libraries": library_versions()}
        self._key = fingerprint(**parts)[:16]
        self._known: dict[str, float] = self._read()

    @property
    def crop_sizes(self) -> tuple[int, ...]:
        """px that the model takes."""
        traits = (model_index(self._settings.model) or {}).get("traits", {})
        return tuple(traits.get("crop_sizes", ())) or (self._settings.crop_size or 256,)

    def seconds_of(self, size: int) -> float:
        """Of one face in a crop of `size` px, as one of a full model call."""
        key = f"{self._key}/{size}"
        if key not in self._known:
            self._known[key] = self._measured(size)
            self._write()
        return self._known[key]

    def seconds_to_learn(self) -> float:
        """One person, from the photos."""
        from iconface_video.personalize.recipe import PersonalizeSettings

        recipe = PersonalizeSettings()
        key = f"{self._key}/learn/{fingerprint(recipe=recipe)[:8]}"
        if key not in self._known:
            self._known[key] = _CHECKING * recipe.steps * self._measured_step(recipe)
            self._write()
        return self._known[key]

    def _measured_step(self, recipe: PersonalizeSettings) -> float:
        from iconface_video.faces.identity_encoder import load_identity_encoder
        from iconface_video.personalize.learning import PersonLearner
        from iconface_video.restore.iconface import load_face_model

        loaded = load_face_model(self._settings)
        grey = np.full((recipe.size, recipe.size, 3), 128, np.uint8)
        learner = PersonLearner(
            loaded.network, load_identity_encoder("embedded"), [grey] * 3, np.ones((3, EMBEDDING_SIZE), np.float32), recipe
        )
        learner.step(0)  # libraries wake up
        begun = time.perf_counter()
        learner.step(1)
        return time.perf_counter() - begun

    def learn(self, seconds: Mapping[int, float]) -> None:
        """What a whole run took says more than a moment's measurement. seconds: of one face, by crop size."""
        self._known.update({f"{self._key}/{size}": spent for size, spent in seconds.items()})
        self._write()

    def _measured(self, size: int) -> float:
        from iconface_video.restore.iconface import load_face_model

        self._model = self._model or (self._load or partial(load_face_model, self._settings))()
        count = self._settings.batch
        grey = np.full((size, size, 3), 128, np.uint8)
        direction = np.full(EMBEDDING_SIZE, EMBEDDING_SIZE**-0.5, np.float32)
        anchor = IdentityAnchor(direction, 1.0, np.ones(1, np.float32), (grey,) * 3, "track")
        context = self._model.prepare(anchor, size)
        noise = np.random.default_rng(0).standard_normal((count, *self._model.noise_shape(size))).astype(np.float32)
        neighbours, spent = neighbours_of(self._model), []
        for _ in range(3):
            begun = time.perf_counter()
            if isinstance(self._model, LooksAround) and neighbours:
                for _ in range(count):
                    self._model.fuse([grey.copy() for _ in range(2 * neighbours + 1)])
            self._model.restore(np.repeat(grey[None], count, axis=0), [context] * count, noise)
            spent.append((time.perf_counter() - begun) / count)
        return sorted(spent)[1]

    def _read(self) -> dict[str, float]:
        try:
            content = json.loads(self._file.read_bytes())
            return {str(name): float(value) for name, value in content.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _write(self) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, lambda out: out.write(json.dumps(self._known).encode()))
        except OSError:
            pass  # it is measured again
