"""`iconface-video bench`.

`iconface-video bench training`.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iconface_video.cli.display import print_json, print_rows

if TYPE_CHECKING:
    from iconface_video.lab.bench.pipeline import ClipBench, TrainingBench
    from iconface_video.lab.bench.stages import ModelBench, Speed

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
    from iconface_video.lab.bench.stages import bench_model
    from iconface_video.models.checkpoints import load_model
    from iconface_video.models.load_options import pick_device

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
    from iconface_video.lab.bench.pipeline import bench_stages

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
    from iconface_video.lab.bench.pipeline import bench_pipeline

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


SMALL_SHARE = 0.002
"""Parts below it stand in one line; the JSON has them all."""


def training(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Training config (YAML), see configs/training/.")],
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="FOLDER", help="Aligned faces with an index.csv; made-up pictures when not given."),
    ] = None,
    stage: Annotated[int, typer.Option(metavar="N", min=1, help="Which stage, where the config has several.")] = 1,
    size: Annotated[int | None, typer.Option(metavar="PX", help="Crops of this size only.")] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", min=1, help="Faces a batch; the config's when not given.")] = None,
    references: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=8, help="As many in every batch; the config's mix when not given.")
    ] = None,
    steps: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Steps on the clock.")] = 5,
    warm_up: Annotated[int, typer.Option(metavar="N", min=0, max=100, help="Steps before that.")] = 2,
    profiled: Annotated[int, typer.Option(metavar="N", min=1, max=10, help="Of these steps, repeated to tell the parts.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Measure where a training step's processor time goes: data, the model's parts and each loss, forward and backward, the
    optimizers. Milliseconds a face; nothing is kept.

    Example: iconface-video bench training configs/training/embedded-noise.yaml --size 128 --references 2
    """
    from iconface_video.errors import UsageError
    from iconface_video.lab.bench.pipeline import bench_training
    from iconface_video.lab.train.config import read_stages

    stages = read_stages(config)
    if stage > len(stages):
        raise UsageError(f"{config}: has {len(stages)} stages, --stage is {stage}")
    chosen = stages[stage - 1]
    mix = chosen.mix
    if size is not None:
        place = mix.sizes.index(size) if size in mix.sizes else 0
        mix = replace(mix, sizes=(size,), batches=(mix.batches[place],), size_shares=(1.0,))
    if batch is not None:
        mix = replace(mix, batches=(batch,) * len(mix.sizes))
    if references is not None:
        mix = replace(mix, reference_shares=(0.0,) * references + (1.0,))
    found = bench_training(replace(chosen, mix=mix), data or (), steps, warm_up, profiled)
    if as_json:
        print_json({**asdict(found), "ms_a_face": found.times.whole})
    else:
        print_rows(_training_rows(found))


def _training_rows(found: TrainingBench) -> list[tuple[str, str]]:
    times, machine = found.times, found.machine

    def line(ms: float, more: str = "") -> str:
        return f"{ms:8.2f} ms  {100 * ms / times.whole:5.1f} %{more}"

    rows = [
        ("stage", f"{found.stage}, {', '.join(map(str, found.sizes))} px, precision {found.precision}, {times.faces} faces"),
        ("on", f"{machine.processor}, {machine.cores} cores, {machine.threads} threads"),
        ("a face", line(times.whole)),
        ("data", line(times.data)),
    ]
    large = [part for part in times.parts if part.whole >= SMALL_SHARE * times.whole]
    rows += [(p.name, line(p.whole, f"  (forward {p.forward:.2f}, backward {p.backward:.2f})")) for p in large]
    small = times.parts[len(large) :]  # longest first
    rows += [("smaller parts", line(sum(part.whole for part in small)))] if small else []
    rows += [(f"optimizer, {name}", line(ms)) for name, ms in times.optimizers.items()]
    return [*rows, ("average", line(times.average)), ("other", line(times.other))]
