"""Rows whose people were learnt: from photos that are not measured, and with another person's weights as the control."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iconface_video.errors import UsageError
from iconface_video.lab.evaluate import face_learnt
from iconface_video.lab.evaluate.face_pipeline import evaluate_faces
from iconface_video.lab.evaluate.face_protocol import FaceProtocol, load_held_out
from iconface_video.lab.evaluate.face_settings import FaceEvaluation, parse_levels, parse_personalize, parse_references
from iconface_video.personalize.recipe import PersonalizeSettings

SKIPPED = frozenset({"ssim", "lpips", "niqe", "unsharp", "encoder", "sheets"})


@pytest.fixture
def settings(faces_folder) -> FaceEvaluation:
    given = {"levels": parse_levels("12"), "references": parse_references("0,2"), "personalize": parse_personalize("2")}
    return FaceEvaluation(
        (str(faces_folder),), count=2, size=64, batch=2, identity="embedded", device="cpu", skip=SKIPPED, **given
    )


def test_words_on_the_command_line():
    rows = parse_personalize("3,1")
    assert [row.key for row in rows] == ["learnt-1", "control-1", "learnt-3", "control-3"]
    assert rows[0].name == "learnt from 1 photo"
    assert parse_personalize("") == ()
    with pytest.raises(UsageError, match="must be numbers of photos, 1 to 24"):
        parse_personalize("3,wrong")


def test_photos_to_learn_from_are_not_measured(settings):
    protocol = FaceProtocol(load_held_out(settings), settings)
    measured = {choice.truth for choice in protocol.choices}
    photos = face_learnt._photos(protocol, 3)
    assert sorted(photos) == ["anna", "ben"]
    assert all(len(set(rows) - measured) == 3 for rows in photos.values())
    with pytest.raises(UsageError, match="has 3 photos that are not measured, --personalize needs 4"):
        face_learnt._photos(protocol, 4)


def test_the_report_has_the_rows_beside_the_others(settings, monkeypatch):
    torch.set_num_threads(1)
    quick = PersonalizeSettings(steps=2, faces=2, size=64, rank=4)
    monkeypatch.setattr(face_learnt, "PersonalizeSettings", lambda: quick)
    # One photo is held out: with so few steps it would say that learning did not help.
    monkeypatch.setattr("iconface_video.personalize.person.is_better", lambda learnt, base: True)
    report = evaluate_faces(settings)
    psnr = {key: report.figures[f"psnr/{key}@12"] for key in ("input", "0", "2", "learnt-2", "control-2")}
    assert np.isfinite(list(psnr.values())).all()
    assert len({round(psnr[key], 9) for key in ("2", "learnt-2", "control-2")}) == 3
    assert report.figures["learn_seconds/2"] > 0
    titles = [section.title for section in report.sections]
    assert any(title.startswith("Faces ") for title in titles)
    glance = next(section for section in report.sections if section.title == "At a glance")
    lines = [row[0] for row in glance.items[0].rows]
    assert "GT-ID: what learning from 2 adds to row '2'" in lines
    assert "GT-ID: what another person's weights, 2 photos shown adds to row '2'" in lines
