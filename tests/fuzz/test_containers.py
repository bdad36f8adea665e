"""Hundreds of damaged videos through the whole command line: an error in one sentence, or a restoration that says what is missing.

`make fuzz` runs 600 mutants, any number is run with `ICONFACE_FUZZ=N pytest tests/fuzz/test_containers.py -s`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fuzz.mutate import mutant
from tests.fuzz.seeds import Seed, make_seeds
from tests.fuzz.tree import AVI, MKV, MP4

COUNT = int(os.environ.get("ICONFACE_FUZZ", "60"))
WORKERS = 2


@pytest.fixture(scope="module")
def seeds(astronaut_png: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Seed]:
    return make_seeds(tmp_path_factory.mktemp("seeds"), astronaut_png)


def outcomes(folder: Path, portrait: Path, first: int, count: int) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.fuzz.worker", str(folder), str(portrait), str(first), str(count)]
    limits = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, env={**os.environ, **limits})
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="mutants are examined in forked children")
def test_no_damaged_video_crashes_hangs_or_leaves_half_a_file(astronaut_png: Path, tmp_path: Path) -> None:
    share = -(-COUNT // WORKERS)
    jobs = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for first in range(0, COUNT, share):
            folder = tmp_path / str(first)
            folder.mkdir()
            jobs.append(pool.submit(outcomes, folder, astronaut_png, first, min(share, COUNT - first)))
    found = [outcome for job in jobs for outcome in job.result()]
    print(f"\n{COUNT} mutants: {dict(Counter(item['kind'] or 'problem' for item in found))}")
    assert [item["number"] for item in found] == list(range(COUNT))
    assert [(item["number"], item["what"], item["problems"]) for item in found if item["problems"]] == []
    # The damage is neither so small that nothing notices nor so large that nothing is left.
    kinds = Counter(item["kind"] for item in found)
    assert kinds["refused"] >= COUNT / 20
    assert kinds["partial"] >= COUNT / 20
    assert kinds["whole"] >= COUNT / 20


@pytest.mark.parametrize("number", range(0, 60, 7))
def test_a_mutant_is_the_same_every_time(number: int, seeds: list[Seed]) -> None:
    one, other = mutant(seeds, number), mutant(seeds, number)
    assert one.data == other.data
    assert one.what == other.what


def test_most_mutants_differ_from_their_seed(seeds: list[Seed]) -> None:
    changed = sum(mutant(seeds, number).data != seed.path.read_bytes() for number, seed in enumerate(seeds * 10))
    assert changed > 0.9 * 10 * len(seeds)


def test_containers_taken_apart_and_put_together_are_read_alike(seeds: list[Seed], tmp_path: Path) -> None:
    """Otherwise every mutant would be refused for our writer's sake, and nothing be tested."""
    from iconface_video.video.reader import VideoReader

    for seed, container in zip(seeds, (MP4, MKV, MP4, None, AVI, MP4)):
        if container is None:
            continue
        path = tmp_path / seed.path.name
        path.write_bytes(container.write(container.parse(seed.path.read_bytes())))
        again, before = list(VideoReader(path).frames()), list(VideoReader(seed.path).frames())
        assert [frame.pts for frame in again] == [frame.pts for frame in before]
        assert all(np.array_equal(a.planes[0], b.planes[0]) for a, b in zip(again, before))
