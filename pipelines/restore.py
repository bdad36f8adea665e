"""The main recipe: a video in, the same video with its faces restored out.

survey -> anchors -> restore -> render, as in the figure of the architecture: each stage streams, what it made is kept in the
work folder, whose journal says what is done, and nothing stands under the output's name until it is whole. A run that was
killed goes on from there: what is done and unharmed is taken, the rest is made, rendering starts over.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iconface_video.errors import OutputError
from iconface_video.identity.evidence import group_tracks
from iconface_video.identity.references import Embed
from iconface_video.lock import writing
from iconface_video.pipelines.checks import check_settings
from iconface_video.pipelines.finding import Found, Notes, ReferenceChoice, find_faces
from iconface_video.pipelines.record import faces_mark, made_of
from iconface_video.pipelines.rendering import Rendering, RenderWork
from iconface_video.pipelines.survey import load_embedder
from iconface_video.restore.crop_store import StoreHeader, estimate_bytes, write_header
from iconface_video.restore.model import FaceModel
from iconface_video.restore.plan import RestorePlan, make_plan
from iconface_video.restore.timeline import SegmentDone, TimelineCounts
from iconface_video.run.clip import Clip
from iconface_video.run.engines.choose import engine_kind, open_engine
from iconface_video.run.engines.engine import Engine, RestoreWork
from iconface_video.run.engines.job import ModelFacts
from iconface_video.run.face_report import FaceObserver
from iconface_video.run.fingerprint import fingerprint, hash_file
from iconface_video.run.memory import MemoryPlan, plan_memory
from iconface_video.run.parts import restore_parts
from iconface_video.run.progress import OnProgress, ShouldStop, Watch
from iconface_video.run.provenance import missing_mark
from iconface_video.run.report import RunReport
from iconface_video.run.space import Need, check_space
from iconface_video.run.weights import hash_weights
from iconface_video.run.work import WorkFolder, kept_header, left_output, work_folder_of
from iconface_video.settings import RunSettings
from iconface_video.video.output_plan import OutputPlan, plan_output
from iconface_video.video.output_size import estimate_output_bytes
from iconface_video.video.reader import VideoReader

if TYPE_CHECKING:
    from iconface_video.personalize.in_run import LearntPeople


def restore_video(
    input: Path,
    output: Path | None = None,
    *,
    settings: RunSettings | None = None,
    references: ReferenceChoice | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    force: bool = False,
    work: Path | None = None,
    keep_work: bool = False,
    fresh: bool = False,
    model: FaceModel | None = None,
    engine: Engine | None = None,
    embed: Embed | None = None,
    observer: FaceObserver | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> RunReport:
    """Restore the faces of a video.

    output: file or folder; None: ``<stem>.restored.<ext>`` beside the input. start, end: seconds after the first frame.
    work: folder for what is found and restored on the way; beside the output when not given, deleted after success unless
    `keep_work`. What an earlier, unfinished run left there is used as far as it was made from the same; not with `fresh`.
    model, embed: loaded as the settings say when not given.  engine: one that is open already, with these restore settings,
    for several videos one after another (`open_engine`); the settings choose one when not given.  observer: looks at the faces while they are written (see
    `pipelines.report`).

    Raises InputError, OutputError, ReferencePhotoError or UsageError for what is refused; Cancelled when `should_stop` says
    so. Whatever it raises, nothing stands under the output's name.
    """
    settings = asked = settings or RunSettings()
    watch = Watch(on_progress, should_stop)
    if model is None:
        check_settings(settings)
        settings = _framed(settings)
    with VideoReader(input, settings.read) as reader:
        clip = Clip(reader, start, end)
        target = plan_output(reader.info, output, settings.encode, force=True)
        place = work or work_folder_of(target.path)
        with writing(target.path):
            is_left = not fresh and left_output(place, target.path)
            target = plan_output(reader.info, output, settings.encode, force=force or is_left)
            memory = plan_memory(settings, reader.info)
            references = references or ReferenceChoice()
            mark = faces_mark(asked.restore, made_of(asked, references, start, end, model))
            settings = memory.apply(settings)
            if not fresh:
                _spare_kept_faces(place, clip)
            with WorkFolder(place, keep_work, fresh) as folder:
                report = folder.journal.report if is_left else None
                if report is None:
                    report = _restore_clip(
                        clip, target, settings, references, mark, model, engine, embed, folder, observer, memory, watch
                    )
    return replace(report, work=place if folder.keep else None)


def _spare_kept_faces(work: Path, clip: Clip) -> None:
    """Raises OutputError where faces of another video are kept in a work folder: this clip's would replace them."""
    header = kept_header(work)
    if header is not None and header.facts.get("content") not in (None, clip.reader.file.identity()):
        raise OutputError(
            f"{work}: keeps the faces of another video ({header.input}), which this one's would replace. "
            "Choose another work folder, or give them up with `fresh`."
        )


