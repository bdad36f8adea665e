"""A black-and-white and a sepia film come out as they went in, though the model paints everything rosy."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import numpy as np
import pytest

from iconface_video.configs import load_preset
from iconface_video.pipelines.restore import restore_video
from tests.pipelines.conftest import HEIGHT, WIDTH, Sharpener, decode_raw, grey_embed, luma

FILTERS = {
    "grey": "hue=s=0",
    "sepia": "colorchannelmixer=.393:.769:.189:0:.349:.686:.168:0:.272:.534:.131,eq=contrast=0.8:brightness=-0.08",
}


def chroma(raw: np.ndarray) -> np.ndarray:
    return raw[:, WIDTH * HEIGHT :].astype(int)


@pytest.mark.parametrize("preset", ["default", "film"])
@pytest.mark.parametrize("kind", FILTERS)
def test_chroma_is_the_inputs(kind, preset, face_clip, settings, tmp_path):
    source = tmp_path / "source.mp4"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-t",
        "0.8",
        "-i",
        str(face_clip),
        "-vf",
        FILTERS[kind] + ",format=yuv420p",
        "-crf",
        "10",
    ]
    subprocess.run([*command, "-preset", "ultrafast", "-threads", "1", str(source)], check=True)
    render = replace(load_preset(preset).settings().render, color_match=False)
    report = restore_video(
        source, tmp_path / "out.mkv", settings=replace(settings, render=render), model=Sharpener(), embed=grey_embed
    )
    before, after = decode_raw(source), decode_raw(report.output)
    assert report.faces_restored > 5
    assert (luma(before) != luma(after)).mean() > 0.05
    np.testing.assert_array_equal(chroma(before), chroma(after))


def test_a_color_film_is_not_taken_for_one(face_clip, settings, tmp_path):
    render = replace(settings.render, color_match=False)
    report = restore_video(
        face_clip, tmp_path / "out.mkv", settings=replace(settings, render=render), model=Sharpener(), embed=grey_embed
    )
    assert np.abs(chroma(decode_raw(face_clip)) - chroma(decode_raw(report.output))).max() > 5
