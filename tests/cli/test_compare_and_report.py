"""`compare` and `run --report` on the command line: what is asked for, what is refused and how."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iconface_video.cli.main import main
from iconface_video.cli.run_command import with_report_file


def test_compare_writes_beside_the_first_when_nothing_is_named(empty_clip, tmp_path, capsys):
    a, b = tmp_path / "a.mp4", tmp_path / "b.mp4"
    for path in (a, b):
        path.write_bytes(Path(empty_clip).read_bytes())
    assert main(["compare", str(a), str(b), "--end", "0.2", "--json", "--encoder-preset", "ultrafast", "--no-labels"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["output"] == str(tmp_path / "a.compare.mp4")
    assert told["frames"] == 3
    assert (tmp_path / "a.compare.mp4").is_file()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--mode", "wpie"], "Did you mean 'wipe'?"),
        (["--labels", "before"], "two names with a comma between them"),
        (["--labels", "a,b,c"], "two names with a comma between them"),
        (["--divider", "1.5"], "divider is 1.5, must be within [0, 1]"),
        (["--offset", "-1"], "is no time"),
        (["--lables", "a,b"], "--labels"),
        (["--crf", "99"], "must be within [0, 51]"),
    ],
)
def test_wrong_use_says_what_is_right(options, sentence, empty_clip, tmp_path, capsys):
    assert main(["compare", str(empty_clip), str(empty_clip), "-o", str(tmp_path / "out.mp4"), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_video_is_named(empty_clip, tmp_path, capsys):
    assert main(["compare", str(empty_clip), str(tmp_path / "none.mp4")]) == 2
    assert "there is no such video" in capsys.readouterr().err


def test_report_takes_a_file_or_stands_alone():
    assert with_report_file(["run", "a.mp4", "--report", "b.html", "-q"]) == ["run", "a.mp4", "--report-to=b.html", "-q"]
    assert with_report_file(["run", "--report", "a.mp4"]) == ["run", "--report", "a.mp4"]
    assert with_report_file(["run", "a.mp4", "--report=B.HTM"]) == ["run", "a.mp4", "--report-to=B.HTM"]
    assert with_report_file(["run", "a.mp4", "--report"]) == ["run", "a.mp4", "--report"]


def test_a_run_writes_its_page_beside_the_output(empty_clip, tmp_path, capsys):
    output = tmp_path / "out.mp4"
    line = ["run", str(empty_clip), "-o", str(output), "--strength", "0", "--encoder-preset", "ultrafast", "--report"]
    assert main(line) == 0
    assert str(tmp_path / "out.report.html") in capsys.readouterr().out
    page = (tmp_path / "out.report.html").read_text(encoding="utf-8")
    assert f"iconface-video run {empty_clip} -o {output}" in page
    assert main([*line, str(tmp_path / "none" / "page.html"), "--force"]) == 2
    assert "does not exist" in capsys.readouterr().err
