"""Who is in it, on a real clip with two people: found, written, edited, obeyed. The second person is the portrait in green light."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from iconface_video import find_people
from iconface_video.cli.main import main
from iconface_video.errors import IconFaceError, ReferencePhotoError, StoreError, UsageError
from iconface_video.identity.grouping import ReferenceChoice
from iconface_video.pipelines.restore import restore_video
from iconface_video.restore.crop_store import SegmentCrops, read_header
from iconface_video.settings import EncodeSettings, RestoreSettings, RunSettings, SurveySettings
from tests.pipelines.conftest import HEIGHT, WIDTH, Sharpener, decode_raw, luma, write_clip

SHOT_FRAMES = 8
SETTINGS = RunSettings(
    survey=SurveySettings(detection_size=256, min_track_seconds=0.1),
    restore=RestoreSettings(batch=4),
    encode=EncodeSettings(codec="ffv1", encoder_threads=1),
)


def light_embed(crops) -> np.ndarray:
    """Somebody in red light, somebody in green light: the color of the skin as a direction, and a little of the picture."""
    found = np.zeros((len(crops), 512), np.float32)
    for row, crop in enumerate(crops):
        side = len(crop)
        red, green, _ = crop[side // 3 : -side // 3, side // 3 : -side // 3].reshape(-1, 3).mean(axis=0)
        found[row, 0 if red > green else 1] = 10.0
        found[row, 2:18] = cv2.resize(crop, (4, 4), interpolation=cv2.INTER_AREA)[..., 1].ravel() / 64.0
    return found


def never_embed(crops) -> np.ndarray:
    raise AssertionError("the clip was surveyed")


@pytest.fixture(scope="module")
def green(portrait) -> np.ndarray:
    return np.clip(portrait * np.array([0.55, 1.0, 0.6]), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def two_people(tmp_path_factory, portrait, green) -> Path:
    """Three shots of 8 frames: both side by side, red alone, green alone on another ground."""
    pictures = []
    for index in range(3 * SHOT_FRAMES):
        shot = index // SHOT_FRAMES
        ground = ((90, 100, 110), (200, 190, 180), (30, 20, 60))[shot]
        picture = np.full((HEIGHT, WIDTH, 3), ground, np.uint8)
        for face, place in {0: ((portrait, 0), (green, 1)), 1: ((portrait, 0),), 2: ((green, 0),)}[shot]:
            part = np.ascontiguousarray(face[10:280, 110:370])
            move = np.float32([[0.48, 0, 2 + 126 * place + 0.3 * index], [0, 0.48, 20 + 0.2 * index]])
            cv2.warpAffine(part, move, (WIDTH, HEIGHT), picture, cv2.INTER_AREA, cv2.BORDER_TRANSPARENT)
        pictures.append(picture)
    return write_clip(tmp_path_factory.mktemp("two") / "two.mp4", pictures, audio=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory, two_people) -> Path:
    """The folder that `people` wrote; copied by the tests that edit it."""
    folder = tmp_path_factory.mktemp("made") / "two.people"
    find_people(two_people, folder, settings=SETTINGS, embed=light_embed)
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "two.people"))


def edit(folder: Path, change) -> None:
    """As a person does: only what the file holds, by hand."""
    path = folder / "people.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    change({item["person"]: item for item in values["people"]}, values)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")


def run(clip: Path, out: Path, folder: Path, model=None, **choice):
    references = ReferenceChoice(file=folder / "people.yaml", **choice)
    return restore_video(
        clip, out, settings=SETTINGS, references=references, model=model or Sharpener(), embed=light_embed, keep_work=True
    )


def stored_crops(work: Path) -> dict[tuple[int, int], bytes]:
    """(track, PTS) -> the restored crop, as it is stored."""
    segments = read_header(work / "crops").segments
    stored = [crop for segment in segments for crop in SegmentCrops(work / "crops", segment.index)]
    return {(crop.track_id, crop.pts): crop.image.tobytes() for crop in stored}


def test_two_people_over_three_shots(made):
    values = yaml.safe_load((made / "people.yaml").read_text(encoding="utf-8"))
    assert [item["person"] for item in values["people"]] == [1, 2]
    assert [len(item["tracks"]) for item in values["people"]] == [2, 2]
    assert sorted(number for item in values["people"] for number in item["tracks"]) == [1, 2, 3, 4]
    assert "<html" in (made / "people.html").read_text(encoding="utf-8")
    assert cv2.imread(str(made / "people.png")) is not None


def test_nobody_is_surveyed_again_and_nothing_written_is_lost(two_people, folder):
    edit(folder, lambda people, _: people[2].update(name="Greta", skip=True))
    before = (folder / "people.yaml").read_bytes()
    found = find_people(two_people, folder, settings=SETTINGS, embed=never_embed)
    assert (folder / "people.yaml").read_bytes() == before
    assert [person.title for person in found.people] == ["Person 1", "Greta"]
    assert "Greta" in (folder / "people.html").read_text(encoding="utf-8")
    assert any("as you left it" in note for note in found.notes)


def test_other_settings_survey_again_and_carry_over(two_people, folder):
    edit(folder, lambda people, _: people[2].update(name="Greta"))
    greta = {item["name"]: item["tracks"] for item in yaml.safe_load((folder / "people.yaml").read_text())["people"]}["Greta"]
    other = replace(SETTINGS, survey=replace(SETTINGS.survey, detection_size=240))
    found = find_people(two_people, folder, settings=other, embed=light_embed)
    assert found.choice.names == {1: "Greta"}
    assert [person.tracks for person in found.people if person.name] == [tuple(greta)]
    assert "Greta" in (folder / "people.before.yaml").read_text(encoding="utf-8")
    assert any("detection_size (256 -> 240)" in note for note in found.notes)


def test_starting_over_keeps_the_old_file(two_people, folder):
    (folder / "people.yaml").write_text("people:\n- person: 1\n  nmae: Greta\n")
    with pytest.raises(UsageError, match=r"unknown entry 'nmae'.*`force`"):
        find_people(two_people, folder, settings=SETTINGS, embed=never_embed)
    find_people(two_people, folder, settings=SETTINGS, embed=light_embed, force=True)
    assert "nmae" in (folder / "people.before.yaml").read_text()
    assert "nmae" not in (folder / "people.yaml").read_text()
    assert len(list(folder.glob("survey-*"))) == 1


def test_the_survey_is_not_made_again_for_a_run(two_people, folder, tmp_path):
    report = restore_video(
        two_people, tmp_path / "o.mkv", settings=SETTINGS, model=Sharpener(), embed=light_embed,
        references=ReferenceChoice(file=folder / "people.yaml"),
    )  # fmt: skip
    assert "survey" not in report.seconds
    assert (report.tracks, report.people) == (4, 2)
    assert report.faces_restored == report.faces - sum(report.left_alone.values())


def test_a_skipped_person_stays_as_it_is_and_the_report_says_so(two_people, folder, tmp_path):
    edit(folder, lambda people, _: people[2].update(name="Greta", skip=True))
    report = run(two_people, tmp_path / "o.mkv", folder)
    assert set(report.left_alone) == {"skipped by you (Greta)"}
    assert report.left_alone["skipped by you (Greta)"] == report.faces - report.faces_restored
    assert report.people == 2
    changed = luma(decode_raw(two_people)) != luma(decode_raw(report.output))
    people = yaml.safe_load((folder / "people.yaml").read_text())["people"]
    greta_right = 2 in people[1]["tracks"]  # tracks 1 and 2 stand left and right in the first shot
    half = slice(WIDTH // 2 + 14, None) if greta_right else slice(0, WIDTH // 2 - 14)
    assert not changed[:SHOT_FRAMES, :, half].any()
    assert changed[:SHOT_FRAMES].any()
    alone = changed[SHOT_FRAMES : 2 * SHOT_FRAMES].any(), changed[2 * SHOT_FRAMES :].any()
    assert sorted(alone) == [False, True]


def by_person(model: Sharpener) -> dict[bytes, str]:
    """Direction -> origin of the anchors that the model was given: one person's comes once for each choice of its pictures."""
    return {anchor.direction.tobytes(): anchor.origin for anchor in model.anchors}


