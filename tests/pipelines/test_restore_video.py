"""The whole recipe on real files: what goes in comes out, only the faces change, and nothing half-written is left."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from iconface_video.errors import Cancelled, ReferencePhotoError, StoreError, UsageError, notes_of
from iconface_video.pipelines.render import render_store
from iconface_video.pipelines.restore import ReferenceChoice, restore_video
from iconface_video.settings import EncodeSettings, RenderSettings, RestoreSettings
from tests.pipelines.conftest import FRAMES, RATE, Sharpener, audio_md5, decode_raw, grey_embed, luma, packet_times


class Refusing(Sharpener):
    """Must not be called."""

    def restore(self, crops, contexts, noise):
        raise AssertionError("the model was run")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, face_clip):
    """One run with its work folder kept, shared by the tests that look at it."""
    from iconface_video.settings import RunSettings, SurveySettings

    folder = tmp_path_factory.mktemp("out")
    settings = RunSettings(
        survey=SurveySettings(detection_size=256, min_track_seconds=0.1),
        restore=RestoreSettings(batch=4),
        encode=EncodeSettings(codec="ffv1", encoder_threads=1),
    )
    events = []
    model = Sharpener()
    report = restore_video(
        face_clip,
        folder / "out.mkv",
        settings=settings,
        model=model,
        embed=grey_embed,
        keep_work=True,
        on_progress=events.append,
    )
    return report, model, events


def test_frames_and_sound_are_the_inputs(finished, face_clip):
    report, _, _ = finished
    assert report.frames == FRAMES
    assert len(decode_raw(report.output)) == FRAMES
    assert audio_md5(report.output) == audio_md5(face_clip)


def test_times_are_the_inputs_in_a_container_that_holds_them(finished, face_clip, tmp_path):
    """MP4, as the input: Matroska knows neither negative times (the sound's priming) nor ticks finer than a millisecond."""
    report, _, _ = finished
    rendered = render_store(report.work, tmp_path / "out.mp4", encode=EncodeSettings(codec="h264", preset="ultrafast"))
    assert packet_times(rendered.output) == packet_times(face_clip)
    assert packet_times(rendered.output, "a:0") == packet_times(face_clip, "a:0")
    assert audio_md5(rendered.output) == audio_md5(face_clip)


def test_the_face_changes_and_nothing_else(finished, face_clip):
    report, _, _ = finished
    before, after = decode_raw(face_clip), decode_raw(report.output)
    changed = luma(before) != luma(after)
    for index in range(2, FRAMES - 2):
        share = changed[index].mean()
        assert 0.05 < share < 0.45
        ys, xs = np.nonzero(changed[index])
        # The portrait's face stands at about (225, 115) of 512 px.
        assert abs(xs.mean() - (225 * 0.6 - 40 + 1.5 * index)) < 14
        assert abs(ys.mean() - (115 * 0.6 + 5 + 0.5 * index)) < 18
        assert not changed[index][:, -40:].any()
        assert not changed[index][-25:].any()


def test_the_report_adds_up(finished, face_clip):
    report, model, _ = finished
    assert report.input == face_clip
    assert (report.tracks, report.people) == (1, 1)
    assert report.faces >= FRAMES - 2
    assert report.faces_restored == report.faces - sum(report.left_alone.values())
    assert report.frames_restored == report.faces_restored
    assert report.faces_repeated == 0
    assert model.faces >= report.faces_restored
    assert set(report.seconds) == {"survey", "anchors", "restore", "render"}
    assert all(value > 0 for value in report.seconds.values())
    assert report.work is not None
    assert report.to_dict()["output"] == str(report.output)


def test_progress_runs_through_all_stages_to_their_ends(finished):
    _, _, events = finished
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages == ["survey", "anchors", "restore", "render"]
    for stage in ("survey", "restore", "render"):
        done = [event.done for event in events if event.stage == stage]
        assert done == sorted(done)
        last = [event for event in events if event.stage == stage][-1]
        assert last.done == last.total


def test_the_model_gets_the_tracks_own_best_frames(finished):
    _, model, _ = finished
    assert model.anchors
    for anchor in model.anchors:  # one for each choice of the frames that are nearest in pose
        assert anchor.origin == "track"
        assert 1 <= len(anchor.references) <= 3
        assert all(picture.shape == (256, 256, 3) for picture in anchor.references)
    assert len({anchor.direction.tobytes() for anchor in model.anchors}) == 1


def test_rendering_again_gives_the_same_without_the_model(finished, tmp_path):
    report, _, _ = finished
    again = render_store(report.work, tmp_path / "again.mkv", encode=EncodeSettings(codec="ffv1", encoder_threads=1))
    assert again.frames == FRAMES
    np.testing.assert_array_equal(decode_raw(again.output), decode_raw(report.output))


def test_rendering_at_half_strength_changes_half_as_much(finished, face_clip, tmp_path):
    report, _, _ = finished
    encode = EncodeSettings(codec="ffv1", encoder_threads=1)
    half = render_store(report.work, tmp_path / "half.mkv", render=RenderSettings(strength=0.5), encode=encode)
    source, full = luma(decode_raw(face_clip)).astype(float), luma(decode_raw(report.output)).astype(float)
    change, half_change = (np.abs(luma(decode_raw(path)) - source).mean() for path in (report.output, half.output))
    assert half_change == pytest.approx(change / 2, rel=0.15)
    assert np.abs(full - source).max() > 10


def test_a_damaged_store_is_named_and_nothing_is_written(finished, tmp_path):
    import shutil

    report, _, _ = finished
    copy = tmp_path / "work"
    shutil.copytree(report.work, copy)
    blobs = next((copy / "crops").glob("*.crops"))
    data = bytearray(blobs.read_bytes())
    data[len(data) // 2] ^= 255
    blobs.write_bytes(data)
    with pytest.raises(StoreError, match=r"segment-00000\.crops: the crop of track 0 at PTS \d+ is damaged"):
        render_store(copy, tmp_path / "out.mkv", encode=EncodeSettings(codec="ffv1"))
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    with pytest.raises(StoreError, match="not a work folder"):
        render_store(tmp_path, tmp_path / "out.mkv")


def test_the_same_run_gives_the_same_bits(finished, face_clip, settings, tmp_path):
    report, _, _ = finished
    second = restore_video(face_clip, tmp_path / "b.mkv", settings=settings, model=Sharpener(), embed=grey_embed)
    np.testing.assert_array_equal(decode_raw(second.output), decode_raw(report.output))
    other_seed = replace(settings, restore=replace(settings.restore, seed=7))
    third = restore_video(face_clip, tmp_path / "c.mkv", settings=other_seed, model=Sharpener(), embed=grey_embed)
    assert not np.array_equal(decode_raw(third.output), decode_raw(report.output))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.mkv", "c.mkv"]


def test_without_a_face_the_video_passes_through_and_it_is_said(empty_clip, settings, tmp_path):
    report = restore_video(empty_clip, tmp_path / "out.mkv", settings=settings, model=Refusing(), embed=grey_embed)
    assert report.faces == report.tracks == report.people == report.faces_restored == 0
    assert any("no face was found" in note for note in report.notes)
    np.testing.assert_array_equal(decode_raw(report.output), decode_raw(empty_clip))
    assert audio_md5(report.output) == audio_md5(empty_clip)


def test_strength_zero_does_no_work_and_changes_nothing(face_clip, settings, tmp_path):
    nothing = replace(settings, render=RenderSettings(strength=0.0))
    report = restore_video(face_clip, tmp_path / "out.mkv", settings=nothing, model=Refusing(), embed=grey_embed)
    np.testing.assert_array_equal(decode_raw(report.output), decode_raw(face_clip))
    assert "survey" not in report.seconds


def test_start_and_end_cut_the_clip(face_clip, settings, tmp_path):
    report = restore_video(
        face_clip,
        tmp_path / "out.mkv",
        settings=settings,
        model=Sharpener(),
        embed=grey_embed,
        start=Fraction(1, 2),
        end=Fraction(1),
    )
    assert report.frames == RATE // 2
    source, part = luma(decode_raw(face_clip)), luma(decode_raw(report.output))
    np.testing.assert_array_equal(part[:, -20:], source[RATE // 2 : RATE, -20:])
    assert float(packet_times(report.output)[0]) == 0
    assert report.faces_restored >= RATE // 2 - 1


def test_parts_that_meet_share_neither_picture_nor_sound_and_lose_none(face_clip, settings, tmp_path):
    untouched = replace(settings, render=RenderSettings(strength=0))
    parts = [
        restore_video(face_clip, tmp_path / f"{name}.mkv", settings=untouched, start=start, end=end)
        for name, start, end in (("a", None, Fraction(1)), ("b", Fraction(1), None))
    ]
    assert [report.frames for report in parts] == [RATE, FRAMES - RATE]
    whole, *halves = (luma(decode_raw(path)) for path in (face_clip, *(report.output for report in parts)))
    np.testing.assert_array_equal(np.concatenate(halves), whole)
    packets = [len(packet_times(path, "a")) for path in (face_clip, *(report.output for report in parts))]
    assert packets[0] == sum(packets[1:])


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        (1, Fraction(1), r"`end` 1 s does not lie after `start` 1 s"),
        (5, None, r"`start` 5 s lies beyond its end"),
        (1, Fraction(1, 2), r"`end` 0\.5 s does not lie after `start` 1 s"),
    ],
)
def test_an_impossible_range_is_refused(face_clip, settings, tmp_path, start, end, sentence):
    with pytest.raises(UsageError, match=sentence):
        restore_video(face_clip, tmp_path / "o.mkv", settings=settings, model=Refusing(), start=Fraction(start), end=end)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["survey", "anchors", "restore", "render"])
def test_stopping_at_any_stage_leaves_no_output_and_keeps_what_is_done(face_clip, settings, tmp_path, stage):
    reached = []
    with pytest.raises(Cancelled) as caught:
        restore_video(
            face_clip, tmp_path / "out.mkv", settings=settings, model=Sharpener(), embed=grey_embed,
            on_progress=lambda event: reached.append(event.stage), should_stop=lambda: stage in reached,
        )  # fmt: skip
    assert reached[-1] == stage
    kept = [] if stage == "survey" else ["out.mkv.iconface-work"]
    assert [path.name for path in tmp_path.iterdir()] == kept
    assert [("the same command goes on from there" in note) for note in notes_of(caught.value)] == [True] * len(kept)
    assert caught.value.exit_code == 130


def test_a_failing_model_leaves_no_output(face_clip, settings, tmp_path):
    with pytest.raises(AssertionError, match="the model was run"):
        restore_video(face_clip, tmp_path / "out.mkv", settings=settings, model=Refusing(), embed=grey_embed)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv.iconface-work"]
    assert list((tmp_path / "out.mkv.iconface-work" / "crops").glob("segment-*")) == []


def test_a_photo_of_the_person_builds_the_anchor(face_clip, settings, tmp_path, portrait):
    cv2.imwrite(str(tmp_path / "ada.png"), np.ascontiguousarray(portrait[..., ::-1]))
    model = Sharpener()
    choice = ReferenceChoice(photos=(tmp_path / "ada.png",))
    report = restore_video(face_clip, tmp_path / "o.mkv", settings=settings, references=choice, model=model, embed=grey_embed)
    (anchor,) = model.anchors
    assert anchor.origin == "user"
    assert len(anchor.references) == 1
    assert any("1 reference photo for person 1 (similarity 0." in note for note in report.notes)


def test_a_photo_without_a_face_is_refused_before_any_work(face_clip, settings, tmp_path):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((300, 300, 3), 99, np.uint8))
    events = []
    with pytest.raises(ReferencePhotoError, match=r"wall\.png: no face was found"):
        restore_video(
            face_clip, tmp_path / "o.mkv", settings=settings, references=ReferenceChoice((tmp_path / "wall.png",)),
            model=Refusing(), embed=grey_embed, on_progress=events.append,
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["wall.png"]
    assert not [event for event in events if event.done]


def test_nobody_fits_the_photo(face_clip, settings, tmp_path, portrait):
    cv2.imwrite(str(tmp_path / "x.png"), np.ascontiguousarray(portrait[..., ::-1]))
    strict = replace(settings, anchors=replace(settings.anchors, min_similarity=0.999))
    with pytest.raises(ReferencePhotoError, match="nobody in the clip looks like this"):
        restore_video(
            face_clip, tmp_path / "o.mkv", settings=strict, references=ReferenceChoice((tmp_path / "x.png",)),
            model=Refusing(), embed=grey_embed,
        )  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.mkv.iconface-work", "x.png"]  # the survey is kept


def test_a_foreign_folder_is_never_taken_for_a_work_folder(face_clip, settings, tmp_path):
    from iconface_video.errors import OutputError

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "wedding.jpg").write_bytes(b"precious")
    with pytest.raises(OutputError, match="is in the way"):
        restore_video(
            face_clip, tmp_path / "o.mkv", settings=settings, model=Refusing(), embed=grey_embed, work=tmp_path / "photos"
        )
    assert (tmp_path / "photos" / "wedding.jpg").read_bytes() == b"precious"


def test_the_real_model_class_runs_from_a_checkpoint(face_clip, settings, tmp_path):
    """Tiny, random weights, through save and load."""
    import torch

    from iconface_video.models.embedded import build_embedded
    from iconface_video.models.saving import save_model

    torch.manual_seed(0)
    tiny = {"num_layers": 1, "num_single_layers": 1, "num_attention_heads": 1}
    save_model(build_embedded(base=tiny).eval(), tmp_path / "model")
    chosen = replace(settings, restore=RestoreSettings(model=str(tmp_path / "model"), steps=1, device="cpu"))
    report = restore_video(face_clip, tmp_path / "o.mkv", settings=chosen, embed=grey_embed, end=Fraction(1, 3))
    assert report.faces_restored >= 3
    assert len(decode_raw(report.output)) == 4
