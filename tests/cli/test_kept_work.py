"""What the command line says when a run ends early: where the work is kept, and how to go on."""

from __future__ import annotations

import pytest

from iconface_video.cli.main import main
from iconface_video.errors import EncodeError, add_note, notes_of
from iconface_video.pipelines import restore

KEPT = "What is done so far is kept in out.mp4.iconface-work: the same command goes on from there."


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "error: stopped; nothing was written under the output's name. " + KEPT),
        (EncodeError("out.mp4: writing failed."), 1, "error: out.mp4: writing failed. " + KEPT),
        (RuntimeError("no idea"), 1, "error: unexpected RuntimeError: no idea. Run it again with --debug for details. " + KEPT),
    ],
)
def test_the_note_of_any_end_reaches_the_user(error, code, sentence, face_clip, monkeypatch, capsys):
    add_note(error, KEPT)
    assert notes_of(error) == [KEPT]

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(restore, "restore_video", fail)
    assert main(["run", str(face_clip)]) == code
    assert capsys.readouterr().err == sentence + "\n"