def test_a_photo_of_one_person_changes_only_that_persons_crops(two_people, folder, tmp_path, portrait, green):
    plain = run(two_people, tmp_path / "plain.mkv", folder)
    cv2.imwrite(str(folder / "greta.jpg"), green[..., ::-1])
    edit(folder, lambda people, _: people[2].update(name="Two", photos=["greta.jpg"]))
    model = Sharpener()
    helped = run(two_people, tmp_path / "helped.mkv", folder, model=model)
    tracks = {item["person"]: item["tracks"] for item in yaml.safe_load((folder / "people.yaml").read_text())["people"]}
    assert sorted(by_person(model).values()) == ["track", "user"]
    assert any("1 reference photo for Two (similarity " in note for note in helped.notes)
    before, after = stored_crops(plain.work), stored_crops(helped.work)
    assert before.keys() == after.keys()
    others = [key for key in before if key[0] + 1 in tracks[1]]
    assert others
    assert all(before[key] == after[key] for key in others)


def test_a_merge_makes_one_anchor_and_a_split_makes_two(two_people, folder, tmp_path):
    def merge(people, _):
        people[2]["same_as"] = 1

    edit(folder, merge)
    model = Sharpener()
    report = run(two_people, tmp_path / "merged.mkv", folder, model=model)
    assert (report.people, len(by_person(model))) == (1, 1)
    assert any("is seen twice at the same time" in note for note in report.notes)

    def split(people, values):
        people[2]["same_as"] = None
        values["people"].append({"name": "New", "tracks": [people[1]["tracks"].pop()]})

    edit(folder, split)
    model = Sharpener()
    report = run(two_people, tmp_path / "split.mkv", folder, model=model)
    assert (report.people, len(by_person(model))) == (3, 3)


