"""Two revisions of the program on one clip, in turn: what one takes of the other's time, whatever else the machine does.

Each runs in a process of its own, from start to end, with the Python and the libraries of this environment. Bare times say
nothing on a machine that is shared; runs in turn, and processor time, mostly do.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from iconface_video import __version__
from iconface_video.errors import IconFaceError, UsageError

if TYPE_CHECKING:
    from iconface_video.lab.bench.stages import Machine

What = Literal["help", "survey", "run", "render"]
"""The list of commands; who is in a clip; a run; another video from what a run has kept."""
_PARTS = ("iconface_video", "pipelines", "configs")
"""Of a checkout, that make the installed package."""
_START = "import sys; from iconface_video.cli.main import main; sys.exit(main())"
_SHOWN = 600
"""Signs of what a program said that failed."""


@dataclass(frozen=True)
class Cost:
    """Of one run of a program, with all the processes that it waited for."""

    wall_seconds: float
    processor_seconds: float
    peak_bytes: int
    """Of its own memory."""


@dataclass(frozen=True)
class Ratio:
    """The other revision's cost over this one's, of pairs of runs: above 1 this one takes less."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, other: Sequence[float], this: Sequence[float]) -> Ratio:
        """Pair by pair. Raises ValueError for no runs."""
        ratios = [theirs / ours for theirs, ours in zip(other, this, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))


@dataclass(frozen=True)
class Comparison:
    """What `compare` measured."""

    what: What
    clip: str
    other: str
    this: str
    machine: Machine
    others: tuple[Cost, ...]
    own: tuple[Cost, ...]

    @property
    def wall(self) -> Ratio:
        return self._ratio(lambda cost: cost.wall_seconds)

    @property
    def processor(self) -> Ratio:
        return self._ratio(lambda cost: cost.processor_seconds)

    @property
    def memory(self) -> Ratio:
        return self._ratio(lambda cost: cost.peak_bytes)

    def _ratio(self, figure: Callable[[Cost], float]) -> Ratio:
        return Ratio.of([figure(cost) for cost in self.others], [figure(cost) for cost in self.own])


def compare(revision: str, clip: Path, what: What = "run", rounds: int = 3, options: Sequence[str] = ()) -> Comparison:
    """Run `revision` and this one in turn, `rounds` times each.

    revision: a folder with a checkout, or the name of a commit where this one runs from a checkout with git.  options: more
    words for the command that is measured. Raises UsageError for a revision that is not there, and IconFaceError with what the
    program said where a run fails.
    """
    root = Path(__file__).resolve().parents[3]
    with tempfile.TemporaryDirectory(prefix="iconface-compare-") as name, ExitStack() as undo:
        folder = Path(name)
        tree = Path(revision) if Path(revision).is_dir() else _checked_out(revision, root, folder / "checkout", undo)
        homes = {"other": package_of(tree.resolve(), folder / "other"), "this": package_of(root, folder / "this")}
        jobs = {which: _job(home, clip.resolve(), what, list(options)) for which, home in homes.items()}
        costs: dict[str, list[Cost]] = {which: [] for which in jobs}
        for _ in range(rounds):
            for which, job in jobs.items():
                costs[which].append(job())
    # Only now: torch comes with it, and the peak of a process that is started is never below that of the one that starts it.
    from iconface_video.lab.bench.stages import Machine

    return Comparison(what, str(clip), revision, __version__, Machine.here(), tuple(costs["other"]), tuple(costs["this"]))


def package_of(tree: Path, folder: Path) -> Path:
    """A folder for PYTHONPATH in which a checkout's package is as it is installed: pipelines/ and configs/ inside it.

    tree: a checkout, or a folder in which the package is installed. Raises UsageError for what is neither.
    """
    if (tree / "iconface_video" / "pipelines").is_dir():
        folder.mkdir(parents=True)
        (folder / "iconface_video").symlink_to(tree / "iconface_video")
        return folder
    missing = next((part for part in _PARTS if not (tree / part).is_dir()), None)
    if missing is not None:
        raise UsageError(f"{tree}: not a checkout of this project ({missing} is missing)")
    package = folder / "iconface_video"
    package.mkdir(parents=True)
    for part in [*(tree / "iconface_video").iterdir(), tree / "pipelines", tree / "configs"]:
        (package / part.name).symlink_to(part)
    return folder


def _checked_out(revision: str, root: Path, folder: Path, undo: ExitStack) -> Path:
    """The commit as a worktree, which goes again with the block."""
    git = ["git", "-C", str(root), "worktree"]
    try:
        done = subprocess.run([*git, "add", "--detach", str(folder), revision], capture_output=True, text=True)
    except OSError as error:
        raise UsageError(
            f"'{revision}' is no folder, and git cannot be called ({error}). Give a folder with a checkout."
        ) from None
    if done.returncode:
        said = " ".join(done.stderr.split())[:_SHOWN]
        raise UsageError(f"'{revision}' is neither a folder nor a commit that {root} knows ({said})")
    undo.callback(subprocess.run, [*git, "remove", "--force", str(folder)], capture_output=True)
    return folder


def _job(home: Path, clip: Path, what: What, options: list[str]) -> Callable[[], Cost]:
    """What is measured; it writes into a revision's own folder alone."""
    out, work = home / f"out{clip.suffix}", home / "work"

    def ended(*words: str | Path) -> Cost:
        return cost_of([sys.executable, "-c", _START, *map(str, words)], home)

    run: list[str | Path] = ["run", clip, "-o", out, "--force", "--quiet", *options]
    if what == "help":
        return lambda: ended("--help")
    if what == "survey":
        return lambda: ended("people", clip, "-o", home / "people", "--force", "--quiet", *options)
    if what == "run":
        return lambda: ended(*run, "--fresh")
    ended(*run, "--work", work, "--keep-work")
    return lambda: ended("render", work, "-o", out, "--force", "--quiet")


def cost_of(command: Sequence[str], home: Path) -> Cost:
    """Run a program to its end, with the package that lies in `home`. Raises IconFaceError where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(home)}
    with tempfile.TemporaryFile() as said:
        begun = time.perf_counter()
        process = subprocess.Popen(command, env=environment, cwd=home, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            words = " ".join(said.read().decode(errors="replace").split())[-_SHOWN:]
            raise IconFaceError(f"a run of the program in {home} failed: {words}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)
