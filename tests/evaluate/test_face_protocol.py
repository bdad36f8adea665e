"""Which faces, which damage, which references."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from iconface_video.errors import UsageError
from iconface_video.lab.evaluate.face_protocol import FaceProtocol, load_held_out
from iconface_video.lab.evaluate.face_rows import TableRow, main_row
from iconface_video.lab.evaluate.face_settings import FaceEvaluation, Level, parse_levels, parse_references


@pytest.fixture
def settings(faces_folder) -> FaceEvaluation:
    levels, references = parse_levels("6,9-16"), parse_references("0,2,wrong,truth")
    return FaceEvaluation((str(faces_folder),), count=6, size=64, levels=levels, references=references, batch=4)


def test_words_on_the_command_line():
    assert parse_levels("6, 9-16") == (Level(6, 6), Level(9, 16))
    assert [item.name for item in parse_references("wrong,1,0")] == ["no reference", "1 reference", "1 of another person"]
    assert [item.count for item in parse_references("0,1,3,5,wrong,truth")] == [0, 1, 3, 5, 3, 3]


def test_the_best_of_more_photos_on_the_command_line():
    rows = parse_references("0,3,3of10,wrong")
    assert [(row.key, row.photos) for row in rows] == [("0", 0), ("3", 3), ("3of10", 10), ("wrong", 3)]
    assert rows[2].name == "3 references, the best of 10"
    table = [TableRow(row.key, row.name, row) for row in rows]
    assert main_row(table) == "3"
    assert main_row(table[2:]) == "3of10"


@pytest.mark.parametrize(
    ("parse", "text", "sentence"),
    [
        (parse_levels, "strong", "strength is 'strong', must be a number or a range like 4-8"),
        (parse_levels, "9-4", "the smaller one first"),
        (parse_levels, "30", "must be within 0 and 20"),
        (parse_references, "many", "must be numbers, 3of10, wrong or truth"),
        (parse_references, "3of3", "some of more"),
        (parse_references, "0of3", "some of more"),
        (parse_references, "3of1000", "at most 64"),
    ],
)
def test_slips_are_refused(parse, text, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse(text)


def test_a_slip_in_skip_names_the_nearest(faces_folder):
    with pytest.raises(UsageError, match="Did you mean 'niqe'"):
        FaceEvaluation((str(faces_folder),), skip=frozenset({"nique"}))


def test_references_are_of_the_right_people(settings):
    protocol = FaceProtocol(load_held_out(settings), settings)
    names = protocol.faces.identities
    assert len({choice.truth for choice in protocol.choices}) == 6
    assert {names[choice.truth] for choice in protocol.choices[:2]} == {"anna", "ben"}, (
        "the first faces are of different people"
    )
    for choice in protocol.choices:
        assert choice.truth not in choice.right
        assert [names[i] for i in choice.right] == [names[choice.truth]] * 2
        strangers = {names[i] for i in choice.wrong}
        assert len(strangers) == 1
        assert names[choice.truth] not in strangers


def test_the_gallery_holds_other_photos_of_the_measured_people(settings):
    two = replace(settings, count=2, references=parse_references("0"))
    protocol = FaceProtocol(load_held_out(two), two)
    gallery = protocol.gallery(most=2)
    assert {name: len(photos) for name, photos in gallery.items()} == {"anna": 2, "ben": 2}
    measured = [protocol._plain(choice.truth) for choice in protocol.choices]
    assert not any(np.array_equal(photo, face) for photos in gallery.values() for photo in photos for face in measured)
    everybody = replace(two, count=8)
    assert FaceProtocol(load_held_out(everybody), everybody).gallery() == {}  # no photo is left
    (batch,) = protocol.batches()
    assert sorted(batch.people) == ["anna", "ben"]


def test_the_batch_size_changes_nothing(settings):
    def everything(size: int) -> list[np.ndarray]:
        protocol = FaceProtocol(load_held_out(settings), replace(settings, batch=size))
        parts = [(b.truth, *(protocol.degraded(level, b) for level in settings.levels)) for b in protocol.batches()]
        return [np.concatenate(part) for part in zip(*parts)]

    assert all((a == b).all() for a, b in zip(everything(2), everything(6)))


def test_a_range_spreads_the_faces(settings):
    protocol = FaceProtocol(load_held_out(settings), settings)
    assert sorted(protocol.strengths(Level(9, 14))) == pytest.approx([9, 10, 11, 12, 13, 14])


def test_too_few_photos_are_said(settings):
    many = replace(settings, references=parse_references("9"))
    with pytest.raises(UsageError, match="nobody in the 'val' split has 10 photos"):
        FaceProtocol(load_held_out(many), many)


def test_too_small_pictures_are_said(settings):
    with pytest.raises(OSError, match=r"at least 256 px.*smaller --size"):
        load_held_out(replace(settings, size=256))