def test_a_stretch_is_restored_with_the_whole_clips_people(two_people, folder, tmp_path):
    report = restore_video(
        two_people, tmp_path / "o.mkv", settings=SETTINGS, model=Sharpener(), embed=light_embed,
        references=ReferenceChoice(file=folder / "people.yaml"), start=Fraction(SHOT_FRAMES, 12), end=Fraction(SHOT_FRAMES + 3, 12),
    )  # fmt: skip
    assert report.frames == 3
    assert (report.tracks, report.faces) == (1, 3)
    assert report.faces_restored >= 2


def test_run_surveys_again_for_other_settings_and_says_what_to_do(two_people, folder, tmp_path):
    edit(folder, lambda people, _: people[2].update(name="Greta", skip=True))
    other = replace(SETTINGS, survey=replace(SETTINGS.survey, detection_size=240))
    report = restore_video(
        two_people, tmp_path / "o.mkv", settings=other, model=Sharpener(), embed=light_embed,
        references=ReferenceChoice(file=folder / "people.yaml"),
    )  # fmt: skip
    assert set(report.left_alone) == {"skipped by you (Greta)"}
    assert any("surveyed again" in note and "detection_size (256 -> 240)" in note for note in report.notes)


def test_another_clip_is_refused(face_clip, folder, tmp_path):
    for attempt in (
        lambda: run(face_clip, tmp_path / "o.mkv", folder),
        lambda: find_people(face_clip, folder, settings=SETTINGS),
    ):
        with pytest.raises(UsageError, match=r"people\.yaml: does not fit .*face\.mp4: it is about two\.mp4"):
            attempt()
    assert not (tmp_path / "o.mkv").exists()


def test_a_file_without_its_survey_is_refused(two_people, folder, tmp_path):
    alone = tmp_path / "people.yaml"
    shutil.copy(folder / "people.yaml", alone)
    with pytest.raises(StoreError, match=r"people\.yaml: the folder 'survey-[0-9a-f]{16}' is not beside it"):
        run(two_people, tmp_path / "o.mkv", tmp_path)
    (survey,) = folder.glob("survey-*")
    (survey / "made-from.json").write_text("{")
    with pytest.raises(StoreError, match=r"made-from\.json: missing or damaged"):
        run(two_people, tmp_path / "o.mkv", folder)


def test_a_photo_without_a_face_names_itself(two_people, folder, tmp_path):
    cv2.imwrite(str(folder / "wall.jpg"), np.full((200, 200, 3), 99, np.uint8))
    edit(folder, lambda people, _: people[1].update(photos="wall.jpg"))
    with pytest.raises(ReferencePhotoError, match=r"wall\.jpg: no face was found"):
        run(two_people, tmp_path / "o.mkv", folder)
    assert not (tmp_path / "o.mkv").exists()


def test_stopping_leaves_what_the_user_wrote(two_people, folder):
    from iconface_video.errors import Cancelled

    edit(folder, lambda people, _: people[2].update(name="Greta"))
    before = (folder / "people.yaml").read_bytes()
    other = replace(SETTINGS, survey=replace(SETTINGS.survey, detection_size=200))
    with pytest.raises(Cancelled):
        find_people(two_people, folder, settings=other, embed=light_embed, should_stop=lambda: True)
    assert (folder / "people.yaml").read_bytes() == before


