"""Projects outlive the server: what is decided, found and restored stands on the disk, and what was not done is gone on with."""

from __future__ import annotations

import json
import shutil
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from iconface_video.configs import load_preset
from iconface_video.errors import OutputError, UsageError
from iconface_video.personalize.library import FOLDER_VARIABLE
from iconface_video.video.display_light import shown_rgb as frame_to_rgb
from iconface_video.video.probe import probe
from iconface_video.video.reader import VideoReader
from iconface_video.web import project as project_module
from iconface_video.web.engine import Engine
from iconface_video.web.projects import Projects
from iconface_video.web.serving import ServeSettings
from tests.conftest import ffmpeg
from tests.pipelines.conftest import Sharpener
from tests.pipelines.test_fields import FIELDS, interlaced
from tests.web.conftest import NoModels, added, files_under, put_clip, serving, wait_until_idle


class Counting(NoModels):
    """With one model for all jobs, which counts the faces that it restores."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Sharpener()

    def restorer(self, settings):
        return self.model


class Seeing(Counting):
    """The same, with the real detector and identity encoder."""

    def __init__(self, real: Engine) -> None:
        super().__init__()
        self.real = real

    @property
    def embed(self):
        return self.real.embed

    def read_reference(self, path):
        return self.real.read_reference(path)


class Gate(Sharpener):
    """A model that stops before its third call until it is let on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.is_there, self.may_go_on = threading.Event(), threading.Event()

    def restore(self, *given):
        self.calls += 1
        if self.calls == 3:
            self.is_there.set()
            self.may_go_on.wait(120)
        return super().restore(*given)


@pytest.fixture(scope="module")
def tape_clip(tmp_path_factory) -> Path:
    """The first second of the sample."""
    path = tmp_path_factory.mktemp("clip") / "tape.mp4"
    tape = Path(__file__).parents[2] / "samples" / "tape.mp4"
    ffmpeg("-i", tape, "-t", "1", "-c:v", "libx264", "-crf", "14", "-preset", "veryfast", "-c:a", "aac", path)
    return path


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    """Half a second each, four faces a call: a job can be stopped between them."""
    from iconface_video.web import record

    real = record.load_preset

    class Short:
        def __init__(self, preset) -> None:
            self._preset = preset

        def settings(self, overrides=None):
            overrides = {name: dict(values) for name, values in (overrides or {}).items()}
            overrides.setdefault("restore", {}).update(batch=4, segment_seconds=0.5)
            overrides.setdefault("encode", {}).update(preset="ultrafast")
            return self._preset.settings(overrides)

    monkeypatch.setattr(record, "load_preset", lambda name: Short(real(name)))
    record._settings_of.cache_clear()
    yield
    record._settings_of.cache_clear()


def restored(client, project: str) -> dict:
    """The newest result, after a run."""
    assert client.post(f"{project}/run", json={}).status_code == 202
    state = wait_until_idle(client, project)
    assert state["job"]["status"] == "done", state["job"]
    return state["results"][0]


def download(client, project: str, result: dict) -> bytes:
    answer = client.get(f"{project}/results/{result['id']}/download")
    assert answer.status_code == 200
    return answer.content


def until_stopped(info, settings, engine, job) -> None:
    """Instead of a look for people."""
    while not job.should_stop():
        time.sleep(0.01)
    job.check()


