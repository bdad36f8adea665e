"""`--fields double`: a click a second in the sound, a mark in the picture for the one field that it falls into; both stay together.

Times are read by PyAV from the files, not by the package's reader.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from iconface_video.pipelines.restore import restore_video
from iconface_video.settings import EncodeSettings, ReadSettings, RestoreSettings, RunSettings, SurveySettings
from tests.conftest import ffmpeg
from tests.pipelines.conftest import Sharpener, grey_embed

FIELD = Fraction(1, 50)
FIELDS = 90
CLICKS = (0.5, 1.5)
"""Seconds; both fall into a frame's second field, which is where a field that is shown too early or too late is seen."""
MARK = 32
"""px of the square in the upper left corner."""
SETTINGS = RunSettings(
    read=ReadSettings("double"),
    survey=SurveySettings(detection_size=256, min_track_seconds=0.1),
    restore=RestoreSettings(batch=4, crop_size=64),
    encode=EncodeSettings(encoder_threads=1),
)


def tape(portrait: Path, path: Path, sound: str) -> Path:
    seconds = str(FIELDS / 50)
    marked = "+".join(f"eq(n,{round(click * 50)})" for click in CLICKS)
    mark = f"drawbox=0:0:{MARK}:{MARK}:white:fill:enable='{marked}'"
    drift = f"scale=480:480,crop=300:240:'n':'20+n/2',scale=320:256,drawbox=0:0:{MARK}:{MARK}:black:fill,{mark}"
    clicks = "aevalsrc='if(lt(mod(t+0.5,1),0.001),0.9,0)':s=48000"
    ffmpeg("-loop", "1", "-framerate", "50", "-t", seconds, "-i", portrait, "-f", "lavfi", "-t", seconds, "-i", clicks,
           "-vf", f"{drift},interlace=scan=tff:lowpass=off", "-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2",
           "-g", "6", "-pix_fmt", "yuv420p", "-top", "1", "-c:a", sound, path)  # fmt: skip
    return path


def times_of_clicks(path: Path) -> np.ndarray:
    """Seconds at which silence ends, on the file's own clock."""
    found: list[float] = []
    with av.open(str(path)) as film:
        for frame in film.decode(audio=0):
            samples = np.abs(frame.to_ndarray().astype(np.float64)).reshape(-1, len(frame.layout.channels)).max(axis=1)
            samples /= np.iinfo(np.int16).max if frame.format.name.startswith("s16") else 1
            for loud in np.flatnonzero(samples > 0.3):
                time = float(frame.pts * frame.time_base) + loud / frame.sample_rate
                if not found or time - found[-1] > 0.1:
                    found.append(time)
    return np.array(found)


def frames_of(path: Path) -> list[tuple[Fraction, np.ndarray]]:
    """Time and the mark's place, grey values."""
    with av.open(str(path)) as film:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format="gray")[:MARK, :MARK].astype(float))
            for frame in film.decode(video=0)
        ]


def is_marked(place: np.ndarray) -> bool:
    return bool(place[2:-2, 2:-2].mean() > 128)


def times_of_marks_in_fields(path: Path) -> np.ndarray:
    """Top field first: the lower lines are shown half a frame later."""
    return np.array(
        [float(time + parity * FIELD) for time, place in frames_of(path) for parity in (0, 1) if is_marked(place[parity::2])]
    )


@pytest.mark.parametrize(("suffix", "sound", "output"), [(".mkv", "pcm_s16le", "out.mkv"), (".mpg", "mp2", "out.mp4")])
def test_click_and_picture_stay_together(suffix, sound, output, astronaut_png, tmp_path):
    clip = tape(astronaut_png, tmp_path / f"tape{suffix}", sound)
    report = restore_video(clip, tmp_path / output, settings=SETTINGS, model=Sharpener(), embed=grey_embed)
    assert report.faces_restored >= FIELDS - 2
    found = frames_of(report.output)
    assert [time - found[0][0] for time, _ in found] == [number * FIELD for number in range(FIELDS)]
    marks = np.array([float(time) for time, place in found if is_marked(place)])
    clicks = times_of_clicks(report.output)
    assert len(marks) == len(clicks) == len(CLICKS)  # a field is shown once: neither twice nor mixed into its neighbours
    before = times_of_clicks(clip) - times_of_marks_in_fields(clip)
    after = clicks - marks
    print(f"{suffix}: a click comes {1000 * before} ms after its mark in the input, {1000 * after} ms in the output")
    assert np.abs(after - before).max() <= 0.001
    assert np.abs(after).max() <= float(FIELD) / 2