def test_the_commands_from_the_first_look_to_the_obeyed_file(two_people, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("iconface_video.session.networks.load_embedder", lambda: light_embed)
    monkeypatch.setattr("iconface_video.session.networks.load_restorer", lambda settings: Sharpener())
    folder, options = tmp_path / "who", ["--detection-size", "256", "--min-track-seconds", "0.1"]
    assert main(["people", str(two_people), "-o", str(folder), "--json", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [person["tracks"] for person in told["people"]] == [
        item["tracks"] for item in yaml.safe_load((folder / "people.yaml").read_text())["people"]
    ]
    edit(folder, lambda people, _: people[1].update(name="Rosa"))
    clip, file = str(two_people), str(folder / "people.yaml")
    slip = ["run", clip, "-o", str(tmp_path / "o.mkv"), "--people", file, "--person", f"Rossa={tmp_path}", *options]
    assert main(slip) == 2
    assert "Did you mean 'Rosa'?" in capsys.readouterr().err
    assert main(["run", clip, "--people", file.replace("people.yaml", "peple.yaml")]) == 2
    assert "Did you mean 'people.yaml'?" in capsys.readouterr().err
    assert main(["run", clip, "-o", str(tmp_path / "o.mkv"), "--people", file, "--codec", "ffv1", *options]) == 0
    assert "2 people" in capsys.readouterr().out


def test_every_refusal_is_one_of_ours(two_people, folder, tmp_path):
    (folder / "people.yaml").write_text("people: [")
    with pytest.raises(IconFaceError, match="not valid YAML"):
        run(two_people, tmp_path / "o.mkv", folder)


def test_a_folder_of_the_first_releases_stays_good(folder, two_people, tmp_path):
    """They knew a video by samples of it."""
    (place,) = folder.glob("survey-*")
    made_from = json.loads((place / "made-from.json").read_text())
    size, data = two_people.stat().st_size, two_people.read_bytes()
    samples = [data[: 1 << 20], data[size // 2 :][: 1 << 20], data[-(1 << 20) :]]
    made_from["input"] = hashlib.sha256(b"".join([str(size).encode(), *samples])).hexdigest()
    (place / "made-from.json").write_text(json.dumps(made_from))
    before = (folder / "people.yaml").read_bytes()
    find_people(two_people, folder, settings=SETTINGS, embed=never_embed)
    assert (folder / "people.yaml").read_bytes() == before
    other = tmp_path / "other.mp4"
    other.write_bytes(data + b"\0\0\0\x08free")
    with pytest.raises(UsageError, match="does not fit"):
        find_people(other, folder, settings=SETTINGS, embed=never_embed)


@pytest.mark.parametrize("libraries", [None, {"torch": "0.1"}])
def test_releases_of_libraries_make_no_new_survey(libraries, folder, two_people):
    """Nor do the first releases, which did not note them."""
    (place,) = folder.glob("survey-*")
    made_from = json.loads((place / "made-from.json").read_text())
    assert made_from.pop("libraries")["torch"]
    (place / "made-from.json").write_text(json.dumps({**made_from, **({"libraries": libraries} if libraries else {})}))
    before = (folder / "people.yaml").read_bytes()
    find_people(two_people, folder, settings=SETTINGS, embed=never_embed)
    assert (folder / "people.yaml").read_bytes() == before


def test_starting_over_twice_loses_nothing_of_what_was_written(two_people, folder):
    edit(folder, lambda people, _: people[2].update(name="Greta"))
    (folder / "survey-summer").mkdir()
    (folder / "survey-summer" / "a.jpg").write_text("mine")
    for _ in range(2):
        find_people(two_people, folder, settings=SETTINGS, embed=light_embed, force=True)
    assert "Greta" in (folder / "people.before-2.yaml").read_text(encoding="utf-8")
    assert "Greta" not in (folder / "people.before.yaml").read_text(encoding="utf-8")
    assert (folder / "survey-summer" / "a.jpg").read_text() == "mine"


def test_pictures_of_another_make_are_not_replaced(two_people, tmp_path):
    (tmp_path / "people.png").write_text("mine")
    with pytest.raises(UsageError, match=r"people\.png: exists already"):
        find_people(two_people, tmp_path, settings=SETTINGS, embed=never_embed)
    assert [path.name for path in tmp_path.iterdir()] == ["people.png"]
