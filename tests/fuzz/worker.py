"""Runs the command line on mutants, each in a forked child with a deadline and a memory limit, and says what came of it.

    python -m tests.fuzz.worker SEED_FOLDER PORTRAIT FIRST COUNT [--keep FOLDER]

One JSON line for each mutant on stdout. A crash, a hang or a memory hog ends its child and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.mutate import Mutant, mutant
from tests.fuzz.seeds import FRAMES, make_seeds

DEADLINE_SECONDS = 180.0
"""Asleep or waiting for the processor."""
CPU_SECONDS = 30
"""At work: a healthy mutant takes less than one."""
ADDRESS_SPACE_BYTES = 4 << 30
"""More than the process has before the mutant is touched."""
MEMORY_BYTES = 1 << 30
"""Resident, more than before."""
FULL_EVERY = 10
"""Every so many mutants go through the whole restoration with the small model; the others leave the faces alone."""
REFUSALS = (1, 2)


@dataclass
class Outcome:
    """What came of one mutant."""

    number: int
    what: str
    kind: str = ""
    """refused (before any work), failed (on the way), partial (written, and said what is missing), whole, or less (written; the damaged
    file itself says that it holds less)."""
    sentence: str = ""
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    megabytes: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("portrait", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--keep", type=Path, help="mutants with a problem are copied here")
    given = parser.parse_args()
    seeds = make_seeds(given.folder, given.portrait)
    import iconface_video.pipelines.restore  # noqa: F401 - loaded once, before the children are forked
    from iconface_video.cli.main import _command

    _command()
    for number in range(given.first, given.first + given.count):
        item = mutant(seeds, number)
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            outcome = _examine(item, Path(folder))
            if outcome.problems and given.keep:
                given.keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(folder) / f"mutant{item.seed.path.suffix}", given.keep / f"{number}{item.seed.path.suffix}")
        print(json.dumps(asdict(outcome)), flush=True)


def _examine(item: Mutant, folder: Path) -> Outcome:
    path, out = folder / f"mutant{item.seed.path.suffix}", folder / "out"
    path.write_bytes(item.data)
    out.mkdir()
    is_full = _is_full(item.number)
    if is_full:
        _keep_models()
    outcome = Outcome(item.number, item.what + (" [whole restoration]" if is_full else ""))
    begun = time.monotonic()
    before = _resident_bytes()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _child(path, out, folder, is_full, write_end)
    os.close(write_end)
    answer = _answer(read_end, child)
    _, status, usage = os.wait4(child, 0)
    outcome.seconds = round(time.monotonic() - begun, 2)
    outcome.cpu_seconds = round(usage.ru_utime + usage.ru_stime, 2)
    outcome.megabytes = round((usage.ru_maxrss * 1024 - before) / 2**20, 1)
    if answer is None:
        died_of = os.WTERMSIG(status)
        is_hang = outcome.seconds >= DEADLINE_SECONDS or died_of == signal.SIGXCPU
        what = "hangs" if is_hang else f"crashes (signal {died_of}, status {status})"
        outcome.problems.append(what)
        return outcome
    _judge(outcome, item, answer, path, out)
    if outcome.megabytes * 2**20 > MEMORY_BYTES:
        outcome.problems.append(f"takes {outcome.megabytes:.0f} MB")
    return outcome


def _is_full(number: int) -> bool:
    return number % FULL_EVERY == FULL_EVERY - 1


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _answer(read_end: int, child: int) -> dict[str, Any] | None:
    """What the child says; None when it dies or is killed at the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    said = b""
    with os.fdopen(read_end, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                os.kill(child, signal.SIGKILL)
                return None
            chunk = pipe.read(1 << 16)
            if not chunk:
                break
            said += chunk
    return json.loads(said) if said else None


def _keep_models() -> None:
    """Load restorer and identity encoder once; the children share them."""
    from iconface_video.session import networks
    from iconface_video.settings import RestoreSettings

    if not hasattr(_keep_models, "done"):
        model, embed = networks.load_restorer(RestoreSettings()), networks.load_embedder()
        networks.load_restorer = lambda settings: model
        networks.load_embedder = lambda: embed
        _keep_models.done = True  # type: ignore[attr-defined]


# ---- in the child


def _child(path: Path, out: Path, folder: Path, is_full: bool, write_end: int) -> None:
    """Never returns."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_AS, (space + ADDRESS_SPACE_BYTES,) * 2)
        answer = _exercise(path, out, folder, is_full)
        data = json.dumps(answer).encode()
        while data:
            data = data[os.write(write_end, data) :]
        code = 0
    finally:
        os._exit(code)


def _exercise(path: Path, out: Path, folder: Path, is_full: bool) -> dict[str, Any]:
    probed = _call(folder, "probe", "--json", str(path))
    options = ["--quiet", "--json", "--encoder-preset", "ultrafast", "--encoder-threads", "1", "-o", str(out)]
    if is_full:
        options += ["--preview", "0.5", "--detection-size", "192"]
    else:
        options += ["--strength", "0"]
    ran = _call(folder, "run", str(path), *options)
    written = sorted(str(item) for item in out.rglob("*"))
    answer = {"probe": probed, "run": ran, "written": written}
    if ran["code"] == 0 and len(written) == 1:
        try:
            answer["frames"], answer["damage"] = _frames_in(Path(written[0]))
        except Exception as error:
            answer["unreadable"] = f"{type(error).__name__}: {error}"
    return answer


def _call(folder: Path, *arguments: str) -> dict[str, Any]:
    """A command's exit code and what it printed, FFmpeg's own lines included."""
    from iconface_video.cli.main import main as command_line

    paths = folder / "stdout", folder / "stderr"
    for number, path in enumerate(paths, 1):
        with path.open("w") as file:
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", errors="backslashreplace") for number in (1, 2))
    code = command_line(arguments)
    sys.stdout.close()
    sys.stderr.close()
    printed, errors = (path.read_text(errors="replace") for path in paths)
    return {"code": code, "out": printed, "err": errors}


def _frames_in(path: Path) -> tuple[int, int]:
    """Frames of an output, and how many of them are damaged."""
    from iconface_video.video.reader import VideoReader

    reader = VideoReader(path)
    return sum(1 for _ in reader.frames()), reader.corrupt_frames + reader.is_truncated


# ---- the verdict

_TELLING = ("damaged", "could not be decoded", "no usable time", "ends early", "backwards", "left out")
"""Words of the notes that say what was concealed, moved or is missing."""


def _judge(outcome: Outcome, item: Mutant, answer: dict[str, Any], path: Path, out: Path) -> None:
    for name in ("probe", "run"):
        said = answer[name]
        if said["code"] != 0:
            _judge_refusal(outcome, name, said, path)
        elif said["err"].strip():
            outcome.problems.append(f"{name} succeeds but says: {said['err'].strip()[:300]}")
    ran, written = answer["run"], answer["written"]
    if ran["code"] != 0:
        outcome.kind = "refused" if answer["probe"]["code"] != 0 or ran["code"] == 2 else "failed"
        outcome.sentence = ran["err"].strip()
        if written:
            outcome.problems.append(f"leaves {written} behind")
        return
    report = json.loads(ran["out"])
    outcome.sentence = " / ".join(report["notes"])
    if [Path(name).name[:1] == "." for name in written] != [False]:
        outcome.problems.append(f"wrote {written}")
    elif "unreadable" in answer:
        outcome.problems.append(f"wrote what cannot be read: {answer['unreadable']}")
    elif answer["frames"] != report["frames"] or answer["damage"]:
        outcome.problems.append(f"reports {report['frames']} frames, wrote {answer['frames']} ({answer['damage']} damaged)")
    expected = (25 if item.seed.path.suffix == ".ts" else FRAMES) // (2 if _is_full(item.number) else 1)  # half is previewed
    told = any(word in outcome.sentence for word in _TELLING)
    outcome.kind = "partial" if told else "whole" if report["frames"] >= expected * 3 // 4 else "less"


def _judge_refusal(outcome: Outcome, name: str, said: dict[str, Any], path: Path) -> None:
    lines = said["err"].strip().splitlines()
    if said["code"] not in REFUSALS:
        outcome.problems.append(f"{name} exits with {said['code']}")
    if "Traceback" in said["err"] or "unexpected" in said["err"]:
        outcome.problems.append(f"{name}: {said['err'].strip()[-600:]}")
    elif len(lines) != 1 or not lines[0].startswith("error: "):
        outcome.problems.append(f"{name} says more than one sentence: {said['err'].strip()[:600]}")
    elif path.name not in lines[0]:
        outcome.problems.append(f"{name} does not name the file: {lines[0]}")


if __name__ == "__main__":
    main()
