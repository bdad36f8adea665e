"""What the page is told in numbers."""

from __future__ import annotations

import pytest

from iconface_video.video.probe import probe
from iconface_video.web.facts import clip_facts
from iconface_video.web.record import ClipRecord
from tests.web.conftest import added


def test_a_clip_lasts_until_its_last_frame_is_gone(known_survey, face_clip):
    """Before and after it was looked through; its last frame begins one frame's time earlier."""
    info = probe(face_clip)
    assert info.average_rate is not None
    length = float(known_survey.frame_count / info.average_rate)
    record = ClipRecord(face_clip.name, str(face_clip), 1, 1)
    for found in (None, known_survey):
        assert clip_facts(info, record, found)["seconds"] == pytest.approx(length, abs=0.002)


def test_the_list_says_so_too_and_the_last_moment_can_be_seen(client, face_clip, quick_survey, known_survey):
    project = added(client, face_clip)
    length = client.get(project).json()["clip"]["seconds"]
    assert client.get("/api/projects").json()["projects"][0]["seconds"] == pytest.approx(length)
    rate = known_survey.info.average_rate
    last, near = (client.get(f"{project}/frame?seconds={length - shift}") for shift in (0, float(1 / rate) / 2))
    assert (last.status_code, last.content) == (200, near.content)
