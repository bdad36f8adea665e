"""Two revisions' trainers in one run, step by step in turn: processor time a face of each, and their ratio.

    python benchmarks/compare_training.py ../other-checkout

Each revision runs in a process of its own with its own code, configs and embedded model, and waits while the other one takes a step,
so that a busy machine disturbs both alike. What is trained: pairs at 128 px with two references, and the losses of the revision's own
configs/training/embedded-noise.yaml. Steps before the clock starts are not counted. Steps of one revision cost different times where a
loss is due in every nth only: all sums are over whole steps, so let their number be a multiple of every n.

With --validate-every both are also validated on the way, on the same held-out people (real --data): what is gained must not be lost there.
Curves compare only where both begin with the same weights: --start-from names a folder that both read.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parents[1]
MARK = "step-taken: "
VALIDATED = "validated: "
LOSSES = Path("configs/training/embedded-noise.yaml")


def main() -> None:
    options = _options()
    if options.drive:
        drive(options)
        return
    with tempfile.TemporaryDirectory(prefix="compare-training-") as name:
        folder = Path(name)
        data = options.data or [_made_up(folder / "faces", options.size)]
        trees = {"other": options.other.resolve(), "this": options.this.resolve()}
        drivers = {what: Driver(what, tree, folder, data, options) for what, tree in trees.items()}
        try:
            taken: dict[str, list[dict[str, float]]] = {what: [] for what in drivers}
            for _ in range(options.warm_up + options.steps):
                for what, driver in drivers.items():
                    taken[what].append(driver.step())
            if options.validate_every:  # a validation follows its step: one more brings the last
                for driver in drivers.values():
                    driver.step()
        finally:
            for driver in drivers.values():
                driver.stop()
    counted = {what: steps[options.warm_up :] for what, steps in taken.items()}
    report(counted, options.batch, {what: _revision(tree) for what, tree in trees.items()}, options.json)


def report(counted: dict[str, list[dict[str, float]]], batch: int, revisions: dict[str, str], as_json: bool) -> None:
    """Mean ms a face, and their ratio."""
    ms = {what: [1000 * step["processor"] / batch for step in steps] for what, steps in counted.items()}
    found: dict[str, Any] = {
        "ratio": statistics.mean(ms["other"]) / statistics.mean(ms["this"]),
        "steps": len(ms["this"]),
        "batch": batch,
        **{
            what: {
                "revision": revisions[what],
                "ms_a_face": statistics.mean(ms[what]),
                "each": ms[what],
                "loss": counted[what][-1]["loss"],
            }
            for what in counted
        },
    }
    if as_json:
        print(json.dumps(found))
        return
    for what in ("other", "this"):
        cheapest, dearest = min(ms[what]), max(ms[what])
        print(
            f"{what:6} {found[what]['ms_a_face']:8.1f} ms of processor time a face, {cheapest:.0f} to {dearest:.0f}   ({revisions[what]})"
        )
    print(f"ratio  {found['ratio']:8.2f} times as many faces a second (means of {found['steps']} steps)")


class Driver:
    """A process that trains with the code of one revision, a step whenever it is told to."""

    def __init__(self, what: str, tree: Path, folder: Path, data: list[Path], options: argparse.Namespace) -> None:
        # Here, not above: where a revision is driven, its own package is the one that is found.
        from iconface_video.errors import UsageError
        from iconface_video.lab.bench.compare import package_of

        try:
            package = package_of(tree, folder / f"{what}-package")
        except UsageError as error:
            raise SystemExit(str(error)) from None
        self._what = what
        sets = [part for folder in data for part in ("--data", str(folder))]
        chosen = [
            *sets,
            "--size",
            str(options.size),
            "--batch",
            str(options.batch),
            "--precision",
            options.precision,
        ]
        chosen += ["--optimizer", options.optimizer] if options.optimizer else []
        chosen += ["--start-from", str(options.start_from.resolve())] if options.start_from else []
        chosen += ["--validate-every", str(options.validate_every), "--validation-faces", str(options.validation_faces)]
        command = [sys.executable, str(Path(__file__).resolve()), str(tree), "--drive", str(folder / f"{what}-run"), *chosen]
        environment = {**os.environ, "PYTHONPATH": str(package)}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def step(self) -> dict[str, float]:
        """Processor and wall seconds of one step, and its loss."""
        _pipe(self._process.stdin).write("go\n")
        _pipe(self._process.stdin).flush()
        for line in _pipe(self._process.stdout):
            if line.startswith(VALIDATED):
                print(f"{self._what:6} {line.removeprefix(VALIDATED)}", end="", flush=True)
            if line.startswith(MARK):
                found: dict[str, float] = json.loads(line.removeprefix(MARK))
                return found
        raise SystemExit(f"{' '.join(map(str, self._process.args))}: ended early, see above")  # type: ignore[arg-type]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def drive(options: argparse.Namespace) -> None:
    """Train with the revision that PYTHONPATH names; each step waits for a line on standard input."""
    import yaml

    # By the checkout, not by trying: another one that is installed for editing would lend its modules.
    if (options.other / "iconface_video" / "lab").is_dir():
        from iconface_video.lab.train.config import RestorerConfig, read_config
        from iconface_video.lab.train.training import train_restorer
    else:
        from iconface_video.pipelines.train import train_restorer  # type: ignore[no-redef, import-not-found]
        from iconface_video.train.config import RestorerConfig, read_config  # type: ignore[no-redef, import-not-found]

    own = yaml.safe_load((options.other / LOSSES).read_text(encoding="utf-8"))
    trainer = {
        **own["trainer"],
        "max_steps": 1_000_000,
        "validate_every": options.validate_every or 1_000_000,
        "checkpoint_minutes": 1e6,
        "log_every": 1,
        "precision": options.precision,
        "cpu": True,
    }
    if options.optimizer:
        trainer["optimizer"] = options.optimizer
    values = {
        "stage": own["stage"],
        "start_from": str(options.start_from or "embedded"),
        "workers": 0,
        "faces": {"folders": [str(folder) for folder in options.data], "max_side": 256},
        "mix": {"sizes": [options.size], "batches": [options.batch], "reference_shares": [0.0, 0.0, 1.0], "pair_share": 1.0},
        "losses": own["losses"],
        **({"frozen": own["frozen"]} if "frozen" in own else {}),
        "validation": {"size": options.size, "count": options.validation_faces, "strengths": [6.0, 12.0]},
        "trainer": trainer,
    }
    clock = [time.process_time(), time.perf_counter()]

    def wait() -> None:
        if not sys.stdin.readline():
            raise SystemExit
        clock[:] = [time.process_time(), time.perf_counter()]

    def taken(step: int, figures: dict[str, float]) -> None:
        if "loss" not in figures:
            told = "  ".join(f"{name} {figures[name]:.3f}" for name in sorted(figures) if not name.startswith("input"))
            print(f"{VALIDATED}{step * options.batch} faces  {told}", flush=True)
            clock[:] = [time.process_time(), time.perf_counter()]
            return
        spent = {"processor": time.process_time() - clock[0], "wall": time.perf_counter() - clock[1], "loss": figures["loss"]}
        print(MARK + json.dumps(spent), flush=True)
        wait()

    wait()
    config = options.drive.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    train_restorer(read_config(RestorerConfig, config), options.drive, taken)


def _made_up(folder: Path, side: int) -> Path:
    from iconface_video.lab.bench.pipeline import made_up_faces

    return made_up_faces(folder, side)


def _revision(tree: Path) -> str:
    """Short commit and the folder's name."""
    found = subprocess.run(["git", "-C", str(tree), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return f"{tree.name}, {found.stdout.strip() or 'no commit known'}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, help="checkout of the other revision")
    parser.add_argument("--this", type=Path, default=HERE, help="checkout to compare it with (the one that this script is in)")
    parser.add_argument(
        "--data", type=Path, action="append", help="aligned faces with an index.csv; made-up pictures when not given"
    )
    parser.add_argument("--validate-every", type=int, default=0, help="steps between two validations of both; 0: none (0)")
    parser.add_argument("--validation-faces", type=int, default=1, help="faces that each validates on (1)")
    parser.add_argument("--size", type=int, default=128, help="px (128)")
    parser.add_argument("--batch", type=int, default=12, help="faces a step, an even number (12)")
    parser.add_argument("--warm-up", type=int, default=5, help="steps before the clock starts (5)")
    parser.add_argument("--steps", type=int, default=20, help="steps on the clock, of each (20)")
    parser.add_argument("--precision", default="bf16", help="no, bf16 or fp16, of both (bf16)")
    parser.add_argument(
        "--start-from", type=Path, help="model folder that both begin with; each its own embedded one when not given"
    )
    parser.add_argument("--optimizer", help="of both; each config's own when not given")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps < 2 or options.batch < 2 or options.batch % 2:
        parser.error("--steps is at least 2, --batch an even number")
    return options


if __name__ == "__main__":
    main()
