"""`iconface-video bench`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iconface_video.cli.display import print_json, print_rows

if TYPE_CHECKING:
    from iconface_video.pipelines.bench import ClipBench
    from iconface_video.run.bench_model import ModelBench, Speed

app = typer.Typer(help="How fast this machine is.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """How fast this machine is."""


@app.command("model")
def model(
    source: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="embedded, a checkpoint folder, or hub:owner/name.")
    ] = "embedded",
    device: Annotated[str, typer.Option(metavar="TEXT", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(metavar="TEXT", help="auto, float32, bfloat16 or float16.")] = "auto",
    size: Annotated[int | None, typer.Option(metavar="N", help="Crop size in px; the model's largest when not given.")] = None,
    references: Annotated[int, typer.Option(metavar="N", min=0, max=16, help="Reference pictures per face.")] = 3,
    batch: Annotated[int, typer.Option(metavar="N", min=1, max=256, help="Faces per model call.")] = 4,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=100, help="Sampler steps; the model's own number when not given.")
    ] = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="How often each way is timed.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Measure how many faces a second a model restores, with cached references, without the cache, and without references.

    Examples:

      iconface-video bench model

      iconface-video bench model --size 256 --references 3 --batch 8 --json
    """
    from iconface_video.models.checkpoints import load_model
    from iconface_video.models.load_options import pick_device
    from iconface_video.run.bench_model import bench_model

    loaded = load_model(source, pick_device(device), dtype)
    found = bench_model(loaded, size, references, batch, steps, rounds)
    if as_json:
        print_json({**asdict(found), "cache_gain": found.cache_gain})
    else:
        print_rows(_rows(found))


def _rows(found: ModelBench) -> list[tuple[str, str]]:
    gain = "" if found.cache_gain is None else f", {found.cache_gain:.2f} times as fast as without the cache"
    rows = [
        ("model", f"{found.model}, {found.size} px, {found.steps} steps, batch {found.batch}, {found.references} references"),
        ("on", f"{found.device}, {found.number_format}, {found.threads} threads"),
        ("cached", f"{_speed(found.cached)}{gain}"),
    ]
    if found.uncached is not None:
        rows.append(("uncached", _speed(found.uncached)))
    return [*rows, ("no references", _speed(found.without_references))]


def _speed(speed: Speed) -> str:
    return f"{speed.median:.2f} faces/s ({speed.slowest:.2f} to {speed.fastest:.2f})"


_Clip = Annotated[
    Path, typer.Argument(metavar="CLIP", help="A video; what is measured depends on it, so choose one like yours.")
]
_Rounds = Annotated[int, typer.Option(metavar="N", min=1, max=100, help="How often each is timed.")]
_AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]


@app.command("stages")
def stages(
    clip: _Clip,
    frames: Annotated[int, typer.Option(metavar="N", min=2, max=1000, help="Frames, held in memory.")] = 60,
    rounds: _Rounds = 3,
    as_json: _AsJson = False,
) -> None:
    """Measure each stage alone on the first frames of a clip: decode, shots, detect, embed, cut, paste, encode.

    The model's own speed is measured by `bench model`.

    Example: iconface-video bench stages samples/tape.mp4
    """
    from iconface_video.pipelines.bench import bench_stages

    _show(bench_stages(clip, frames=frames, rounds=rounds), as_json)


@app.command("pipeline")
def pipeline(
    clip: _Clip,
    seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.1, help="Only the first seconds; the whole clip when not given.")
    ] = None,
    rounds: _Rounds = 3,
    as_json: _AsJson = False,
) -> None:
    """Measure whole passes over a clip beside the ffmpeg program's own transcode of it: a run without the model, the
    survey, and a run. The ratios mean the same on a fast and on a slow machine.

    Example: iconface-video bench pipeline samples/tape.mp4 --seconds 5
    """
    from iconface_video.pipelines.bench import bench_pipeline

    _show(bench_pipeline(clip, seconds=seconds, rounds=rounds), as_json)


def _show(found: ClipBench, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(found), "ratios": found.ratios})
        return
    machine = found.machine
    rows = [
        ("clip", f"{found.clip}, {found.picture}, {found.frames} frames"),
        ("on", f"{machine.processor}, {machine.cores} cores, {machine.threads} threads"),
    ]
    for rate in found.rates:
        ratio = found.ratios.get(rate.what)
        beside = "" if ratio is None else f", {ratio:.2f} times the ffmpeg program's time"
        cpu = f", {rate.cpu_seconds:.2f} s of processor time"
        rows.append((rate.what, f"{rate.median:.1f} {rate.unit}/s ({rate.slowest:.1f} to {rate.fastest:.1f}){cpu}{beside}"))
    print_rows(rows)
