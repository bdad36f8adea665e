"""The file of what was learnt: the same bytes, whole or refused, and bound to its base."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from iconface_video.errors import CheckpointError
from iconface_video.personalize.difference import Factors
from iconface_video.personalize.person_weights import (
    HeldOutCheck,
    PersonFacts,
    PersonWeights,
    load_person,
    save_person,
    weights_hash,
)
from iconface_video.personalize.recipe import PersonalizeSettings

CHECK = HeldOutCheck(16, 0.31, 0.62, 22.5, 22.4)
FACTS = PersonFacts("ab" * 32, 3, 0.75, PersonalizeSettings(steps=7), CHECK)


def person() -> PersonWeights:
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=generator).half() for shape in ((20, 4), (4, 30), (16, 4), (4, 50))]
    return PersonWeights({"a.b.weight": Factors(*made[:2]), "c.weight": Factors(*made[2:])}, FACTS)


def test_it_comes_back_and_the_bytes_are_the_same(tmp_path):
    save_person(person(), tmp_path / "a.safetensors")
    save_person(person(), tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    back = load_person(tmp_path / "a.safetensors")
    assert back.facts == FACTS
    assert back.hash == person().hash
    assert torch.equal(back.factors["c.weight"].up, person().factors["c.weight"].up)


def test_a_person_without_a_difference_is_kept_too(tmp_path):
    nothing = PersonWeights({}, replace(FACTS, strength=0.0))
    save_person(nothing, tmp_path / "a.safetensors")
    assert load_person(tmp_path / "a.safetensors").factors == {}
    assert "did not help" in nothing.facts.sentence


def test_the_strength_is_part_of_what_it_is_known_by():
    assert replace(person(), facts=replace(FACTS, strength=0.5)).hash != person().hash


@pytest.mark.parametrize("place", [3, 60, -9])
def test_damage_is_found(tmp_path, place):
    path = tmp_path / "a.safetensors"
    save_person(person(), path)
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load_person(path)


@pytest.mark.parametrize("content", [b"", b"not a file of ours", None])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load_person(path)


def test_it_belongs_to_one_base():
    person().check_base("ab" * 32)
    with pytest.raises(CheckpointError, match="another model"):
        person().check_base("cd" * 32)


def test_a_model_is_known_by_its_weights_wherever_they_lie():
    model = torch.nn.Conv2d(4, 8, 3)
    before = weights_hash(model)
    model.to(memory_format=torch.channels_last)
    assert weights_hash(model) == before
    with torch.no_grad():
        model.bias[0] += 1e-3
    assert weights_hash(model) != before


def test_too_large_a_difference_is_not_written(tmp_path):
    large = PersonWeights({"a": Factors(torch.zeros(1024, 1024).half(), torch.zeros(1024, 1100).half())}, FACTS)
    with pytest.raises(ValueError, match="lower the rank"):
        save_person(large, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())
