"""The real model: its faces do not depend on how many processes restore them, as long as these have equally many threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from iconface_video.faces.detector import CenterFace
from iconface_video.session.engines.engine import LocalEngine
from iconface_video.session.engines.job import RestoreWork, WorkerSetup, load_restorer
from iconface_video.session.engines.processes import WorkersEngine
from tests.session.engine_parts import SETTINGS, crops_of, person_of, without


def test_two_workers_make_what_one_process_with_as_many_threads_makes(found, tmp_path):
    """Slow, as each worker loads torch and the model: that the promise holds for the model itself can be seen no other way."""
    # As in a run: the detector was here before, and must not leave this process another arithmetic than a worker's.
    CenterFace().detect(np.zeros((64, 64, 3), np.uint8))
    model = load_restorer(SETTINGS)
    chosen = (0, 3)
    others = [index for index in range(8) if index not in chosen]

    def work(name: str, people: Mapping[str, bytes]) -> RestoreWork:
        made = without(found.work(tmp_path / name, crop_sizes=model.crop_sizes), *others)
        # One face a call: who else is in a batch may alter a last bit on some processors, and it is others' faces that are compared.
        return replace(made, people=people, restore=replace(made.restore, batch=1))

    here, there = work("here", {}), work("there", {})
    learnt = person_of(model.network, found.anchors[0], tmp_path)
    own_here, own_there = work("own-here", learnt), work("own-there", learnt)
    engine = WorkersEngine(WorkerSetup(SETTINGS, threads=1), ["cpu", "cpu"])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        facts = engine.model
        for one, other in ((here, there), (own_here, own_there)):
            LocalEngine(model).restore(one, lambda done: None, lambda event: None, lambda: None)
            engine.restore(other, lambda done: None, lambda event: None, lambda: None)
    finally:
        torch.set_num_threads(threads)
        engine.close()
    assert (facts.name, facts.crop_sizes) == (model.name, model.crop_sizes)
    assert facts.identity["threads"] == 1
    assert facts.identity["device"] == "cpu"
    assert len(crops_of(here)) >= 10
    assert crops_of(there) == crops_of(here)
    assert crops_of(own_there) == crops_of(own_here)
    changed = [own[2] for own, plain in zip(crops_of(own_here), crops_of(here)) if own != plain]
    assert set(changed) == {0}  # whom the weights are of, and nobody else
