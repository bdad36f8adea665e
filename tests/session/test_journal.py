"""The journal: what was noted is there after any crash, and nothing else is believed."""

from __future__ import annotations

import os

import pytest

from iconface_video.errors import StoreError
from iconface_video.session import journal as journal_module
from iconface_video.session.journal import JOURNAL, Journal

PARTS = {"input": "a" * 64, "settings": {"seed": 42, "noise": "fixed"}}


def write_files(folder, **contents: bytes) -> list[str]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return list(contents)


@pytest.fixture
def filled(tmp_path):
    """A survey and three segments done."""
    journal = Journal(tmp_path)
    assert journal.is_empty
    journal.finish("survey", PARTS, write_files(tmp_path, survey=b"faces"), notes=["ä note"])
    assert journal.begin_segments(PARTS) == {}
    for index in range(3):
        journal.finish_segment(index, write_files(tmp_path, **{f"segment{index}": bytes([index])}), {"restored": index})
    return tmp_path


def test_what_is_done_is_found_by_the_next_run(filled):
    journal = Journal(filled)
    assert not journal.is_empty
    assert journal.find("survey", PARTS) == {"notes": ["ä note"]}
    assert journal.find("anchors", PARTS) is None
    assert journal.begin_segments(PARTS) == {0: {"restored": 0}, 1: {"restored": 1}, 2: {"restored": 2}}
    assert journal.take_notes() == []


def test_cut_off_anywhere_it_holds_a_beginning_of_what_was_noted_and_goes_on(filled):
    """As after a power cut in mid-write: every length of the file."""
    whole = (filled / JOURNAL).read_bytes()
    seen = set()
    for length in [*range(0, len(whole), 7), len(whole)]:
        (filled / JOURNAL).write_bytes(whole[:length])
        journal = Journal(filled)
        has_survey = journal.find("survey", PARTS) is not None
        segments = journal.begin_segments(PARTS)
        assert list(segments) == list(range(len(segments)))
        assert has_survey or not segments
        journal.finish_segment(7, ["segment0"], {"restored": 7})
        assert Journal(filled).begin_segments(PARTS) == {**segments, 7: {"restored": 7}}
        seen.add((has_survey, len(segments)))
    assert seen == {(False, 0), (True, 0), (True, 1), (True, 2), (True, 3)}


def test_a_damaged_line_hides_itself_alone(filled):
    lines = (filled / JOURNAL).read_bytes().splitlines(keepends=True)
    damaged = lines[4].replace(b'"restored": 1', b'"restored": 9')
    assert damaged != lines[4]
    (filled / JOURNAL).write_bytes(b"".join([*lines[:4], damaged, *lines[5:]]))
    journal = Journal(filled)
    assert journal.begin_segments(PARTS) == {0: {"restored": 0}, 2: {"restored": 2}}
    assert journal.take_notes() == ["the journal of an earlier run is damaged (1 of 6 lines): what it told there is made again"]
    journal.finish_segment(1, ["segment1"], {"restored": 1})
    again = Journal(filled)
    assert sorted(again.begin_segments(PARTS)) == [0, 1, 2]
    assert again.take_notes() == []


def test_without_the_line_that_began_them_segments_are_not_taken_for_others(filled):
    other = {"input": "b" * 64}
    journal = Journal(filled)
    journal.begin_segments(other)
    journal.finish_segment(0, ["segment0"], {"restored": 7})
    lines = (filled / JOURNAL).read_bytes().splitlines(keepends=True)
    (filled / JOURNAL).write_bytes(b"".join([*lines[:-2], b"?" + lines[-2][1:], lines[-1]]))
    assert Journal(filled).begin_segments(other) == {0: {"restored": 7}}
    assert Journal(filled).begin_segments(PARTS) == {}


def test_files_that_do_not_match_their_checksums_are_made_again(filled):
    (filled / "segment1").write_bytes(b"x")
    (filled / "segment2").unlink()
    (filled / "survey").write_bytes(b"races")
    journal = Journal(filled)
    assert journal.find("survey", PARTS) is None
    assert journal.begin_segments(PARTS) == {0: {"restored": 0}}
    assert journal.take_notes() == [
        "the survey kept from an earlier run is damaged: it is made again",
        "segments 1, 2 damaged in the store: made again",
    ]


def test_work_of_other_settings_is_not_mixed_in_and_the_change_is_named(filled):
    other = {"input": "b" * 64, "settings": {"seed": 7, "noise": "fixed"}}
    journal = Journal(filled)
    assert journal.find("survey", other) is None
    assert journal.begin_segments(other) == {}
    survey, faces = journal.take_notes()
    assert survey == "the survey of an earlier run is not used: changed input, settings.seed (42 -> 7)"
    assert faces == "the restored faces of an earlier run are not used: changed input, settings.seed (42 -> 7)"
    journal.finish_segment(1, ["segment1"], {"restored": 5})
    assert Journal(filled).begin_segments(other) == {1: {"restored": 5}}
    back = Journal(filled)
    assert back.begin_segments(PARTS) == {}
    assert len(back.take_notes()) == 1


def test_another_version_is_not_believed(filled, monkeypatch):
    monkeypatch.setattr(journal_module, "VERSION", journal_module.VERSION + 1)
    journal = Journal(filled)
    assert journal.is_empty
    assert "another version of this program" in journal.take_notes()[0]
    journal.finish("survey", PARTS, ["survey"])
    assert Journal(filled).find("survey", PARTS) == {}
    monkeypatch.undo()
    assert Journal(filled).is_empty


@pytest.mark.parametrize("after", [0, 10])
def test_a_full_disk_while_noting_names_the_file_and_leaves_the_journal_whole(filled, monkeypatch, after):
    real = os.write

    def full(descriptor, data):
        if after and len(data) > after:
            return real(descriptor, data[:after])
        raise OSError(28, "No space left on device")

    journal = Journal(filled)
    with monkeypatch.context() as patch:
        patch.setattr(journal_module.os, "write", full)
        with pytest.raises(StoreError, match=r"journal\.jsonl: cannot be written \(No space left on device\)"):
            journal.finish_segment(5, ["segment0"], {"restored": 5})
    assert sorted(Journal(filled).begin_segments(PARTS)) == [0, 1, 2]
    journal.finish_segment(6, ["segment0"], {"restored": 6})
    assert sorted(Journal(filled).begin_segments(PARTS)) == [0, 1, 2, 6]
