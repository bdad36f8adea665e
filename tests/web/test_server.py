"""What the server takes, refuses, keeps apart and removes; spoken to over HTTP."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from iconface_video.web.app import create_app
from iconface_video.web.requests import safe_name
from iconface_video.web.serving import ServeSettings
from iconface_video.web.workspaces import Workspaces
from tests.web.conftest import ADDRESS, NoModels


def files_under(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != ".in-use")


def wait_until_idle(client: TestClient, work: str, seconds: float = 60.0) -> dict:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = client.get(work).json()
        if state["job"] is None or state["job"]["status"] not in ("waiting", "running"):
            return state
        time.sleep(0.02)
    raise AssertionError(f"still at work after {seconds} s: {state['job']}")


def put_clip(client: TestClient, work: str, path: Path, name: str = "clip.mp4"):
    return client.put(f"{work}/clip", params={"name": name}, content=path.read_bytes())


@pytest.fixture
def surveyed(client, work, face_clip, quick_survey) -> str:
    """A page whose clip was looked through; it shows one person."""
    assert put_clip(client, work, face_clip).status_code == 200
    state = wait_until_idle(client, work)
    assert state["job"]["status"] == "done", state["job"]
    assert len(state["people"]) == 1
    return work


class TestPage:
    def test_nothing_comes_from_elsewhere(self, client):
        """Neither the page nor its parts name another server, and the browser is told to allow none."""
        static = Path(create_app.__code__.co_filename).parent / "static"
        for path in static.iterdir():
            text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert "//" not in text.replace(" // ", "").replace("\n//", "\n") or "http" not in text, path.name
            assert client.get(f"/static/{path.name}").status_code == 200
        policy = client.get("/").headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy

    def test_about_names_the_presets_and_the_limit(self, client, serve_settings):
        about = client.get("/api/about").json()
        assert about["max_upload_bytes"] == serve_settings.max_upload_bytes
        assert {"default", "family", "film"} <= {item["name"] for item in about["presets"]}


class TestWhoMayAsk:
    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "192.168.1.7:8765", "a@b", ""]
    )
    def test_a_foreign_host_name_is_refused(self, client, host):
        assert client.get("/api/about", headers={"host": host}).status_code == 403

    @pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:1", "[::1]:8765", "127.0.0.2"])
    def test_loopback_names_are_served(self, client, host):
        assert client.get("/api/about", headers={"host": host}).status_code == 200

    def test_listening_for_others_plain_addresses_are_served_and_names_are_not(self, temporary):
        with TestClient(create_app(ServeSettings(host="0.0.0.0"), NoModels()), base_url=ADDRESS) as client:
            assert client.get("/api/about", headers={"host": "192.168.1.7:8765"}).status_code == 200
            assert client.get("/api/about", headers={"host": socket.gethostname()}).status_code == 200
            assert client.get("/api/about", headers={"host": "evil.example"}).status_code == 403

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": "http://["},
            {"origin": "http://127.0.0.1:9999"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ],
    )
    def test_another_page_cannot_change_anything(self, client, work, headers):
        assert client.post("/api/work", headers=headers).status_code == 403
        assert client.delete(work, headers=headers).status_code == 403
        assert client.get(work).status_code == 200

    def test_the_own_page_can(self, client):
        headers = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
        assert client.post("/api/work", headers=headers).status_code == 201

    def test_a_form_of_another_page_cannot_post_json(self, client, work):
        answer = client.post(f"{work}/run", content=b'{"strength": 1}', headers={"content-type": "text/plain"})
        assert answer.status_code == 400


class TestUploads:
    def test_text_is_refused_with_a_sentence_and_not_kept(self, client, work, temporary):
        answer = client.put(f"{work}/clip", params={"name": "letter.mp4"}, content=b"Dear Anna,\nhow are you?\n" * 50)
        assert answer.status_code == 400
        message = answer.json()["error"]
        assert message.startswith("letter.mp4: ")
        assert "text file, not a video" in message
        assert str(temporary) not in message
        assert files_under(temporary) == []
        assert client.get(work).json()["clip"] is None

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("empty.mp4", b"", "empty"),
            ("list.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n", "list of other files"),
            ("concat.mp4", b"ffconcat version 1.0\nfile '/etc/passwd'\n", "list of other files"),
        ],
    )
    def test_what_is_no_video_is_refused(self, client, work, temporary, name, content, said):
        answer = client.put(f"{work}/clip", params={"name": name}, content=content)
        assert answer.status_code == 400
        assert said in answer.json()["error"]
        assert files_under(temporary) == []

    def test_a_photo_is_no_clip(self, client, work, astronaut_png, temporary):
        answer = put_clip(client, work, astronaut_png, "anna.mp4")
        assert answer.status_code == 400
        assert "image" in answer.json()["error"] or "video" in answer.json()["error"]
        assert files_under(temporary) == []

    def test_too_large_by_its_own_word_is_refused_before_it_is_read(self, client, work, temporary):
        read = []

        def body():
            read.append(1)
            yield b"x"

        answer = client.put(f"{work}/clip?name=long.mp4", content=body(), headers={"content-length": "3000001"})
        assert answer.status_code == 413
        assert "long.mp4: larger than the 3 MB" in answer.json()["error"]
        assert files_under(temporary) == []

    def test_too_large_without_saying_so_is_cut_off_while_it_comes(self, client, work, temporary):
        def body():
            for _ in range(400):
                yield bytes(10_000)

        answer = client.put(f"{work}/clip?name=long.mp4", content=body())
        assert "content-length" not in answer.request.headers
        assert answer.status_code == 413
        assert files_under(temporary) == []

    @pytest.mark.parametrize(
        "name", ["../../../../escaped.mp4", "..\\..\\escaped.mp4", "/etc/escaped.mp4", "%2e%2e%2fescaped.mp4"]
    )
    def test_no_name_leaves_its_folder(self, client, work, face_clip, quick_survey, temporary, name):
        assert put_clip(client, work, face_clip, name).status_code == 200
        found = [path for path in temporary.rglob("*escaped*") if path.is_file()]
        assert len(found) == 1
        assert found[0].parent.name.startswith("upload-")
        assert not (temporary.parent / "escaped.mp4").exists()
        wait_until_idle(client, work)

    def test_another_clip_replaces_the_first(self, client, surveyed, face_clip, temporary):
        assert put_clip(client, surveyed, face_clip, "second.mp4").status_code == 200
        wait_until_idle(client, surveyed)
        assert files_under(temporary) == ["second.mp4"]


class TestNames:
    @pytest.mark.parametrize(
        ("given", "stored"),
        [
            ("Geburtstag 1994 – Oma & Opa.mp4", "Geburtstag 1994 – Oma & Opa.mp4"),
            ("C:\\Users\\me\\tape.avi", "tape.avi"),
            ("../../etc/passwd", "passwd"),
            ("--output=x.mp4", "output=x.mp4"),
            (".hidden.mp4", "hidden.mp4"),
            ('a"b<c>:d|e?f*.mp4', "a_b_c__d_e_f_.mp4"),
            ("line\nbreak\x00\x1b[31m.mp4", "linebreak[31m.mp4"),
            ("\u202emp4.exe", "mp4.exe"),
            ("con.mp4", "clip.mp4"),
            ("...", "clip.mp4"),
            ("", "clip.mp4"),
            ("/", "clip.mp4"),
        ],
    )
    def test_harmless_and_recognisable(self, given, stored):
        assert safe_name(given, "clip.mp4") == stored

    def test_long_names_end_with_a_word(self):
        assert safe_name(f"{'wedding of anna and john ' * 8}.mp4", "clip.mp4").endswith(
            (" john.mp4", " and.mp4", " anna.mp4", " of.mp4")
        )

    def test_long_names_keep_their_suffix_and_fit_any_disk(self):
        name = safe_name("é" * 500 + ".mp4", "clip.mp4")
        assert name.endswith("é.mp4")
        assert len(name.encode()) <= 120


class TestApart:
    def test_a_page_sees_its_own_files_only(self, client, surveyed):
        other = f"/api/work/{client.post('/api/work').json()['work']}"
        assert client.get(other).json()["clip"] is None
        assert client.get(f"{other}/frame?seconds=0").status_code == 400
        assert client.get(f"{other}/people/0/face").status_code == 400
        assert client.get(f"{surveyed}/frame?seconds=0").status_code == 200
        client.delete(other)
        assert client.get(f"{surveyed}/frame?seconds=0").status_code == 200

    @pytest.mark.parametrize("token", ["x", "..", "%2e%2e", "....//", "a" * 500])
    def test_without_the_secret_there_is_nothing(self, client, surveyed, token):
        for path in ("", "/frame?seconds=0", "/people/0/face", "/result/x/download"):
            assert client.get(f"/api/work/{token}{path}").status_code == 404

    def test_secrets_cannot_be_guessed(self, client):
        tokens = {client.post("/api/work").json()["work"] for _ in range(8)}
        assert len(tokens) == 8
        assert all(len(token) >= 32 for token in tokens)

    @pytest.mark.parametrize(
        "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2ferrors.py", "/../../etc/passwd"]
    )
    def test_static_files_are_only_those(self, client, path):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "import" not in answer.text

    @pytest.mark.parametrize("file", ["../film.mp4", "%2e%2e%2fout", "work", "before.jpg"])
    def test_previews_give_out_nothing_else(self, client, surveyed, file):
        assert client.get(f"{surveyed}/preview/x/{file}").status_code == 404


class TestPeople:
    def test_a_person_has_a_face_and_a_time(self, client, surveyed):
        (person,) = client.get(surveyed).json()["people"]
        assert person["seconds"] == pytest.approx(2.0, abs=0.1)
        assert client.get(f"{surveyed}/people/0/face").content[:3] == b"\xff\xd8\xff"

    def test_names_and_skips_are_kept(self, client, surveyed):
        state = client.patch(f"{surveyed}/people/0", json={"name": "  Eileen \n Collins ", "skip": True}).json()
        assert state["people"][0]["name"] == "Eileen Collins"
        assert state["people"][0]["skip"] is True

    def test_two_people_cannot_have_one_name(self, client, surveyed):
        workspace = client.app.state.workspaces.get(surveyed.rpartition("/")[2])
        workspace.people.append(replace(workspace.people[0], index=1))
        assert client.patch(f"{surveyed}/people/0", json={"name": "Anna"}).status_code == 200
        answer = client.patch(f"{surveyed}/people/1", json={"name": "anna"})
        assert answer.status_code == 400
        assert "person 1 is called Anna already" in answer.json()["error"]
        assert client.patch(f"{surveyed}/people/0", json={"name": "Anna"}).status_code == 200

    def test_the_same_photo_counts_once(self, client, surveyed, astronaut_png, temporary):
        client.put(f"{surveyed}/people/0/photos?name=anna.png", content=astronaut_png.read_bytes())
        answer = client.put(f"{surveyed}/people/0/photos?name=copy.png", content=astronaut_png.read_bytes())
        assert answer.status_code == 400
        assert "there already, as anna.png" in answer.json()["error"]
        assert files_under(temporary) == ["anna.png", "clip.mp4"]

    def test_photos_are_added_shown_and_removed(self, client, surveyed, astronaut_png, temporary):
        state = client.put(f"{surveyed}/people/0/photos?name=../anna.png", content=astronaut_png.read_bytes()).json()
        (photo,) = state["people"][0]["photos"]
        assert photo["file"] == "anna.png"
        assert photo["likeness"] == pytest.approx(1.0)
        assert client.get(f"{surveyed}/people/0/photos/{photo['id']}").content[:3] == b"\xff\xd8\xff"
        state = client.delete(f"{surveyed}/people/0/photos/{photo['id']}").json()
        assert state["people"][0]["photos"] == []
        assert files_under(temporary) == ["clip.mp4"]

    def test_what_is_no_photo_is_refused_and_removed(self, client, surveyed, temporary):
        answer = client.put(f"{surveyed}/people/0/photos?name=notes.jpg", content=b"no picture at all")
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("notes.jpg: not a photo")
        assert files_under(temporary) == ["clip.mp4"]

    def test_a_photo_has_its_own_limit(self, client, surveyed):
        answer = client.put(f"{surveyed}/people/0/photos?name=huge.jpg", content=bytes(1_000_001))
        assert answer.status_code == 413

    def test_nobody_there(self, client, surveyed):
        answer = client.patch(f"{surveyed}/people/7", json={"skip": True})
        assert answer.status_code == 400
        assert "there is no person 8" in answer.json()["error"]

    def test_another_preset_finds_people_anew_and_keeps_what_was_decided(self, client, surveyed, astronaut_png):
        client.patch(f"{surveyed}/people/0", json={"name": "Eileen"})
        client.put(f"{surveyed}/people/0/photos?name=e.png", content=astronaut_png.read_bytes())
        state = client.post(f"{surveyed}/preset", json={"preset": "family"}).json()
        assert state["job"]["kind"] == "survey"
        (person,) = wait_until_idle(client, surveyed)["people"]
        assert person["name"] == "Eileen"
        assert [photo["file"] for photo in person["photos"]] == ["e.png"]


class TestWrongWishes:
    @pytest.mark.parametrize(
        ("path", "wish"),
        [
            ("preset", {"preset": "famly"}),
            ("preset", {"preset": "/etc/passwd.yaml"}),
            ("preset", {"preset": 3}),
            ("run", {"strength": 1.5}),
            ("run", {"strength": "all"}),
            ("run", {"strength": None}),
            ("preview", {"kind": "film", "seconds": 0}),
            ("preview", {"kind": "frame", "seconds": -1}),
            ("preview", {"kind": "frame", "seconds": "NaN"}),
            ("preview", {"kind": "frame", "seconds": 10**400}),
        ],
    )
    def test_are_refused_with_a_sentence(self, client, surveyed, path, wish):
        answer = client.post(f"{surveyed}/{path}", json=wish)
        assert answer.status_code == 400
        assert len(answer.json()["error"]) > 10
        assert client.get(surveyed).json()["job"]["kind"] == "survey"

    def test_a_mistyped_preset_gets_the_nearest(self, client, surveyed):
        assert "Did you mean 'family'?" in client.post(f"{surveyed}/preset", json={"preset": "famly"}).json()["error"]

    @pytest.mark.parametrize("path", ["preview", "run", "survey"])
    def test_nothing_can_be_started_without_a_clip(self, client, work, path):
        wish = {"preview": {"kind": "frame", "seconds": 0}, "run": {"strength": 1}, "survey": {}}[path]
        assert client.post(f"{work}/{path}", json=wish).status_code == 400

    @pytest.mark.parametrize("number", ["9" * 400, "9" * 5000, "-1", "x", "\u0662"])
    def test_people_are_known_by_numbers_that_can_be(self, client, surveyed, number):
        assert client.patch(f"{surveyed}/people/{number}", json={"skip": True}).status_code == 400

    def test_lists_in_lists_are_no_wish(self, client, surveyed):
        deep = "[" * 30_000 + "]" * 30_000
        answer = client.post(f"{surveyed}/run", content=deep, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert "must be a JSON object" in answer.json()["error"]

    def test_a_long_body_is_not_read(self, client, work):
        answer = client.post(f"{work}/run", content=b" " * 200_000, headers={"content-type": "application/json"})
        assert answer.status_code == 413


class TestFrames:
    def test_the_frame_of_a_moment_is_shown(self, client, surveyed):
        first, later = (client.get(f"{surveyed}/frame?seconds={seconds}") for seconds in (0, 1.5))
        assert first.headers["content-type"] == "image/jpeg"
        assert first.content != later.content

    def test_beyond_the_end_the_last_one(self, client, surveyed):
        assert client.get(f"{surveyed}/frame?seconds=500").content[:3] == b"\xff\xd8\xff"


class TestTidiness:
    def test_starting_over_removes_everything(self, client, surveyed, temporary):
        assert files_under(temporary) == ["clip.mp4"]
        assert client.delete(surveyed).status_code == 200
        assert files_under(temporary) == []
        assert client.get(surveyed).status_code == 404

    def test_at_the_end_nothing_is_left(self, temporary, face_clip):
        with TestClient(create_app(ServeSettings(), NoModels()), base_url=ADDRESS) as client:
            work = f"/api/work/{client.post('/api/work').json()['work']}"
            put_clip(client, work, face_clip)  # and its survey is still going on
            assert files_under(temporary) == ["clip.mp4"]
        assert list(temporary.iterdir()) == []

    def test_pages_that_were_closed_are_forgotten_but_not_while_they_work(self, temporary, face_clip, quick_survey):
        settings = ServeSettings(keep_seconds=0.3)
        with TestClient(create_app(settings, NoModels()), base_url=ADDRESS) as client:
            work = f"/api/work/{client.post('/api/work').json()['work']}"
            put_clip(client, work, face_clip)
            wait_until_idle(client, work)
            end = time.monotonic() + 10
            while files_under(temporary) and time.monotonic() < end:
                time.sleep(0.1)
            assert files_under(temporary) == []
            assert client.get(work).status_code == 404

    def test_a_file_that_comes_in_for_long_keeps_its_folder(self, temporary):
        settings = ServeSettings(keep_seconds=0.2)
        with Workspaces(settings, NoModels()) as workspaces:
            workspace = workspaces.create()

            async def upload() -> bool:
                async with workspace.receiving():
                    time.sleep(0.5)
                    workspaces.remove_idle()
                    return workspace.folder.is_dir()

            assert asyncio.run(upload())
            time.sleep(0.5)
            workspaces.remove_idle()
            assert not workspace.folder.is_dir()

    def test_what_a_killed_server_left_is_removed_by_the_next_and_a_running_one_is_left_alone(self, temporary):
        dead = temporary / "iconface-web-dead"
        dead.mkdir()
        (dead / ".in-use").touch()
        (dead / "clip.mp4").write_bytes(b"left")
        with TestClient(create_app(ServeSettings(), NoModels()), base_url=ADDRESS) as first:
            assert not dead.exists()
            work = f"/api/work/{first.post('/api/work').json()['work']}"
            with TestClient(create_app(ServeSettings(), NoModels()), base_url=ADDRESS):
                assert len(list(temporary.iterdir())) == 2
            assert first.get(work).status_code == 200

    def test_only_so_many_pages_at_once(self, temporary):
        with TestClient(create_app(ServeSettings(max_workspaces=2), NoModels()), base_url=ADDRESS) as client:
            assert [client.post("/api/work").status_code for _ in range(3)] == [201, 201, 503]
