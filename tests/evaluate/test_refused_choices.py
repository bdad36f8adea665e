"""Measurements that cannot be made: refused by name before the first one."""

from __future__ import annotations

from pathlib import Path

import pytest

from iconface_video.errors import CheckpointError, InputError, UsageError
from iconface_video.lab.evaluate.networks import YuNet
from iconface_video.lab.evaluate.video_measure import _in_step
from iconface_video.lab.evaluate.video_pipeline import VideoChoice
from iconface_video.lab.evaluate.video_variants import parse_variant, parse_variants
from iconface_video.settings import ReadSettings

TAPE = Path(__file__).parents[2] / "samples" / "tape.mp4"


def test_a_detector_whose_file_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"yunet\.onnx: no such file; --yunet needs YuNet's ONNX file"):
        YuNet(tmp_path / "yunet.onnx")


@pytest.mark.parametrize("content", [b"", b"no network at all"], ids=["empty", "text"])
def test_a_detector_that_opencv_cannot_use(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "yunet.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"yunet\.onnx: OpenCV cannot use it as YuNet"):
        YuNet(path)


@pytest.mark.parametrize("names", [("a/talk.mp4", "b/talk.mkv"), ("My clip.mp4", "my-clip.mp4")], ids=["suffix", "spelling"])
def test_clips_that_a_report_could_not_tell_apart(names: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="two of the clips have one name; the report could not tell them apart"):
        VideoChoice(tuple(map(Path, names)))


@pytest.mark.parametrize("change", [{"clips": ()}, {"damages": ()}, {"variants": ()}], ids=lambda change: next(iter(change)))
def test_a_measurement_of_nothing(change: dict) -> None:
    with pytest.raises(UsageError, match="nothing to do: give at least one clip, one kind of damage and one variant"):
        VideoChoice(**{"clips": (TAPE,), **change})


def test_damage_that_nobody_knows() -> None:
    with pytest.raises(UsageError, match=r"preset is 'hevy', must be one of"):
        VideoChoice((TAPE,), damages=("hevy",))


def test_variants_of_one_name() -> None:
    with pytest.raises(UsageError, match="two variants would be called 'steps-2'; leave one out"):
        parse_variants(["steps=2", "steps= 2"])


def test_a_variant_of_a_setting_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"variant 'stps=2': there is no setting 'stps'\. Did you mean 'steps'\?"):
        parse_variant("stps=2")


def test_versions_of_different_length(tmp_path: Path) -> None:
    import av

    from iconface_video.video.reader import VideoReader

    short = tmp_path / "short.mkv"
    with av.open(str(TAPE)) as source, av.open(str(short), "w") as target:
        (film,) = source.streams.video[:1]
        copy = target.add_stream_from_template(film)
        for number, packet in enumerate(source.demux(film)):
            if packet.dts is not None and number < 12:
                packet.stream = copy
                target.mux(packet)
    assert sum(1 for _ in VideoReader(short, ReadSettings()).frames()) < sum(
        1 for _ in VideoReader(TAPE, ReadSettings()).frames()
    )
    with pytest.raises(InputError, match=r"short\.mkv: has fewer frames than the other versions; they cannot be compared"):
        list(_in_step({"clean": TAPE, "short": short}, ReadSettings()))