def _restore_clip(
    clip: Clip,
    target: OutputPlan,
    settings: RunSettings,
    references: ReferenceChoice,
    mark: dict[str, Any],
    model: FaceModel | None,
    engine: Engine | None,
    embed: Embed | None,
    folder: WorkFolder,
    observer: FaceObserver | None,
    memory: MemoryPlan,
    watch: Watch,
) -> RunReport:
    notes = Notes(folder.journal, watch)
    notes.say(*target.notes, *memory.notes)
    check_space([_output_need(clip, target, settings, clip.frame_estimate or 0)])
    found = find_faces(clip, settings, references, embed, folder, notes, watch)
    if observer is not None and found.survey.tracks:
        observer.begin(found.survey, found.anchors, embed or load_embedder(), found.names)
    see = None if observer is None else observer.see
    writing = RenderWork(clip, target, settings, folder.crops, found.survey.frame_count, memory.decode_ahead, see)
    with Rendering(writing, watch, settings.engine.overlap and memory.overlap) as rendering:
        restored = _restore(clip, found, settings, mark, model, engine, folder, target, memory, notes, watch, rendering)
        if restored.with_what and settings.render.strength > 0:
            notes.say(*missing_mark(target.container))

        def report(frames: int) -> RunReport:
            return RunReport(
                input=clip.info.path,
                output=target.path,
                frames=frames,
                faces=sum(len(track) for track in found.everybody.tracks),
                tracks=len(found.everybody.tracks),
                people=len(group_tracks(found.everybody)),
                frames_restored=restored.frames,
                faces_restored=restored.restored + restored.repeated,
                faces_repeated=restored.repeated,
                left_alone={**restored.plan.left_alone, **found.left_alone},
                not_tracked=dict(found.survey.skipped),
                seconds=watch.seconds,
                notes=(*notes.said, *found.notes, *restored.notes, *rendering.clip.damage),
            )

        def on_whole(path: Path, frames: int) -> None:
            folder.journal.finish_output(target.path, hash_file(path), report(frames))

        return report(rendering.finish(on_whole))


@dataclass(frozen=True, eq=False)
class _Restored:
    """Result of the third stage."""

    plan: RestorePlan
    frames: int = 0
    restored: int = 0
    repeated: int = 0
    notes: tuple[str, ...] = ()
    with_what: dict[str, Any] = field(default_factory=dict)
    """For the mark in the output's metadata; empty where no face was restored."""


def _restore(
    clip: Clip,
    found: Found,
    settings: RunSettings,
    mark: dict[str, Any],
    model: FaceModel | None,
    engine: Engine | None,
    folder: WorkFolder,
    target: OutputPlan,
    memory: MemoryPlan,
    notes: Notes,
    watch: Watch,
    rendering: Rendering,
) -> _Restored:
    """The plan, then the model's work into the crop store: segment by segment, but for those that are there already."""
    if not found.survey.tracks:
        plan = RestorePlan((), (), {})
        _write_store_header(clip, plan, found, settings, "none", {}, folder)
        rendering.begin(plan, (), {})
        return _Restored(plan)
    with watch.stage("restore"), _engine(settings, model, engine, watch) as restorer:
        weights = hash_weights(settings.restore) if model is None else None
        facts = restorer.model
        notes.say(*getattr(facts, "notes", ()))
        plan = make_plan(found.survey, settings.restore, facts.crop_sizes)
        sizes = plan.crops_by_size()
        for size in sizes:
            facts.noise_shape(size)  # refuses a size that the model does not take
        learnt = _learn_people(found, settings, facts, folder, watch)
        notes.say(*([] if learnt is None else learnt.notes))
        parts = restore_parts(found.source, found.survey, found.anchors, facts, weights, settings.restore)
        parts["people"] = None if learnt is None else learnt.hash
        there = folder.begin_segments(parts)
        going_on = f"going on from an earlier run: {len(there)} of {len(plan.segments)} segments are restored"
        notes.say(*([going_on] if there else []))
        notes.say(*_expected_time(facts, plan))
        left = max(0, estimate_bytes(sizes) - folder.stored_bytes)
        crops = Need(folder.crops, left, "the restored faces while working", "`work`")
        check_space([crops, _output_need(clip, target, settings, found.survey.frame_count)])
        with_what = _with_what(plan, found, mark, facts)
        if with_what and learnt is not None and learnt.mark:
            with_what["people_learnt"] = learnt.mark
        _write_store_header(clip, plan, found, settings, fingerprint(**parts), with_what, folder)
        rendering.begin(plan, there, with_what)
        counts = TimelineCounts()
        for done in there.values():
            counts.add(done)
        missing = tuple(segment for segment in plan.segments if segment.index not in there)

        def finished(done: SegmentDone) -> None:
            clip.reader.file.check()  # faces of another video must not be kept as this one's
            folder.finish_segment(done)
            rendering.segment_done(done.index)
            counts.add(done)

        work = RestoreWork(
            clip,
            found.survey,
            found.anchors,
            settings.restore,
            plan,
            missing,
            folder.crops,
            memory.decode_ahead,
            folder.people if learnt is not None and learnt.people else None,
        )
        counts.notes |= restorer.restore(work, finished, watch.report, rendering.check).notes
    return _Restored(plan, counts.frames, counts.restored, counts.repeated, tuple(sorted(counts.notes)), with_what)


