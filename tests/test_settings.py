"""Declarations: what a setting says of itself, and what records keep of settings that came later."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import pytest

from iconface_video.errors import UsageError
from iconface_video.session.fingerprint import differences, fingerprint
from iconface_video.settings import LoadSettings, ReadSettings, RestoreSettings, RunSettings, declared, recorded, setting

LATER = {"attention_backend", "compile_backend", "vae_tiling", "personalize", "neighbours"}


def test_what_loads_a_model_is_declared_once():
    loading = {item.name for item in fields(LoadSettings)}
    assert {"dtype", "compile", "quantize", "offload", "lora_scale"} <= loading
    assert not loading & set(RestoreSettings.__annotations__)
    assert loading < {item.name for item in fields(RestoreSettings)}


def test_own_settings_are_shown_before_inherited_ones():
    names = [item.name for item in declared(RestoreSettings)]
    assert names[0] == "model"
    assert names[-len(fields(LoadSettings)) :] == [item.name for item in fields(LoadSettings)]


def test_a_model_may_still_be_named_by_place():
    assert RestoreSettings("a-folder").model == "a-folder"


def test_records_from_before_a_setting_still_compare_equal():
    """A journal that knows nothing of the later settings is gone on with, as long as they stand at their default."""
    before = {name: value for name, value in RestoreSettings().__dict__.items() if name not in LATER}
    assert recorded(RestoreSettings()) == before
    assert fingerprint(settings=recorded(RestoreSettings())) == fingerprint(settings=before)


def test_a_later_setting_that_is_used_is_recorded():
    tiled = recorded(replace(RestoreSettings(), vae_tiling=True))
    assert differences(recorded(RestoreSettings()), tiled) == ["vae_tiling (None -> True)"]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("quantize", "int3", "quantize is 'int3', must be one of none, int8, nf4"),
        ("compile", 1, "compile is 1, must be true or false"),
        ("lora_scale", 2.5, r"lora_scale is 2.5, must be within \[0.0, 2.0\]"),
        ("attention_backend", 3, "attention_backend is 3, must be a text"),
    ],
)
def test_wrong_values_are_refused_wherever_they_are_given(name, value, sentence):
    for kind in (LoadSettings, RestoreSettings):
        with pytest.raises(UsageError, match=sentence):
            kind(**{name: value})


@pytest.mark.parametrize(("said", "meant"), [("auto", "keep"), ("on", "half"), ("off", "weave")])
def test_an_earlier_name_means_the_present_one(said, meant):
    read = ReadSettings(deinterlace=said)
    assert read == ReadSettings(meant)
    assert recorded(read) == recorded(ReadSettings(meant)) == {"fields": meant}
    assert read.notes == (f"`deinterlace` is called `fields` now: '{said}' is '{meant}'. The earlier name still works.",)
    assert ReadSettings(meant).notes == ()


def test_a_setting_without_default_must_be_given():
    @dataclass(frozen=True)
    class Needed:
        name: str = setting(help="A name.")

    with pytest.raises(TypeError, match="name"):
        Needed()
    assert Needed("a").name == "a"


def test_every_section_has_a_panel_and_every_setting_help():
    for section in fields(RunSettings):
        assert section.metadata["panel"]
        assert all(item.metadata["help"].endswith(".") for item in declared(type(getattr(RunSettings(), section.name))))