class TestAfterAStop:
    def test_everything_is_there_again(self, folder, face_clip, quick_survey, astronaut_png):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            client.patch(f"{project}/people/0", json={"name": "Anna", "strength": 0.5})
            client.put(f"{project}/people/0/photos?name=a.png", content=astronaut_png.read_bytes())
            client.patch(project, json={"name": "Birthday", "strength": 0.8, "codec": "hevc", "begin": 0.5})
            client.post(f"{project}/preview", json={"kind": "frame", "seconds": 1.0})
            wait_until_idle(client, project)
            video = download(client, project, restored(client, project))
            before = client.get(project).json()
        with serving(folder, engine=Counting()) as client:
            after = client.get(project).json()
            assert {**after, "job": None} == {**before, "job": None}
            assert after["results"][0]["settings"]["strength"] == 0.8
            assert after["preview"] is not None
            assert client.get(f"{project}/preview/{after['preview']['id']}/after.jpg").status_code == 200
            assert download(client, project, after["results"][0]) == video
            (item,) = client.get("/api/projects").json()["projects"]
            assert (item["name"], item["people"], item["results"]) == ("Birthday", 1, 1)
            assert client.get(f"{project}/poster").content[:3] == b"\xff\xd8\xff"

    def test_a_running_job_goes_on_from_its_last_segment(self, folder, face_clip, quick_survey):
        gated, again, at_once = Counting(), Counting(), Counting()
        gated.model = Gate()
        with serving(folder, engine=gated) as client:
            project = added(client, face_clip)
            client.post(f"{project}/run", json={})
            assert gated.model.is_there.wait(120)
            threading.Timer(0.2, gated.model.may_go_on.set).start()
        assert json.loads((folder / project.rpartition("/")[2] / "project.json").read_text())["todo"]["kind"] == "run"
        with serving(folder, engine=again) as client:
            state = wait_until_idle(client, project)
            assert state["job"]["status"] == "done", state["job"]
            assert any("going on from an earlier run" in note for note in state["results"][0]["notes"])
            resumed = download(client, project, state["results"][0])
            assert "going on after the program was stopped: run" in client.get(f"{project}/log").text
        with serving(folder.parent / "other", engine=at_once) as client:
            project = added(client, face_clip)
            assert download(client, project, restored(client, project)) == resumed
        assert 0 < again.model.faces < at_once.model.faces

    def test_the_line_is_in_the_order_in_which_it_was(self, folder, face_clip, quick_survey):
        with serving(folder, engine=Counting()) as client:
            projects = [added(client, face_clip, f"{name}.mp4") for name in "abc"]
            client.patch("/api/line", json={"paused": True})
            for project in projects:
                client.post(f"{project}/run", json={})
            numbers = [project.rpartition("/")[2] for project in projects]
            assert client.get("/api/projects").json()["line"] == numbers
            wanted = [numbers[2], numbers[0], numbers[1]]
            assert client.patch("/api/line", json={"order": wanted}).json()["line"] == wanted
        with serving(folder, engine=Counting()) as client:
            made = [wait_until_idle(client, f"/api/projects/{number}")["results"][0]["made"] for number in wanted]
            assert made == sorted(made)

    def test_a_cancelled_job_does_not_go_on(self, folder, face_clip, quick_survey):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            client.patch("/api/line", json={"paused": True})
            client.post(f"{project}/run", json={})
            client.post(f"{project}/cancel")
        with serving(folder, engine=Counting()) as client:
            assert client.get(project).json()["job"] is None

    def test_what_failed_is_still_told_and_can_be_tried_again(self, folder, face_clip, quick_survey, monkeypatch):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            with monkeypatch.context() as broken:
                broken.setattr("iconface_video.web.project.make_result", lambda *_: 1 / 0)
                client.post(f"{project}/run", json={})
                assert wait_until_idle(client, project)["job"]["status"] == "failed"
        with serving(folder, engine=Counting()) as client:
            failed = client.get(project).json()["failed"]
            assert failed["kind"] == "run"
            assert "ZeroDivisionError" in failed["error"]
            assert client.post(f"{project}/again", json={}).status_code == 202
            state = wait_until_idle(client, project)
            assert (state["failed"], len(state["results"])) == (None, 1)

    def test_a_damaged_record_is_told_and_left_alone(self, folder, face_clip, quick_survey):
        with serving(folder) as client:
            project = added(client, face_clip)
        record = folder / project.rpartition("/")[2] / "project.json"
        record.write_text("{")
        with serving(folder) as client:
            listed = client.get("/api/projects").json()
            assert listed["projects"] == []
            assert "damaged" in listed["damaged"][0]["error"]
        assert record.read_text() == "{"

    def test_a_record_of_an_earlier_release_is_read(self, folder, face_clip, quick_survey):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            client.patch("/api/line", json={"paused": True})
            client.post(f"{project}/run", json={})
        path = folder / project.rpartition("/")[2] / "project.json"
        record = json.loads(path.read_text())
        del record["todo"]["before"], record["failed_options"]
        path.write_text(json.dumps(record))
        with serving(folder, engine=Counting()) as client:
            assert len(wait_until_idle(client, project)["results"]) == 1

    def test_the_rest_of_an_upload_that_was_cut_off_is_removed(self, folder, face_clip, quick_survey):
        with serving(folder) as client:
            added(client, face_clip)
        (folder / "incoming" / "0011").mkdir(parents=True)
        (folder / "incoming" / "0011" / "half.mp4").write_bytes(b"half")
        with serving(folder):
            assert "half.mp4" not in files_under(folder)
            assert "clip.mp4" in files_under(folder)


