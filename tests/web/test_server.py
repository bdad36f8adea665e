"""What the server takes, refuses and tells; spoken to over HTTP."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from iconface_video.web.app import create_app
from iconface_video.web.door import Door
from iconface_video.web.requests import safe_name
from iconface_video.web.serving import ServeSettings
from tests.web.conftest import added, files_under, put_clip, serving, wait_until_idle


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

    def test_listening_for_others_plain_addresses_are_served_and_names_are_not(self, folder):
        with serving(folder, ServeSettings(host="0.0.0.0")) as client:
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
    def test_another_page_cannot_change_anything(self, client, surveyed, headers):
        assert client.put("/api/projects", headers=headers).status_code == 403
        assert client.post("/api/projects", headers=headers).status_code == 403
        assert client.patch("/api/line", headers=headers).status_code == 403
        assert client.delete(surveyed, headers=headers).status_code == 403
        assert client.get(surveyed).status_code == 200

    def test_the_own_page_can(self, client, surveyed):
        headers = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
        assert client.patch(surveyed, json={"name": "Anna"}, headers=headers).status_code == 200

    def test_a_form_of_another_page_cannot_post_json(self, client, surveyed):
        answer = client.post(f"{surveyed}/run", content=b'{"strength": 1}', headers={"content-type": "text/plain"})
        assert answer.status_code == 400


class TestUploads:
    def test_text_is_refused_with_a_sentence_and_not_kept(self, client, folder):
        answer = client.put("/api/projects", params={"name": "letter.mp4"}, content=b"Dear Anna,\nhow are you?\n" * 50)
        assert answer.status_code == 400
        message = answer.json()["error"]
        assert message.startswith("letter.mp4: ")
        assert "text file, not a video" in message
        assert str(folder) not in message
        assert files_under(folder) == []
        assert client.get("/api/projects").json()["projects"] == []

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("empty.mp4", b"", "empty"),
            ("list.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n", "list of other files"),
            ("concat.mp4", b"ffconcat version 1.0\nfile '/etc/passwd'\n", "list of other files"),
        ],
    )
    def test_what_is_no_video_is_refused(self, client, folder, name, content, said):
        answer = client.put("/api/projects", params={"name": name}, content=content)
        assert answer.status_code == 400
        assert said in answer.json()["error"]
        assert files_under(folder) == []

    def test_a_photo_is_no_clip(self, client, astronaut_png, folder):
        answer = put_clip(client, astronaut_png, "anna.mp4")
        assert answer.status_code == 400
        assert "image" in answer.json()["error"] or "video" in answer.json()["error"]
        assert files_under(folder) == []

    def test_too_large_by_its_own_word_is_refused_before_it_is_read(self, client, folder):
        read = []

        def body():
            read.append(1)
            yield b"x"

        answer = client.put("/api/projects?name=long.mp4", content=body(), headers={"content-length": "3000001"})
        assert answer.status_code == 413
        assert "long.mp4: larger than the 3 MB" in answer.json()["error"]
        assert files_under(folder) == []

    def test_too_large_without_saying_so_is_cut_off_while_it_comes(self, client, folder):
        def body():
            for _ in range(400):
                yield bytes(10_000)

        answer = client.put("/api/projects?name=long.mp4", content=body())
        assert "content-length" not in answer.request.headers
        assert answer.status_code == 413
        assert files_under(folder) == []

    @pytest.mark.parametrize(
        "name", ["../../../../escaped.mp4", "..\\..\\escaped.mp4", "/etc/escaped.mp4", "%2e%2e%2fescaped.mp4"]
    )
    def test_no_name_leaves_its_folder(self, client, face_clip, quick_survey, folder, name):
        assert put_clip(client, face_clip, name).status_code == 201
        found = [path for path in folder.rglob("*escaped*") if path.is_file()]
        assert len(found) == 1
        assert found[0].parent.name == "clip"
        assert not (folder.parent / "escaped.mp4").exists()

    def test_a_second_clip_is_a_project_of_its_own(self, client, surveyed, face_clip, folder):
        """It used to replace the first one, with all the work that had gone into that."""
        second = added(client, face_clip, "second.mp4")
        assert [item["name"] for item in client.get("/api/projects").json()["projects"]] == ["second", "clip"]
        assert client.get(surveyed).json()["clip"]["name"] == "clip.mp4"
        assert client.get(second).json()["clip"]["name"] == "second.mp4"


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


class TestWhoSeesWhat:
    def test_another_tab_sees_the_same_projects(self, client, surveyed):
        """It used to see nothing. Whoever closed a tab lost the work in it; on this machine's own page there is one user, whose
        projects they all are."""
        (item,) = client.get("/api/projects").json()["projects"]
        assert surveyed.endswith(item["id"])
        assert item["people"] == 1

    def test_with_other_machines_let_in_nothing_is_seen_without_the_pass_phrase(self, folder, face_clip, quick_survey):
        with serving(folder, ServeSettings(host="0.0.0.0"), door=Door("owl-fox")) as client:
            assert client.get("/").status_code == 200
            assert client.get("/api/about").json()["is_locked"] is True
            for call in (client.get, client.put, client.post):
                assert call("/api/projects").status_code == 401
            assert client.get("/api/projects/0123456789abcdef/results/x/download").status_code == 401
            assert client.post("/api/enter", json={"phrase": "owl-cat"}).status_code == 401
            assert client.get("/api/projects").status_code == 401
            assert client.post("/api/enter", json={"phrase": " OWL fox"}).status_code == 200
            assert client.get("/api/about").json()["is_locked"] is False
            assert added(client, face_clip)

    def test_the_cookie_is_no_business_of_scripts_and_other_pages(self, folder):
        with serving(folder, ServeSettings(host="0.0.0.0"), door=Door("owl-fox")) as client:
            cookie = client.post("/api/enter", json={"phrase": "owl-fox"}).headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            client.cookies.clear()
            for forged in ("iconface=", "iconface=x", 'iconface="', "other=1; iconface=owl-fox"):
                assert client.get("/api/projects", headers={"cookie": forged}).status_code == 401

    def test_guessing_is_slow(self, monkeypatch):
        now = [100.0]
        monkeypatch.setattr("iconface_video.web.door.time.monotonic", lambda: now[0])
        door = Door("owl-fox")
        assert [door.open("x") for _ in range(5)] == [None] * 5
        assert door.open("owl-fox") is None
        now[0] += 11
        assert door.open("owl-fox") is not None

    def test_phrases_cannot_be_guessed(self):
        phrases = {Door().phrase for _ in range(8)}
        assert len(phrases) == 8
        assert all(len(phrase) >= 19 for phrase in phrases)

    def test_paths_of_this_machine_are_taken_on_this_machine_alone(self, folder, face_clip, surveyed):
        with serving(folder.parent / "other", ServeSettings(host="0.0.0.0")) as client:
            assert client.post("/api/projects", json={"path": str(face_clip)}).status_code == 403

    @pytest.mark.parametrize("number", ["x", "..", "%2e%2e", "....//", "a" * 500, "0123456789abcdef"])
    def test_no_other_name_opens_anything(self, client, surveyed, number):
        for path in ("", "/frame?seconds=0", "/faces/0", "/log", "/results/x/download"):
            assert client.get(f"/api/projects/{number}{path}").status_code == 404

    @pytest.mark.parametrize(
        "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2ferrors.py", "/../../etc/passwd"]
    )
    def test_static_files_are_only_those(self, client, path):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "import" not in answer.text

    @pytest.mark.parametrize("file", ["../film.mp4", "%2e%2e%2fout", "work", "before.jpg"])
    def test_previews_and_results_give_out_nothing_else(self, client, surveyed, file):
        assert client.get(f"{surveyed}/preview/x/{file}").status_code == 404
        assert client.get(f"{surveyed}/results/{file}/download").status_code in (400, 404)
        assert client.get(f"{surveyed}/faces/{file}").status_code in (400, 404)


class TestPeople:
    def test_a_person_has_a_face_and_a_time(self, client, surveyed):
        (person,) = client.get(surveyed).json()["people"]
        assert person["seconds"] == pytest.approx(2.0, abs=0.1)
        assert client.get(f"{surveyed}/faces/{person['best_track']}").content[:3] == b"\xff\xd8\xff"

    def test_names_and_skips_are_kept(self, client, surveyed):
        wish = {"name": "  Eileen \n Collins ", "skip": True, "strength": 0.4}
        (person,) = client.patch(f"{surveyed}/people/0", json=wish).json()["people"]
        assert (person["name"], person["skip"], person["strength"]) == ("Eileen Collins", True, 0.4)

    def test_two_people_cannot_have_one_name(self, client, face_clip, three_people):
        project = added(client, face_clip)
        assert client.patch(f"{project}/people/0", json={"name": "Anna"}).status_code == 200
        answer = client.patch(f"{project}/people/1", json={"name": "anna"})
        assert answer.status_code == 400
        assert "person 1 is called Anna already" in answer.json()["error"]
        assert client.patch(f"{project}/people/0", json={"name": "Anna"}).status_code == 200

    def test_two_are_the_same_person_and_are_taken_apart_again(self, client, face_clip, three_people, astronaut_png):
        project = added(client, face_clip)
        client.patch(f"{project}/people/1", json={"name": "Anna"})
        client.put(f"{project}/people/1/photos?name=a.png", content=astronaut_png.read_bytes())
        people = client.post(f"{project}/people/1/move", json={"to": 0}).json()["people"]
        assert [(one["index"], one["name"], [item["track"] for item in one["tracks"]]) for one in people] == [
            (0, "Anna", [0, 1]),
            (2, "", [2]),
        ]
        assert [photo["file"] for photo in people[0]["photos"]] == ["a.png"]
        assert people[0]["seconds"] == pytest.approx(2.0, abs=0.1)
        people = client.post(f"{project}/people/0/move", json={"tracks": [1]}).json()["people"]
        assert [(one["index"], [item["track"] for item in one["tracks"]]) for one in people] == [(0, [0]), (2, [2]), (3, [1])]

    def test_who_is_seen_twice_at_once_is_not_the_same_person(self, client, face_clip, three_people):
        project = added(client, face_clip)
        answer = client.post(f"{project}/people/2/move", json={"to": 0})
        assert answer.status_code == 400
        assert "person 3 and person 1 are seen at the same time" in answer.json()["error"]
        assert len(client.get(project).json()["people"]) == 3

    @pytest.mark.parametrize("wish", [{"to": 0}, {"tracks": [0]}, {"tracks": [7]}, {"tracks": "0"}, {"to": 9}, {"to": "0"}])
    def test_what_cannot_be_moved_is_refused(self, client, face_clip, three_people, wish):
        project = added(client, face_clip)
        assert client.post(f"{project}/people/0/move", json=wish).status_code == 400

    def test_only_these_people(self, client, face_clip, three_people):
        project = added(client, face_clip)
        people = client.post(f"{project}/people", json={"people": [1]}).json()["people"]
        assert [one["skip"] for one in people] == [True, False, True]
        people = client.post(f"{project}/people", json={"people": [0, 1, 2]}).json()["people"]
        assert [one["skip"] for one in people] == [False, False, False]

    def test_the_same_photo_counts_once(self, client, surveyed, astronaut_png, folder):
        client.put(f"{surveyed}/people/0/photos?name=anna.png", content=astronaut_png.read_bytes())
        answer = client.put(f"{surveyed}/people/0/photos?name=copy.png", content=astronaut_png.read_bytes())
        assert answer.status_code == 400
        assert "there already, as anna.png" in answer.json()["error"]
        assert [name for name in files_under(folder) if name.endswith(".png")] == ["anna.png"]

    def test_photos_are_added_shown_and_removed(self, client, surveyed, astronaut_png, folder):
        state = client.put(f"{surveyed}/people/0/photos?name=../anna.png", content=astronaut_png.read_bytes()).json()
        (photo,) = state["people"][0]["photos"]
        assert photo["file"] == "anna.png"
        assert photo["likeness"] == pytest.approx(1.0)
        assert client.get(f"{surveyed}/people/0/photos/{photo['id']}").content[:3] == b"\xff\xd8\xff"
        state = client.delete(f"{surveyed}/people/0/photos/{photo['id']}").json()
        assert state["people"][0]["photos"] == []
        assert not [name for name in files_under(folder) if name.endswith((".png", "face.npz"))]

    def test_what_is_no_photo_is_refused_and_removed(self, client, surveyed, folder):
        answer = client.put(f"{surveyed}/people/0/photos?name=notes.jpg", content=b"no picture at all")
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("notes.jpg: not a photo")
        assert "notes.jpg" not in files_under(folder)

    def test_a_photo_has_its_own_limit(self, client, surveyed):
        answer = client.put(f"{surveyed}/people/0/photos?name=huge.jpg", content=bytes(1_000_001))
        assert answer.status_code == 413

    def test_nobody_there(self, client, surveyed):
        answer = client.patch(f"{surveyed}/people/7", json={"skip": True})
        assert answer.status_code == 400
        assert "there is no person 8" in answer.json()["error"]

    @pytest.mark.parametrize("wish", [{"preset": "family"}, {"harder": True}])
    def test_another_way_to_look_finds_people_anew_and_keeps_what_was_decided(self, client, surveyed, astronaut_png, wish):
        client.patch(f"{surveyed}/people/0", json={"name": "Eileen"})
        client.put(f"{surveyed}/people/0/photos?name=e.png", content=astronaut_png.read_bytes())
        state = client.patch(surveyed, json=wish).json()
        assert state["job"]["kind"] == "survey"
        (person,) = wait_until_idle(client, surveyed)["people"]
        assert person["name"] == "Eileen"
        assert [photo["file"] for photo in person["photos"]] == ["e.png"]


class TestWrongWishes:
    @pytest.mark.parametrize(
        ("path", "wish"),
        [
            ("", {"preset": "famly"}),
            ("", {"preset": "/etc/passwd.yaml"}),
            ("", {"preset": 3}),
            ("", {"strength": 1.5}),
            ("", {"strength": "all"}),
            ("", {"strength": True}),
            ("", {"mask": "star"}),
            ("", {"codec": "vp9"}),
            ("", {"crf": 99}),
            ("", {"container": ".exe"}),
            ("", {"container": ["x"]}),
            ("", {"harder": 1}),
            ("", {"begin": -1}),
            ("", {"begin": 1, "end": 1}),
            ("", {"begin": "0"}),
            ("", {"end": 10**400}),
            ("", {"colour": "red"}),
            ("", {"name": "  "}),
            ("", {"name": 3}),
            ("/people/0", {"strength": 2}),
            ("/people/0", {"strength": "NaN"}),
            ("/preview", {"kind": "film", "seconds": 0}),
            ("/preview", {"kind": "frame", "seconds": -1}),
            ("/preview", {"kind": "frame", "seconds": "NaN"}),
            ("/preview", {"kind": "frame", "seconds": 10**400}),
        ],
    )
    def test_are_refused_with_a_sentence(self, client, surveyed, path, wish):
        before = client.get(surveyed).json()
        call = client.post if path == "/preview" else client.patch
        answer = call(f"{surveyed}{path}", json=wish)
        assert answer.status_code == 400
        assert len(answer.json()["error"]) > 10
        assert client.get(surveyed).json() == before

    def test_a_mistyped_preset_gets_the_nearest(self, client, surveyed):
        assert "Did you mean 'family'?" in client.patch(surveyed, json={"preset": "famly"}).json()["error"]

    @pytest.mark.parametrize("number", ["9" * 400, "9" * 5000, "-1", "x", "\u0662"])
    def test_people_are_known_by_numbers_that_can_be(self, client, surveyed, number):
        assert client.patch(f"{surveyed}/people/{number}", json={"skip": True}).status_code == 400

    @pytest.mark.parametrize("path", ["/run", "/people", "/preview"])
    def test_lists_in_lists_are_no_wish(self, client, surveyed, path):
        deep = "[" * 30_000 + "]" * 30_000
        answer = client.post(f"{surveyed}{path}", content=deep, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert "must be a JSON object" in answer.json()["error"]

    def test_a_long_body_is_not_read(self, client, surveyed):
        answer = client.post(f"{surveyed}/run", content=b" " * 200_000, headers={"content-type": "application/json"})
        assert answer.status_code == 413

    @pytest.mark.parametrize("path", ["tape.mp4", "", "\x00", "/nowhere/at/all.mp4"])
    def test_paths_that_lead_nowhere(self, client, path):
        assert client.post("/api/projects", json={"path": path}).status_code == 400


class TestFrames:
    def test_the_frame_of_a_moment_is_shown(self, client, surveyed):
        first, later = (client.get(f"{surveyed}/frame?seconds={seconds}") for seconds in (0, 1.5))
        assert first.headers["content-type"] == "image/jpeg"
        assert first.content != later.content

    def test_the_faces_on_view_are_where_the_survey_has_them(self, client, face_clip, three_people, known_survey):
        project = added(client, face_clip)
        (track,), (width, height) = known_survey.tracks, known_survey.info.display_size
        for row in (2, len(track) - 3):
            seconds = float((track.pts[row] - known_survey.first_pts) * known_survey.info.time_base)
            faces = client.get(f"{project}/faces?seconds={seconds:.4f}").json()["faces"]
            owners = {person["index"] for person in client.get(project).json()["people"] if person["seconds"] > 1.5}
            assert owners < {face["person"] for face in faces}
            x0, y0, x1, y1 = track.boxes[row] / [width, height, width, height]
            assert [face["box"] for face in faces] == [pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=1e-3)] * 2
        assert client.get(f"{project}/faces?seconds=900").json()["faces"] == []
        assert client.get(f"{project}/faces?seconds=x").status_code == 400

    def test_beyond_the_end_the_last_one(self, client, surveyed):
        assert client.get(f"{surveyed}/frame?seconds=500").content[:3] == b"\xff\xd8\xff"