def _learn_people(
    found: Found, settings: RunSettings, model: FaceModel | ModelFacts, folder: WorkFolder, watch: Watch
) -> LearntPeople | None:
    """Whom the settings want learnt, from the photos that their anchors show; in this process, whoever restores. None: nobody is wanted."""
    wish = settings.restore.personalize
    if wish == "off":
        return None
    from iconface_video.personalize.in_run import anchor_key, learn_people
    from iconface_video.personalize.settings import PersonalizeSettings
    from iconface_video.restore.iconface import IConFaceRestorer, load_face_model

    if not isinstance(model, (IConFaceRestorer, ModelFacts)):
        return None
    named = {track.person: found.names.get(track.person, f"person {track.person + 1}")
             for track in found.survey.tracks if track.person is not None}  # fmt: skip
    names = {anchor_key(found.anchors[track.track_id]): named[track.person]
             for track in found.survey.tracks if track.person is not None}  # fmt: skip
    return learn_people(
        found.survey.tracks,
        found.anchors,
        names,
        folder.people,
        lambda: model if isinstance(model, IConFaceRestorer) else load_face_model(settings.restore),
        PersonalizeSettings(),
        wish == "on",
        settings.anchors.min_similarity,
        watch.report,
        watch.should_stop,
    )


def _output_need(clip: Clip, target: OutputPlan, settings: RunSettings, frames: int) -> Need:
    return Need(target.path, estimate_output_bytes(clip.info, frames, settings.encode), "the output", "`output`")


def _engine(
    settings: RunSettings, model: FaceModel | None, engine: Engine | None, watch: Watch
) -> AbstractContextManager[Engine]:
    """The one that is given, else a new one; a model that works in this process is loaded here."""
    if engine is not None:
        return nullcontext(engine)
    if model is None and engine_kind(settings) == "local":
        model = load_restorer(settings)
    return open_engine(settings, model, check=watch.check)


def _with_what(plan: RestorePlan, found: Found, mark: dict[str, Any], model: FaceModel | ModelFacts) -> dict[str, Any]:
    """What restores the faces, in plain values; empty where none is restored."""
    if not plan.crops_by_size():
        return {}
    helped = len({anchor.direction.tobytes() for anchor in found.anchors.values() if anchor.origin == "user"})
    return {
        "model": model.name,
        **mark,
        "crop_sizes": sorted(plan.crops_by_size()),
        "people_with_photos": helped,
    }


def _write_store_header(
    clip: Clip,
    plan: RestorePlan,
    found: Found,
    settings: RunSettings,
    identity: str,
    with_what: dict[str, Any],
    folder: WorkFolder,
) -> None:
    facts = {
        "model": with_what.get("model"),
        "seed": settings.restore.seed,
        "deinterlace": settings.read.deinterlace,
        "start_pts": None if clip.start is None else clip.start.pts,
        "end_pts": None if clip.end is None else clip.end.pts,
        "frames": found.survey.frame_count,
        "content": found.source["input"],
        "restored_with": with_what,
    }
    write_header(folder.crops, StoreHeader(identity, str(clip.info.path.absolute()), plan.segments, facts))


def load_restorer(settings: RunSettings) -> FaceModel:
    """The model that the settings name."""
    from iconface_video.restore.iconface import load_face_model

    return load_face_model(settings.restore)


def _expected_time(model: FaceModel | ModelFacts, plan: RestorePlan) -> tuple[str, ...]:
    """What a large model in this process says of the work before it; nothing of others."""
    expected = getattr(model, "expected_time", None)
    said = None if expected is None else expected(plan.crops_by_size())
    return () if said is None else (said,)


def _framed(settings: RunSettings) -> RunSettings:
    """The settings with reference pictures cut as the model wants its faces; read from its index alone."""
    if settings.anchors.picture_scale is not None:
        return settings
    from iconface_video.models.checkpoints import checkpoint_traits

    scale = settings.restore.crop_scale or checkpoint_traits(settings.restore.model).crop_scale
    return settings if scale == 1 else replace(settings, anchors=replace(settings.anchors, picture_scale=scale))
