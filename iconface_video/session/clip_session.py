"""One clip on its way from file to file: survey -> anchors -> restore -> render.

Each step streams, does first what it needs of the steps before it, and does nothing twice: what it made stays in the session and
in the work folder. The folder's journal says what is done, so a run that was killed goes on from there: what is done and unharmed
is taken, the rest is made, writing the video starts over. Nothing stands under the output's name until it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from iconface_video.errors import OutputError
from iconface_video.lock import writing
from iconface_video.restore.crop_store import estimate_bytes
from iconface_video.restore.face_model import FaceModel, ModelFacts
from iconface_video.restore.plan import RestorePlan, make_plan
from iconface_video.restore.timeline import SegmentDone, TimelineCounts
from iconface_video.session.chosen_preset import keep_choice
from iconface_video.session.clip import Clip, Watch
from iconface_video.session.clip_faces import ClipFaces, ClipRequest
from iconface_video.session.engines.engine import Engine, RestoreWork, split_devices
from iconface_video.session.engines.job import threads_of
from iconface_video.session.fingerprint import fingerprint, hash_file, missing_mark
from iconface_video.session.memory import MemoryPlan, Need, check_space, plan_memory
from iconface_video.session.networks import Networks
from iconface_video.session.rendering import Rendering, RenderWork
from iconface_video.session.restoring import Restored, expected_time, restored_with, write_store_header
from iconface_video.session.run_report import FaceObserver, RunReport
from iconface_video.session.work import WorkFolder, kept_header, left_output, work_folder_of
from iconface_video.video.output_plan import OutputPlan, estimate_output_bytes
from iconface_video.video.output_size import enlarged, line_scale, plan_enlarged
from iconface_video.video.reader import VideoReader

if TYPE_CHECKING:
    from iconface_video.restore.people import LearntPeople

__all__ = ["GOING_ON", "ClipRequest", "ClipSession"]

GOING_ON = "going on from an earlier run"
"""How the note begins that says so."""


class ClipSession(ClipFaces):
    """A clip with its output and its work folder: `survey`, `anchors`, `restore`, `render`."""

    folder: WorkFolder

    def __init__(
        self, clip: Clip, request: ClipRequest, networks: Networks, watch: Watch, target: OutputPlan, folder: WorkFolder
    ) -> None:
        """`open` makes one. Raises UsageError where not even one frame and one face fit into memory; what is wrong with photos
        and weights, before any work.
        """
        prepared = networks.prepared(request.settings)
        self.memory: MemoryPlan = plan_memory(prepared, enlarged(clip.info, prepared.render))
        super().__init__(clip, request, networks, watch, self.memory.apply(prepared))
        self.target, self.folder = target, folder
        self._restored: Restored | None = None
        self._is_rendered = False
        self._left: RunReport | None = None
        """Of a run that was killed when its output was whole: nothing is left to be done."""
        _ = self.provenance.output

    @classmethod
    @contextmanager
    def open(cls, request: ClipRequest, networks: Networks | None = None, watch: Watch | None = None) -> Iterator[ClipSession]:
        """Alone to write output and work folder while the block runs. A block that does not render leaves what it made in the
        work folder, for a later session with the same request.

        Raises InputError, OutputError, ReferencePhotoError, CheckpointError or UsageError for what is refused.
        """
        encode, render = request.settings.encode, request.settings.render
        with VideoReader(request.input, request.settings.read) as reader:
            clip = Clip(reader, request.start, request.end)
            target = plan_enlarged(reader.written, request.output, encode, render, force=True)
            place = request.work or work_folder_of(target.path)
            with writing(target.path):
                is_left = not request.fresh and left_output(place, target.path)
                target = plan_enlarged(reader.written, request.output, encode, render, force=request.force or is_left)
                folder = WorkFolder(place, request.keep_work, request.fresh)
                session = cls(clip, request, networks or Networks(), watch or Watch(), target, folder)
                if not request.fresh:
                    _spare_kept_faces(place, clip)
                with folder:
                    session._begin(is_left)
                    yield session
                    folder.is_unfinished = not session._is_rendered

    def _begin(self, is_left: bool) -> None:
        self._left = self.folder.journal.report if is_left else None
        if self._left is None:
            chosen = self.request.chosen
            if chosen is not None and chosen.kind is not None:
                keep_choice(self.folder.journal, chosen, self.clip.reader.file)
            self._say(*self.settings.read.notes, *self.target.notes, *self.memory.notes)
            self._check_space(self.clip.frame_estimate or 0)
            self._find_scan()

    def restore(self) -> Restored:
        """The model's work into the crop store: segment by segment, but for those that are there already."""
        if self._restored is None:
            self._restored = self._restore(Rendering(self._render_work(None), self.watch))
        return self._restored

    def render(self, observer: FaceObserver | None = None) -> RunReport:
        """Paste and encode. Faces that are not restored yet are restored meanwhile, where memory allows.

        observer: looks at the faces while they are written.
        """
        if self._left is not None:
            self._is_rendered = True
            return replace(self._left, work=self._kept)
        found, anchors = self.survey(), self.anchors()
        if observer is not None and found.survey.tracks:
            observer.begin(found.survey, anchors, self.networks.embed, self.names)
        beside = self.settings.engine.overlap and self.memory.overlap
        with Rendering(self._render_work(observer), self.watch, beside) as rendering:
            if self._restored is None:
                self._restored = self._restore(rendering)
            else:
                self._restored.begin(rendering)
            if self._restored.restored_with and self.settings.render.strength > 0:
                self._say(*missing_mark(self.target.container))

            def on_whole(path: Path, frames: int) -> None:
                self.folder.journal.finish_output(self.target.path, hash_file(path), self._report(frames, rendering.clip))

            report = self._report(rendering.finish(on_whole), rendering.clip)
        self._is_rendered = True
        return replace(report, work=self._kept)

    @property
    def _kept(self) -> Path | None:
        """The work folder, where it is to stay."""
        return self.folder.path if self.folder.keep else None

    def _render_work(self, observer: FaceObserver | None) -> RenderWork:
        return RenderWork(
            self.clip,
            self.target,
            self.settings.render,
            self.settings.encode,
            self.folder.crops,
            self.survey().survey.frame_count,
            self.memory.decode_ahead,
            None if observer is None else observer.see,
            self.shares,
        )

    def _restore(self, rendering: Rendering) -> Restored:
        """rendering: begun as soon as the plan stands; may write what stands in the store."""
        if not self.survey().survey.tracks:
            restored = Restored((), "none")
            self._write_header(restored)
            restored.begin(rendering)
            return restored
        with self.watch.stage("restore"), self.networks.engine(self.settings, self.watch.check) as engine:
            plan = self._plan(engine)
            learnt = self._learn_people(engine.model)
            restored, there = self._begin_segments(plan, engine, learnt)
            self._write_header(restored)
            restored.begin(rendering, there)
            missing = tuple(segment for segment in plan.segments if segment.index not in there)

            def finished(done: SegmentDone) -> None:
                self.clip.reader.file.check()  # faces of another video must not be kept as this one's
                self.folder.finish_segment(done)
                rendering.segment_done(done.index)
                restored.counts.add(done)

            work = RestoreWork(
                self.clip,
                self.anchors(),
                self.settings.restore,
                plan,
                missing,
                self.folder.crops,
                self.memory.decode_ahead,
                {} if learnt is None else learnt.files,
            )
            restored.counts.notes |= engine.restore(work, finished, self.watch.report, rendering.check).notes
        self.notes.add(*sorted(restored.counts.notes))
        return restored

    def _plan(self, engine: Engine) -> RestorePlan:
        """Raises UsageError for a crop size that the model does not take."""
        self._say(*getattr(engine.model, "notes", ()))
        plan = make_plan(self.survey().survey, self.settings.restore, engine.model.crop_sizes, self._scale)
        for size in plan.crops_by_size():
            engine.model.noise_shape(size)
        return plan

    def _larger_crops(self, plan: RestorePlan, crop_sizes: Sequence[int]) -> dict[str, list[int]]:
        """The tracks' crop sizes, where they are others than at scale 1: the only way in which faces depend on the scale."""
        usual = make_plan(self.survey().survey, self.settings.restore, crop_sizes)
        sizes, own = ([track.crop_size for track in each.tracks] for each in (plan, usual))
        return {} if sizes == own else {"crop_sizes": sizes}

    @property
    def _scale(self) -> float:
        return line_scale(self.clip.info, self.settings.render)

    def _learn_people(self, model: FaceModel | ModelFacts) -> LearntPeople | None:
        """Whom the settings, or people.yaml, want learnt, from the photos that their anchors show; in this process, whoever restores.
        None: nobody is wanted."""
        restore, is_somebody_named = self.settings.restore, any(self.survey().chosen.learn.values())
        if restore.personalize == "off" and not is_somebody_named:
            return None
        if is_somebody_named:
            from iconface_video.session.learning_people import wanted_in_vain

            self._say(*wanted_in_vain(self))
        if all(anchor.origin != "user" for anchor in self.anchors().values()):
            return None
        from iconface_video.personalize.recipe import PersonalizeSettings
        from iconface_video.restore.iconface import IConFaceRestorer, load_face_model
        from iconface_video.restore.people import learn_people
        from iconface_video.session.learning_people import people_to_learn

        if not isinstance(model, (IConFaceRestorer, ModelFacts)):
            return None
        if restore.quantize != "none":
            self._say(
                f"nobody was learnt: that needs the model's weights as they are, and they are quantized ({restore.quantize})"
            )
            return None
        on_one = replace(restore, device=split_devices(restore.device)[0])  # workers have one each
        with threads_of(model.identity):
            learnt = learn_people(
                self.survey().survey.tracks,
                self.anchors(),
                people_to_learn(self),
                self.folder.people,
                lambda: model if isinstance(model, IConFaceRestorer) else load_face_model(on_one),
                PersonalizeSettings(),
                self.watch.report,
                self.watch.should_stop,
            )
        self._say(*learnt.notes)
        return learnt

    def _begin_segments(
        self, plan: RestorePlan, engine: Engine, learnt: LearntPeople | None
    ) -> tuple[Restored, dict[int, SegmentDone]]:
        """What is going to be restored, and which segments of it stand in the store. Raises OutputError where there is no room."""
        survey, anchors = self.survey().survey, self.anchors()
        made_from = self.provenance.faces(self.clip, survey, anchors, engine.model)
        made_from.update(self._larger_crops(plan, engine.model.crop_sizes))
        if learnt is not None and learnt.hash is not None:
            made_from["people"] = learnt.hash
        there = self.folder.begin_segments(made_from)
        going_on = f"{GOING_ON}: {len(there)} of {len(plan.segments)} segments are restored"
        self._say(*([going_on] if there else []))
        self._say(*expected_time(engine.model, plan))
        self._check_space(survey.frame_count, plan)
        counts = TimelineCounts()
        for done in there.values():
            counts.add(done)
        with_what = restored_with(plan, anchors.values(), self.provenance.faces_mark, engine.model)
        if with_what and learnt is not None and learnt.mark:
            with_what["people_learnt"] = learnt.mark
        if with_what and self.known:
            with_what["people_recognised"] = [f"{item.found.name} (similarity {item.found.score:.2f})" for item in self.known]
        if with_what and self.request.chosen is not None:
            with_what.update(preset=self.request.chosen.name, kind=self.request.chosen.kind)
        return Restored(plan.segments, fingerprint(**made_from), with_what, plan.left_alone, counts), there

    def _write_header(self, restored: Restored) -> None:
        frames = self.survey().survey.frame_count
        write_store_header(self.folder.crops, self.clip, restored, frames, self.settings.restore.seed, self._scale)

    def _check_space(self, frames: int, plan: RestorePlan | None = None) -> None:
        """Raises OutputError where the disks have too little room for the output and what is still to be restored."""
        at_output, at_work = ("", "") if self.request.places_are_fixed else ("`output`", "`work`")
        written = self.clip.reader.frames_written(frames)
        size = estimate_output_bytes(enlarged(self.clip.info, self.settings.render), written, self.settings.encode)
        needs = [Need(self.target.path, size, "the output", at_output)]
        if plan is not None:
            left = max(0, estimate_bytes(plan.crops_by_size()) - self.folder.stored_bytes)
            needs.insert(0, Need(self.folder.crops, left, "the restored faces while working", at_work))
        check_space(needs)

    def _report(self, frames: int, written: Clip) -> RunReport:
        """written: as it was read for writing."""
        found, restored = self.survey(), self.restore()
        counts, chosen = restored.counts, self.request.chosen
        return RunReport(
            input=self.clip.info.path,
            output=self.target.path,
            frames=frames,
            faces=sum(len(track) for track in found.everybody),
            tracks=len(found.everybody),
            people=found.people,
            frames_restored=counts.frames,
            faces_restored=counts.restored + counts.repeated,
            faces_repeated=counts.repeated,
            left_alone={**restored.left_alone, **found.left_alone},
            not_tracked=dict(found.survey.skipped),
            seconds=self.watch.seconds,
            preset=None if chosen is None else chosen.name,
            kind=None if chosen is None else chosen.kind,
            looks_like="" if chosen is None else chosen.looks_like,
            notes=(*self.notes.all, *written.damage),
        )


def _spare_kept_faces(work: Path, clip: Clip) -> None:
    """Raises OutputError where faces of another video are kept in a work folder: this clip's would replace them."""
    header = kept_header(work)
    if header is not None and header.facts.get("content") not in (None, clip.reader.file.identity()):
        raise OutputError(
            f"{work}: keeps the faces of another video ({header.input}), which this one's would replace. "
            "Choose another work folder, or give them up with `fresh`."
        )
