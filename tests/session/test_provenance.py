"""What a kept stage depends on, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from iconface_video.identity.grouping import ReferenceChoice
from iconface_video.session.clip import Clip
from iconface_video.session.networks import Networks
from iconface_video.session.provenance import Provenance, Record, changes, other_releases
from iconface_video.settings import AnchorSettings, ReadSettings, RestoreSettings, RunSettings, SurveySettings
from iconface_video.video.reader import VideoReader
from tests.conftest import ffmpeg
from tests.pipelines.conftest import face_clip, portrait  # noqa: F401 - fixtures


@pytest.fixture
def clip(face_clip: Path) -> Iterator[Clip]:  # noqa: F811
    with VideoReader(face_clip) as reader:
        yield Clip(reader)


def record_of(settings: RunSettings, networks: Networks | None = None) -> Provenance:
    return Provenance(settings, settings, ReferenceChoice(), networks or Networks())


def test_a_survey_depends_on_its_grouping_and_not_on_how_anchors_are_weighed(clip):
    def survey_parts(settings: RunSettings) -> Record:
        return record_of(settings).survey(clip)

    settings = RunSettings()
    before = survey_parts(settings)
    assert survey_parts(replace(settings, anchors=AnchorSettings(temperature=0.5))) == before
    assert survey_parts(replace(settings, anchors=AnchorSettings(same_person_similarity=0.5))) != before
    assert survey_parts(replace(settings, survey=SurveySettings(min_face_px=30.0))) != before


def test_names_on_the_disk_stay_as_they_are(clip):
    """Of work folders, people folders, batch.json: a run goes on from what an earlier release wrote."""
    record = record_of(RunSettings())
    assert set(record.survey(clip)) == {"input", "read", "stretch", "survey", "grouping", "embedder", "libraries"}
    assert set(record.people(clip)) == {"input", "read", "survey", "grouping", "encoder", "libraries"}
    assert set(record.output) == {"settings", "photos", "stretch", "model", "version", "libraries"}
    assert set(record.output["photos"]) == {"shown", "known", "file"}


def test_releases_of_libraries_alone_make_nothing_again_that_is_finished():
    now = {"settings": 1, "libraries": {"torch": "2.6", "av": "17"}}
    assert changes(now, {**now, "libraries": {}}) == []
    assert other_releases({**now, "libraries": {"torch": "2.5", "av": "17"}}, now) == ["torch (2.5 -> 2.6)"]
    assert changes({"settings": 2, "libraries": {}}, now) == ["settings (2 -> 1)"]


def test_a_record_of_the_first_releases_is_read():
    """It does not tell the libraries."""
    now = {"settings": 1, "libraries": {"torch": "2.6"}}
    assert (changes({"settings": 1}, now), other_releases({"settings": 1}, now)) == ([], [])


@pytest.mark.parametrize(("fields", "whole", "interlaced"), [
    ("keep", "auto", "keep"), ("double", "auto", "double"), ("half", "on", "on"), ("weave", "off", "off"),
])  # fmt: skip
def test_how_a_film_is_read_is_recorded_in_the_words_of_the_first_releases(fields, whole, interlaced, clip, tmp_path):
    """So records of films without fields stay good; what "auto" made of fields is none of today's ways."""
    path = tmp_path / "fields.mpg"
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=64x48:rate=50:duration=0.2",
        "-vf",
        "interlace",
        "-c:v",
        "mpeg2video",
        "-flags",
        "+ildct",
        path,
    )
    record = record_of(RunSettings(read=ReadSettings(fields)))
    for film, word in ((clip.info.path, whole), (path, interlaced)):
        with VideoReader(film, ReadSettings(fields)) as reader:
            assert record.clip(Clip(reader))["read"] == {"deinterlace": word}


def test_the_models_files_are_hashed_once(monkeypatch):
    asked = []
    monkeypatch.setattr("iconface_video.session.networks.hash_weights", lambda settings: asked.append(settings) or "hash")
    networks = Networks()
    first, other = RestoreSettings(), RestoreSettings(batch=1, seed=7)
    assert {networks.weights(settings) for settings in (first, other, first)} == {"hash"}
    assert len(asked) == 1
    networks.weights(replace(first, start_sigma=0.5, start_from="embedded"))
    assert len(asked) == 2  # another model takes part