class TestNothingIsDeletedUnasked:
    def test_a_cancelled_job_leaves_the_faces_it_restored_and_all_else(self, folder, face_clip, quick_survey):
        """It used to be asked that nothing is left. What is left now is what the next run goes on from, which used to be lost."""
        gated = Counting()
        gated.model = Gate()
        with serving(folder, engine=gated) as client:
            project = added(client, face_clip)
            before = files_under(folder, but=("work",))
            client.post(f"{project}/run", json={})
            assert gated.model.is_there.wait(120)
            client.post(f"{project}/cancel")
            gated.model.may_go_on.set()
            assert wait_until_idle(client, project)["job"]["status"] == "cancelled"
            assert files_under(folder, but=("work",)) == before
            assert any(name.startswith("segment-") for name in files_under(folder))
            assert client.get(project).json()["results"] == []

    def test_deleting_a_project_deletes_its_folder_alone(self, folder, face_clip, quick_survey):
        """There is no "start over" any more, which took everything at one click: each project is deleted by itself, after a question."""
        with serving(folder) as client:
            one, other = added(client, face_clip, "one.mp4"), added(client, face_clip, "other.mp4")
            assert client.delete(one).status_code == 200
            assert client.get(one).status_code == 404
            assert client.get(f"{other}/frame?seconds=0").status_code == 200
            assert [path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."] == [
                other.rpartition("/")[2]
            ]

    def test_results_stay_until_they_are_removed(self, folder, face_clip, quick_survey):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            guessed = client.get(project).json()["estimate"]
            first = restored(client, project)
            learnt = client.patch(project, json={"personalize": "off"}).json()["estimate"]  # it takes the model again
            assert learnt["faces"] == guessed["faces"]
            assert learnt["seconds"] != guessed["seconds"], "the run has shown how fast this machine is"
            client.patch(project, json={"personalize": None})
            client.patch(project, json={"strength": 0.3})
            second = restored(client, project)
            assert download(client, project, first) != download(client, project, second)
            state = client.delete(f"{project}/results/{first['id']}").json()
            assert [item["id"] for item in state["results"]] == [second["id"]]
            assert client.get(f"{project}/results/{first['id']}/download").status_code == 400

    def test_the_folder_is_for_its_owner_alone(self, folder, face_clip, quick_survey):
        with serving(folder) as client:
            project = added(client, face_clip)
            for place in (folder, folder / project.rpartition("/")[2]):
                assert stat.S_IMODE(place.stat().st_mode) & 0o077 == 0, place

    def test_two_servers_do_not_share_projects(self, tmp_path):
        folder = tmp_path / "{projects}"
        with serving(folder), pytest.raises(OutputError, match=r"another `iconface-video serve`.* has these projects open"):
            Projects(folder, NoModels())


