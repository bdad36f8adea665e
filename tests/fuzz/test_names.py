"""File names that mean something to a shell, to FFmpeg, to a terminal or to nobody: all are names of local files."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from iconface_video.cli.main import main

NAMES = {
    "space": "two  words .mp4",
    "quotes": 'it\'s "quoted" `here`.mp4',
    "dashes": "--help.mp4",
    "dash": "-i.mp4",
    "newline": "two\nlines\tand a tab.mp4",
    "escape": "\x1b[31mred\x07.mp4",
    "percent": "frame%03d.mp4",
    "percents": "100%.%d%%s.mp4",
    "protocol file": "file:clip.mp4",
    "protocol concat": "concat:a.mp4|b.mp4",
    "protocol http": "http:clip.mp4",
    "protocol subfile": "subfile,,start,0,end,9,,:clip.mp4",
    "protocol pipe": "pipe:0",
    "protocol data": "data:video;base64,AAAA.mp4",
    "markup": "[red]x[bold].mp4",
    "wildcards": "*?{a,b}.mp4",
    "shell": "$(touch pwned);&|<>.mp4",
    "backslash": "C:\\films\\clip.mp4",
    "composed": "caf\u00e9.mp4",
    "decomposed": "cafe\u0301.mp4",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3ac.mp4",
    "right to left": "\u202egpm.\u05e9\u05dc\u05d5\u05dd.mp4",
    "not UTF-8": os.fsdecode(b"\xff\xfe\x80.mp4"),
    "dots": "..clip...mp4",
    "long": "x" * 220 + ".mp4",
    "no suffix": "clip",
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames and a tone."""
    path = tmp_path_factory.mktemp("names") / "clip.mp4"
    picture, tone = "testsrc2=s=64x48:r=12:d=0.5", "sine=440:d=0.5"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone, "-pix_fmt", "yuv420p"]
    subprocess.run([*command, "-threads", "1", str(path)], check=True)
    return path


@pytest.fixture
def named(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The clip under a name, in the working directory; nothing else is there."""
    name = NAMES[request.param]
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, tmp_path / name)
    return name


@pytest.mark.parametrize("named", list(NAMES), indirect=True)
def test_a_file_of_any_name_is_probed_and_run(named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--json", "--", named]) == 0
    assert json.loads(capsys.readouterr().out)["frame_count_declared"] == 6
    assert main(["run", "--strength", "0", "--encoder-preset", "ultrafast", "--quiet", "--", named]) == 0
    assert capsys.readouterr().err == ""
    (made,) = set(tmp_path.iterdir()) - {tmp_path / named}
    assert made.name == f"{Path(named).stem}.restored.mp4"
    assert main(["run", "--strength", "0", "--quiet", "--", named]) == 2
    message = capsys.readouterr().err
    assert "--force" in message
    assert message.count("\n") == 1  # one sentence, whatever the name holds
    assert "\x1b" not in message
    assert "\u202e" not in message


@pytest.mark.parametrize("named", ["quotes", "percent", "protocol http", "markup", "not UTF-8", "newline"], indirect=True)
def test_outputs_of_any_name(named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = f"{named}.mkv"
    assert main(["run", "--strength", "0", "--keep-work", "-o", target, "--", named]) == 0
    assert (tmp_path / target).is_file()
    assert main(["render", f"{target}.iconface-work", "-o", f"again {target}"]) == 0
    assert (tmp_path / f"again {target}").is_file()
    assert main(["degrade", "--preset", "light", "-o", f"worse {target}", "--", named]) == 0
    assert (tmp_path / f"worse {target}").is_file()


@pytest.mark.parametrize("kind", ["quotes", "percent", "protocol http", "not UTF-8", "newline"])
def test_pictures_of_any_name(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    import cv2
    import numpy as np

    monkeypatch.chdir(tmp_path)
    name = NAMES[kind].replace(".mp4", ".png")
    Path(name).write_bytes(cv2.imencode(".png", np.full((32, 32, 3), 99, np.uint8))[1].tobytes())
    assert main(["image", "-o", f"out {name}", "--", name]) == 0
    assert Path(f"out {name}").is_file()


def test_a_name_too_long_to_add_to_is_refused_beforehand(clip: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / ("x" * 248 + ".mp4")
    shutil.copy(clip, path)
    assert main(["run", str(path)]) == 2
    message = capsys.readouterr().err
    assert "too long" in message
    assert "--output" in message
    assert list(tmp_path.iterdir()) == [path]
    assert main(["run", "--strength", "0", "-q", str(path), "-o", str(tmp_path / "short.mp4")]) == 0


@pytest.mark.parametrize("command", ["probe", "run", "image", "render"])
def test_a_name_longer_than_any_file_has(command: str, tmp_path: Path, capsys) -> None:
    more = ["-o", str(tmp_path / "out.png")] if command == "image" else []
    assert main([command, str(tmp_path / ("x" * 5000)), *more]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "unexpected" not in message


@pytest.mark.parametrize("command", ["probe", "run"])
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{}/x.mp4", "tcp://127.0.0.1:{}", "rtsp://127.0.0.1:{}/x", "udp://127.0.0.1:{}"]
)
def test_a_url_is_no_file_and_is_not_fetched(command: str, url: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with listening() as server:
        assert main([command, url.format(server.getsockname()[1])]) == 2
        assert "there is no such video" in capsys.readouterr().err
        assert not was_called(server)


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\n{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "pls": "[playlist]\nFile1={target}\nNumberOfEntries=1\n",
    "dash": '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>{target}</BaseURL></Period></MPD>',
}


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".txt", ".sdp"])
@pytest.mark.parametrize("kind", list(PLAYLISTS))
def test_a_list_of_files_opens_none_of_them(kind: str, suffix: str, clip: Path, tmp_path: Path, capsys) -> None:
    """Neither another file nor the network."""
    shutil.copy(clip, tmp_path / "secret.mp4")
    with listening() as server:
        port = server.getsockname()[1]
        for target in ("secret.mp4", str(tmp_path / "secret.mp4"), f"http://127.0.0.1:{port}/x.ts"):
            path = tmp_path / f"list{suffix}"
            path.write_text(PLAYLISTS[kind].format(target=target, port=port))
            assert main(["probe", str(path)]) == 2
            message = capsys.readouterr().err
            assert "a list of other files" in message
            assert str(path) in message
        assert not was_called(server)


@pytest.mark.parametrize("command", ["probe", "run", "image"])
def test_what_is_no_regular_file_is_refused_at_once(command: str, tmp_path: Path, capsys) -> None:
    """A named pipe would be waited for, /dev/zero read without end."""
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        more = ["-o", str(tmp_path / "out.png")] if command == "image" else []
        assert main([command, str(path), *more]) == 2
        assert "not a regular file" in capsys.readouterr().err


def listening() -> socket.socket:
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    return server


def was_called(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True
