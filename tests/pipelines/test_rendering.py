"""Writing beside restoring: the same file as one written afterwards, begun before the last face is restored, ended with whatever ends the run."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from iconface_video.errors import Cancelled, UsageError
from iconface_video.pipelines.restore import restore_video
from iconface_video.render.renderer import Renderer
from iconface_video.restore.plan import SegmentGate
from iconface_video.session.memory import plan_memory
from iconface_video.settings import EngineSettings, RenderSettings, RestoreSettings, RunSettings
from iconface_video.video.probe import probe
from tests.pipelines.conftest import FRAMES, Sharpener, grey_embed


class Patient(Sharpener):
    """Will not restore the clip's last faces before the first frames were pasted."""

    def __init__(self, first_written: threading.Event) -> None:
        super().__init__()
        self._first_written = first_written
        self.was_written = False

    def restore(self, crops, contexts, noise):
        if self.faces >= FRAMES - 8:
            self.was_written = self._first_written.wait(20)
        return super().restore(crops, contexts, noise)


class Looking:
    """In the observer's place: tells when the first face was pasted."""

    def __init__(self) -> None:
        self.first = threading.Event()
        self.seen: list[int] = []

    def begin(self, *_) -> None:
        pass

    def see(self, before, after, crops) -> None:
        self.seen.append(before.pts)
        self.first.set()


@pytest.fixture
def short_segments(settings) -> RunSettings:
    return replace(settings, restore=replace(settings.restore, segment_seconds=0.5))


def _without_overlap(settings: RunSettings) -> RunSettings:
    return replace(settings, engine=replace(settings.engine, overlap=False))


def test_writing_begins_before_the_last_face_is_restored_and_gives_the_same_file(face_clip, short_segments, tmp_path):
    looking = Looking()
    model = Patient(looking.first)
    beside = restore_video(
        face_clip, tmp_path / "beside.mkv", settings=short_segments, model=model, embed=grey_embed, observer=looking
    )
    assert model.was_written
    assert looking.seen == sorted(looking.seen)
    assert len(looking.seen) == beside.frames_restored
    after = restore_video(
        face_clip, tmp_path / "after.mkv", settings=_without_overlap(short_segments), model=Sharpener(), embed=grey_embed
    )
    assert beside.output.read_bytes() == after.output.read_bytes()
    assert (beside.frames, beside.faces_restored) == (after.frames, after.faces_restored)


def test_without_overlap_nothing_is_written_before_the_last_face(face_clip, short_segments, tmp_path, monkeypatch):
    model, restored_when_written = Sharpener(), []
    take = Renderer._take

    def note(self, frame):
        restored_when_written.append(model.faces)
        take(self, frame)

    monkeypatch.setattr(Renderer, "_take", note)
    restore_video(face_clip, tmp_path / "out.mkv", settings=_without_overlap(short_segments), model=model, embed=grey_embed)
    assert set(restored_when_written) == {model.faces}


def test_an_error_in_writing_ends_the_model_s_work_and_leaves_no_output(face_clip, short_segments, tmp_path):
    class Broken(Looking):
        def see(self, before, after, crops) -> None:
            self.first.set()
            raise ZeroDivisionError("while writing")

    broken = Broken()
    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="while writing"):
        restore_video(
            face_clip,
            tmp_path / "out.mkv",
            settings=short_segments,
            model=Patient(broken.first),
            embed=grey_embed,
            observer=broken,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv.iconface-work"]
    assert threading.active_count() == threads


def test_a_failing_model_ends_the_writing(face_clip, short_segments, tmp_path):
    class Failing(Patient):
        def restore(self, crops, contexts, noise):
            made = super().restore(crops, contexts, noise)
            if self.was_written:
                raise RuntimeError("the model is broken")
            return made

    looking = Looking()
    threads = threading.active_count()
    with pytest.raises(RuntimeError, match="the model is broken"):
        restore_video(
            face_clip, tmp_path / "out.mkv", settings=short_segments, model=Failing(looking.first), embed=grey_embed,
            observer=looking,
        )  # fmt: skip
    assert looking.seen
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv.iconface-work"]
    assert threading.active_count() == threads


def test_at_strength_zero_the_file_waits_for_the_last_face(face_clip, short_segments, tmp_path):
    """Nothing is pasted then, so writing could be done long before restoring: the report must not be."""
    settings = replace(short_segments, render=RenderSettings(strength=0), restore=replace(short_segments.restore, batch=1))
    out = tmp_path / "out.mkv"

    class Watching(Sharpener):
        def restore(self, crops, contexts, noise):
            assert not out.exists()
            return super().restore(crops, contexts, noise)

    model = Watching()
    report = restore_video(face_clip, out, settings=settings, model=model, embed=grey_embed)
    assert out.exists()
    assert report.faces_restored - report.faces_repeated == model.faces


def test_progress_comes_in_the_callers_thread_and_ends(face_clip, short_segments, tmp_path):
    events, threads = [], set()

    def watch(event):
        events.append(event)
        threads.add(threading.current_thread())

    restore_video(
        face_clip, tmp_path / "out.mkv", settings=short_segments, model=Sharpener(), embed=grey_embed, on_progress=watch
    )
    assert threads == {threading.current_thread()}
    last = [event for event in events if event.stage == "render"][-1]
    assert (last.done, last.total) == (FRAMES, FRAMES)


def test_the_gate_lets_through_what_stands_and_stops_when_told():
    stop = threading.Event()
    gate = SegmentGate([0], stop.is_set)
    gate.wait(0)
    threading.Timer(0.05, gate.open, [1]).start()
    gate.wait(1)
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(Cancelled):
        gate.wait(2)


def test_a_small_limit_of_memory_writes_afterwards(face_clip):
    info = replace(probe(face_clip), width=3840, height=2160)

    def plan(size: str | None):
        return plan_memory(RunSettings(engine=EngineSettings(max_memory=size), restore=RestoreSettings(batch=1)), info)

    assert plan(None).overlap
    assert plan("16G").overlap
    with pytest.raises(UsageError) as refused:
        plan("1M")
    least = int(str(refused.value).rpartition(" ")[2].strip("M."))
    assert not plan(f"{least}M").overlap
