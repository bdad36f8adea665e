"""`iconface-video bench training`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iconface_video.cli.display import print_json, print_rows

if TYPE_CHECKING:
    from iconface_video.pipelines.bench_training import TrainingBench

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
    from iconface_video.pipelines.bench_training import bench_training
    from iconface_video.train.config import read_stages

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
        print_rows(_rows(found))


def _rows(found: TrainingBench) -> list[tuple[str, str]]:
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
