"""The user's word on who is who: obeyed, and carried over when the clip is surveyed again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from iconface_video.errors import ReferencePhotoError, UsageError
from iconface_video.identity.grouping import check_names, match_chosen
from iconface_video.identity.people_choice import apply_people_file, entries_of, migrate, ungrouped
from iconface_video.identity.people_file import PeopleFile, PersonEntry, read_people_file
from iconface_video.identity.references import ReferencePhoto
from iconface_video.settings import AnchorSettings
from iconface_video.types import Survey, Track
from tests.identity.test_people import make_survey, make_track, seen


def face(track_id: int, first: int, last: int, place: int, person: int | None, who: int = 0) -> Track:
    """A track whose box stands at `place` and whose embeddings are those of `who`."""
    track = make_track(track_id, first, last, seen(who or track_id + 1))
    box = np.float32([100 * place, 0, 100 * place + 80, 100])
    return replace(track, person=person, boxes=np.tile(box, (len(track), 1)))


def surveyed() -> Survey:
    """Anna left and Ben right at the same time; then Anna alone, then a stranger."""
    return make_survey(face(0, 0, 99, 0, 0), face(1, 0, 99, 1, 1), face(2, 200, 249, 0, 0), face(3, 300, 349, 0, 2))


def read(folder: Path, text: str) -> PeopleFile:
    (folder / "people.yaml").write_text(text)
    return read_people_file(folder / "people.yaml")


def people_of(survey: Survey) -> list[int | None]:
    return [track.person for track in survey.tracks]


def test_names_splits_merges_and_skips(tmp_path):
    (tmp_path / "anna.jpg").touch()
    text = """