class TestNoStaleTruth:
    @pytest.mark.parametrize(
        "wish", [{"strength": 0.5}, {"mask": "square"}, {"codec": "hevc"}, {"crf": 30}, {"container": ".mkv"}]
    )
    def test_another_look_takes_no_model(self, folder, face_clip, quick_survey, wish):
        engine = Counting()
        with serving(folder, engine=engine) as client:
            project = added(client, face_clip)
            first = restored(client, project)
            faces = engine.model.faces
            state = client.patch(project, json=wish).json()
            assert state["results"][0]["changed"] == list(wish)
            assert state["estimate"]["is_kept"]
            second = restored(client, project)
            assert engine.model.faces == faces > 0
            assert download(client, project, first) != download(client, project, second)
            assert second["changed"] == []

    def test_what_is_told_beforehand_follows_the_faces_that_are_kept(self, folder, face_clip, three_people):
        """Not the results: one that was deleted has left its faces, those of another one are gone."""

        def about(wish) -> tuple[bool, float]:
            state = client.patch(f"{project}/people/2", json=wish).json()
            return state["estimate"]["is_kept"], state["estimate"]["seconds"]

        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            assert about({"skip": False})[0] is False
            restored(client, project)
            is_kept, seconds = about({"strength": 0.5})
            assert is_kept
            assert about({"skip": True})[0] is False
            other = restored(client, project)
            assert about({"skip": False}) > (False, seconds), "those of fewer people have taken their place"
            client.delete(f"{project}/results/{other['id']}")
            assert about({})[0] is False
            assert about({"skip": True})[0] is True
        with serving(folder, engine=Counting()) as client:
            is_kept, seconds = about({})
            assert is_kept
            client.patch("/api/line", json={"paused": True})
            job = client.post(f"{project}/run", json={}).json()["job"]
            assert job["seconds_left_of_all"] == pytest.approx(seconds)

    def test_another_strength_of_one_person_takes_no_model(self, folder, face_clip, quick_survey):
        engine = Counting()
        with serving(folder, engine=engine) as client:
            project = added(client, face_clip)
            first, faces = restored(client, project), engine.model.faces
            state = client.patch(f"{project}/people/0", json={"strength": 0.2}).json()
            assert (state["results"][0]["changed"], state["estimate"]["is_kept"]) == (["strengths"], True)
            second = restored(client, project)
            assert engine.model.faces == faces > 0
            assert download(client, project, first) != download(client, project, second)

    def test_changed_people_photos_preset_and_part_make_a_result_out_of_date(
        self, folder, face_clip, three_people, astronaut_png
    ):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            video = download(client, project, restored(client, project))

            def said() -> tuple[list[str], bool]:
                state = client.get(project).json()
                return state["results"][0]["changed"], not state["estimate"]["is_kept"]

            assert said() == ([], False)
            client.patch(f"{project}/people/0", json={"name": "Anna"})
            assert said() == ([], False), "a name changes nothing in the picture"
            client.patch(f"{project}/people/2", json={"skip": True})
            assert said() == (["people"], True)
            client.patch(f"{project}/people/2", json={"skip": False})
            assert said() == ([], False), "and back again"
            client.post(f"{project}/people/1/move", json={"to": 0})
            assert said()[0] == ["people", "strengths"]
            client.put(f"{project}/people/2/photos?name=a.png", content=astronaut_png.read_bytes())
            client.patch(project, json={"begin": 1.0})
            assert said() == (["part", "people", "photos", "strengths"], True)
            client.patch(project, json={"preset": "fast"})
            wait_until_idle(client, project)
            changed, takes_model = said()
            assert (changed[0], takes_model) == ("preset", True)
            (result,) = client.get(project).json()["results"]
            assert result["settings"]["preset"] == "family"
            assert download(client, project, result) == video

    @pytest.mark.parametrize("is_killed", [False, True])
    def test_a_cancelled_look_for_people_takes_its_settings_back(self, folder, face_clip, quick_survey, monkeypatch, is_killed):
        """The people that stand were found with the ones before; also where the server was stopped meanwhile."""

        def check(client) -> None:
            client.post(f"{project}/cancel")
            state = wait_until_idle(client, project)
            assert (state["job"]["status"], state["options"], len(state["people"])) == ("cancelled", before, 1)

        with serving(folder) as client:
            project = added(client, face_clip)
            before = client.patch(project, json={"strength": 0.6}).json()["options"]
            monkeypatch.setattr(project_module, "look_for_people", until_stopped)
            assert client.patch(project, json={"preset": "film", "harder": True}).json()["options"] != before
            if not is_killed:
                check(client)
        with serving(folder) as client:
            if is_killed:
                check(client)
            assert client.get(project).json()["options"] == before

    def test_a_failed_look_for_people_takes_its_settings_back_until_it_is_tried_again(
        self, folder, face_clip, quick_survey, monkeypatch
    ):
        with serving(folder) as client:
            project = added(client, face_clip)
            before = client.get(project).json()["options"]
            with monkeypatch.context() as broken:
                broken.setattr("iconface_video.web.project.look_for_people", lambda *_: 1 / 0)
                client.patch(project, json={"harder": True})
                state = wait_until_idle(client, project)
            assert (state["failed"]["kind"], state["options"]) == ("survey", before)
        with serving(folder) as client:
            client.post(f"{project}/again", json={})
            state = wait_until_idle(client, project)
            assert (state["failed"], state["options"]) == (None, {**before, "harder": True})

    def test_a_preview_of_other_people_is_not_shown(self, folder, face_clip, quick_survey):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            client.post(f"{project}/preview", json={"kind": "frame", "seconds": 0.5})
            assert wait_until_idle(client, project)["preview"]["kind"] == "frame"
            assert client.patch(project, json={"strength": 0.5}).json()["preview"] is not None
            assert client.patch(f"{project}/people/0", json={"skip": True}).json()["preview"] is None


