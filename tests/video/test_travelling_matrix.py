"""Container by codec, over three small inputs: each fact arrives or is announced before the work. ffprobe compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from iconface_video.settings import EncodeSettings, ReadSettings
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import VideoWriter, plan_output
from tests.video import travelling
from tests.video.conftest import Ffmpeg

ANNOUNCED_BY = {
    "chroma": "hroma samples",
    "captions": "losed captions",
    "dolby": "Dolby Vision",
    "fields": "The film is interlaced",
    "reel": "reel name",
    "data mebx": "(mebx data)",
    "range": "limited range",
}
"""Words of the sentence that announces each fact's loss. What is not here must arrive in every cell."""


def facts(ffmpeg: Ffmpeg, path: Path) -> dict[str, Any]:
    """What the ffprobe program sees, without what a file does not have."""
    whole = ffmpeg.probe(path, "-show_streams", "-show_chapters", "-show_format")
    shown = ffmpeg.probe(path, "-select_streams", "v:0", "-show_frames")["frames"]
    video_stream, first = next(stream for stream in whole["streams"] if stream["codec_type"] == "video"), shown[0]
    sides = {
        side["side_data_type"]: side
        for side in [*first.get("side_data_list", []), *video_stream.get("side_data_list", [])]
        if "side_data_type" in side
    }
    tags = {key.lower(): value for stream in whole["streams"] for key, value in stream.get("tags", {}).items()}
    found: dict[str, Any] = {
        "shape": video_stream.get("sample_aspect_ratio") or first.get("sample_aspect_ratio"),
        "turn": sides.get("Display Matrix", {}).get("displaymatrix"),
        "range": video_stream.get("color_range"),
        "matrix": video_stream.get("color_space"),
        "primaries": video_stream.get("color_primaries"),
        "transfer": video_stream.get("color_transfer"),
        "chroma": video_stream.get("chroma_location") if video_stream.get("chroma_location") != "left" else None,
        "fields": [(frame["interlaced_frame"], frame["top_field_first"]) for frame in shown]
        if video_stream["field_order"] != "progressive"
        else None,
        "mastering": _numbers(sides.get("Mastering display metadata")),
        "light": _numbers(sides.get("Content light level metadata")),
        "captions": "ATSC A53 Part 4 Closed Captions" in sides or None,
        "dolby": "DOVI configuration record" in sides or None,
        "time code": tags.get("timecode"),
        "reel": tags.get("reel_name"),
        "chapters": [(c["start_time"], c["end_time"], c["tags"]["title"]) for c in whole["chapters"]] or None,
        "title": whole["format"].get("tags", {}).get("title"),
        "frames": [frame["best_effort_timestamp_time"] for frame in shown],
        "sound": ffmpeg.packets_md5(path, "a") if any(stream["codec_type"] == "audio" for stream in whole["streams"]) else None,
    }
    for stream in whole["streams"]:
        if stream["codec_type"] == "data" and stream["codec_tag_string"] in ("mebx", "gpmd"):
            packets = ffmpeg.probe(path, "-select_streams", str(stream["index"]), "-show_packets", "-show_data_hash", "md5")[
                "packets"
            ]
            found[f"data {stream['codec_tag_string']}"] = [(packet["pts_time"], packet["data_hash"]) for packet in packets]
    return {key: value for key, value in found.items() if value is not None}


def _numbers(side: dict[str, Any] | None) -> dict[str, float] | None:
    """ffprobe writes them as fractions, with whatever denominator the file has."""
    if side is None:
        return None
    parts = {key: str(value).partition("/") for key, value in side.items() if key != "side_data_type"}
    return {key: pytest.approx(int(above) / int(below or 1), abs=2e-5) for key, (above, _, below) in parts.items()}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    ffmpeg = Ffmpeg(tmp_path_factory.mktemp("inputs"))
    return {
        "hdr10": travelling.hdr10(ffmpeg, dolby_vision=8),
        "sd": travelling.interlaced_sd(ffmpeg),
        "phone": travelling.phone(ffmpeg),
    }


@pytest.mark.parametrize("codec", ["h264", "hevc", "ffv1", "prores"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("name", ["hdr10", "sd", "phone"])
def test_each_fact_arrives_or_is_announced(ffmpeg, tmp_path, inputs, name, suffix, codec):
    path = inputs[name]
    settings = EncodeSettings(codec=codec, preset="ultrafast")
    with VideoReader(path, ReadSettings("weave")) as reader:
        plan = plan_output(reader.info, tmp_path / f"out{suffix}", settings, force=False)
        with VideoWriter(plan, reader.info, settings) as writer:
            for frame in reader.frames():
                writer.write(frame)
    assert writer.copying.damage == ()
    before, after = facts(ffmpeg, path), facts(ffmpeg, plan.path)
    assert len(before) >= 10
    for fact, value in before.items():
        told = any(ANNOUNCED_BY[fact] in note for note in plan.notes) if fact in ANNOUNCED_BY else False
        assert told or after.get(fact) == value, (fact, value, after.get(fact), plan.notes)
    for fact, words in ANNOUNCED_BY.items():
        if any(words in note for note in plan.notes if "becomes a" not in note):
            assert before[fact] != after.get(fact), f"{fact} is announced as lost and is there"
