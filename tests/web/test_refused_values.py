"""What the page (or somebody else) may send and nobody can use: a sentence, never a traceback."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import namedtuple
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from iconface_video.errors import Cancelled, InputError, OutputError, StoreError, UsageError
from iconface_video.web import projects as projects_module
from iconface_video.web import requests
from iconface_video.web.jobs import Job
from iconface_video.web.people import Person, free_name, moved
from iconface_video.web.projects import Projects
from iconface_video.web.record import FILE, ClipRecord, Options, Record
from iconface_video.web.server import listen
from iconface_video.web.serving import ServeSettings
from iconface_video.web.values import flag, number, text, texts, whole_numbers
from tests.web.conftest import NoModels


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(None, "seconds must be a number", id="nothing"),
        pytest.param(True, "seconds must be a number", id="yes"),
        pytest.param([1], "seconds must be a number", id="list"),
        pytest.param("soon", "seconds must be a number, not 'soon'", id="word"),
        pytest.param(10**400, "seconds must be a number, not '1000", id="hundreds of digits"),
    ],
)
def test_what_is_no_number(value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        number(value, "seconds")


@pytest.mark.parametrize("value", [None, 3, "3", [1.5], [True], [10**9], [[1]]], ids=str)
def test_what_is_no_list_of_whole_numbers(value: object) -> None:
    with pytest.raises(UsageError, match="tracks must be a list of whole numbers"):
        whole_numbers(value, "tracks")


@pytest.mark.parametrize("value", [None, "a", [1], ["a", None]], ids=str)
def test_what_is_no_list_of_texts(value: object) -> None:
    with pytest.raises(UsageError, match="projects must be a list of texts"):
        texts(value, "projects")


@pytest.mark.parametrize("value", [1, ["a"], {"a": 1}], ids=str)
def test_what_is_no_text(value: object) -> None:
    with pytest.raises(UsageError, match="name must be a text"):
        text({"name": value}, "name")


@pytest.mark.parametrize("value", [1, "yes", []], ids=str)
def test_what_is_neither_yes_nor_no(value: object) -> None:
    with pytest.raises(UsageError, match="skip must be true or false"):
        flag({"skip": value}, "skip")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"stength": 1}, r"there is no setting 'stength'\. Did you mean 'strength'\?", id="unknown"),
        pytest.param({"preset": "/etc/passwd"}, "there is no preset '/etc/passwd'", id="a file as preset"),
        pytest.param({"container": ".exe"}, r"container is '\.exe', must be one of \.mp4, \.mov, \.mkv", id="container"),
        pytest.param({"harder": 1}, "harder must be true or false", id="harder"),
        pytest.param({"codec": ["h264"]}, "codec must be a number or a text", id="codec as a list"),
        pytest.param({"begin": -1}, "begin is -1, which is no time within the clip", id="begin"),
        pytest.param({"begin": 3, "end": 2}, "the part ends at 2.00 s, which does not lie after its begin at 3.00 s", id="end"),
        pytest.param({"strength": 7}, "strength", id="out of range"),
    ],
)
def test_options_that_cannot_be(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Options().changed(values)


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"format": 1}'], ids=["missing", "empty", "list", "nothing", "half"]
)
def test_a_project_whose_record_is_damaged(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / FILE).write_text(content)
    with pytest.raises(StoreError, match=r"project\.json: missing or damaged \(.*\); nothing in its folder is touched"):
        Record.read(tmp_path)


def test_a_project_of_another_release(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"format": 99}))
    with pytest.raises(StoreError, match=r"project\.json: of another release of this program"):
        Record.read(tmp_path)


def test_a_record_that_cannot_be_written(tmp_path: Path) -> None:
    record = Record("a", 0.0, ClipRecord("a.mp4", "clip/a.mp4", 1, 0))
    with pytest.raises(StoreError, match=r"gone/project\.json: cannot be written \(No such file"):
        record.write(tmp_path / "gone")


def test_a_job_that_was_cancelled_stops_where_it_looks() -> None:
    job = Job("run", lambda job: None)
    job.check()
    job.status = "running"
    job.cancel()
    with pytest.raises(Cancelled, match="stopped on request"):
        job.check()


def test_an_address_that_somebody_else_has() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageError, match=rf"cannot listen on 127\.0\.0\.1, port {port} \(.*\); choose another with --host or"
        ):
            listen(ServeSettings(host="127.0.0.1", port=port))


def test_an_address_that_is_not_this_computers() -> None:
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1, port 0"):
        listen(ServeSettings(host="192.0.2.1", port=0))


def survey_of(*spans: tuple[int, int]) -> SimpleNamespace:
    """Tracks by their first and last PTS."""
    tracks = [SimpleNamespace(track_id=number, pts=np.arange(first, last + 1)) for number, (first, last) in enumerate(spans)]
    return SimpleNamespace(tracks=tuple(tracks))


def test_appearances_of_somebody_else_are_not_moved() -> None:
    people = [Person(0, [0]), Person(1, [1])]
    with pytest.raises(UsageError, match="these are no appearances of person 1; they may have been moved meanwhile"):
        moved(people, people[0], [1], people[1], survey_of((0, 5), (6, 9)))


def test_no_appearances_are_not_moved() -> None:
    people = [Person(0, [0]), Person(1, [1])]
    with pytest.raises(UsageError, match="these are no appearances of person 1"):
        moved(people, people[0], [], people[1], survey_of((0, 5), (6, 9)))


def test_one_appearance_is_not_taken_apart() -> None:
    people = [Person(0, [0])]
    with pytest.raises(UsageError, match="person 1 has no other appearance; there is nothing to take apart"):
        moved(people, people[0], [0], None, survey_of((0, 5)))


def test_two_who_are_seen_at_once_are_not_joined() -> None:
    people = [Person(0, [0]), Person(1, [1])]
    with pytest.raises(UsageError, match="person 1 and person 2 are seen at the same time, so they cannot be the same person"):
        moved(people, people[0], [0], people[1], survey_of((0, 5), (5, 9)))
    assert [person.tracks for person in people] == [[0], [1]]


def test_two_people_of_one_name() -> None:
    people = [Person(0, [0], name="Anna"), Person(1, [1])]
    with pytest.raises(UsageError, match="person 1 is called Anna already; give them names that differ"):
        free_name(people, people[1], "Anna")


async def sent(*blocks: bytes) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


def test_an_empty_upload_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.mp4: the file is empty \(0 bytes\); copy or record it again"):
        asyncio.run(requests.receive(sent(), None, tmp_path / "a.mp4", 100))
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_turns_out_too_large_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(requests.UploadTooLarge, match=r"a\.mp4: larger than the 0 kB that are allowed here; cut the clip"):
        asyncio.run(requests.receive(sent(b"a" * 60, b"b" * 60), None, tmp_path / "a.mp4", 100))
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_does_not_fit_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**12, 10**12 - 10**6, 10**6)
    monkeypatch.setattr(requests.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match=r"a\.mp4: 2 MB do not fit on this computer's disk, which has 1 MB left"):
        asyncio.run(requests.receive(sent(b"a"), 2 * 10**6, tmp_path / "a.mp4", 10**7))


def test_an_upload_into_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.mp4: cannot be stored on this computer \(No such file"):
        asyncio.run(requests.receive(sent(b"a"), None, tmp_path / "gone" / "a.mp4", 100))


@pytest.fixture
def projects(folder: Path):
    with Projects(folder, NoModels()) as opened:
        yield opened


def test_a_path_that_is_not_whole(projects: Projects) -> None:
    with pytest.raises(UsageError, match=r"clips/a\.mp4: give the whole path, from the root on"):
        projects.take_path(Path("clips/a.mp4"))


def test_a_folder_without_a_video(projects: Projects, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there is no video in this folder"):
        projects.take_path(tmp_path / "empty")


def test_more_videos_than_are_taken_at_once(projects: Projects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projects_module, "_MOST_AT_ONCE", 1)
    (tmp_path / "clips").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "clips" / name).touch()
    with pytest.raises(UsageError, match=r"clips: 2 videos are too many at once; at most 1"):
        projects.take_path(tmp_path / "clips")
    assert projects.snapshot()["projects"] == []