class TestPartsAndExport:
    def test_only_the_part_is_written_and_compared(self, folder, face_clip, quick_survey):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            whole = client.get(project).json()["estimate"]
            about = client.patch(project, json={"begin": 0.5, "end": 1.5}).json()["estimate"]
            assert about["faces"] < whole["faces"]
            result = restored(client, project)
            assert result["frames"] == 12
            assert client.post(f"{project}/results/{result['id']}/sides", json={}).status_code == 202
            state = wait_until_idle(client, project)
            assert state["job"]["status"] == "done", state["job"]
            assert state["results"][0]["has_sides"] is True
            sides = client.get(f"{project}/results/{result['id']}/sides.mp4")
            assert "beside" in sides.headers["content-disposition"]
            assert len(sides.content) > 1000

    def test_ranges_of_a_film_are_given(self, folder, face_clip, quick_survey):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            film = f"{project}/results/{restored(client, project)['id']}/film.mp4"
            part = client.get(film, headers={"range": "bytes=10-19"})
            assert part.status_code == 206
            assert part.content == client.get(film).content[10:20]
            assert client.get(film, headers={"range": "bytes=99999999-"}).status_code == 416


class TestPeopleYouKeep:
    """With the real detector and identity encoder: the portrait's own photo, kept from one clip, is recognised in the next."""

    @pytest.fixture
    def library(self, tmp_path, monkeypatch) -> Path:
        place = tmp_path / "people"
        monkeypatch.setenv(FOLDER_VARIABLE, str(place))
        return place

    def test_from_one_video_to_the_next(self, library, folder, face_clip, astronaut_png):
        engine = Engine()
        with serving(folder, engine=Seeing(engine)) as client:
            project = added(client, face_clip)
            assert client.get("/api/known").json()["people"] == []
            assert "needs a name" in client.post(f"{project}/people/0/keep", json={}).json()["error"]
            client.put(f"{project}/people/0/photos?name=a.png", content=astronaut_png.read_bytes())
            client.patch(f"{project}/people/0", json={"name": "Eileen"})
            answer = client.post(f"{project}/people/0/keep", json={})
            assert answer.status_code == 201, answer.text
            (person,) = answer.json()["people"]
            assert (person["is_kept"], person["recognised"], answer.json()["notes"]) == (True, None, [])
            (kept,) = client.get("/api/known").json()["people"]
            assert kept == {"name": "Eileen", "photos": 1, "learnt": 0, "trouble": ""}
            assert stat.S_IMODE(library.stat().st_mode) == 0o700

            second = added(client, face_clip, "other.mp4")
            (person,) = client.get(second).json()["people"]
            assert person["recognised"]["name"] == "Eileen"
            assert 0.54 <= person["recognised"]["score"] <= 1
            result = restored(client, second)
            assert any("person 1 is Eileen: recognised" in note for note in result["notes"])
            state = client.patch(f"{second}/people/0", json={"recognise": False}).json()
            assert (state["people"][0]["recognised"], state["people"][0]["recognise"]) == (None, False)
            assert state["results"][0]["changed"] == ["known"]
            assert not any("recognised" in note for note in restored(client, second)["notes"])

            assert client.post("/api/known/forget", json={"name": "Nobody"}).status_code == 400
            assert client.post("/api/known/forget", json={"name": "eileen"}).json()["people"] == []
            assert not (library / "Eileen").exists()
            assert client.get(project).json()["people"][0]["is_kept"] is False

    def test_on_this_machine_alone(self, library, folder, face_clip, quick_survey):
        with serving(folder, ServeSettings(host="0.0.0.0")) as client:
            project = added(client, face_clip)
            assert client.get("/api/known").status_code == 403
            assert client.post("/api/known/forget", json={"name": "Eileen"}).status_code == 403
            assert client.post(f"{project}/people/0/keep", json={}).status_code == 403

    def test_another_page_cannot_forget_anybody(self, client):
        headers = {"origin": "https://evil.example"}
        assert client.post("/api/known/forget", json={"name": "Eileen"}, headers=headers).status_code == 403

    def test_who_is_learnt_is_a_setting(self, client, surveyed):
        assert client.get(surveyed).json()["options"]["personalize"] == "auto"
        assert client.patch(surveyed, json={"personalize": "off"}).json()["options"]["personalize"] == "off"
        assert client.patch(surveyed, json={"personalize": "yes"}).status_code == 400