people:
- {person: 1, name: Anna, photos: anna.jpg, tracks: [1]}
- {person: 2, name: Ben, skip: yes, learn: no, tracks: [2]}
- {person: 3, same_as: Ben, photos: anna.jpg, tracks: [4]}
- {name: Carla, learn: on, tracks: [3]}
"""
    chosen = apply_people_file(read(tmp_path, text), surveyed())
    assert people_of(chosen.survey) == [0, 1, 3, 1]
    assert chosen.names == {0: "Anna", 1: "Ben", 3: "Carla"}
    assert chosen.left_alone == {1: "skipped by you (Ben)", 3: "skipped by you (Ben)"}
    assert set(chosen.photos) == {0, 1}
    assert chosen.learn == {1: False, 3: True}
    assert chosen.notes == ()


def test_tracks_that_stand_nowhere_belong_to_nobody_and_that_is_said(tmp_path):
    chosen = apply_people_file(
        read(tmp_path, "people:\n- {person: 1, tracks: [1, 3]}\n- {person: 7, name: Zoe}\nnobody: [4]\n"), surveyed()
    )
    assert people_of(chosen.survey) == [0, None, 0, None]
    assert any("track 2 stand at nobody" in note for note in chosen.notes)
    assert any("Zoe has no tracks" in note for note in chosen.notes)
    assert chosen.title(2) == "person 3"


def test_one_person_twice_at_the_same_time_is_said(tmp_path):
    chosen = apply_people_file(read(tmp_path, "people:\n- {person: 1, name: Anna, tracks: [1, 2, 3, 4]}\n"), surveyed())
    assert any("Anna is seen twice at the same time (tracks 1, 2)" in note for note in chosen.notes)


def test_unknown_tracks_are_refused_with_what_there_is(tmp_path):
    with pytest.raises(UsageError, match=r"people\.yaml, line 2 \(person 1 'Al'\): there is no track 9 .* 1 to 4"):
        apply_people_file(read(tmp_path, "people:\n- {person: 1, name: Al, tracks: [9]}\n"), surveyed())
    with pytest.raises(UsageError, match=r"under 'nobody': there is no track 5"):
        apply_people_file(read(tmp_path, "people: []\nnobody: [5]\n"), surveyed())


def as_written(survey: Survey) -> PeopleFile:
    return PeopleFile(Path("people.yaml"), None, "", tuple(entries_of(survey)), tuple(ungrouped(survey)))


def changed(file: PeopleFile, number: int, **what) -> PeopleFile:
    return replace(file, entries=tuple(replace(item, **what) if item.number == number else item for item in file.entries))


def test_an_untouched_file_is_replaced_by_the_newer_survey():
    newer = make_survey(face(0, 0, 99, 0, 1), face(1, 0, 99, 1, 0))
    carried = migrate(as_written(surveyed()), surveyed(), newer)
    assert [(item.number, item.tracks) for item in carried.entries] == [(1, (2,)), (2, (1,))]
    assert carried.notes == ()


def test_names_and_moves_go_with_the_faces_whatever_their_numbers_are():
    file = changed(as_written(surveyed()), 1, name="Anna")
    file = changed(file, 2, tracks=(2, 4), skip=True)  # the stranger is Ben, says the user
    file = changed(file, 3, tracks=())
    newer = make_survey(  # the right face is found first, Anna's first track falls into two, one new face at the end
        face(0, 0, 99, 1, 1), face(1, 0, 49, 0, 0), face(2, 52, 99, 0, 2), face(3, 200, 249, 0, 0), face(4, 300, 349, 0, 3),
        face(5, 400, 420, 0, 4),
    )  # fmt: skip
    carried = migrate(file, surveyed(), newer)
    by_number = {item.number: item for item in carried.entries}
    assert (by_number[1].name, by_number[1].tracks) == ("Anna", (2, 3, 4))
    assert (by_number[2].skip, by_number[2].tracks) == (True, (1, 5))
    assert [item.tracks for number, item in by_number.items() if number > 3] == [(6,)]
    assert carried.nobody == ()


def test_a_new_face_joins_its_mates_but_never_someone_seen_beside_it():
    file = changed(as_written(surveyed()), 1, name="Anna")
    newer = make_survey(face(0, 0, 99, 0, 0), face(1, 0, 99, 1, 0), face(2, 400, 420, 0, 1), face(3, 200, 249, 0, 1))
    carried = migrate(file, surveyed(), newer)
    anna = next(item for item in carried.entries if item.name == "Anna")
    assert anna.tracks == (1, 3, 4)  # track 3 was grouped with her second appearance; track 2 stands beside her first


def test_who_is_not_found_again_is_kept_and_said():
    file = changed(changed(as_written(surveyed()), 3, name="Stranger"), 2, learn=False)
    carried = migrate(file, surveyed(), make_survey(face(0, 0, 99, 0, 0)))
    assert ("Stranger", ()) in [(item.name, item.tracks) for item in carried.entries]
    assert (2, False) in [(item.number, item.learn) for item in carried.entries]
    kept = "was not found again; what you wrote is kept"
    assert carried.notes == (f"person 2 {kept}", f"person 3 'Stranger' {kept}")


def test_a_merge_keeps_its_target():
    file = changed(as_written(surveyed()), 3, same_as=1)
    carried = migrate(file, surveyed(), surveyed())
    assert [(item.number, item.same_as, item.tracks) for item in carried.entries] == [
        (1, None, (1, 3)),
        (2, None, (2,)),
        (3, 1, (4,)),
    ]


def photo(who: int, name: str | None = None, number: int = 0) -> ReferencePhoto:
    return ReferencePhoto(Path(f"{who}-{number}.jpg"), np.zeros((8, 8, 3), np.uint8), seen(who, 1 + number)[0], (), name)


def chosen_people(tmp_path: Path, *extra: str):
    text = "people:\n- {person: 1, name: Anna, tracks: [1, 3]}\n- {person: 2, name: Ben, tracks: [2]}\n- {person: 3, tracks: [4]%s}\n"
    return apply_people_file(read(tmp_path, text % "".join(extra)), make_survey(
        face(0, 0, 99, 0, 0, who=1), face(1, 0, 99, 1, 1, who=2), face(2, 200, 249, 0, 0, who=1), face(3, 300, 349, 0, 2, who=3),
    ))  # fmt: skip


def test_a_name_of_the_file_needs_no_likeness_and_the_rest_is_matched(tmp_path):
    chosen = chosen_people(tmp_path)
    matches, notes = match_chosen(chosen, {0: [photo(1)]}, [photo(2, "BEN"), photo(3), photo(1, number=4)], AnchorSettings())
    assert {match.person: len(match.photos) for match in matches} == {0: 2, 1: 1, 2: 1}
    assert {match.person: match.name for match in matches} == {0: "Anna", 1: "Ben", 2: None}
    assert all(match.score > 0.6 > match.rival_score for match in matches)
    assert notes == []


def test_a_photo_at_the_wrong_person_is_used_as_told_and_doubted(tmp_path):
    matches, notes = match_chosen(chosen_people(tmp_path), {0: [photo(2)]}, [], AnchorSettings())
    assert [match.person for match in matches] == [0]
    assert len(notes) == 1
    assert "the photos of Anna look more like Ben (0." in notes[0]


def test_nobody_is_matched_to_who_is_skipped(tmp_path):
    chosen = chosen_people(tmp_path, ", skip: true")
    with pytest.raises(ReferencePhotoError, match="nobody in the clip looks like this"):
        match_chosen(chosen, {}, [photo(3)], AnchorSettings())
    assert match_chosen(chosen, {2: [photo(3)]}, [], AnchorSettings()) == ([], [])


def test_a_name_that_the_file_does_not_have(tmp_path):
    check_names(["anna"], chosen_people(tmp_path))
    with pytest.raises(UsageError, match=r"`person` Ana: the people file names nobody so\. Did you mean 'Anna'\?"):
        check_names(["Ana"], chosen_people(tmp_path))
    check_names(
        ["Ana"], apply_people_file(PeopleFile(Path("p.yaml"), None, "", (PersonEntry(1, tracks=(1, 2, 3, 4)),)), surveyed())
    )
