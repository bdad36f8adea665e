from __future__ import annotations

import subprocess
from fractions import Fraction

import pytest

from iconface_video.video.inventory import later_time_code

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("code", "frames", "rate", "expected"),
    [
        ("01:00:00:00", 50, Fraction(25), "01:00:02:00"),
        ("01:00:00;00", 60, NTSC, "01:00:02;00"),
        ("00:00:59;29", 1, NTSC, "00:01:00;02"),
        ("00:09:59;29", 1, NTSC, "00:10:00;00"),
        ("00:01:00;02", 1798, NTSC, "00:02:00;02"),
        ("00:00:59:29", 1, NTSC, "00:01:00:00"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("00:00:59;59", 1, NTSC * 2, "00:01:00;04"),
        ("10:00:00:00", 24, Fraction(24000, 1001), "10:00:01:00"),
    ],
)
def test_time_codes_of_later_frames(code, frames, rate, expected):
    assert later_time_code(code, frames / rate, rate) == expected


def test_a_drop_frame_day_counts_as_the_ffmpeg_program_does(tmp_path):
    """Its `timecode` on rendered frames is not text; what it stores of a track's start is, for every minute's turn."""
    for frames in (1798, 1800, 17981, 17982, 107892, 1234567):
        code = later_time_code("00:00:00;00", frames / NTSC, NTSC)
        path = tmp_path / "x.mov"
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "color=s=16x16:r=30000/1001:d=0.1",
            "-timecode",
            str(code),
            path,
        ]
        subprocess.run(command, check=True)
        data = path.read_bytes()
        # The time code track's one sample is the count of frames.
        assert frames.to_bytes(4, "big") in data


@pytest.mark.parametrize("code", ["", "yesterday", "01:00:00:30", "01:61:00:00", "01:00:00;00"])
def test_what_is_no_time_code_has_no_later_one(code):
    assert later_time_code(code, Fraction(1), Fraction(25)) is None
    assert later_time_code("01:00:00:00", Fraction(1), None) is None
