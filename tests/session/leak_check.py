"""Does memory grow with the clip? ``python -m tests.session.leak_check CLIP --minutes 30`` loops a clip to that length, runs the whole
recipe over it with a stand-in for the model, and compares the last minute of each pass with its second one.

Exit code 1 where memory grew by more than 3 %, or file handles or threads grew at all.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from iconface_video.pipelines.restore import restore_video
from iconface_video.settings import EncodeSettings, RestoreSettings, RunSettings, SurveySettings
from iconface_video.types import Progress
from iconface_video.video.probe import probe
from tests.pipelines.conftest import Sharpener, grey_embed

MOST_GROWTH = 0.03


_SAMPLE_EVERY_SECONDS = 0.5
"""More often, the samples themselves would be what grows."""


@dataclass(frozen=True)
class Sample:
    """The process at one moment."""

    done: float
    """Share of the pass."""
    resident: int
    """Bytes that are its own: pages of files and shared libraries are not counted."""
    files: int
    threads: int


def sample(done: float) -> Sample:
    pages = Path("/proc/self/statm").read_text().split()
    own = (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")
    return Sample(done, own, len(os.listdir("/proc/self/fd")), threading.active_count())


def loop(clip: Path, minutes: float, output: Path) -> Path:
    """The clip again and again, as it is stored."""
    times = round(minutes * 60 / (probe(clip).duration_seconds or 1))
    command = ["ffmpeg", "-v", "error", "-stream_loop", str(max(0, times - 1)), "-i", str(clip), "-map", "0:v", "-c", "copy"]
    subprocess.run([*command, str(output)], check=True)
    return output


def watch(clip: Path, folder: Path, detection_size: int = 256) -> dict[str, list[Sample]]:
    """Samples of each pass."""
    found: dict[str, list[Sample]] = {}

    taken = {"survey": 0.0, "restore": 0.0, "render": 0.0}

    def on_progress(event: Progress) -> None:
        now = time.monotonic()
        if event.done and event.total and now - taken.get(event.stage, now) >= _SAMPLE_EVERY_SECONDS:
            taken[event.stage] = now
            found.setdefault(event.stage, []).append(sample(event.done / event.total))

    settings = RunSettings(
        survey=SurveySettings(detection_size=detection_size),
        restore=RestoreSettings(crop_size=64),
        encode=EncodeSettings(preset="ultrafast"),
    )
    restore_video(
        clip, folder / "out.mp4", settings=settings, model=Sharpener(), embed=grey_embed, on_progress=on_progress, force=True
    )
    return found


def judge(samples: dict[str, list[Sample]], minutes: float) -> list[str]:
    """A line for each pass; those of passes that grew begin with "GREW"."""
    lines = []
    for stage, seen in samples.items():
        second = [item for item in seen if 1 / minutes <= item.done < 2 / minutes]
        last = [item for item in seen if item.done >= 1 - 1 / minutes]
        if not second or not last:
            continue  # writing happens beside restoring: what it takes is seen there, and only its end by itself
        memory = [statistics.median(item.resident for item in part) for part in (second, last)]
        files, threads = (
            [max(getattr(item, name) for item in part) for part in (second, last)] for name in ("files", "threads")
        )
        growth = memory[1] / memory[0] - 1
        grew = growth > MOST_GROWTH or files[1] > files[0] or threads[1] > threads[0]
        lines.append(
            f"{'GREW' if grew else 'flat'} {stage}: memory {memory[0] / 2**20:.0f} -> {memory[1] / 2**20:.0f} MiB ({growth:+.1%}), "
            f"file handles {files[0]} -> {files[1]}, threads {threads[0]} -> {threads[1]} (second -> last minute of {minutes:g})"
            f"; MiB by tenths of the pass: {_curve(seen)}"
        )
    return lines


def _curve(seen: list[Sample]) -> str:
    """Tells what grows with the clip (a slope) from what only takes its time to warm up (a step)."""
    tenths = [[item.resident for item in seen if k <= 10 * item.done < k + 1] for k in range(10)]
    return " ".join(f"{statistics.median(part) / 2**20:.1f}" if part else "-" for part in tenths)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=30, help="of video; at least 3")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        long = loop(options.clip, options.minutes, Path(folder, "long.mp4"))
        lines = judge(watch(long, Path(folder)), options.minutes)
    print("\n".join(lines))
    return int(any(line.startswith("GREW") for line in lines))


if __name__ == "__main__":
    sys.exit(main())