class TestVersions:
    def test_one_result_against_another(self, folder, face_clip, quick_survey):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            first = restored(client, project)["id"]
            client.patch(project, json={"strength": 0.0, "begin": 0.5, "mask": "square"})
            second = restored(client, project)["id"]
            path = f"{project}/results/{second}/against"
            assert client.get(f"{path}/{first}").status_code == 404
            assert client.post(path, json={"other": first}).status_code == 202
            state = wait_until_idle(client, project)
            assert state["job"]["status"] == "done", state["job"]
            assert [(item["id"], item["against"]) for item in state["results"]] == [(second, [first]), (first, [])]
            film = folder / project.rpartition("/")[2] / "results" / second / f"against-{first}.mp4"
            assert client.get(f"{path}/{first}").content == film.read_bytes()
            own = film.with_name("film.mp4")
            assert probe(film).frame_count_declared == probe(own).frame_count_declared == 18
            # Right: the video as it was, as on the left of its own film; left: the first result, at the same moments.
            (versions, views) = (
                [frame_to_rgb(frame).astype(int) for frame in VideoReader(path).frames()] for path in (film, own)
            )
            middle = versions[0].shape[1] // 2
            for number, both in enumerate(versions):
                for half in (both[:, :middle], both[:, middle:]):
                    away = [abs(half - view[:, :middle]).mean() for view in views]
                    assert away.index(min(away)) == number
                assert abs(both[:, :middle] - both[:, middle:]).max() > 60
            client.delete(f"{project}/results/{first}")
            assert not film.exists()

    def test_what_cannot_be_compared_is_refused(self, folder, face_clip, quick_survey):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            client.patch(project, json={"end": 0.5})
            first = restored(client, project)["id"]
            client.patch(project, json={"begin": 1.0, "end": None})
            second = restored(client, project)["id"]
            for other, said in ((first, "different parts"), (second, "the same result"), ("x", "no such result"), (7, "text")):
                answer = client.post(f"{project}/results/{second}/against", json={"other": other})
                assert answer.status_code == 400
                assert said in answer.json()["error"]


class TestPresetByLooking:
    """Kinds are told by the real look at the picture."""

    def test_a_new_video_is_looked_at_once(self, folder, tape_clip, monkeypatch, known_survey):
        looked = []
        real = project_module.choose_settings
        monkeypatch.setattr(project_module, "choose_settings", lambda *a, **b: looked.append(a) or real(*a, **b))

        def found(path, *, settings, **_):
            surveys.append(settings.survey)
            return replace(known_survey, info=replace(known_survey.info, path=path))

        surveys: list[object] = []
        monkeypatch.setattr("iconface_video.web.work.survey", found)
        with serving(folder, engine=Counting()) as client:
            project = added(client, tape_clip)
            state = client.get(project).json()
            assert (state["options"]["preset"], state["looked"]["name"], state["looked"]["kind"]) == (
                "family",
                "family",
                "tape",
            )
            assert state["looked"]["looks_like"].startswith("a tape: ")
            assert surveys == [load_preset("family").settings().survey]
            assert "preset family, as the recording looks like a tape" in client.get(f"{project}/log").text
            state = client.patch(project, json={"preset": "default"}).json()
            assert state["options"]["preset"] == "default"
            state = wait_until_idle(client, project)
            assert (state["looked"]["name"], state["options"]["preset"]) == ("family", "default")
            client.patch(project, json={"harder": True})
            assert wait_until_idle(client, project)["options"]["preset"] == "default"
        with serving(folder, engine=Counting()) as client:
            assert client.get(project).json()["looked"] == state["looked"]
        assert len(looked) == 1

    def test_the_result_says_it(self, folder, face_clip, quick_survey):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            chosen = client.get(project).json()["looked"]
            assert any(chosen["looks_like"] in note for note in restored(client, project)["notes"])
            client.patch(project, json={"preset": "film"})
            wait_until_idle(client, project)
            assert not any(chosen["looks_like"] in note for note in restored(client, project)["notes"])


