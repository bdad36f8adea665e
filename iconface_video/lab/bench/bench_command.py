"""`iconface-video bench model|personalize|stages|pipeline|training`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from iconface_video.cli.display import print_json, print_rows
from iconface_video.cli.options import with_options
from iconface_video.cli.shared_options import JsonFlag
from iconface_video.errors import UsageError
from iconface_video.lab.bench.compare import What
from iconface_video.lab.bench.compare import compare as compared
from iconface_video.settings import OptionForm, setting

if TYPE_CHECKING:
    from iconface_video.lab.bench.pipeline import ClipBench, TrainingBench
    from iconface_video.lab.bench.stages import ModelBench, Speed

COUNT = OptionForm(metavar="N")

app = typer.Typer(help="How fast this machine is.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """How fast this machine is."""


@dataclass(frozen=True)
class ModelChoice:
    """Which model is measured, and where."""

    source: str = setting(
        "embedded",
        form=OptionForm(metavar="[MODEL]", is_argument=True),
        help="embedded, a checkpoint folder, or hub:owner/name.",
    )
    device: str = setting("auto", form=OptionForm(metavar="TEXT"), help="auto, cpu, cuda, cuda:N or mps.")


@dataclass(frozen=True)
class ModelOptions(ModelChoice):
    """At what a model is measured."""

    dtype: str = setting("auto", form=OptionForm(metavar="TEXT"), help="auto, float32, bfloat16 or float16.")
    size: int | None = setting(None, form=COUNT, help="Crop size in px; the model's largest when not given.")
    references: int = setting(3, low=0, high=16, form=COUNT, help="Reference pictures per face.")
    batch: int = setting(4, low=1, high=256, form=COUNT, help="Faces per model call.")
    steps: int | None = setting(None, low=1, high=100, form=COUNT, help="Sampler steps; the model's own number when not given.")
    rounds: int = setting(5, low=1, high=1000, form=COUNT, help="How often each way is timed.")


@app.command("model")
@with_options()
def model(options: ModelOptions, as_json: JsonFlag = False) -> None:
    """Measure how many faces a second a model restores, with cached references, without the cache, and without references.

    Examples:

      iconface-video bench model

      iconface-video bench model --size 256 --references 3 --batch 8 --json
    """
    from iconface_video.lab.bench.stages import bench_model
    from iconface_video.models.checkpoints import load_model
    from iconface_video.models.load_options import pick_device

    loaded = load_model(options.source, pick_device(options.device), options.dtype)
    found = bench_model(loaded, options.size, options.references, options.batch, options.steps, options.rounds)
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


@dataclass(frozen=True)
class PersonOptions(ModelChoice):
    """How often it is timed while it learns a person."""

    rounds: int = setting(5, low=1, high=1000, form=COUNT, help="Steps on the clock.")


@app.command("personalize")
@with_options()
def personalize(options: PersonOptions, as_json: JsonFlag = False) -> None:
    """Measure how fast a model learns a person from photos, and how fast it changes from one person to the next.

    Example: iconface-video bench personalize
    """
    from iconface_video.lab.bench.personal import bench_person
    from iconface_video.models.checkpoints import load_model
    from iconface_video.models.load_options import pick_device
    from iconface_video.personalize.recipe import PersonalizeSettings

    found = bench_person(load_model(options.source, pick_device(options.device)), PersonalizeSettings(), options.rounds)
    if as_json:
        return print_json({**asdict(found), "person_seconds": found.person_seconds})
    print_rows(
        [
            ("model", f"{found.model}, on {found.device}, {found.threads} threads"),
            ("a step", f"{found.step_seconds:.2f} s for {found.faces} faces of {found.size} px"),
            ("a face", f"{found.face_cpu_ms:.1f} ms of processor time"),
            ("a person", f"{found.person_seconds:.0f} s for {found.steps} steps, then a check on a photo that was held out"),
            ("kept", f"{found.kilobytes:.0f} kB"),
            ("a change", f"{1000 * found.change_seconds:.0f} ms from one person to the next"),
        ]
    )


_Clip = Annotated[
    Path, typer.Argument(metavar="CLIP", help="A video; what is measured depends on it, so choose one like yours.")
]
_Rounds = Annotated[int, typer.Option(metavar="N", min=1, max=100, help="How often each is timed.")]


@app.command("stages")
def stages(
    clip: _Clip,
    frames: Annotated[int, typer.Option(metavar="N", min=2, max=1000, help="Frames, held in memory.")] = 60,
    rounds: _Rounds = 3,
    as_json: JsonFlag = False,
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
    as_json: JsonFlag = False,
) -> None:
    """Measure whole passes over a clip beside the ffmpeg program's own transcode of it: a run without the model, the
    survey, a run, and another strength written from the faces that a run has kept. The ratios mean the same on a fast and on a
    slow machine.

    Example: iconface-video bench pipeline samples/tape.mp4 --seconds 5
    """
    from iconface_video.lab.bench.pipeline import bench_pipeline

    _show(bench_pipeline(clip, seconds=seconds, rounds=rounds), as_json)


@app.command("compare")
def compare(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="A folder with another checkout, or a commit of the one that is used.")
    ],
    clip: _Clip,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTION...]", help="More options for the command that is measured.")
    ] = None,
    what: Annotated[
        What, typer.Option(help="The list of commands, `people`, `run`, or `render` of what a run has kept.")
    ] = "run",
    rounds: _Rounds = 3,
    as_json: JsonFlag = False,
) -> None:
    """Run another revision and this one in turn, from start to end, and show how many times as much the other takes: of time, of
    processor time, of memory. On a machine that does other things only processor time tells something.

    Examples:

      iconface-video bench compare ../other-checkout samples/tape.mp4

      iconface-video bench compare 28e7581 talk.mp4 --rounds 5 -- --crop-size 256
    """
    found = compared(revision, clip, what, rounds, options or ())
    if as_json:
        return print_json({**asdict(found), **{name: asdict(getattr(found, name)) for name in ("wall", "processor", "memory")}})
    rows = [("measured", f"{found.what}, {found.clip}"), ("on", f"{found.machine.processor}, {found.machine.cores} cores")]
    for name, costs in ((found.other, found.others), (f"this ({found.this})", found.own)):
        wall, processor, peak = (
            median(values)
            for values in zip(*((cost.wall_seconds, cost.processor_seconds, cost.peak_bytes / 2**20) for cost in costs))
        )
        rows.append((name, f"{wall:.2f} s, {processor:.2f} s of processor time, {peak:.0f} MiB"))
    for name, ratio in (("time", found.wall), ("processor time", found.processor), ("memory", found.memory)):
        rows.append((name, f"{ratio.median:.2f} times this one's ({ratio.least:.2f} to {ratio.most:.2f})"))
    print_rows(rows)


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
        speed = f"{rate.median:.1f} {rate.unit}/s ({rate.slowest:.1f} to {rate.fastest:.1f}), {rate.seconds:.2f} s"
        rows.append((rate.what, f"{speed}{cpu}{beside}"))
    print_rows(rows)


SMALL_SHARE = 0.002
"""Parts below it stand in one line; the JSON has them all."""


@dataclass(frozen=True)
class TrainingOptions:
    """Which stage's steps are measured, and how many."""

    config: Path = setting(
        form=OptionForm(metavar="CONFIG", is_argument=True), help="Training config (YAML), see configs/training/."
    )
    data: tuple[Path, ...] = setting(
        (),
        form=OptionForm(("--data",), "FOLDER"),
        help="Aligned faces with an index.csv; made-up pictures when not given.",
    )
    stage: int = setting(1, low=1, form=COUNT, help="Which stage, where the config has several.")
    size: int | None = setting(None, form=OptionForm(metavar="PX"), help="Crops of this size only.")
    batch: int | None = setting(None, low=1, form=COUNT, help="Faces a batch; the config's when not given.")
    references: int | None = setting(
        None, low=0, high=8, form=COUNT, help="As many in every batch; the config's mix when not given."
    )
    steps: int = setting(5, low=1, high=1000, form=COUNT, help="Steps on the clock.")
    warm_up: int = setting(2, low=0, high=100, form=COUNT, help="Steps before that.")
    profiled: int = setting(2, low=1, high=10, form=COUNT, help="Of these steps, repeated to tell the parts.")


@app.command("training")
@with_options()
def training(options: TrainingOptions, as_json: JsonFlag = False) -> None:
    """Measure where a training step's processor time goes: data, the model's parts and each loss, forward and backward, the
    optimizers. Milliseconds a face; nothing is kept.

    Example: iconface-video bench training configs/training/embedded-noise.yaml --size 128 --references 2
    """
    from iconface_video.lab.bench.pipeline import bench_training
    from iconface_video.lab.train.config import read_stages

    stages = read_stages(options.config)
    if options.stage > len(stages):
        raise UsageError(f"{options.config}: has {len(stages)} stages, --stage is {options.stage}")
    chosen = stages[options.stage - 1]
    mix = chosen.mix
    if options.size is not None:
        place = mix.sizes.index(options.size) if options.size in mix.sizes else 0
        mix = replace(mix, sizes=(options.size,), batches=(mix.batches[place],), size_shares=(1.0,))
    if options.batch is not None:
        mix = replace(mix, batches=(options.batch,) * len(mix.sizes))
    if options.references is not None:
        mix = replace(mix, reference_shares=(0.0,) * options.references + (1.0,))
    found = bench_training(replace(chosen, mix=mix), options.data, options.steps, options.warm_up, options.profiled)
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