class TestMoreSettings:
    def test_what_is_used_is_told_and_wrong_ones_are_refused(self, client, surveyed):
        before = client.get(surveyed).json()
        assert before["clip"]["is_interlaced"] is False
        shown = {name: before["options"][name] for name in ("fields", "scale", "device", "workers")}
        assert shown == {"fields": "keep", "scale": 1.0, "device": "auto", "workers": None}
        after = client.patch(surveyed, json={"scale": 2, "device": "cpu", "workers": 2}).json()
        assert after["estimate"]["bytes"] > 1.2 * before["estimate"]["bytes"]
        assert (after["options"]["scale"], after["options"]["device"], after["options"]["workers"]) == (2, "cpu", 2)
        wrong = [
            {"scale": 5},
            {"scale": True},
            {"fields": "none"},
            {"device": "cuda:77"},
            {"device": "cpu,cpu"},
            {"workers": 0},
        ]
        for wish in wrong:
            answer = client.patch(surveyed, json=wish)
            assert answer.status_code == 400, wish
            assert next(iter(wish)) in answer.json()["error"]
        assert client.get(surveyed).json()["options"] == after["options"]
        assert {"auto", "cpu"} <= set(client.get("/api/about").json()["devices"])

    def test_a_larger_picture_is_a_result_of_its_own(self, folder, face_clip, quick_survey):
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            first = restored(client, project)
            state = client.patch(project, json={"scale": 1.5}).json()
            assert (state["results"][0]["changed"], state["estimate"]["is_kept"]) == (["scale"], False)
            large = restored(client, project)
            assert (first["settings"]["scale"], large["settings"]["scale"]) == (1.0, 1.5)
            clip = client.get(project).json()["clip"]
            (made,) = (folder / project.rpartition("/")[2] / "results" / large["id"] / "out").iterdir()
            assert probe(made).display_size[1] == pytest.approx(1.5 * clip["height"], abs=2)
            assert client.get(f"{project}/results/{large['id']}/film.mp4").status_code == 200

    def test_fields_of_an_interlaced_clip(self, folder, astronaut_png, tmp_path):
        encoder = ("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2", "-g", "6", "-pix_fmt", "yuv420p", "-top", "1")
        clip = interlaced(astronaut_png, tmp_path / "top.mpg", "tff", *encoder, size="320:256")
        with serving(folder, engine=Counting()) as client:
            project = added(client, clip, "top.mpg")
            state = client.get(project).json()
            assert state["clip"]["is_interlaced"] is True
            first, last = (client.get(f"{project}/frame?seconds={seconds}").content for seconds in (0, 0.5))
            rates = {}
            for wish in ("keep", "weave", "double"):
                client.patch(project, json={"fields": wish})
                assert wait_until_idle(client, project)["options"]["fields"] == wish
                result = restored(client, project)
                number = project.rpartition("/")[2]
                (made,) = (folder / number / "results" / result["id"] / "out").iterdir()
                film = probe(folder / number / "results" / result["id"] / "film.mp4")
                rates[wish] = (probe(made).field_order == "progressive", film.frame_count_declared)
                assert client.get(f"{project}/frame?seconds=0").status_code == 200
            assert rates == {"keep": (False, FIELDS), "weave": (False, FIELDS // 2), "double": (True, FIELDS)}
            assert first != last


class TestByPath:
    def test_the_clip_is_used_where_it_lies(self, client, folder, face_clip, quick_survey):
        answer = client.post("/api/projects", json={"path": str(face_clip)})
        assert answer.status_code == 201
        project = f"/api/projects/{answer.json()['ids'][0]}"
        assert wait_until_idle(client, project)["job"]["status"] == "done"
        assert face_clip.name not in files_under(folder)
        client.delete(project)
        assert face_clip.is_file()

    def test_all_videos_of_a_folder(self, client, face_clip, quick_survey, tmp_path):
        place = tmp_path / "tapes"
        place.mkdir()
        for name in ("b.mp4", "a.mp4"):
            shutil.copy(face_clip, place / name)
        (place / "notes.txt").write_text("no video")
        assert len(client.post("/api/projects", json={"path": str(place)}).json()["ids"]) == 2
        assert {item["file"] for item in client.get("/api/projects").json()["projects"]} == {"a.mp4", "b.mp4"}

    @pytest.fixture
    def by_path(self, client, face_clip, quick_survey, tmp_path) -> tuple[str, Path]:
        path = tmp_path / "tape.mp4"
        shutil.copy(face_clip, path)
        project = f"/api/projects/{client.post('/api/projects', json={'path': str(path)}).json()['ids'][0]}"
        wait_until_idle(client, project)
        return project, path

    def test_a_moved_clip_is_said_and_found_again(self, client, by_path, tmp_path, empty_clip):
        project, path = by_path
        moved = path.rename(tmp_path / "elsewhere.mp4")
        state = client.get(project).json()
        assert "is not there any more" in state["trouble"]
        assert len(state["people"]) == 1
        client.post(f"{project}/run", json={})
        failed = wait_until_idle(client, project)["job"]
        assert (failed["status"], "not there any more" in failed["error"]) == ("failed", True)
        wrong = client.patch(project, json={"path": str(empty_clip)})
        assert wrong.status_code == 400
        assert "another video" in wrong.json()["error"]
        assert client.patch(project, json={"path": str(moved)}).json()["trouble"] == ""
        assert client.get(f"{project}/frame?seconds=0").status_code == 200

    def test_a_changed_clip_is_said_and_a_touched_one_is_not(self, client, by_path, empty_clip):
        project, path = by_path
        later = time.time_ns() + 10**10
        import os

        os.utime(path, ns=(later, later))
        assert client.get(project).json()["trouble"] == ""
        shutil.copy(empty_clip, path)
        assert "has been changed since it was added" in client.get(project).json()["trouble"]


class TestTheLine:
    def test_a_pause_holds_long_work_and_lets_short_work_through(self, folder, face_clip, quick_survey):
        gated = Counting()
        gated.model = Gate()
        with serving(folder, engine=gated) as client:
            project = added(client, face_clip)
            client.post(f"{project}/run", json={})
            assert gated.model.is_there.wait(120)
            client.patch("/api/line", json={"paused": True})
            gated.model.may_go_on.set()
            end = time.monotonic() + 120
            while client.get(project).json()["job"]["status"] != "waiting":
                assert time.monotonic() < end
                time.sleep(0.02)
            added(client, face_clip, "other.mp4")
            state = client.get(project).json()
            assert (state["job"]["status"], state["paused"]) == ("waiting", True)
            client.patch("/api/line", json={"paused": False})
            state = wait_until_idle(client, project)
            assert state["job"]["status"] == "done", state["job"]
            assert any("going on from an earlier run" in note for note in state["results"][0]["notes"])

    def test_all_are_restored_one_after_the_other(self, folder, face_clip, quick_survey):
        with serving(folder, engine=Counting()) as client:
            numbers = [added(client, face_clip, f"{name}.mp4").rpartition("/")[2] for name in "abc"]
            assert client.post("/api/line", json={"projects": numbers}).status_code == 202
            for number in numbers:
                assert len(wait_until_idle(client, f"/api/projects/{number}")["results"]) == 1

    def test_a_clip_without_faces_is_not_restored_with_the_others_and_no_success(
        self, folder, face_clip, known_survey, monkeypatch
    ):
        def nobody(path, **_):
            return replace(known_survey, info=replace(known_survey.info, path=path), tracks=())

        monkeypatch.setattr("iconface_video.web.work.survey", nobody)
        with serving(folder, engine=Counting()) as client:
            project = added(client, face_clip)
            answer = client.post("/api/line", json={"projects": [project.rpartition("/")[2]]})
            assert answer.status_code == 400
            assert "look harder" in answer.json()["error"]
            assert restored(client, project)["faces_restored"] == 0
            (item,) = client.get("/api/projects").json()["projects"]
            assert (item["people"], item["harder"], item["is_in_vain"]) == (0, False, True)

    def test_a_refused_clip_makes_no_project(self, client, tmp_path):
        letter = tmp_path / "letter.mp4"
        letter.write_text("Dear Anna,\n" * 100)
        assert put_clip(client, letter).status_code == 400
        assert client.get("/api/projects").json()["projects"] == []


def test_paths_must_be_whole(folder):
    with Projects(folder, NoModels()) as projects, pytest.raises(UsageError, match="from the root on"):
        projects.take_path(Path("tape.mp4"))
